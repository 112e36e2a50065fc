//! What each SHOW answers: PgBouncer's columns in its order where PgBouncer has the command, ours behind them.

mod cluster;
mod config;
mod connections;
mod pools;
mod stats;

use super::table::{Cell, ColumnType, Columns, Table};
use super::view::{AdminView, ProxyMode};
use session::admin::{ACTIONS, SHOWS, Show};
use settings::AdminRights;
use std::time::Duration;
use topology::{Endpoint, EndpointId, Health, Mono, Role, ShardId};

use ColumnType::Text;
pub(crate) use config::{full_key, in_our_unit};

type Row = Vec<Cell>;
type Rows = Vec<Row>;

/// The columns of what `show` answers.
pub(crate) fn columns(show: Show) -> Columns {
    match show {
        Show::ActiveSockets | Show::Sockets => connections::SOCKETS,
        Show::Cache => cluster::CACHE,
        Show::Clients => connections::CLIENTS,
        Show::Config => config::CONFIG,
        Show::Databases => pools::DATABASES,
        Show::DnsHosts => pools::DNS_HOSTS,
        Show::DnsZones => pools::DNS_ZONES,
        Show::Fds => connections::FDS,
        Show::Help => &[("command", Text), ("what", Text)],
        Show::Lists => pools::LISTS,
        Show::Mem => pools::MEM,
        Show::Peers => pools::PEERS,
        Show::PeerPools => pools::PEER_POOLS,
        Show::Pools => pools::POOLS,
        Show::Replicas => cluster::REPLICAS,
        Show::ServerPools => pools::SERVER_POOLS,
        Show::Servers => connections::SERVERS,
        Show::Shards => cluster::SHARDS,
        Show::Slots => cluster::SLOTS,
        Show::State => &[("key", Text), ("value", Text)],
        Show::Stats => stats::STATS,
        Show::StatsAverages | Show::StatsTotals => stats::STATS_PART,
        Show::Stream => cluster::STREAM,
        Show::Totals => stats::TOTALS,
        Show::Users => pools::USERS,
        Show::Version => &[("version", Text)],
    }
}

/// What `show` answers.
pub(crate) fn render(show: Show, view: &AdminView) -> Table {
    let rows = match show {
        Show::ActiveSockets => connections::active_sockets(view),
        Show::Cache => cluster::cache(view),
        Show::Clients => connections::clients(view),
        Show::Config => config::config(view),
        Show::Databases => pools::databases(view),
        // Names are looked up by the system at each connection, and there are no peers.
        Show::DnsHosts | Show::DnsZones | Show::Peers | Show::PeerPools => Vec::new(),
        Show::Fds => connections::fds(view),
        Show::Help => help(),
        Show::Lists => pools::lists(view),
        Show::Mem => pools::mem(view),
        Show::Pools => pools::pools(view),
        Show::Replicas => cluster::replicas(view),
        Show::ServerPools => pools::server_pools(view),
        Show::Servers => connections::servers(view),
        Show::Shards => cluster::shards(view),
        Show::Slots => cluster::slots(view),
        Show::Sockets => connections::sockets(view),
        Show::State => state(view.mode),
        Show::Stats => stats::stats(view),
        Show::StatsAverages => stats::stats_averages(view),
        Show::StatsTotals => stats::stats_totals(view),
        Show::Stream => cluster::stream(view),
        Show::Totals => stats::totals(view),
        Show::Users => pools::users(view),
        Show::Version => vec![vec![Cell::text(VERSION)]],
    };
    Table {
        columns: columns(show),
        rows,
    }
}

/// What SHOW VERSION and `version()` say.
pub(crate) const VERSION: &str = concat!("Ringway ", env!("CARGO_PKG_VERSION"));

fn help() -> Rows {
    let shows = SHOWS
        .iter()
        .map(|(name, _, what)| vec![Cell::text(format!("SHOW {name}")), Cell::text(*what)]);
    let actions = ACTIONS
        .iter()
        .map(|(name, what)| vec![Cell::text(*name), Cell::text(*what)]);
    shows.chain(actions).collect()
}

fn state(mode: ProxyMode) -> Rows {
    let row = |key, is: ProxyMode| vec![Cell::text(key), Cell::text(if mode == is { "yes" } else { "no" })];
    vec![
        row("active", ProxyMode::Active),
        row("paused", ProxyMode::Paused),
        row("suspended", ProxyMode::Suspended),
    ]
}

fn rights(view: &AdminView, user: &str) -> &'static str {
    match view.settings.auth.admin_rights(user) {
        AdminRights::None => "",
        AdminRights::Stats => "stats",
        AdminRights::Admin => "admin",
    }
}

/// The columns that say where a server is.
struct Place {
    shard: Cell,
    region: Cell,
    host: Cell,
    port: Cell,
}

impl Place {
    fn of(view: &AdminView, id: EndpointId) -> Self {
        let found = view
            .settings
            .endpoints()
            .map(|server| &server.endpoint)
            .find(|endpoint| endpoint.id == id);
        Self {
            shard: found.map_or(Cell::Null, |endpoint| shard_name(view, endpoint.shard)),
            region: Cell::option(found.map(|endpoint| &endpoint.region)),
            host: Cell::option(found.map(|endpoint| &endpoint.host)),
            port: Cell::option(found.map(|endpoint| endpoint.port)),
        }
    }
}

fn shard_name(view: &AdminView, id: ShardId) -> Cell {
    Cell::option(view.settings.shard(id).map(|shard| &shard.name))
}

/// `host:port`.
fn server(endpoint: &Endpoint) -> String {
    format!("{}:{}", endpoint.host, endpoint.port)
}

pub(crate) fn role(role: Role) -> &'static str {
    match role {
        Role::Primary => "primary",
        Role::Standby => "standby",
    }
}

pub(crate) fn health(health: Health) -> &'static str {
    match health {
        Health::Unknown => "unknown",
        Health::Up => "up",
        Health::Down => "down",
    }
}

/// How far `moment` lies back, in microseconds; NULL if nothing is proved.
fn age(now: Mono, moment: Option<Mono>) -> Cell {
    let micros = |time: Duration| Cell::micros(time);
    moment.map_or(Cell::Null, |moment| micros(now.since(moment)))
}

#[cfg(test)]
pub(crate) mod tests;
