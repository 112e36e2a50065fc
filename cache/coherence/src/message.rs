//! What travels in the invalidation stream of a (shard, database).

use crate::codec::{Reader, put_count};
use crate::error::{Error, Malformed};
use crate::tags::TagHash;
use topology::{Epoch, Lsn, Position, Timeline};

/// The most tags in one message: half a mebibyte of them, below Kafka's default limit of one.
/// A publisher splits its batch before, and replaces the tags of one huge transaction by generation tags.
pub const MAX_TAGS: usize = 65_536;

const VERSION: u8 = 1;
const KIND_TRANSACTIONS: u8 = 0;
const KIND_HEARTBEAT: u8 = 1;

/// What a message reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MessageKind {
    /// One or more committed transactions, with the tags that they changed.
    Transactions,
    /// Nothing up to its end was left out: the log is decoded and visible so far.
    Heartbeat,
}

/// One message: "between `from` and `to` of the log of this epoch, exactly these tags changed".
///
/// Its timeline is the one that its epoch names. `from` is the `to` of the publisher's message
/// before it, so that a reader sees whether one is missing; heartbeats carry it too, because the
/// lost message may be the one before a heartbeat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamMessage {
    epoch: Epoch,
    kind: MessageKind,
    from: Lsn,
    to: Lsn,
    tags: Vec<TagHash>,
}

impl StreamMessage {
    /// Reports transactions that committed after `from` and not after `to` (the end of the last commit record).
    ///
    /// # Errors
    /// [`Error::Publish`] if `to` lies before `from` or there are more than [`MAX_TAGS`] distinct tags.
    pub fn transactions(epoch: Epoch, from: Lsn, to: Lsn, mut tags: Vec<TagHash>) -> Result<Self, Error> {
        tags.sort_unstable();
        tags.dedup();
        let message = Self {
            epoch,
            kind: MessageKind::Transactions,
            from,
            to,
            tags,
        };
        message.check().map_err(Error::Publish)?;
        Ok(message)
    }

    /// Reports that nothing more changed after `from` and not after `to`.
    ///
    /// # Errors
    /// [`Error::Publish`] if `to` lies before `from`.
    pub fn heartbeat(epoch: Epoch, from: Lsn, to: Lsn) -> Result<Self, Error> {
        let message = Self {
            epoch,
            kind: MessageKind::Heartbeat,
            from,
            to,
            tags: Vec::new(),
        };
        message.check().map_err(Error::Publish)?;
        Ok(message)
    }

    /// The epoch of the stream.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The timeline that the epoch names.
    pub fn timeline(&self) -> Timeline {
        self.epoch.timeline()
    }

    /// Where the publisher's message before this one ended.
    pub fn from(&self) -> Lsn {
        self.from
    }

    /// Up to where the log is told with this message.
    pub fn to(&self) -> Lsn {
        self.to
    }

    /// The end as a position.
    pub fn end(&self) -> Position {
        Position::new(self.timeline(), self.to)
    }

    /// What it reports.
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// The tags that changed, ascending and distinct.
    pub fn tags(&self) -> &[TagHash] {
        &self.tags
    }

    fn check(&self) -> Result<(), Malformed> {
        if self.to < self.from {
            return Err(Malformed::Backwards);
        }
        if self.tags.len() > MAX_TAGS {
            return Err(Malformed::TooMany {
                count: self.tags.len(),
                bound: MAX_TAGS,
            });
        }
        if self.kind == MessageKind::Heartbeat && !self.tags.is_empty() {
            return Err(Malformed::HeartbeatWithTags);
        }
        if !self.tags.is_sorted_by(|a, b| a < b) {
            return Err(Malformed::NotAscending);
        }
        Ok(())
    }

    /// The bytes to publish: version, kind, epoch, from, to, number of tags, tags; all big-endian.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(30 + self.tags.len() * 8);
        out.push(VERSION);
        out.push(match self.kind {
            MessageKind::Transactions => KIND_TRANSACTIONS,
            MessageKind::Heartbeat => KIND_HEARTBEAT,
        });
        for field in [self.epoch.0, self.from.0, self.to.0] {
            out.extend_from_slice(&field.to_be_bytes());
        }
        put_count(&mut out, self.tags.len());
        for tag in &self.tags {
            out.extend_from_slice(&tag.0.to_be_bytes());
        }
        out
    }

    /// Reads what [`encode`](Self::encode) wrote, and refuses everything else: there is one encoding of each message.
    ///
    /// # Errors
    /// [`Error::Stream`] says what is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        Self::read(bytes).map_err(Error::Stream)
    }

    fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(Malformed::Version(version));
        }
        let kind = match reader.u8()? {
            KIND_TRANSACTIONS => MessageKind::Transactions,
            KIND_HEARTBEAT => MessageKind::Heartbeat,
            other => return Err(Malformed::Kind(other)),
        };
        let (epoch, from, to) = (Epoch(reader.u64()?), Lsn(reader.u64()?), Lsn(reader.u64()?));
        let count = reader.count(MAX_TAGS, 8)?;
        let mut tags = Vec::with_capacity(count);
        for _ in 0..count {
            tags.push(TagHash(reader.u64()?));
        }
        reader.end()?;
        let message = Self {
            epoch,
            kind,
            from,
            to,
            tags,
        };
        message.check()?;
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message() -> impl Strategy<Value = StreamMessage> {
        let parts = (
            any::<u64>(),
            any::<u64>(),
            any::<u64>(),
            any::<bool>(),
            prop::collection::vec(any::<u64>(), 0..40),
        );
        parts.prop_map(|(epoch, a, b, heartbeat, tags)| {
            let (from, to) = (Lsn(a.min(b)), Lsn(a.max(b)));
            if heartbeat {
                StreamMessage::heartbeat(Epoch(epoch), from, to).unwrap()
            } else {
                let tags = tags.into_iter().map(TagHash).collect();
                StreamMessage::transactions(Epoch(epoch), from, to, tags).unwrap()
            }
        })
    }

    proptest! {
        #[test]
        fn round_trips(message in message()) {
            prop_assert_eq!(StreamMessage::decode(&message.encode()), Ok(message));
        }

        #[test]
        fn any_bytes_are_refused_or_are_the_one_encoding(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            if let Ok(message) = StreamMessage::decode(&bytes) {
                prop_assert_eq!(message.encode(), bytes);
            }
        }

        #[test]
        fn a_damaged_message_is_refused_or_is_another_message(
            message in message(), at in any::<prop::sample::Index>(), flip in 1..=255u8,
        ) {
            let mut bytes = message.encode();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            if let Ok(other) = StreamMessage::decode(&bytes) {
                prop_assert_ne!(&other, &message);
                prop_assert_eq!(other.encode(), bytes);
            }
        }

        #[test]
        fn a_cut_or_longer_message_is_refused(message in message(), cut in any::<prop::sample::Index>()) {
            let mut bytes = message.encode();
            prop_assert!(StreamMessage::decode(&bytes[..cut.index(bytes.len())]).is_err());
            bytes.push(0);
            prop_assert_eq!(StreamMessage::decode(&bytes), Err(Error::Stream(Malformed::Trailing)));
        }
    }

    #[test]
    fn a_count_beyond_the_bytes_reserves_nothing() {
        let mut bytes = StreamMessage::heartbeat(Epoch(1), Lsn(1), Lsn(2))
            .unwrap()
            .encode();
        let tail = bytes.len() - 4;
        bytes[1] = KIND_TRANSACTIONS;
        bytes[tail..].copy_from_slice(&u32::MAX.to_be_bytes());
        let bound = MAX_TAGS;
        let count = usize::try_from(u32::MAX).unwrap();
        assert_eq!(
            StreamMessage::decode(&bytes),
            Err(Error::Stream(Malformed::TooMany { count, bound }))
        );
    }

    #[test]
    fn the_bytes_are_stable() {
        let message =
            StreamMessage::transactions(Epoch(0x1_0000_0002), Lsn(3), Lsn(4), vec![TagHash(6), TagHash(5)]);
        let expected = "010000000001000000020000000000000003000000000000000400000002\
                        00000000000000050000000000000006";
        let hex: String = message
            .unwrap()
            .encode()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(hex, expected);
    }

    #[test]
    fn rules_hold_when_built() {
        assert_eq!(
            StreamMessage::heartbeat(Epoch(1), Lsn(2), Lsn(1)),
            Err(Error::Publish(Malformed::Backwards))
        );
        let many = (0..=MAX_TAGS).map(|n| TagHash(n as u64)).collect();
        assert!(StreamMessage::transactions(Epoch(1), Lsn(1), Lsn(2), many).is_err());
    }
}
