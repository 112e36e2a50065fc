//! A server with a publisher on it, and a reader that checks the stream's own rules while it reads.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
#![allow(dead_code, reason = "each test binary uses its part of it")]

use changes::{
    INSTALL_SQL, PublisherConfig, PublisherHandle, PublisherState, PublisherStatus, SlotName, spawn,
};
use cluster::{Postgres, PostgresSpec};
use coherence::{StreamMessage, TableTags, TagHash};
use events::{EventSink, EventSource, LocalBus};
use pool::{Address, BackendTarget, Password};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_postgres::Client;
use topology::{Lsn, ShardId, TableName};

/// For anything that should happen soon, on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

pub(crate) const SHARD: ShardId = ShardId(0);

/// A server with the role `control`, which has no more rights than the install script asks for.
pub(crate) async fn server(name: &str) -> Postgres {
    let spec = PostgresSpec::new(name)
        .role("control", "control", "REPLICATION")
        .role("app", "app", "")
        .setting("max_replication_slots", "40")
        .setting("max_wal_senders", "40");
    Postgres::start(spec).await.unwrap()
}

/// Lists every table as one that is cached, before the trigger of the install script looks.
const CACHE_EVERYTHING: &str = "
    CREATE FUNCTION cache_everything() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
    BEGIN
        INSERT INTO ringway.published SELECT schema_name, table_name FROM ringway.catalog ON CONFLICT DO NOTHING;
    END $$;
    CREATE EVENT TRIGGER cache_everything ON ddl_command_end EXECUTE FUNCTION cache_everything();";

/// A database on it, with our schema, where every table is cached.
pub(crate) async fn database(server: &Postgres, name: &str) -> Client {
    let client = bare_database(server, name).await;
    client.batch_execute(CACHE_EVERYTHING).await.unwrap();
    client
}

/// A database on it, with our schema.
pub(crate) async fn bare_database(server: &Postgres, name: &str) -> Client {
    let admin = server.connect("postgres", "postgres").await.unwrap();
    admin
        .batch_execute(&format!("CREATE DATABASE {name}"))
        .await
        .unwrap();
    let client = server.connect("postgres", name).await.unwrap();
    client
        .batch_execute(&format!("BEGIN; {INSTALL_SQL}; COMMIT"))
        .await
        .unwrap();
    client
        .batch_execute("GRANT ringway_control TO control")
        .await
        .unwrap();
    client
}

pub(crate) fn target(server: &Postgres, database: &str) -> BackendTarget {
    let mut target = BackendTarget::new(Address::new("127.0.0.1", server.port()), database, "control");
    target.password = Some(Password::new("control"));
    target
}

pub(crate) fn config(database: &str) -> PublisherConfig {
    let mut config = PublisherConfig::new(SHARD, database, SlotName::shared(database).unwrap());
    config.heartbeat_interval = Duration::from_millis(50);
    config
}

/// A publisher and everything it has published.
pub(crate) struct Feed {
    pub(crate) publisher: PublisherHandle,
    pub(crate) primary: watch::Sender<Option<BackendTarget>>,
    source: EventSource,
    last: Option<StreamMessage>,
}

impl Feed {
    /// Starts a publisher whose stream stays in this process.
    pub(crate) async fn start(server: &Postgres, database: &str) -> Self {
        Self::start_with(target(server, database), config(database)).await
    }

    pub(crate) async fn start_with(target: BackendTarget, config: PublisherConfig) -> Self {
        let bus = LocalBus::default();
        let mut feed = Self::over(
            target,
            config,
            EventSink::Local(bus.sink()),
            EventSource::Local(bus.source()),
        );
        feed.wait(|status| status.state == PublisherState::Publishing)
            .await;
        feed
    }

    /// Starts a publisher without waiting for anything.
    pub(crate) fn over(
        target: BackendTarget,
        config: PublisherConfig,
        sink: EventSink,
        source: EventSource,
    ) -> Self {
        let (primary, followed) = watch::channel(Some(target));
        Self {
            publisher: spawn(config, sink, followed),
            primary,
            source,
            last: None,
        }
    }

    /// Waits until the publisher's status is as wanted.
    pub(crate) async fn wait(&mut self, wanted: impl FnMut(&PublisherStatus) -> bool) -> PublisherStatus {
        let mut watch = self.publisher.watch();
        let status = timeout(SOON, watch.wait_for(wanted)).await;
        status
            .unwrap_or_else(|_| panic!("still {:?}", self.publisher.status()))
            .unwrap()
            .clone()
    }

    /// The next message. It must continue where the one before ended, unless the epoch rose or it is an old one again.
    pub(crate) async fn next(&mut self) -> StreamMessage {
        let event = timeout(SOON, async {
            loop {
                match self.source.next().await {
                    Ok(event) => return event,
                    Err(error) => assert!(error.is_retryable(), "{error}"),
                }
            }
        });
        let event = event
            .await
            .unwrap_or_else(|_| panic!("no message: {:?}", self.publisher.status()));
        assert_eq!(event.shard, SHARD);
        let message = event.message;
        if let Some(last) = &self.last {
            assert!(message.epoch() >= last.epoch(), "{last:?} before {message:?}");
            let continues = message.from() <= last.to();
            assert!(
                continues || message.epoch() > last.epoch(),
                "a gap between {last:?} and {message:?}"
            );
        }
        self.last = Some(message.clone());
        message
    }

    /// Everything told up to `lsn`.
    pub(crate) async fn until(&mut self, lsn: Lsn) -> BTreeSet<TagHash> {
        let mut tags = BTreeSet::new();
        loop {
            let message = self.next().await;
            tags.extend(message.tags());
            if message.to() >= lsn {
                return tags;
            }
        }
    }

    /// What these statements change, alone.
    pub(crate) async fn tags(&mut self, client: &Client, sql: &str) -> BTreeSet<TagHash> {
        let before = end_of_log(client).await;
        let earlier = self.until(before).await;
        client
            .batch_execute(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert!(earlier.is_empty(), "tags before {sql}: {earlier:?}");
        self.until(end_of_log(client).await).await
    }

    /// Checks what these statements change.
    pub(crate) async fn check(&mut self, client: &Client, sql: &str, expected: &[TagHash]) {
        let found = self.tags(client, sql).await;
        assert_eq!(found, expected.iter().copied().collect(), "{sql}");
    }
}

/// The insert position, which a heartbeat reaches.
pub(crate) async fn end_of_log(client: &Client) -> Lsn {
    let row = client
        .query_one("SELECT pg_current_wal_insert_lsn()::text", &[])
        .await
        .unwrap();
    row.get::<_, &str>(0).parse().unwrap()
}

/// The tags of a table.
pub(crate) struct Table(TableTags);

pub(crate) fn table(database: &str, name: &str) -> Table {
    Table(TableTags::new(database, &TableName::new("public", name)))
}

impl Table {
    pub(crate) fn any(&self) -> TagHash {
        self.0.table()
    }

    pub(crate) fn generation(&self) -> TagHash {
        self.0.generation()
    }

    pub(crate) fn row(&self, key: &[&str]) -> TagHash {
        self.0.row(key.iter().map(|value| value.as_bytes()))
    }

    pub(crate) fn column(&self, column: &str, value: &str) -> TagHash {
        self.0.column(column, value.as_bytes())
    }
}
