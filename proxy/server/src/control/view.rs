//! What the proxy shows of itself, collected for the admin database and for HTTP.

use crate::admin::{AdminView, CacheKind, CacheRow, MemoryRow};
use crate::control::status::DatabaseStatus;
use crate::data::listen::ThreadCommand;
use crate::data::rows::ThreadRows;
use crate::http::{self, Check, CheckState, Phase, Readiness, SharedStore};
use crate::metrics::Totals;
use crate::shared::{DatabaseContext, Shared};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use store::BreakerState;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use topology::{RegionName, ShardId, Snapshot};

/// How long a data thread may take to list what it holds: a busy one is left out.
const ROWS_TIMEOUT: Duration = Duration::from_secs(1);

/// The whole proxy as SHOW and the API show it.
pub(crate) async fn admin_view(shared: &Shared) -> AdminView {
    let rows = thread_rows(shared).await;
    let settings = shared.settings.load_full();
    let totals = totals(shared);
    let mut view = AdminView {
        snapshot: first_snapshot(shared),
        now: health::boot_time(),
        stats: {
            let period = shared.period.lock().unwrap_or_else(PoisonError::into_inner);
            period.rows(
                &totals,
                settings.databases.iter().map(|database| database.name.as_str()),
            )
        },
        pools: Vec::new(),
        clients: Vec::new(),
        servers: Vec::new(),
        cache: cache_rows(shared, &totals),
        stream: shared
            .databases
            .iter()
            .flat_map(|database| stream_rows(database))
            .collect(),
        mode: shared.mode.get(),
        gates: shared
            .open_databases()
            .map(|database| (database.config.name.clone(), database.gate.row()))
            .collect(),
        logins: usize::try_from(shared.logins.load(Ordering::Relaxed)).unwrap_or(usize::MAX),
        memory: Vec::new(),
        settings,
    };
    for rows in rows {
        view.pools.extend(rows.pools);
        view.clients.extend(rows.clients);
        view.servers.extend(rows.servers);
        add_memory(&mut view.memory, rows.memory);
    }
    view
}

/// Adds a thread's to those of the others.
fn add_memory(sums: &mut Vec<MemoryRow>, rows: Vec<MemoryRow>) {
    for row in rows {
        match sums.iter_mut().find(|sum| sum.name == row.name) {
            Some(sum) => {
                sum.size = sum.size.max(row.size);
                sum.used += row.used;
                sum.free += row.free;
            }
            None => sums.push(row),
        }
    }
}

fn stream_rows(database: &DatabaseContext) -> Vec<crate::admin::StreamRow> {
    database
        .status
        .stream_rows(&database.config.dbname, &database.coherence)
}

/// Asks all threads at once.
async fn thread_rows(shared: &Shared) -> Vec<ThreadRows> {
    let threads = shared.threads.get().map(Vec::as_slice).unwrap_or_default();
    let asked: Vec<_> = threads
        .iter()
        .enumerate()
        .filter_map(|(thread, commands)| {
            let (reply, answer) = oneshot::channel();
            commands
                .try_send(ThreadCommand::Rows(reply))
                .ok()
                .map(|()| (thread, answer))
        })
        .collect();
    let deadline = Instant::now() + ROWS_TIMEOUT;
    let mut rows = Vec::with_capacity(asked.len());
    for (thread, answer) in asked {
        match timeout_at(deadline, answer).await {
            Ok(Ok(found)) => rows.push(found),
            Ok(Err(_)) | Err(_) => {
                tracing::debug!(thread, "a data thread did not list what it holds in time")
            }
        }
    }
    rows
}

fn totals(shared: &Shared) -> Totals {
    Totals::of(shared.stats.iter().map(AsRef::as_ref))
}

/// The servers as the probes of the first database see them: all databases are on the same servers.
fn first_snapshot(shared: &Shared) -> Arc<Snapshot> {
    match shared.databases.first() {
        Some(database) => database.snapshot.load_full(),
        // The settings refuse a configuration without databases.
        None => Arc::new(Snapshot {
            version: 0,
            region: RegionName::new(""),
            map: Arc::clone(&shared.map),
            shards: Vec::new(),
        }),
    }
}

fn cache_rows(shared: &Shared, totals: &Totals) -> Vec<CacheRow> {
    use CacheKind::{Bytes, Events, Items};
    let cache = &shared.cache;
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let (memory, flights) = (cache.memory.stats(), &cache.flight_stats);
    let mut rows = vec![
        ("memory", "entries", count(cache.memory.len()), Items),
        ("memory", "bytes", cache.memory.bytes(), Bytes),
        ("memory", "capacity_bytes", cache.memory.capacity_bytes(), Bytes),
        ("memory", "hits", memory.hits.get(), Events),
        ("memory", "misses", memory.misses.get(), Events),
        ("memory", "collisions", memory.collisions.get(), Events),
        ("memory", "inserts", memory.inserts.get(), Events),
        ("memory", "oversize", memory.oversize.get(), Events),
        ("memory", "evictions", memory.evictions.get(), Events),
    ];
    if let Some(region) = &cache.region {
        let stats = region.stats();
        rows.extend([
            ("redis", "hits", stats.hits.get(), Events),
            ("redis", "misses", stats.misses.get(), Events),
            ("redis", "inserts", stats.inserts.get(), Events),
            ("redis", "oversize", stats.oversize.get(), Events),
            ("redis", "malformed", stats.malformed.get(), Events),
            ("redis", "errors", stats.errors.get(), Events),
            ("redis", "skipped", stats.skipped.get(), Events),
            ("redis", "lease_waits", stats.lease_waits.get(), Events),
        ]);
    }
    rows.extend([
        ("flights", "under_way", count(cache.flights.under_way()), Items),
        ("flights", "led", flights.led.get(), Events),
        ("flights", "shared", flights.shared.get(), Events),
        ("flights", "given_up", flights.given_up.get(), Events),
        ("flights", "full", flights.full.get(), Events),
    ]);
    let mut answers: BTreeMap<&'static str, u64> = BTreeMap::new();
    for (label, number) in totals.databases.iter().flat_map(|database| database.cache.iter()) {
        *answers.entry(label).or_default() += number;
    }
    rows.extend(
        answers
            .into_iter()
            .map(|(label, number)| ("answers", label, number, Events)),
    );
    let row = |(part, item, value, kind)| CacheRow {
        part,
        item,
        value,
        kind,
    };
    rows.into_iter().map(row).collect()
}

/// What HTTP is told.
#[derive(Debug)]
pub(crate) struct Status(pub(crate) Arc<Shared>);

impl http::Source for Status {
    fn readiness(&self) -> Readiness {
        readiness(&self.0)
    }

    fn totals(&self) -> Totals {
        totals(&self.0)
    }

    fn view(&self) -> Pin<Box<dyn Future<Output = AdminView> + Send + '_>> {
        Box::pin(admin_view(&self.0))
    }
}

fn readiness(shared: &Shared) -> Readiness {
    let phase = if shared.is_draining() {
        Phase::Draining
    } else if shared.serving.load(Ordering::Acquire) {
        Phase::Serving
    } else {
        Phase::Starting
    };
    let store = match shared
        .cache
        .region
        .as_ref()
        .map(store::SharedStore::breaker_state)
    {
        None => SharedStore::Absent,
        Some(BreakerState::Closed) => SharedStore::Up,
        Some(BreakerState::Open | BreakerState::HalfOpen) => SharedStore::Down,
    };
    let followed = shared.databases.iter().filter(|database| database.needs.stream());
    let streams = followed.flat_map(|database| {
        let shards = (0..).map(ShardId).take(database.status.shards.len());
        shards.map(|shard| {
            let view = database
                .coherence
                .shard(shard)
                .map(coherence::ShardCoherence::view);
            let follows = view.is_some_and(|view| view.epoch().is_some());
            (shard.index(), database.config.name.as_str(), follows)
        })
    });
    let mut readiness = Readiness::of(phase, &first_snapshot(shared), streams, store);
    for database in &shared.databases {
        let checks = database_checks(database, &database.status);
        readiness.checks.extend(checks);
    }
    readiness
}

/// What only this proxy knows of a database.
fn database_checks(database: &DatabaseContext, status: &DatabaseStatus) -> Vec<Check> {
    let name = &database.config.name;
    let check = |name: String, state: CheckState, reason: String| Check { name, state, reason };
    let catalog = format!("catalog {name}");
    let error = status.catalog_error.load_full();
    let mut checks = vec![match (database.has_catalog(), error) {
        (true, None) => check(catalog, CheckState::Ok, String::new()),
        (true, Some(error)) => check(catalog, CheckState::Degraded, error.to_string()),
        (false, None) => check(catalog, CheckState::Failed, "not read yet".to_owned()),
        (false, Some(error)) => check(catalog, CheckState::Failed, error.to_string()),
    }];
    let snapshot = database.snapshot();
    for (shard, shard_status) in snapshot.shards.iter().zip(&status.shards) {
        if let Some(reason) = shard_status.unfit.load_full() {
            let name = format!("install {} {name}", shard.name);
            checks.push(check(name, CheckState::Failed, reason.to_string()));
        }
    }
    if let Some(error) = status.source_error.load_full() {
        checks.push(check(
            format!("stream source {name}"),
            CheckState::Degraded,
            error.to_string(),
        ));
    }
    let in_doubt = status.recovery.in_doubt.load(Ordering::Relaxed);
    if in_doubt > 0 {
        let reason = format!("{in_doubt} prepared parts wait to be finished");
        checks.push(check(
            format!("transactions {name}"),
            CheckState::Degraded,
            reason,
        ));
    }
    checks
}
