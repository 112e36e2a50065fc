//! What each SHOW answers: PgBouncer's columns where PgBouncer has the command and the column means something here.

use super::command::{ACTIONS, SHOWS, Show};
use super::table::{Cell, ColumnType, Table};
use super::time::utc;
use super::view::{AdminView, ClientState, PoolRow, ServerConnectionState, StatsRow, StreamState};
use settings::{AdminRights, PoolMode, StreamTransport};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use topology::{Endpoint, EndpointId, Health, Mono, Role, ShardId};

use ColumnType::{Int8, Text};

/// What `show` answers.
pub(crate) fn render(show: Show, view: &AdminView) -> Table {
    match show {
        Show::Cache => cache(view),
        Show::Clients => clients(view),
        Show::Config => config(view),
        Show::Databases => databases(view),
        Show::Help => help(),
        Show::Lists => lists(view),
        Show::Pools => pools(view),
        Show::Replicas => replicas(view),
        Show::Servers => servers(view),
        Show::Shards => shards(view),
        Show::Slots => slots(view),
        Show::Stats => stats(view),
        Show::StatsAverages => stats_averages(view),
        Show::StatsTotals => stats_totals(view),
        Show::Stream => stream(view),
        Show::Users => users(view),
        Show::Version => version(),
    }
}

fn cache(view: &AdminView) -> Table {
    let rows = view.cache.iter();
    Table {
        columns: &[("part", Text), ("item", Text), ("value", Int8)],
        rows: rows
            .map(|row| {
                vec![
                    Cell::text(row.part),
                    Cell::text(row.item),
                    Cell::number(row.value),
                ]
            })
            .collect(),
    }
}

fn clients(view: &AdminView) -> Table {
    let rows = view.clients.iter().map(|client| {
        let state = match client.state {
            ClientState::Idle => "idle",
            ClientState::IdleInTransaction => "idle_in_transaction",
            ClientState::Active => "active",
            ClientState::Waiting => "waiting",
        };
        let links: Vec<String> = client.links.iter().map(u64::to_string).collect();
        let (addr, port) = address(client.peer);
        let (local_addr, local_port) = address(client.local);
        vec![
            Cell::text("C"),
            Cell::text(client.user.clone()),
            Cell::text(client.database.clone()),
            Cell::text(state),
            addr,
            port,
            local_addr,
            local_port,
            Cell::text(utc(client.connected_at)),
            Cell::option(client.request_at.map(utc)),
            Cell::number(client.waited.as_secs()),
            Cell::number(client.waited.subsec_micros()),
            Cell::text(links.join(",")),
            Cell::text(if client.tls { "TLS" } else { "" }),
            Cell::text(client.application_name.clone()),
            Cell::number(client.prepared_statements),
            Cell::number(client.id),
            Cell::number(client.thread),
        ]
    });
    Table {
        columns: &[
            ("type", Text),
            ("user", Text),
            ("database", Text),
            ("state", Text),
            ("addr", Text),
            ("port", Int8),
            ("local_addr", Text),
            ("local_port", Int8),
            ("connect_time", Text),
            ("request_time", Text),
            ("wait", Int8),
            ("wait_us", Int8),
            ("link", Text),
            ("tls", Text),
            ("application_name", Text),
            ("prepared_statements", Int8),
            ("id", Int8),
            ("thread", Int8),
        ],
        rows: rows.collect(),
    }
}

fn servers(view: &AdminView) -> Table {
    let rows = view.servers.iter().map(|server| {
        let state = match server.state {
            ServerConnectionState::Idle => "idle",
            ServerConnectionState::Active => "active",
        };
        let place = Place::of(view, server.endpoint);
        let (local_addr, local_port) = address(server.local);
        vec![
            Cell::text("S"),
            Cell::text(server.user.clone()),
            Cell::text(server.database.clone()),
            Cell::text(state),
            place.host,
            place.port,
            local_addr,
            local_port,
            Cell::text(utc(server.connected_at)),
            Cell::option(server.request_at.map(utc)),
            Cell::number(u8::from(server.close_needed)),
            Cell::option(server.link),
            Cell::number(server.remote_pid),
            Cell::text(if server.tls { "TLS" } else { "" }),
            Cell::number(server.id),
            Cell::number(server.thread),
            place.shard,
            place.region,
        ]
    });
    Table {
        columns: &[
            ("type", Text),
            ("user", Text),
            ("database", Text),
            ("state", Text),
            ("addr", Text),
            ("port", Int8),
            ("local_addr", Text),
            ("local_port", Int8),
            ("connect_time", Text),
            ("request_time", Text),
            ("close_needed", Int8),
            ("link", Int8),
            ("remote_pid", Int8),
            ("tls", Text),
            ("id", Int8),
            ("thread", Int8),
            ("shard", Text),
            ("region", Text),
        ],
        rows: rows.collect(),
    }
}

fn config(view: &AdminView) -> Table {
    let rows = view.settings.entries().into_iter().map(|entry| {
        let value = entry.value().to_owned();
        let changeable = if entry.changeable { "yes" } else { "no" };
        vec![Cell::text(entry.key), Cell::text(value), Cell::text(changeable)]
    });
    Table {
        columns: &[("key", Text), ("value", Text), ("changeable", Text)],
        rows: rows.collect(),
    }
}

fn databases(view: &AdminView) -> Table {
    let settings = &view.settings;
    let mode = match settings.pool.pool_mode {
        PoolMode::Transaction => "transaction",
    };
    let rows = settings.databases.iter().map(|database| {
        let servers = view
            .servers
            .iter()
            .filter(|server| server.database == database.name)
            .count();
        vec![
            Cell::text(database.name.clone()),
            Cell::text(database.dbname.clone()),
            Cell::number(settings.pool.default_pool_size),
            Cell::number(settings.pool.min_pool_size),
            Cell::number(settings.pool.reserve_pool_size),
            Cell::text(mode),
            Cell::number(servers),
            shard_name(view, database.default_shard),
        ]
    });
    Table {
        columns: &[
            ("name", Text),
            ("database", Text),
            ("pool_size", Int8),
            ("min_pool_size", Int8),
            ("reserve_pool", Int8),
            ("pool_mode", Text),
            ("current_connections", Int8),
            ("default_shard", Text),
        ],
        rows: rows.collect(),
    }
}

fn help() -> Table {
    let shows = SHOWS
        .iter()
        .map(|(name, _, what)| vec![Cell::text(format!("SHOW {name}")), Cell::text(*what)]);
    let actions = ACTIONS
        .iter()
        .map(|(name, what)| vec![Cell::text(*name), Cell::text(*what)]);
    Table {
        columns: &[("command", Text), ("what", Text)],
        rows: shows.chain(actions).collect(),
    }
}

fn lists(view: &AdminView) -> Table {
    let active = |state| view.servers.iter().filter(|server| server.state == state).count();
    let items = [
        ("databases", view.settings.databases.len()),
        ("users", view.settings.auth.users.len()),
        ("pools", summed_pools(view).len()),
        ("used_clients", view.clients.len()),
        ("free_servers", active(ServerConnectionState::Idle)),
        ("used_servers", active(ServerConnectionState::Active)),
        ("shards", view.settings.shards.len()),
        ("endpoints", view.settings.endpoints().count()),
        ("tables", view.settings.tables.len()),
    ];
    Table {
        columns: &[("list", Text), ("items", Int8)],
        rows: items
            .into_iter()
            .map(|(list, items)| vec![Cell::text(list), Cell::number(items)])
            .collect(),
    }
}

/// Pools of the same database, user and server, added up over the data threads.
fn summed_pools(view: &AdminView) -> Vec<PoolRow> {
    let mut sums: BTreeMap<(&str, &str, EndpointId), PoolRow> = BTreeMap::new();
    for pool in &view.pools {
        sums.entry((&pool.database, &pool.user, pool.endpoint))
            .and_modify(|sum| {
                sum.waiting += pool.waiting;
                sum.active += pool.active;
                sum.idle += pool.idle;
                sum.connecting += pool.connecting;
                sum.max_wait = sum.max_wait.max(pool.max_wait);
            })
            .or_insert_with(|| pool.clone());
    }
    sums.into_values().collect()
}

fn pools(view: &AdminView) -> Table {
    let mode = match view.settings.pool.pool_mode {
        PoolMode::Transaction => "transaction",
    };
    let rows = summed_pools(view).into_iter().map(|pool| {
        let place = Place::of(view, pool.endpoint);
        vec![
            Cell::text(pool.database),
            Cell::text(pool.user),
            // A connection is held by one client.
            Cell::number(pool.active),
            Cell::number(pool.waiting),
            Cell::number(pool.active),
            Cell::number(pool.idle),
            Cell::number(pool.connecting),
            Cell::number(pool.max_wait.as_secs()),
            Cell::number(pool.max_wait.subsec_micros()),
            Cell::text(mode),
            place.shard,
            place.region,
            place.host,
            place.port,
        ]
    });
    Table {
        columns: &[
            ("database", Text),
            ("user", Text),
            ("cl_active", Int8),
            ("cl_waiting", Int8),
            ("sv_active", Int8),
            ("sv_idle", Int8),
            ("sv_login", Int8),
            ("maxwait", Int8),
            ("maxwait_us", Int8),
            ("pool_mode", Text),
            ("shard", Text),
            ("region", Text),
            ("host", Text),
            ("port", Int8),
        ],
        rows: rows.collect(),
    }
}

fn shards(view: &AdminView) -> Table {
    let rows = view.snapshot.shards.iter().map(|shard| {
        let primary = shard.primary();
        let up = shard
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.health == Health::Up)
            .count();
        vec![
            Cell::text(shard.name.to_string()),
            Cell::number(shard.id),
            Cell::option(primary.map(|state| server(&state.endpoint))),
            Cell::option(primary.map(|state| &state.endpoint.region)),
            Cell::option(primary.map(|state| state.timeline)),
            Cell::number(view.snapshot.map.owned_by(shard.id)),
            Cell::number(shard.endpoints.len()),
            Cell::number(up),
        ]
    });
    Table {
        columns: &[
            ("shard", Text),
            ("id", Int8),
            ("primary", Text),
            ("region", Text),
            ("timeline", Int8),
            ("slots", Int8),
            ("endpoints", Int8),
            ("endpoints_up", Int8),
        ],
        rows: rows.collect(),
    }
}

fn replicas(view: &AdminView) -> Table {
    let states = view
        .snapshot
        .shards
        .iter()
        .flat_map(|shard| shard.endpoints.iter().map(move |state| (shard, state)));
    let rows = states.map(|(shard, state)| {
        let endpoint = &state.endpoint;
        vec![
            Cell::text(shard.name.to_string()),
            Cell::text(endpoint.region.to_string()),
            Cell::text(endpoint.host.clone()),
            Cell::number(endpoint.port),
            Cell::option(state.role.map(role)),
            Cell::text(health(state.health)),
            Cell::number(state.incarnation),
            Cell::option(state.role.map(|_| state.timeline)),
            Cell::option(state.replay.map(|replay| replay.position.lsn)),
            age(view.now, state.fresh_as_of),
            Cell::micros(state.round_trip),
            Cell::option(state.last_error.as_deref()),
        ]
    });
    Table {
        columns: &[
            ("shard", Text),
            ("region", Text),
            ("host", Text),
            ("port", Int8),
            ("role", Text),
            ("state", Text),
            ("incarnation", Int8),
            ("timeline", Int8),
            ("replay_lsn", Text),
            ("lag_us", Int8),
            ("round_trip_us", Int8),
            ("last_error", Text),
        ],
        rows: rows.collect(),
    }
}

fn slots(view: &AdminView) -> Table {
    let mut runs: Vec<(u16, u16, ShardId)> = Vec::new();
    for (slot, shard) in view.snapshot.map.iter() {
        match runs.last_mut() {
            Some((_, to, owner)) if *owner == shard => *to = slot.number(),
            Some(_) | None => runs.push((slot.number(), slot.number(), shard)),
        }
    }
    let rows = runs.into_iter().map(|(from, to, shard)| {
        let version = view.snapshot.map.version();
        vec![
            Cell::number(from),
            Cell::number(to),
            shard_name(view, shard),
            Cell::number(version),
        ]
    });
    Table {
        columns: &[
            ("from", Int8),
            ("to", Int8),
            ("shard", Text),
            ("map_version", Int8),
        ],
        rows: rows.collect(),
    }
}

fn total_cells(row: &StatsRow) -> Vec<Cell> {
    vec![
        Cell::number(row.transactions),
        Cell::number(row.queries),
        Cell::number(row.received_bytes),
        Cell::number(row.sent_bytes),
        Cell::micros(row.transaction_time),
        Cell::micros(row.query_time),
        Cell::micros(row.wait_time),
    ]
}

fn average_cells(row: &StatsRow) -> Vec<Cell> {
    let averages = &row.averages;
    vec![
        Cell::number(averages.transactions),
        Cell::number(averages.queries),
        Cell::number(averages.received_bytes),
        Cell::number(averages.sent_bytes),
        Cell::micros(averages.transaction_time),
        Cell::micros(averages.query_time),
        Cell::micros(averages.wait_time),
    ]
}

fn stats_table(
    view: &AdminView,
    columns: &'static [(&'static str, ColumnType)],
    cells: impl Fn(&StatsRow) -> Vec<Cell>,
) -> Table {
    let row = |row: &StatsRow| [vec![Cell::text(row.database.clone())], cells(row)].concat();
    Table {
        columns,
        rows: view.stats.iter().map(row).collect(),
    }
}

fn stats(view: &AdminView) -> Table {
    let columns = &[
        ("database", Text),
        ("total_xact_count", Int8),
        ("total_query_count", Int8),
        ("total_received", Int8),
        ("total_sent", Int8),
        ("total_xact_time", Int8),
        ("total_query_time", Int8),
        ("total_wait_time", Int8),
        ("avg_xact_count", Int8),
        ("avg_query_count", Int8),
        ("avg_recv", Int8),
        ("avg_sent", Int8),
        ("avg_xact_time", Int8),
        ("avg_query_time", Int8),
        ("avg_wait_time", Int8),
    ];
    stats_table(view, columns, |row| {
        [total_cells(row), average_cells(row)].concat()
    })
}

fn stats_totals(view: &AdminView) -> Table {
    let columns = &[
        ("database", Text),
        ("xact_count", Int8),
        ("query_count", Int8),
        ("bytes_received", Int8),
        ("bytes_sent", Int8),
        ("xact_time", Int8),
        ("query_time", Int8),
        ("wait_time", Int8),
    ];
    stats_table(view, columns, total_cells)
}

fn stats_averages(view: &AdminView) -> Table {
    let columns = &[
        ("database", Text),
        ("xact_count", Int8),
        ("query_count", Int8),
        ("bytes_received", Int8),
        ("bytes_sent", Int8),
        ("xact_time", Int8),
        ("query_time", Int8),
        ("wait_time", Int8),
    ];
    stats_table(view, columns, average_cells)
}

fn stream(view: &AdminView) -> Table {
    let transport = match view.settings.stream.transport {
        StreamTransport::InProcess => "in_process",
        StreamTransport::Kafka { .. } => "kafka",
    };
    let rows = view.stream.iter().map(|row| {
        let (state, epoch, timeline, watermark, lag) = match row.state {
            StreamState::Unknown => ("unknown", Cell::Null, Cell::Null, Cell::Null, Cell::Null),
            StreamState::Following {
                epoch,
                watermark,
                fresh_as_of,
            } => (
                "following",
                Cell::text(epoch.to_string()),
                Cell::number(watermark.timeline),
                Cell::text(watermark.lsn.to_string()),
                age(view.now, fresh_as_of),
            ),
        };
        let publisher = row.publisher.as_ref();
        vec![
            shard_name(view, row.shard),
            Cell::text(row.database.clone()),
            Cell::text(transport),
            Cell::text(state),
            epoch,
            timeline,
            watermark,
            lag,
            Cell::number(row.applied),
            Cell::number(row.gaps),
            Cell::option(publisher.map(|publisher| &publisher.slot)),
            Cell::option(publisher.and_then(|publisher| publisher.confirmed)),
            Cell::option(publisher.map(|publisher| publisher.published)),
            Cell::option(publisher.and_then(|publisher| publisher.last_error.as_ref())),
        ]
    });
    Table {
        columns: &[
            ("shard", Text),
            ("database", Text),
            ("transport", Text),
            ("state", Text),
            ("epoch", Text),
            ("timeline", Int8),
            ("watermark", Text),
            ("lag_us", Int8),
            ("applied", Int8),
            ("gaps", Int8),
            ("slot", Text),
            ("confirmed_lsn", Text),
            ("published", Int8),
            ("last_error", Text),
        ],
        rows: rows.collect(),
    }
}

fn users(view: &AdminView) -> Table {
    let rows = view.settings.auth.users.iter().map(|user| {
        let rights = match view.settings.auth.admin_rights(&user.name) {
            AdminRights::None => "",
            AdminRights::Stats => "stats",
            AdminRights::Admin => "admin",
        };
        vec![Cell::text(user.name.clone()), Cell::text(rights)]
    });
    Table {
        columns: &[("name", Text), ("admin_rights", Text)],
        rows: rows.collect(),
    }
}

fn version() -> Table {
    let version = concat!("Ringway ", env!("CARGO_PKG_VERSION"));
    Table {
        columns: &[("version", Text)],
        rows: vec![vec![Cell::text(version)]],
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
    moment.map_or(Cell::Null, |moment| Cell::micros(now.since(moment)))
}

/// PgBouncer's word for a client or server without an address.
fn address(address: Option<SocketAddr>) -> (Cell, Cell) {
    match address {
        Some(address) => (Cell::text(address.ip().to_string()), Cell::number(address.port())),
        None => (Cell::text("unix"), Cell::Null),
    }
}

#[cfg(test)]
pub(crate) mod tests;
