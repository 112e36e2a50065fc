//! What the admin database, `/metrics` and the API show: plain rows that the control plane collects.

use settings::{PoolMode, Settings};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use topology::{EndpointId, Epoch, Lsn, Mono, Position, ShardId, Snapshot};

/// The whole proxy at about one moment. Rows of several data threads stand side by side: rendering adds them up where needed.
#[derive(Clone, Debug)]
pub(crate) struct AdminView {
    /// What the proxy runs by.
    pub(crate) settings: Arc<Settings>,
    /// The cluster as routing sees it.
    pub(crate) snapshot: Arc<Snapshot>,
    /// When the rows were collected.
    pub(crate) now: Mono,
    /// Counters, one row for each database.
    pub(crate) stats: Vec<StatsRow>,
    /// Pools of all data threads.
    pub(crate) pools: Vec<PoolRow>,
    /// Clients of all data threads.
    pub(crate) clients: Vec<ClientRow>,
    /// Server connections of all data threads.
    pub(crate) servers: Vec<ServerRow>,
    /// What the stores of the cache hold and did.
    pub(crate) cache: Vec<CacheRow>,
    /// The invalidation stream of each shard and database.
    pub(crate) stream: Vec<StreamRow>,
    /// Whether clients are served.
    pub(crate) mode: ProxyMode,
    /// What administrators have said of each database.
    pub(crate) gates: BTreeMap<String, GateRow>,
    /// Connections whose login is under way.
    pub(crate) logins: usize,
    /// What is held for clients and servers.
    pub(crate) memory: Vec<MemoryRow>,
}

impl AdminView {
    /// When a connection of this database and user goes back to its pool.
    pub(crate) fn pool_mode(&self, database: &str, user: &str) -> PoolMode {
        self.settings.pool_for(database, user).mode
    }
}

/// Whether clients are served: what PAUSE, SUSPEND and RESUME without a database change.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum ProxyMode {
    /// They are.
    #[default]
    Active,
    /// They get no server connection.
    Paused,
    /// Nothing is taken from them.
    Suspended,
}

/// What administrators have said of a database.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct GateRow {
    /// Its clients get no server connection.
    pub(crate) paused: bool,
    /// It takes no new clients.
    pub(crate) disabled: bool,
}

/// Memory for things of one kind: the fixed part of each, without what they hold themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MemoryRow {
    /// PgBouncer's name of it.
    pub(crate) name: &'static str,
    /// Bytes of one.
    pub(crate) size: usize,
    /// How many there are.
    pub(crate) used: usize,
    /// How many are kept for reuse.
    pub(crate) free: usize,
}

/// Counters of one database since the start.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct StatsRow {
    /// As clients call it.
    pub(crate) database: String,
    /// Transactions ended.
    pub(crate) transactions: u64,
    /// Statements answered.
    pub(crate) queries: u64,
    /// Bytes from clients.
    pub(crate) received_bytes: u64,
    /// Bytes to clients.
    pub(crate) sent_bytes: u64,
    /// In transactions.
    pub(crate) transaction_time: Duration,
    /// In statements.
    pub(crate) query_time: Duration,
    /// Waiting for server connections.
    pub(crate) wait_time: Duration,
    /// Server connections lent to clients.
    pub(crate) assignments: u64,
    /// Statements that clients prepared.
    pub(crate) client_parses: u64,
    /// Statements that were prepared on servers.
    pub(crate) server_parses: u64,
    /// Prepared statements that clients bound.
    pub(crate) binds: u64,
    /// The last whole period.
    pub(crate) averages: StatsAverages,
}

impl StatsRow {
    /// Adds another database's.
    pub(crate) fn add(&mut self, other: &StatsRow) {
        self.transactions += other.transactions;
        self.queries += other.queries;
        self.received_bytes += other.received_bytes;
        self.sent_bytes += other.sent_bytes;
        self.transaction_time += other.transaction_time;
        self.query_time += other.query_time;
        self.wait_time += other.wait_time;
        self.assignments += other.assignments;
        self.client_parses += other.client_parses;
        self.server_parses += other.server_parses;
        self.binds += other.binds;
        self.averages.add(&other.averages);
    }
}

/// Averages of one period: counts and bytes in a second, times for each one.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct StatsAverages {
    /// Transactions in a second.
    pub(crate) transactions: u64,
    /// Statements in a second.
    pub(crate) queries: u64,
    /// Bytes from clients in a second.
    pub(crate) received_bytes: u64,
    /// Bytes to clients in a second.
    pub(crate) sent_bytes: u64,
    /// Of a transaction.
    pub(crate) transaction_time: Duration,
    /// Of a statement.
    pub(crate) query_time: Duration,
    /// Waited in a second.
    pub(crate) wait_time: Duration,
    /// Server connections lent in a second.
    pub(crate) assignments: u64,
    /// Statements that clients prepared in a second.
    pub(crate) client_parses: u64,
    /// Statements prepared on servers in a second.
    pub(crate) server_parses: u64,
    /// Prepared statements bound in a second.
    pub(crate) binds: u64,
}

impl StatsAverages {
    /// Adds another database's: times weigh by how many they are the average of.
    fn add(&mut self, other: &StatsAverages) {
        self.transaction_time = mean(
            (self.transaction_time, self.transactions),
            (other.transaction_time, other.transactions),
        );
        self.query_time = mean((self.query_time, self.queries), (other.query_time, other.queries));
        self.wait_time += other.wait_time;
        self.transactions += other.transactions;
        self.queries += other.queries;
        self.received_bytes += other.received_bytes;
        self.sent_bytes += other.sent_bytes;
        self.assignments += other.assignments;
        self.client_parses += other.client_parses;
        self.server_parses += other.server_parses;
        self.binds += other.binds;
    }
}

/// The mean of two means, each with how many it is of.
fn mean((a, a_count): (Duration, u64), (b, b_count): (Duration, u64)) -> Duration {
    let total = a.as_nanos() * u128::from(a_count) + b.as_nanos() * u128::from(b_count);
    let nanos = total / u128::from(a_count + b_count).max(1);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// One pool of one data thread.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PoolRow {
    /// As clients call it.
    pub(crate) database: String,
    /// The role.
    pub(crate) user: String,
    /// The server.
    pub(crate) endpoint: EndpointId,
    /// Clients waiting for a connection of this pool.
    pub(crate) waiting: usize,
    /// Connections that a client holds.
    pub(crate) active: usize,
    /// Connections that are free and may be lent at once.
    pub(crate) idle: usize,
    /// Connections being opened.
    pub(crate) connecting: usize,
    /// Free ones that are tried before they are lent.
    pub(crate) used: usize,
    /// Connections being tried or reset.
    pub(crate) tested: usize,
    /// The most connections there may be.
    pub(crate) size: usize,
    /// How long the first in the queue has waited.
    pub(crate) max_wait: Duration,
}

/// What a client does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ClientState {
    /// Has said nothing that is not answered, outside a transaction.
    Idle,
    /// The same inside a transaction.
    IdleInTransaction,
    /// A statement is under way.
    Active,
    /// Waits for a server connection.
    Waiting,
}

/// One client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ClientRow {
    /// Unique in this process.
    pub(crate) id: u64,
    /// The role.
    pub(crate) user: String,
    /// As the client calls it.
    pub(crate) database: String,
    /// What it does.
    pub(crate) state: ClientState,
    /// Where it connects from; `None` for a unix socket.
    pub(crate) peer: Option<SocketAddr>,
    /// Where it connected to.
    pub(crate) local: Option<SocketAddr>,
    /// The process at the other end of a unix socket, where it is known.
    pub(crate) remote_pid: Option<i32>,
    /// When it logged in.
    pub(crate) connected_at: SystemTime,
    /// When its last request began.
    pub(crate) request_at: Option<SystemTime>,
    /// How long it has been waiting for a server connection.
    pub(crate) waited: Duration,
    /// Its socket.
    pub(crate) fd: Option<i32>,
    /// Whether it uses TLS.
    pub(crate) tls: bool,
    /// What it calls itself.
    pub(crate) application_name: String,
    /// Its named statements.
    pub(crate) prepared_statements: usize,
    /// Why it stays on its server connections.
    pub(crate) pinned: session::state::Pins,
    /// The data thread that serves it.
    pub(crate) thread: usize,
}

/// What a server connection does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ServerConnectionState {
    /// Free.
    Idle,
    /// A client holds it.
    Active,
    /// Free for so long that it is tried before it is lent.
    Used,
    /// Being tried or reset.
    Tested,
}

/// One server connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ServerRow {
    /// Unique in this process.
    pub(crate) id: u64,
    /// The role.
    pub(crate) user: String,
    /// As clients call it.
    pub(crate) database: String,
    /// What it does.
    pub(crate) state: ServerConnectionState,
    /// The server.
    pub(crate) endpoint: EndpointId,
    /// Where the connection comes from; `None` for a unix socket.
    pub(crate) local: Option<SocketAddr>,
    /// When it was opened.
    pub(crate) connected_at: SystemTime,
    /// When it was last lent.
    pub(crate) request_at: Option<SystemTime>,
    /// Whether it is closed once free.
    pub(crate) close_needed: bool,
    /// The client that holds it.
    pub(crate) link: Option<u64>,
    /// Why that client stays on it.
    pub(crate) pinned: session::state::Pins,
    /// The server's process.
    pub(crate) remote_pid: u32,
    /// Whether it uses TLS.
    pub(crate) tls: bool,
    /// Its socket.
    pub(crate) fd: Option<i32>,
    /// Statements prepared on it.
    pub(crate) prepared_statements: Option<usize>,
    /// The data thread that it belongs to.
    pub(crate) thread: usize,
}

/// One fact about the cache: a number of one of its parts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CacheRow {
    /// `memory`, `redis`, `flights`, `answers`: also a label of `/metrics`, so from a fixed list.
    pub(crate) part: &'static str,
    /// What is counted, from a fixed list: `entries`, `bytes`, `hits`, ...
    pub(crate) item: &'static str,
    /// How many.
    pub(crate) value: u64,
    /// What kind of number it is.
    pub(crate) kind: CacheKind,
}

/// What kind of number a [`CacheRow`] is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CacheKind {
    /// Counted since the start.
    Events,
    /// Bytes there are, or a bound of them.
    Bytes,
    /// Things there are.
    Items,
}

/// What a proxy knows of one shard's stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StreamState {
    /// Nothing is used from the cache or filled until the first message comes.
    Unknown,
    /// Applied up to `watermark`.
    Following {
        /// The shard's epoch.
        epoch: Epoch,
        /// Everything up to here is applied.
        watermark: Position,
        /// Everything acknowledged before this moment is applied, as far as is proved.
        fresh_as_of: Option<Mono>,
    },
}

/// The publisher of one shard's stream, where this proxy runs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PublisherRow {
    /// The replication slot.
    pub(crate) slot: String,
    /// The position that the slot was last told to keep from.
    pub(crate) confirmed: Option<Lsn>,
    /// Messages published since the start.
    pub(crate) published: u64,
    /// Why it stands still; for operators.
    pub(crate) last_error: Option<String>,
}

/// The invalidation stream of one shard and database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StreamRow {
    /// The shard.
    pub(crate) shard: ShardId,
    /// As the servers call it.
    pub(crate) database: String,
    /// What is known.
    pub(crate) state: StreamState,
    /// Messages applied since the start.
    pub(crate) applied: u64,
    /// Gaps seen since the start.
    pub(crate) gaps: u64,
    /// The publisher; `None` where another proxy publishes.
    pub(crate) publisher: Option<PublisherRow>,
}
