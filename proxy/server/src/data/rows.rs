//! What a data thread holds at one moment, for whoever looks: clients, pools, server connections.

use crate::admin::{ClientRow, ClientState, MemoryRow, PoolRow, ServerConnectionState, ServerRow};
use crate::data::thread::{ClientInfo, Thread, ThreadPool};
use pool::ServerState;
use session::state::Pins;
use std::collections::HashMap;
use std::time::{Duration, SystemTime};
use topology::Mono;

/// What a data thread holds at one moment.
#[derive(Debug, Default)]
pub(crate) struct ThreadRows {
    /// Clients.
    pub(crate) clients: Vec<ClientRow>,
    /// Pools.
    pub(crate) pools: Vec<PoolRow>,
    /// Server connections.
    pub(crate) servers: Vec<ServerRow>,
    /// What is held for them.
    pub(crate) memory: Vec<MemoryRow>,
}

/// Lists everything.
pub(crate) fn rows(thread: &Thread) -> ThreadRows {
    let mut rows = ThreadRows::default();
    let now = Clocks::read();
    let settings = thread.settings();
    let delay = settings
        .pool
        .server_check_query
        .is_some()
        .then_some(settings.pool.server_check_delay);
    let is_stale = |used_at: Mono| delay.is_some_and(|delay| now.mono.since(used_at) >= delay);
    // A server connection is known by its pool and the process at its other end.
    let mut links = HashMap::new();
    for (_, client) in thread.clients.borrow().iter() {
        rows.clients.push(client_row(client, thread.index, &now));
        client.each_backend(|target, pid| {
            links.insert((target, pid), (client.id, client.pinned.get()));
        });
    }
    for (_, admin) in thread.admins.borrow().iter() {
        rows.clients.push(client_row(admin, thread.index, &now));
    }
    thread.each_pool(|pool| {
        let database = thread.shared.databases.get(pool.database);
        let database = database.map_or(&pool.target.database, |context| &context.config.name);
        rows.pools.push(pool_row(pool, database));
        pool.pool.for_each_server(|server| {
            let link = links.get(&(std::rc::Rc::as_ptr(&pool.target), server.pid));
            rows.servers.push(ServerRow {
                id: pool.server_id(thread.index, server.id),
                user: pool.target.user.clone(),
                database: database.clone(),
                state: match server.state {
                    ServerState::Idle if is_stale(server.used_at) => ServerConnectionState::Used,
                    ServerState::Idle => ServerConnectionState::Idle,
                    ServerState::Active => ServerConnectionState::Active,
                    ServerState::Tested => ServerConnectionState::Tested,
                },
                endpoint: pool.endpoint,
                local: server.local_addr,
                connected_at: now.wall(server.opened_at),
                request_at: Some(now.wall(server.used_at)),
                close_needed: server.condemned,
                link: link.map(|(client, _)| *client),
                pinned: link.map_or(Pins::NONE, |(_, pinned)| *pinned),
                remote_pid: server.pid,
                tls: server.tls,
                fd: Some(server.fd),
                prepared_statements: None,
                thread: thread.index,
            });
        });
    });
    rows.memory = thread.memory(rows.clients.len(), rows.servers.len(), rows.pools.len());
    rows
}

fn pool_row(pool: &ThreadPool, database: &str) -> PoolRow {
    let stats = pool.pool.stats();
    PoolRow {
        database: database.to_owned(),
        user: pool.target.user.clone(),
        endpoint: pool.endpoint,
        waiting: stats.waiting,
        active: stats.active,
        idle: stats.idle - stats.stale,
        connecting: stats.connecting,
        used: stats.stale,
        tested: stats.testing,
        size: stats.max_size,
        max_wait: stats.max_wait,
    }
}

fn client_row(client: &ClientInfo, thread: usize, now: &Clocks) -> ClientRow {
    ClientRow {
        id: client.id,
        user: client.user.to_string(),
        database: client.database.to_string(),
        state: client.state(),
        peer: client.origin.peer,
        local: client.origin.local,
        remote_pid: client.origin.pid,
        connected_at: now.wall(client.connected_at),
        request_at: Some(now.wall(client.request_at.get())),
        waited: match client.state() {
            ClientState::Waiting => now.mono.since(client.request_at.get()),
            ClientState::Idle | ClientState::IdleInTransaction | ClientState::Active => Duration::ZERO,
        },
        fd: client.origin.fd,
        tls: client.tls,
        application_name: client.application_name.borrow().to_string(),
        prepared_statements: client.prepared_statements.get(),
        pinned: client.pinned.get(),
        thread,
    }
}

/// Both clocks at one moment, to show times of the proxy's own clock on the wall.
struct Clocks {
    mono: Mono,
    wall: SystemTime,
}

impl Clocks {
    fn read() -> Self {
        Self {
            mono: health::boot_time(),
            wall: SystemTime::now(),
        }
    }

    fn wall(&self, moment: Mono) -> SystemTime {
        self.wall
            .checked_sub(self.mono.since(moment))
            .unwrap_or(self.wall)
    }
}
