//! The vocabulary of the cluster: regions, shards, endpoints, slots, positions and the snapshot
//! that every statement is planned against.
//!
//! In: nothing. Out: plain values that the other crates pass to each other.
//!
//! **Invariant:** no I/O, no clock, no serialisation, no policy. Time is a [`Mono`] that the caller read.

mod activity;
mod ids;
mod position;
mod sharding;
mod slots;
mod snapshot;

pub use activity::Activity;
pub use ids::{EndpointId, RegionName, ShardId};
pub use position::{Epoch, Lsn, Mono, ParseLsnError, Position, Timeline};
pub use sharding::{CacheLevel, CachePolicy, GateClosed, KeyType, Sharding, TableConfig, TableName};
pub use slots::{SLOT_COUNT, Slot, SlotMap, SlotMapError};
pub use snapshot::{Endpoint, EndpointState, Health, ReplaySample, Role, ShardState, Snapshot};
