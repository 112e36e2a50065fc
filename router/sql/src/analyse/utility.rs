//! Statements that are not queries: transactions, settings, COPY, DDL, EXPLAIN and the rest.

mod copy;
pub(super) mod ddl;
mod set;

use super::{inner_statement, leaf};
use crate::facts::{Ddl, IntoTable, Name, Query, StatementKind, TransactionControl};
use pg_query::NodeEnum;
use pg_query::protobuf::{self as pb, DiscardMode, Node, TransactionStmtKind};
use std::ops::Range;

/// What a statement is that holds no rows itself.
pub(super) fn kind(node: &NodeEnum, range: &Range<usize>) -> StatementKind {
    match node {
        NodeEnum::TransactionStmt(statement) => transaction(statement),
        NodeEnum::VariableSetStmt(statement) => set::set(statement),
        NodeEnum::VariableShowStmt(show) => StatementKind::Show {
            name: show.name.to_ascii_lowercase(),
        },
        NodeEnum::DiscardStmt(discard) => StatementKind::Discard {
            all: discard.target() == DiscardMode::DiscardAll,
            sequences: matches!(
                discard.target(),
                DiscardMode::DiscardAll | DiscardMode::DiscardSequences
            ),
        },
        NodeEnum::PrepareStmt(prepare) => StatementKind::Prepare {
            name: prepare.name.clone(),
            inner: inner_statement(prepare.query.as_deref(), range),
        },
        NodeEnum::ExecuteStmt(execute) => StatementKind::Execute {
            name: execute.name.clone(),
            arguments: execute.params.iter().map(leaf::value).collect(),
        },
        NodeEnum::DeallocateStmt(statement) => StatementKind::Deallocate {
            name: (!statement.isall).then(|| statement.name.clone()),
        },
        NodeEnum::DeclareCursorStmt(declare) => StatementKind::Declare {
            name: declare.portalname.clone(),
            hold: declare.options & CURSOR_OPT_HOLD != 0,
            inner: inner_statement(declare.query.as_deref(), range),
        },
        NodeEnum::FetchStmt(fetch) => StatementKind::Fetch {
            name: fetch.portalname.clone(),
        },
        NodeEnum::ClosePortalStmt(close) => StatementKind::Close {
            name: non_empty(&close.portalname),
        },
        NodeEnum::ListenStmt(listen) => StatementKind::Listen {
            channel: listen.conditionname.clone(),
        },
        NodeEnum::NotifyStmt(notify) => StatementKind::Notify {
            channel: notify.conditionname.clone(),
        },
        NodeEnum::UnlistenStmt(statement) => StatementKind::Unlisten {
            channel: non_empty(&statement.conditionname),
        },
        NodeEnum::CopyStmt(copy) => StatementKind::Copy(Box::new(copy::copy(copy, range))),
        NodeEnum::LockStmt(lock) => StatementKind::Lock {
            tables: tables(&lock.relations),
        },
        NodeEnum::TruncateStmt(truncate) => StatementKind::Truncate {
            tables: tables(&truncate.relations),
        },
        NodeEnum::ExplainStmt(explain) => self::explain(explain, range),
        NodeEnum::CallStmt(call) => match call.funccall.as_ref().and_then(|f| leaf::name(&f.funcname)) {
            Some(procedure) => StatementKind::Call { procedure },
            None => StatementKind::Other { node: "CallStmt" },
        },
        NodeEnum::DoStmt(_) => StatementKind::Do,
        NodeEnum::LoadStmt(_) => StatementKind::Other { node: "LoadStmt" },
        NodeEnum::ConstraintsSetStmt(_) => StatementKind::Other {
            node: "ConstraintsSetStmt",
        },
        NodeEnum::CheckPointStmt(_) => maintenance("CHECKPOINT", Vec::new(), false),
        NodeEnum::VacuumStmt(vacuum) => {
            let command = if vacuum.is_vacuumcmd { "VACUUM" } else { "ANALYZE" };
            let tables = vacuum.rels.iter().filter_map(vacuum_table).collect();
            maintenance(command, tables, vacuum.is_vacuumcmd)
        }
        NodeEnum::ReindexStmt(reindex) => {
            let tables = reindex.relation.iter().map(leaf::range_var).collect();
            // Outside a transaction for DATABASE, SYSTEM, SCHEMA and CONCURRENTLY; the others may be.
            maintenance("REINDEX", tables, true)
        }
        NodeEnum::ClusterStmt(cluster) => {
            let tables: Vec<Name> = cluster.relation.iter().map(leaf::range_var).collect();
            let whole = tables.is_empty();
            maintenance("CLUSTER", tables, whole)
        }
        other => ddl::ddl(other),
    }
}

/// `CURSOR_OPT_HOLD` of PostgreSQL's `parsenodes.h`.
const CURSOR_OPT_HOLD: i32 = 0x0020;

fn maintenance(command: &'static str, tables: Vec<Name>, outside_transaction: bool) -> StatementKind {
    StatementKind::Maintenance {
        command,
        tables,
        outside_transaction,
    }
}

fn vacuum_table(node: &Node) -> Option<Name> {
    match &node.node {
        Some(NodeEnum::VacuumRelation(relation)) => relation.relation.as_ref().map(leaf::range_var),
        _ => None,
    }
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn tables(nodes: &[Node]) -> Vec<Name> {
    nodes
        .iter()
        .filter_map(|node| match &node.node {
            Some(NodeEnum::RangeVar(table)) => Some(leaf::range_var(table)),
            _ => None,
        })
        .collect()
}

fn transaction(statement: &pb::TransactionStmt) -> StatementKind {
    use TransactionControl as Control;
    let name = statement.savepoint_name.clone();
    let gid = statement.gid.clone();
    let control = match statement.kind() {
        TransactionStmtKind::TransStmtBegin | TransactionStmtKind::TransStmtStart => {
            Control::Begin(set::modes(&statement.options))
        }
        TransactionStmtKind::TransStmtCommit => Control::Commit {
            chain: statement.chain,
        },
        TransactionStmtKind::TransStmtRollback => Control::Rollback {
            chain: statement.chain,
        },
        TransactionStmtKind::TransStmtSavepoint => Control::Savepoint(name),
        TransactionStmtKind::TransStmtRelease => Control::Release(name),
        TransactionStmtKind::TransStmtRollbackTo => Control::RollbackTo(name),
        TransactionStmtKind::TransStmtPrepare => Control::Prepare(gid),
        TransactionStmtKind::TransStmtCommitPrepared => Control::CommitPrepared(gid),
        TransactionStmtKind::TransStmtRollbackPrepared => Control::RollbackPrepared(gid),
        TransactionStmtKind::Undefined => {
            return StatementKind::Other {
                node: "TransactionStmt",
            };
        }
    };
    StatementKind::Transaction(control)
}

fn explain(explain: &pb::ExplainStmt, range: &Range<usize>) -> StatementKind {
    let (mut route, mut analyze, mut other_options) = (false, false, Vec::new());
    for option in &explain.options {
        let Some(NodeEnum::DefElem(option)) = &option.node else {
            continue;
        };
        let name = option.defname.to_ascii_lowercase();
        let on = is_on(option.arg.as_deref());
        match name.as_str() {
            "route" => route = on,
            "analyze" | "analyse" => {
                analyze = on;
                other_options.push(name);
            }
            _ => other_options.push(name),
        }
    }
    StatementKind::Explain {
        route,
        analyze,
        other_options,
        inner: inner_statement(explain.query.as_deref(), range),
    }
}

/// An option's truth as `defGetBoolean` reads it; without an argument it is on.
fn is_on(argument: Option<&Node>) -> bool {
    let Some(argument) = argument.and_then(|n| n.node.as_ref()) else {
        return true;
    };
    match argument {
        NodeEnum::Boolean(b) => b.boolval,
        NodeEnum::Integer(i) => i.ival != 0,
        NodeEnum::String(s) => !matches!(s.sval.to_ascii_lowercase().as_str(), "false" | "off"),
        _ => true,
    }
}

/// The text of an option's argument.
fn option_text(argument: Option<&Node>) -> Option<String> {
    match argument?.node.as_ref()? {
        NodeEnum::String(s) => Some(s.sval.clone()),
        NodeEnum::Integer(i) => Some(i.ival.to_string()),
        NodeEnum::Float(f) => Some(f.fval.clone()),
        NodeEnum::Boolean(b) => Some(if b.boolval { "true" } else { "false" }.to_owned()),
        _ => None,
    }
}

/// SELECT ... INTO.
pub(super) fn select_into(target: IntoTable, query: Query) -> Ddl {
    Ddl {
        node: "SelectInto",
        tables: vec![target.name],
        temporary: target.temporary,
        outside_transaction: false,
        vacated: None,
        source: Some(Box::new(query)),
        executes: None,
    }
}
