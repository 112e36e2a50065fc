//! Aggregates whose state is what happened to them.
//!
//! A [`Journal`] appends events in the caller's transaction, on the aggregate's shard, to what the caller has seen of it: whoever has not seen
//! the last event is refused with a [`Conflict`]. Loading an aggregate folds its events over its last snapshot. With
//! [`Publication::Outbox`] each event also goes to the outbox, by the same transaction and under the same id and version, so that Kafka gets
//! it in order. A [`Scan`] reads all that was ever appended on a shard, for whoever builds anew what is made of events.
//!
//! **Invariant:** for each (topic, aggregate) versions are 1, 2, 3 and so on without a gap; an event is never changed and never deleted.
//! **Invariant:** folding the events after a snapshot over it gives what folding all events from the beginning gives.
//! **Invariant:** of several transactions that append after the same version one is committed.

mod fold;
mod journal;
mod scan;

pub use fold::{Aggregate, Encoded, Loaded, Unreadable, fold};
pub(crate) use journal::recorded;
pub use journal::{AppendError, Conflict, Journal, Publication};
pub use scan::Scan;
