//! Slots and the explicit map from slot to shard: the only thing that routing reads.

use crate::ShardId;
use std::fmt;

/// How many slots the key space is cut into.
pub const SLOT_COUNT: u16 = 16384;

/// One of the [`SLOT_COUNT`] pieces of the key space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(u16);

impl Slot {
    /// The slot of this number; `None` at or above [`SLOT_COUNT`].
    pub fn new(number: u16) -> Option<Self> {
        (number < SLOT_COUNT).then_some(Self(number))
    }

    /// The slot that the low bits of `hash` name.
    pub fn from_low_bits(hash: u64) -> Self {
        Self(u16::try_from(hash & u64::from(SLOT_COUNT - 1)).unwrap_or(0))
    }

    /// Its number, below [`SLOT_COUNT`].
    pub fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which shard owns each slot, with the version that tokens and plans name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotMap {
    version: u64,
    owners: Box<[ShardId]>,
}

/// A map that does not name exactly one shard for every slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotMapError {
    /// How many owners were given.
    pub owners: usize,
}

impl fmt::Display for SlotMapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a slot map has {SLOT_COUNT} owners, not {}", self.owners)
    }
}

impl std::error::Error for SlotMapError {}

impl SlotMap {
    /// A map of `version` in which `owners[slot]` owns that slot.
    ///
    /// # Errors
    /// When there is not one owner for every slot.
    pub fn new(version: u64, owners: Vec<ShardId>) -> Result<Self, SlotMapError> {
        if owners.len() != usize::from(SLOT_COUNT) {
            return Err(SlotMapError { owners: owners.len() });
        }
        Ok(Self {
            version,
            owners: owners.into_boxed_slice(),
        })
    }

    /// The version of this map.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The shard that owns `slot`.
    pub fn owner(&self, slot: Slot) -> ShardId {
        // `new` made sure that there is an owner for every number below SLOT_COUNT.
        self.owners
            .get(usize::from(slot.number()))
            .copied()
            .unwrap_or(ShardId(0))
    }

    /// Every slot with its owner, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, ShardId)> + '_ {
        (0..SLOT_COUNT).map(|n| (Slot(n), self.owner(Slot(n))))
    }

    /// How many slots `shard` owns.
    pub fn owned_by(&self, shard: ShardId) -> usize {
        self.owners.iter().filter(|owner| **owner == shard).count()
    }
}
