//! What of a client's session lives in its server connection, and what is to be done about it at rest.
//!
//! A connection is at rest when the server says ReadyForQuery outside a transaction block. Then either nothing of the
//! client is left on it and it goes back, or settings are left that can follow the client to another connection, or
//! something that can't: then the client stays (it is *pinned*). The texts of the client's statements say only what
//! might be there. What is there, the server is asked.

mod custom;

pub use custom::{CODE_QUESTION, CustomNames};

use crate::settings::Settings;
use std::fmt;

/// What keeps a client on its server connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Pins(u16);

impl Pins {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// It listens to a channel.
    pub const LISTEN: Self = Self(1);
    /// A temporary object exists.
    pub const TEMPORARY: Self = Self(1 << 1);
    /// A cursor WITH HOLD is open.
    pub const HELD_CURSOR: Self = Self(1 << 2);
    /// A session-level advisory lock is held.
    pub const ADVISORY_LOCK: Self = Self(1 << 3);
    /// A statement was prepared in SQL.
    pub const SQL_PREPARED: Self = Self(1 << 4);
    /// Something is tied to the server process: a loaded library, a replication origin.
    pub const BACKEND: Self = Self(1 << 5);
    /// `setseed` was called.
    pub const RANDOM_SEED: Self = Self(1 << 6);
    /// A sequence was used, and clients of the pool ask for `currval`.
    pub const SEQUENCE: Self = Self(1 << 7);
    /// A setting has a value that can't be carried to another connection.
    pub const SETTING: Self = Self(1 << 8);
    /// The server did not answer the question what is there.
    pub const UNKNOWN: Self = Self(1 << 9);

    /// All of them with the names by which they are shown and counted.
    pub const NAMES: [(Self, &'static str); 10] = [
        (Self::LISTEN, "listen"),
        (Self::TEMPORARY, "temporary"),
        (Self::HELD_CURSOR, "held_cursor"),
        (Self::ADVISORY_LOCK, "advisory_lock"),
        (Self::SQL_PREPARED, "prepared"),
        (Self::BACKEND, "backend"),
        (Self::RANDOM_SEED, "random_seed"),
        (Self::SEQUENCE, "sequence"),
        (Self::SETTING, "setting"),
        (Self::UNKNOWN, "unknown"),
    ];

    /// What the server can be asked about by [`PINS_QUESTION`].
    const ASKED: Self = Self(
        Self::LISTEN.0
            | Self::TEMPORARY.0
            | Self::HELD_CURSOR.0
            | Self::ADVISORY_LOCK.0
            | Self::SQL_PREPARED.0,
    );
    /// What DISCARD ALL doesn't end: only the end of the connection does.
    const LASTING: Self = Self(Self::BACKEND.0 | Self::RANDOM_SEED.0);

    /// Whether there is none.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether any of `other` is among these.
    #[inline]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// These and those.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These without those.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those that are also in `other`.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether a connection with these can be made as new by DISCARD ALL.
    pub const fn can_be_discarded(self) -> bool {
        !self.intersects(Self::LASTING)
    }

    /// The names of those that are there.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let named = Self::NAMES.iter();
        named
            .filter(move |(pin, _)| self.intersects(*pin))
            .map(|(_, name)| *name)
    }
}

/// Their names, separated by commas.
impl fmt::Display for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, name) in self.names().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(f, "{comma}{name}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

/// How much of the session's settings the statements since the last rest may have changed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Doubt {
    /// Nothing that isn't known already.
    #[default]
    None,
    /// Settings.
    Settings,
    /// Anything.
    Everything,
}

/// What the statements since the last rest may have done, by their texts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traces {
    /// What they may have made.
    pub made: Pins,
    /// What they may have changed beside it.
    pub doubt: Doubt,
    /// Whether they may have ended what pins the client.
    pub released: bool,
    /// What they have ended for certain.
    pub ended: Pins,
}

/// What the server is to be asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Questions {
    /// [`SETTINGS_QUESTION`].
    Settings,
    /// [`PINS_QUESTION`].
    Pins,
    /// Both.
    Both,
}

impl Questions {
    /// The single questions of these, each with its text and the name under which it is prepared.
    pub fn each(self) -> impl Iterator<Item = (Self, &'static str, &'static str)> {
        [
            (Self::Settings, SETTINGS_QUESTION, "ringway_settings"),
            (Self::Pins, PINS_QUESTION, "ringway_pins"),
        ]
        .into_iter()
        .filter(move |(question, ..)| self == *question || self == Self::Both)
    }

    /// Whether [`SETTINGS_QUESTION`] is asked.
    pub fn settings(self) -> bool {
        self != Self::Pins
    }

    /// Whether [`PINS_QUESTION`] is asked.
    pub fn pins(self) -> bool {
        self != Self::Settings
    }
}

/// What to do with a connection at rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AtRest {
    /// Nothing is on it: it may go back.
    Release,
    /// The client stays on it, for these reasons.
    Stay(Pins),
    /// The server is to be asked.
    Ask(Questions),
}

/// Decides about a connection at rest on which the client was `pinned`.
pub fn at_rest(pinned: Pins, traces: Traces) -> AtRest {
    let pinned = pinned.without(traces.ended);
    let lasting = traces.made.without(Pins::ASKED);
    let pins = pinned.union(lasting);
    let unsure = traces.made.intersects(Pins::ASKED) || (traces.released && pinned.intersects(Pins::ASKED));
    let doubt = if pinned.intersects(Pins::UNKNOWN) {
        Doubt::Everything
    } else {
        traces.doubt
    };
    match (doubt, unsure) {
        (Doubt::Everything, _) | (Doubt::Settings, true) => AtRest::Ask(Questions::Both),
        // What could not be carried may be gone.
        (Doubt::Settings, false) => AtRest::Ask(Questions::Settings),
        (Doubt::None, true) => AtRest::Ask(Questions::Pins),
        (Doubt::None, false) if pins.is_empty() => AtRest::Release,
        (Doubt::None, false) => AtRest::Stay(pins),
    }
}

/// The settings that the session itself has set, its role and its session user. A setting is told in the server's own
/// words, which `set_config` takes back as they are. What belongs to the transaction is left out.
///
/// PostgreSQL lists no settings of applications' own (`app.tenant`): those are asked for by the names in the parameter, an
/// array. One that was reset is empty.
pub const SETTINGS_QUESTION: &str = "SELECT name, setting FROM pg_catalog.pg_show_all_settings() \
    WHERE source OPERATOR(pg_catalog.=) 'session' \
    AND NOT pg_catalog.starts_with(name, 'transaction_') \
    UNION ALL SELECT n, pg_catalog.current_setting(n, true) FROM pg_catalog.unnest($1::pg_catalog.text[]) AS n \
    WHERE pg_catalog.current_setting(n, true) OPERATOR(pg_catalog.<>) '' AND NOT EXISTS \
    (SELECT 1 FROM pg_catalog.pg_show_all_settings() AS s \
    WHERE pg_catalog.lower(s.name) OPERATOR(pg_catalog.=) pg_catalog.lower(n)) \
    UNION ALL SELECT ' role', pg_catalog.current_setting('role') \
    UNION ALL SELECT ' user', pg_catalog.text(session_user)";

/// What of the session can't leave its connection; and how many statements were prepared there by protocol.
pub const PINS_QUESTION: &str = "SELECT ' listen', '' \
    WHERE EXISTS (SELECT 1 FROM pg_catalog.pg_listening_channels()) \
    UNION ALL SELECT ' temporary', '' WHERE EXISTS (SELECT 1 FROM pg_catalog.pg_depend \
    WHERE refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass \
    AND refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema() AND refobjid OPERATOR(pg_catalog.<>) 0) \
    UNION ALL SELECT ' held_cursor', '' \
    WHERE EXISTS (SELECT 1 FROM pg_catalog.pg_cursor() WHERE is_holdable) \
    UNION ALL SELECT ' advisory_lock', '' WHERE EXISTS (SELECT 1 FROM pg_catalog.pg_lock_status() \
    WHERE locktype OPERATOR(pg_catalog.=) 'advisory' AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()) \
    UNION ALL SELECT CASE WHEN from_sql THEN ' prepared' ELSE ' protocol' END, \
    pg_catalog.text(pg_catalog.count(*)) FROM pg_catalog.pg_prepared_statement() GROUP BY from_sql";

/// What the server told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// Settings as they stand on the connection, if they were asked for.
    pub settings: Option<Settings>,
    /// What pins the client.
    pub pins: Pins,
    /// How many statements were prepared by protocol, if that was asked.
    pub protocol_statements: Option<usize>,
}

impl Found {
    /// Reads the rows that answer `asked` on a connection of `login`, on which the client was `pinned` and its statements
    /// since then have `made` things.
    pub fn read<'r>(
        asked: Questions,
        rows: impl Iterator<Item = (&'r [u8], &'r [u8])>,
        login: &str,
        (pinned, made): (Pins, Pins),
    ) -> Self {
        let kept = pinned.union(made).without(Pins::UNKNOWN);
        let kept = match asked {
            Questions::Settings => kept.without(Pins::SETTING),
            Questions::Pins => kept.without(Pins::ASKED),
            Questions::Both => kept.without(Pins::ASKED).without(Pins::SETTING),
        };
        let mut found = Self {
            settings: asked.settings().then(Settings::default),
            pins: kept,
            protocol_statements: asked.pins().then_some(0),
        };
        for (name, value) in rows {
            found.take(name, value, login);
        }
        found
    }

    fn take(&mut self, name: &[u8], value: &[u8], login: &str) {
        let (Ok(name), Ok(value)) = (std::str::from_utf8(name), std::str::from_utf8(value)) else {
            // In the client's encoding, which isn't read here.
            self.pins = self.pins.union(Pins::SETTING);
            return;
        };
        let Some(word) = name.strip_prefix(' ') else {
            self.set(name, value);
            return;
        };
        match word {
            "role" if value != "none" => self.set("role", value),
            "user" if value != login => self.set("session_authorization", value),
            "role" | "user" => {}
            "protocol" => self.protocol_statements = value.parse().ok(),
            pin => {
                let known = Pins::NAMES.iter().find(|(_, name)| *name == pin);
                let pin = known.map_or(Pins::UNKNOWN, |(pin, _)| *pin);
                self.pins = self.pins.union(pin);
            }
        }
    }

    fn set(&mut self, name: &str, value: &str) {
        if let Some(settings) = &mut self.settings {
            // Some names have capitals (TimeZone); a SET may write them as it likes.
            *settings = settings.with_value(&name.to_ascii_lowercase(), value);
        }
    }
}

#[cfg(test)]
mod tests;
