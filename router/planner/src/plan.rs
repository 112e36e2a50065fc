//! What is to be done with a statement: a plain value that the server carries out, EXPLAIN prints and tests compare.

use crate::{Effects, KeyValue};
use merge::MergeSpec;
use smallvec::SmallVec;
use std::sync::Arc;
use std::time::Duration;
use topology::{CachePolicy, ShardId, Slot, TableName};

/// The plan of one statement.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// Where it goes.
    pub route: Route,
    /// Whether it may change anything: a write goes to primaries.
    pub access: Access,
    /// How its answer may come from the cache; `None`: never.
    pub cache: Option<CachePlan>,
    /// How far behind a standby that answers at level `ryw` may be: the least of the tables' bounds.
    pub replica_bound: Duration,
    /// What the text's hints ask for.
    pub hints: sql::Hints,
    /// What the statement may leave in its session.
    pub effects: Effects,
}

/// What there is to say of a statement that one shard answers, without a plan of its own.
#[derive(Clone, Copy, Debug)]
pub struct OneShard<'t> {
    /// The shard.
    pub shard: ShardId,
    /// As [`Plan::access`].
    pub access: Access,
    /// As [`Plan::replica_bound`].
    pub replica_bound: Duration,
    /// The level that its hints ask for.
    pub level: Option<sql::HintLevel>,
    /// What a cached answer goes by; `None`: it never comes from the cache.
    pub cache: Option<&'t Arc<CacheTemplate>>,
}

/// Whether a statement may change anything.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Access {
    /// Provably not.
    Read,
    /// It may.
    Write,
}

/// Where a statement goes.
#[derive(Clone, PartialEq, Debug)]
pub enum Route {
    /// One shard, the client's own bytes.
    Single {
        /// The shard.
        shard: ShardId,
        /// The slot of its key; `None` where the shard doesn't come from one key.
        slot: Option<Slot>,
    },
    /// Any shard's server will do: reference tables only, or no table. A read may go to any region's copy of any shard.
    Any,
    /// One shard gets it all: a statement about the catalog, the sequences, the server.
    Utility {
        /// The default shard.
        shard: ShardId,
    },
    /// Parts of one write, each on its shard, in one transaction.
    Split {
        /// The parts; the row counts of their command tags are added, their RETURNING rows come one after the other.
        parts: Vec<Part>,
    },
    /// A read on several shards, merged.
    Scatter {
        /// What each shard gets.
        parts: Vec<Part>,
        /// How the rows become one answer.
        merge: MergeSpec,
        /// How many columns each shard's answer has, hidden ones included: anything else means that the catalog is old.
        columns: usize,
    },
    /// The client's own bytes on several shards in one transaction: DDL, writes to reference tables.
    Everywhere {
        /// The shards.
        shards: Vec<ShardId>,
        /// Whose answer the client gets.
        answer: Answer,
    },
    /// COPY.
    Copy(CopyPlan),
    /// Answered or recorded by the session itself.
    Local(Local),
    /// Not answered.
    Refuse(Box<Refusal>),
}

/// What one shard gets of a statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// The shard.
    pub shard: ShardId,
    /// Its text; `None`: the client's own bytes.
    pub text: Option<PartText>,
}

/// A text written for one shard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartText {
    /// The text. Shared where several shards get the same.
    pub text: Arc<str>,
    /// Which of the client's parameters it names: its `$k` is the client's `$parameters[k-1]`, counted from 1. `None`: all, in
    /// order.
    pub parameters: Option<Vec<u16>>,
}

/// Whose answer the client gets when every shard did the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Answer {
    /// The first shard's: all of them answered the same.
    First,
    /// The counts of the command tags added, RETURNING rows one after the other: each shard changed its own rows.
    Sum,
}

/// COPY over the cluster.
#[derive(Clone, PartialEq, Debug)]
pub enum CopyPlan {
    /// The bytes as they are, on these shards (FROM into a reference table: all of them).
    Whole {
        /// The shards.
        shards: Vec<ShardId>,
    },
    /// COPY FROM: each row to the shard of its key.
    ByRow {
        /// Where the key stands in a row, from 0.
        key_column: usize,
        /// Its type.
        key_type: topology::KeyType,
        /// How rows are cut.
        options: sql::CopyOptions,
    },
    /// COPY TO out of a sharded table: the shards' rows one after the other.
    Gather {
        /// The shards, in order.
        shards: Vec<ShardId>,
        /// How rows are cut (a header line and binary frames come once).
        options: sql::CopyOptions,
    },
}

/// What the session does itself.
#[derive(Clone, PartialEq, Debug)]
pub enum Local {
    /// Nothing: the empty statement.
    Empty,
    /// BEGIN, COMMIT, ROLLBACK, savepoints.
    Transaction(sql::TransactionControl),
    /// SET of a parameter: recorded, and carried to backends.
    Set(sql::Set),
    /// SET ringway.*: the proxy's own parameter, never sent to a server.
    SetRingway {
        /// The name after `ringway.`.
        name: String,
        /// The value.
        value: String,
        /// SET LOCAL.
        local: bool,
    },
    /// RESET.
    Reset(Option<String>),
    /// RESET ringway.* or SET ringway.* TO DEFAULT.
    ResetRingway(String),
    /// SHOW ringway.*.
    ShowRingway(String),
    /// DISCARD.
    Discard {
        /// ALL.
        all: bool,
    },
    /// PREPARE in SQL: the statement stands in the template's facts.
    SqlPrepare {
        /// Its name.
        name: String,
    },
    /// EXECUTE.
    SqlExecute {
        /// Its name.
        name: String,
    },
    /// DEALLOCATE; `None` for ALL.
    SqlDeallocate {
        /// Its name.
        name: Option<String>,
    },
    /// FETCH, MOVE or CLOSE: to the shard where the cursor was declared; `None` for CLOSE ALL.
    Cursor {
        /// The cursor.
        name: Option<String>,
    },
    /// EXPLAIN (ROUTE): the plan of the inner statement.
    ExplainRoute {
        /// That plan.
        inner: Box<Plan>,
    },
}

/// Why a statement is not answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The SQLSTATE, `0A000` as a rule.
    pub sqlstate: &'static str,
    /// What cannot be done: the error's message.
    pub message: String,
    /// Why: its DETAIL.
    pub reason: String,
    /// What helps: its HINT.
    pub hint: String,
}

/// How the answer of a single-row read may come from the cache.
#[derive(Clone, PartialEq, Debug)]
pub struct CachePlan {
    /// What doesn't depend on the values.
    pub template: Arc<CacheTemplate>,
    /// The values of [`CacheTemplate::key_columns`], in their order.
    pub key: SmallVec<[KeyValue<'static>; 1]>,
}

/// The part of a cache plan that all executions of a statement share.
#[derive(Clone, PartialEq, Debug)]
pub struct CacheTemplate {
    /// The table read.
    pub table: TableName,
    /// Its policy, hints applied.
    pub policy: CachePolicy,
    /// The columns that the read names a value of: the primary key or the shard key.
    pub key_columns: Vec<String>,
    /// Which of them.
    pub by: CacheBy,
    /// Where the primary key's columns stand in the answer, from 0: the entry then carries `T/pk=k` of each of its rows too.
    /// Empty where the key that was asked for is enough: by primary key, or the shard key is part of the primary key, so
    /// that the log holds its old value when it changes.
    pub row_key: Vec<usize>,
}

/// Which key a cached read goes by, and so which tags its entry carries beside the table's generation `T/!`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CacheBy {
    /// The whole primary key: the entry carries `T/pk=k`.
    PrimaryKey,
    /// The shard key: the entry carries `T/col=v`, which every change of a row with that key touches.
    ShardKey,
}
