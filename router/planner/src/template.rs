//! A statement planned as far as its text goes; binding values to it gives the plan.

mod bind;

use crate::catalog::Catalog;
use crate::effects::Effects;
use crate::keys::KeyExpr;
use crate::plan::{Access, CacheTemplate, Local, OneShard, Plan, Refusal, Route};
use crate::refusals;
use crate::resolve::Scope;
use crate::tables::Tables;
use crate::text::PartPieces;
use crate::values::Values;
use bind::{bind, fixed, one_shard};
use merge::MergeKind;
use sql::{Bound, Hints, Statement, StatementKind, Value};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use topology::{KeyType, ShardId, SlotMap};

/// What a template is made from.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The template text of a [`sql::Normaliser`], or the client's own text.
    pub text: &'a str,
    /// The catalog of the database.
    pub catalog: &'a Catalog,
    /// The configuration.
    pub tables: &'a Tables,
    /// The session's search_path.
    pub search_path: &'a [String],
    /// The current user, for `"$user"`.
    pub user: &'a str,
}

/// A text planned as far as it goes without values: immutable, shared between sessions with the same search_path, user and
/// catalog version.
#[derive(Clone, PartialEq, Debug)]
pub struct Template {
    statements: Vec<Planned>,
    state: State,
}

/// Whether a text could be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Read,
    /// Not SQL that the grammar knows.
    Unread,
}

/// One statement.
#[derive(Clone, PartialEq, Debug)]
struct Planned {
    statement: Statement,
    common: Common,
    skeleton: Skeleton,
}

/// What all plans of a statement share.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Common {
    pub(crate) access: Access,
    pub(crate) replica_bound: Duration,
    pub(crate) effects: Effects,
    pub(crate) hints: Hints,
    pub(crate) default_shard: ShardId,
    pub(crate) shard_count: u16,
}

/// What is left to be decided by values.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Skeleton {
    /// Nothing.
    Fixed(Route),
    /// As fixed, and the answer may come from the cache.
    Cached { route: Route, cache: CacheSkeleton },
    /// A change of a reference table, the same on every shard unless a value means the time of reading it.
    Same {
        shards: Vec<ShardId>,
        relative_time: bool,
    },
    /// By the keys of its sharded relations.
    Keyed(Box<Keyed>),
    /// INSERT ... VALUES into a sharded table.
    Rows(Box<Rows>),
    /// EXPLAIN (ROUTE).
    ExplainRoute(Box<Skeleton>, Box<Common>),
    /// Only where the inner statement goes to one shard (DECLARE, EXPLAIN, CREATE TABLE AS, ...).
    OneShard {
        inner: Box<Skeleton>,
        what: &'static str,
    },
    /// COPY (query) TO.
    CopyQuery(Box<Skeleton>),
}

/// A cache plan but for its values.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct CacheSkeleton {
    pub(crate) template: Arc<CacheTemplate>,
    pub(crate) values: Vec<(Value, KeyType)>,
}

/// A statement on sharded tables.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Keyed {
    /// What binds the key of each sharded relation; `None`: nothing does.
    pub(crate) bindings: Vec<Option<KeyExpr>>,
    /// UPDATE sets the key: to this value, which must be the bound one.
    pub(crate) set_key: Option<(Value, KeyType)>,
    /// What to do when the keys don't lead to one shard.
    pub(crate) across: Across,
    pub(crate) cache: Option<CacheSkeleton>,
}

/// A statement over several shards.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Across {
    Refuse(Refusal),
    Scatter(Box<Scatter>),
    /// UPDATE, DELETE: each shard does its own rows.
    Write,
}

/// A scatter but for its values.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Scatter {
    pub(crate) kind: MergeKind,
    pub(crate) hidden_columns: usize,
    pub(crate) columns: usize,
    pub(crate) limit: Bound,
    pub(crate) offset: Bound,
    /// The text for the shards; `None`: the client's own.
    pub(crate) text: Option<PartPieces>,
}

/// INSERT ... VALUES but for its values.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Rows {
    pub(crate) keys: Vec<Value>,
    pub(crate) key_type: KeyType,
    /// How to write parts, or why it can't be cut.
    pub(crate) parts: Result<InsertParts, Refusal>,
}

/// The texts of an INSERT cut into rows.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct InsertParts {
    pub(crate) head: PartPieces,
    pub(crate) rows: Vec<PartPieces>,
    pub(crate) tail: PartPieces,
}

impl Template {
    /// Plans a text as far as it goes.
    pub fn prepare(request: &Request<'_>) -> Self {
        let scope = Scope {
            catalog: request.catalog,
            tables: request.tables,
            search_path: request.search_path,
            user: request.user,
        };
        match sql::analyse(request.text) {
            Ok(statements) => {
                let hints = sql::hints(request.text);
                let statements = statements
                    .into_iter()
                    .map(|statement| {
                        let (skeleton, mut common) = crate::prepare::statement(&statement, &scope, &hints);
                        let text = request.text.get(statement.range.clone());
                        common.effects |= crate::effects::of_text(text.unwrap_or_default());
                        Planned {
                            statement,
                            skeleton,
                            common,
                        }
                    })
                    .collect();
                Self {
                    statements,
                    state: State::Read,
                }
            }
            Err(error) => Self::without_facts(request.text, &error, &scope),
        }
    }

    /// A text that isn't looked into: whoever reads it is known, and it may leave anything.
    pub fn unread(request: &Request<'_>) -> Self {
        let scope = Scope {
            catalog: request.catalog,
            tables: request.tables,
            search_path: request.search_path,
            user: request.user,
        };
        let why = sql::ParseError::TooDeep("it is not looked into".to_owned());
        Self::without_facts(request.text, &why, &scope)
    }

    fn without_facts(text: &str, why: &sql::ParseError, scope: &Scope<'_>) -> Self {
        let (skeleton, mut common) = crate::prepare::unread(why, scope);
        common.effects |= crate::effects::of_text(text);
        Self {
            statements: vec![Planned {
                statement: Statement::unread(text),
                common,
                skeleton,
            }],
            state: State::Unread,
        }
    }

    /// The text could not be read: a normalised text must be prepared again by the client's own text. For the client's own
    /// text this means that PostgreSQL has to say what is wrong with it.
    pub fn needs_exact_text(&self) -> bool {
        self.state == State::Unread
    }

    /// How many statements the text holds, one at least.
    pub fn len(&self) -> usize {
        self.statements.len()
    }

    /// Whether there is no statement: never, an empty text is one empty statement.
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }

    /// The bytes of a statement in the text.
    pub fn range(&self, index: usize) -> Option<Range<usize>> {
        self.statements
            .get(index)
            .map(|planned| planned.statement.range.clone())
    }

    /// What the statements of the text may leave in the session, all together.
    pub fn effects(&self) -> Effects {
        let all = self.statements.iter().map(|planned| planned.common.effects);
        all.fold(Effects::NONE, Effects::union)
    }

    /// The database in which no session may be while the text's statement runs.
    pub fn vacated(&self) -> Option<&str> {
        self.statements
            .iter()
            .find_map(|planned| match &planned.statement.kind {
                StatementKind::Ddl(ddl) => ddl.vacated.as_deref(),
                _ => None,
            })
    }

    /// What a statement is.
    pub fn kind(&self, index: usize) -> Option<&StatementKind> {
        self.statements.get(index).map(|planned| &planned.statement.kind)
    }

    /// What the session itself would do, where that doesn't depend on values.
    pub fn local(&self, index: usize) -> Option<&Local> {
        match &self.statements.get(index)?.skeleton {
            Skeleton::Fixed(Route::Local(local)) => Some(local),
            _ => None,
        }
    }

    /// Whether a statement is the proxy's own: no server knows it.
    pub fn is_proxys(&self, index: usize) -> bool {
        let skeleton = self.statements.get(index).map(|planned| &planned.skeleton);
        match skeleton {
            Some(Skeleton::ExplainRoute(..)) => true,
            Some(Skeleton::Fixed(Route::Local(local))) => matches!(
                local,
                Local::SetRingway { .. } | Local::ResetRingway(_) | Local::ShowRingway(_)
            ),
            _ => false,
        }
    }

    /// Whether a statement may change anything.
    pub fn access(&self, index: usize) -> Access {
        let planned = self.statements.get(index);
        planned.map_or(Access::Write, |planned| planned.common.access)
    }

    /// The shard that can describe the statement (its parameters and columns) before any values are known; `None`: any can.
    ///
    /// # Errors
    /// The refusal, where no values would make the statement answerable.
    pub fn describe_on(&self, index: usize) -> Result<Option<ShardId>, &Refusal> {
        let Some(planned) = self.statements.get(index) else {
            return Ok(None);
        };
        let mut skeleton = &planned.skeleton;
        while let Skeleton::ExplainRoute(inner, _)
        | Skeleton::OneShard { inner, .. }
        | Skeleton::CopyQuery(inner) = skeleton
        {
            skeleton = inner;
        }
        match skeleton {
            Skeleton::Fixed(Route::Refuse(refusal)) => Err(refusal),
            Skeleton::Fixed(Route::Single { shard, .. } | Route::Utility { shard })
            | Skeleton::Cached {
                route: Route::Single { shard, .. },
                ..
            } => Ok(Some(*shard)),
            _ => Ok(None),
        }
    }

    /// The shard of the only statement, where it is a query that one shard answers and that leaves nothing in its session:
    /// what most statements are, told without making a plan. `None` says nothing: ask [`bind`](Self::bind).
    pub fn one_shard(&self, values: &Values<'_>, map: &SlotMap) -> Option<OneShard<'_>> {
        let [planned] = self.statements.as_slice() else {
            return None;
        };
        let is_query = matches!(planned.statement.kind, StatementKind::Query(_)) && self.state == State::Read;
        if !is_query || !planned.common.effects.is_empty() {
            return None;
        }
        one_shard(&planned.skeleton, &planned.common, values, map)
    }

    /// The transaction control that the only statement is.
    pub fn transaction_control(&self) -> Option<&sql::TransactionControl> {
        match self.statements.as_slice() {
            [planned] => match &planned.skeleton {
                Skeleton::Fixed(Route::Local(Local::Transaction(control))) => Some(control),
                _ => None,
            },
            _ => None,
        }
    }

    /// The plan of a statement with these values.
    pub fn bind(&self, index: usize, values: &Values<'_>, map: &SlotMap) -> Plan {
        match self.statements.get(index) {
            Some(planned) => {
                let mut plan = bind(&planned.skeleton, &planned.common, values, map);
                if self.statements.len() > 1 {
                    // Answers of a string of statements are not taken apart.
                    plan.cache = None;
                }
                plan
            }
            None => {
                let refusal =
                    refusals::unsupported("no such statement", "the text holds fewer statements", "");
                fixed(refusal.into(), Access::Read)
            }
        }
    }
}
