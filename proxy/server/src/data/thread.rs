//! What the clients of one data thread share: pools, plans, buffers, the register of clients.

use crate::admin::ProxyMode;
use crate::client::Failure;
use crate::data::greetings::Greetings;
use crate::data::hold::PoolNotes;
use crate::data::io::SpareBuffers;
use crate::data::maintenance::Maintenance;
use crate::data::plans::{CachedTemplate, PlanCache};
use crate::data::relay::RelayError;
use crate::metrics::ThreadStats;
use crate::reading::Choice;
use crate::shared::{self, Shared};
use pool::{BackendTarget, Pool, PoolConfig, Waiting};
use session::relay::ServerError;
use session::state::CustomNames;
use session::{GlobalStatements, Settings};
use slab::Slab;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;
use topology::EndpointId;
use wire::{CancelKey, ProxyError};

pub(crate) use crate::data::backend::{Backend, ConnectionState};
pub(crate) use crate::data::client_info::{ClientInfo, ClientLogin, Origin, StopReason, Turn};
pub(crate) use crate::data::plans::{ContextPlans, PlanContext, PlannedText, TextStatement};
pub(crate) use crate::shared::DatabaseContext;

/// The plan of a statement before its values are known.
pub(crate) type PlanRef = Rc<CachedTemplate>;

/// The read buffer of a data thread.
pub(crate) type Scratch = Rc<RefCell<Box<[u8]>>>;

/// How much is read from a socket at a time.
const SCRATCH_SIZE: usize = 64 << 10;
/// Bits of a client's process id that say its place in its thread. Those above say which thread, and vary: who logs in again is
/// told another id.
const PLACE_BITS: u32 = 20;
/// How many values the bits above can have: the id is a positive number for clients.
const ABOVE_PLACE: usize = 1 << (31 - PLACE_BITS);
/// The largest place.
const MAX_PLACE: u32 = (1 << PLACE_BITS) - 1;
/// Distinct settings that are compared by pointer.
const MAX_SETTINGS: usize = 64;
/// Distinct names of users and databases that are shared by the clients that have them.
const MAX_NAMES: usize = 1024;
/// Distinct prepared statements that a data thread remembers for clients that no longer hold them.
const MAX_STATEMENTS: usize = 10_000;

/// What administrators wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Counted {
    /// Server connections that are open or being opened.
    Open,
    /// Server connections that are closed once they are free.
    Closing,
    /// Clients for whom something is under way.
    Busy,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct PoolKey {
    endpoint: EndpointId,
    database: usize,
    user: Rc<str>,
}

/// A pool with what it connects to.
#[derive(Debug)]
pub(crate) struct ThreadPool {
    /// The pool.
    pub(crate) pool: Pool<ConnectionState>,
    /// Where it connects.
    pub(crate) target: Rc<BackendTarget>,
    /// The server.
    pub(crate) endpoint: EndpointId,
    /// The database, by its place.
    pub(crate) database: usize,
    /// As clients call it.
    pub(crate) database_name: Box<str>,
    /// Gone when nobody uses a database that isn't listed any more.
    pub(crate) context: Weak<DatabaseContext>,
    /// Its place among the pools of its thread.
    number: usize,
}

/// Bits of a server connection's number that say its thread, and those that say its pool.
const THREAD_BITS: u32 = 8;
const POOL_BITS: u32 = 16;

impl ThreadPool {
    /// The number of a server connection in this process, made from that in its pool.
    pub(crate) fn server_id(&self, thread: usize, id: u64) -> u64 {
        let small = |n: usize| u64::try_from(n).unwrap_or_default();
        (id << POOL_BITS | small(self.number)) << THREAD_BITS | small(thread)
    }
}

/// What the settings say of every request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// The longest request.
    pub(crate) max_packet_size: usize,
    /// How long a statement may run.
    pub(crate) query_timeout: Option<Duration>,
    /// How long a client in a transaction may do nothing.
    pub(crate) idle_transaction_timeout: Option<Duration>,
}

impl Rules {
    fn of(settings: &settings::Settings) -> Self {
        Self {
            max_packet_size: settings.limits.max_packet_size,
            query_timeout: settings.limits.query_timeout,
            idle_transaction_timeout: settings.limits.idle_transaction_timeout,
        }
    }
}

/// One data thread.
#[derive(Debug)]
pub(crate) struct Thread {
    /// What all threads share.
    pub(crate) shared: Arc<Shared>,
    /// Which thread this is.
    pub(crate) index: usize,
    /// This thread's counters.
    pub(crate) stats: Arc<ThreadStats>,
    /// The read buffer.
    pub(crate) scratch: Scratch,
    /// Buffers between uses.
    pub(crate) spare: Rc<SpareBuffers>,
    /// Plans by text.
    pub(crate) plans: RefCell<PlanCache>,
    /// Prepared statements by text.
    pub(crate) prepared: RefCell<GlobalStatements<PlanRef>>,
    /// Clients that are logged in, by the low half of their process id.
    pub(crate) clients: RefCell<Slab<Rc<ClientInfo>>>,
    /// Administrators that are logged in.
    pub(crate) admins: RefCell<Slab<Rc<ClientInfo>>>,
    /// Cache keys are written here.
    pub(crate) key_buffer: RefCell<Vec<u8>>,
    /// This thread's connection to the region's Redis.
    pub(crate) region: Option<store::SharedClient>,
    /// When pools are looked after next.
    pub(crate) maintenance: Maintenance,
    /// The place of the next pool.
    next_pool: Cell<usize>,
    rules: Cell<Rules>,
    pools: RefCell<HashMap<PoolKey, Rc<ThreadPool>, foldhash::fast::RandomState>>,
    settings_seen: RefCell<Vec<Settings>>,
    /// Of users and databases.
    names_seen: RefCell<HashSet<Rc<str>, foldhash::fast::RandomState>>,
    /// What clients were told at their login.
    pub(crate) greetings: Greetings,
    next_shard: Cell<u16>,
    /// Clients have asked for `currval` or `lastval`, which are known only on the connection where a sequence was used.
    sequences_are_read: Cell<bool>,
    /// Names of settings that applications have made up.
    pub(crate) custom_names: RefCell<CustomNames>,
}

impl Thread {
    /// A thread without clients.
    pub(crate) fn new(shared: Arc<Shared>, index: usize, stats: Arc<ThreadStats>) -> Rc<Self> {
        let region = shared
            .cache
            .region
            .as_ref()
            .and_then(|region| match region.client() {
                Ok(client) => Some(client),
                Err(error) => {
                    tracing::error!(%error, "the region's store can't be used");
                    None
                }
            });
        let rules = Cell::new(Rules::of(&shared.settings.load()));
        Rc::new(Self {
            rules,
            shared,
            index,
            stats,
            scratch: Rc::new(RefCell::new(vec![0; SCRATCH_SIZE].into_boxed_slice())),
            spare: Rc::default(),
            plans: RefCell::default(),
            prepared: RefCell::new(GlobalStatements::new(MAX_STATEMENTS)),
            clients: RefCell::default(),
            admins: RefCell::default(),
            key_buffer: RefCell::default(),
            region,
            maintenance: Maintenance::new(),
            next_pool: Cell::new(0),
            pools: RefCell::default(),
            settings_seen: RefCell::default(),
            names_seen: RefCell::default(),
            greetings: Greetings::default(),
            next_shard: Cell::new(0),
            sequences_are_read: Cell::new(false),
            custom_names: RefCell::default(),
        })
    }

    /// The settings in force.
    pub(crate) fn settings(&self) -> arc_swap::Guard<Arc<settings::Settings>> {
        self.shared.settings.load()
    }

    /// How many clients may stay on connections of one pool, as far as this thread goes; `None`: as many as there are.
    pub(crate) fn max_pinned(&self) -> Option<usize> {
        let settings = self.settings();
        let bound = settings.pool.max_pinned_connections;
        (bound > 0).then(|| bound.div_ceil(settings.worker_threads))
    }

    /// A client is about to ask for `currval` or `lastval`: from here on clients get back, if they can, the connection on
    /// which they used a sequence last.
    pub(crate) fn note_sequence_read(&self) {
        self.sequences_are_read.set(true);
    }

    /// Whether clients prefer the connection on which they used a sequence last.
    pub(crate) fn sequences_are_read(&self) -> bool {
        self.sequences_are_read.get()
    }

    /// Lends the client a connection to the chosen server: the `preferred` one, by its number, if it is free.
    ///
    /// # Errors
    /// When none can be had in time; the server's own words where it refused the login.
    pub(crate) async fn checkout(
        &self,
        client: &ClientInfo,
        database: &Arc<DatabaseContext>,
        choice: &Choice,
        preferred: Option<u64>,
    ) -> Result<(Backend, Rc<BackendTarget>), Failure> {
        let pool = self.pool(&client.user, database, choice.endpoint)?;
        let free = preferred.and_then(|id| pool.pool.try_checkout_server(id));
        let lease = match free.or_else(|| pool.pool.try_checkout()) {
            Some(lease) => lease,
            None => {
                let asked = health::boot_time();
                let lent = match self.queue(&pool) {
                    Ok(mut waiting) => {
                        std::future::poll_fn(|cx| client.poll_queued(cx, |cx| waiting.poll(cx))).await
                    }
                    Err(error) => Ok(Err(error)),
                };
                self.stats
                    .database(database.index)
                    .wait(health::boot_time().since(asked));
                lent?.map_err(|error| self.refused(&error, choice.endpoint))?
            }
        };
        self.stats.database(database.index).assigned();
        Ok((Backend::new(lease, choice), Rc::clone(&pool.target)))
    }

    /// What the settings say of every request.
    pub(crate) fn rules(&self) -> Rules {
        self.rules.get()
    }

    /// The settings changed.
    pub(crate) fn reload(&self) {
        let settings = self.settings();
        self.rules.set(Rules::of(&settings));
        self.each_pool(|pool| {
            let limits = shared::pool_limits(&settings, &pool.database_name, &pool.target.user);
            pool.pool.set_limits(limits);
        });
        self.maintenance.hurry();
    }

    /// Joins the queue for a connection of a pool, and sees to it that there will be one.
    ///
    /// # Errors
    /// Those that are known at once.
    pub(crate) fn queue(&self, pool: &ThreadPool) -> Result<Waiting<ConnectionState>, pool::CheckoutError> {
        let waiting = pool.pool.queue()?;
        self.maintenance.hurry();
        self.feed(pool);
        Ok(waiting)
    }

    /// What the client is told when no connection can be had.
    pub(crate) fn refused(&self, error: &pool::CheckoutError, endpoint: EndpointId) -> Failure {
        if let pool::CheckoutError::Connect(connect) = error {
            tracing::warn!(%endpoint, error = %connect, "can't connect to a server");
            if let Some(server) = connect.server_error() {
                return Failure::Server(ServerError::softened(server.frame()));
            }
        }
        error.to_client().into()
    }

    /// The pool of connections to a server.
    pub(crate) fn pool(
        &self,
        user: &Rc<str>,
        database: &Arc<DatabaseContext>,
        endpoint: EndpointId,
    ) -> Result<Rc<ThreadPool>, ProxyError> {
        let key = PoolKey {
            endpoint,
            database: database.index,
            user: Rc::clone(user),
        };
        if let Some(pool) = self.pools.borrow().get(&key) {
            return Ok(Rc::clone(pool));
        }
        let settings = self.settings();
        let (target, _) = shared::target(&settings, user, &database.config.dbname, endpoint)
            .ok_or_else(ProxyError::internal)?;
        let target = Rc::new(target);
        let notes = Rc::new(PoolNotes::new(Arc::clone(&self.stats)));
        let (connect_to, shared) = (Rc::clone(&target), Arc::clone(&self.shared));
        let pool = Pool::new(PoolConfig {
            limits: shared::pool_limits(&settings, &database.config.name, user),
            connect: Rc::new(move || {
                let mut target = BackendTarget::clone(&connect_to);
                // Of each connection anew: clients may have brought a newer one.
                target.password = shared.secrets.for_server(&target.user);
                Box::pin(async move { pool::connect(&target, &health::boot_time).await })
            }),
            new_state: Rc::new(move |_| ConnectionState::new(Rc::clone(&notes))),
            clock: Rc::new(health::boot_time),
            quotas: self.shared.quotas.of(&settings, &database.config.name, user),
        });
        let made = Rc::new(ThreadPool {
            pool,
            target,
            endpoint,
            database: database.index,
            database_name: database.config.name.as_str().into(),
            context: Arc::downgrade(database),
            number: self.next_pool.replace(self.next_pool.get() + 1),
        });
        // PAUSE holds for pools that nobody had needed yet.
        made.pool.hold(self.is_held(database));
        self.pools.borrow_mut().insert(key, Rc::clone(&made));
        Ok(made)
    }

    /// Equal settings of different clients become one value, so that comparing them is comparing pointers.
    pub(crate) fn intern_settings(&self, settings: &Settings) -> Settings {
        let mut seen = self.settings_seen.borrow_mut();
        if let Some(known) = seen.iter().find(|known| *known == settings) {
            return known.clone();
        }
        if seen.len() >= MAX_SETTINGS {
            seen.clear();
        }
        seen.push(settings.clone());
        settings.clone()
    }

    /// Equal names of different clients become one value.
    pub(crate) fn intern_name(&self, name: &str) -> Rc<str> {
        let mut seen = self.names_seen.borrow_mut();
        if let Some(known) = seen.get(name) {
            return Rc::clone(known);
        }
        if seen.len() >= MAX_NAMES {
            seen.clear();
        }
        let name: Rc<str> = Rc::from(name);
        seen.insert(Rc::clone(&name));
        name
    }

    /// Shards in turn, for statements that any of `shards` can answer.
    pub(crate) fn next_shard(&self, shards: u16) -> u16 {
        let next = self.next_shard.get();
        self.next_shard.set(next.wrapping_add(1));
        next % shards.max(1)
    }

    /// A client has been authenticated: it gets its place and its cancel key.
    pub(crate) fn register(&self, mut login: ClientLogin) -> Rc<ClientInfo> {
        let mut clients = self.clients.borrow_mut();
        let entry = clients.vacant_entry();
        let place = u32::try_from(entry.key()).unwrap_or(u32::MAX) & MAX_PLACE;
        self.number(&mut login);
        let threads = self.shared.stats.len().max(1);
        // Never 0, which is no process.
        let turn = 1 + usize::try_from(login.id).unwrap_or(0) % (ABOVE_PLACE / threads - 1).max(1);
        login.key.pid = u32::try_from(turn * threads + self.index).unwrap_or(0) << PLACE_BITS | place;
        let info = Rc::new(ClientInfo::new(login));
        entry.insert(Rc::clone(&info));
        self.shared.clients.fetch_add(1, Ordering::Relaxed);
        if clients.len() == 1 {
            self.maintenance.hurry();
        }
        self.stats.set_clients(clients.len());
        info
    }

    fn number(&self, login: &mut ClientLogin) {
        login.id = self.shared.next_client.fetch_add(1, Ordering::Relaxed);
        login.suspended = self.shared.mode.get() == ProxyMode::Suspended;
    }

    /// An administrator has been authenticated. They have no cancel key: nothing runs on a server for them.
    pub(crate) fn register_admin(&self, mut login: ClientLogin) -> (usize, Rc<ClientInfo>) {
        self.number(&mut login);
        login.suspended = false;
        let info = Rc::new(ClientInfo::new(login));
        let place = self.admins.borrow_mut().insert(Rc::clone(&info));
        (place, info)
    }

    /// Which of so many threads serves the client with this key.
    pub(crate) fn index_of(key: &CancelKey, threads: usize) -> usize {
        usize::try_from(key.pid >> PLACE_BITS).unwrap_or(usize::MAX) % threads.max(1)
    }

    /// A client is gone.
    pub(crate) fn forget(&self, info: &ClientInfo) {
        let place = usize::try_from(info.key.pid & MAX_PLACE).unwrap_or(usize::MAX);
        let mut clients = self.clients.borrow_mut();
        if clients.contains(place) {
            clients.remove(place);
            self.shared.clients.fetch_sub(1, Ordering::Relaxed);
        }
        self.stats.set_clients(clients.len());
    }

    /// Passes a cancel request on to the servers that work for the client with this key, if it is one of this thread's; waits
    /// until they have taken it.
    pub(crate) async fn cancel(&self, key: &CancelKey) {
        let place = usize::try_from(key.pid & MAX_PLACE).unwrap_or(usize::MAX);
        let asked = match self.clients.borrow().get(place) {
            Some(info) if info.key == *key => info.cancel(),
            _ => return,
        };
        for cancels in asked {
            cancels.quiet().await;
        }
    }

    /// Looks after the pools; those of databases that are gone are closed.
    pub(crate) fn maintain_pools(&self) {
        self.pools.borrow_mut().retain(|_, pool| {
            let kept = pool.context.strong_count() > 0;
            if kept {
                pool.pool.maintain();
            } else {
                pool.pool.drain();
            }
            kept
        });
    }

    /// Every pool of this thread.
    pub(crate) fn each_pool(&self, mut visit: impl FnMut(&ThreadPool)) {
        self.pools.borrow().values().for_each(|pool| visit(pool));
    }

    /// A client's connection to a server broke.
    pub(crate) fn note_lost(&self, backend: &Backend, error: &RelayError) {
        if !matches!(error, RelayError::ClientLost) {
            tracing::warn!(endpoint = %backend.endpoint, shard = %backend.shard, %error, "server connection lost");
        }
    }
}
