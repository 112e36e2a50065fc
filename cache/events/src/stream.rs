//! Which stream a message belongs to.

use crate::Error;
use coherence::StreamMessage;
use std::sync::Arc;
use topology::ShardId;

/// A message with the shard whose log it tells of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// The shard.
    pub shard: ShardId,
    /// The message.
    pub message: StreamMessage,
}

/// The streams of one database of one cluster, one for each shard. Several may share a topic: the key of a record
/// is `cluster/database/shard`, and a reader passes over the keys of others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamId {
    prefix: Arc<str>,
}

impl StreamId {
    /// The streams of `database` in `cluster`.
    ///
    /// # Errors
    /// [`Error::Name`] for a cluster that is empty or has a slash, or an empty database.
    pub fn new(cluster: &str, database: &str) -> Result<Self, Error> {
        if cluster.is_empty() || cluster.contains('/') {
            return Err(Error::Name(cluster.to_owned()));
        }
        if database.is_empty() {
            return Err(Error::Name(database.to_owned()));
        }
        Ok(Self {
            prefix: Arc::from(format!("{cluster}/{database}/")),
        })
    }

    /// The key of the records of `shard`.
    pub fn key(&self, shard: ShardId) -> String {
        format!("{}{shard}", self.prefix)
    }

    /// The shard that `key` names, if it is one of these streams.
    pub fn shard_of(&self, key: &[u8]) -> Option<ShardId> {
        let number = key.strip_prefix(self.prefix.as_bytes())?;
        // Only the spelling that `key` writes: no sign, no leading zero.
        let shard = ShardId(std::str::from_utf8(number).ok()?.parse().ok()?);
        (shard.to_string().as_bytes() == number).then_some(shard)
    }
}

#[cfg(test)]
mod tests {
    use super::StreamId;
    use proptest::prelude::*;
    use topology::ShardId;

    proptest! {
        #[test]
        fn a_key_names_its_own_stream_only(
            a in "[a-c]{1,2}", b in "[a-c/]{1,3}", c in "[a-c]{1,2}", d in "[a-c/]{1,3}", shard in any::<u16>(),
        ) {
            let (one, two) = (StreamId::new(&a, &b).unwrap(), StreamId::new(&c, &d).unwrap());
            let key = one.key(ShardId(shard));
            prop_assert_eq!(one.shard_of(key.as_bytes()), Some(ShardId(shard)));
            prop_assert_eq!(two.shard_of(key.as_bytes()).is_some(), (a, b) == (c, d));
        }

        #[test]
        fn any_bytes_are_a_key_or_not(key in prop::collection::vec(any::<u8>(), 0..20)) {
            prop_assert_eq!(StreamId::new("c", "d").unwrap().shard_of(&key).map(|s| format!("c/d/{s}").into_bytes()), key.starts_with(b"c/d/").then_some(key).filter(|k| {
                std::str::from_utf8(&k[4..]).ok().and_then(|n| n.parse::<u16>().ok()).is_some_and(|n| n.to_string().as_bytes() == &k[4..])
            }));
        }
    }

    #[test]
    fn other_spellings_are_not_ours() {
        let id = StreamId::new("prod", "shop").unwrap();
        for key in [
            "prod/shop/",
            "prod/shop/+1",
            "prod/shop/01",
            "prod/shop/65536",
            "prod/shop/1/2",
            "prod/shop",
            "",
        ] {
            assert_eq!(id.shard_of(key.as_bytes()), None, "{key}");
        }
        for (cluster, database) in [("", "shop"), ("a/b", "shop"), ("prod", "")] {
            assert!(StreamId::new(cluster, database).is_err());
        }
    }
}
