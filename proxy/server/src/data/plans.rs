//! Plans by text, so that a text is parsed once and not for every execution.

use crate::client::Failure;
use crate::data::thread::{PlanRef, Thread};
use crate::shared::DatabaseContext;
use foldhash::fast::RandomState;
use planner::{Access, Effects, Local, OneShard, Plan, Request, Route, Template, Values};
use session::{Meaning, Prepared};
use smallvec::SmallVec;
use sql::{Literal, Normalised, Normaliser, SetWhat, Shape, TransactionControl, TransactionModes};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::rc::{Rc, Weak};
use wire::frontend::Bind;
use wire::{ProxyError, sqlstate};

/// Texts whose plans are remembered in one context.
const MAX_PLANS: usize = 10_000;
/// Contexts that a data thread remembers without a client in them.
const MAX_CONTEXTS: usize = 1_000;
/// A longer text is planned each time.
const MAX_CACHED_TEXT: usize = 64 << 10;

/// A longer text is not looked into where that isn't needed to know its shard.
pub(crate) const READ_TEXT: usize = session::intake::HELD_MESSAGE;

/// What of a session decides what a name means.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct PlanContext {
    /// The database, by its place.
    pub(crate) database: usize,
    /// The schemas in which names are looked up.
    pub(crate) search_path: Vec<String>,
    /// The current user.
    pub(crate) user: String,
}

/// The plans of all sessions to whom names mean the same.
#[derive(Debug)]
pub(crate) struct ContextPlans {
    context: PlanContext,
    number: u64,
    by_text: RefCell<HashMap<Box<[u8]>, PlanRef, RandomState>>,
    recent: RefCell<Recent>,
}

/// Shapes of texts that came lately, by how the texts begin.
#[derive(Debug, Default)]
struct Recent {
    /// Empty until the first is remembered.
    places: Vec<Place>,
    literals: Vec<Literal>,
}

/// Shapes of texts that begin alike, the one that was remembered last first. There are often two: with and without a sign
/// before a number.
type Place = [Option<(Shape, PlanRef)>; 2];

impl Recent {
    /// How many are remembered: a power of two.
    const PLACES: usize = 64;
    /// So many of a text's first bytes decide its place.
    const DECISIVE: usize = 24;

    fn place(sql: &[u8]) -> usize {
        let head = sql.get(..Self::DECISIVE).unwrap_or(sql);
        let hash = head.chunks(8).fold(0_u64, |hash, chunk| {
            let mut word = [0; 8];
            word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            (hash.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
        usize::try_from(hash >> 32).unwrap_or(0) % Self::PLACES
    }

    /// The template of a text that has the shape of one that came lately; its literals are in `literals`.
    fn find(&mut self, sql: &[u8], catalog_version: u64) -> Option<PlanRef> {
        let place = self.places.get(Self::place(sql))?;
        for (shape, template) in place.iter().flatten() {
            self.literals.clear();
            if shape.cut(sql, &mut self.literals) && template.catalog_version == catalog_version {
                return Some(Rc::clone(template));
            }
        }
        None
    }

    fn remember(&mut self, sql: &[u8], normalised: &Normalised<'_>, template: &PlanRef) {
        if self.places.is_empty() {
            self.places.resize_with(Self::PLACES, Place::default);
        }
        let shape = Shape::of(sql, normalised);
        if let (Some([first, second]), Some(shape)) = (self.places.get_mut(Self::place(sql)), shape) {
            // What is made anew of the same shape, because the catalog has changed, is no second one.
            if first.as_ref().is_none_or(|(known, _)| *known != shape) {
                *second = first.take();
            }
            *first = Some((shape, Rc::clone(template)));
        }
    }
}

/// A template with what it was made under.
#[derive(Debug)]
pub(crate) struct CachedTemplate {
    /// The template.
    pub(crate) template: Template,
    /// What its statements may leave in the session, all together.
    pub(crate) effects: Effects,
    /// Whether its statements may change anything.
    pub(crate) access: Access,
    /// Whether a database on one shard has to look closer at it.
    pub(crate) special: Special,
    /// The database in which no session may be while it runs.
    pub(crate) vacated: Option<Box<str>>,
    catalog_version: u64,
    context: Weak<ContextPlans>,
}

impl CachedTemplate {
    fn is_current(&self, plans: &Rc<ContextPlans>, catalog_version: u64) -> bool {
        self.catalog_version == catalog_version && std::ptr::eq(self.context.as_ptr(), Rc::as_ptr(plans))
    }

    /// What its statements may leave in the session, but for settings that are looked after when they are done.
    pub(crate) fn effects_now(&self) -> Effects {
        match self.special {
            Special::Session => self.effects.without(Effects::SETTINGS),
            _ => self.effects,
        }
    }

    /// Whether its statements name prepared statements.
    pub(crate) fn names_statements(&self) -> bool {
        let mut kinds = (0..self.template.len()).filter_map(|n| self.template.kind(n));
        kinds.any(|kind| kind.prepared().is_some())
    }

    /// What the session itself does, where no server has to see the (only) statement as it is.
    pub(crate) fn local(&self, database: &DatabaseContext) -> Option<Local> {
        match self
            .template
            .bind(0, &Values::None, &database.snapshot().map)
            .route
        {
            // A cursor is a server's: FETCH is described and executed there.
            Route::Local(Local::Cursor { .. }) => None,
            Route::Local(local) => Some(local),
            _ => None,
        }
    }
}

/// Whether any of a text's statements may change anything but the session.
fn access(template: &Template) -> Access {
    let writes = |n| template.access(n) == Access::Write && template.local(n).is_none();
    if (0..template.len()).any(writes) {
        Access::Write
    } else {
        Access::Read
    }
}

/// Why a text can't just be forwarded to the one shard of a database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Special {
    /// It can.
    No,
    /// A statement of it is the proxy's own.
    Proxys,
    /// It names prepared statements, or changes what the proxy keeps of the session.
    Session,
}

impl Special {
    fn of(template: &Template) -> Self {
        let statements = 0..template.len();
        if statements.clone().any(|n| template.is_proxys(n)) {
            return Self::Proxys;
        }
        let session = |n| match template.local(n) {
            Some(Local::Set(set)) => !set.local && !matches!(set.what, SetWhat::Transaction(_)),
            Some(Local::Reset(_) | Local::Discard { .. }) => true,
            Some(Local::SqlDeallocate { .. }) => true,
            _ => template.kind(n).is_some_and(|kind| kind.prepared().is_some()),
        };
        let looks = template.effects().intersects(Effects::STATEMENTS_READ);
        if looks || statements.clone().any(session) {
            Self::Session
        } else {
            Self::No
        }
    }
}

/// A statement of a text with several.
#[derive(Clone, Debug)]
pub(crate) struct TextStatement {
    /// Its place in the text.
    pub(crate) range: Range<usize>,
    /// Its plan.
    pub(crate) plan: Plan,
}

/// The plans of a simple query's text.
#[derive(Debug)]
pub(crate) enum PlannedText {
    /// No statement.
    Empty,
    /// One statement.
    One(Box<Plan>),
    /// Several.
    Many(Vec<TextStatement>),
}

/// What a simple query's text is, where it is of the usual kind.
#[derive(Debug)]
pub(crate) enum UsualText<T> {
    /// One statement for one shard: what is said of it.
    OneShard(T),
    /// BEGIN.
    Begin(TransactionModes),
    /// COMMIT.
    Commit,
}

/// The plans that a data thread remembers.
#[derive(Default)]
pub(crate) struct PlanCache {
    contexts: HashMap<PlanContext, Rc<ContextPlans>, RandomState>,
    /// Contexts made so far.
    made: u64,
    normaliser: Normaliser,
}

impl std::fmt::Debug for PlanCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlanCache")
            .field("contexts", &self.contexts.len())
            .finish_non_exhaustive()
    }
}

impl Thread {
    /// The plans shared by sessions of this context.
    pub(crate) fn plans_for(&self, context: PlanContext) -> Rc<ContextPlans> {
        let mut cache = self.plans.borrow_mut();
        if cache.contexts.len() >= MAX_CONTEXTS {
            cache.contexts.retain(|_, plans| Rc::strong_count(plans) > 1);
        }
        let PlanCache { contexts, made, .. } = &mut *cache;
        let made = contexts.entry(context.clone()).or_insert_with(|| {
            *made += 1;
            Rc::new(ContextPlans {
                context,
                number: *made,
                by_text: RefCell::default(),
                recent: RefCell::default(),
            })
        });
        Rc::clone(made)
    }

    /// The plans of the statements of a simple query.
    pub(crate) fn plan_text(
        &self,
        database: &DatabaseContext,
        plans: &Rc<ContextPlans>,
        sql: &[u8],
    ) -> Result<PlannedText, Failure> {
        let snapshot = database.snapshot();
        let mut cache = self.plans.borrow_mut();
        let normalised = cache.normaliser.normalise(sql);
        let template = self.template(database, plans, normalised.template)?;
        let (template, values) = if normalised.exact_text_only {
            (template, Values::None)
        } else if template.template.needs_exact_text() || template.template.len() > 1 {
            (self.template(database, plans, sql)?, Values::None)
        } else {
            (
                template,
                Values::Literals {
                    sql,
                    literals: normalised.literals,
                },
            )
        };
        let template = &template.template;
        if template.len() > 1 {
            return Ok(PlannedText::Many(
                (0..template.len())
                    .filter_map(|n| {
                        let plan = template.bind(n, &values, &snapshot.map);
                        Some(TextStatement {
                            range: template.range(n)?,
                            plan,
                        })
                    })
                    .collect(),
            ));
        }
        let plan = template.bind(0, &values, &snapshot.map);
        Ok(match plan.route {
            Route::Local(Local::Empty) => PlannedText::Empty,
            _ => PlannedText::One(Box::new(plan)),
        })
    }

    /// What is known of the text of a simple query without its values.
    pub(crate) fn text_template(
        &self,
        database: &DatabaseContext,
        plans: &Rc<ContextPlans>,
        sql: &[u8],
    ) -> Result<PlanRef, Failure> {
        let mut cache = self.plans.borrow_mut();
        let normalised = cache.normaliser.normalise(sql);
        let template = self.template(database, plans, normalised.template)?;
        if template.template.needs_exact_text() || template.template.len() > 1 {
            return self.template(database, plans, sql);
        }
        Ok(template)
    }

    /// What is to be said of a simple query that is one statement for one shard, or BEGIN or COMMIT.
    pub(crate) fn usual_text<T>(
        &self,
        database: &DatabaseContext,
        plans: &Rc<ContextPlans>,
        sql: &[u8],
        say: impl FnOnce(&OneShard<'_>) -> T,
    ) -> Option<UsualText<T>> {
        let mut recent = plans.recent.borrow_mut();
        let template = match recent.find(sql, database.catalog().catalog.version) {
            Some(known) => known,
            None => {
                let mut cache = self.plans.borrow_mut();
                let normalised = cache.normaliser.normalise(sql);
                let template = self.template(database, plans, normalised.template).ok()?;
                recent.remember(sql, &normalised, &template);
                recent.literals.clear();
                recent.literals.extend_from_slice(normalised.literals);
                template
            }
        };
        let values = Values::Literals {
            sql,
            literals: &recent.literals,
        };
        if let Some(one) = template.template.one_shard(&values, &database.snapshot().map) {
            return Some(UsualText::OneShard(say(&one)));
        }
        if template.template.len() > 1 {
            return None;
        }
        match template.template.local(0) {
            Some(Local::Transaction(TransactionControl::Begin(modes))) => Some(UsualText::Begin(*modes)),
            Some(Local::Transaction(TransactionControl::Commit { chain: false })) => Some(UsualText::Commit),
            _ => None,
        }
    }

    /// What is to be said of a prepared statement for one shard with the values of a Bind.
    pub(crate) fn one_shard_bound<T>(
        &self,
        database: &DatabaseContext,
        statement: &Prepared<PlanRef>,
        bind: &Bind<'_>,
        say: impl FnOnce(&OneShard<'_>) -> T,
    ) -> Option<T> {
        let values: SmallVec<[Option<&[u8]>; 8]> = bind.values.iter().collect();
        let formats: SmallVec<[i16; 8]> = bind.formats.iter().collect();
        let values = Values::Bind {
            values: &values,
            formats: &formats,
            types: &statement.parameter_types,
        };
        let one = statement
            .plan
            .template
            .one_shard(&values, &database.snapshot().map);
        one.as_ref().map(say)
    }

    /// The template of a text.
    pub(crate) fn template(
        &self,
        database: &DatabaseContext,
        plans: &Rc<ContextPlans>,
        text: &[u8],
    ) -> Result<PlanRef, Failure> {
        let loaded = database.catalog();
        let version = loaded.catalog.version;
        if let Some(known) = plans.by_text.borrow().get(text)
            && known.catalog_version == version
        {
            return Ok(Rc::clone(known));
        }
        let readable = if database.direct.is_some() {
            // Nothing is routed by it: what can be read is enough.
            String::from_utf8_lossy(text)
        } else {
            std::str::from_utf8(text).map_err(|_| not_utf8())?.into()
        };
        let request = Request {
            text: &readable,
            catalog: &loaded.catalog,
            tables: &database.tables.load(),
            search_path: &plans.context.search_path,
            user: &plans.context.user,
        };
        // The tree of a long one takes some hundred times its room.
        let template = if database.direct.is_some() && text.len() > READ_TEXT {
            Template::unread(&request)
        } else {
            Template::prepare(&request)
        };
        let made = Rc::new(CachedTemplate {
            effects: template.effects(),
            access: access(&template),
            special: Special::of(&template),
            vacated: template.vacated().map(Into::into),
            template,
            catalog_version: version,
            context: Rc::downgrade(plans),
        });
        if text.len() <= MAX_CACHED_TEXT {
            let mut known = plans.by_text.borrow_mut();
            if known.len() >= MAX_PLANS {
                known.clear();
            }
            known.insert(text.into(), Rc::clone(&made));
        }
        Ok(made)
    }

    /// The statement that a client prepares.
    pub(crate) fn prepared_statement(
        &self,
        database: &DatabaseContext,
        plans: &Rc<ContextPlans>,
        sql: &[u8],
        types: &[u32],
    ) -> Result<Rc<Prepared<PlanRef>>, Failure> {
        let version = database.catalog().catalog.version;
        // A renewed plan must leave a routed statement what it is; there DDL is known to all before it is answered.
        let meaning = match database.direct {
            Some(_) => Meaning {
                context: plans.number,
                version: database.statements_version(),
            },
            None => Meaning::default(),
        };
        self.prepared.borrow_mut().intern(
            meaning,
            sql,
            types,
            |plan| plan.is_current(plans, version),
            || {
                let template = self.template(database, plans, sql)?;
                // Where the server sees it as it is, it says so itself.
                if template.template.len() > 1 && database.direct.is_none() {
                    return Err(several_statements().into());
                }
                Ok(template)
            },
        )
    }

    /// The same statement with a plan that is good for this session at this moment.
    pub(crate) fn renew(
        &self,
        database: &DatabaseContext,
        plans: &Rc<ContextPlans>,
        statement: &Rc<Prepared<PlanRef>>,
    ) -> Result<Rc<Prepared<PlanRef>>, Failure> {
        if statement
            .plan
            .is_current(plans, database.catalog().catalog.version)
        {
            return Ok(Rc::clone(statement));
        }
        self.prepared_statement(database, plans, &statement.sql, &statement.parameter_types)
    }

    /// The plan of a prepared statement with the values of a Bind.
    pub(crate) fn bind_plan(
        &self,
        database: &DatabaseContext,
        statement: &Prepared<PlanRef>,
        bind: &Bind<'_>,
    ) -> Plan {
        let values: SmallVec<[Option<&[u8]>; 8]> = bind.values.iter().collect();
        let formats: SmallVec<[i16; 8]> = bind.formats.iter().collect();
        let values = Values::Bind {
            values: &values,
            formats: &formats,
            types: &statement.parameter_types,
        };
        statement.plan.template.bind(0, &values, &database.snapshot().map)
    }

    /// The plan by which a prepared statement is described before any values are known: its only shard, the one that will run
    /// it, or any.
    ///
    /// # Errors
    /// The refusal of a statement that no values make answerable.
    pub(crate) fn describing_plan(
        &self,
        database: &DatabaseContext,
        statement: &Prepared<PlanRef>,
    ) -> Result<Plan, ProxyError> {
        let template = &statement.plan.template;
        let only = template.describe_on(0).map_err(crate::client::refused)?;
        let bound = template.bind(0, &Values::None, &database.snapshot().map);
        let route = match (only, bound.route) {
            (Some(shard), _) => Route::Utility { shard },
            (None, route @ Route::Single { slot: Some(_), .. }) => route,
            (None, _) => Route::Any,
        };
        Ok(Plan {
            route,
            cache: None,
            effects: Effects::NONE,
            ..bound
        })
    }
}

fn several_statements() -> ProxyError {
    ProxyError::error(
        sqlstate::SYNTAX_ERROR,
        "cannot insert multiple commands into a prepared statement",
    )
}

fn not_utf8() -> ProxyError {
    ProxyError::error(
        sqlstate::FEATURE_NOT_SUPPORTED,
        "the statement is not valid UTF-8",
    )
    .with_detail("Ringway reads statements as UTF-8 to find out which shard they belong to.")
    .with_hint("Use client_encoding = UTF8, or send other encodings as parameters.")
}
