//! Where a server is, and as whom to log in.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::stream::TcpOptions;
use wire::startup::ProtocolVersion;

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

/// What a role proves itself by: its password, or what can stand for it. `Debug` shows that there is one, and nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Form);

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// The password: good for everything.
    Clear(Arc<str>),
    /// `md5...` as in `pg_authid`: good for md5.
    Md5(Arc<str>),
    /// Good for SCRAM, where the server keeps the same verifier.
    ScramKeys(Arc<ScramKeys>),
}

/// The keys of a SCRAM verifier's password.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    /// The key that makes proofs.
    pub client_key: [u8; 32],
    /// The key by which the server proves itself.
    pub server_key: [u8; 32],
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramKeys(***)")
    }
}

impl Password {
    /// Wraps a password in clear.
    pub fn new(text: &str) -> Self {
        Password(Form::Clear(Arc::from(text)))
    }

    /// Wraps an md5 digest as it stands in `pg_authid`.
    pub fn md5(stored: &str) -> Self {
        Password(Form::Md5(Arc::from(stored)))
    }

    /// Wraps the keys of a SCRAM verifier.
    pub fn scram_keys(keys: ScramKeys) -> Self {
        Password(Form::ScramKeys(Arc::new(keys)))
    }

    /// The password in clear, if that is what this is.
    pub fn clear(&self) -> Option<&str> {
        match &self.0 {
            Form::Clear(text) => Some(text),
            Form::Md5(_) | Form::ScramKeys(_) => None,
        }
    }

    pub(crate) fn form(&self) -> &Form {
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
    /// The version of the protocol that is asked for; a server that doesn't know it may answer with an older one.
    pub version: ProtocolVersion,
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
            version: ProtocolVersion::V3_0,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            tcp: TcpOptions::default(),
        }
    }
}
