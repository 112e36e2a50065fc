//! Names to tables: by search_path, the catalog and the configuration.

use crate::catalog::{Catalog, DefaultKind, FunctionKind, Table, TableKind, Volatility};
use crate::tables::Tables;
use sql::{CallSyntax, FunctionCall, Name};
use topology::{KeyType, ShardId, Sharding, TableName};

/// What names mean for one statement.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) tables: &'a Tables,
    pub(crate) search_path: &'a [String],
    pub(crate) user: &'a str,
}

/// A table and where its rows are.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Placed<'a> {
    pub(crate) name: TableName,
    pub(crate) table: Option<&'a Table>,
    pub(crate) place: Place,
}

/// Where the rows of a relation are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// By the slot of a key.
    Sharded(ShardKey),
    /// On every shard.
    Reference,
    /// On one shard.
    Single(ShardId),
    /// In every server's own catalog.
    System,
    /// Listed as sharded, but the catalog doesn't have it.
    Missing,
    /// A view or partition that the configuration doesn't list: its rows may be anywhere.
    Unlisted(&'static str),
    /// Listed as sharded by a column that can't be a key.
    BadKey,
}

/// The shard key of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ShardKey {
    pub(crate) column: String,
    /// Its place among the table's columns.
    pub(crate) position: usize,
    pub(crate) key_type: KeyType,
    pub(crate) colocation: String,
}

/// The key type of a column's type; `None` where PostgreSQL's hash of it isn't known here.
pub(crate) fn key_type(type_name: &str) -> Option<KeyType> {
    Some(match type_name {
        "int2" => KeyType::Int2,
        "int4" => KeyType::Int4,
        "int8" => KeyType::Int8,
        "text" | "varchar" => KeyType::Text,
        "uuid" => KeyType::Uuid,
        "bytea" => KeyType::Bytea,
        "date" => KeyType::Date,
        "timestamptz" => KeyType::TimestampTz,
        _ => return None,
    })
}

/// Types whose equal values are the same key.
pub(crate) fn same_family(a: KeyType, b: KeyType) -> bool {
    let integer = |t| matches!(t, KeyType::Int2 | KeyType::Int4 | KeyType::Int8);
    a == b || (integer(a) && integer(b))
}

impl<'a> Scope<'a> {
    /// The table of this name and its place.
    pub(crate) fn place(&self, name: &Name) -> Placed<'a> {
        let name = self.table_name(name);
        let table = self.catalog.table(&name);
        let place = self.place_of(&name, table);
        Placed { name, table, place }
    }

    fn table_name(&self, name: &Name) -> TableName {
        if let Some(schema) = &name.schema {
            return TableName::new(schema, &name.name);
        }
        let schemas = || {
            self.search_path.iter().map(|schema| {
                if schema == "$user" {
                    self.user
                } else {
                    schema.as_str()
                }
            })
        };
        let system = TableName::new("pg_catalog", &name.name);
        if self.catalog.table(&system).is_some() {
            return system;
        }
        let known = schemas()
            .map(|schema| TableName::new(schema, &name.name))
            .find(|table| self.catalog.table(table).is_some() || self.tables.get(table).is_some());
        match known {
            Some(table) => table,
            // pg_catalog comes first in every search_path, and only it may use this prefix.
            None if name.name.starts_with("pg_") => system,
            None => TableName::new(
                schemas().find(|s| *s != self.user).unwrap_or("public"),
                &name.name,
            ),
        }
    }

    fn place_of(&self, name: &TableName, table: Option<&Table>) -> Place {
        if matches!(
            name.schema.as_str(),
            "pg_catalog" | "information_schema" | "pg_toast"
        ) || table.is_some_and(|t| t.kind == TableKind::System)
        {
            return Place::System;
        }
        match self.tables.get(name).map(|config| &config.sharding) {
            Some(Sharding::Hash { column, colocation }) => self.sharded(table, column, colocation),
            Some(Sharding::Reference) => Place::Reference,
            Some(Sharding::Single { shard }) => Place::Single(*shard),
            None => match table.map(|t| t.kind) {
                Some(TableKind::View) if self.tables.any_sharded() => Place::Unlisted("view"),
                Some(TableKind::Partition) if self.tables.any_sharded() => Place::Unlisted("partition"),
                _ => Place::Single(self.tables.default_shard),
            },
        }
    }

    fn sharded(&self, table: Option<&Table>, column: &str, colocation: &str) -> Place {
        let Some(table) = table else { return Place::Missing };
        let Some((position, found)) = table.column(column) else {
            return Place::BadKey;
        };
        let Some(key_type) = key_type(&found.type_name) else {
            return Place::BadKey;
        };
        if found.collation == crate::Collation::Nondeterministic {
            return Place::BadKey;
        }
        Place::Sharded(ShardKey {
            column: column.to_owned(),
            position,
            key_type,
            colocation: colocation.to_owned(),
        })
    }

    /// Whether the catalog was read: an empty one says nothing of any name.
    pub(crate) fn knows_functions(&self) -> bool {
        self.catalog.has_functions()
    }

    /// Whether the catalog has a function of this name in the schema named or in pg_catalog.
    pub(crate) fn function_is_known(&self, call: &FunctionCall) -> bool {
        let schema = call.function.schema.as_deref().unwrap_or("pg_catalog");
        call.syntax == CallSyntax::Keyword
            || self
                .catalog
                .functions(&call.function.name)
                .iter()
                .any(|function| function.schema == schema)
    }

    /// Whether an INSERT into this table may take a value from a sequence by a default.
    pub(crate) fn may_draw_from_sequence(&self, name: &Name) -> bool {
        let unknown = |table: &Table| matches!(table.kind, TableKind::View | TableKind::Foreign);
        self.place(name).table.is_none_or(|table| {
            unknown(table)
                || table
                    .columns
                    .iter()
                    .any(|c| matches!(c.default, DefaultKind::Sequence))
        })
    }

    /// What calling a function may do.
    pub(crate) fn function(&self, call: &FunctionCall) -> FunctionFacts {
        if call.syntax == CallSyntax::Keyword {
            return FunctionFacts {
                volatility: Volatility::Stable,
                builtin: true,
                aggregate: false,
            };
        }
        let named = self.catalog.functions(&call.function.name);
        let visible = |schema: &str| match &call.function.schema {
            Some(named) => named == schema,
            None => {
                schema == "pg_catalog"
                    || self
                        .search_path
                        .iter()
                        .any(|s| s == schema || (s == "$user" && schema == self.user))
            }
        };
        let mut facts = FunctionFacts {
            volatility: Volatility::Immutable,
            builtin: true,
            aggregate: false,
        };
        let mut found = false;
        for function in named.iter().filter(|f| visible(&f.schema)) {
            found = true;
            facts.volatility = facts.volatility.max(function.volatility);
            facts.builtin &= function.schema == "pg_catalog";
            facts.aggregate |= function.kind == FunctionKind::Aggregate;
        }
        if found {
            return facts;
        }
        // Unknown: it may do anything; but what is said to be of pg_catalog is not the user's.
        let builtin = call.function.schema.as_deref() == Some("pg_catalog");
        FunctionFacts {
            volatility: Volatility::Volatile,
            builtin,
            aggregate: false,
        }
    }
}

/// What is known of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FunctionFacts {
    pub(crate) volatility: Volatility,
    /// PostgreSQL's own: it reads no table of the user's.
    pub(crate) builtin: bool,
    pub(crate) aggregate: bool,
}
