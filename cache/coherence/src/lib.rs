//! When a cached answer may be used: decided in memory, against the shards' own commit log.

mod codec;
mod error;
mod message;
mod publisher;
mod tags;

pub use error::{Error, Malformed};
pub use message::{MAX_TAGS, MessageKind, StreamMessage};
pub use publisher::{
    DecodedTransaction, MAX_PENDING_TRANSACTIONS, MAX_TRANSACTION_TAGS, Publisher, RaiseReason, SlotAction,
    SlotState, StartDecision, StartFacts, Xid, XidSnapshot, on_start,
};
pub use tags::{TableTags, TagHash};
