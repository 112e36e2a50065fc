//! What all threads of the process share: settings, stores, and for each database its catalog, snapshot and coherence.

use crate::access::admission::Admission;
use crate::access::secrets::Secrets;
use crate::access::wildcard::Wildcards;
use crate::control::status::DatabaseStatus;
use crate::data::listen::ThreadCommand;
use crate::data::thread::Thread;
use crate::gate::{Gate, Mode, Order};
use crate::metrics::{StatsPeriod, ThreadStats};
use crate::quotas::Quotas;
use crate::serve::takeover::Predecessor;
use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use coherence::{Coherence, FillTicket, KeyHasher};
use health::{Pace, SampleRequests};
use planner::{Catalog, Tables};
use pool::decide::Check;
use pool::{Address, BackendTarget, ServerTls, TcpOptions, TlsMode};
use session::startup::TlsOffer;
use settings::{Database, Needs, Settings};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use store::{FlightStats, Flights, Kept, MemoryStore, SharedStore};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_rustls::TlsAcceptor;
use topology::{EndpointId, ShardId, SlotMap, Snapshot};
use wire::{CancelKey, ProxyError};

/// Everything that outlives a thread.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The settings in force.
    pub(crate) settings: Arc<ArcSwap<Settings>>,
    /// The databases that are listed.
    pub(crate) databases: Vec<Arc<DatabaseContext>>,
    /// Those that aren't.
    pub(crate) wildcards: Wildcards,
    /// The map of slots at the start.
    pub(crate) map: Arc<SlotMap>,
    /// The stores of the cache.
    pub(crate) cache: Cache,
    /// How many clients there may be.
    pub(crate) admission: Arc<Admission>,
    /// Clients logged in, on all threads.
    pub(crate) clients: AtomicU64,
    /// Connections whose login is under way, on all threads.
    pub(crate) logins: AtomicU64,
    /// Which data thread gets the next client that may go to any.
    pub(crate) next_thread: AtomicUsize,
    /// The data threads accept clients.
    pub(crate) serving: AtomicBool,
    /// The proxy takes no more clients and ends those at rest.
    pub(crate) draining: AtomicBool,
    /// The counters of each thread.
    pub(crate) stats: Vec<Arc<ThreadStats>>,
    /// Averages of them.
    pub(crate) period: Mutex<StatsPeriod>,
    /// Makes up the salts of users that don't exist; random, made once.
    pub(crate) seed: [u8; 32],
    /// What users prove themselves by.
    pub(crate) secrets: Secrets,
    /// TLS towards clients.
    pub(crate) tls: ArcSwapOption<ClientTls>,
    /// Every data thread's mailbox.
    pub(crate) threads: OnceLock<Vec<mpsc::Sender<ThreadCommand>>>,
    /// The process that this one has replaced, while it still has clients.
    pub(crate) predecessor: ArcSwapOption<Predecessor>,
    /// Whether clients are served.
    pub(crate) mode: Mode,
    /// Bounds that pools share.
    pub(crate) quotas: Quotas,
    /// What administrators ask of the process.
    pub(crate) orders: mpsc::Sender<Order>,
    /// Numbers clients, over all data threads.
    pub(crate) next_client: AtomicU64,
}

/// TLS towards clients.
pub(crate) struct ClientTls {
    /// Who gets it.
    pub(crate) offer: TlsOffer,
    /// With the certificate.
    pub(crate) acceptor: TlsAcceptor,
    /// The certificate's hash, for channel binding; `None`: its signature has none.
    pub(crate) end_point: Option<Box<[u8]>>,
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientTls")
            .field("offer", &self.offer)
            .finish_non_exhaustive()
    }
}

/// The stores of the cache.
#[derive(Debug)]
pub(crate) struct Cache {
    /// Values in this process.
    pub(crate) memory: MemoryStore,
    /// Values in the region's Redis.
    pub(crate) region: Option<SharedStore>,
    /// Misses under way.
    pub(crate) flights: Arc<Flights<Arc<Kept>>>,
    /// What they did.
    pub(crate) flight_stats: Arc<FlightStats>,
    /// Hashes keys.
    pub(crate) hasher: KeyHasher,
}

/// A catalog with what proves that it is the newest.
#[derive(Debug)]
pub(crate) struct LoadedCatalog {
    /// The catalog.
    pub(crate) catalog: Arc<Catalog>,
    /// For each shard the position of its stream before the catalog was read; `None` where the stream had not begun.
    pub(crate) tickets: Vec<Option<FillTicket>>,
}

/// One database as clients name it.
#[derive(Debug)]
pub(crate) struct DatabaseContext {
    /// Its place in [`Shared::databases`].
    pub(crate) index: usize,
    /// Its name here and on the servers.
    pub(crate) config: Database,
    /// How its tables are spread.
    pub(crate) tables: ArcSwap<Tables>,
    /// What is known of the shards' streams.
    pub(crate) coherence: Arc<Coherence>,
    /// What is known of the shards' servers.
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    /// Positions of the primaries on demand.
    pub(crate) samples: SampleRequests,
    /// How often the servers are asked what they know.
    pub(crate) pace: Arc<Pace>,
    /// Names this cluster in cache keys.
    pub(crate) cluster: Box<str>,
    /// What the control plane says of itself.
    pub(crate) status: Arc<DatabaseStatus>,
    /// The shard that has all of it, if there is one.
    pub(crate) direct: Option<ShardId>,
    /// What of the control plane runs for it.
    pub(crate) needs: Needs,
    /// What administrators have said of it.
    pub(crate) gate: Gate,
    /// Counts what may change the meaning of prepared statements: servers plan those anew that are prepared after it.
    statements_version: AtomicU64,
    catalog: ArcSwap<LoadedCatalog>,
    /// How often somebody asked for the catalog to be read again.
    requests: AtomicU64,
    reload: Notify,
    /// The newest request that a published catalog answers; `None` before the first catalog.
    answered: watch::Sender<Option<u64>>,
}

/// How long a statement that changed the catalog waits until this proxy has read it anew.
const RELOAD_WAIT: Duration = Duration::from_secs(5);

/// What a database context is made from.
pub(crate) struct DatabaseParts {
    pub(crate) index: usize,
    pub(crate) config: Database,
    pub(crate) tables: Tables,
    pub(crate) coherence: Arc<Coherence>,
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(crate) samples: SampleRequests,
    pub(crate) pace: Arc<Pace>,
    pub(crate) cluster: Box<str>,
    pub(crate) status: Arc<DatabaseStatus>,
    pub(crate) direct: Option<ShardId>,
    pub(crate) needs: Needs,
}

impl DatabaseContext {
    /// A database of which no catalog has been read.
    pub(crate) fn new(parts: DatabaseParts) -> Self {
        Self {
            index: parts.index,
            config: parts.config,
            tables: ArcSwap::from_pointee(parts.tables),
            coherence: parts.coherence,
            snapshot: parts.snapshot,
            samples: parts.samples,
            pace: parts.pace,
            cluster: parts.cluster,
            status: parts.status,
            gate: Gate::default(),
            direct: parts.direct,
            needs: parts.needs,
            statements_version: AtomicU64::new(0),
            catalog: ArcSwap::from_pointee(LoadedCatalog {
                catalog: Arc::default(),
                tickets: Vec::new(),
            }),
            requests: AtomicU64::new(0),
            reload: Notify::new(),
            // Where nobody reads a catalog nobody waits for one.
            answered: watch::Sender::new((!parts.needs.routing()).then_some(0)),
        }
    }

    /// The newest catalog that was read.
    pub(crate) fn catalog(&self) -> Guard<Arc<LoadedCatalog>> {
        self.catalog.load()
    }

    /// The cluster as the probes see it.
    pub(crate) fn snapshot(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// Before a statement's server is chosen: what is known of the servers is not older than at any other time.
    pub(crate) async fn wake(&self) {
        if !self.pace.note_statement() {
            Box::pin(self.pace.wake()).await;
        }
    }

    /// A catalog was read, begun after [`DatabaseContext::reload_requests`] was `answers`.
    pub(crate) fn publish_catalog(&self, loaded: LoadedCatalog, answers: u64) {
        self.catalog.store(Arc::new(loaded));
        self.answered.send_replace(Some(answers));
    }

    /// Returns once a catalog has been read.
    pub(crate) async fn first_catalog(&self) {
        let mut answered = self.answered.subscribe();
        // The sender lives in `self`, so this can't end by its loss.
        let _alive = answered.wait_for(Option::is_some).await;
    }

    /// Whether a catalog has been read.
    pub(crate) fn has_catalog(&self) -> bool {
        self.answered.borrow().is_some()
    }

    /// Prepared statements may mean something else from here on.
    pub(crate) fn statements_changed(&self) {
        self.statements_version.fetch_add(1, Ordering::Relaxed);
    }

    /// How often they may have changed.
    pub(crate) fn statements_version(&self) -> u64 {
        self.statements_version.load(Ordering::Relaxed)
    }

    /// Asks for the catalog to be read again, without waiting.
    pub(crate) fn request_reload(&self) {
        self.requests.fetch_add(1, Ordering::SeqCst);
        self.reload.notify_one();
    }

    /// How often somebody has asked: whoever reads the catalog after this answers all of them.
    pub(crate) fn reload_requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    /// Returns when somebody has asked for the catalog to be read again.
    pub(crate) async fn reload_requested(&self) {
        self.reload.notified().await;
    }

    /// The request was not answered: whoever waits for it goes on waiting.
    pub(crate) fn repeat_reload(&self) {
        self.reload.notify_one();
    }

    /// After a statement that changed the catalog: waits, for a bounded time, until it has been read again.
    pub(crate) async fn reload_catalog(&self) {
        if !self.needs.routing() {
            return;
        }
        let mut answered = self.answered.subscribe();
        let mine = self.requests.fetch_add(1, Ordering::SeqCst) + 1;
        self.reload.notify_one();
        // A load that is under way may have begun before the change, and doesn't answer.
        let done = answered.wait_for(|answered| answered.is_some_and(|answered| answered >= mine));
        if tokio::time::timeout(RELOAD_WAIT, done).await.is_err() {
            tracing::warn!(database = %self.config.name, "the catalog was not read again in time");
        }
    }
}

impl Shared {
    /// The database that the settings list under this name.
    pub(crate) fn listed(&self, name: &str) -> Option<&Arc<DatabaseContext>> {
        self.databases.iter().find(|d| d.config.name == name)
    }

    /// The database that clients call `name`, made now if need be; `None`: there is none.
    ///
    /// # Errors
    /// When too many databases that aren't listed are open.
    pub(crate) fn database(&self, name: &str) -> Result<Option<Arc<DatabaseContext>>, ProxyError> {
        match self.listed(name) {
            Some(listed) => Ok(Some(Arc::clone(listed))),
            None => self
                .wildcards
                .open(&self.settings.load(), &self.map, name, health::boot_time()),
        }
    }

    /// The databases that clients can use at the moment: those that are listed, and others that are open.
    pub(crate) fn open_databases(&self) -> impl Iterator<Item = Arc<DatabaseContext>> {
        self.databases.iter().cloned().chain(self.wildcards.all())
    }

    /// A cancel request for the client with this key, wherever it is served. Waits until its servers have taken it: a client that
    /// sees the end of its request goes on, and what it does next is not meant.
    pub(crate) async fn cancel(&self, thread: &Thread, key: CancelKey) {
        let index = Thread::index_of(&key, self.stats.len());
        if index == thread.index {
            thread.cancel(&key).await;
        } else if let Some(mailbox) = self.threads.get().and_then(|threads| threads.get(index)) {
            let (taken, heard) = oneshot::channel();
            // A mailbox that is full loses the request, as the network may: cancelling promises nothing.
            if mailbox
                .try_send(ThreadCommand::Cancel(key.clone(), taken))
                .is_ok()
            {
                // The thread ends before it answers only with the process.
                let _ = heard.await;
            }
        }
        if let Some(predecessor) = self.predecessor.load().as_ref() {
            predecessor.cancel(&key);
        }
    }

    /// The same, from outside the data threads.
    pub(crate) fn cancel_anywhere(&self, key: &CancelKey) {
        let mailbox = self
            .threads
            .get()
            .and_then(|threads| threads.get(Thread::index_of(key, threads.len())));
        if let Some(mailbox) = mailbox {
            // As above.
            let _ = mailbox.try_send(ThreadCommand::Cancel(key.clone(), oneshot::channel().0));
        }
        if let Some(predecessor) = self.predecessor.load().as_ref() {
            predecessor.cancel(key);
        }
    }

    /// Whether the proxy is shutting down.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// Where and as whom to connect to a server for a database, without a password; `None` for a server that the settings don't have.
pub(crate) fn target(
    settings: &Settings,
    user: &str,
    dbname: &str,
    endpoint: EndpointId,
) -> Option<(BackendTarget, ShardId)> {
    let server = settings.endpoints().find(|e| e.endpoint.id == endpoint)?;
    let address = Address::new(&server.endpoint.host, server.endpoint.port);
    let mut target = BackendTarget::new(address, dbname, user);
    target.tls = match server_tls(&server.tls) {
        Ok(tls) => tls,
        Err(error) => {
            tracing::error!(%endpoint, %error, "server_tls can't be used");
            return None;
        }
    };
    target.connect_timeout = settings.pool.server_connect_timeout;
    target.tcp = tcp_options(settings);
    Some((target, server.endpoint.shard))
}

/// How TCP connections to both sides are watched.
pub(crate) fn tcp_options(settings: &Settings) -> TcpOptions {
    let tcp = &settings.listen.tcp;
    TcpOptions {
        keepalive: tcp.keepalive.map(|probes| pool::Keepalive {
            idle: probes.idle,
            interval: probes.interval,
            count: probes.count,
        }),
        user_timeout: tcp.user_timeout,
    }
}

fn server_tls(tls: &settings::ServerTls) -> Result<ServerTls, pool::TlsConfigError> {
    use settings::ServerTls as Configured;
    match tls {
        Configured::Disable => Ok(ServerTls::disabled()),
        Configured::Prefer => ServerTls::new(TlsMode::Prefer, None),
        Configured::Require => ServerTls::new(TlsMode::Require, None),
        Configured::VerifyCa { ca_file } => ServerTls::new(TlsMode::VerifyCa, Some(ca_file)),
        Configured::VerifyFull { ca_file } => ServerTls::new(TlsMode::VerifyFull, Some(ca_file)),
    }
}

/// The bounds of a pool of this database and user on one of the data threads: each has its share.
pub(crate) fn pool_limits(settings: &Settings, database: &str, user: &str) -> pool::decide::Limits {
    let share = |n: usize| n.div_ceil(settings.worker_threads);
    let own = settings.pool_for(database, user);
    let defaults = pool::decide::Limits::default();
    pool::decide::Limits {
        max_size: share(own.size).max(1),
        min_size: own.min_size / settings.worker_threads,
        max_waiting: settings.limits.max_client_conn,
        wait_timeout: settings.limits.query_wait_timeout,
        idle_timeout: settings.pool.server_idle_timeout,
        lifetime: settings.pool.server_lifetime,
        login_retry: settings.pool.server_login_retry,
        reserve_size: share(own.reserve_size),
        reserve_timeout: settings.pool.reserve_pool_timeout,
        check: settings.pool.server_check_query.as_deref().map(|sql| Check {
            delay: settings.pool.server_check_delay,
            sql: std::rc::Rc::from(sql),
            timeout: settings.pool.server_connect_timeout,
        }),
        ..defaults
    }
}
