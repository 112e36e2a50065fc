//! Facts and a snapshot to a plan; slot hash; ring.

mod key_value;
mod ring;
mod slot_hash;

pub use key_value::{KeyError, KeyValue};
pub use ring::{LOAD_MARGIN_PERCENT, MAX_SHARDS, RingError, WeightedShard, propose, propose_from};
pub use slot_hash::{slot_of, slot_of_null};
