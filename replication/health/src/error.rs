//! Why a probe failed.

use std::io;
use std::time::Duration;

/// Why a server could not be asked. For operators: it may name hosts, and never goes to clients.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The network's fault, or the server is gone.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// No connection was had: refused by the system, by the server, or wrong credentials.
    #[error("cannot connect: {0}")]
    Connect(#[from] pool::ConnectError),
    /// The server ended the connection.
    #[error("the server closed the connection ({unread} bytes of an unfinished message)")]
    Closed {
        /// What was left of a message.
        unread: usize,
    },
    /// The server was silent for too long.
    #[error("no answer within {bound:?}")]
    TimedOut {
        /// The bound of a probe.
        bound: Duration,
    },
    /// The server answered with an error.
    #[error("{message} (SQLSTATE {sqlstate})")]
    Refused {
        /// Its SQLSTATE.
        sqlstate: String,
        /// Its message.
        message: String,
    },
    /// Not the PostgreSQL protocol.
    #[error("not understood: {0}")]
    Wire(#[from] wire::WireError),
    /// An answer of another shape than the question calls for.
    #[error("unexpected answer: {0}")]
    Answer(&'static str),
}

impl ProbeError {
    /// Whether the connection can still be used.
    pub(crate) fn spares_the_link(&self) -> bool {
        matches!(self, Self::Refused { sqlstate, .. } if sqlstate == UNDEFINED_TABLE || sqlstate == WRONG_STATE)
    }

    /// Whether a table of the question doesn't exist (it was dropped since the last probe).
    pub(crate) fn is_undefined_table(&self) -> bool {
        matches!(self, Self::Refused { sqlstate, .. } if sqlstate == UNDEFINED_TABLE)
    }
}

/// `undefined_table`.
const UNDEFINED_TABLE: &str = "42P01";
/// `object_not_in_prerequisite_state`: the role changed between two parts of a question.
const WRONG_STATE: &str = "55000";
