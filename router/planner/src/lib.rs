//! Facts and a snapshot to a plan; slot hash; ring.
//!
//! In: what `sql` says of a statement, the [`Catalog`] of the database, the configured [`Tables`], values and the slot
//! map. Out: a [`Plan`], a plain value: where the statement goes, what each shard gets, how rows are merged, whether
//! the cache may answer. [`SlotMap`](topology::SlotMap)s are proposed here too.
//!
//! **Invariant:** no I/O, no clock, no randomness: time is an argument. A statement is answered as one PostgreSQL would
//! answer it or refused with a reason and a hint; what is not proved to be right over shards is refused.

mod array;
mod catalog;
mod effects;
pub mod endpoint;
mod evaluate;
pub mod explain;
mod key_value;
mod keys;
mod notices;
mod plan;
mod prepare;
mod refusals;
mod resolve;
mod ring;
mod slot_hash;
mod tables;
mod template;
mod text;
mod values;

pub use catalog::{
    Catalog, Collation, Column, DefaultKind, Function, FunctionKind, Index, Table, TableKind, Volatility,
};
pub use effects::Effects;
pub use key_value::{KeyError, KeyValue};
pub use notices::{Notice, check};
pub use plan::{
    Access, Answer, CacheBy, CachePlan, CacheTemplate, CopyPlan, Local, OneShard, Part, PartText, Plan,
    Refusal, Route,
};
pub use ring::{LOAD_MARGIN_PERCENT, MAX_SHARDS, RingError, WeightedShard, propose, propose_from};
pub use slot_hash::{slot_of, slot_of_null};
pub use tables::Tables;
pub use template::{Request, Template};
pub use values::Values;

#[cfg(test)]
mod tests;
