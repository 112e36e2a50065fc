//! Which server of a shard answers.
//!
//! In: what the probes know of the shard, the level of the read and what the session needs to see. Out: the endpoint and why it
//! was taken. Freshness is what `coherence` proved of each standby; a replay sample proves something only for
//! connections that were opened before it was asked for, which the caller has to hold to ([`Choice::sample`]).

use crate::Access;
use std::fmt;
use std::time::Duration;
use topology::{
    EndpointId, EndpointState, Health, Mono, Position, RegionName, ReplaySample, Role, ShardId, ShardState,
    Snapshot,
};

/// How fresh a read must be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Level {
    /// The primary.
    Strong,
    /// The session's own writes, and everything acknowledged more than the table's bound ago.
    Ryw,
    /// Everything acknowledged more than this long ago.
    Bounded(Duration),
}

/// What the session wrote on the shard.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SessionNeed {
    /// Nothing.
    None,
    /// Up to this position.
    Known(Position),
    /// Something whose position isn't known yet, on this timeline at least.
    Pending(topology::Timeline),
}

/// A statement for one shard.
#[derive(Clone, Copy, Debug)]
pub struct EndpointRequest<'a> {
    /// The proxy's region.
    pub region: &'a RegionName,
    /// Whether the statement may change anything.
    pub access: Access,
    /// Its level.
    pub level: Level,
    /// What the session needs to see.
    pub need: SessionNeed,
    /// How far behind a standby at level `ryw` may be ([`Plan::replica_bound`](crate::Plan::replica_bound)).
    pub replica_bound: Duration,
    /// The proxy's clock.
    pub now: Mono,
}

/// The endpoint taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Choice {
    /// It; `None`: no primary is known.
    pub endpoint: Option<EndpointId>,
    /// Its role.
    pub role: Option<Role>,
    /// On a standby: the sample that proves it, for connections opened before [`ReplaySample::asked_at`] only.
    pub sample: Option<ReplaySample>,
    /// Why.
    pub reason: Reason,
}

/// Why an endpoint was taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reason {
    /// The statement may write.
    Write,
    /// Level strong.
    Strong,
    /// The position of the session's own write isn't known yet.
    WritePending,
    /// The nearest of those that may answer, a standby.
    NearestFresh,
    /// The primary is the nearest of those that may answer.
    PrimaryNearest,
    /// No standby has replayed the session's writes and is fresh enough.
    NoStandbyFresh,
    /// The shard has no standby that is up.
    NoStandby,
    /// No primary is known, or only one that is behind the session's writes.
    NoPrimary,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Write => "the statement may write",
            Self::Strong => "level strong",
            Self::WritePending => "the position of the session's own write is not known yet",
            Self::NearestFresh => "the nearest standby that is fresh enough",
            Self::PrimaryNearest => "the primary is nearest",
            Self::NoStandbyFresh => "no standby has replayed the session's writes and is fresh enough",
            Self::NoStandby => "no standby is up",
            Self::NoPrimary => "no primary is known",
        })
    }
}

/// The endpoint of `shard` for a statement.
pub fn choose(shard: &ShardState, request: &EndpointRequest<'_>) -> Choice {
    if request.access == Access::Write {
        return primary(shard, request, Reason::Write);
    }
    let bound = match (request.level, request.need) {
        (Level::Strong, _) => return primary(shard, request, Reason::Strong),
        (Level::Ryw, SessionNeed::Pending(_)) => return primary(shard, request, Reason::WritePending),
        (Level::Ryw, _) => request.replica_bound,
        (Level::Bounded(bound), _) => bound,
    };
    let standbys = || {
        shard
            .endpoints
            .iter()
            .filter(|e| e.health == Health::Up && e.role == Some(Role::Standby))
    };
    let Some(nearest) = standbys()
        .filter(|standby| answers(standby, bound, request))
        .min_by_key(|standby| distance(standby, request.region))
    else {
        let reason = if standbys().next().is_some() {
            Reason::NoStandbyFresh
        } else {
            Reason::NoStandby
        };
        return primary(shard, request, reason);
    };
    let from_primary = primary(shard, request, Reason::PrimaryNearest);
    let primary_distance = shard
        .endpoints
        .iter()
        .find(|e| Some(e.endpoint.id) == from_primary.endpoint)
        .map(|e| distance(e, request.region));
    if primary_distance.is_some_and(|primary| primary <= distance(nearest, request.region)) {
        return from_primary;
    }
    Choice {
        endpoint: Some(nearest.endpoint.id),
        role: Some(Role::Standby),
        sample: nearest.replay,
        reason: Reason::NearestFresh,
    }
}

/// The shard whose endpoint is nearest, for a read that any shard can answer.
pub fn choose_any(
    snapshot: &Snapshot,
    request: &EndpointRequest<'_>,
    need: &dyn Fn(ShardId) -> SessionNeed,
) -> Option<(ShardId, Choice)> {
    let choices = snapshot.shards.iter().filter_map(|shard| {
        let choice = choose(
            shard,
            &EndpointRequest {
                need: need(shard.id),
                ..*request
            },
        );
        let endpoint = shard
            .endpoints
            .iter()
            .find(|e| Some(e.endpoint.id) == choice.endpoint)?;
        Some((distance(endpoint, request.region), shard.id, choice))
    });
    choices
        .min_by_key(|(distance, shard, _)| (*distance, *shard))
        .map(|(_, shard, choice)| (shard, choice))
}

/// Another region first counts as farther, whatever was measured.
fn distance(endpoint: &EndpointState, region: &RegionName) -> (bool, Duration) {
    (endpoint.endpoint.region != *region, endpoint.round_trip)
}

fn answers(standby: &EndpointState, bound: Duration, request: &EndpointRequest<'_>) -> bool {
    let fresh = standby
        .fresh_as_of
        .is_some_and(|as_of| request.now.since(as_of) <= bound);
    let replayed = match (request.level, request.need, standby.replay) {
        (_, _, None) => false,
        (Level::Ryw, SessionNeed::Known(position), Some(sample)) => sample.position >= position,
        (Level::Ryw, SessionNeed::Pending(_), Some(_)) => false,
        _ => true,
    };
    fresh && replayed
}

/// The primary, unless it is of an older timeline than what the session wrote: then it lost the write.
fn primary(shard: &ShardState, request: &EndpointRequest<'_>, reason: Reason) -> Choice {
    let timeline = match request.need {
        SessionNeed::None => None,
        SessionNeed::Known(position) => Some(position.timeline),
        SessionNeed::Pending(timeline) => Some(timeline),
    };
    match shard
        .primary()
        .filter(|primary| timeline.is_none_or(|needed| primary.timeline >= needed))
    {
        Some(primary) => Choice {
            endpoint: Some(primary.endpoint.id),
            role: Some(Role::Primary),
            sample: None,
            reason,
        },
        None => Choice {
            endpoint: None,
            role: None,
            sample: None,
            reason: Reason::NoPrimary,
        },
    }
}

#[cfg(test)]
mod tests;
