//! The slot of a shard key, by PostgreSQL's own extended hash functions.
//!
//! In: a [`KeyValue`]. Out: the [`Slot`] for which a server answers
//! `satisfies_hash_partition(parent, 16384, slot, key)` with true.
//!
//! # Why `((h & 16383) + 10467) & 16383`
//! `compute_partition_hash_value` (PostgreSQL's `partitioning/partbounds.c`) starts with `rowHash = 0` and folds
//! every column that is not NULL in by `rowHash = hash_combine64(rowHash, h)`, `h` being the extended hash of the
//! column's operator family under `HASH_PARTITION_SEED`. `hash_combine64(a, b)` is
//! `a ^ (b + 0x49a0f4dd15e5a8e3 + (a << 54) + (a >> 7))`: with `a = 0` only `h + 0x49a0f4dd15e5a8e3` remains. The
//! partition is `rowHash % modulus`. The modulus 16384 is a power of two, so that only the low 14 bits count, and
//! carries go upwards only: `0x49a0f4dd15e5a8e3 & 16383` is 10467.
//!
//! The hash functions give the results of little-endian servers, which all supported platforms are.

mod lookup3;

use crate::KeyValue;
use topology::Slot;

/// `HASH_PARTITION_SEED` of PostgreSQL's `catalog/partition.h`.
const HASH_PARTITION_SEED: u64 = 0x7A5B_2236_7996_DCFD;
/// What `hash_combine64(0, h)` adds to `h` (PostgreSQL's `common/hashfn.h`).
const COMBINE_INCREMENT: u64 = 0x49a0_f4dd_15e5_a8e3;

/// The slot of a row whose shard key is NULL: no column is folded in, so that `rowHash` stays 0.
pub fn slot_of_null() -> Slot {
    Slot::from_low_bits(0)
}

/// The slot that owns the rows of this key.
pub fn slot_of(key: &KeyValue<'_>) -> Slot {
    Slot::from_low_bits(extended_hash(key).wrapping_add(COMBINE_INCREMENT))
}

/// PostgreSQL's extended hash of the key under the seed of hash partitioning.
fn extended_hash(key: &KeyValue<'_>) -> u64 {
    match key {
        // timestamp_hash_extended is hashint8extended on the microseconds.
        KeyValue::Int(number) | KeyValue::TimestampTz(number) => hash_int8(*number),
        KeyValue::Text(text) => lookup3::hash_bytes(text.as_bytes(), HASH_PARTITION_SEED),
        KeyValue::Uuid(bytes) => lookup3::hash_bytes(bytes, HASH_PARTITION_SEED),
        KeyValue::Bytea(bytes) => lookup3::hash_bytes(bytes, HASH_PARTITION_SEED),
        // The operator family of date uses hashint4extended; hashint8extended agrees with it by design.
        KeyValue::Date(days) => hash_int8(i64::from(*days)),
    }
}

/// `hashint8extended`: the halves are folded so that a number hashes the same as `smallint`, `integer` and `bigint`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the two halves are what is wanted"
)]
fn hash_int8(number: i64) -> u64 {
    let low = number as u32;
    let high = (number >> 32) as u32;
    let folded = low ^ if number >= 0 { high } else { !high };
    lookup3::hash_u32(folded, HASH_PARTITION_SEED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_increment_is_the_one_of_the_design() {
        assert_eq!(COMBINE_INCREMENT & 16383, 10467);
        assert_eq!(HASH_PARTITION_SEED, 8_816_678_312_871_386_365);
    }

    /// Written down from a PostgreSQL 15 server; tests/slot_hash.rs compares many more with a running one.
    #[test]
    fn slots_as_a_server_gives_them() {
        let text = |text: &'static str| KeyValue::Text(text.into());
        let uuid = 0xa0ee_bc99_9c0b_4ef8_bb6d_6bb9_bd38_0a11_u128;
        for (key, slot) in [
            (KeyValue::Int(0), 6576),
            (KeyValue::Int(1), 4024),
            (KeyValue::Int(-1), 12197),
            (KeyValue::Int(42), 6754),
            (KeyValue::Int(i64::MAX), 14966),
            (KeyValue::Int(i64::MIN), 8575),
            (text(""), 10406),
            (text("a"), 3934),
            (text("elevenbytes"), 9508),
            (text("twelve bytes"), 9494),
            (text("größe und länge"), 3954),
            (KeyValue::Uuid(uuid.to_be_bytes()), 9680),
            (KeyValue::Bytea(vec![0xff, 0].into()), 5649),
            (KeyValue::Date(8825), 15591),
            (KeyValue::Date(i32::MAX), 8575),
            (KeyValue::TimestampTz(762_523_200_000_000), 14238),
        ] {
            assert_eq!(slot_of(&key).number(), slot, "{key}");
        }
    }
}
