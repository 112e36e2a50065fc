//! What a publisher is told.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use topology::{Activity, ShardId, TableName};

/// The longest name that PostgreSQL keeps.
const MAX_NAME: usize = 63;

/// How often the end of the log is asked for, where nothing else is said.
pub const DEFAULT_HEARTBEAT_INTERVAL: Duration = Duration::from_millis(200);

/// How often the end of a log that stands still is asked for while nobody reads the stream.
pub const RESTING_INTERVAL: Duration = Duration::from_secs(5);

/// How much of the log a slot may hold back, where nothing else is said.
pub const DEFAULT_MAX_RETAINED_BYTES: u64 = 16 * 1024 * 1024 * 1024;

/// The name of a logical slot: lower case letters, digits and underscores.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SlotName(Arc<str>);

/// A name that can't be made into the name of a slot.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} makes a slot name longer than {MAX_NAME} bytes")]
pub struct SlotNameTooLong(String);

impl SlotName {
    /// The slot that all proxies of a cluster share for `database`: whoever gets it publishes for all.
    ///
    /// # Errors
    /// When the name gets too long.
    pub fn shared(database: &str) -> Result<Self, SlotNameTooLong> {
        Self::made_of(&format!("ringway_{}", escape(database)))
    }

    /// The slot of one proxy for `database`, where the stream doesn't leave the process.
    ///
    /// # Errors
    /// When the name gets too long.
    pub fn private(database: &str, proxy: &str) -> Result<Self, SlotNameTooLong> {
        Self::made_of(&format!("ringway_{}_{}", escape(database), escape(proxy)))
    }

    /// A slot of this name; what a slot's name can't hold is replaced.
    ///
    /// # Errors
    /// When the name gets too long.
    pub fn new(name: &str) -> Result<Self, SlotNameTooLong> {
        Self::made_of(&escape(name))
    }

    fn made_of(name: &str) -> Result<Self, SlotNameTooLong> {
        if name.len() > MAX_NAME {
            Err(SlotNameTooLong(name.to_owned()))
        } else {
            Ok(Self(Arc::from(name)))
        }
    }
}

/// Everything that a slot's name can't hold as `_` and its hexadecimal number.
fn escape(name: &str) -> String {
    use std::fmt::Write;
    name.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'_' => out.push(char::from(byte)),
            // Writing to a String can't fail.
            other => drop(write!(out, "_{other:02x}")),
        }
        out
    })
}

impl fmt::Display for SlotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What one publisher publishes.
#[derive(Clone, Debug)]
pub struct PublisherConfig {
    /// The shard.
    pub shard: ShardId,
    /// The database's name in tags: the one that clients connect to.
    pub database: String,
    /// The slot it reads.
    pub slot: SlotName,
    /// Columns that are tagged besides those of indexes: shard keys.
    pub tagged_columns: HashMap<TableName, Vec<String>>,
    /// How often the end of the log is asked for: a bound below this can't be kept on an idle shard.
    pub heartbeat_interval: Duration,
    /// Whether anybody reads what is published. While nobody does and the log stands still, its end is asked for every
    /// [`RESTING_INTERVAL`]. For readers that nobody here knows of: always busy.
    pub activity: watch::Receiver<Activity>,
    /// How much of the log the slot may hold back before it is dropped and the epoch raised.
    pub max_retained_bytes: u64,
}

impl PublisherConfig {
    /// A publisher with the default limits.
    pub fn new(shard: ShardId, database: &str, slot: SlotName) -> Self {
        Self {
            shard,
            database: database.to_owned(),
            slot,
            tagged_columns: HashMap::new(),
            heartbeat_interval: DEFAULT_HEARTBEAT_INTERVAL,
            activity: watch::channel(Activity::Busy).1,
            max_retained_bytes: DEFAULT_MAX_RETAINED_BYTES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::SlotName;

    #[test]
    fn names_are_what_postgres_accepts() {
        assert_eq!(SlotName::shared("shop").unwrap().to_string(), "ringway_shop");
        assert_eq!(
            SlotName::private("My Shop", "us-east-1").unwrap().to_string(),
            "ringway__4dy_20_53hop_us_2deast_2d1"
        );
        assert!(SlotName::shared(&"x".repeat(56)).is_err());
        assert!(SlotName::shared(&"x".repeat(55)).is_ok());
    }
}
