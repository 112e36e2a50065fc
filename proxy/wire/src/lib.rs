//! PostgreSQL v3 frames and messages, both directions.
//!
//! In: byte slices as they came from a socket. Out: where a frame ends, what its body says (borrowed), and bytes of
//! messages that Ringway makes itself, appended to a buffer of the caller.
//!
//! A [`frame::scan`] finds frames without looking into them; bodies are decoded one message type at a time by
//! `Type::decode(body)`, where `body` is the frame without its five bytes of tag and length. `encode` appends the whole frame.
//!
//! **Invariant:** no sockets, no async, no clock, no SQL, no session: what a message *means* is for `session`.
//! **Invariant:** nothing is reserved or copied for a length that was only announced; limits are checked on the length field.
//! **Invariant:** text is bytes. Nothing is decoded as UTF-8, so SQL in any client encoding passes unaltered.
//! **Invariant:** decoders are strict (trailing bytes, short bodies, negative counts are errors) and never panic.
//! **Invariant:** an encoder never writes a NUL inside a string (it writes `?` for it), so text can't smuggle a field.

pub mod backend;
pub mod copy;
mod error;
pub mod frame;
pub mod frontend;
pub mod md5;
mod proxy_error;
mod read;
pub mod sqlstate;
pub mod startup;
pub mod tag;
mod values;
mod write;

pub use error::{Malformed, WireError};
pub use proxy_error::{ProxyError, ROUTINE, Severity};
pub use sqlstate::SqlState;
pub use values::{CancelKey, Format, FormatCodes, MAX_CANCEL_SECRET, Oid, Oids, TransactionStatus, Values};
pub use write::Buffer;

#[cfg(test)]
mod tests;
