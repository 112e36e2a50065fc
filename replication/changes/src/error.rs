//! What can go wrong, by whose fault.

use crate::pgoutput::Malformed;
use pool::{ConnectError, ControlError};
use std::time::Duration;

/// Why a publisher stopped. It starts anew by itself; each variant names the party at fault.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no connection to the primary.
    #[error("no connection to the primary: {0}")]
    Connect(#[from] ConnectError),
    /// The primary refused a statement or closed the connection.
    #[error("{0}")]
    Server(ControlError),
    /// The primary did not answer.
    #[error("the primary did not answer within {0:?}")]
    Silent(Duration),
    /// The server is a standby: somebody called it the primary too early, or it was demoted.
    #[error("the server is in recovery: it is no primary")]
    InRecovery,
    /// The server was demoted, or replaced behind its address, while it was being read.
    #[error("the server changed its timeline while it was being read")]
    TimelineChanged,
    /// The operator has not run the install script of this version.
    #[error(
        "schema ringway of this database has version {found:?}, this proxy needs {needed}: run `ringway install`"
    )]
    NotInstalled {
        /// What is there.
        found: Option<String>,
        /// What is needed.
        needed: u32,
    },
    /// Another proxy reads the slot: it publishes for all. Not a fault.
    #[error("another proxy publishes this stream")]
    SlotBusy,
    /// Another publisher raised the epoch.
    #[error("another publisher raised the epoch")]
    EpochMoved,
    /// The slot held back more of the log than the bound, and was dropped.
    #[error("the slot held back {held} bytes of the log, more than the bound of {bound}: it was dropped")]
    RetentionExceeded {
        /// What it held back.
        held: u64,
        /// The bound.
        bound: u64,
    },
    /// A transaction touched more tables than can be told: only a rise of the epoch tells it.
    #[error("a transaction touched more tables than a message can name")]
    TooManyTables,
    /// The server sent bytes that are no message of `pgoutput`.
    #[error("the server sent a malformed change: {0}")]
    Malformed(#[from] Malformed),
    /// The server sent messages in an order that the protocol doesn't allow.
    #[error("the server broke the order of the protocol: {0}")]
    Order(&'static str),
    /// The server's answer to a question of ours can't be read.
    #[error("the server's answer can't be read: {0}")]
    Answer(&'static str),
    /// The database has more tables than are followed.
    #[error("more than {0} tables")]
    TooManyRelations(usize),
    /// The server ended the stream of changes.
    #[error("the server ended the stream of changes")]
    StreamEnded,
    /// The rules of the stream.
    #[error(transparent)]
    Stream(#[from] coherence::Error),
    /// The carrier of the stream refused a message for good.
    #[error(transparent)]
    Sink(#[from] events::Error),
}

impl Error {
    /// What the server said, told apart by its SQLSTATE.
    pub(crate) fn from_server(error: ControlError) -> Self {
        match error {
            ControlError::Server(error) if error.sqlstate().as_bytes() == OBJECT_IN_USE => Self::SlotBusy,
            other => Self::Server(other),
        }
    }
}

/// `object_in_use`: another connection reads the slot.
const OBJECT_IN_USE: &[u8; 5] = b"55006";
