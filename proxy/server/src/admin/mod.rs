//! The virtual database `ringway` (alias `pgbouncer`): commands in, tables out.
//!
//! In: the text of a query and an [`AdminView`] that the control plane collected. Out: commands, and what SHOW answers as a
//! [`Table`]. Commands that change something are only recognised here; `data/admin_session` carries them out.
//!
//! **Invariant:** touches no socket, no thread and no clock; shows no secret and no text of a statement.

mod rights;
mod show;
mod table;
mod time;
mod view;

use table::Cell;
use table::ColumnType::{Int4, Text};

pub(crate) use rights::{authorise, not_allowed};
pub(crate) use session::admin::{AdminCommand, Courtesy, REPORTED, Shutdown};
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
