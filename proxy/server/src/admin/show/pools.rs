//! What SHOW says of databases, users and pools, and how many of everything there are.

use super::{Columns, Place, Rows, rights, shard_name};
use crate::admin::table::Cell;
use crate::admin::table::ColumnType::{Int4, Int8, Text};
use crate::admin::view::{AdminView, ClientState, PoolRow, ServerConnectionState};
use settings::{Database, PoolMode};
use std::collections::BTreeMap;
use std::time::Duration;
use topology::{EndpointId, ShardState};

/// PgBouncer's name of the admin database, under which its rows are known to dashboards.
const ADMIN: &str = "pgbouncer";
/// What PgBouncer says of its own database.
const ADMIN_POOL_SIZE: usize = 2;
const ADMIN_POOL_MODE: &str = "statement";

pub(super) const POOLS: Columns = &[
    ("database", Text),
    ("user", Text),
    ("cl_active", Int4),
    ("cl_waiting", Int4),
    ("cl_active_cancel_req", Int4),
    ("cl_waiting_cancel_req", Int4),
    ("sv_active", Int4),
    ("sv_active_cancel", Int4),
    ("sv_being_canceled", Int4),
    ("sv_idle", Int4),
    ("sv_used", Int4),
    ("sv_tested", Int4),
    ("sv_login", Int4),
    ("maxwait", Int4),
    ("maxwait_us", Int4),
    ("pool_mode", Text),
    // Later versions of PgBouncer.
    ("load_balance_hosts", Text),
];

pub(super) const SERVER_POOLS: Columns = &[
    ("database", Text),
    ("user", Text),
    ("shard", Text),
    ("region", Text),
    ("host", Text),
    ("port", Int4),
    ("cl_waiting", Int4),
    ("sv_active", Int4),
    ("sv_idle", Int4),
    ("sv_used", Int4),
    ("sv_tested", Int4),
    ("sv_login", Int4),
    ("maxwait", Int4),
    ("maxwait_us", Int4),
    ("pool_size", Int4),
    ("pool_mode", Text),
];

pub(super) const DATABASES: Columns = &[
    ("name", Text),
    ("host", Text),
    ("port", Int4),
    ("database", Text),
    ("force_user", Text),
    ("pool_size", Int4),
    ("min_pool_size", Int4),
    ("reserve_pool", Int4),
    ("pool_mode", Text),
    ("max_connections", Int4),
    ("current_connections", Int4),
    ("paused", Int4),
    ("disabled", Int4),
    // Later versions of PgBouncer.
    ("reserve_pool_size", Int4),
    ("server_lifetime", Int4),
    ("load_balance_hosts", Text),
    ("max_client_connections", Int4),
    ("current_client_connections", Int4),
    // Ringway.
    ("default_shard", Text),
];

pub(super) const USERS: Columns = &[
    ("name", Text),
    ("pool_mode", Text),
    // Later versions of PgBouncer.
    ("pool_size", Text),
    ("reserve_pool_size", Text),
    ("max_user_connections", Int4),
    ("current_connections", Int4),
    ("max_user_client_connections", Int4),
    ("current_client_connections", Int4),
    // Ringway.
    ("admin_rights", Text),
];

pub(super) const LISTS: Columns = &[("list", Text), ("items", Int4)];

pub(super) const MEM: Columns = &[
    ("name", Text),
    ("size", Int4),
    ("used", Int4),
    ("free", Int4),
    ("memtotal", Int4),
];

pub(super) const DNS_HOSTS: Columns = &[("hostname", Text), ("ttl", Int8), ("addrs", Text)];
pub(super) const DNS_ZONES: Columns = &[("zonename", Text), ("serial", Int8), ("count", Int4)];

pub(super) const PEERS: Columns = &[
    ("peer_id", Int4),
    ("host", Text),
    ("port", Int4),
    ("pool_size", Int4),
];

pub(super) const PEER_POOLS: Columns = &[
    ("database", Int4),
    ("cl_active_cancel_req", Int4),
    ("cl_waiting_cancel_req", Int4),
    ("sv_active_cancel", Int4),
    ("sv_login", Int4),
];

/// What is said of a pool: over the servers of a database and user, or over the data threads.
#[derive(Clone, Copy, Default)]
struct Sum {
    waiting: usize,
    active: usize,
    idle: usize,
    used: usize,
    tested: usize,
    connecting: usize,
    max_wait: Duration,
}

impl Sum {
    fn add(&mut self, pool: &PoolRow) {
        self.waiting += pool.waiting;
        self.active += pool.active;
        self.idle += pool.idle;
        self.used += pool.used;
        self.tested += pool.tested;
        self.connecting += pool.connecting;
        self.max_wait = self.max_wait.max(pool.max_wait);
    }
}

/// One row for each database and user, whatever the number of servers: dashboards know a pool by these two.
pub(super) fn pools(view: &AdminView) -> Rows {
    let mut sums: BTreeMap<(&str, &str), (usize, Sum)> = BTreeMap::new();
    for pool in &view.pools {
        let (_, sum) = sums.entry((&pool.database, &pool.user)).or_default();
        sum.add(pool);
    }
    let mut admins = 0;
    for client in &view.clients {
        if is_admin(&client.database) {
            admins += 1;
            continue;
        }
        let (clients, _) = sums.entry((&client.database, &client.user)).or_default();
        *clients += usize::from(client.state != ClientState::Waiting);
    }
    let admin = pool_cells(ADMIN, ADMIN, admins, &Sum::default(), ADMIN_POOL_MODE);
    let rows = sums.into_iter().map(|((database, user), (clients, sum))| {
        pool_cells(
            database,
            user,
            clients,
            &sum,
            view.pool_mode(database, user).as_str(),
        )
    });
    std::iter::once(admin).chain(rows).collect()
}

fn pool_cells(database: &str, user: &str, clients: usize, sum: &Sum, mode: &'static str) -> Vec<Cell> {
    vec![
        Cell::text(database.to_owned()),
        Cell::text(user.to_owned()),
        Cell::number(clients),
        Cell::number(sum.waiting),
        // Cancel requests have connections of their own, and no server connection waits for one.
        Cell::number(0),
        Cell::number(0),
        Cell::number(sum.active),
        Cell::number(0),
        Cell::number(0),
        Cell::number(sum.idle),
        Cell::number(sum.used),
        Cell::number(sum.tested),
        Cell::number(sum.connecting),
        Cell::number(sum.max_wait.as_secs()),
        Cell::number(sum.max_wait.subsec_micros()),
        Cell::text(mode),
        Cell::Null,
    ]
}

/// One row for each database, user and server.
pub(super) fn server_pools(view: &AdminView) -> Rows {
    let mut sums: BTreeMap<(&str, &str, EndpointId), (usize, Sum)> = BTreeMap::new();
    for pool in &view.pools {
        let key = (pool.database.as_str(), pool.user.as_str(), pool.endpoint);
        let (size, sum) = sums.entry(key).or_default();
        *size += pool.size;
        sum.add(pool);
    }
    let rows = sums.into_iter().map(|((database, user, endpoint), (size, sum))| {
        let place = Place::of(view, endpoint);
        vec![
            Cell::text(database.to_owned()),
            Cell::text(user.to_owned()),
            place.shard,
            place.region,
            place.host,
            place.port,
            Cell::number(sum.waiting),
            Cell::number(sum.active),
            Cell::number(sum.idle),
            Cell::number(sum.used),
            Cell::number(sum.tested),
            Cell::number(sum.connecting),
            Cell::number(sum.max_wait.as_secs()),
            Cell::number(sum.max_wait.subsec_micros()),
            Cell::number(size),
            Cell::text(view.pool_mode(database, user).as_str()),
        ]
    });
    rows.collect()
}

pub(super) fn databases(view: &AdminView) -> Rows {
    let admins = view.clients.iter().filter(|client| is_admin(&client.database));
    let mut admin = vec![
        Cell::text(ADMIN),
        Cell::Null,
        Cell::number(view.settings.listen.port),
        Cell::text(ADMIN),
        Cell::text(ADMIN),
        Cell::number(ADMIN_POOL_SIZE),
        Cell::number(0),
        Cell::number(0),
        Cell::text(ADMIN_POOL_MODE),
    ];
    admin.extend(vec![Cell::number(0); 6]);
    admin.extend([
        Cell::Null,
        Cell::number(0),
        Cell::number(admins.count()),
        Cell::Null,
    ]);
    let listed = view.settings.databases.iter();
    let rows = listed.map(|database| database_cells(view, database));
    let unlisted = unlisted(view).map(|database| database_cells(view, &database));
    std::iter::once(admin).chain(rows).chain(unlisted).collect()
}

/// Databases that are open under the wildcard.
fn unlisted(view: &AdminView) -> impl Iterator<Item = Database> {
    let settings = &view.settings;
    let names = view.gates.keys().filter(|name| settings.database(name).is_none());
    names.filter_map(|name| {
        settings.wildcard.as_ref().map(|wildcard| Database {
            name: name.clone(),
            dbname: name.clone(),
            ..wildcard.clone()
        })
    })
}

fn database_cells(view: &AdminView, database: &Database) -> Vec<Cell> {
    let pool = &view.settings.pool;
    let own = view.settings.pool_for(&database.name, "");
    let limits = &view.settings.limits;
    let servers = view.servers.iter().filter(|s| s.database == database.name);
    let clients = view.clients.iter().filter(|c| c.database == database.name);
    let gate = view.gates.get(&database.name).copied().unwrap_or_default();
    let shard = view
        .snapshot
        .shards
        .iter()
        .find(|s| s.id == database.default_shard);
    let primary = shard.and_then(ShardState::primary).map(|state| &state.endpoint);
    let configured = view.settings.shard(database.default_shard);
    let server = primary.or_else(|| configured?.endpoints.first().map(|server| &server.endpoint));
    vec![
        Cell::text(database.name.clone()),
        Cell::option(server.map(|endpoint| &endpoint.host)),
        Cell::option(server.map(|endpoint| endpoint.port)),
        Cell::text(database.dbname.clone()),
        Cell::Null,
        Cell::number(own.size),
        Cell::number(own.min_size),
        Cell::number(own.reserve_size),
        Cell::option(database.pool.pool_mode.map(PoolMode::as_str)),
        Cell::number(own.max_db_connections.unwrap_or(0)),
        Cell::number(servers.count()),
        Cell::number(u8::from(gate.paused)),
        Cell::number(u8::from(gate.disabled)),
        Cell::number(own.reserve_size),
        Cell::number(pool.server_lifetime.map_or(0, |time| time.as_secs())),
        Cell::Null,
        Cell::number(
            database
                .max_db_client_connections
                .or(limits.max_db_client_connections)
                .unwrap_or(0),
        ),
        Cell::number(clients.count()),
        shard_name(view, database.default_shard),
    ]
}

pub(super) fn users(view: &AdminView) -> Rows {
    let limits = &view.settings.limits;
    let rows = view.settings.auth.users.iter().map(|user| {
        let servers = view.servers.iter().filter(|s| s.user == user.name);
        let clients = view.clients.iter().filter(|c| c.user == user.name);
        vec![
            Cell::text(user.name.clone()),
            Cell::option(user.pool.pool_mode.map(PoolMode::as_str)),
            Cell::option(user.pool.pool_size),
            Cell::option(user.pool.reserve_pool_size),
            Cell::number(
                user.max_user_connections
                    .or(limits.max_user_connections)
                    .unwrap_or(0),
            ),
            Cell::number(servers.count()),
            Cell::number(
                user.max_user_client_connections
                    .or(limits.max_user_client_connections)
                    .unwrap_or(0),
            ),
            Cell::number(clients.count()),
            Cell::text(rights(view, &user.name)),
        ]
    });
    rows.collect()
}

/// Nothing is kept for clients and servers that are gone, and names of hosts are not kept either.
pub(super) fn lists(view: &AdminView) -> Rows {
    let pools: std::collections::BTreeSet<_> = view
        .pools
        .iter()
        .map(|pool| (&pool.database, &pool.user))
        .collect();
    let items = [
        ("databases", view.settings.databases.len() + 1),
        ("users", view.settings.auth.users.len()),
        ("pools", pools.len() + 1),
        ("free_clients", 0),
        ("used_clients", view.clients.len()),
        ("login_clients", view.logins),
        ("free_servers", 0),
        ("used_servers", view.servers.len()),
        ("dns_names", 0),
        ("dns_zones", 0),
        ("dns_queries", 0),
        ("dns_pending", 0),
        ("shards", view.settings.shards.len()),
        ("endpoints", view.settings.endpoints().count()),
        ("tables", view.settings.tables.len()),
        ("idle_servers", idle(view)),
    ];
    items
        .into_iter()
        .map(|(list, items)| vec![Cell::text(list), Cell::number(items)])
        .collect()
}

fn idle(view: &AdminView) -> usize {
    let resting = |state| matches!(state, ServerConnectionState::Idle | ServerConnectionState::Used);
    view.servers.iter().filter(|server| resting(server.state)).count()
}

/// The fixed part of what is held for each, in bytes.
pub(super) fn mem(view: &AdminView) -> Rows {
    let rows = view.memory.iter().map(|row| {
        vec![
            Cell::text(row.name),
            Cell::number(row.size),
            Cell::number(row.used),
            Cell::number(row.free),
            Cell::number(row.size * (row.used + row.free)),
        ]
    });
    rows.collect()
}

fn is_admin(database: &str) -> bool {
    crate::admin::DATABASES.contains(&database)
}
