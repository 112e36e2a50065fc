//! How the rows of several shards become one answer: a plain value that the planner makes.

/// The type by which a column is compared or added up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ColumnType {
    /// `boolean`.
    Bool,
    /// `smallint`.
    Int2,
    /// `integer`.
    Int4,
    /// `bigint`.
    Int8,
    /// `numeric`.
    Numeric,
    /// `real`.
    Float4,
    /// `double precision`.
    Float8,
    /// `text`, `varchar` under a collation that orders by bytes (`C`, `POSIX`, `C.UTF-8`, `ucs_basic`).
    TextByBytes,
    /// `character(n)` under such a collation: trailing blanks don't count.
    BpcharByBytes,
    /// `bytea`.
    Bytea,
    /// `uuid`.
    Uuid,
    /// `date`.
    Date,
    /// `timestamp without time zone`.
    Timestamp,
    /// `timestamp with time zone`.
    TimestampTz,
}

/// One key of an ORDER BY.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct OrderKey {
    /// The column of the shard's row, from 0, hidden columns included.
    pub column: usize,
    /// How it compares.
    pub column_type: ColumnType,
    /// DESC.
    pub descending: bool,
    /// NULLS FIRST, resolved (PostgreSQL's default: last ascending, first descending).
    pub nulls_first: bool,
}

/// How one column of an aggregate answer comes out of the shards' partial values.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Aggregate {
    /// Sum of the shards' counts (`bigint`, never NULL).
    Count,
    /// Sum of the shards' sums, of the type that the shards answered in; NULL if all are. Only `bigint` (the sum of
    /// `smallint` and `integer`) and `numeric` (that of `bigint` and `numeric`) come out the same in every order.
    Sum(ColumnType),
    /// Smallest non-NULL value.
    Min(ColumnType),
    /// Largest non-NULL value.
    Max(ColumnType),
}

/// What to do with the shards' rows.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum MergeKind {
    /// Rows one after the other, or by `order` where it is not empty.
    Rows {
        /// The ORDER BY.
        order: Vec<OrderKey>,
    },
    /// One row of aggregates: one entry for each column of the answer.
    Aggregates(Vec<Aggregate>),
}

/// How the rows of several shards become one answer.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct MergeSpec {
    /// Rows or aggregates.
    pub kind: MergeKind,
    /// Rows to leave out at the start of the merged answer.
    pub offset: u64,
    /// Rows to give at the most, after `offset`.
    pub limit: Option<u64>,
    /// Columns at the end of the shards' rows that only `order` needs and the client must not see.
    pub hidden_columns: usize,
}
