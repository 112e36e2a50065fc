//! What a proxy knows of one shard's stream, as the data threads read it for every statement.
//!
//! One control-plane thread writes, any number of data threads read, and no reader waits: the state is an
//! immutable value behind an atomic pointer. Only the cells change in place, and they only rise, so that a value
//! read earlier can be compared with cells read later at the price of refusing too much.

use crate::message::StreamMessage;
use crate::samples::{Lease, PrimarySample, Samples};
use crate::tags::TagHash;
use arc_swap::{ArcSwap, Guard};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use topology::{EndpointId, Epoch, Lsn, Mono, Position, ShardId, Timeline};

/// Cells of a shard where the configuration says nothing: half a mebibyte.
pub const DEFAULT_CELLS: usize = 65_536;

/// The most cells of a shard: 128 MiB.
pub const MAX_CELLS: usize = 16_777_216;

/// For each hash of a tag the newest position at which such a tag changed.
///
/// Tags that share a cell invalidate each other. The array belongs to one epoch, so a reader that still holds
/// the state of the epoch before never compares its entries with positions of another history.
#[derive(Debug)]
struct Cells {
    /// At least this for every tag: raised at once where a message is missing.
    floor: AtomicU64,
    newest: Box<[AtomicU64]>,
}

impl Cells {
    fn new(count: usize, floor: Lsn) -> Self {
        Self {
            floor: AtomicU64::new(floor.0),
            newest: (0..count).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    fn cell(&self, tag: TagHash) -> Option<&AtomicU64> {
        let mask = self.newest.len().saturating_sub(1);
        self.newest
            .get(usize::try_from(tag.0).unwrap_or(usize::MAX) & mask)
    }

    /// By the larger one: a repeated message must not set a cell back.
    fn raise(&self, tag: TagHash, to: Lsn) {
        if let Some(cell) = self.cell(tag) {
            cell.fetch_max(to.0, Ordering::Release);
        }
    }

    fn newest(&self, tag: TagHash) -> Lsn {
        let cell = self
            .cell(tag)
            .map_or(u64::MAX, |cell| cell.load(Ordering::Acquire));
        Lsn(cell.max(self.floor.load(Ordering::Acquire)))
    }
}

/// A stream that has begun for this proxy.
#[derive(Clone, Debug)]
struct Stream {
    epoch: Epoch,
    watermark: Lsn,
    cells: Arc<Cells>,
}

/// What a message did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applied {
    /// It follows the one before.
    InOrder,
    /// It is the first of the stream for this proxy, or of a higher epoch: everything cached before is flushed.
    Began,
    /// Messages before it are missing: everything cached before it is flushed, here alone.
    Gap,
    /// It was applied before: ignored.
    Repeated,
    /// It is of an epoch that has ended: dropped.
    Ended,
}

/// One shard's state, read as one value.
#[derive(Clone, Debug)]
pub struct ShardView {
    stream: Option<Stream>,
    /// Messages of lower epochs are dropped, also while there is no stream.
    lowest_epoch: Epoch,
    samples: Arc<Samples>,
    lease: Lease,
}

impl ShardView {
    /// The epoch of the stream; `None` while it hasn't begun: nothing may be used, nothing filled.
    pub fn epoch(&self) -> Option<Epoch> {
        self.stream.as_ref().map(|stream| stream.epoch)
    }

    /// Up to where the stream has been applied.
    pub fn watermark(&self) -> Option<Position> {
        self.stream
            .as_ref()
            .map(|stream| Position::new(stream.epoch.timeline(), stream.watermark))
    }

    /// As of when a copy that has reached `position` is fresh: the newest sample on its timeline that doesn't lie behind it.
    pub fn freshness_of(&self, position: Position) -> Option<Mono> {
        self.samples.freshness_of(position)
    }

    /// As of when the cache of this shard is fresh: the same for the watermark, by samples whose witness names the epoch.
    pub fn cache_freshness(&self) -> Option<Mono> {
        let stream = self.stream.as_ref()?;
        self.samples.freshness_within(
            stream.epoch,
            Position::new(stream.epoch.timeline(), stream.watermark),
        )
    }

    /// A position that holds what was acknowledged by `since` on `timeline` or before it; `None` until a sample tells.
    pub fn position_since(&self, since: Mono, timeline: Timeline) -> Option<Position> {
        self.samples.resolve(since, timeline)
    }

    /// Whether no other server was promoted before `moment`, as far as the lease tells.
    pub fn lease_reaches(&self, server: EndpointId, moment: Mono) -> bool {
        self.lease.reaches(server, moment)
    }

    /// The newest position at which something with this tag's cell changed in the current epoch.
    pub fn newest_change(&self, tag: TagHash) -> Option<Lsn> {
        self.stream.as_ref().map(|stream| stream.cells.newest(tag))
    }

    /// This state after `message`, with what it did. Tags go to the cells before the watermark is published with the new value:
    /// whoever reads a watermark finds every tag up to it.
    fn after(&self, message: &StreamMessage, cell_count: usize) -> (Applied, Option<Stream>) {
        if message.epoch() < self.lowest_epoch {
            return (Applied::Ended, None);
        }
        let known = self
            .stream
            .as_ref()
            .filter(|stream| stream.epoch == message.epoch());
        let (applied, stream) = match known {
            // Nothing is known of what changed up to where the stream begins here.
            None => (Applied::Began, self.began(message, cell_count)),
            Some(stream) if message.to() <= stream.watermark => return (Applied::Repeated, None),
            Some(stream) if message.from() > stream.watermark => {
                // What the missing messages said is unknown: suppose that they named every tag.
                stream.cells.floor.fetch_max(message.from().0, Ordering::Release);
                (Applied::Gap, stream.clone())
            }
            Some(stream) => (Applied::InOrder, stream.clone()),
        };
        for tag in message.tags() {
            stream.cells.raise(*tag, message.to());
        }
        (
            applied,
            Some(Stream {
                watermark: message.to(),
                ..stream
            }),
        )
    }

    fn began(&self, message: &StreamMessage, cell_count: usize) -> Stream {
        let cells = Arc::new(Cells::new(cell_count, message.from()));
        Stream {
            epoch: message.epoch(),
            watermark: message.from(),
            cells,
        }
    }
}

/// A read of a shard's state. Short-lived: take one for each decision.
pub struct ViewGuard(Guard<Arc<ShardView>>);

impl Deref for ViewGuard {
    type Target = ShardView;

    fn deref(&self) -> &ShardView {
        &self.0
    }
}

/// One shard's stream, samples and lease at this proxy.
#[derive(Debug)]
pub struct ShardCoherence {
    cell_count: usize,
    view: ArcSwap<ShardView>,
    /// Held by writers only, so that none undoes what another one did.
    writer: Mutex<()>,
}

impl ShardCoherence {
    /// A shard of which nothing is known, with `cells` cells: rounded up to a power of two, at most [`MAX_CELLS`].
    pub fn new(cells: usize) -> Self {
        let (samples, lease) = (Arc::default(), Lease::NotProvided);
        let view = ShardView {
            stream: None,
            lowest_epoch: Epoch::default(),
            samples,
            lease,
        };
        Self {
            cell_count: cells.clamp(1, MAX_CELLS).next_power_of_two(),
            view: ArcSwap::from_pointee(view),
            writer: Mutex::new(()),
        }
    }

    /// The state at this moment.
    pub fn view(&self) -> ViewGuard {
        ViewGuard(self.view.load())
    }

    /// Applies the next message of the stream.
    pub fn apply(&self, message: &StreamMessage) -> Applied {
        self.update(|view| {
            let (applied, stream) = view.after(message, self.cell_count);
            let changed = stream.map(|stream| ShardView {
                lowest_epoch: stream.epoch,
                stream: Some(stream),
                ..view.clone()
            });
            (applied, changed)
        })
    }

    /// The stream may have been left out in part (the reader was unsubscribed, its offset was reset): nothing may be used or
    /// filled until it begins anew. Ended epochs stay ended.
    pub fn forget(&self) {
        self.update(|view| {
            (
                (),
                Some(ShardView {
                    stream: None,
                    ..view.clone()
                }),
            )
        });
    }

    /// Takes an answer of the primary that arrived at `arrived`. Outside the server's lease it doesn't count as freshness.
    pub fn record_sample(&self, sample: &PrimarySample, arrived: Mono) {
        self.update(|view| {
            let samples = Arc::new(view.samples.with(sample, view.lease, arrived));
            (
                (),
                Some(ShardView {
                    samples,
                    ..view.clone()
                }),
            )
        });
    }

    /// What the failover provider says of the primary.
    pub fn set_lease(&self, lease: Lease) {
        self.update(|view| {
            (
                (),
                Some(ShardView {
                    lease,
                    ..view.clone()
                }),
            )
        });
    }

    fn update<T>(&self, change: impl FnOnce(&ShardView) -> (T, Option<ShardView>)) -> T {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let (answer, changed) = change(&self.view.load());
        if let Some(view) = changed {
            self.view.store(Arc::new(view));
        }
        answer
    }
}

/// All shards of one database at this proxy.
#[derive(Debug)]
pub struct Coherence {
    shards: Box<[ShardCoherence]>,
}

impl Coherence {
    /// `shards` shards with `cells` cells each, of which nothing is known.
    pub fn new(shards: u16, cells: usize) -> Self {
        Self {
            shards: (0..shards).map(|_| ShardCoherence::new(cells)).collect(),
        }
    }

    /// The shard of this number.
    pub fn shard(&self, id: ShardId) -> Option<&ShardCoherence> {
        self.shards.get(id.index())
    }

    /// How many shards there are.
    pub fn len(&self) -> usize {
        self.shards.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.shards.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EPOCH: Epoch = Epoch(1 << 32 | 5);

    fn batch(epoch: Epoch, from: u64, to: u64, tags: &[u64]) -> StreamMessage {
        StreamMessage::transactions(
            epoch,
            Lsn(from),
            Lsn(to),
            tags.iter().copied().map(TagHash).collect(),
        )
        .unwrap()
    }

    fn newest(shard: &ShardCoherence, tag: u64) -> u64 {
        shard.view().newest_change(TagHash(tag)).unwrap().0
    }

    #[test]
    fn the_stream_begins_with_its_first_message() {
        let shard = ShardCoherence::new(8);
        assert!(shard.view().watermark().is_none() && shard.view().cache_freshness().is_none());
        assert_eq!(shard.apply(&batch(EPOCH, 10, 20, &[1])), Applied::Began);
        assert_eq!(
            shard.view().watermark(),
            Some(Position::new(Timeline(1), Lsn(20)))
        );
        assert_eq!((newest(&shard, 1), newest(&shard, 2)), (20, 10));
    }

    #[test]
    fn order_repetition_gap_and_epochs() {
        let shard = ShardCoherence::new(8);
        shard.apply(&batch(EPOCH, 10, 10, &[]));
        assert_eq!(shard.apply(&batch(EPOCH, 10, 20, &[1])), Applied::InOrder);
        assert_eq!(shard.apply(&batch(EPOCH, 10, 20, &[2])), Applied::Repeated);
        assert_eq!(
            shard.apply(&batch(EPOCH, 15, 25, &[2])),
            Applied::InOrder,
            "the same log in other batches"
        );
        assert_eq!(
            (newest(&shard, 1), newest(&shard, 2), newest(&shard, 3)),
            (20, 25, 10)
        );
        assert_eq!(shard.apply(&batch(EPOCH, 30, 40, &[3])), Applied::Gap);
        assert_eq!((newest(&shard, 1), newest(&shard, 3)), (30, 40));
        let beat = StreamMessage::heartbeat(EPOCH, Lsn(50), Lsn(60)).unwrap();
        assert_eq!((shard.apply(&beat), newest(&shard, 3)), (Applied::Gap, 50));
        let next = Epoch(EPOCH.0 + 1);
        assert_eq!(shard.apply(&batch(next, 5, 6, &[])), Applied::Began);
        assert_eq!((shard.view().epoch(), newest(&shard, 3)), (Some(next), 5));
        assert_eq!(shard.apply(&batch(EPOCH, 60, 70, &[])), Applied::Ended);
        shard.forget();
        assert_eq!(
            (shard.view().epoch(), shard.apply(&batch(EPOCH, 60, 70, &[]))),
            (None, Applied::Ended)
        );
        assert_eq!(shard.apply(&batch(next, 9, 9, &[])), Applied::Began);
        assert_eq!(newest(&shard, 3), 9);
    }

    #[test]
    fn a_reader_keeps_the_cells_of_the_epoch_it_read() {
        let shard = ShardCoherence::new(8);
        shard.apply(&batch(EPOCH, 10, 90, &[1]));
        let before = shard.view();
        shard.apply(&batch(Epoch(EPOCH.0 + 1), 50, 50, &[]));
        assert_eq!(before.newest_change(TagHash(1)), Some(Lsn(90)));
        assert_eq!(shard.view().newest_change(TagHash(1)), Some(Lsn(50)));
    }

    proptest! {
        /// Against the plain reading of the rules: a map without collisions that keeps every message.
        #[test]
        fn cells_never_lie_below_the_truth(
            parts in prop::collection::vec((1..4u64, prop::collection::vec(0..40u64, 0..4)), 1..40),
            order in prop::collection::vec((any::<prop::sample::Index>(), 0..10u8), 1..80),
        ) {
            let mut at = 100;
            let log: Vec<_> = parts.iter().map(|(len, tags)| { let from = at; at += len; batch(EPOCH, from, at, tags) }).collect();
            let shard = ShardCoherence::new(8);
            let mut next = 0;
            for (pick, kind) in order {
                let index = match kind { 0 => pick.index(log.len()).min(next), 1 => (next + 1).min(log.len() - 1), _ => next.min(log.len() - 1) };
                shard.apply(&log[index]);
                next = next.max(index + 1);
                let watermark = shard.view().watermark().unwrap().lsn;
                for tag in 0..40 {
                    let truth = log.iter().filter(|m| m.to() <= watermark && m.tags().contains(&TagHash(tag))).map(|m| m.to().0).max();
                    // Beyond the floor every change up to the watermark is in its cell; behind it all are covered.
                    prop_assert!(truth.unwrap_or(0) <= newest(&shard, tag));
                }
            }
        }

        #[test]
        fn readers_find_every_tag_up_to_the_watermark_they_read(batches in 1..200u64) {
            let shard = ShardCoherence::new(64);
            shard.apply(&batch(EPOCH, 0, 0, &[]));
            std::thread::scope(|scope| {
                scope.spawn(|| (0..batches).for_each(|n| { shard.apply(&batch(EPOCH, n, n + 1, &[n % 64])); }));
                let mut seen = 0;
                while seen < batches {
                    let view = shard.view();
                    seen = view.watermark().unwrap().lsn.0;
                    for n in seen.saturating_sub(64)..seen {
                        assert!(view.newest_change(TagHash(n % 64)).unwrap().0 > n);
                    }
                }
            });
        }
    }
}
