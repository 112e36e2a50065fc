//! A shard's write-ahead log, decoded to tags and published in commit order.
//!
//! In: the primary of a shard ([`pool::BackendTarget`], followed wherever it moves) and an [`events::EventSink`].
//! Out: the invalidation stream of one (shard, database), whose rules are `coherence::Publisher`'s: this crate asks the server
//! for the facts and does what the rules say. [`INSTALL_SQL`] is what a database needs for it.
//!
//! **Invariant:** nothing is published before it is visible on the primary, nor by a server in recovery.
//! **Invariant:** nothing is confirmed to the slot before the carrier of the stream holds it.
//! **Invariant:** a row is tagged by what its table looked like at its place in the log, never by a later catalog; where that
//! can't be known the epoch is raised.
//! **Invariant:** what can't be told exactly is told coarsely (`T/!`, or a rise of the epoch), never left out.
//! **Invariant:** memory is bounded, whatever the carrier or the server does: at the bound the slot is not read on.
//! **Invariant:** knows nothing of entries, stores and sessions.

mod array;
mod catalog;
mod config;
mod control;
mod decoder;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod layout;
pub mod pgoutput;
mod publisher;
mod replication;
mod session;
mod status;
mod tagset;

pub use config::{
    DEFAULT_HEARTBEAT_INTERVAL, DEFAULT_MAX_RETAINED_BYTES, PublisherConfig, RESTING_INTERVAL, SlotName,
    SlotNameTooLong,
};
pub use control::INSTALL_VERSION;
pub use error::Error;
pub use publisher::{PublisherHandle, spawn};
pub use status::{PublisherState, PublisherStatus};

/// What Ringway keeps in every database of a shard: to be run on the primary, by a superuser, in one transaction. Idempotent.
pub const INSTALL_SQL: &str = include_str!("../sql/install.sql");
