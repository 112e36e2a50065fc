//! The configuration of the tables, ready to be looked up.

use foldhash::{HashMap, HashMapExt};
use std::time::Duration;
use topology::{ShardId, Sharding, TableConfig, TableName};

/// How tables are spread: a plain value made from the settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tables {
    by_name: HashMap<TableName, TableConfig>,
    /// Where unlisted tables and whatever has no shard of its own live.
    pub default_shard: ShardId,
    /// How many shards there are.
    pub shard_count: u16,
    /// How far behind a standby that answers a `ryw` read without listed tables may be.
    pub replica_bound: Duration,
}

impl Tables {
    /// The tables of a cluster of `shard_count` shards.
    pub fn new(
        tables: Vec<TableConfig>,
        default_shard: ShardId,
        shard_count: u16,
        replica_bound: Duration,
    ) -> Self {
        let mut by_name = HashMap::with_capacity(tables.len());
        for table in tables {
            by_name.insert(table.name.clone(), table);
        }
        Self {
            by_name,
            default_shard,
            shard_count,
            replica_bound,
        }
    }

    /// What the configuration says of a table; `None` for one that it doesn't list.
    pub fn get(&self, name: &TableName) -> Option<&TableConfig> {
        self.by_name.get(name)
    }

    /// Every listed table, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &TableConfig> {
        self.by_name.values()
    }

    /// Every shard.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.shard_count).map(ShardId)
    }

    /// Whether any table's rows are spread over shards.
    pub fn any_sharded(&self) -> bool {
        self.shard_count > 1
            && self
                .by_name
                .values()
                .any(|t| matches!(t.sharding, Sharding::Hash { .. }))
    }
}
