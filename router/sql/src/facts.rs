//! What a statement says, without what its names mean: names are resolved by the planner, which has a catalog.

mod query;

pub use query::*;
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
        /// SEQUENCES or ALL.
        sequences: bool,
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
    /// What is made ends with the session.
    pub temporary: bool,
    /// What the server refuses in a transaction block (CREATE INDEX CONCURRENTLY, CREATE DATABASE, ...).
    pub outside_transaction: bool,
    /// The database in which no session may be while it runs (DROP DATABASE, ALTER DATABASE ... RENAME, ...).
    pub vacated: Option<String>,
    /// It reads rows of tables (CREATE TABLE AS, SELECT INTO, CREATE MATERIALIZED VIEW): the query.
    pub source: Option<Box<Query>>,
    /// CREATE TABLE AS EXECUTE: the prepared statement.
    pub executes: Option<String>,
}

/// How a statement names a prepared one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Naming {
    /// PREPARE.
    Makes,
    /// EXECUTE, by itself or in another statement.
    Runs,
    /// DEALLOCATE.
    Ends,
}

impl StatementKind {
    /// The prepared statement that it names, and what it does with it.
    pub fn prepared(&self) -> Option<(Naming, &str)> {
        match self {
            Self::Prepare { name, .. } => Some((Naming::Makes, name)),
            Self::Execute { name, .. } => Some((Naming::Runs, name)),
            Self::Deallocate { name: Some(name) } => Some((Naming::Ends, name)),
            Self::Explain { inner, .. } => inner.kind.prepared(),
            Self::Ddl(ddl) => ddl.executes.as_deref().map(|name| (Naming::Runs, name)),
            _ => None,
        }
    }
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
