//! Statements that are no queries.

use super::refused;
use crate::plan::{Access, Answer, Local, Refusal, Route};
use crate::refusals;
use crate::resolve::{Place, Scope};
use crate::template::{Common, Skeleton};
use sql::{Ddl, HintLevel, Name, Set, SetWhat, Statement, StatementKind, TransactionControl};
use topology::ShardId;

const PROXY_PREFIX: &str = "ringway.";

/// The skeleton of a statement that is no query.
pub(super) fn skeleton(statement: &Statement, scope: &Scope<'_>, common: &mut Common) -> Skeleton {
    let default = Route::Utility {
        shard: scope.tables.default_shard,
    };
    let local = |local| Skeleton::Fixed(Route::Local(local));
    match &statement.kind {
        StatementKind::Empty => local(Local::Empty),
        StatementKind::Query(query) => super::query(statement, query, scope, common),
        StatementKind::Transaction(control) => transaction(control),
        StatementKind::Set(set) => self::set(set),
        StatementKind::Reset { name: Some(name) } => match name.strip_prefix(PROXY_PREFIX) {
            Some(name) => local(Local::ResetRingway(name.to_owned())),
            None => local(Local::Reset(Some(name.clone()))),
        },
        StatementKind::Reset { name: None } => local(Local::Reset(None)),
        StatementKind::Show { name } => match name.strip_prefix(PROXY_PREFIX) {
            Some(name) => local(Local::ShowRingway(name.to_owned())),
            None => {
                common.access = Access::Read;
                if super::primarys::is_setting(name) {
                    common.hints.level = Some(HintLevel::Strong);
                }
                Skeleton::Fixed(default)
            }
        },
        StatementKind::Discard { all, .. } => local(Local::Discard { all: *all }),
        StatementKind::Prepare { name, .. } => local(Local::SqlPrepare { name: name.clone() }),
        StatementKind::Execute { name, .. } => local(Local::SqlExecute { name: name.clone() }),
        StatementKind::Deallocate { name } => local(Local::SqlDeallocate { name: name.clone() }),
        StatementKind::Declare { inner, .. } => {
            let inner = Box::new(super::kind(inner, scope, common));
            Skeleton::OneShard {
                inner,
                what: "DECLARE CURSOR",
            }
        }
        StatementKind::Fetch { name } => local(Local::Cursor {
            name: Some(name.clone()),
        }),
        StatementKind::Close { name } => local(Local::Cursor { name: name.clone() }),
        StatementKind::Listen { .. } | StatementKind::Unlisten { .. } => Skeleton::Fixed(default),
        StatementKind::Notify { .. } => Skeleton::Fixed(default),
        StatementKind::Copy(copy) => super::copy::copy(copy, scope, common),
        StatementKind::Lock { tables } => on_tables(tables, scope),
        StatementKind::Truncate { tables } => on_tables(tables, scope),
        StatementKind::Ddl(ddl) => self::ddl(ddl, statement, scope, common),
        StatementKind::Maintenance {
            command,
            tables,
            outside_transaction,
        } => maintenance(command, tables, *outside_transaction, scope),
        StatementKind::Explain {
            route: true,
            other_options,
            inner,
            ..
        } => {
            if !other_options.is_empty() {
                return refused(refusals::unsupported(
                    "EXPLAIN (ROUTE) takes no other option",
                    "it shows the plan of the proxy and asks no server",
                    "Leave out the other options, or leave out ROUTE.",
                ));
            }
            let mut inner_common = super::common(scope);
            inner_common.hints = common.hints;
            inner_common.effects = crate::effects::of(inner, scope);
            let skeleton = super::kind(inner, scope, &mut inner_common);
            common.access = Access::Read;
            Skeleton::ExplainRoute(
                Box::new(super::on_one_shard(skeleton, scope)),
                Box::new(inner_common),
            )
        }
        StatementKind::Explain { analyze, inner, .. } => {
            let inner = Box::new(super::kind(inner, scope, common));
            if !analyze {
                common.access = Access::Read;
            }
            Skeleton::OneShard {
                inner,
                what: "EXPLAIN",
            }
        }
        StatementKind::Call { .. } => code("CALL", scope),
        StatementKind::Do => code("DO", scope),
        StatementKind::Other { node: "LoadStmt" } => Skeleton::Fixed(default),
        // SET CONSTRAINTS holds for the transaction on every shard; the others are not known.
        StatementKind::Other {
            node: "ConstraintsSetStmt",
        } => everywhere(scope),
        StatementKind::Other { .. } => refused(refusals::unsupported(
            "the statement is of a kind that is not supported",
            "it is not known which shards it reaches",
            "",
        )),
    }
}

fn everywhere(scope: &Scope<'_>) -> Skeleton {
    Skeleton::Fixed(Route::Everywhere {
        shards: scope.tables.shards().collect(),
        answer: Answer::First,
    })
}

fn transaction(control: &TransactionControl) -> Skeleton {
    use TransactionControl as Control;
    match control {
        Control::Prepare(_) | Control::CommitPrepared(_) | Control::RollbackPrepared(_) => {
            refused(refusals::unsupported(
                "two-phase commit by the client is not supported",
                "the proxy itself commits in two phases where a transaction wrote on several shards",
                "Use COMMIT.",
            ))
        }
        control => Skeleton::Fixed(Route::Local(Local::Transaction(control.clone()))),
    }
}

fn set(set: &Set) -> Skeleton {
    let local = |local| Skeleton::Fixed(Route::Local(local));
    match &set.what {
        SetWhat::Parameter { name, values } => match name.strip_prefix(PROXY_PREFIX) {
            Some(name) => local(Local::SetRingway {
                name: name.to_owned(),
                value: values.join(", "),
                local: set.local,
            }),
            // Literals are cut out of texts under this setting.
            None if name == "standard_conforming_strings" && !is_on(values) => {
                refused(refusals::unsupported(
                    "standard_conforming_strings cannot be turned off",
                    "the proxy reads string literals as standard SQL does",
                    "Write E'...' for strings with backslash escapes.",
                ))
            }
            None => local(Local::Set(set.clone())),
        },
        SetWhat::Default { name } => match name.strip_prefix(PROXY_PREFIX) {
            Some(name) => local(Local::ResetRingway(name.to_owned())),
            None => local(Local::Set(set.clone())),
        },
        SetWhat::Transaction(_) | SetWhat::Characteristics(_) => local(Local::Set(set.clone())),
        SetWhat::Snapshot | SetWhat::Other { .. } => refused(refusals::unsupported(
            "this form of SET is not supported",
            "the setting would have to follow the client from connection to connection",
            "Use SET name = value.",
        )),
    }
}

fn is_on(values: &[String]) -> bool {
    matches!(values, [value] if matches!(value.to_ascii_lowercase().as_str(), "on" | "true" | "yes" | "1"))
}

/// CALL and DO: what they read and write is not known.
fn code(what: &str, scope: &Scope<'_>) -> Skeleton {
    if scope.tables.any_sharded() {
        return refused(refusals::across(
            format!("{what} may read and write tables of any shard"),
            "Send its statements one by one.",
        ));
    }
    Skeleton::Fixed(Route::Utility {
        shard: scope.tables.default_shard,
    })
}

/// Where tables named by DDL are: on every shard, or on one.
enum Spread {
    Everywhere,
    One(ShardId),
}

fn spread(tables: &[Name], scope: &Scope<'_>) -> Result<Spread, Refusal> {
    let mut shards: Vec<Option<ShardId>> = tables
        .iter()
        .map(|name| {
            let placed = scope.place(name);
            match placed.place {
                Place::Single(shard) => Some(shard),
                Place::System => Some(scope.tables.default_shard),
                // A view or partition is made wherever the tables behind it are: everywhere.
                _ => None,
            }
        })
        .collect();
    shards.sort_unstable();
    shards.dedup();
    match shards.as_slice() {
        [] | [None] => Ok(Spread::Everywhere),
        [Some(shard)] => Ok(Spread::One(*shard)),
        _ => Err(refusals::across(
            "the statement names tables that live on every shard and tables that live on one",
            "Use one statement for each of them.",
        )),
    }
}

/// TRUNCATE and LOCK: each shard its own part.
fn on_tables(tables: &[Name], scope: &Scope<'_>) -> Skeleton {
    match spread(tables, scope) {
        Ok(Spread::Everywhere) => everywhere(scope),
        Ok(Spread::One(shard)) => Skeleton::Fixed(Route::Single { shard, slot: None }),
        Err(refusal) => refused(refusal),
    }
}

/// Work on storage. What the server refuses in a transaction block cannot be made all-or-nothing over shards, so it is
/// refused there: it is done shard by shard, straight at each primary.
fn maintenance(command: &str, tables: &[Name], outside_transaction: bool, scope: &Scope<'_>) -> Skeleton {
    match spread(tables, scope) {
        Ok(Spread::One(shard)) => Skeleton::Fixed(Route::Single { shard, slot: None }),
        Ok(Spread::Everywhere) if !outside_transaction => everywhere(scope),
        Ok(Spread::Everywhere) => refused(outside(command)),
        Err(refusal) => refused(refusal),
    }
}

fn outside(command: &str) -> Refusal {
    refusals::across(
        format!("{command} cannot run in a transaction, and so not on all shards or none"),
        "Run it on each shard's primary by itself.",
    )
}

fn ddl(ddl: &Ddl, statement: &Statement, scope: &Scope<'_>, common: &mut Common) -> Skeleton {
    if ddl.temporary {
        return temporary(ddl, scope);
    }
    match (ddl.node, &ddl.source) {
        ("ViewStmt", Some(query)) => return view(query, scope),
        ("ViewStmt", None) | (_, None) => {}
        (_, Some(query)) => {
            // Rows come out of a query: only where both ends are on one shard.
            let inner = super::query(statement, query, scope, common);
            common.access = Access::Write;
            return match spread(&ddl.tables, scope) {
                Ok(Spread::One(shard)) => on_shard(inner, shard),
                _ => refused(refusals::across(
                    "a sharded or reference table cannot be made from a query",
                    "Create the table, then insert into it.",
                )),
            };
        }
    }
    match spread(&ddl.tables, scope) {
        Ok(Spread::One(shard)) => Skeleton::Fixed(Route::Single { shard, slot: None }),
        Ok(Spread::Everywhere) if ddl.outside_transaction => refused(outside("the statement")),
        Ok(Spread::Everywhere) => everywhere(scope),
        Err(refusal) => refused(refusal),
    }
}

/// The skeleton of a query whose rows are written on `shard`.
fn on_shard(inner: Skeleton, shard: ShardId) -> Skeleton {
    match inner {
        Skeleton::Fixed(Route::Any | Route::Utility { .. }) => {
            Skeleton::Fixed(Route::Single { shard, slot: None })
        }
        Skeleton::Fixed(Route::Single { shard: source, slot }) if source == shard => {
            Skeleton::Fixed(Route::Single { shard, slot })
        }
        refusal @ Skeleton::Fixed(Route::Refuse(_)) => refusal,
        _ => refused(refusals::across(
            "the rows of the new table would come from sharded tables",
            "Create the table, then insert into it.",
        )),
    }
}

/// A view stands where its tables are.
fn view(query: &sql::Query, scope: &Scope<'_>) -> Skeleton {
    let tables: Vec<Name> = query
        .blocks
        .iter()
        .flat_map(|block| &block.relations)
        .filter_map(|relation| match &relation.source {
            sql::Source::Table(name) if scope.place(name).place != Place::System => Some(name.clone()),
            _ => None,
        })
        .collect();
    match spread(&tables, scope) {
        Ok(Spread::Everywhere) => everywhere(scope),
        Ok(Spread::One(shard)) => Skeleton::Fixed(Route::Single { shard, slot: None }),
        Err(refusal) => refused(refusal),
    }
}

fn temporary(ddl: &Ddl, scope: &Scope<'_>) -> Skeleton {
    let hides = ddl
        .tables
        .iter()
        .any(|name| !matches!(scope.place(name).place, Place::Single(_)));
    if hides {
        return refused(refusals::unsupported(
            "a temporary table cannot have the name of a listed table",
            "statements on that name would be routed as for the listed table",
            "Use another name.",
        ));
    }
    if let Some(query) = &ddl.source
        && !crate::keys::Resolved::new(query, scope).sharded.is_empty()
    {
        return refused(refusals::across(
            "a temporary table lives on one shard and cannot be made from sharded tables",
            "Read the rows first.",
        ));
    }
    Skeleton::Fixed(Route::Single {
        shard: scope.tables.default_shard,
        slot: None,
    })
}
