//! What can be wrong with bytes. The sender of the bytes is at fault; the caller knows whether that is a client or a backend.

use crate::SqlState;
use crate::sqlstate;

/// Bytes that are no message of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The length field is smaller than itself.
    #[error("invalid message length {len}")]
    InvalidLength {
        /// The length field as read, a signed number in the protocol.
        len: i32,
    },
    /// The length field exceeds the bound of its reader.
    #[error("message of {len} bytes exceeds the limit of {limit}")]
    TooLong {
        /// The length of the whole frame.
        len: usize,
        /// The bound that was given.
        limit: usize,
    },
    /// No message of this direction has this tag.
    #[error("invalid message type {0}")]
    UnknownTag(u8),
    /// The body does not have the layout of its message.
    #[error("invalid message format in {message}: {fault}")]
    Body {
        /// The protocol's name of the message.
        message: &'static str,
        /// What is wrong with the body.
        fault: Malformed,
    },
}

/// What is wrong with the body of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The body ends before the message does.
    #[error("insufficient data left in message")]
    Short,
    /// The body goes on after the message has ended.
    #[error("unexpected data after the message")]
    Trailing,
    /// A string without its terminator.
    #[error("invalid string in message")]
    Unterminated,
    /// A count, length or code outside of its range.
    #[error("value out of range")]
    Range,
    /// A Bind whose number of format codes is neither 0, 1 nor that of its values.
    #[error("number of format codes does not match number of parameters")]
    FormatCount,
}

impl WireError {
    /// The SQLSTATE under which a peer is told: always `protocol_violation`.
    pub fn sqlstate(&self) -> SqlState {
        sqlstate::PROTOCOL_VIOLATION
    }
}
