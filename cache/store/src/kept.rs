//! A kept answer, and how it looks in a shared store.

use bytes::Bytes;
use coherence::{Entry, WallAnchor};
use xxhash_rust::xxh3::xxh3_64;

/// Begins every value in a shared store; the digit is the version of the layout.
const MAGIC: [u8; 4] = *b"RWv1";
const SUM_LEN: usize = 8;
const KEY_LEN_LEN: usize = 4;

/// An answer with what proves it and the full key that it answers. Its memory is its own: it keeps no larger buffer alive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    entry: Entry,
    /// The key, then the rows.
    bytes: Bytes,
    key_len: usize,
}

/// A value that this version didn't write, or that was damaged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a value of this version, or a damaged one")]
pub struct MalformedValue;

impl Kept {
    /// Keeps `rows`, the wire bytes that answered `key`.
    pub fn new(key: &[u8], entry: Entry, rows: &[u8]) -> Self {
        Self {
            entry,
            bytes: [key, rows].concat().into(),
            key_len: key.len(),
        }
    }

    /// What decides whether it may be used.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The full key.
    pub fn key(&self) -> &[u8] {
        self.bytes.get(..self.key_len).unwrap_or_default()
    }

    /// The rows as wire bytes.
    pub fn rows(&self) -> Bytes {
        self.bytes.slice(self.key_len..)
    }

    /// How much memory it takes, without the store's own.
    pub(crate) fn size(&self) -> usize {
        // Tags and parts beyond those that fit inline are on the heap; counting all of them errs on the safe side.
        let parts = self.entry.parts();
        let tags: usize = parts.iter().map(|part| size_of_val(part.tags())).sum();
        size_of::<Self>() + self.bytes.len() + tags + size_of_val(parts)
    }

    /// Magic, checksum of the rest, length of the key, key, header, rows.
    pub fn encode(&self, clocks: WallAnchor) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.size() + 64);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[0; SUM_LEN]);
        // A key is a statement with its parameters; one above 4 GiB can't come over the wire.
        out.extend_from_slice(&u32::try_from(self.key_len).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(self.key());
        self.entry.encode_into(&mut out, clocks);
        out.extend_from_slice(&self.rows());
        let sum = xxh3_64(out.get(MAGIC.len() + SUM_LEN..).unwrap_or_default());
        if let Some(place) = out.get_mut(MAGIC.len()..MAGIC.len() + SUM_LEN) {
            place.copy_from_slice(&sum.to_be_bytes());
        }
        out
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// A value of another version, or a damaged one.
    pub fn decode(value: &[u8], clocks: WallAnchor) -> Result<Self, MalformedValue> {
        let rest = value.strip_prefix(&MAGIC).ok_or(MalformedValue)?;
        let (sum, rest) = rest.split_first_chunk::<SUM_LEN>().ok_or(MalformedValue)?;
        if u64::from_be_bytes(*sum) != xxh3_64(rest) {
            return Err(MalformedValue);
        }
        let (len, rest) = rest.split_first_chunk::<KEY_LEN_LEN>().ok_or(MalformedValue)?;
        let key_len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| MalformedValue)?;
        let (key, rest) = rest.split_at_checked(key_len).ok_or(MalformedValue)?;
        let (entry, rows) = Entry::decode(rest, clocks).map_err(|_| MalformedValue)?;
        Ok(Self::new(key, entry, rows))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::Kept;
    use coherence::{Coherence, Entry, FillTicket, StreamMessage, TagHash, WallAnchor};
    use proptest::prelude::*;
    use topology::{Epoch, Lsn, Mono, ShardId, Timeline};

    pub(crate) const CLOCKS: WallAnchor = WallAnchor {
        mono: Mono(5_000_000_000),
        unix_millis: 1_700_000_000_000,
    };

    /// An entry of one shard with `tags`.
    pub(crate) fn entry(tags: &[u64], deadline: Mono) -> Entry {
        let coherence = Coherence::new(1, 8);
        let shard = coherence.shard(ShardId(0)).unwrap();
        let begin = StreamMessage::heartbeat(Epoch::new(Timeline(1), 1), Lsn(10), Lsn(20)).unwrap();
        shard.apply(&begin);
        let ticket = FillTicket::on_primary(ShardId(0), &shard.view(), Timeline(1)).unwrap();
        Entry::new(
            [ticket.with_tags(tags.iter().copied().map(TagHash)).unwrap()],
            deadline,
        )
        .unwrap()
    }

    proptest! {
        #[test]
        fn round_trips(key in prop::collection::vec(any::<u8>(), 0..50), rows in prop::collection::vec(any::<u8>(), 0..200)) {
            let kept = Kept::new(&key, entry(&[1, 2], Mono(7_000_000_000)), &rows);
            prop_assert_eq!(kept.key(), key.as_slice());
            prop_assert_eq!(&kept.rows()[..], rows.as_slice());
            prop_assert_eq!(Kept::decode(&kept.encode(CLOCKS), CLOCKS), Ok(kept));
        }

        #[test]
        fn any_damage_is_seen(at in any::<prop::sample::Index>(), flip in 1..=255u8, cut in any::<prop::sample::Index>()) {
            let whole = Kept::new(b"key", entry(&[1, 2], Mono(1)), b"rows").encode(CLOCKS);
            let mut damaged = whole.clone();
            damaged[at.index(whole.len())] ^= flip;
            prop_assert!(Kept::decode(&damaged, CLOCKS).is_err());
            prop_assert!(Kept::decode(&whole[..cut.index(whole.len())], CLOCKS).is_err());
        }
    }
}
