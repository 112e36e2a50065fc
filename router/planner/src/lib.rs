//! Facts and a snapshot to a plan; slot hash; ring.

mod key_value;
mod slot_hash;

pub use key_value::{KeyError, KeyValue};
pub use slot_hash::{slot_of, slot_of_null};
