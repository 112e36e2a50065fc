//! What a statement may leave in its session, as far as its text shows it.
//!
//! PostgreSQL keeps settings, locks, cursors, temporary objects and more with the connection. A client that shares
//! connections with others must find all of it again, and nobody else may. The text says where to look; what is really
//! there only the server knows, and it is asked where these effects say so.

use crate::catalog::Volatility;
use crate::resolve::Scope;
use sql::{Command, Ddl, FunctionCall, Query, SetWhat, Statement, StatementKind};
use std::fmt;
use std::sync::LazyLock;

/// A small set of traces that a statement may leave in its session.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Effects(u16);

impl Effects {
    /// None: the connection is after it as it was before.
    pub const NONE: Self = Self(0);
    /// LISTEN.
    pub const LISTEN: Self = Self(1);
    /// A temporary object.
    pub const TEMPORARY: Self = Self(1 << 1);
    /// DECLARE ... WITH HOLD.
    pub const HELD_CURSOR: Self = Self(1 << 2);
    /// A session-level advisory lock.
    pub const ADVISORY_LOCK: Self = Self(1 << 3);
    /// PREPARE in SQL.
    pub const SQL_PREPARED: Self = Self(1 << 4);
    /// LOAD, and functions that tie something to the server process.
    pub const BACKEND: Self = Self(1 << 5);
    /// `setseed`.
    pub const RANDOM_SEED: Self = Self(1 << 6);
    /// Anything, in a way that the text doesn't show.
    pub const SUSPECT: Self = Self(1 << 7);
    /// Settings. Whoever follows a SET exactly need not count this.
    pub const SETTINGS: Self = Self(1 << 8);
    /// It may end what keeps the client on its connection.
    pub const RELEASES: Self = Self(1 << 9);
    /// A sequence is advanced or set, so that `currval` and `lastval` have a value.
    pub const SEQUENCE_USE: Self = Self(1 << 10);
    /// `currval`, `lastval`.
    pub const SEQUENCE_READ: Self = Self(1 << 11);

    /// What is known of sequences is forgotten.
    pub const SEQUENCE_END: Self = Self(1 << 12);
    /// It looks at the session's prepared statements.
    pub const STATEMENTS_READ: Self = Self(1 << 13);

    /// Effects for which the client must stay on its connection.
    pub const PINS: Self = Self(
        Self::LISTEN.0
            | Self::TEMPORARY.0
            | Self::HELD_CURSOR.0
            | Self::ADVISORY_LOCK.0
            | Self::SQL_PREPARED.0
            | Self::BACKEND.0
            | Self::RANDOM_SEED.0,
    );

    /// Effects by which settings may come to be that no server lists: their names are to be taken from texts and values.
    pub const UNLISTED: Self = Self(Self::SETTINGS.0 | Self::SUSPECT.0);

    const NAMES: [(Self, &'static str); 14] = [
        (Self::LISTEN, "listen"),
        (Self::TEMPORARY, "temporary"),
        (Self::HELD_CURSOR, "held cursor"),
        (Self::ADVISORY_LOCK, "advisory lock"),
        (Self::SQL_PREPARED, "prepared"),
        (Self::BACKEND, "backend"),
        (Self::RANDOM_SEED, "random seed"),
        (Self::SUSPECT, "suspect"),
        (Self::SETTINGS, "settings"),
        (Self::RELEASES, "releases"),
        (Self::SEQUENCE_USE, "sequence use"),
        (Self::SEQUENCE_READ, "sequence read"),
        (Self::SEQUENCE_END, "sequence end"),
        (Self::STATEMENTS_READ, "statements read"),
    ];

    /// Whether there is none.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The effects of both.
    #[inline]
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those of these that are also in `other`.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// These without those of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether any of `other` is among these.
    #[inline]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl std::ops::BitOr for Effects {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl std::ops::BitOrAssign for Effects {
    fn bitor_assign(&mut self, other: Self) {
        *self = self.union(other);
    }
}

/// Their names, separated by commas.
impl fmt::Display for Effects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (_, name) in Self::NAMES.iter().filter(|(effect, _)| self.intersects(*effect)) {
            let comma = if std::mem::take(&mut first) { "" } else { ", " };
            write!(f, "{comma}{name}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Effects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

/// What a text without facts may leave: whatever a server makes of it.
pub(crate) const UNREAD: Effects = Effects::SUSPECT;

/// What a text shows whatever its statements are: the view and the function of prepared statements begin alike.
pub(crate) fn of_text(text: &str) -> Effects {
    const VIEW: &[u8] = b"pg_prepared_statement";
    let mut windows = text.as_bytes().windows(VIEW.len());
    if windows.any(|part| part.eq_ignore_ascii_case(VIEW)) {
        Effects::STATEMENTS_READ
    } else {
        Effects::NONE
    }
}

/// The effects of a statement.
pub(crate) fn of(statement: &Statement, scope: &Scope<'_>) -> Effects {
    match &statement.kind {
        StatementKind::Query(query) => of_query(query, scope),
        StatementKind::Set(set) if set.local => Effects::NONE,
        StatementKind::Set(set) => of_set(&set.what),
        StatementKind::Reset { .. } => Effects::SETTINGS,
        StatementKind::Discard { all: true, .. } => {
            Effects::RELEASES | Effects::SETTINGS | Effects::SEQUENCE_END
        }
        StatementKind::Discard { sequences: true, .. } => Effects::SEQUENCE_END,
        StatementKind::Discard { .. }
        | StatementKind::Deallocate { .. }
        | StatementKind::Close { .. }
        | StatementKind::Unlisten { .. } => Effects::RELEASES,
        StatementKind::Prepare { .. } => Effects::SQL_PREPARED,
        StatementKind::Declare { hold, inner, .. } => {
            let held = if *hold {
                Effects::HELD_CURSOR
            } else {
                Effects::NONE
            };
            of(inner, scope) | held
        }
        StatementKind::Listen { .. } => Effects::LISTEN,
        StatementKind::Copy(copy) => copy
            .query
            .as_ref()
            .map_or(Effects::NONE, |inner| of(inner, scope)),
        StatementKind::Ddl(ddl) => of_ddl(ddl, scope),
        StatementKind::Explain {
            route: false,
            analyze: true,
            inner,
            ..
        } => of(inner, scope),
        StatementKind::Execute { .. } | StatementKind::Call { .. } | StatementKind::Do => Effects::SUSPECT,
        StatementKind::Other { node: "LoadStmt" } => Effects::BACKEND,
        StatementKind::Other {
            node: "ConstraintsSetStmt",
        } => Effects::NONE,
        StatementKind::Other { .. } => Effects::SUSPECT,
        StatementKind::Empty
        | StatementKind::Transaction(_)
        | StatementKind::Show { .. }
        | StatementKind::Fetch { .. }
        | StatementKind::Notify { .. }
        | StatementKind::Lock { .. }
        | StatementKind::Truncate { .. }
        | StatementKind::Maintenance { .. }
        | StatementKind::Explain { .. } => Effects::NONE,
    }
}

fn of_set(what: &SetWhat) -> Effects {
    match what {
        // The seed of random() is no setting that could be asked for.
        SetWhat::Parameter { name, .. } if name == "seed" => Effects::RANDOM_SEED,
        SetWhat::Transaction(_) | SetWhat::Snapshot => Effects::NONE,
        _ => Effects::SETTINGS,
    }
}

fn of_ddl(ddl: &Ddl, scope: &Scope<'_>) -> Effects {
    // What is made without a schema goes into the first one of the path.
    let makes = ddl.node.starts_with("Create")
        || matches!(
            ddl.node,
            "ViewStmt" | "SelectInto" | "DefineStmt" | "CompositeTypeStmt"
        );
    let path_is_temporary = scope
        .search_path
        .first()
        .is_some_and(|schema| schema.starts_with("pg_temp"));
    let mut effects = match &ddl.source {
        Some(query) if ddl.node != "ViewStmt" => of_query(query, scope),
        _ if ddl.executes.is_some() => Effects::SUSPECT,
        _ => Effects::NONE,
    };
    if ddl.temporary || (makes && path_is_temporary) {
        effects |= Effects::TEMPORARY;
    }
    if ddl.node.starts_with("Drop") {
        effects |= Effects::RELEASES;
    }
    effects
}

fn of_query(query: &Query, scope: &Scope<'_>) -> Effects {
    let mut effects = if query.calls == sql::Calls::Hidden {
        Effects::SUSPECT
    } else {
        Effects::NONE
    };
    for call in &query.functions {
        effects |= of_call(call, scope);
    }
    if let Command::Insert(insert) = &query.command
        && scope.may_draw_from_sequence(&insert.table)
    {
        effects |= Effects::SEQUENCE_USE;
    }
    effects
}

fn of_call(call: &FunctionCall, scope: &Scope<'_>) -> Effects {
    let name = call.function.name.as_str();
    if let Some(effects) = of_known(name, call.last_argument_true) {
        return effects;
    }
    if scope.knows_functions() {
        let facts = scope.function(call);
        let harmless = facts.builtin && scope.function_is_known(call);
        return if harmless || facts.volatility != Volatility::Volatile {
            Effects::NONE
        } else {
            Effects::SUSPECT
        };
    }
    let built_in = match call.function.schema.as_deref() {
        Some("pg_catalog") => true,
        Some(_) => false,
        None => is_built_in(name),
    };
    if built_in { Effects::NONE } else { Effects::SUSPECT }
}

/// The functions of PostgreSQL that leave something in the session. By their names alone, whatever stands before them: an
/// effect too many is found out to be none.
fn of_known(name: &str, last_argument_true: bool) -> Option<Effects> {
    Some(match name {
        "pg_advisory_lock"
        | "pg_advisory_lock_shared"
        | "pg_try_advisory_lock"
        | "pg_try_advisory_lock_shared" => Effects::ADVISORY_LOCK,
        "pg_advisory_unlock" | "pg_advisory_unlock_shared" | "pg_advisory_unlock_all" => Effects::RELEASES,
        // is_local
        "set_config" if last_argument_true => Effects::NONE,
        "set_config" => Effects::SETTINGS,
        "setseed" => Effects::RANDOM_SEED,
        "nextval" | "setval" => Effects::SEQUENCE_USE,
        "currval" | "lastval" => Effects::SEQUENCE_READ,
        // These run SQL that is given to them as text.
        "query_to_xml"
        | "query_to_xmlschema"
        | "query_to_xml_and_xmlschema"
        | "ts_stat"
        | "ts_rewrite"
        | "cursor_to_xml" => Effects::SUSPECT,
        // A replication origin, a running base backup, temporary replication slots and dblink's connections end with the
        // process, and no view tells whose they are.
        "pg_replication_origin_session_setup"
        | "pg_backup_start"
        | "pg_start_backup"
        | "pg_create_logical_replication_slot"
        | "pg_create_physical_replication_slot"
        | "pg_copy_logical_replication_slot"
        | "pg_copy_physical_replication_slot"
        | "dblink_connect"
        | "dblink_connect_u" => Effects::BACKEND,
        _ => return None,
    })
}

/// The names of functions in `pg_catalog`, sorted, one a line: for databases whose catalog is not read.
const BUILT_IN: &str = include_str!("built_in.txt");

static BUILT_IN_NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| BUILT_IN.lines().collect());

fn is_built_in(name: &str) -> bool {
    BUILT_IN_NAMES.binary_search(&name).is_ok()
}

#[cfg(test)]
mod tests;
