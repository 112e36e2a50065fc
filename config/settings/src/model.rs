//! What the proxy runs by: validated, complete (defaults filled in), immutable.

use crate::Secret;
use crate::auth::{Auth, PoolOverrides};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use topology::{Endpoint, RegionName, ShardId, TableConfig};

/// One validated configuration. Nothing in it can refer to something that isn't there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The cluster that this proxy belongs to: part of the keys of the shared store and of the stream.
    pub cluster: String,
    /// Where this proxy stands.
    pub region: RegionName,
    /// Its name among the proxies of the cluster.
    pub proxy_id: ProxyId,
    /// Threads that carry client traffic, at least one.
    pub worker_threads: usize,
    /// How those threads do their I/O.
    pub io: IoDriver,
    /// Where clients connect.
    pub listen: Listen,
    /// Server connections.
    pub pool: PoolSettings,
    /// Bounds of what clients may hold, send and wait for.
    pub limits: Limits,
    /// Who may log in, and the proxy's own role.
    pub auth: Auth,
    /// Databases that clients may name. There is at least one, or a wildcard.
    pub databases: Vec<Database>,
    /// What a name that isn't listed stands for: the database of that name on the servers. PgBouncer's `*`.
    pub wildcard: Option<Database>,
    /// Shards, at least one, indexed by [`ShardId`].
    pub shards: Vec<Shard>,
    /// Tables that are not simply on the default shard, in the order of the file, no two alike.
    pub tables: Vec<TableConfig>,
    /// The stores of the cache.
    pub cache: CacheSettings,
    /// The invalidation stream.
    pub stream: StreamSettings,
    /// The probes.
    pub health: HealthSettings,
    /// The file of the slot map.
    pub map_file: PathBuf,
    /// Logging.
    pub log: LogSettings,
}

impl Settings {
    /// The database that clients call `name`.
    pub fn database(&self, name: &str) -> Option<&Database> {
        self.databases.iter().find(|database| database.name == name)
    }

    /// The shard of this number.
    pub fn shard(&self, id: ShardId) -> Option<&Shard> {
        self.shards.get(id.index())
    }

    /// The shard of this name.
    pub fn shard_by_name(&self, name: &str) -> Option<&Shard> {
        self.shards.iter().find(|shard| &*shard.name == name)
    }

    /// Every server of every shard, in the order of their [`topology::EndpointId`].
    pub fn endpoints(&self) -> impl Iterator<Item = &ShardEndpoint> {
        self.shards.iter().flat_map(|shard| &shard.endpoints)
    }

    /// The logical replication slot that feeds the stream of `database` on each shard.
    ///
    /// With Kafka all proxies share one slot, without it each has its own. Unique among the databases of the
    /// configuration, and a valid slot name.
    pub fn slot_name(&self, database: &Database) -> String {
        let base = format!("{}_{}", self.stream.slot_prefix, slot_part(&database.dbname));
        match self.stream.transport {
            StreamTransport::Kafka { .. } => base,
            StreamTransport::InProcess => format!("{base}_{}", slot_part(self.proxy_id.as_str())),
        }
    }
}

/// `name` with the characters that a slot's name can't have replaced by `_`.
pub(crate) fn slot_part(name: &str) -> String {
    name.chars()
        .map(|c| match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9') => c,
            _ => '_',
        })
        .collect()
}

/// The name of a proxy: lower-case letters, digits, `-` and `_`, not empty, at most 40 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProxyId(pub(crate) Arc<str>);

impl ProxyId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProxyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How the data threads do their I/O.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IoDriver {
    /// io_uring where the kernel and the container allow it, else tokio's own.
    Auto,
    /// epoll, by tokio.
    Tokio,
    /// io_uring, or no start.
    IoUring,
}

/// Where clients connect, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listen {
    /// Where PostgreSQL's protocol is spoken over TCP.
    pub addresses: ListenAddresses,
    /// The port of it, and the number in the name of the unix socket.
    pub port: u16,
    /// Where PostgreSQL's protocol is spoken over a unix socket.
    pub unix_socket: Option<UnixSocket>,
    /// Connections that the kernel keeps until they are accepted, on each socket.
    pub backlog: u32,
    /// How TCP connections are watched, those to servers as well.
    pub tcp: TcpSettings,
    /// Health, metrics and the API.
    pub http: SocketAddr,
    /// TLS towards clients.
    pub client_tls: ClientTls,
}

impl Listen {
    /// Every TCP address for PostgreSQL's protocol. With [`ListenAddresses::All`] the machine may lack the second.
    pub fn postgres(&self) -> Vec<SocketAddr> {
        let addresses = match &self.addresses {
            ListenAddresses::All => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
            ListenAddresses::These(addresses) => addresses.clone(),
        };
        let with_port = |address| SocketAddr::new(address, self.port);
        addresses.into_iter().map(with_port).collect()
    }
}

/// Which of the machine's addresses clients may connect to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ListenAddresses {
    /// Whatever there is, by IPv4 and IPv6.
    All,
    /// These; none: there is only the unix socket.
    These(Vec<IpAddr>),
}

impl fmt::Display for ListenAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::These(addresses) if addresses.is_empty() => f.write_str("off"),
            Self::These(addresses) => {
                let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                f.write_str(&texts.join(","))
            }
        }
    }
}

/// A unix socket for clients.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnixSocket {
    /// Where it lies.
    pub folder: UnixFolder,
    /// Who may connect: the bits of its permissions.
    pub mode: u32,
    /// The group that it is given to: a name or a number.
    pub group: Option<String>,
}

/// Where a unix socket lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UnixFolder {
    /// In a folder.
    Path(PathBuf),
    /// In Linux's abstract namespace, under this prefix.
    Abstract(String),
}

impl fmt::Display for UnixFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Abstract(name) => write!(f, "@{name}"),
        }
    }
}

/// How TCP connections are watched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpSettings {
    /// Probes of silent connections; `None`: none.
    pub keepalive: Option<TcpKeepalive>,
    /// How long sent bytes may stay unacknowledged; `None`: as the system has it.
    pub user_timeout: Option<Duration>,
}

/// Probes of a silent TCP connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpKeepalive {
    /// The silence before the first one.
    pub idle: Duration,
    /// The time between two.
    pub interval: Duration,
    /// How many without an answer end the connection.
    pub count: u32,
}

/// TLS towards clients.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientTls {
    /// `SSLRequest` is answered with `N`.
    Disable,
    /// For clients that ask for it.
    Allow(TlsIdentity),
    /// Clients without it are refused.
    Require(TlsIdentity),
    /// Clients without it, or without a certificate that one of the authorities has signed, are refused.
    Verify(TlsIdentity),
}

impl ClientTls {
    /// PEM file of the authorities that sign the certificates of clients.
    pub fn authorities(&self) -> Option<&Path> {
        match self {
            ClientTls::Disable => None,
            ClientTls::Allow(identity) | ClientTls::Require(identity) | ClientTls::Verify(identity) => {
                identity.ca_file.as_deref()
            }
        }
    }
}

/// A certificate chain and its key, both PEM files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsIdentity {
    /// The chain, the server's own certificate first.
    pub cert_file: PathBuf,
    /// The private key.
    pub key_file: PathBuf,
    /// PEM file of the authorities that sign the certificates of clients; `None`: clients aren't asked for any.
    pub ca_file: Option<PathBuf>,
}

/// TLS towards a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ServerTls {
    /// Never.
    Disable,
    /// If the server offers it; unchecked.
    Prefer,
    /// Always; unchecked.
    Require,
    /// Always, with a certificate signed by one of these authorities.
    VerifyCa {
        /// PEM file of the authorities.
        ca_file: PathBuf,
    },
    /// As `VerifyCa`, and made out to the server's host name.
    VerifyFull {
        /// PEM file of the authorities.
        ca_file: PathBuf,
    },
}

/// When a server connection goes back to the pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PoolMode {
    /// When the client leaves.
    Session,
    /// After each transaction.
    Transaction,
    /// After each statement: there are no transaction blocks.
    Statement,
}

/// Server connections. Sizes are for one user, database and server, over all data threads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoolSettings {
    /// When a connection goes back.
    pub pool_mode: PoolMode,
    /// Most connections, at least one.
    pub default_pool_size: usize,
    /// Connections kept open once opened, at most `default_pool_size`.
    pub min_pool_size: usize,
    /// Connections above `default_pool_size`, for clients that have waited for `reserve_pool_timeout`.
    pub reserve_pool_size: usize,
    /// How long a client waits before the reserve is used.
    pub reserve_pool_timeout: Duration,
    /// Named statements kept on each connection, at least one.
    pub max_prepared_statements: usize,
    /// Most connections of a pool on which clients stay for what can't leave them; 0: no bound but the pool's size.
    pub max_pinned_connections: usize,
    /// Bound of connecting and logging in.
    pub server_connect_timeout: Duration,
    /// How long a server that refused a login is left alone.
    pub server_login_retry: Duration,
    /// Idle connections are closed after this; `None`: never.
    pub server_idle_timeout: Option<Duration>,
    /// Connections are closed, once free, after this; `None`: never.
    pub server_lifetime: Option<Duration>,
    /// What makes a connection as new behind a client in session mode; `None`: nothing does.
    pub server_reset_query: Option<String>,
    /// Whether it is run in the other modes too, each time a connection goes back.
    pub server_reset_query_always: bool,
    /// How long a connection may have been idle to be lent without a question.
    pub server_check_delay: Duration,
    /// The question; `None`: none is asked.
    pub server_check_query: Option<String>,
}

/// Bounds of what clients may hold, send and wait for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Most client connections.
    pub max_client_conn: usize,
    /// Most clients of one user; `None`: no bound of its own.
    pub max_user_client_connections: Option<usize>,
    /// Most clients of one database; `None`: no bound of its own.
    pub max_db_client_connections: Option<usize>,
    /// Most server connections of one user over all its pools; `None`: no bound of its own.
    pub max_user_connections: Option<usize>,
    /// Most server connections of one database over all its pools; `None`: no bound of its own.
    pub max_db_connections: Option<usize>,
    /// Bound of a client's login.
    pub client_login_timeout: Duration,
    /// How long a database that isn't listed may be unused before its pools are closed.
    pub autodb_idle_timeout: Duration,
    /// How long a client waits for a server connection; `None`: for ever.
    pub query_wait_timeout: Option<Duration>,
    /// How long a statement may run.
    pub query_timeout: Option<Duration>,
    /// How long a transaction may be idle.
    pub idle_transaction_timeout: Option<Duration>,
    /// How long a transaction may take in all.
    pub transaction_timeout: Option<Duration>,
    /// How long a client may say nothing outside a transaction.
    pub client_idle_timeout: Option<Duration>,
    /// How long transactions may go on while draining.
    pub drain_timeout: Duration,
    /// How long clients may stay with a proxy that another one has replaced; `None`: until they leave.
    pub takeover_timeout: Option<Duration>,
    /// The largest message of a client, in bytes.
    pub max_packet_size: usize,
    /// Most rows of one answer merged from several shards.
    pub scatter_max_rows: u64,
    /// Most bytes held at once while merging.
    pub scatter_max_bytes: usize,
}

/// A database that clients may name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Database {
    /// As clients call it.
    pub name: String,
    /// As the servers call it.
    pub dbname: String,
    /// Where unlisted tables live.
    pub default_shard: ShardId,
    /// What of `[pool]` is different for it.
    pub pool: PoolOverrides,
    /// Most server connections over all its pools; `None`: [`Limits::max_db_connections`].
    pub max_db_connections: Option<usize>,
    /// Most clients; `None`: [`Limits::max_db_client_connections`].
    pub max_db_client_connections: Option<usize>,
}

/// A shard as the configuration names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shard {
    /// Its number: its place in the file.
    pub id: ShardId,
    /// Its name.
    pub name: Arc<str>,
    /// Its servers, at least one.
    pub endpoints: Vec<ShardEndpoint>,
}

/// A server and how to talk to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShardEndpoint {
    /// The server.
    pub endpoint: Arc<Endpoint>,
    /// TLS towards it.
    pub tls: ServerTls,
}

/// The stores of the cache.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CacheSettings {
    /// Bound of the in-process store, in bytes; 0: nothing is cached in the process.
    pub memory_bytes: usize,
    /// The shared store of the region.
    pub redis: Option<RedisSettings>,
    /// Keys the hash of cache keys; `None` (only without Redis): make one at the start.
    pub key_secret: Option<Secret>,
}

/// The shared store of a region.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RedisSettings {
    /// `redis://...`; may hold a password.
    pub url: Secret,
}

/// The invalidation stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamSettings {
    /// How events travel.
    pub transport: StreamTransport,
    /// The first part of the replication slots' names.
    pub slot_prefix: String,
    /// A slot that holds back more log than this is dropped.
    pub slot_max_bytes: u64,
    /// How often an idle shard's position moves.
    pub heartbeat_interval: Duration,
}

/// How invalidation events travel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StreamTransport {
    /// Inside this process: it decodes every shard itself.
    InProcess,
    /// Through Kafka.
    Kafka {
        /// `host:port` of brokers, at least one.
        bootstrap: Vec<String>,
        /// The topic.
        topic: String,
    },
}

/// The probes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HealthSettings {
    /// Time between two probes of a server.
    pub probe_interval: Duration,
    /// Bound of one probe.
    pub probe_timeout: Duration,
    /// Failed probes in a row until a server counts as down, at least one.
    pub failures_until_down: u32,
}

/// Logging.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogSettings {
    /// Least severe level written.
    pub level: LogLevel,
    /// How lines look.
    pub format: LogFormat,
}

/// Severity of a log line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogLevel {
    /// What failed.
    Error,
    /// What may fail soon.
    Warn,
    /// What happened.
    Info,
    /// What was decided.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The name that the configuration and tracing use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For eyes.
    Text,
    /// One JSON object for each line.
    Json,
}
