//! Rows over several shards: streams merged on the way out, COPY rows split on the way in.
//!
//! **Invariant:** knows nothing about sockets.

pub mod iso;
mod spec;

pub use spec::{Aggregate, ColumnType, MergeKind, MergeSpec, OrderKey};
