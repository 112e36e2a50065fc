//! What is known of every server, and which of them is a shard's primary: decisions without I/O.
//!
//! A server that says it is a primary is trusted when it stands on the newest timeline that any
//! server of the shard has shown. One on an older timeline was replaced and only doesn't know it:
//! it is published as down, so neither reads nor writes go there. Of two primaries on one timeline
//! (two standbys promoted apart) the one trusted first stays.

use crate::observation::{Life, Observation};
use std::sync::Arc;
use std::time::Duration;
use topology::{
    Endpoint, EndpointId, EndpointState, Health, Mono, Position, RegionName, ReplaySample, Role, ShardId,
    ShardState, SlotMap, Snapshot, Timeline,
};

/// The weight of an old round-trip time against a new one, as in TCP (RFC 6298: alpha = 1/8).
const SMOOTHING: u32 = 8;

/// Whether an update is worth a publication at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// A role, a timeline, a life, or whether a server is up.
    Structure,
    /// Only positions and times moved on.
    Progress,
}

/// Everything that the probes of all servers have shown.
#[derive(Debug)]
pub(crate) struct Board {
    version: u64,
    region: RegionName,
    map: Arc<SlotMap>,
    shards: Vec<Shard>,
}

#[derive(Debug)]
struct Shard {
    id: ShardId,
    name: Arc<str>,
    /// The newest timeline that any server showed. Never falls: a lost server's timeline still counts.
    newest: Timeline,
    /// What the first server that answered said; one that says otherwise isn't a copy of this shard.
    system_identifier: Option<u64>,
    trusted: Option<EndpointId>,
    servers: Vec<Server>,
}

#[derive(Debug)]
struct Server {
    state: EndpointState,
    life: Option<Life>,
    standing: Standing,
    /// When it was last asked a question that it answered.
    asked_at: Mono,
}

/// What a server's own words are worth.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Standing {
    Unknown,
    Silent(Arc<str>),
    Answers,
    /// It answers, and is not what this shard is made of.
    Stranger(Arc<str>),
}

impl Board {
    /// A board of servers that nobody has asked yet.
    pub(crate) fn new(
        region: RegionName,
        map: Arc<SlotMap>,
        shards: impl IntoIterator<Item = (Arc<str>, Vec<Endpoint>)>,
    ) -> Self {
        let shards = (0..).zip(shards).map(|(id, (name, endpoints))| Shard {
            id: ShardId(id),
            name,
            newest: Timeline(0),
            system_identifier: None,
            trusted: None,
            servers: endpoints.into_iter().map(Server::new).collect(),
        });
        Self {
            version: 0,
            region,
            map,
            shards: shards.collect(),
        }
    }

    /// A server answered.
    pub(crate) fn answered(&mut self, shard: ShardId, endpoint: EndpointId, seen: &Observation) -> Change {
        let Some(shard) = self.shards.get_mut(shard.index()) else {
            return Change::Progress;
        };
        let identifier = *shard.system_identifier.get_or_insert(seen.life.system_identifier);
        let Some(server) = shard.servers.iter_mut().find(|s| s.state.endpoint.id == endpoint) else {
            return Change::Progress;
        };
        let before = server.outline();
        server.saw(seen);
        if identifier == seen.life.system_identifier {
            shard.newest = shard.newest.max(seen.timeline);
        } else {
            let why = format!(
                "not a copy of this shard: its system identifier is {}, the shard's {identifier}",
                seen.life.system_identifier
            );
            server.standing = Standing::Stranger(Arc::from(why));
        }
        let moved = before != server.outline();
        if shard.judge() || moved {
            Change::Structure
        } else {
            Change::Progress
        }
    }

    /// A server refused, or was silent for too long.
    pub(crate) fn failed(&mut self, shard: ShardId, endpoint: EndpointId, why: &str) -> Change {
        let Some(shard) = self.shards.get_mut(shard.index()) else {
            return Change::Progress;
        };
        let Some(server) = shard.servers.iter_mut().find(|s| s.state.endpoint.id == endpoint) else {
            return Change::Progress;
        };
        if server.standing == Standing::Silent(Arc::from(why)) {
            return Change::Progress;
        }
        server.standing = Standing::Silent(Arc::from(why));
        shard.judge();
        Change::Structure
    }

    /// The primary of `shard` whose samples count, if there is one.
    pub(crate) fn trusted(&self, shard: ShardId) -> Option<EndpointId> {
        self.shards.get(shard.index()).and_then(|s| s.trusted)
    }

    /// Whether every server of `shard` has answered or failed at least once.
    pub(crate) fn all_asked(&self, shard: ShardId) -> bool {
        let asked = |s: &Shard| {
            s.servers
                .iter()
                .all(|server| server.standing != Standing::Unknown)
        };
        self.shards.get(shard.index()).is_some_and(asked)
    }

    /// Whether every server that doesn't count as silent has answered a question that was sent at `moment` or later.
    pub(crate) fn all_asked_since(&self, moment: Mono) -> bool {
        let mut servers = self.shards.iter().flat_map(|shard| &shard.servers);
        servers.all(|server| matches!(server.standing, Standing::Silent(_)) || server.asked_at >= moment)
    }

    /// Replaces the map of slots.
    pub(crate) fn set_map(&mut self, map: Arc<SlotMap>) {
        self.map = map;
    }

    /// The next snapshot; `freshness` says as of when a position of a shard is fresh.
    pub(crate) fn publish(&mut self, freshness: impl Fn(ShardId, Position) -> Option<Mono>) -> Snapshot {
        self.version += 1;
        let shards = self.shards.iter().map(|shard| ShardState {
            id: shard.id,
            name: Arc::clone(&shard.name),
            endpoints: shard
                .servers
                .iter()
                .map(|server| server.publish(|at| freshness(shard.id, at)))
                .collect(),
        });
        Snapshot {
            version: self.version,
            region: self.region.clone(),
            map: Arc::clone(&self.map),
            shards: shards.collect(),
        }
    }
}

impl Board {
    /// Takes the first server of each shard for its primary, without having asked it.
    pub(crate) fn believe(&mut self) {
        for shard in &mut self.shards {
            if let Some(first) = shard.servers.first_mut() {
                first.state.role = Some(Role::Primary);
                first.standing = Standing::Answers;
            }
            shard.judge();
        }
    }
}

impl Shard {
    /// Decides anew who is the primary and who is up; says whether the primary changed.
    fn judge(&mut self) -> bool {
        let before = self.trusted;
        let newest = self.newest;
        let candidate = |s: &&Server| {
            s.standing == Standing::Answers
                && s.state.role == Some(Role::Primary)
                && s.state.timeline == newest
        };
        let incumbent = self
            .servers
            .iter()
            .filter(candidate)
            .find(|s| Some(s.state.endpoint.id) == before);
        let trusted = incumbent
            .or_else(|| self.servers.iter().find(candidate))
            .map(|s| s.state.endpoint.id);
        self.trusted = trusted;
        for server in &mut self.servers {
            server.judge(newest, trusted);
        }
        before != trusted
    }
}

impl Server {
    fn new(endpoint: Endpoint) -> Self {
        let state = EndpointState {
            endpoint: Arc::new(endpoint),
            health: Health::Unknown,
            role: None,
            incarnation: 0,
            timeline: Timeline(0),
            replay: None,
            fresh_as_of: None,
            round_trip: Duration::ZERO,
            last_error: None,
        };
        Self {
            state,
            life: None,
            standing: Standing::Unknown,
            asked_at: Mono::default(),
        }
    }

    /// What makes a publication worth its while.
    fn outline(&self) -> (Health, Option<Role>, u64, Timeline, Standing) {
        let state = &self.state;
        (
            state.health,
            state.role,
            state.incarnation,
            state.timeline,
            self.standing.clone(),
        )
    }

    fn saw(&mut self, seen: &Observation) {
        self.asked_at = self.asked_at.max(seen.asked_at);
        let state = &mut self.state;
        if self.life != Some(seen.life) {
            self.life = Some(seen.life);
            state.incarnation += 1;
            state.replay = None;
        }
        state.role = Some(seen.role());
        state.timeline = seen.timeline;
        state.round_trip = smooth(state.round_trip, seen.round_trip);
        state.replay = match seen.role() {
            Role::Primary => None,
            Role::Standby => Some(ReplaySample {
                position: seen.position(),
                asked_at: seen.asked_at,
            }),
        };
        self.standing = Standing::Answers;
    }

    fn judge(&mut self, newest: Timeline, trusted: Option<EndpointId>) {
        let state = &mut self.state;
        let down = match &self.standing {
            Standing::Unknown => return,
            Standing::Silent(why) | Standing::Stranger(why) => Some(Arc::clone(why)),
            Standing::Answers => match state.role {
                Some(Role::Primary) if state.timeline < newest => Some(Arc::from(format!(
                    "an old primary: it is on timeline {}, the shard on {newest}",
                    state.timeline
                ))),
                Some(Role::Primary) if trusted != Some(state.endpoint.id) => {
                    Some(Arc::from(format!("a second primary on timeline {newest}")))
                }
                Some(Role::Primary | Role::Standby) | None => None,
            },
        };
        state.health = if down.is_some() { Health::Down } else { Health::Up };
        if down.is_some() {
            state.replay = None;
        }
        state.last_error = down;
    }

    fn publish(&self, freshness: impl Fn(Position) -> Option<Mono>) -> EndpointState {
        let mut state = self.state.clone();
        state.fresh_as_of = state.replay.and_then(|sample| freshness(sample.position));
        state
    }
}

fn smooth(old: Duration, new: Duration) -> Duration {
    if old.is_zero() {
        new
    } else {
        (old * (SMOOTHING - 1) + new) / SMOOTHING
    }
}

#[cfg(test)]
mod tests;
