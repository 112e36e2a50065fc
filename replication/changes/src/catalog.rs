//! What the tables look like at the place in the log that is being decoded.
//!
//! Read once from `ringway.relation`, then moved on by the changes of that table *in the log*: the
//! catalog of the server is ahead of the place being decoded, and would tag old rows by new rules.

use crate::array;
use crate::error::Error;
use crate::pgoutput::RelationId;
use std::collections::HashMap;
use topology::TableName;

/// The most tables that are followed.
pub(crate) const MAX_RELATIONS: usize = 100_000;

/// A table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Table {
    pub(crate) name: TableName,
    /// The primary key, in its order; empty without one.
    pub(crate) key_columns: Vec<String>,
    /// Every column of an index.
    pub(crate) indexed_columns: Vec<String>,
    /// What it is a partition of, or inherits from, at any height.
    pub(crate) ancestors: Vec<RelationId>,
}

/// The columns of `ringway.relation`, in the order of [`Table::parse`].
pub(crate) const COLUMNS: [&str; 6] = [
    "relid",
    "schema_name",
    "table_name",
    "key_columns",
    "indexed_columns",
    "ancestors",
];

impl Table {
    /// Reads a row of `ringway.relation`, its values as text in the order of [`COLUMNS`].
    pub(crate) fn parse(values: [&str; 6]) -> Result<(RelationId, Self), Error> {
        let [relid, schema, name, key, indexed, ancestors] = values;
        let id = |text: &str| {
            text.parse()
                .map(RelationId)
                .map_err(|_| Error::Answer("an object id"))
        };
        let list = |text: &str| array::parse(text).map_err(|_| Error::Answer("an array of ringway.relation"));
        let table = Self {
            name: TableName::new(schema, name),
            key_columns: list(key)?,
            indexed_columns: list(indexed)?,
            ancestors: list(ancestors)?
                .iter()
                .map(|text| id(text))
                .collect::<Result<_, _>>()?,
        };
        Ok((id(relid)?, table))
    }
}

/// All published tables.
#[derive(Clone, Default, Debug)]
pub(crate) struct Catalog {
    tables: HashMap<RelationId, Table>,
}

impl Catalog {
    /// Sets what a table looks like.
    pub(crate) fn set(&mut self, id: RelationId, table: Table) -> Result<(), Error> {
        if self.tables.len() >= MAX_RELATIONS && !self.tables.contains_key(&id) {
            return Err(Error::TooManyRelations(MAX_RELATIONS));
        }
        self.tables.insert(id, table);
        Ok(())
    }

    /// Forgets a table.
    pub(crate) fn remove(&mut self, id: RelationId) {
        self.tables.remove(&id);
    }

    /// A table.
    pub(crate) fn get(&self, id: RelationId) -> Option<&Table> {
        self.tables.get(&id)
    }

    /// The names of all tables.
    pub(crate) fn names(&self) -> impl Iterator<Item = &TableName> {
        self.tables.values().map(|table| &table.name)
    }
}
