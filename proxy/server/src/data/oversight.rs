//! What administrators do to the clients and pools of a data thread.

use crate::admin::{ClientState, MemoryRow, ProxyMode};
use crate::data::thread::{ClientInfo, Counted, DatabaseContext, StopReason, Thread, ThreadPool};
use std::rc::Rc;
use std::time::Duration;
use topology::Mono;

impl Thread {
    /// The pools of a database, by its place, or all.
    pub(crate) fn pools_of(&self, database: Option<usize>, mut visit: impl FnMut(&ThreadPool)) {
        self.each_pool(|pool| {
            if database.is_none_or(|database| database == pool.database) {
                visit(pool);
            }
        });
    }

    /// Whether the clients of the database get server connections.
    pub(crate) fn is_held(&self, database: &DatabaseContext) -> bool {
        self.shared.mode.get() == ProxyMode::Paused || database.gate.is_paused()
    }

    /// What administrators have said of databases or of the whole proxy changed.
    pub(crate) fn follow_gates(&self) {
        let suspended = self.shared.mode.get() == ProxyMode::Suspended;
        for (_, client) in self.clients.borrow().iter() {
            client.suspend(suspended);
        }
        self.each_pool(|pool| {
            // A database that is gone has nobody to be kept waiting.
            if let Some(database) = pool.context.upgrade() {
                pool.pool.hold(self.is_held(&database));
            }
        });
    }

    /// Drops the clients of a database, or of all, and its server connections.
    pub(crate) fn kill(&self, database: Option<&DatabaseContext>) {
        let name = database.map(|context| context.config.name.as_str());
        for client in self.everybody() {
            if name.is_none_or(|name| name == &*client.database) {
                client.kill();
            }
        }
        let place = database.map(|context| context.index);
        self.pools_of(place, |pool| pool.pool.close_where(|_| true));
    }

    fn everybody(&self) -> Vec<Rc<ClientInfo>> {
        self.clients
            .borrow()
            .iter()
            .map(|(_, client)| Rc::clone(client))
            .collect()
    }

    /// Drops one client or administrator; `false`: it isn't one of this thread's.
    pub(crate) fn kill_client(&self, id: u64) -> bool {
        let client = self.everybody().into_iter().find(|client| client.id == id);
        let admins = self.admins.borrow();
        let admin = || {
            admins
                .iter()
                .map(|(_, admin)| Rc::clone(admin))
                .find(|admin| admin.id == id)
        };
        let found = client.or_else(admin);
        if let Some(client) = &found {
            client.kill();
        }
        found.is_some()
    }

    /// How many of something there are.
    pub(crate) fn count(&self, database: Option<usize>, what: Counted) -> usize {
        let mut count = 0;
        match what {
            Counted::Open => self.pools_of(database, |pool| {
                let stats = pool.pool.stats();
                count += stats.idle + stats.active + stats.connecting;
            }),
            Counted::Closing => self.pools_of(database, |pool| {
                pool.pool
                    .for_each_server(|server| count += usize::from(server.condemned));
            }),
            Counted::Busy => {
                let busy = |client: &ClientInfo| client.state() == ClientState::Active;
                count = self
                    .clients
                    .borrow()
                    .iter()
                    .filter(|(_, client)| busy(client))
                    .count();
            }
        }
        count
    }

    /// Whether the reset query runs each time a connection goes back.
    pub(crate) fn resets_always(&self) -> bool {
        let pool = &self.settings().pool;
        pool.server_reset_query_always && pool.server_reset_query.is_some()
    }

    /// A pool may want a connection that the bound of its database or user allows only if another pool gives one up.
    pub(crate) fn feed(&self, hungry: &ThreadPool) {
        if !hungry.pool.is_starved() {
            return;
        }
        let mut fed = false;
        self.each_pool(|pool| {
            let shares = pool.database_name == hungry.database_name || pool.target.user == hungry.target.user;
            let same = std::ptr::eq(pool, hungry);
            fed |= !fed && !same && shares && pool.pool.yield_one();
        });
        if fed {
            hungry.pool.open_missing();
        }
    }

    /// Sends away clients that have said nothing for too long, or whose transaction has taken too long. PgBouncer looks as seldom.
    pub(crate) fn end_late_clients(&self) {
        let settings = self.settings();
        let limits = &settings.limits;
        if limits.client_idle_timeout.is_none() && limits.transaction_timeout.is_none() {
            return;
        }
        let now = health::boot_time();
        for client in self.everybody() {
            let idle = client.state() == ClientState::Idle
                && is_over(client.request_at.get(), limits.client_idle_timeout, now);
            let began = client.transaction_at.get();
            let long = began.is_some_and(|began| is_over(began, limits.transaction_timeout, now));
            if idle {
                client.stop(StopReason::Idle);
            } else if long {
                client.stop(StopReason::LongTransaction);
                client.cancel();
            }
        }
    }

    /// What is held for so many clients, server connections and pools: the fixed part of each.
    pub(crate) fn memory(&self, clients: usize, servers: usize, pools: usize) -> Vec<MemoryRow> {
        let row = |name, size, used, free| MemoryRow {
            name,
            size,
            used,
            free,
        };
        let (spare_count, spare_bytes) = self.spare.held();
        vec![
            row("pool_cache", size_of::<ThreadPool>(), pools, 0),
            row(
                "server_cache",
                size_of::<pool::Server<crate::data::thread::ConnectionState>>(),
                servers,
                0,
            ),
            row(
                "client_cache",
                size_of::<ClientInfo>() + size_of::<crate::client::Client>(),
                clients,
                0,
            ),
            row(
                "iobuf_cache",
                spare_bytes.checked_div(spare_count).unwrap_or(0),
                0,
                spare_count,
            ),
        ]
    }
}

fn is_over(since: Mono, bound: Option<Duration>, now: Mono) -> bool {
    bound.is_some_and(|bound| now.since(since) >= bound)
}
