//! The JSON of `/api/v1/status`: types of their own, so that it stays the same when the insides change.

use super::readiness::{CheckState, Readiness};
use crate::admin::{self, AdminView, PoolRow, StatsRow, StreamState};
use crate::metrics::Totals;
use serde::Serialize;
use std::time::Duration;
use topology::{EndpointState, ShardState};

/// The whole proxy.
#[derive(Serialize)]
pub(super) struct Status {
    version: &'static str,
    cluster: String,
    region: String,
    proxy_id: String,
    phase: &'static str,
    ready: bool,
    checks: Vec<CheckStatus>,
    map_version: u64,
    shards: Vec<ShardStatus>,
    databases: Vec<DatabaseStatus>,
    clients: u64,
    clients_waiting: usize,
    server_connections: ConnectionStatus,
    streams: Vec<StreamStatus>,
}

#[derive(Serialize)]
struct CheckStatus {
    name: String,
    state: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
}

#[derive(Serialize)]
struct ShardStatus {
    name: String,
    slots: usize,
    primary: Option<String>,
    endpoints: Vec<EndpointStatus>,
}

#[derive(Serialize)]
struct EndpointStatus {
    region: String,
    host: String,
    port: u16,
    state: &'static str,
    role: Option<&'static str>,
    timeline: Option<u32>,
    replay_lsn: Option<String>,
    lag_seconds: Option<f64>,
    round_trip_seconds: f64,
}

#[derive(Serialize)]
struct DatabaseStatus {
    name: String,
    transactions_total: u64,
    queries_total: u64,
    received_bytes_total: u64,
    sent_bytes_total: u64,
    query_seconds_total: f64,
    wait_seconds_total: f64,
}

#[derive(Serialize)]
struct ConnectionStatus {
    active: usize,
    idle: usize,
    opening: usize,
}

#[derive(Serialize)]
struct StreamStatus {
    shard: Option<String>,
    database: String,
    state: &'static str,
    epoch: Option<String>,
    watermark: Option<String>,
    lag_seconds: Option<f64>,
}

impl Status {
    pub(super) fn of(readiness: &Readiness, totals: &Totals, view: &AdminView) -> Self {
        let settings = &view.settings;
        let sum = |count: fn(&PoolRow) -> usize| view.pools.iter().map(count).sum();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            cluster: settings.cluster.clone(),
            region: settings.region.to_string(),
            proxy_id: settings.proxy_id.to_string(),
            phase: readiness.phase.as_str(),
            ready: readiness.is_ready(),
            checks: checks(readiness),
            map_version: view.snapshot.map.version(),
            shards: view
                .snapshot
                .shards
                .iter()
                .map(|shard| ShardStatus::of(view, shard))
                .collect(),
            databases: view.stats.iter().map(DatabaseStatus::of).collect(),
            clients: totals.clients,
            clients_waiting: sum(|pool| pool.waiting),
            server_connections: ConnectionStatus {
                active: sum(|pool| pool.active),
                idle: sum(|pool| pool.idle + pool.used),
                opening: sum(|pool| pool.connecting),
            },
            streams: streams(view),
        }
    }
}

fn checks(readiness: &Readiness) -> Vec<CheckStatus> {
    let check = |check: &super::Check| CheckStatus {
        name: check.name.clone(),
        state: match check.state {
            CheckState::Ok => "ok",
            CheckState::Degraded => "degraded",
            CheckState::Failed => "failed",
        },
        reason: check.reason.clone(),
    };
    readiness.checks.iter().map(check).collect()
}

impl ShardStatus {
    fn of(view: &AdminView, shard: &ShardState) -> Self {
        let primary = shard.primary().map(|state| &state.endpoint);
        Self {
            name: shard.name.to_string(),
            slots: view.snapshot.map.owned_by(shard.id),
            primary: primary.map(|endpoint| format!("{}:{}", endpoint.host, endpoint.port)),
            endpoints: shard
                .endpoints
                .iter()
                .map(|state| EndpointStatus::of(view, state))
                .collect(),
        }
    }
}

impl EndpointStatus {
    fn of(view: &AdminView, state: &EndpointState) -> Self {
        Self {
            region: state.endpoint.region.to_string(),
            host: state.endpoint.host.clone(),
            port: state.endpoint.port,
            state: admin::health(state.health),
            role: state.role.map(admin::role),
            timeline: state.role.map(|_| state.timeline.0),
            replay_lsn: state.replay.map(|replay| replay.position.lsn.to_string()),
            lag_seconds: state.fresh_as_of.map(|fresh| seconds(view.now.since(fresh))),
            round_trip_seconds: seconds(state.round_trip),
        }
    }
}

impl DatabaseStatus {
    fn of(row: &StatsRow) -> Self {
        Self {
            name: row.database.clone(),
            transactions_total: row.transactions,
            queries_total: row.queries,
            received_bytes_total: row.received_bytes,
            sent_bytes_total: row.sent_bytes,
            query_seconds_total: seconds(row.query_time),
            wait_seconds_total: seconds(row.wait_time),
        }
    }
}

fn streams(view: &AdminView) -> Vec<StreamStatus> {
    let status = |row: &admin::StreamRow| {
        let (state, known) = match row.state {
            StreamState::Unknown => ("unknown", None),
            StreamState::Following {
                epoch,
                watermark,
                fresh_as_of,
            } => ("following", Some((epoch, watermark, fresh_as_of))),
        };
        StreamStatus {
            shard: view.settings.shard(row.shard).map(|shard| shard.name.to_string()),
            database: row.database.clone(),
            state,
            epoch: known.map(|(epoch, _, _)| epoch.to_string()),
            watermark: known.map(|(_, watermark, _)| watermark.to_string()),
            lag_seconds: known
                .and_then(|(_, _, fresh)| fresh)
                .map(|fresh| seconds(view.now.since(fresh))),
        }
    };
    view.stream.iter().map(status).collect()
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}
