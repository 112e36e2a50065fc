//! What a statement says, without what its names mean: names are resolved by the planner, which has a catalog.

use std::ops::Range;

/// One statement of a query string.
#[derive(Clone, PartialEq, Debug)]
pub struct Statement {
    /// Its bytes in the string, without the semicolon and the white space around it.
    pub range: Range<usize>,
    /// What it is.
    pub kind: StatementKind,
    /// The grammar's tree, for rewriting.
    pub(crate) tree: Tree,
}

/// The grammar's own tree of one statement. Opaque: only this crate knows the grammar.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Tree(pub(crate) Option<Box<pg_query::protobuf::Node>>);

/// A name with the schema that stands before it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Name {
    /// The schema as written, case folded; `None` where search_path decides.
    pub schema: Option<String>,
    /// The name, case folded.
    pub name: String,
}

/// What a statement is.
#[derive(Clone, PartialEq, Debug)]
pub enum StatementKind {
    /// Nothing between two semicolons.
    Empty,
    /// SELECT, VALUES, TABLE, INSERT, UPDATE, DELETE, MERGE.
    Query(Box<Query>),
    /// BEGIN, COMMIT and what stands between.
    Transaction(TransactionControl),
    /// SET.
    Set(Set),
    /// RESET name; `None` for RESET ALL.
    Reset {
        /// The parameter.
        name: Option<String>,
    },
    /// SHOW name (`all` for SHOW ALL).
    Show {
        /// The parameter.
        name: String,
    },
    /// DISCARD.
    Discard {
        /// ALL, which also ends everything else of the session.
        all: bool,
    },
    /// PREPARE name AS statement.
    Prepare {
        /// Its name.
        name: String,
        /// The statement.
        inner: Box<Statement>,
    },
    /// EXECUTE name (values).
    Execute {
        /// Its name.
        name: String,
        /// The arguments; `None` where one is not a constant or a parameter.
        arguments: Vec<Option<Value>>,
    },
    /// DEALLOCATE name; `None` for ALL.
    Deallocate {
        /// Its name.
        name: Option<String>,
    },
    /// DECLARE name CURSOR FOR query.
    Declare {
        /// Its name.
        name: String,
        /// WITH HOLD: outlives the transaction.
        hold: bool,
        /// The query.
        inner: Box<Statement>,
    },
    /// FETCH or MOVE.
    Fetch {
        /// The cursor.
        name: String,
    },
    /// CLOSE name; `None` for ALL.
    Close {
        /// The cursor.
        name: Option<String>,
    },
    /// LISTEN channel.
    Listen {
        /// The channel.
        channel: String,
    },
    /// NOTIFY channel.
    Notify {
        /// The channel.
        channel: String,
    },
    /// UNLISTEN channel; `None` for all.
    Unlisten {
        /// The channel.
        channel: Option<String>,
    },
    /// COPY.
    Copy(Box<Copy>),
    /// LOCK TABLE.
    Lock {
        /// The tables.
        tables: Vec<Name>,
    },
    /// TRUNCATE.
    Truncate {
        /// The tables.
        tables: Vec<Name>,
    },
    /// CREATE, ALTER, DROP, GRANT, COMMENT and the like.
    Ddl(Ddl),
    /// VACUUM, ANALYZE, REINDEX, CLUSTER, CHECKPOINT: work on storage, not on data.
    Maintenance {
        /// The command's name.
        command: &'static str,
        /// The tables named.
        tables: Vec<Name>,
        /// Whether the server refuses it in a transaction block.
        outside_transaction: bool,
    },
    /// EXPLAIN.
    Explain {
        /// EXPLAIN (ROUTE): answered without a server.
        route: bool,
        /// EXPLAIN ANALYZE: runs the statement.
        analyze: bool,
        /// Options beside ROUTE, lower case: ROUTE takes none.
        other_options: Vec<String>,
        /// The statement.
        inner: Box<Statement>,
    },
    /// CALL procedure.
    Call {
        /// The procedure.
        procedure: Name,
    },
    /// DO.
    Do,
    /// Anything else, by the name of its node in the grammar.
    Other {
        /// The node's name.
        node: &'static str,
    },
}

/// Statements that move a transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TransactionControl {
    /// BEGIN, START TRANSACTION.
    Begin(TransactionModes),
    /// COMMIT, END.
    Commit {
        /// AND CHAIN.
        chain: bool,
    },
    /// ROLLBACK, ABORT.
    Rollback {
        /// AND CHAIN.
        chain: bool,
    },
    /// SAVEPOINT name.
    Savepoint(String),
    /// RELEASE SAVEPOINT name.
    Release(String),
    /// ROLLBACK TO SAVEPOINT name.
    RollbackTo(String),
    /// PREPARE TRANSACTION gid.
    Prepare(String),
    /// COMMIT PREPARED gid.
    CommitPrepared(String),
    /// ROLLBACK PREPARED gid.
    RollbackPrepared(String),
}

/// Isolation as the statement spells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isolation {
    /// READ UNCOMMITTED, which PostgreSQL runs as READ COMMITTED.
    ReadUncommitted,
    /// READ COMMITTED.
    ReadCommitted,
    /// REPEATABLE READ.
    RepeatableRead,
    /// SERIALIZABLE.
    Serializable,
}

/// The modes of BEGIN and SET TRANSACTION; `None` where not said.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TransactionModes {
    /// ISOLATION LEVEL.
    pub isolation: Option<Isolation>,
    /// READ ONLY (true) or READ WRITE (false).
    pub read_only: Option<bool>,
    /// DEFERRABLE (true) or NOT DEFERRABLE (false).
    pub deferrable: Option<bool>,
}

/// SET.
#[derive(Clone, PartialEq, Debug)]
pub struct Set {
    /// SET LOCAL: until the end of the transaction.
    pub local: bool,
    /// What is set.
    pub what: SetWhat,
}

/// What SET sets.
#[derive(Clone, PartialEq, Debug)]
pub enum SetWhat {
    /// A run-time parameter, by its lower-case name.
    Parameter {
        /// The name.
        name: String,
        /// The values, unquoted, as text.
        values: Vec<String>,
    },
    /// A parameter TO DEFAULT.
    Default {
        /// The name.
        name: String,
    },
    /// SET TRANSACTION.
    Transaction(TransactionModes),
    /// SET SESSION CHARACTERISTICS AS TRANSACTION.
    Characteristics(TransactionModes),
    /// SET TRANSACTION SNAPSHOT.
    Snapshot,
    /// SET x FROM CURRENT, and forms that are not known.
    Other {
        /// The name.
        name: String,
    },
}

/// COPY.
#[derive(Clone, PartialEq, Debug)]
pub struct Copy {
    /// FROM or TO.
    pub direction: CopyDirection,
    /// Where the other end is.
    pub end: CopyEnd,
    /// The table; `None` for COPY (query).
    pub table: Option<Name>,
    /// The columns; empty: all.
    pub columns: Vec<String>,
    /// COPY (query) TO.
    pub query: Option<Box<Statement>>,
    /// COPY FROM ... WHERE.
    pub filtered: bool,
    /// The options.
    pub options: CopyOptions,
}

/// Which way COPY goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CopyDirection {
    /// Into a table.
    From,
    /// Out of a table or a query.
    To,
}

/// The client's or the server's end of COPY.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CopyEnd {
    /// STDIN or STDOUT.
    Client,
    /// A file of the server.
    File,
    /// A program of the server.
    Program,
}

/// The format of COPY's rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CopyFormat {
    /// text.
    Text,
    /// csv.
    Csv,
    /// binary.
    Binary,
}

/// HEADER of COPY.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CopyHeader {
    /// No header line.
    Off,
    /// A header line.
    On,
    /// A header line that must name the columns.
    Match,
}

/// The options of COPY; `None` where the format's default holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CopyOptions {
    /// FORMAT.
    pub format: CopyFormat,
    /// DELIMITER.
    pub delimiter: Option<String>,
    /// NULL.
    pub null: Option<String>,
    /// HEADER.
    pub header: CopyHeader,
    /// QUOTE.
    pub quote: Option<String>,
    /// ESCAPE.
    pub escape: Option<String>,
    /// ENCODING.
    pub encoding: Option<String>,
    /// Options that change nothing of how rows are cut (FREEZE, FORCE_NULL, ...), lower case.
    pub other: Vec<String>,
}

/// CREATE, ALTER, DROP and the like.
#[derive(Clone, PartialEq, Debug)]
pub struct Ddl {
    /// The node of the grammar, such as `CreateStmt`.
    pub node: &'static str,
    /// The tables that it makes, changes or drops.
    pub tables: Vec<Name>,
    /// CREATE TEMPORARY.
    pub temporary: bool,
    /// What the server refuses in a transaction block (CREATE INDEX CONCURRENTLY, CREATE DATABASE, ...).
    pub outside_transaction: bool,
    /// It reads rows of tables (CREATE TABLE AS, SELECT INTO, CREATE MATERIALIZED VIEW): the query.
    pub source: Option<Box<Query>>,
}

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
    /// Operators and casts to types that are not built in may hide functions; these are the types.
    pub cast_types: Vec<Name>,
    /// A WITH that changes rows.
    pub modifying_with: bool,
    /// SELECT INTO.
    pub into: Option<Name>,
    /// A constant that [`is_relative_time`](crate::is_relative_time).
    pub relative_time: bool,
    /// The answer has rows: SELECT or RETURNING.
    pub returns_rows: bool,
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

impl Statement {
    /// A text that could not be read: one statement of no known kind.
    pub fn unread(text: &str) -> Self {
        Self {
            range: 0..text.len(),
            kind: StatementKind::Other { node: "unread" },
            tree: Tree::default(),
        }
    }
}
