//! What one probe of one server learned.

use std::time::Duration;
use topology::{Epoch, Lsn, Mono, Position, Role, Timeline};

/// Tells one life of a server from another.
///
/// A restart of the postmaster changes `started_at`; a crash restart does not, but it ends every
/// connection, so the number of the prober's own connection stands in for it. A broken network path
/// looks the same and counts as a new life too: that costs a few fills and is never wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Life {
    /// The database system identifier, made by `initdb`.
    pub(crate) system_identifier: u64,
    /// `pg_postmaster_start_time()`, in microseconds since 1970.
    pub(crate) started_at_us: i64,
    /// Counts the connections of the prober to this server.
    pub(crate) connection: u64,
}

/// The place in the log that a server named, by its role.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// A primary: its insert position, and the epoch that its witness names, if it has one.
    Insert {
        /// `pg_current_wal_insert_lsn()`.
        lsn: Lsn,
        /// The row of `ringway.witness`.
        witness: Option<Epoch>,
    },
    /// A standby: what it has replayed.
    Replay {
        /// `pg_last_wal_replay_lsn()`; zero before it replayed anything.
        lsn: Lsn,
    },
}

/// A server's answers to one probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Observation {
    /// Which life of the server answered.
    pub(crate) life: Life,
    /// Its timeline: of insertion on a primary, of replay on a standby.
    pub(crate) timeline: Timeline,
    /// Its role and its place.
    pub(crate) place: Place,
    /// Read just before the question was sent.
    pub(crate) asked_at: Mono,
    /// How long the answer took.
    pub(crate) round_trip: Duration,
}

impl Observation {
    /// The role that the server named.
    pub(crate) fn role(&self) -> Role {
        match self.place {
            Place::Insert { .. } => Role::Primary,
            Place::Replay { .. } => Role::Standby,
        }
    }

    /// The place that it named, on its timeline.
    pub(crate) fn position(&self) -> Position {
        let (Place::Insert { lsn, .. } | Place::Replay { lsn }) = self.place;
        Position::new(self.timeline, lsn)
    }
}
