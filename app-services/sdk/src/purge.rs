//! Removing what the SDK's tables need no longer: rows of the inbox, and idempotency keys with their answers. (A relay removes what it has published.)
//!
//! It asks each shard's primary itself, in small batches with a pause between them, so that nobody waits for it. Several may do so at once.
//!
//! **Invariant:** nothing is removed that is younger than its bound by the server's clock.

use crate::error::{Error, Phase, Result};
use crate::store::Store;
use std::pin::pin;
use std::time::Duration;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Socket};

/// To reach a shard.
const CONNECT_BOUND: Duration = Duration::from_secs(10);

/// How long rows are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PurgeSettings {
    /// Rows of the inbox: for longer than Kafka keeps the topics, retry and dead-letter topics included.
    pub inbox: Duration,
    /// Idempotency keys: for longer than callers repeat themselves.
    pub idempotency: Duration,
    /// The most rows in one transaction.
    pub batch: u16,
    /// Between two batches.
    pub pause: Duration,
    /// Between two looks when there is nothing left to remove.
    pub idle: Duration,
}

impl Default for PurgeSettings {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(86_400);
        Self {
            inbox: DAY * 30,
            idempotency: DAY * 7,
            batch: 500,
            pause: Duration::from_millis(100),
            idle: Duration::from_secs(600),
        }
    }
}

/// Removes old rows of a store on one shard.
#[derive(Debug)]
pub struct Purge<T> {
    store: Store,
    config: Config,
    settings: PurgeSettings,
    tls: T,
}

impl<T> Purge<T>
where
    T: MakeTlsConnect<Socket> + Clone,
    T::Stream: Send + 'static,
{
    /// For the shard whose primary is at `url`, as a role that may delete from the store's tables.
    ///
    /// # Errors
    /// The URL is malformed.
    pub fn new(store: &Store, url: &str, settings: PurgeSettings, tls: T) -> Result<Self> {
        let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
            Error::caller("the primary's URL is malformed").with_source(error)
        })?;
        config
            .connect_timeout(CONNECT_BOUND)
            .tcp_user_timeout(CONNECT_BOUND)
            .application_name("ringway-purge");
        Ok(Self {
            store: store.clone(),
            config,
            settings,
            tls,
        })
    }

    /// Removes what is old, again and again, until `stop` ends.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        loop {
            let pass = async {
                match self.once().await {
                    Ok(0) => {}
                    Ok(removed) => tracing::info!(removed, store = self.store.name(), "old rows are removed"),
                    Err(error) => tracing::warn!(%error, store = self.store.name(), "old rows stay"),
                }
                tokio::time::sleep(self.settings.idle).await;
            };
            tokio::select! {
                () = stop.as_mut() => return,
                () = pass => {}
            }
        }
    }

    /// Removes all that is old; says how many rows.
    ///
    /// # Errors
    /// The shard's, or the connection's.
    pub async fn once(&self) -> Result<u64> {
        let failed = |error| Error::from_driver(error, Phase::BeforeCommit);
        let (client, connection) = self.config.connect(self.tls.clone()).await.map_err(failed)?;
        let removing = async {
            let inbox = self.empty(&client, &self.store.sql.purge_inbox, self.settings.inbox);
            let inbox = inbox.await?;
            let sql = &self.store.sql.purge_idempotency;
            let keys = self.empty(&client, sql, self.settings.idempotency).await?;
            Ok(inbox + keys)
        };
        tokio::select! {
            ended = connection => {
                let lost = || Error::caller("the connection has ended by itself");
                Err(ended.err().map_or_else(lost, failed))
            }
            removed = removing => removed,
        }
    }

    async fn empty(&self, client: &Client, sql: &str, older: Duration) -> Result<u64> {
        let failed = |error| Error::from_driver(error, Phase::BeforeCommit);
        let statement = client.prepare(sql).await.map_err(failed)?;
        let (seconds, batch) = (older.as_secs_f64(), i64::from(self.settings.batch));
        let mut removed = 0;
        loop {
            let some = client
                .execute(&statement, &[&seconds, &batch])
                .await
                .map_err(failed)?;
            removed += some;
            if some < u64::from(self.settings.batch) {
                return Ok(removed);
            }
            tokio::time::sleep(self.settings.pause).await;
        }
    }
}
