//! When a cached answer may be used: decided in memory, against the shards' own commit log.
//!
//! The stores keep values and may lose, repeat or roll them back. Each value carries a header ([`Entry`]) that says what it
//! depended on (tags) and which position of the log its snapshot had at least (fill). Each proxy applies the stream of every
//! shard's changes ([`StreamMessage`]) to a small array in memory ([`ShardCoherence`]). A value is used when the array proves
//! that nothing it depends on has changed since ([`check_use`]).
//!
//! In: what servers, streams, stores, clients and clocks said, as plain values. Out: decisions, tags, keys, messages, tokens.
//!
//! The life of an answer: [`KeyHasher::key`] finds an entry, [`check_use`] proves it; or else a [`FillTicket`] is
//! taken, the statement goes to a server that [`standby_qualifies`] or [`primary_qualifies`], and ticket and tags
//! become an [`Entry`]; whoever waited for it asks [`check_use`] again.
//! A change: the log's text becomes [`TableTags`], [`Publisher`] decides when it may be told, [`ShardCoherence::apply`] takes it in.
//! A session: [`SessionPositions::wrote`] at each acknowledged write, [`SessionPositions::need_for`] before each read.
//!
//! **Invariant:** no I/O, no clock, no randomness, no threads: time is a [`topology::Mono`] that the caller read.
//!
//! **Invariant:** what is not proved is refused. No rule here can be switched off; the simulation in `tests/simulation` takes
//! them out by lying to these functions, and shows what each is for.
//!
//! **Invariant:** the clock of another host never decides whether an answer is true: only how long it is kept.
//!
//! **Invariant:** reading a shard's state takes no lock and allocates nothing.
//!
//! **Invariant:** knows nothing of SQL, sockets, Kafka or Redis.

mod canonical;
mod codec;
mod entry;
mod error;
mod gate;
mod key;
mod message;
mod publisher;
mod samples;
mod session;
mod shard;
mod tags;
mod token;

pub use canonical::{Canonical, WAL_SETTINGS, canonical_binary, canonical_text};
pub use entry::{Entry, EntryPart, FillTicket, MAX_ENTRY_SHARDS, MAX_ENTRY_TAGS, NoFill, WallAnchor};
pub use error::{Error, Malformed};
pub use gate::{
    ReadLevel, Refusal, StandbyOffer, cache_gate, check_use, primary_qualifies, standby_qualifies, unchanged,
};
pub use key::{
    AnswerShape, CacheKey, KeyContext, KeyHasher, KeyParameter, KeyPrefix, OUTPUT_SETTINGS, StatementKey,
};
pub use message::{MAX_TAGS, MessageKind, StreamMessage};
pub use publisher::{
    DecodedTransaction, MAX_IN_FLIGHT, MAX_PENDING_TAGS, MAX_PENDING_TRANSACTIONS, MAX_TRANSACTION_TAGS,
    Publisher, RaiseReason, SlotAction, SlotState, StartDecision, StartFacts, Xid, XidSnapshot, on_start,
};
pub use samples::{Lease, MAX_SAMPLES, PrimarySample, SAMPLE_SPACING};
pub use session::{SessionPositions, TokenDecision, WriteNeed};
pub use shard::{Applied, Coherence, DEFAULT_CELLS, MAX_CELLS, ShardCoherence, ShardView, ViewGuard};
pub use tags::{TableTags, TagHash};
pub use token::{MAX_TOKEN_BYTES, MAX_TOKEN_SHARDS, Token};
