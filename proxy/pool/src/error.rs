//! What can go wrong, and who is at fault.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use wire::backend::ErrorFields;
use wire::{ProxyError, SqlState, WireError, frame, sqlstate};

/// Who is at fault when a connection can't be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    /// Nobody answers there: a matter for failover.
    Unreachable,
    /// The server answers and refuses.
    Server,
    /// The settings: password, TLS or user are wrong.
    Settings,
}

/// An ErrorResponse, kept as it came.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerError {
    frame: Box<[u8]>,
    sqlstate: SqlState,
}

impl fmt::Debug for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerError({}: {})", self.sqlstate, self.message())
    }
}

impl ServerError {
    /// Keeps a whole ErrorResponse frame.
    ///
    /// # Errors
    /// A body that isn't one of an ErrorResponse.
    pub fn from_frame(error_frame: &[u8]) -> Result<Self, WireError> {
        let fields = ErrorFields::decode(frame::body(error_frame))?;
        let sqlstate = fields.sqlstate().unwrap_or(sqlstate::INTERNAL_ERROR);
        Ok(ServerError {
            frame: error_frame.into(),
            sqlstate,
        })
    }

    /// The whole frame, to be sent to a client as it is.
    pub fn frame(&self) -> &[u8] {
        &self.frame
    }

    /// Its SQLSTATE; `XX000` if it carries none.
    pub fn sqlstate(&self) -> SqlState {
        self.sqlstate
    }

    /// Its primary message, for logs.
    pub fn message(&self) -> String {
        let fields = ErrorFields::decode(frame::body(&self.frame));
        fields
            .map(|fields| String::from_utf8_lossy(fields.message()).into_owned())
            .unwrap_or_default()
    }
}

/// Why there is no connection to a server. The text is for logs; clients get [`ConnectError::to_client`].
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The socket couldn't be opened, or broke while logging in.
    #[error("can't reach the server: {0}")]
    Unreachable(#[source] io::Error),
    /// Connecting and logging in took longer than allowed.
    #[error("connecting took longer than {0:?}")]
    Timeout(Duration),
    /// The server refused, and said why.
    #[error("the server refused the connection: {}: {}", .0.sqlstate(), .0.message())]
    Server(ServerError),
    /// The server has no TLS and the settings require it.
    #[error("the server does not offer TLS, which the settings require")]
    NoTls,
    /// The TLS handshake failed: a certificate, a name, a version.
    #[error("TLS: {0}")]
    Tls(#[source] io::Error),
    /// The server wants a password and the settings have none.
    #[error("the server asks for a password and none is configured")]
    NoPassword,
    /// What is known of the user's secret is not good for what the server asks for: a verifier, or the keys of one.
    #[error("the server asks for {0}, for which the known secret of the user is no good")]
    WrongSecret(&'static str),
    /// The server wants the password in clear over a connection without TLS.
    #[error("the server asks for the password in clear over a connection without TLS")]
    CleartextRefused,
    /// The server wants a method that isn't spoken here.
    #[error("the server asks for an authentication method that is not supported: {0}")]
    UnsupportedMethod(String),
    /// The SCRAM exchange failed on our side: the server didn't prove that it knows the password.
    #[error("SCRAM: {0}")]
    Scram(#[source] io::Error),
    /// What the server sent isn't the protocol.
    #[error("the server violated the protocol: {0}")]
    Protocol(#[from] WireError),
    /// The server sent a message that has no place there.
    #[error("the server sent an unexpected message {0:?}")]
    Unexpected(char),
    /// The server speaks another protocol than 3.0.
    #[error("the server does not speak protocol 3.0")]
    ProtocolVersion,
    /// A name or parameter in the settings holds a NUL byte.
    #[error("a NUL byte in the {0}")]
    NulByte(&'static str),
}

impl ConnectError {
    /// Who is at fault.
    pub fn blame(&self) -> Blame {
        match self {
            ConnectError::Unreachable(_) | ConnectError::Timeout(_) => Blame::Unreachable,
            ConnectError::Server(error) => match error.sqlstate {
                // Starting up, shutting down or recovering: as good as not there.
                sqlstate::CANNOT_CONNECT_NOW | sqlstate::ADMIN_SHUTDOWN | sqlstate::CRASH_SHUTDOWN => {
                    Blame::Unreachable
                }
                sqlstate::INVALID_PASSWORD | sqlstate::INVALID_AUTHORIZATION_SPECIFICATION => Blame::Settings,
                _ => Blame::Server,
            },
            ConnectError::Protocol(_) | ConnectError::Unexpected(_) | ConnectError::ProtocolVersion => {
                Blame::Server
            }
            ConnectError::NoTls
            | ConnectError::Tls(_)
            | ConnectError::NoPassword
            | ConnectError::WrongSecret(_)
            | ConnectError::CleartextRefused
            | ConnectError::UnsupportedMethod(_)
            | ConnectError::Scram(_)
            | ConnectError::NulByte(_) => Blame::Settings,
        }
    }

    pub(crate) fn scram(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        ConnectError::Scram(io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// What the server said, if it is the server that refused.
    pub fn server_error(&self) -> Option<&ServerError> {
        match self {
            ConnectError::Server(error) => Some(error),
            _ => None,
        }
    }

    /// What a client is told where the server's own words aren't: no hosts, no details of the settings.
    pub fn to_client(&self) -> ProxyError {
        if let ConnectError::NoPassword | ConnectError::WrongSecret(_) = self {
            return ProxyError::error(
                sqlstate::INVALID_AUTHORIZATION_SPECIFICATION,
                "the server asks for a secret of this user that the proxy does not know",
            )
            .with_hint(
                "Give the user a password in [[user]], or let the server trust the proxy's connections.",
            );
        }
        ProxyError::error(sqlstate::CONNECTION_FAILURE, "could not connect to the server")
            .with_hint("The proxy's log says why. Retry in a moment.")
    }
}

/// Why no connection was lent.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CheckoutError {
    /// As many wait as may.
    #[error("the queue for server connections is full")]
    QueueFull,
    /// None became free in time.
    #[error("no server connection became free in time")]
    WaitTimeout,
    /// There is none, and none can be opened.
    #[error(transparent)]
    Connect(Rc<ConnectError>),
    /// The pool is being emptied.
    #[error("the pool is draining")]
    Draining,
}

impl CheckoutError {
    /// What a client is told. Where the server refused the login, its own ErrorResponse is in [`ConnectError::server_error`].
    pub fn to_client(&self) -> ProxyError {
        match self {
            CheckoutError::QueueFull => ProxyError::pool_full(),
            CheckoutError::WaitTimeout => ProxyError::wait_timeout(),
            CheckoutError::Connect(error) => error.to_client(),
            CheckoutError::Draining => ProxyError::draining(),
        }
    }
}
