//! The consistent-hash ring: proposes which shard should own which slot. Routing never reads it, only the map.
//!
//! In: the shards with their weights, and the map in use where there is one. Out: a [`SlotMap`].
//!
//! Shards stand on the ring as virtual nodes, as many as their weight says, and a slot belongs to the next node on
//! the ring. Load is bounded: a shard that has [`LOAD_MARGIN_PERCENT`] more than its share takes no further slot, and
//! the slot is hashed again (Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads").
//!
//! **Invariant:** the same input gives the same map on every platform and in every release: the hash is XXH3 with a
//! fixed seed over little-endian numbers.
//! **Invariant:** [`propose_from`] moves slots to shards that had none, or away from shards that leave; never
//! between two shards that stay.

use hashring::HashRing;
use std::hash::{BuildHasher, Hash, Hasher};
use std::num::NonZeroU32;
use topology::{SLOT_COUNT, ShardId, Slot, SlotMap, SlotMapError};
use xxhash_rust::xxh3::Xxh3;

/// How many slots above its share a shard may be given by the ring, in percent of the share.
pub const LOAD_MARGIN_PERCENT: u64 = 2;
/// How many shards a map may name: every one must be able to own a slot.
pub const MAX_SHARDS: usize = SLOT_COUNT as usize;

/// Virtual nodes of a shard of average weight: shares come out within some 4% before the load is bounded.
const VIRTUAL_NODES: u64 = 512;
/// How often a slot is hashed again before it goes to the shard with the most room.
const MAX_ATTEMPTS: u32 = 64;
/// Any number, for ever the same.
const RING_SEED: u64 = 0x7269_6e67_7761_7931;

/// A shard and its part of the load relative to the others'.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WeightedShard {
    /// The shard.
    pub shard: ShardId,
    /// A shard of weight 2 gets twice the slots of one of weight 1.
    pub weight: NonZeroU32,
}

/// Shards from which no map can be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RingError {
    /// There is none.
    #[error("a slot map needs at least one shard")]
    NoShards,
    /// There are more than [`MAX_SHARDS`].
    #[error("a slot map names at most {MAX_SHARDS} shards, not {0}")]
    TooManyShards(usize),
    /// One is named twice.
    #[error("shard {0} is named twice")]
    DuplicateShard(ShardId),
    /// Ours: the map came out incomplete.
    #[error(transparent)]
    Map(#[from] SlotMapError),
}

/// The map of a cluster that holds nothing yet.
///
/// # Errors
/// [`RingError`] when the shards make no map.
pub fn propose(shards: &[WeightedShard], version: u64) -> Result<SlotMap, RingError> {
    let mut proposal = Proposal::new(shards)?;
    let owners = all_slots().map(|slot| proposal.place(slot)).collect();
    Ok(SlotMap::new(version, owners)?)
}

/// The map that follows `old` for these shards, with the fewest moves.
///
/// A shard without a slot in `old` gets its share, from shards that have more than theirs, those slots first that the
/// ring gives it. Slots of shards that left go where the ring says. A changed weight alone moves nothing.
///
/// # Errors
/// [`RingError`] when the shards make no map.
pub fn propose_from(old: &SlotMap, shards: &[WeightedShard], version: u64) -> Result<SlotMap, RingError> {
    let mut proposal = Proposal::new(shards)?;
    let mut owners: Vec<Option<usize>> = old.iter().map(|(_, owner)| proposal.index_of(owner)).collect();
    for index in owners.iter().flatten() {
        proposal.add_load(*index, 1);
    }
    let newcomers: Vec<usize> = (0..proposal.shards.len())
        .filter(|index| !owners.contains(&Some(*index)))
        .collect();
    for (slot, owner) in all_slots().zip(owners.iter_mut()) {
        if owner.is_none() {
            *owner = Some(proposal.place_index(slot));
        }
    }
    for newcomer in &newcomers {
        proposal.fill_newcomer(*newcomer, &newcomers, &mut owners);
    }
    let owners = owners
        .iter()
        .flatten()
        .map(|index| proposal.shard(*index))
        .collect();
    Ok(SlotMap::new(version, owners)?)
}

fn all_slots() -> impl Iterator<Item = Slot> {
    (0..SLOT_COUNT).filter_map(Slot::new)
}

/// A shard while slots are given out.
struct Candidate {
    shard: ShardId,
    share: u64,
    load: u64,
}

impl Candidate {
    fn is_full(&self) -> bool {
        self.load >= self.share + (self.share * LOAD_MARGIN_PERCENT).div_ceil(100)
    }
}

struct Proposal {
    shards: Vec<Candidate>,
    ring: HashRing<VirtualNode, StableHash>,
}

impl Proposal {
    fn new(weighted: &[WeightedShard]) -> Result<Self, RingError> {
        if weighted.is_empty() {
            return Err(RingError::NoShards);
        }
        if weighted.len() > MAX_SHARDS {
            return Err(RingError::TooManyShards(weighted.len()));
        }
        // By number, so that the order of the configuration does not matter.
        let mut weighted = weighted.to_vec();
        weighted.sort_by_key(|weighted| weighted.shard);
        for pair in weighted.windows(2) {
            if let [first, second] = pair
                && first.shard == second.shard
            {
                return Err(RingError::DuplicateShard(first.shard));
            }
        }
        let shares = shares(&weighted);
        let total: u64 = weighted
            .iter()
            .map(|weighted| u64::from(weighted.weight.get()))
            .sum();
        let count = weighted.len() as u64;
        let mut nodes = Vec::new();
        for (index, weighted) in (0_u32..).zip(&weighted) {
            let weight = u64::from(weighted.weight.get());
            let virtual_nodes = u128::from(VIRTUAL_NODES * count) * u128::from(weight) / u128::from(total);
            let shard = weighted.shard;
            nodes.extend((0..virtual_nodes.max(1) as u32).map(|number| VirtualNode { index, shard, number }));
        }
        let mut ring = HashRing::with_hasher(StableHash);
        ring.batch_add(nodes);
        let shards = weighted.iter().zip(shares);
        let shards = shards
            .map(|(w, share)| Candidate {
                shard: w.shard,
                share,
                load: 0,
            })
            .collect();
        Ok(Self { shards, ring })
    }

    fn index_of(&self, shard: ShardId) -> Option<usize> {
        self.shards
            .binary_search_by_key(&shard, |candidate| candidate.shard)
            .ok()
    }

    fn shard(&self, index: usize) -> ShardId {
        self.shards
            .get(index)
            .map_or(ShardId(0), |candidate| candidate.shard)
    }

    fn add_load(&mut self, index: usize, slots: u64) {
        if let Some(candidate) = self.shards.get_mut(index) {
            candidate.load += slots;
        }
    }

    /// The index of the shard that the ring gives `slot` at this attempt, whatever its load.
    fn on_ring(&self, slot: Slot, attempt: u32) -> Option<usize> {
        let probe = Probe {
            domain: u64::MAX,
            slot: slot.number(),
            attempt,
        };
        self.ring.get(&probe).map(|node| node.index as usize)
    }

    fn place(&mut self, slot: Slot) -> ShardId {
        let index = self.place_index(slot);
        self.shard(index)
    }

    fn place_index(&mut self, slot: Slot) -> usize {
        let has_room = |index: &usize| {
            self.shards
                .get(*index)
                .is_some_and(|candidate| !candidate.is_full())
        };
        let chosen = (0..MAX_ATTEMPTS)
            .filter_map(|attempt| self.on_ring(slot, attempt))
            .find(has_room);
        let index = chosen.unwrap_or_else(|| self.with_most_room());
        self.add_load(index, 1);
        index
    }

    fn with_most_room(&self) -> usize {
        let room = |candidate: &Candidate| i128::from(candidate.share) - i128::from(candidate.load);
        let best = self
            .shards
            .iter()
            .enumerate()
            .max_by_key(|(_, candidate)| room(candidate));
        best.map_or(0, |(index, _)| index)
    }

    /// Gives a shard without slots its share, from shards that stay and have more than theirs.
    fn fill_newcomer(&mut self, newcomer: usize, newcomers: &[usize], owners: &mut [Option<usize>]) {
        let mut slots: Vec<(Slot, &mut Option<usize>)> = all_slots().zip(owners).collect();
        // The ring's own choice first; after that by the ring's hash, so that no range of slots is favoured.
        slots.sort_by_cached_key(|(slot, _)| {
            let other_on_ring = self.on_ring(*slot, 0) != Some(newcomer);
            (other_on_ring, StableHash.hash_one(slot.number()))
        });
        for (_, owner) in slots {
            let wanted = self
                .shards
                .get(newcomer)
                .is_some_and(|shard| shard.load < shard.share);
            if !wanted {
                return;
            }
            let Some(donor) = *owner else { continue };
            let can_give = self
                .shards
                .get(donor)
                .is_some_and(|shard| shard.load > shard.share);
            if can_give && !newcomers.contains(&donor) {
                *owner = Some(newcomer);
                self.add_load(newcomer, 1);
                if let Some(shard) = self.shards.get_mut(donor) {
                    shard.load -= 1;
                }
            }
        }
    }
}

/// How many slots each shard should own: proportional to its weight, the rest to the largest remainders.
fn shares(shards: &[WeightedShard]) -> Vec<u64> {
    let total: u64 = shards
        .iter()
        .map(|weighted| u64::from(weighted.weight.get()))
        .sum();
    let exact = |weighted: &WeightedShard| u64::from(weighted.weight.get()) * u64::from(SLOT_COUNT);
    let mut shares: Vec<u64> = shards.iter().map(|weighted| exact(weighted) / total).collect();
    let left = u64::from(SLOT_COUNT) - shares.iter().sum::<u64>();
    let mut by_remainder: Vec<_> = shards.iter().zip(&mut shares).collect();
    by_remainder.sort_by_key(|(weighted, _)| std::cmp::Reverse(exact(weighted) % total));
    for (_, share) in by_remainder.into_iter().zip(0..left).map(|(entry, _)| entry) {
        *share += 1;
    }
    shares
}

/// One of a shard's places on the ring.
#[derive(Clone, Copy, Debug)]
struct VirtualNode {
    /// Of the shard in [`Proposal::shards`]: not part of the place.
    index: u32,
    shard: ShardId,
    number: u32,
}

impl Hash for VirtualNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.shard.hash(state);
        self.number.hash(state);
    }
}

/// A slot that looks for its place on the ring.
#[derive(Hash)]
struct Probe {
    /// Keeps probes and nodes from hashing the same bytes.
    domain: u64,
    slot: u16,
    attempt: u32,
}

/// XXH3 under [`RING_SEED`], fed with little-endian numbers on every platform.
#[derive(Clone, Copy, Debug)]
struct StableHash;

impl BuildHasher for StableHash {
    type Hasher = StableHasher;

    fn build_hasher(&self) -> StableHasher {
        StableHasher(Xxh3::with_seed(RING_SEED))
    }
}

struct StableHasher(Xxh3);

impl Hasher for StableHasher {
    fn finish(&self) -> u64 {
        self.0.digest()
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn write_u16(&mut self, number: u16) {
        self.write(&number.to_le_bytes());
    }

    fn write_u32(&mut self, number: u32) {
        self.write(&number.to_le_bytes());
    }

    fn write_u64(&mut self, number: u64) {
        self.write(&number.to_le_bytes());
    }
}

#[cfg(test)]
mod tests;
