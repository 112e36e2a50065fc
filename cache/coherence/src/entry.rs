//! Filling: what must be noted before a statement is sent, so that its answer can be kept and proved later.

use crate::codec::{Reader, put_count};
use crate::error::{Error, Malformed};
use crate::shard::ShardView;
use crate::tags::TagHash;
use smallvec::SmallVec;
use topology::{Epoch, Lsn, Mono, ReplaySample, ShardId, Timeline};

/// The most tags of one shard in an entry; an answer that depends on more is not kept.
pub const MAX_ENTRY_TAGS: usize = 1_024;

/// The most shards in an entry; an answer of more is not kept.
pub const MAX_ENTRY_SHARDS: usize = 256;

const VERSION: u8 = 1;

/// Why an answer can't be kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoFill {
    /// The shard's stream hasn't begun here: there is no position to hold the answer against.
    NoStream,
    /// The server is not on the timeline of the stream's epoch: its answer belongs to another history.
    OtherTimeline,
    /// The connection was not there before the replay position was asked: the server may have restarted in between
    /// and gone back in replay.
    ConnectionTooYoung,
    /// More than [`MAX_ENTRY_TAGS`] or [`MAX_ENTRY_SHARDS`].
    TooLarge,
}

/// A lower bound of what the snapshot of a statement will hold on one shard, taken *before* the statement is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FillTicket {
    shard: ShardId,
    epoch: Epoch,
    fill: Lsn,
}

impl FillTicket {
    /// For a statement to a primary: the proxy's own watermark. Everything up to it was visible there before it was told.
    ///
    /// The server's insert position would prove nothing: transactions become visible in another order than that of the log.
    ///
    /// # Errors
    /// [`NoFill::NoStream`], or [`NoFill::OtherTimeline`] if `timeline`, which the server named on this connection as a primary,
    /// isn't the epoch's: then a superseded primary, or one that the stream hasn't caught up with, would answer.
    pub fn on_primary(shard: ShardId, view: &ShardView, timeline: Timeline) -> Result<Self, NoFill> {
        let (epoch, watermark) = view.epoch().zip(view.watermark()).ok_or(NoFill::NoStream)?;
        if timeline != epoch.timeline() {
            return Err(NoFill::OtherTimeline);
        }
        Ok(Self {
            shard,
            epoch,
            fill: watermark.lsn,
        })
    }

    /// For a statement to a standby: a position that it had replayed before. The redo of a commit makes it visible before the
    /// replay position moves past it.
    ///
    /// `opened_at` is when the connection had answered its startup. A standby that restarts goes back in replay, but no
    /// connection outlives that; one that was there before the question and still is proves that there was no restart.
    ///
    /// # Errors
    /// [`NoFill`] says which condition fails.
    pub fn on_standby(
        shard: ShardId,
        view: &ShardView,
        sample: &ReplaySample,
        opened_at: Mono,
    ) -> Result<Self, NoFill> {
        let epoch = view.epoch().ok_or(NoFill::NoStream)?;
        if sample.position.timeline != epoch.timeline() {
            return Err(NoFill::OtherTimeline);
        }
        if !sample_binds(sample, opened_at) {
            return Err(NoFill::ConnectionTooYoung);
        }
        Ok(Self {
            shard,
            epoch,
            fill: sample.position.lsn,
        })
    }

    /// What the answer depended on, once it is known.
    ///
    /// # Errors
    /// [`NoFill::TooLarge`] above [`MAX_ENTRY_TAGS`].
    pub fn with_tags(self, tags: impl IntoIterator<Item = TagHash>) -> Result<EntryPart, NoFill> {
        let tags: SmallVec<[TagHash; 4]> = tags.into_iter().take(MAX_ENTRY_TAGS + 1).collect();
        if tags.len() > MAX_ENTRY_TAGS {
            return Err(NoFill::TooLarge);
        }
        Ok(EntryPart {
            shard: self.shard,
            epoch: self.epoch,
            fill: self.fill,
            tags,
        })
    }
}

/// Whether a replay sample says something about what a connection will show: the connection was there before the question.
pub(crate) fn sample_binds(sample: &ReplaySample, opened_at: Mono) -> bool {
    opened_at < sample.asked_at
}

/// What an answer holds of one shard: the proof that it is still what that shard would say.
///
/// What a proxy has learnt of a table's columns and keys can be held against the stream in the same way: with a ticket taken
/// before the catalog was read on the primary, and the table's generation tag. An answer is not kept under an older catalog.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EntryPart {
    pub(crate) shard: ShardId,
    pub(crate) epoch: Epoch,
    pub(crate) fill: Lsn,
    pub(crate) tags: SmallVec<[TagHash; 4]>,
}

impl EntryPart {
    /// The shard.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// The epoch in which it was filled.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The position that its snapshot had at least.
    pub fn fill(&self) -> Lsn {
        self.fill
    }

    /// What it depends on.
    pub fn tags(&self) -> &[TagHash] {
        &self.tags
    }
}

/// Reads of the two clocks at one moment, to carry a deadline to another host. A deadline is policy: an answer's truth never
/// hangs on a wall clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WallAnchor {
    /// The proxy's own clock.
    pub mono: Mono,
    /// Milliseconds since 1970, at the same moment.
    pub unix_millis: u64,
}

impl WallAnchor {
    fn to_wall(self, moment: Mono) -> u64 {
        let ahead = u64::try_from(moment.since(self.mono).as_millis()).unwrap_or(u64::MAX);
        let behind = u64::try_from(self.mono.since(moment).as_millis()).unwrap_or(u64::MAX);
        self.unix_millis.saturating_add(ahead).saturating_sub(behind)
    }

    fn to_mono(self, unix_millis: u64) -> Mono {
        let ahead = std::time::Duration::from_millis(unix_millis.saturating_sub(self.unix_millis));
        let behind = std::time::Duration::from_millis(self.unix_millis.saturating_sub(unix_millis));
        self.mono.plus(ahead).minus(behind)
    }
}

/// The header of a kept answer: what proves it. The rows themselves are the store's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub(crate) parts: SmallVec<[EntryPart; 1]>,
    pub(crate) deadline: Mono,
}

impl Entry {
    /// An answer made of these parts, to be dropped at `deadline` whatever the log says.
    ///
    /// # Errors
    /// [`NoFill::TooLarge`] above [`MAX_ENTRY_SHARDS`]; [`NoFill::NoStream`] without any part: nothing would prove it.
    pub fn new(parts: impl IntoIterator<Item = EntryPart>, deadline: Mono) -> Result<Self, NoFill> {
        let parts: SmallVec<[EntryPart; 1]> = parts.into_iter().take(MAX_ENTRY_SHARDS + 1).collect();
        match parts.len() {
            0 => Err(NoFill::NoStream),
            1..=MAX_ENTRY_SHARDS => Ok(Self { parts, deadline }),
            _ => Err(NoFill::TooLarge),
        }
    }

    /// Its parts, one for each shard it was read from.
    pub fn parts(&self) -> &[EntryPart] {
        &self.parts
    }

    /// When it is dropped at the latest.
    pub fn deadline(&self) -> Mono {
        self.deadline
    }

    /// Appends the header's bytes for a shared store: version, deadline on the wall clock, parts.
    pub fn encode_into(&self, out: &mut Vec<u8>, clocks: WallAnchor) {
        out.push(VERSION);
        out.extend_from_slice(&clocks.to_wall(self.deadline).to_be_bytes());
        put_count(out, self.parts.len());
        for part in &self.parts {
            out.extend_from_slice(&part.shard.0.to_be_bytes());
            out.extend_from_slice(&part.epoch.0.to_be_bytes());
            out.extend_from_slice(&part.fill.0.to_be_bytes());
            put_count(out, part.tags.len());
            for tag in &part.tags {
                out.extend_from_slice(&tag.0.to_be_bytes());
            }
        }
    }

    /// Reads a header from the front of `bytes`; gives it with what follows.
    ///
    /// # Errors
    /// [`Error::Store`] says what is wrong with the bytes.
    pub fn decode(bytes: &[u8], clocks: WallAnchor) -> Result<(Self, &[u8]), Error> {
        Self::read(bytes, clocks).map_err(Error::Store)
    }

    fn read(bytes: &[u8], clocks: WallAnchor) -> Result<(Self, &[u8]), Malformed> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(Malformed::Version(version));
        }
        let deadline = clocks.to_mono(reader.u64()?);
        let count = reader.count(MAX_ENTRY_SHARDS, 22)?;
        let mut parts = SmallVec::new();
        for _ in 0..count {
            let (shard, epoch, fill) = (ShardId(reader.u16()?), Epoch(reader.u64()?), Lsn(reader.u64()?));
            let count = reader.count(MAX_ENTRY_TAGS, 8)?;
            let tags = (0..count)
                .map(|_| reader.u64().map(TagHash))
                .collect::<Result<_, _>>()?;
            parts.push(EntryPart {
                shard,
                epoch,
                fill,
                tags,
            });
        }
        if parts.is_empty() {
            return Err(Malformed::Field);
        }
        Ok((Self { parts, deadline }, reader.rest()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CLOCKS: WallAnchor = WallAnchor {
        mono: Mono(5_000_000_000),
        unix_millis: 1_700_000_000_000,
    };

    fn entry() -> impl Strategy<Value = Entry> {
        let part = (
            any::<u16>(),
            any::<u64>(),
            any::<u64>(),
            prop::collection::vec(any::<u64>(), 0..9),
        )
            .prop_map(|(shard, epoch, fill, tags)| EntryPart {
                shard: ShardId(shard),
                epoch: Epoch(epoch),
                fill: Lsn(fill),
                tags: tags.into_iter().map(TagHash).collect(),
            });
        (prop::collection::vec(part, 1..4), 0..100_000u64)
            .prop_map(|(parts, millis)| Entry::new(parts, Mono(millis * 1_000_000)).unwrap())
    }

    proptest! {
        #[test]
        fn round_trips_in_front_of_a_body(entry in entry(), body in prop::collection::vec(any::<u8>(), 0..20)) {
            let mut bytes = Vec::new();
            entry.encode_into(&mut bytes, CLOCKS);
            bytes.extend_from_slice(&body);
            prop_assert_eq!(Entry::decode(&bytes, CLOCKS), Ok((entry, body.as_slice())));
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..80), cut in entry()) {
            let _ = Entry::decode(&bytes, CLOCKS);
            let mut whole = Vec::new();
            cut.encode_into(&mut whole, CLOCKS);
            for end in 0..whole.len() {
                prop_assert!(Entry::decode(&whole[..end], CLOCKS).is_err());
            }
        }
    }

    #[test]
    fn a_deadline_crosses_hosts_by_the_wall_clock() {
        let there = WallAnchor {
            mono: Mono(1),
            ..CLOCKS
        };
        let part = EntryPart {
            shard: ShardId(0),
            epoch: Epoch(1),
            fill: Lsn(1),
            tags: SmallVec::new(),
        };
        let entry = Entry::new([part], CLOCKS.mono.plus(std::time::Duration::from_secs(3))).unwrap();
        let mut bytes = Vec::new();
        entry.encode_into(&mut bytes, CLOCKS);
        assert_eq!(
            Entry::decode(&bytes, there).unwrap().0.deadline,
            Mono(3_000_000_001)
        );
    }
}
