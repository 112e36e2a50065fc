//! What a statement that reads or changes rows says of its tables, columns and values.

use super::Name;

/// The number of a [`Block`] in [`Query::blocks`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BlockId(pub usize);

/// A statement that reads or changes rows.
#[derive(Clone, PartialEq, Debug)]
pub struct Query {
    /// Which one.
    pub command: Command,
    /// Every SELECT (or set of FROM items) in it; the first is the outermost.
    pub blocks: Vec<Block>,
    /// Every function that it calls.
    pub functions: Vec<FunctionCall>,
    /// The highest `$n`.
    pub parameters: u32,
    /// Whether those are all.
    pub calls: Calls,
    /// Operators and casts to types that are not built in may hide functions; these are the types.
    pub cast_types: Vec<Name>,
    /// A WITH that changes rows.
    pub modifying_with: bool,
    /// SELECT INTO.
    pub into: Option<IntoTable>,
    /// A constant that [`is_relative_time`](crate::is_relative_time).
    pub relative_time: bool,
    /// The answer has rows: SELECT or RETURNING.
    pub returns_rows: bool,
}

/// What is known of the functions that a statement calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Calls {
    /// Every one of them by name.
    #[default]
    Known,
    /// It has a part that may call others.
    Hidden,
}

/// The table that SELECT INTO makes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IntoTable {
    /// Its name.
    pub name: Name,
    /// It ends with the session.
    pub temporary: bool,
}

/// What a query does at its top.
#[derive(Clone, PartialEq, Debug)]
pub enum Command {
    /// SELECT, VALUES, TABLE.
    Select,
    /// INSERT: the source is block 0.
    Insert(Insert),
    /// UPDATE: block 0 holds the target as its first relation, then FROM.
    Update(Update),
    /// DELETE: block 0 holds the target as its first relation, then USING.
    Delete,
    /// MERGE: block 0 holds the target as its first relation, then the source.
    Merge {
        /// Columns that any WHEN MATCHED ... UPDATE sets.
        set_columns: Vec<String>,
        /// WHEN NOT MATCHED ... INSERT occurs.
        inserts: bool,
    },
}

/// INSERT.
#[derive(Clone, PartialEq, Debug)]
pub struct Insert {
    /// The table.
    pub table: Name,
    /// The columns named; empty: all in the table's order.
    pub columns: Vec<String>,
    /// Where the rows come from.
    pub source: InsertSource,
    /// ON CONFLICT.
    pub on_conflict: Option<OnConflict>,
}

/// The rows of INSERT.
#[derive(Clone, PartialEq, Debug)]
pub enum InsertSource {
    /// VALUES: a cell for each column of each row.
    Values(Vec<Vec<Cell>>),
    /// A query (block 0).
    Query,
    /// DEFAULT VALUES.
    Defaults,
}

/// One value of a VALUES row.
#[derive(Clone, PartialEq, Debug)]
pub enum Cell {
    /// A constant or parameter.
    Value(Value),
    /// DEFAULT.
    Default,
    /// An expression.
    Other,
}

/// ON CONFLICT.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OnConflict {
    /// Columns that DO UPDATE sets; `None` for DO NOTHING.
    pub set_columns: Option<Vec<String>>,
}

/// UPDATE.
#[derive(Clone, PartialEq, Debug)]
pub struct Update {
    /// The columns set, with the value where it is a constant or parameter.
    pub set: Vec<(String, Option<Value>)>,
}

/// Where a block stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockRole {
    /// The statement itself.
    Top,
    /// An arm of UNION, INTERSECT, EXCEPT.
    Arm,
    /// The body of a WITH.
    With {
        /// WITH RECURSIVE and it names itself.
        recursive: bool,
    },
    /// A subquery in FROM.
    From,
    /// A subquery in an expression.
    Expression,
}

/// One SELECT: its relations see each other's columns.
#[derive(Clone, PartialEq, Debug)]
pub struct Block {
    /// The block around it, whose columns it may name.
    pub parent: Option<BlockId>,
    /// Where it stands.
    pub role: BlockRole,
    /// FROM, in order.
    pub relations: Vec<Relation>,
    /// What holds for every row of the answer (WHERE) or of a part of it (ON).
    pub conditions: Vec<ScopedCondition>,
    /// The target list.
    pub outputs: Vec<Output>,
    /// What else it does with its rows.
    pub shape: Shape,
}

/// What a block does with its rows beside filtering them.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Shape {
    /// Clauses by name, each at most once.
    pub clauses: Vec<Clause>,
    /// ORDER BY.
    pub order: Vec<SortKey>,
    /// LIMIT.
    pub limit: Bound,
    /// OFFSET.
    pub offset: Bound,
}

impl Shape {
    /// Whether the clause is there.
    pub fn has(&self, clause: Clause) -> bool {
        self.clauses.contains(&clause)
    }
}

/// A clause that matters for merging and locking.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Clause {
    /// DISTINCT.
    Distinct,
    /// DISTINCT ON.
    DistinctOn,
    /// GROUP BY.
    GroupBy,
    /// HAVING.
    Having,
    /// WINDOW, or a call with OVER.
    Window,
    /// UNION, INTERSECT, EXCEPT.
    SetOperation,
    /// FOR UPDATE and weaker locks.
    Locking,
    /// FETCH FIRST ... WITH TIES.
    WithTies,
    /// TABLESAMPLE.
    Sample,
    /// FULL JOIN.
    FullJoin,
    /// VALUES as a query.
    Values,
    /// NATURAL JOIN, or `(composite).*`: how many columns the answer has is not known from the text.
    OpenColumns,
    /// Something that this crate doesn't know, and that may read tables.
    Unknown,
}

/// LIMIT or OFFSET.
#[derive(Clone, PartialEq, Debug, Default)]
pub enum Bound {
    /// Not there, or ALL or NULL.
    #[default]
    None,
    /// A constant or parameter.
    Value(Value),
    /// An expression.
    Other,
}

/// One item of FROM.
#[derive(Clone, PartialEq, Debug)]
pub struct Relation {
    /// What it is.
    pub source: Source,
    /// The name by which its columns are qualified.
    pub alias: String,
    /// Whether an alias was given: then the schema can't qualify a column.
    pub aliased: bool,
    /// Column aliases.
    pub columns: Vec<String>,
    /// On the side of an outer join that may be all NULL.
    pub nullable: bool,
    /// The target of UPDATE, DELETE, MERGE.
    pub written: bool,
}

/// What a FROM item is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// A table or view.
    Table(Name),
    /// A subquery.
    Subquery(BlockId),
    /// A name of WITH.
    With(BlockId),
    /// The name of the WITH RECURSIVE that it stands in.
    WithSelf(BlockId),
    /// A function, VALUES list or the like, whose rows don't come from tables.
    Rows,
}

/// A condition with the relations that it may bind.
#[derive(Clone, PartialEq, Debug)]
pub struct ScopedCondition {
    /// `None`: every relation of the block (WHERE, inner joins). Else the relations on the nullable side of the outer
    /// join whose ON this is: what it says of the others doesn't restrict them.
    pub binds: Option<Vec<usize>>,
    /// The condition.
    pub condition: Condition,
}

/// A condition, as far as it matters for keys.
#[derive(Clone, PartialEq, Debug)]
pub enum Condition {
    /// All hold.
    And(Vec<Condition>),
    /// One holds.
    Or(Vec<Condition>),
    /// Two operands are equal by an operator named `=`.
    Equal(Operand, Operand),
    /// column IN (values), column = ANY (ARRAY[values]).
    In(ColumnRef, Vec<Value>),
    /// column = ANY (one array value).
    Any(ColumnRef, Value),
    /// JOIN ... USING (column): equal in the relations of both sides that have it.
    Using {
        /// Relations of the left side.
        left: Vec<usize>,
        /// Relations of the right side.
        right: Vec<usize>,
        /// The column.
        column: String,
    },
    /// column IN (SELECT one column).
    InQuery(ColumnRef, BlockId),
    /// Anything else: restricts nothing that is known.
    Other,
}

/// One side of an equality.
#[derive(Clone, PartialEq, Debug)]
pub enum Operand {
    /// A column.
    Column(ColumnRef),
    /// A constant or parameter.
    Value(Value),
    /// An expression.
    Other,
}

/// A column by name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ColumnRef {
    /// The schema before the table.
    pub schema: Option<String>,
    /// The table or alias before the column.
    pub relation: Option<String>,
    /// The column.
    pub column: String,
}

/// A constant or parameter, perhaps with a sign and a cast.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Value {
    /// Where it comes from.
    pub source: ValueSource,
    /// An odd number of minus signs stands before it.
    pub negated: bool,
    /// The type that it is cast to, if to one without modifiers: the built-in types under their catalog names (`int4`).
    pub cast: Option<Name>,
}

/// Where a value comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ValueSource {
    /// It stands in the text.
    Constant(Constant),
    /// `$n`, from 1. In a normalised text: the n-th literal.
    Parameter(u32),
}

/// A constant of the text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Constant {
    /// NULL.
    Null,
    /// A number without a fraction, as text.
    Integer(String),
    /// Another number, as text.
    Decimal(String),
    /// A string, unquoted.
    Text(String),
    /// true or false.
    Bool(bool),
    /// A bit string.
    Bits(String),
}

/// One column of a target list.
#[derive(Clone, PartialEq, Debug)]
pub struct Output {
    /// AS name.
    pub name: Option<String>,
    /// What it is.
    pub kind: OutputKind,
}

/// What a target is.
#[derive(Clone, PartialEq, Debug)]
pub enum OutputKind {
    /// A column.
    Column(ColumnRef),
    /// `*` or `alias.*`.
    Star {
        /// The alias.
        relation: Option<String>,
    },
    /// A call that may be an aggregate: the whole target is this call.
    Call {
        /// The function.
        function: Name,
        /// Its arguments.
        argument: CallArgument,
    },
    /// A constant or parameter.
    Value(Value),
    /// An expression.
    Other,
}

/// The arguments of a call.
#[derive(Clone, PartialEq, Debug)]
pub enum CallArgument {
    /// `(*)`.
    Star,
    /// One column.
    Column(ColumnRef),
    /// Anything else.
    Other,
}

/// One key of ORDER BY.
#[derive(Clone, PartialEq, Debug)]
pub struct SortKey {
    /// By what.
    pub by: SortBy,
    /// DESC.
    pub descending: bool,
    /// NULLS FIRST (true), NULLS LAST (false).
    pub nulls_first: Option<bool>,
}

/// By what ORDER BY orders.
#[derive(Clone, PartialEq, Debug)]
pub enum SortBy {
    /// The n-th output, from 1.
    Ordinal(usize),
    /// An output's name or a column.
    Column(ColumnRef),
    /// An expression, or USING operator.
    Other,
}

/// One call of a function.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FunctionCall {
    /// The function.
    pub function: Name,
    /// The block in which it is called.
    pub block: BlockId,
    /// How it is written.
    pub syntax: CallSyntax,
    /// A constant last argument that is `true` (as in `set_config(.., .., true)`).
    pub last_argument_true: bool,
}

/// How a call is written, where it matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallSyntax {
    /// f(args).
    Plain,
    /// With DISTINCT, ORDER BY or WITHIN GROUP: an aggregate that cannot be added up.
    AggregateModified,
    /// With OVER.
    Window,
    /// CURRENT_TIMESTAMP and the like: stable, of pg_catalog.
    Keyword,
}
