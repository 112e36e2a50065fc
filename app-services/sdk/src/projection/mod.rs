//! Read models: documents made of events, for the questions that the shards can't answer well.
//!
//! A [`Projection`] says by a pure function how an event changes documents. [`Projector::run`] follows the topics and applies each event once in
//! effect, in the order of its aggregate; [`Projector::rebuild`] builds everything anew beside what is served, and switches over. A
//! [`ReadModel`] is how a service reads.
//!
//! Any server of MongoDB's protocol will do: no multi-document transactions, no change streams. A document belongs to one aggregate of one topic
//! and carries the version of the event that changed it last, so a change that is repeated changes nothing. Each aggregate has a *head* with the version of
//! the last event that was applied in full; what is known is passed over, and where events are missing they are read from the shards.
//!
//! **What Kafka has to keep.** Of a topic that has a journal ([`Source::Journal`]) nothing but what is younger than a projector's longest
//! standstill; even what is lost of it is filled in from the shards with the aggregate's next event, and a rebuild reads the shards. Of one that
//! has none ([`Source::Kafka`]) a rebuild knows what Kafka still has: its retention is how far back the read model goes.
//!
//! FerretDB (and so the server that `make up` starts) reads a document, then writes it: two writers of one document at the same moment may lose
//! a change. A partition has one projector at a time, so that this takes one that was given up as dead after ten seconds and writes in the same
//! millisecond as its successor. MongoDB's own updates are atomic. Of several accumulators in a `$group` FerretDB 1.24 fills
//! the first alone, and its `$unwind` drops all fields but the one.
//!
//! **Invariant:** readers see a generation that was built to the end, never one under way.
//! **Invariant:** an event that was applied, in part or in full, changes nothing when it is applied again.
//! **Invariant:** the events of an aggregate are applied in order, none is left out.

mod apply;
mod batch;
mod change;
mod generation;
mod projector;
mod rebuild;

pub use change::{Change, Collection, Projection, Source};
pub use generation::{DocumentSettings, Documents, ReadModel};
pub use mongodb::bson;
pub use projector::{Projector, ProjectorCounters, ProjectorSettings};
pub use rebuild::Rebuilt;
