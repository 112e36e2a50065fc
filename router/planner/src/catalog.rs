//! What the planner knows of the database: a plain value, loaded by somebody else from `pg_catalog`.

use foldhash::{HashMap, HashMapExt};
use topology::TableName;

/// The relations and functions of one database, as one shard's server tells them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Catalog {
    /// Rises with every change that was loaded.
    pub version: u64,
    tables: HashMap<TableName, Table>,
    functions: HashMap<String, Vec<Function>>,
}

/// A relation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Table {
    /// Its oid on the server that was asked: oids differ between shards.
    pub oid: u32,
    /// Its schema and name.
    pub name: TableName,
    /// What it is.
    pub kind: TableKind,
    /// Its columns in order, dropped ones left out.
    pub columns: Vec<Column>,
    /// The columns of the primary key, in its order; empty without one.
    pub primary_key: Vec<String>,
    /// Indexes other than the primary key's, without expressions and predicates.
    pub indexes: Vec<Index>,
    /// Row-level security is enabled.
    pub row_security: bool,
    /// Its changes, and those of all its heirs, are published by every shard that has rows of it.
    pub published: bool,
}

/// What a relation is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TableKind {
    /// An ordinary table.
    Ordinary,
    /// A partitioned table.
    Partitioned,
    /// A view.
    View,
    /// A materialised view.
    MaterialisedView,
    /// A foreign table.
    Foreign,
    /// A temporary table.
    Temporary,
    /// An unlogged table.
    Unlogged,
    /// Of `pg_catalog` or `information_schema`.
    System,
    /// A sequence.
    Sequence,
    /// A partition or another table's heir: its rows belong to its parent, which is what the configuration lists.
    Partition,
}

/// A column.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The oid of its type.
    pub type_oid: u32,
    /// The type as `pg_type.typname` has it (`int4`, `varchar`).
    pub type_name: String,
    /// How its collation compares, where its type has one.
    pub collation: Collation,
    /// NOT NULL.
    pub not_null: bool,
    /// What its default does.
    pub default: DefaultKind,
}

/// How the collation of a column compares.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Collation {
    /// The type has none.
    None,
    /// By bytes (`C`, `POSIX`, `C.UTF-8`, `ucs_basic`), deterministic.
    Bytes,
    /// By a locale's rules; equal means equal bytes.
    Deterministic,
    /// Different bytes may be equal.
    Nondeterministic,
}

/// What a column's default does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DefaultKind {
    /// None.
    None,
    /// Always the same value.
    Immutable,
    /// The value depends on when or where (`now()`, `random()`).
    Changing,
    /// The next value of a sequence (SERIAL, IDENTITY).
    Sequence,
    /// GENERATED ALWAYS AS (expression) STORED: computed from the row, immutable.
    Generated,
}

/// An index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Index {
    /// Its columns, in order.
    pub columns: Vec<String>,
    /// UNIQUE.
    pub unique: bool,
}

/// A function of one name and one list of argument types.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Function {
    /// Its schema.
    pub schema: String,
    /// How often its value may change.
    pub volatility: Volatility,
    /// What kind of function.
    pub kind: FunctionKind,
}

/// `pg_proc.provolatile`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Volatility {
    /// Depends on its arguments only.
    Immutable,
    /// The same within a statement.
    Stable,
    /// May change anything.
    Volatile,
}

/// `pg_proc.prokind`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FunctionKind {
    /// A function.
    Plain,
    /// An aggregate.
    Aggregate,
    /// A window function.
    Window,
    /// A procedure.
    Procedure,
}

impl Table {
    /// The column of this name, with its place from 0.
    pub fn column(&self, name: &str) -> Option<(usize, &Column)> {
        self.columns
            .iter()
            .enumerate()
            .find(|(_, column)| column.name == name)
    }
}

impl Catalog {
    /// An empty catalog: every name in it is unknown.
    pub fn new(version: u64) -> Self {
        Self {
            version,
            tables: HashMap::new(),
            functions: HashMap::new(),
        }
    }

    /// Adds or replaces a relation.
    pub fn insert_table(&mut self, table: Table) {
        self.tables.insert(table.name.clone(), table);
    }

    /// Adds one overload of the function `name`.
    pub fn insert_function(&mut self, name: &str, function: Function) {
        self.functions.entry(name.to_owned()).or_default().push(function);
    }

    /// The relation of exactly this schema and name.
    pub fn table(&self, name: &TableName) -> Option<&Table> {
        self.tables.get(name)
    }

    /// Every relation, in no order.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        self.tables.values()
    }

    /// Whether any function is known.
    pub fn has_functions(&self) -> bool {
        !self.functions.is_empty()
    }

    /// Every overload of the function `name`, in all schemas.
    pub fn functions(&self, name: &str) -> &[Function] {
        self.functions.get(name).map_or(&[], Vec::as_slice)
    }
}
