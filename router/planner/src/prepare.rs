//! Statements to skeletons of plans.

mod cache;
mod copy;
mod primarys;
mod scatter;
mod utility;
mod write;

use crate::catalog::Volatility;
use crate::effects::{self, Effects};
use crate::keys::Resolved;
use crate::plan::{Access, Refusal, Route};
use crate::refusals;
use crate::resolve::{Place, Scope};
use crate::template::{Across, Common, Keyed, Skeleton};
use sql::{
    Clause, Command, HintError, HintLevel, Hints, ParseError, Query, Source, Statement, StatementKind,
};
use std::time::Duration;
use topology::ShardId;

/// The skeleton of a statement.
pub(crate) fn statement(
    statement: &Statement,
    scope: &Scope<'_>,
    hints: &Result<Hints, HintError>,
) -> (Skeleton, Common) {
    let mut common = common(scope);
    common.effects = effects::of(statement, scope);
    match hints {
        Ok(hints) => common.hints = *hints,
        Err(error) => {
            let refusal = refusals::other(
                "22023",
                &error.to_string(),
                "a comment that starts with \"ringway:\" is a hint",
                "Known hints: level=strong, level=ryw, level=bounded(2s), cache=off.",
            );
            return (Skeleton::Fixed(refusal.into()), common);
        }
    }
    let skeleton = kind(statement, scope, &mut common);
    (on_one_shard(skeleton, scope), common)
}

fn kind(statement: &Statement, scope: &Scope<'_>, common: &mut Common) -> Skeleton {
    match &statement.kind {
        StatementKind::Query(query) => self::query(statement, query, scope, common),
        _ => utility::skeleton(statement, scope, common),
    }
}

/// A text without facts: one server says what is wrong with it, unless it may be valid.
pub(crate) fn unread(error: &ParseError, scope: &Scope<'_>) -> (Skeleton, Common) {
    let route = match error {
        ParseError::Syntax(_) => Route::Utility {
            shard: scope.tables.default_shard,
        },
        ParseError::TooDeep(_) => refusals::unsupported(
            "the statement is nested too deeply to be routed",
            "its shards cannot be told without reading all of it",
            "Use = ANY (array) or VALUES in place of long chains of operators.",
        )
        .into(),
    };
    let common = Common {
        effects: effects::UNREAD,
        ..common(scope)
    };
    (on_one_shard(Skeleton::Fixed(route), scope), common)
}

/// With a single shard nothing is across shards: what would be refused for that goes there.
fn on_one_shard(skeleton: Skeleton, scope: &Scope<'_>) -> Skeleton {
    match skeleton {
        Skeleton::Fixed(Route::Refuse(refusal))
            if scope.tables.shard_count == 1 && refusal.sqlstate == "0A000" =>
        {
            Skeleton::Fixed(Route::Single {
                shard: scope.tables.default_shard,
                slot: None,
            })
        }
        other => other,
    }
}

fn common(scope: &Scope<'_>) -> Common {
    Common {
        access: Access::Write,
        replica_bound: scope.tables.replica_bound,
        effects: Effects::NONE,
        hints: Hints::default(),
        default_shard: scope.tables.default_shard,
        shard_count: scope.tables.shard_count,
    }
}

/// What the functions of a query may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Calls {
    /// The worst of its functions.
    pub(crate) volatility: Volatility,
    /// A function that isn't PostgreSQL's own and isn't immutable: it may read and write any table.
    pub(crate) foreign_code: bool,
    /// A function of the server's state (`pg_...`), for which one server is to be asked.
    pub(crate) server_state: bool,
}

fn calls(query: &Query, scope: &Scope<'_>) -> Calls {
    let mut calls = Calls {
        volatility: Volatility::Immutable,
        foreign_code: false,
        server_state: false,
    };
    for call in &query.functions {
        let facts = scope.function(call);
        calls.volatility = calls.volatility.max(facts.volatility);
        calls.foreign_code |= !facts.builtin && facts.volatility != Volatility::Immutable;
        let name = call.function.name.as_str();
        calls.server_state |= ["pg_", "txid_", "inet_"]
            .iter()
            .any(|prefix| name.starts_with(prefix));
    }
    calls
}

/// Where the relations of a query are.
pub(crate) struct Places {
    pub(crate) singles: Vec<ShardId>,
    pub(crate) references: usize,
    pub(crate) systems: usize,
}

/// A statement on rows.
pub(crate) fn query(
    statement: &Statement,
    query: &Query,
    scope: &Scope<'_>,
    common: &mut Common,
) -> Skeleton {
    let calls = calls(query, scope);
    common.access = access(query, calls);
    let resolved = Resolved::new(query, scope);
    common.replica_bound = replica_bound(&resolved, scope);
    if primarys::is_query(query, &resolved) {
        common.hints.level = Some(HintLevel::Strong);
    }
    if let Some(refusal) = unusable(&resolved, query) {
        return refused(refusal);
    }
    let with_reference = query.modifying_with && writes_reference(&resolved);
    if with_reference {
        return refused(refusals::across(
            "WITH changes a reference table, which has to be changed on every shard",
            "Write the change as a statement of its own.",
        ));
    }
    let places = places(&resolved);
    match &query.command {
        Command::Insert(insert) => write::insert(statement, insert, &resolved, &places, calls, scope),
        Command::Merge { .. } | Command::Update(_) | Command::Delete => {
            write::change(&resolved, &places, calls, scope)
        }
        Command::Select => select(statement, &resolved, &places, calls, scope, common),
    }
}

pub(crate) fn refused(refusal: Refusal) -> Skeleton {
    Skeleton::Fixed(refusal.into())
}

fn access(query: &Query, calls: Calls) -> Access {
    let locking = query
        .blocks
        .iter()
        .any(|block| block.shape.has(Clause::Locking) || block.shape.has(Clause::Unknown));
    let reads = query.command == Command::Select
        && !query.modifying_with
        && query.into.is_none()
        && !locking
        && calls.volatility != Volatility::Volatile;
    if reads { Access::Read } else { Access::Write }
}

/// The least bound of the tables read.
fn replica_bound(resolved: &Resolved<'_>, scope: &Scope<'_>) -> Duration {
    let listed = resolved
        .placed
        .values()
        .filter_map(|placed| scope.tables.get(&placed.name));
    listed
        .map(|config| config.replica_bound)
        .min()
        .unwrap_or(scope.tables.replica_bound)
}

/// Relations that can't be placed.
fn unusable(resolved: &Resolved<'_>, query: &Query) -> Option<Refusal> {
    for placed in resolved.placed.values() {
        let name = &placed.name;
        match &placed.place {
            Place::Missing => {
                return Some(refusals::other(
                    "42P01",
                    &format!("relation \"{name}\" does not exist"),
                    "the configuration lists it as sharded, but the catalog that was loaded last does not have it",
                    "Create it through Ringway, or wait until the catalog is loaded again.",
                ));
            }
            Place::Unlisted(what) => {
                return Some(refusals::across(
                    format!("{name} is a {what} that the configuration does not list"),
                    "List it in the configuration, or name the tables behind it.",
                ));
            }
            Place::BadKey => {
                return Some(refusals::across(
                    format!("the configured shard key of {name} is not a column of a type that can be a key"),
                    "Run ringway check.",
                ));
            }
            _ => {}
        }
    }
    let unknown = query.blocks.iter().any(|block| block.shape.has(Clause::Unknown));
    (unknown && !resolved.sharded.is_empty()).then(|| {
        refusals::across(
            "the statement has a part whose tables and columns cannot be told",
            "Write it without rare clauses (JSON_TABLE, XMLTABLE, INSERT in WITH, WHERE CURRENT OF).",
        )
    })
}

fn places(resolved: &Resolved<'_>) -> Places {
    let mut places = Places {
        singles: Vec::new(),
        references: 0,
        systems: 0,
    };
    for placed in resolved.placed.values() {
        match &placed.place {
            Place::Single(shard) if !places.singles.contains(shard) => places.singles.push(*shard),
            Place::Reference => places.references += 1,
            Place::System => places.systems += 1,
            _ => {}
        }
    }
    places
}

/// Refuses statements that mix what is on one shard with what is on several, or elsewhere.
pub(crate) fn mixed(resolved: &Resolved<'_>, places: &Places) -> Option<Refusal> {
    const HINT: &str = "Make the smaller table a reference table in the configuration.";
    match places.singles.as_slice() {
        [_, _, ..] => Some(refusals::across(
            "the statement joins tables that live on different single shards",
            HINT,
        )),
        [_] if !resolved.sharded.is_empty() => Some(refusals::across(
            "the statement joins sharded tables with a table that lives on one shard",
            HINT,
        )),
        _ => None,
    }
}

fn select(
    statement: &Statement,
    resolved: &Resolved<'_>,
    places: &Places,
    calls: Calls,
    scope: &Scope<'_>,
    common: &Common,
) -> Skeleton {
    if let Some(refusal) = mixed(resolved, places) {
        return refused(refusal);
    }
    if resolved.sharded.is_empty() {
        return Skeleton::Fixed(without_shards(places, calls, scope, common)).cached(
            resolved,
            calls,
            scope,
            common.hints,
        );
    }
    let across = match scatter::scatter(statement, resolved, places, calls, scope) {
        Ok(scatter) => Across::Scatter(Box::new(scatter)),
        Err(refusal) => Across::Refuse(refusal),
    };
    let across = if resolved.query.modifying_with {
        Across::Refuse(refusals::across(
            "WITH changes rows, on shards that its key does not name",
            refusals::BIND_KEY,
        ))
    } else {
        across
    };
    let bindings = resolved
        .sharded
        .iter()
        .map(|relation| resolved.binding(relation).cloned())
        .collect();
    let cache = cache::skeleton(resolved, calls, scope, common.hints);
    Skeleton::Keyed(Box::new(Keyed {
        bindings,
        set_key: None,
        across,
        cache,
    }))
}

impl Skeleton {
    fn cached(self, resolved: &Resolved<'_>, calls: Calls, scope: &Scope<'_>, hints: Hints) -> Skeleton {
        match (self, cache::skeleton(resolved, calls, scope, hints)) {
            (Skeleton::Fixed(route @ (Route::Any | Route::Single { .. })), Some(cache)) => {
                Skeleton::Cached { route, cache }
            }
            (other, _) => other,
        }
    }
}

fn writes_reference(resolved: &Resolved<'_>) -> bool {
    resolved.placed.iter().any(|(id, placed)| {
        let relation = resolved
            .block(id.block)
            .and_then(|block| block.relations.get(id.relation));
        placed.place == Place::Reference && relation.is_some_and(|relation| relation.written)
    })
}

/// A SELECT that reads no sharded table.
fn without_shards(places: &Places, calls: Calls, scope: &Scope<'_>, common: &Common) -> Route {
    let default_shard = scope.tables.default_shard;
    if let [shard] = places.singles.as_slice() {
        return Route::Single {
            shard: *shard,
            slot: None,
        };
    }
    if calls.foreign_code && scope.tables.any_sharded() {
        return refusals::across(
            "the statement calls a function that may read or write sharded tables, and names no shard",
            "Declare the function IMMUTABLE if it reads no table, or call it in a statement bound to a shard key.",
        )
        .into();
    }
    if places.systems > 0 || calls.server_state || common.access == Access::Write {
        return Route::Utility { shard: default_shard };
    }
    Route::Any
}

/// Whether a relation of the query is a table's own name (and not a subquery).
pub(crate) fn is_table(source: &Source) -> bool {
    matches!(source, Source::Table(_))
}
