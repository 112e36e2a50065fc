//! Errors and notices that Ringway itself raises, one constructor per case of the conventions.

use std::borrow::Cow;

use crate::error::WireError;
use crate::sqlstate::{self, SqlState};
use crate::tag::BackendTag;
use crate::write::{Buffer, frame, put_cstr};

/// How serious a message is. In an ErrorResponse, [`Severity::Fatal`] says that the connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The statement failed; the connection goes on.
    Error,
    /// The connection ends.
    Fatal,
    /// A warning (NoticeResponse).
    Warning,
    /// A notice (NoticeResponse).
    Notice,
    /// Information that the user asked for (NoticeResponse).
    Info,
}

impl Severity {
    /// The word in fields S and V.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
            Severity::Warning => "WARNING",
            Severity::Notice => "NOTICE",
            Severity::Info => "INFO",
        }
    }
}

/// The routine that every message of our own names, so that a user can tell it from the server's.
pub const ROUTINE: &str = "ringway";

/// An error or notice made by Ringway. Its text goes to clients: no hosts, no secrets, no internal errors in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {sqlstate}: {message}", severity.word())]
pub struct ProxyError {
    /// How serious it is.
    pub severity: Severity,
    /// What kind it is.
    pub sqlstate: SqlState,
    /// The primary message.
    pub message: Cow<'static, str>,
    /// Why.
    pub detail: Option<Cow<'static, str>>,
    /// What to do about it.
    pub hint: Option<Cow<'static, str>>,
    /// Where in the statement, counted in characters from 1.
    pub position: Option<u32>,
}

impl ProxyError {
    /// An error after which the connection goes on.
    pub fn error(sqlstate: SqlState, message: impl Into<Cow<'static, str>>) -> Self {
        ProxyError {
            severity: Severity::Error,
            sqlstate,
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
        }
    }

    /// An error that ends the connection.
    pub fn fatal(sqlstate: SqlState, message: impl Into<Cow<'static, str>>) -> Self {
        ProxyError {
            severity: Severity::Fatal,
            ..ProxyError::error(sqlstate, message)
        }
    }

    /// The same with a detail.
    #[must_use]
    pub fn with_detail(self, detail: impl Into<Cow<'static, str>>) -> Self {
        ProxyError {
            detail: Some(detail.into()),
            ..self
        }
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<Cow<'static, str>>) -> Self {
        ProxyError {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// The same with a position in the statement.
    #[must_use]
    pub fn with_position(self, position: u32) -> Self {
        ProxyError {
            position: Some(position),
            ..self
        }
    }

    /// The same with another severity.
    #[must_use]
    pub fn with_severity(self, severity: Severity) -> Self {
        ProxyError { severity, ..self }
    }

    /// Whether the connection ends with it.
    pub fn is_fatal(&self) -> bool {
        self.severity == Severity::Fatal
    }

    /// Appends it as ErrorResponse.
    pub fn encode(&self, buf: &mut impl Buffer) {
        self.encode_as(BackendTag::ErrorResponse, buf);
    }

    /// Appends it as NoticeResponse.
    pub fn encode_notice(&self, buf: &mut impl Buffer) {
        self.encode_as(BackendTag::NoticeResponse, buf);
    }

    fn encode_as(&self, tag: BackendTag, buf: &mut impl Buffer) {
        frame(buf, tag.byte(), |buf| {
            put_field(buf, b'S', self.severity.word().as_bytes());
            put_field(buf, b'V', self.severity.word().as_bytes());
            put_field(buf, b'C', self.sqlstate.as_bytes());
            put_field(buf, b'M', self.message.as_bytes());
            if let Some(detail) = &self.detail {
                put_field(buf, b'D', detail.as_bytes());
            }
            if let Some(hint) = &self.hint {
                put_field(buf, b'H', hint.as_bytes());
            }
            if let Some(position) = self.position {
                put_field(buf, b'P', position.to_string().as_bytes());
            }
            put_field(buf, b'R', ROUTINE.as_bytes());
            buf.put_u8(0);
        });
    }
}

fn put_field(buf: &mut impl Buffer, code: u8, text: &[u8]) {
    buf.put_u8(code);
    put_cstr(buf, text);
}

/// The cases of the conventions.
impl ProxyError {
    /// The client asks for a database that isn't configured. PostgreSQL's own words.
    pub fn unknown_database(name: &str) -> Self {
        ProxyError::fatal(
            sqlstate::INVALID_CATALOG_NAME,
            format!("database \"{name}\" does not exist"),
        )
    }

    /// A wrong password, or a user that doesn't exist: the client can't tell which. PostgreSQL's own words.
    pub fn password_failed(user: &str) -> Self {
        ProxyError::fatal(
            sqlstate::INVALID_PASSWORD,
            format!("password authentication failed for user \"{user}\""),
        )
    }

    /// A startup or an authentication that is refused for another reason than the password.
    pub fn authorization(message: impl Into<Cow<'static, str>>) -> Self {
        ProxyError::fatal(sqlstate::INVALID_AUTHORIZATION_SPECIFICATION, message)
    }

    /// The proxy has as many clients as it may.
    pub fn too_many_clients() -> Self {
        ProxyError::fatal(sqlstate::TOO_MANY_CONNECTIONS, "sorry, too many clients already")
    }

    /// The pool's queue is full.
    pub fn pool_full() -> Self {
        ProxyError::error(
            sqlstate::TOO_MANY_CONNECTIONS,
            "no server connection is free and the queue is full",
        )
        .with_hint("Raise default_pool_size, or open fewer transactions at a time.")
    }

    /// No server connection became free within `query_wait_timeout`.
    pub fn wait_timeout() -> Self {
        ProxyError::error(
            sqlstate::TOO_MANY_CONNECTIONS,
            "query_wait_timeout: no server connection became free",
        )
        .with_hint("Raise default_pool_size or query_wait_timeout, or open fewer transactions at a time.")
    }

    /// The server connection broke, or none could be opened; `doing` completes "connection to the server lost ...".
    pub fn backend_lost(doing: &str) -> Self {
        ProxyError::error(
            sqlstate::CONNECTION_FAILURE,
            format!("connection to the server lost {doing}"),
        )
    }

    /// No endpoint of the shard takes writes.
    pub fn no_primary(shard: impl std::fmt::Display) -> Self {
        ProxyError::error(
            sqlstate::CANNOT_CONNECT_NOW,
            format!("shard {shard} has no primary"),
        )
        .with_hint("A failover may be under way. Retry in a moment.")
    }

    /// The proxy is shutting down.
    pub fn draining() -> Self {
        ProxyError::fatal(
            sqlstate::ADMIN_SHUTDOWN,
            "terminating connection because the proxy is shutting down",
        )
    }

    /// A client has said nothing for `client_idle_timeout`.
    pub fn client_idle() -> Self {
        ProxyError::fatal(
            sqlstate::IDLE_SESSION_TIMEOUT,
            "terminating connection due to client_idle_timeout",
        )
    }

    /// A transaction has taken `transaction_timeout`.
    pub fn transaction_timeout() -> Self {
        ProxyError::fatal(
            sqlstate::TRANSACTION_TIMEOUT,
            "terminating connection due to transaction_timeout",
        )
    }

    /// A transaction block in statement mode. PgBouncer's own words.
    pub fn statement_mode() -> Self {
        ProxyError::fatal(
            sqlstate::PROTOCOL_VIOLATION,
            "transaction blocks not allowed in statement pooling mode",
        )
        .with_hint("pool_mode = \"transaction\" allows them.")
    }

    /// An administrator ended the connection. PostgreSQL's own words.
    pub fn killed() -> Self {
        ProxyError::fatal(
            sqlstate::ADMIN_SHUTDOWN,
            "terminating connection due to administrator command",
        )
    }

    /// An administrator has said that the database takes no new clients. PostgreSQL's own words.
    pub fn disabled_database(name: &str) -> Self {
        ProxyError::fatal(
            sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("database \"{name}\" is not currently accepting connections"),
        )
    }

    /// A statement ran longer than `query_timeout`.
    pub fn query_timeout() -> Self {
        ProxyError::error(
            sqlstate::QUERY_CANCELED,
            "canceling statement due to query_timeout",
        )
    }

    /// The client cancelled. PostgreSQL's own words.
    pub fn canceled() -> Self {
        ProxyError::error(
            sqlstate::QUERY_CANCELED,
            "canceling statement due to user request",
        )
    }

    /// A transaction was idle for longer than `idle_transaction_timeout`.
    pub fn idle_in_transaction() -> Self {
        ProxyError::fatal(
            sqlstate::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
            "terminating connection due to idle_transaction_timeout",
        )
    }

    /// A statement that can't be answered over several shards.
    pub fn unsupported(
        message: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
        hint: impl Into<Cow<'static, str>>,
    ) -> Self {
        ProxyError::error(sqlstate::FEATURE_NOT_SUPPORTED, message)
            .with_detail(detail)
            .with_hint(hint)
    }

    /// The rows that a statement touches are moving to another shard.
    pub fn slot_moving() -> Self {
        ProxyError::error(
            sqlstate::SERIALIZATION_FAILURE,
            "the rows are moving to another shard",
        )
        .with_hint("Retry the transaction.")
    }

    /// A commit was sent and its answer lost.
    pub fn commit_unknown() -> Self {
        ProxyError::fatal(
            sqlstate::TRANSACTION_RESOLUTION_UNKNOWN,
            "the server connection was lost while committing: the outcome is unknown",
        )
    }

    /// A rule of residency forbids the statement.
    pub fn residency(detail: impl Into<Cow<'static, str>>) -> Self {
        ProxyError::error(
            sqlstate::INSUFFICIENT_PRIVILEGE,
            "a residency rule forbids this statement",
        )
        .with_detail(detail)
    }

    /// The client doesn't keep to the protocol. Ends the connection.
    pub fn protocol_violation(message: impl Into<Cow<'static, str>>) -> Self {
        ProxyError::fatal(sqlstate::PROTOCOL_VIOLATION, message)
    }

    /// In a failed transaction block. PostgreSQL's own words.
    pub fn in_failed_transaction() -> Self {
        ProxyError::error(
            sqlstate::IN_FAILED_SQL_TRANSACTION,
            "current transaction is aborted, commands ignored until end of transaction block",
        )
    }

    /// A fault of Ringway. What exactly goes to the log, not to the client.
    pub fn internal() -> Self {
        ProxyError::error(sqlstate::INTERNAL_ERROR, "internal error of the proxy")
    }
}

impl From<WireError> for ProxyError {
    /// What a client that sent malformed bytes is told.
    fn from(error: WireError) -> Self {
        ProxyError::fatal(error.sqlstate(), error.to_string())
    }
}
