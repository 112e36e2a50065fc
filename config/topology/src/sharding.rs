//! How each table is spread over the shards and what of it may be cached.

use std::fmt;
use std::time::Duration;

/// A table by schema and name, both as the catalog holds them (case folded, unquoted).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TableName {
    /// The schema, `public` where the configuration names none.
    pub schema: String,
    /// The table.
    pub name: String,
}

impl TableName {
    /// The table `schema.name`.
    pub fn new(schema: &str, name: &str) -> Self {
        Self {
            schema: schema.to_owned(),
            name: name.to_owned(),
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// A type that can be a shard key, with the hash that PostgreSQL uses for it in hash partitioning.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum KeyType {
    /// `smallint`: hashed as `bigint`.
    Int2,
    /// `integer`: hashed as `bigint`.
    Int4,
    /// `bigint`.
    Int8,
    /// `text` and `varchar` with a deterministic collation.
    Text,
    /// `uuid`.
    Uuid,
    /// `bytea`.
    Bytea,
    /// `date`.
    Date,
    /// `timestamp with time zone`.
    TimestampTz,
}

/// How a table's rows are spread over the shards.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sharding {
    /// Each row lives on the shard that owns the slot of its key.
    Hash {
        /// The shard key column.
        column: String,
        /// Tables of one group with equal keys are colocated and may be joined on the key.
        colocation: String,
    },
    /// A full copy on every shard, written everywhere in one transaction.
    Reference,
    /// All rows on one shard: what an unlisted table is, on the default shard.
    Single {
        /// The shard that holds it.
        shard: crate::ShardId,
    },
}

/// The strictest level that a cached answer of a table may be given at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CacheLevel {
    /// Read-your-writes, and everything acknowledged more than the bound ago.
    Ryw,
    /// Everything acknowledged more than the bound ago.
    Bounded,
}

/// What answers when the cache can't prove an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GateClosed {
    /// The origin.
    Origin,
    /// The entry, if it is at most this much older than its level allows.
    Stale(Duration),
    /// Nobody: an error.
    Error,
}

/// What of a table may be cached and how fresh it must be. A table without one is never cached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CachePolicy {
    /// The level.
    pub level: CacheLevel,
    /// The bound `d` of the level.
    pub bound: Duration,
    /// When an entry is dropped whatever the log says.
    pub ttl: Duration,
    /// The largest answer kept, in bytes.
    pub max_bytes: usize,
    /// What to do when the gate is closed.
    pub on_gate_closed: GateClosed,
}

/// What the configuration says of one table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableConfig {
    /// The table.
    pub name: TableName,
    /// How its rows are spread.
    pub sharding: Sharding,
    /// The opt-in to the cache.
    pub cache: Option<CachePolicy>,
    /// How far behind a standby that answers a `ryw` read of this table may be.
    pub replica_bound: Duration,
}
