//! Which tags the rows of a table have, given where its columns stand.

use crate::catalog::{Catalog, Table};
use crate::pgoutput::{OldRow, Relation, RelationId, Tuple, Value};
use crate::tagset::TagSet;
use coherence::TableTags;
use std::collections::HashMap;
use topology::TableName;

/// Columns that are tagged beside the indexed ones: the shard keys of the configuration.
pub(crate) type ExtraColumns = HashMap<TableName, Vec<String>>;

/// A table as the decoding session announced it.
#[derive(Clone, Debug)]
pub(crate) struct Announced {
    name: TableName,
    columns: Vec<(String, bool)>,
    layout: Option<Layout>,
}

/// One target for itself and one for each ancestor.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    targets: Vec<Target>,
}

/// The tags of the rows under the name of one table.
#[derive(Clone, Debug)]
struct Target {
    tags: TableTags,
    key: Key,
    /// Tagged columns that are published.
    columns: Vec<(String, usize)>,
}

/// Where the primary key stands in a row.
#[derive(Clone, Debug)]
enum Key {
    /// There is none: rows have no tag of their own.
    None,
    /// Part of it isn't published (a generated column), or nothing is known of the table: rows can't be told apart.
    Unknown,
    /// Its columns, all in the replica identity: where the log holds no old row, it has not changed.
    InIdentity(Vec<usize>),
    /// Its columns, some outside the replica identity: only a full old row holds it.
    Outside(Vec<usize>),
}

impl Announced {
    pub(crate) fn new(relation: &Relation<'_>) -> Self {
        let columns = relation
            .columns
            .iter()
            .map(|column| (column.name.to_owned(), column.in_identity));
        Self {
            name: TableName::new(relation.schema, relation.name),
            columns: columns.collect(),
            layout: None,
        }
    }

    /// The table's name.
    pub(crate) fn name(&self) -> &TableName {
        &self.name
    }

    /// The place of a column in every row.
    pub(crate) fn place(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|(name, _)| name == column)
    }

    /// The catalog has changed.
    pub(crate) fn forget_layout(&mut self) {
        self.layout = None;
    }

    /// The layout, worked out when first asked for.
    pub(crate) fn layout(
        &mut self,
        id: RelationId,
        catalog: &Catalog,
        extra: &ExtraColumns,
        database: &str,
    ) -> &Layout {
        let made = self
            .layout
            .take()
            .unwrap_or_else(|| self.work_out(id, catalog, extra, database));
        self.layout.insert(made)
    }

    fn work_out(&self, id: RelationId, catalog: &Catalog, extra: &ExtraColumns, database: &str) -> Layout {
        let Some(table) = catalog.get(id) else {
            let tags = TableTags::new(database, &self.name);
            return Layout {
                targets: vec![Target {
                    tags,
                    key: Key::Unknown,
                    columns: Vec::new(),
                }],
            };
        };
        let ancestors = table
            .ancestors
            .iter()
            .filter_map(|ancestor| catalog.get(*ancestor));
        let targets = std::iter::once(table)
            .chain(ancestors)
            .map(|table| self.target(table, extra, database));
        Layout {
            targets: targets.collect(),
        }
    }

    fn target(&self, table: &Table, extra: &ExtraColumns, database: &str) -> Target {
        let further = extra.get(&table.name).into_iter().flatten();
        let mut columns: Vec<(String, usize)> = Vec::new();
        for column in table.indexed_columns.iter().chain(further) {
            if let Some(place) = self
                .place(column)
                .filter(|place| columns.iter().all(|(_, other)| other != place))
            {
                columns.push((column.clone(), place));
            }
        }
        Target {
            tags: TableTags::new(database, &table.name),
            key: self.key(&table.key_columns),
            columns,
        }
    }

    fn key(&self, columns: &[String]) -> Key {
        if columns.is_empty() {
            return Key::None;
        }
        let Some(places) = columns
            .iter()
            .map(|column| self.place(column))
            .collect::<Option<Vec<_>>>()
        else {
            return Key::Unknown;
        };
        let in_identity = |place: &usize| {
            self.columns
                .get(*place)
                .is_some_and(|(_, in_identity)| *in_identity)
        };
        if places.iter().all(in_identity) {
            Key::InIdentity(places)
        } else {
            Key::Outside(places)
        }
    }
}

impl Layout {
    /// A new row.
    pub(crate) fn insert(&self, new: &Tuple<'_>, into: &mut TagSet) {
        for target in &self.targets {
            into.touch(target.tags);
            target.row(new, Holds::All, None, into);
        }
    }

    /// A changed row.
    pub(crate) fn update(&self, old: &OldRow<'_>, new: &Tuple<'_>, into: &mut TagSet) {
        for target in &self.targets {
            into.touch(target.tags);
            let full = if let OldRow::Full(old) = old {
                Some(old)
            } else {
                None
            };
            target.row(new, Holds::All, full, into);
            match old {
                OldRow::Unchanged if matches!(target.key, Key::Outside(_)) => into.generation(target.tags),
                OldRow::Unchanged => {}
                OldRow::Key(old) => target.row(old, Holds::Identity, None, into),
                OldRow::Full(old) => target.row(old, Holds::All, None, into),
            }
        }
    }

    /// A removed row.
    pub(crate) fn delete(&self, old: &OldRow<'_>, into: &mut TagSet) {
        for target in &self.targets {
            into.touch(target.tags);
            match old {
                OldRow::Unchanged => into.generation(target.tags),
                OldRow::Key(old) => target.row(old, Holds::Identity, None, into),
                OldRow::Full(old) => target.row(old, Holds::All, None, into),
            }
        }
    }

    /// Rows nobody named.
    pub(crate) fn unknown_rows(&self, into: &mut TagSet) {
        for target in &self.targets {
            into.touch(target.tags);
            into.generation(target.tags);
        }
    }
}

/// What a row of the log holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// Every column.
    All,
    /// Only the columns of the replica identity: null elsewhere means nothing.
    Identity,
}

impl Target {
    /// The tags of one row. A value that the log doesn't hold is taken from `before`, the same row before the change.
    fn row(&self, row: &Tuple<'_>, holds: Holds, before: Option<&Tuple<'_>>, into: &mut TagSet) {
        let value = |place: usize| match row.value(place) {
            Some(Value::Unchanged) | None => before.and_then(|before| before.value(place)),
            found => found,
        };
        match (&self.key, holds) {
            (Key::None, _) => {}
            (Key::InIdentity(places), _) | (Key::Outside(places), Holds::All) => {
                let text = |place: &usize| match value(*place) {
                    Some(Value::Text(text)) => Some(text),
                    _ => None,
                };
                match places.iter().map(text).collect::<Option<Vec<_>>>() {
                    Some(key) => into.row(self.tags.row(key)),
                    None => into.generation(self.tags),
                }
            }
            (Key::Unknown, _) | (Key::Outside(_), Holds::Identity) => into.generation(self.tags),
        }
        for (name, place) in &self.columns {
            match value(*place) {
                Some(Value::Text(text)) => into.row(self.tags.column(name, text)),
                Some(Value::Null) => {}
                Some(Value::Unchanged) | None => into.generation(self.tags),
            }
        }
    }
}
