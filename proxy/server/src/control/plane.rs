//! Puts the control plane together: for each database its probes, its catalog, its stream and its recovery.

use crate::control::catalog_task::CatalogTask;
use crate::control::link::{self, LinkError};
use crate::control::recovery_task::{Ages, Recovery};
use crate::control::status::DatabaseStatus;
use crate::control::stream::{Stream, StreamError};
use crate::shared::{DatabaseContext, DatabaseParts};
use arc_swap::ArcSwap;
use coherence::{Coherence, DEFAULT_CELLS};
use health::{Monitor, ProbeConfig, ProbedEndpoint, ProbedShard, Rest};
use planner::Tables;
use settings::{Database, Settings};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use topology::SlotMap;

/// How far behind a standby that answers a read of unlisted tables may be: the settings' default for listed ones.
const UNLISTED_REPLICA_BOUND: Duration = Duration::from_secs(10);

/// When and how far the probes rest: some seconds without a statement, and then a tenth of what they do by default.
const REST: Rest = Rest {
    after: Duration::from_secs(3),
    interval: Duration::from_secs(5),
};

/// Why the control plane can't start: always by the settings.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaneError {
    /// A server can't be connected to by these settings.
    #[error(transparent)]
    Server(#[from] LinkError),
    /// A stream can't be set up.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

/// The probes of one database with what the data threads read.
#[derive(Debug)]
pub(crate) struct Probed {
    /// What the data threads read.
    pub(crate) context: Arc<DatabaseContext>,
    monitor: Monitor,
}

/// The running control plane. Dropped, its tasks end.
#[derive(Debug)]
pub(crate) struct Plane {
    monitors: Vec<Monitor>,
    tasks: JoinSet<()>,
    streams: JoinSet<()>,
    stop: watch::Sender<bool>,
}

/// How tables are spread, for a database of these settings.
pub(crate) fn tables(settings: &Settings, database: &Database) -> Tables {
    let shards = u16::try_from(settings.shards.len()).unwrap_or(u16::MAX);
    Tables::new(
        settings.tables.clone(),
        database.default_shard,
        shards,
        UNLISTED_REPLICA_BOUND,
    )
}

/// Begins to probe the servers for every database, on the runtime that this is called in.
///
/// # Errors
/// A server that can't be connected to by these settings.
pub(crate) fn probe(settings: &Settings, map: &Arc<SlotMap>) -> Result<Vec<Probed>, PlaneError> {
    let databases = settings.databases.iter().enumerate();
    databases
        .map(|(index, database)| probe_database(settings, map, index, database))
        .collect()
}

fn probe_database(
    settings: &Settings,
    map: &Arc<SlotMap>,
    index: usize,
    database: &Database,
) -> Result<Probed, PlaneError> {
    let needs = settings.needs(database);
    let coherence = Arc::new(Coherence::new(
        u16::try_from(settings.shards.len()).unwrap_or(u16::MAX),
        DEFAULT_CELLS,
    ));
    let monitor = if needs.routing() {
        start_probes(settings, map, database, &coherence)?
    } else {
        unprobed(settings, map)
    };
    let context = context(settings, &monitor, coherence, index, database);
    Ok(Probed { context, monitor })
}

/// A database that nothing of the control plane runs for ([`settings::Needs::Nothing`]).
pub(crate) fn plain(
    settings: &Settings,
    map: &Arc<SlotMap>,
    index: usize,
    database: &Database,
) -> Arc<DatabaseContext> {
    let coherence = Arc::new(Coherence::new(
        u16::try_from(settings.shards.len()).unwrap_or(u16::MAX),
        DEFAULT_CELLS,
    ));
    context(settings, &unprobed(settings, map), coherence, index, database)
}

fn unprobed(settings: &Settings, map: &Arc<SlotMap>) -> Monitor {
    let shards = settings.shards.iter().map(|shard| {
        let endpoints = shard
            .endpoints
            .iter()
            .map(|e| topology::Endpoint::clone(&e.endpoint));
        (Arc::clone(&shard.name), endpoints.collect())
    });
    Monitor::fixed(settings.region.clone(), Arc::clone(map), shards.collect())
}

fn context(
    settings: &Settings,
    monitor: &Monitor,
    coherence: Arc<Coherence>,
    index: usize,
    database: &Database,
) -> Arc<DatabaseContext> {
    Arc::new(DatabaseContext::new(DatabaseParts {
        index,
        config: database.clone(),
        tables: tables(settings, database),
        coherence,
        snapshot: monitor.snapshots(),
        samples: monitor.samples(),
        pace: monitor.pace(),
        cluster: settings.cluster.as_str().into(),
        status: Arc::new(DatabaseStatus::new(settings.shards.len())),
        direct: settings.direct_shard(database),
        needs: settings.needs(database),
    }))
}

fn start_probes(
    settings: &Settings,
    map: &Arc<SlotMap>,
    database: &Database,
    coherence: &Arc<Coherence>,
) -> Result<Monitor, PlaneError> {
    let mut shards = Vec::with_capacity(settings.shards.len());
    for shard in &settings.shards {
        let mut endpoints = Vec::with_capacity(shard.endpoints.len());
        for server in &shard.endpoints {
            let endpoint = topology::Endpoint::clone(&server.endpoint);
            let target = link::control_target(settings, &database.dbname, endpoint.id)?;
            endpoints.push(ProbedEndpoint { endpoint, target });
        }
        let name = Arc::clone(&shard.name);
        shards.push(ProbedShard { name, endpoints });
    }
    let probes = ProbeConfig {
        interval: settings.health.probe_interval,
        timeout: settings.health.probe_timeout,
        failures_until_down: settings.health.failures_until_down,
        rest: REST,
    };
    Ok(Monitor::start(
        settings.region.clone(),
        Arc::clone(map),
        shards,
        probes,
        Arc::clone(coherence),
    ))
}

impl Plane {
    /// Starts everything else, on the runtime that this is called in.
    ///
    /// # Errors
    /// A stream that can't have its name.
    pub(crate) fn start(
        settings: &Arc<ArcSwap<Settings>>,
        databases: Vec<Probed>,
    ) -> Result<Self, PlaneError> {
        let (stop, stopped) = watch::channel(false);
        let mut plane = Self {
            monitors: Vec::new(),
            tasks: JoinSet::new(),
            streams: JoinSet::new(),
            stop,
        };
        let running = settings.load_full();
        for Probed { context, monitor } in databases {
            let needs = context.needs;
            if needs.stream() {
                let stream = Stream::start(&running, &context, &monitor.pace().watch_activity())?;
                plane.streams.spawn(stream.run(
                    Arc::clone(&running),
                    Arc::clone(&context),
                    monitor.versions(),
                    stopped.clone(),
                ));
            }
            if needs.routing() {
                let catalog = CatalogTask::new(Arc::clone(settings), Arc::clone(&context));
                plane.tasks.spawn(catalog.run(monitor.versions()));
            }
            if needs.two_phase() {
                let stats = Arc::clone(&context.status.recovery);
                let recovery = Recovery::new(&context.config.dbname, stats, Ages::default());
                plane
                    .tasks
                    .spawn(recovery.run(Arc::clone(settings), Arc::clone(&context.snapshot)));
            }
            plane.monitors.push(monitor);
        }
        Ok(plane)
    }

    /// Lets the publishers go in peace, for at most `bound`, so that another proxy may have their slots. The rest goes on.
    pub(crate) async fn release_streams(&mut self, bound: Duration) {
        self.stop.send_replace(true);
        let ended = async { while self.streams.join_next().await.is_some() {} };
        if tokio::time::timeout(bound, ended).await.is_err() {
            tracing::warn!("the publishers did not end in time");
        }
    }

    /// Ends everything; the publishers may take `bound`.
    pub(crate) async fn stop(mut self, bound: Duration) {
        self.release_streams(bound).await;
        self.tasks.abort_all();
    }
}
