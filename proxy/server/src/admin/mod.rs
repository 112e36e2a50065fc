//! The virtual database `ringway` (alias `pgbouncer`): commands in, tables out.
//!
//! In: the text of a simple query and an [`AdminView`] that the control plane collected. Out: a [`Table`], or an error that
//! names the commands. RELOAD and SHUTDOWN are only recognised here; the caller does them.
//!
//! **Invariant:** touches no socket, no thread and no clock; shows no secret and no text of a statement.

mod command;
mod show;
mod table;
mod time;
mod view;

pub(crate) use command::{AdminCommand, not_allowed};
#[cfg(test)]
pub(crate) use show::tests;
pub(crate) use show::{health, render, role};
pub(crate) use view::{
    AdminView, CacheKind, CacheRow, ClientRow, ClientState, PoolRow, PublisherRow, ServerConnectionState,
    ServerRow, StatsAverages, StatsRow, StreamRow, StreamState,
};

/// Names under which clients reach the admin database.
pub(crate) const DATABASES: [&str; 2] = ["ringway", "pgbouncer"];
