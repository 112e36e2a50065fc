//! The invalidation stream of one database: a publisher for each shard, and the reader that applies what comes.

use crate::control::link;
use crate::control::status::DatabaseStatus;
use crate::shared::DatabaseContext;
use changes::{PublisherConfig, PublisherHandle, SlotName};
use events::{EventSink, EventSource, KafkaConfig, KafkaSink, KafkaSource, LocalBus, StreamId};
use pool::BackendTarget;
use settings::{Settings, StreamTransport};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use topology::{Activity, EndpointId, ShardId, Sharding, Snapshot, TableName};

/// The pause after a failed read, so that a broker that is down costs nothing.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Why a stream can't be set up: always by the settings.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    /// The cluster or database has a name that no stream can have.
    #[error(transparent)]
    Name(#[from] events::Error),
    /// The slot's name is too long.
    #[error(transparent)]
    Slot(#[from] changes::SlotNameTooLong),
}

/// How messages travel.
#[derive(Debug)]
enum Carrier {
    Local(LocalBus),
    Kafka(KafkaConfig),
}

impl Carrier {
    fn new(settings: &Settings, dbname: &str) -> Result<Self, StreamError> {
        Ok(match &settings.stream.transport {
            StreamTransport::InProcess => Self::Local(LocalBus::default()),
            StreamTransport::Kafka { bootstrap, topic } => Self::Kafka(KafkaConfig {
                bootstrap: bootstrap.join(","),
                topic: topic.clone(),
                stream: StreamId::new(&settings.cluster, dbname)?,
                shards: u16::try_from(settings.shards.len()).unwrap_or(u16::MAX),
                properties: Vec::new(),
            }),
        })
    }

    fn sink(&self) -> EventSink {
        match self {
            Self::Local(bus) => EventSink::Local(bus.sink()),
            Self::Kafka(config) => EventSink::Kafka(KafkaSink::new(config.clone())),
        }
    }

    fn source(&self) -> EventSource {
        match self {
            Self::Local(bus) => EventSource::Local(bus.source()),
            Self::Kafka(config) => EventSource::Kafka(KafkaSource::new(config.clone())),
        }
    }
}

/// What a running stream consists of.
#[derive(Debug)]
pub(crate) struct Stream {
    /// The publishers, by shard.
    publishers: Vec<PublisherHandle>,
    /// Where each publisher is told of its primary.
    primaries: Vec<watch::Sender<Option<BackendTarget>>>,
    carrier: Carrier,
    source: EventSource,
}

impl Stream {
    /// Starts the publishers, on the runtime that this is called in. The reader subscribes first, so it misses nothing.
    ///
    /// # Errors
    /// [`StreamError`].
    ///
    /// `activity` says whether this proxy's clients use the database.
    pub(crate) fn start(
        settings: &Settings,
        database: &DatabaseContext,
        activity: &watch::Receiver<Activity>,
    ) -> Result<Self, StreamError> {
        let dbname = &database.config.dbname;
        let carrier = Carrier::new(settings, dbname)?;
        let source = carrier.source();
        let slot = settings.slot_name(&database.config);
        let sink = carrier.sink();
        let (mut publishers, mut primaries) = (Vec::new(), Vec::new());
        for shard in &settings.shards {
            let mut config = PublisherConfig::new(shard.id, dbname, SlotName::new(&slot)?);
            config.tagged_columns = tagged_columns(settings);
            config.heartbeat_interval = settings.stream.heartbeat_interval;
            config.max_retained_bytes = settings.stream.slot_max_bytes;
            if let Carrier::Local(_) = carrier {
                // What goes through Kafka is read by other proxies too, whose clients this one doesn't know.
                config.activity = activity.clone();
            }
            let (tell, told) = watch::channel(None);
            let publisher = changes::spawn(config, sink.clone(), told);
            if let Some(status) = database.status.shard(shard.id) {
                status.set_publisher(&slot, publisher.watch());
            }
            publishers.push(publisher);
            primaries.push(tell);
        }
        Ok(Self {
            publishers,
            primaries,
            carrier,
            source,
        })
    }

    /// Follows the primaries and applies messages until this is dropped or `stop` says so; then lets the publishers close their
    /// connections, so that another proxy may take over at once.
    pub(crate) async fn run(
        self,
        settings: Arc<Settings>,
        database: Arc<DatabaseContext>,
        versions: watch::Receiver<u64>,
        stop: watch::Receiver<bool>,
    ) {
        let Self {
            publishers,
            primaries,
            carrier,
            source,
        } = self;
        let mut stop = stop;
        tokio::select! {
            () = follow_primaries(&settings, &database, &primaries, versions) => {}
            () = apply(&database, &carrier, source) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
        for publisher in publishers {
            publisher.stop().await;
        }
    }
}

/// Shard keys: an answer by shard key is tagged with them.
fn tagged_columns(settings: &Settings) -> HashMap<TableName, Vec<String>> {
    let tables = settings.tables.iter();
    tables
        .filter_map(|table| match &table.sharding {
            Sharding::Hash { column, .. } => Some((table.name.clone(), vec![column.clone()])),
            Sharding::Reference | Sharding::Single { .. } => None,
        })
        .collect()
}

/// Tells each publisher where its primary is, whenever that changes.
async fn follow_primaries(
    settings: &Settings,
    database: &DatabaseContext,
    primaries: &[watch::Sender<Option<BackendTarget>>],
    mut versions: watch::Receiver<u64>,
) {
    let mut told: Vec<Option<(EndpointId, u64)>> = vec![None; primaries.len()];
    loop {
        let snapshot = database.snapshot.load_full();
        for ((shard, tell), told) in (0..).map(ShardId).zip(primaries).zip(&mut told) {
            let found = primary_life(&snapshot, shard);
            if found == *told {
                continue;
            }
            *told = found;
            let target = found.and_then(|(endpoint, _)| {
                link::control_target(settings, &database.config.dbname, endpoint)
                    .inspect_err(
                        |error| tracing::error!(%shard, %error, "the publisher can't follow the primary"),
                    )
                    .ok()
            });
            tell.send_replace(target);
        }
        if versions.changed().await.is_err() {
            return;
        }
    }
}

/// The primary with the number of its life: a restart is a reason to connect anew at once.
fn primary_life(snapshot: &Snapshot, shard: ShardId) -> Option<(EndpointId, u64)> {
    let primary = snapshot.shard(shard)?.primary()?;
    Some((primary.endpoint.id, primary.incarnation))
}

/// Applies every message. Ends only with the process.
async fn apply(database: &DatabaseContext, carrier: &Carrier, mut source: EventSource) {
    let status: &DatabaseStatus = &database.status;
    loop {
        match source.next().await {
            Ok(event) => {
                status.source_error.store(None);
                let (Some(shard), Some(counts)) =
                    (database.coherence.shard(event.shard), status.shard(event.shard))
                else {
                    tracing::debug!(shard = %event.shard, "a message of a shard that the settings don't have");
                    continue;
                };
                counts.count(shard.apply(&event.message));
            }
            Err(error) => {
                let text = error.to_string();
                if status
                    .source_error
                    .load()
                    .as_ref()
                    .is_none_or(|said| **said != text)
                {
                    tracing::warn!(database = %database.config.name, %error, "the invalidation stream can't be read: the cache is not used beyond its bounds");
                    status.source_error.store(Some(Arc::new(text)));
                }
                if matches!(error, events::Error::Malformed(_)) {
                    continue;
                }
                if !error.is_retryable() {
                    // A reader made anew begins at the end: what lies between is unknown.
                    forget(database);
                    source = carrier.source();
                }
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}

fn forget(database: &DatabaseContext) {
    for shard in (0..database.status.shards.len()).filter_map(|n| u16::try_from(n).ok()) {
        if let Some(shard) = database.coherence.shard(ShardId(shard)) {
            shard.forget();
        }
    }
}
