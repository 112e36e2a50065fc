//! Where a server is, and as whom to log in.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::stream::TcpOptions;
use crate::tls::ServerTls;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A host name or IP address, and a port.
    Tcp {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// The folder of a unix socket, and the port that is part of its name.
    Unix {
        /// Folder.
        folder: String,
        /// Port.
        port: u16,
    },
}

impl Address {
    /// A host that starts with `/` is the folder of a unix socket, as in libpq.
    pub fn new(host: &str, port: u16) -> Address {
        if host.starts_with('/') {
            Address::Unix {
                folder: host.to_owned(),
                port,
            }
        } else {
            Address::Tcp {
                host: host.to_owned(),
                port,
            }
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port } => write!(f, "{host}:{port}"),
            Address::Unix { folder, port } => write!(f, "{folder}/.s.PGSQL.{port}"),
        }
    }
}

/// A password. `Debug` shows that there is one, and nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Arc<str>);

impl Password {
    /// Wraps `text`.
    pub fn new(text: &str) -> Self {
        Password(Arc::from(text))
    }

    /// The text itself: for a login.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

/// Whether the connection is for streaming replication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Replication {
    /// An ordinary connection.
    None,
    /// A walsender bound to a database (`replication=database`): logical decoding and SQL.
    Database,
}

/// A server, a database on it, and a login.
#[derive(Debug, Clone)]
pub struct BackendTarget {
    /// Where it listens.
    pub address: Address,
    /// Whether and how to use TLS; never on unix sockets.
    pub tls: ServerTls,
    /// The database.
    pub database: String,
    /// The role.
    pub user: String,
    /// Its password; `None` for roles that need none.
    pub password: Option<Password>,
    /// Whether a server may have the password in clear without TLS.
    pub cleartext_without_tls: bool,
    /// Further startup parameters (`application_name`, settings).
    pub parameters: Vec<(String, String)>,
    /// Whether it is for replication.
    pub replication: Replication,
    /// The bound of connecting, TLS and logging in together.
    pub connect_timeout: Duration,
    /// How a TCP connection is watched.
    pub tcp: TcpOptions,
}

/// The bound of connecting and logging in where nothing else is said; PgBouncer's `server_connect_timeout`.
pub(crate) const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

impl BackendTarget {
    /// A target without TLS, password and parameters.
    pub fn new(address: Address, database: &str, user: &str) -> Self {
        BackendTarget {
            address,
            tls: ServerTls::disabled(),
            database: database.to_owned(),
            user: user.to_owned(),
            password: None,
            cleartext_without_tls: false,
            parameters: Vec::new(),
            replication: Replication::None,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            tcp: TcpOptions::default(),
        }
    }
}
