//! What `ringway check` points out about the tables of a live database.

use crate::catalog::{Catalog, DefaultKind, TableKind};
use crate::resolve::key_type;
use crate::tables::Tables;
use topology::{Sharding, TableName};

/// Something about a listed table that will hurt.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Notice {
    /// The catalog doesn't have it.
    Missing(TableName),
    /// It has no such column.
    NoKeyColumn(TableName, String),
    /// The key's type can't be hashed as PostgreSQL does, or its collation makes different bytes equal.
    KeyType(TableName, String),
    /// The key may be NULL: all such rows go to one slot.
    NullableKey(TableName, String),
    /// SERIAL or IDENTITY: every shard counts by itself, so numbers repeat.
    Sequence(TableName, String),
    /// The primary key, or a unique index, doesn't hold the shard key: each shard keeps it unique for itself only.
    UniqueWithoutKey(TableName, Vec<String>),
    /// It isn't an ordinary or partitioned table.
    Kind(TableName, TableKind),
}

/// The notices for all listed tables, in order.
pub fn check(catalog: &Catalog, tables: &Tables) -> Vec<Notice> {
    let mut notices = Vec::new();
    for config in tables.iter() {
        let name = &config.name;
        let Sharding::Hash { column, .. } = &config.sharding else {
            continue;
        };
        let Some(table) = catalog.table(name) else {
            notices.push(Notice::Missing(name.clone()));
            continue;
        };
        if !matches!(table.kind, TableKind::Ordinary | TableKind::Partitioned) {
            notices.push(Notice::Kind(name.clone(), table.kind));
        }
        match table.column(column) {
            None => notices.push(Notice::NoKeyColumn(name.clone(), column.clone())),
            Some((_, key)) => {
                if key_type(&key.type_name).is_none() || key.collation == crate::Collation::Nondeterministic {
                    notices.push(Notice::KeyType(name.clone(), column.clone()));
                }
                if !key.not_null {
                    notices.push(Notice::NullableKey(name.clone(), column.clone()));
                }
            }
        }
        let counted = table
            .columns
            .iter()
            .filter(|c| c.default == DefaultKind::Sequence);
        notices.extend(counted.map(|c| Notice::Sequence(name.clone(), c.name.clone())));
        let unique = table
            .indexes
            .iter()
            .filter(|index| index.unique)
            .map(|index| &index.columns);
        let unique = unique.chain(std::iter::once(&table.primary_key).filter(|key| !key.is_empty()));
        let without = unique.filter(|columns| !columns.contains(column));
        notices.extend(without.map(|columns| Notice::UniqueWithoutKey(name.clone(), columns.clone())));
    }
    notices.sort();
    notices
}
