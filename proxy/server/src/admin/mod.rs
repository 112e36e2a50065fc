//! The virtual database `ringway` (alias `pgbouncer`): commands in, tables out.
//!
//! In: the text of a query and an [`AdminView`] that the control plane collected. Out: commands, and what SHOW answers as a
//! [`Table`]. Commands that change something are only recognised here; `data/admin_session` carries them out.
//!
//! **Invariant:** touches no socket, no thread and no clock; shows no secret and no text of a statement.

mod command;
mod lexer;
mod show;
mod table;
mod time;
mod view;

use table::Cell;
use table::ColumnType::{Int4, Text};

pub(crate) use command::{AdminCommand, Courtesy, Shutdown, not_allowed};
#[cfg(test)]
pub(crate) use show::tests;
pub(crate) use show::{columns, full_key, health, in_our_unit, render, role};
pub(crate) use table::{Columns, Table, describe};
pub(crate) use view::{
    AdminView, CacheKind, CacheRow, ClientRow, ClientState, GateRow, MemoryRow, PoolRow, ProxyMode,
    PublisherRow, ServerConnectionState, ServerRow, StatsAverages, StatsRow, StreamRow, StreamState,
};

/// Names under which clients reach the admin database.
pub(crate) const DATABASES: [&str; 2] = ["ringway", "pgbouncer"];

/// What an administrator is told of the session at the login, as PostgreSQL would.
pub(crate) const REPORTED: [(&str, &str); 9] = [
    ("server_version", concat!(env!("CARGO_PKG_VERSION"), " (Ringway)")),
    ("client_encoding", "UTF8"),
    ("server_encoding", "UTF8"),
    ("DateStyle", "ISO"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "GMT"),
    ("integer_datetimes", "on"),
    ("standard_conforming_strings", "on"),
    ("is_superuser", "on"),
];

/// The columns of what drivers ask of every database.
pub(crate) fn courtesy_columns(courtesy: Courtesy) -> Columns {
    /// Each setting has a column of its name.
    const REPORTED_COLUMNS: [Columns; REPORTED.len()] = [
        &[(REPORTED[0].0, Text)],
        &[(REPORTED[1].0, Text)],
        &[(REPORTED[2].0, Text)],
        &[(REPORTED[3].0, Text)],
        &[(REPORTED[4].0, Text)],
        &[(REPORTED[5].0, Text)],
        &[(REPORTED[6].0, Text)],
        &[(REPORTED[7].0, Text)],
        &[(REPORTED[8].0, Text)],
    ];
    match courtesy {
        Courtesy::One => &[("?column?", Int4)],
        Courtesy::Version => &[("version", Text)],
        Courtesy::Isolation => &[("transaction_isolation", Text)],
        Courtesy::Reported(place) => REPORTED_COLUMNS.get(place).copied().unwrap_or(&[]),
    }
}

/// The answer to what drivers ask of every database.
pub(crate) fn courtesy(courtesy: Courtesy) -> Table {
    let value = match courtesy {
        Courtesy::One => "1",
        Courtesy::Version => show::VERSION,
        Courtesy::Isolation => "read committed",
        Courtesy::Reported(place) => REPORTED.get(place).map_or("", |(_, value)| value),
    };
    Table {
        columns: courtesy_columns(courtesy),
        rows: vec![vec![Cell::text(value)]],
    }
}
