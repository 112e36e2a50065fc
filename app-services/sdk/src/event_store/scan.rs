//! All that was ever appended on one shard.

use super::journal::event;
use crate::error::{Error, Phase, Result};
use crate::events::Event;
use crate::store::{ShardKey, Store};
use std::time::Duration;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Socket, Statement};

/// The events that are read at a time.
const PAGE: i64 = 500;

/// To reach the shard.
const CONNECT_BOUND: Duration = Duration::from_secs(10);

/// Reads the events of a topic on one shard, aggregate by aggregate, each from its first event to the last that was committed when
/// the scan came by. It asks the shard itself, not through Ringway, and holds no transaction open between two pages.
#[derive(Debug)]
pub struct Scan {
    client: Client,
    store: Store,
    topic: String,
    first: Statement,
    further: Statement,
    /// Whose event was read last.
    last: Option<(ShardKey, String, i64)>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Scan {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Scan {
    /// Begins a scan of a shard. `url` is its primary, as a role that may read the store's tables.
    ///
    /// # Errors
    /// The URL is malformed; the shard can't be reached.
    pub async fn begin<T>(store: &Store, topic: &str, url: &str, tls: T) -> Result<Self>
    where
        T: MakeTlsConnect<Socket>,
        T::Stream: Send + 'static,
    {
        let failed = |error| Error::from_driver(error, Phase::BeforeCommit);
        let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
            Error::caller("the primary's URL is malformed").with_source(error)
        })?;
        config
            .connect_timeout(CONNECT_BOUND)
            .tcp_user_timeout(CONNECT_BOUND)
            .application_name("ringway-scan");
        let (client, connection) = config.connect(tls).await.map_err(failed)?;
        let task = tokio::spawn(async move {
            // Its error is the client's error too.
            drop(connection.await);
        });
        let first = client.prepare(&store.sql.scan).await.map_err(failed)?;
        let further = client.prepare(&store.sql.scan_on).await.map_err(failed)?;
        Ok(Self {
            client,
            store: store.clone(),
            topic: topic.to_owned(),
            first,
            further,
            last: None,
            task,
        })
    }

    /// The next events, at most 500; none when all have been read.
    ///
    /// # Errors
    /// The shard's, or the connection's; the scan can then be begun anew.
    pub async fn next(&mut self) -> Result<Vec<Event>> {
        let rows = match &self.last {
            None => self.client.query(&self.first, &[&self.topic, &PAGE]).await,
            Some((key, aggregate, version)) => {
                let parameters: &[crate::Parameter<'_>] =
                    &[&self.topic, &PAGE, key.parameter(), aggregate, version];
                self.client.query(&self.further, parameters).await
            }
        };
        let rows = rows.map_err(|error| Error::from_driver(error, Phase::BeforeCommit))?;
        let events: Vec<Event> = rows
            .iter()
            .map(|row| event(&self.store, row))
            .collect::<Result<_>>()?;
        if let Some(event) = events.last() {
            self.last = Some((event.shard_key.clone(), event.aggregate.clone(), event.version));
        }
        Ok(events)
    }
}
