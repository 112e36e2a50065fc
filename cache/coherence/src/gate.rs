//! Who may answer a read: the cache, a standby, a primary.
//!
//! Every rule compares what the level and the session ask for with what this proxy has proved, and refuses what is not proved.

use crate::entry::{Entry, EntryPart, sample_binds};
use crate::session::{SessionPositions, WriteNeed};
use crate::shard::{Coherence, ShardView};
use std::time::Duration;
use topology::{EndpointId, Mono, Position, ReplaySample, Timeline};

/// What a read asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadLevel {
    /// Every transaction acknowledged more than `bound` before the read began.
    Bounded {
        /// The bound.
        bound: Duration,
    },
    /// The same, and the session's own acknowledged writes.
    Ryw {
        /// The bound.
        bound: Duration,
    },
    /// Every transaction acknowledged before the read began: a primary within its lease, never a copy.
    Strong,
}

impl ReadLevel {
    /// How old an answer may be.
    fn bound(self) -> Duration {
        match self {
            ReadLevel::Bounded { bound } | ReadLevel::Ryw { bound } => bound,
            ReadLevel::Strong => Duration::ZERO,
        }
    }

    /// What of the session's need this level honours.
    fn honours(self, need: WriteNeed) -> WriteNeed {
        match self {
            ReadLevel::Bounded { .. } => WriteNeed::None,
            ReadLevel::Ryw { .. } | ReadLevel::Strong => need,
        }
    }
}

/// Why an entry may not be used, or a server may not answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Refusal {
    /// Level strong is for primaries only.
    NeedsPrimary,
    /// The shard doesn't exist here, or its stream hasn't begun.
    NoStream,
    /// No sample proves that the copy is fresh enough for the bound.
    TooOld,
    /// The session's own write has no position yet.
    WritePending,
    /// The copy hasn't reached the session's own writes.
    BehindWrite,
    /// The entry is of another epoch.
    OtherEpoch,
    /// Something it depends on has changed since it was filled, or something that shares a cell with it.
    Changed,
    /// Its deadline has passed.
    Expired,
    /// The connection is younger than the replay position: the standby may have restarted in between.
    ConnectionTooYoung,
    /// The server is on an older timeline than the session's own writes.
    OlderTimeline,
    /// The server's lease doesn't reach far enough.
    LeaseOver,
}

/// Whether a kept answer may be given: called at a lookup, and once more for each waiter of a flight when the flight lands.
///
/// A table whose policy lets an answer be older while the gate is closed asks again with a bound that is wider by so much.
///
/// On every shard of the entry first the gate, then the cells: a watermark read first vouches for cells read later, not the other way
/// round. `now` must not lie before the read's beginning.
///
/// # Errors
/// The first [`Refusal`] found.
pub fn check_use(
    entry: &Entry,
    level: ReadLevel,
    session: &mut SessionPositions,
    shards: &Coherence,
    now: Mono,
) -> Result<(), Refusal> {
    if entry.deadline <= now {
        return Err(Refusal::Expired);
    }
    for part in &entry.parts {
        let view = shards.shard(part.shard).ok_or(Refusal::NoStream)?.view();
        let need = session.need_for(part.shard, &view);
        cache_gate(&view, level, need, now)?;
        unchanged(part, &view)?;
    }
    Ok(())
}

/// Whether what this proxy knows of a shard is new enough for a read.
///
/// # Errors
/// The [`Refusal`].
pub fn cache_gate(view: &ShardView, level: ReadLevel, need: WriteNeed, now: Mono) -> Result<(), Refusal> {
    if level == ReadLevel::Strong {
        return Err(Refusal::NeedsPrimary);
    }
    let watermark = view.watermark().ok_or(Refusal::NoStream)?;
    within(view.cache_freshness(), level.bound(), now)?;
    reached(level.honours(need), watermark)
}

/// Whether nothing that this part depends on has changed since it was filled, as far as the watermark tells.
///
/// The epoch comes first: positions of another epoch are of another history, or of one whose end was lost in a crash.
///
/// # Errors
/// The [`Refusal`].
pub fn unchanged(part: &EntryPart, view: &ShardView) -> Result<(), Refusal> {
    if view.epoch() != Some(part.epoch) {
        return Err(if view.epoch().is_none() {
            Refusal::NoStream
        } else {
            Refusal::OtherEpoch
        });
    }
    let changed = |newest: Option<topology::Lsn>| newest.is_none_or(|newest| newest > part.fill);
    if part.tags.iter().any(|tag| changed(view.newest_change(*tag))) {
        return Err(Refusal::Changed);
    }
    Ok(())
}

/// A standby that could answer: its newest replay position, and the connection that would carry the statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StandbyOffer {
    /// The replay position, on the replay timeline.
    pub sample: ReplaySample,
    /// When the connection had answered its startup.
    pub opened_at: Mono,
}

/// Whether a standby may answer a read.
///
/// # Errors
/// The [`Refusal`].
pub fn standby_qualifies(
    view: &ShardView,
    level: ReadLevel,
    need: WriteNeed,
    offer: &StandbyOffer,
    now: Mono,
) -> Result<(), Refusal> {
    if level == ReadLevel::Strong {
        return Err(Refusal::NeedsPrimary);
    }
    if !sample_binds(&offer.sample, offer.opened_at) {
        return Err(Refusal::ConnectionTooYoung);
    }
    within(view.freshness_of(offer.sample.position), level.bound(), now)?;
    reached(level.honours(need), offer.sample.position)
}

/// Whether a primary may answer a read that began at `begin`.
///
/// `timeline` is what the server named on the connection once it was known to be a primary; a connection that was opened to
/// a standby outlives its promotion. The lease must reach to `begin`, less what the level lets an answer be old.
///
/// # Errors
/// The [`Refusal`].
pub fn primary_qualifies(
    view: &ShardView,
    level: ReadLevel,
    need: WriteNeed,
    (server, timeline): (EndpointId, Timeline),
    begin: Mono,
) -> Result<(), Refusal> {
    if !view.lease_reaches(server, begin.minus(level.bound())) {
        return Err(Refusal::LeaseOver);
    }
    if level.honours(need).timeline() > timeline {
        return Err(Refusal::OlderTimeline);
    }
    Ok(())
}

fn within(fresh_as_of: Option<Mono>, bound: Duration, now: Mono) -> Result<(), Refusal> {
    match fresh_as_of {
        Some(moment) if now.since(moment) <= bound => Ok(()),
        Some(_) | None => Err(Refusal::TooOld),
    }
}

fn reached(need: WriteNeed, position: Position) -> Result<(), Refusal> {
    match need {
        WriteNeed::Pending { .. } => Err(Refusal::WritePending),
        need if need.reached_by(position) => Ok(()),
        WriteNeed::None | WriteNeed::Known(_) => Err(Refusal::BehindWrite),
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
