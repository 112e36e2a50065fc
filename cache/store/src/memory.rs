//! The in-process store: bounded by bytes, shared by all data threads.

use crate::kept::Kept;
use crate::stats::MemoryStats;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

/// What the store itself spends on an entry: reference counts, its slot, its part of the table, the allocator's rounding.
const OVERHEAD_BYTES: u64 = 160;
/// How large an entry is taken to be when the store's tables are laid out.
const TYPICAL_ENTRY_BYTES: u64 = 512;
/// The store is cut into at most this many parts, each with a lock of its own.
const MAX_PARTS: u64 = 16;
/// No part is smaller than this, because no entry can be larger than its part.
const MIN_PART_BYTES: u64 = 4 * 1024 * 1024;

/// Answers kept in this process. `get` gives candidates: whether one may be used is decided by [`coherence`].
#[derive(Debug)]
pub struct MemoryStore {
    cache: Cache<u128, Arc<Kept>, ByBytes, BuildHasherDefault<AlreadyHashed>, CountEvictions>,
    stats: Arc<MemoryStats>,
}

impl MemoryStore {
    /// An empty store that holds at most `capacity_bytes`. With 0 it keeps nothing.
    pub fn new(capacity_bytes: usize, stats: Arc<MemoryStats>) -> Self {
        let capacity = u64::try_from(capacity_bytes).unwrap_or(u64::MAX);
        let parts = (capacity / MIN_PART_BYTES).clamp(1, MAX_PARTS);
        // Rounded down: the store rounds up, which would make its parts smaller than intended.
        let parts = 1_u64 << parts.ilog2();
        let items = usize::try_from(capacity / TYPICAL_ENTRY_BYTES)
            .unwrap_or(usize::MAX)
            .max(1);
        let options = OptionsBuilder::new()
            .shards(usize::try_from(parts).unwrap_or(1))
            .estimated_items_capacity(items)
            .weight_capacity(capacity)
            .build();
        let evictions = CountEvictions {
            stats: Arc::clone(&stats),
        };
        let cache = match options {
            Ok(options) => Cache::with_options(options, ByBytes, BuildHasherDefault::default(), evictions),
            // Only a missing capacity is an error, and it is given above.
            Err(_) => Cache::with(items, capacity, ByBytes, BuildHasherDefault::default(), evictions),
        };
        Self { cache, stats }
    }

    /// What is kept for the key of this hash and these bytes.
    pub fn get(&self, hash: u128, key: &[u8]) -> Option<Arc<Kept>> {
        let Some(kept) = self.cache.get(&hash) else {
            self.stats.misses.add_one();
            return None;
        };
        if kept.key() != key {
            self.stats.collisions.add_one();
            self.stats.misses.add_one();
            return None;
        }
        self.stats.hits.add_one();
        Some(kept)
    }

    /// Keeps an answer, in the place of any other for this key.
    pub fn insert(&self, hash: u128, kept: Arc<Kept>) {
        if ByBytes.weight(&hash, &kept) > self.largest() {
            self.stats.oversize.add_one();
            return;
        }
        self.stats.inserts.add_one();
        self.cache.insert(hash, kept);
    }

    /// Drops a candidate that was found not to be valid, unless another has taken its place.
    pub fn discard(&self, hash: u128, dead: &Arc<Kept>) {
        self.cache.remove_if(&hash, |kept| Arc::ptr_eq(kept, dead));
    }

    /// Drops everything.
    pub fn clear(&self) {
        self.cache.clear();
    }

    /// How many answers are kept.
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }

    /// How much memory is taken, in bytes.
    pub fn bytes(&self) -> u64 {
        self.cache.weight()
    }

    /// How much memory may be taken, in bytes.
    pub fn capacity_bytes(&self) -> u64 {
        self.cache.capacity()
    }

    /// The counters.
    pub fn stats(&self) -> &MemoryStats {
        &self.stats
    }

    /// The largest entry taken: half a part, so that one entry never sweeps its part clean.
    fn largest(&self) -> u64 {
        self.cache.shard_capacity() / 2
    }
}

#[derive(Clone, Copy, Debug)]
struct ByBytes;

impl Weighter<u128, Arc<Kept>> for ByBytes {
    fn weight(&self, _: &u128, kept: &Arc<Kept>) -> u64 {
        u64::try_from(kept.size())
            .unwrap_or(u64::MAX)
            .saturating_add(OVERHEAD_BYTES)
    }
}

#[derive(Clone, Debug)]
struct CountEvictions {
    stats: Arc<MemoryStats>,
}

impl Lifecycle<u128, Arc<Kept>> for CountEvictions {
    /// Evicted entries are freed only after the lock of their part.
    type RequestState = <DefaultLifecycle<u128, Arc<Kept>> as Lifecycle<u128, Arc<Kept>>>::RequestState;

    fn on_evict(&self, state: &mut Self::RequestState, key: u128, kept: Arc<Kept>) {
        self.stats.evictions.add_one();
        DefaultLifecycle::default().on_evict(state, key, kept);
    }
}

/// The keys are keyed 128-bit hashes: any 64 bits of them are as good as another hash.
#[derive(Clone, Copy, Default, Debug)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, hash: u128) {
        // The low half.
        self.0 = u64::try_from(hash & u128::from(u64::MAX)).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::MemoryStore;
    use crate::kept::Kept;
    use crate::kept::tests::entry;
    use crate::stats::MemoryStats;
    use std::sync::Arc;
    use topology::Mono;

    const MIB: usize = 1024 * 1024;

    fn store(bytes: usize) -> MemoryStore {
        MemoryStore::new(bytes, Arc::new(MemoryStats::default()))
    }

    fn kept(key: &[u8], rows: &[u8]) -> Arc<Kept> {
        Arc::new(Kept::new(key, entry(&[1], Mono(1)), rows))
    }

    fn spread(n: u64) -> u128 {
        u128::from(xxhash_rust::xxh3::xxh3_64(&n.to_be_bytes()))
    }

    #[test]
    fn a_hit_needs_the_whole_key() {
        let store = store(MIB);
        store.insert(7, kept(b"mine", b"rows"));
        assert_eq!(&store.get(7, b"mine").unwrap().rows()[..], b"rows");
        assert!(store.get(7, b"other").is_none());
        assert!(store.get(8, b"mine").is_none());
        let stats = store.stats();
        assert_eq!(
            (stats.hits.get(), stats.misses.get(), stats.collisions.get()),
            (1, 2, 1)
        );
    }

    #[test]
    fn the_bound_in_bytes_holds_and_evictions_are_counted() {
        let store = store(2 * MIB);
        let rows = vec![7; 10_000];
        for n in 0..1000 {
            store.insert(spread(n), kept(&n.to_be_bytes(), &rows));
            assert!(store.bytes() <= store.capacity_bytes());
        }
        let stats = store.stats();
        assert!((100..=210).contains(&store.len()), "{}", store.len());
        assert_eq!(stats.inserts.get(), 1000);
        assert_eq!(stats.evictions.get(), 1000 - u64::try_from(store.len()).unwrap());
        store.clear();
        assert_eq!((store.len(), store.bytes()), (0, 0));
    }

    #[test]
    fn an_entry_too_large_is_counted_and_leaves_the_others() {
        let store = store(2 * MIB);
        store.insert(1, kept(b"small", b"rows"));
        store.insert(2, kept(b"large", &vec![0; 3 * MIB / 2]));
        assert!(store.get(2, b"large").is_none());
        assert!(store.get(1, b"small").is_some());
        assert_eq!(store.stats().oversize.get(), 1);
    }

    #[test]
    fn without_room_nothing_is_kept() {
        let store = store(0);
        store.insert(1, kept(b"k", b""));
        assert!(store.get(1, b"k").is_none() && store.is_empty());
    }

    #[test]
    fn only_the_dead_candidate_is_discarded() {
        let store = store(MIB);
        let old = kept(b"k", b"old");
        store.insert(1, Arc::clone(&old));
        store.insert(1, kept(b"k", b"new"));
        store.discard(1, &old);
        let new = store.get(1, b"k").unwrap();
        assert_eq!(&new.rows()[..], b"new");
        store.discard(1, &new);
        assert!(store.get(1, b"k").is_none());
    }

    #[test]
    fn large_stores_have_several_parts() {
        assert_eq!(store(64 * MIB).cache.num_shards(), 16);
        assert_eq!(store(9 * MIB).cache.num_shards(), 2);
        assert_eq!(store(MIB).cache.num_shards(), 1);
    }
}
