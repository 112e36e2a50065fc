//! What the control plane knows of the cluster, published as one immutable value.

use crate::{EndpointId, Mono, Position, RegionName, ShardId, SlotMap, Timeline};
use std::sync::Arc;
use std::time::Duration;

/// A server as the configuration names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Its number.
    pub id: EndpointId,
    /// The shard that it holds a copy of.
    pub shard: ShardId,
    /// Where it stands.
    pub region: RegionName,
    /// Host name, address, or the folder of a unix socket (starts with `/`).
    pub host: String,
    /// Port.
    pub port: u16,
}

/// What a server said of itself when it was last asked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Accepts writes.
    Primary,
    /// Replays another server's log.
    Standby,
}

/// Whether the last probe of a server succeeded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Health {
    /// Not asked yet.
    Unknown,
    /// Answered.
    Up,
    /// Refused or silent for longer than the probe's bound.
    Down,
}

/// A replay position and when this proxy asked for it.
///
/// It proves something only for connections to that server that were opened before `asked_at`
/// and still live: a restarted standby goes back in replay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplaySample {
    /// What had been replayed, on the replay timeline.
    pub position: Position,
    /// Read just before the question was sent.
    pub asked_at: Mono,
}

/// A server with what the probes know of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndpointState {
    /// The server.
    pub endpoint: Arc<Endpoint>,
    /// Whether it answers.
    pub health: Health,
    /// What it said it is; `None` until it answered once.
    pub role: Option<Role>,
    /// Counts the lives of the server that this proxy has told apart.
    pub incarnation: u64,
    /// Its timeline: of replay on a standby.
    pub timeline: Timeline,
    /// The newest replay position, on a standby.
    pub replay: Option<ReplaySample>,
    /// Everything acknowledged before this moment has been replayed here, as far as is proved.
    pub fresh_as_of: Option<Mono>,
    /// Smoothed round-trip time of a probe.
    pub round_trip: Duration,
    /// Why it is down, in the server's or the system's words; for operators, never for clients.
    pub last_error: Option<Arc<str>>,
}

/// A shard with all its servers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShardState {
    /// Its number.
    pub id: ShardId,
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Its servers, in the order of the configuration.
    pub endpoints: Vec<EndpointState>,
}

impl ShardState {
    /// The server that accepts writes: up, a primary, on the newest timeline seen.
    pub fn primary(&self) -> Option<&EndpointState> {
        self.endpoints
            .iter()
            .filter(|e| e.health == Health::Up && e.role == Some(Role::Primary))
            .max_by_key(|e| e.timeline)
    }
}

/// The cluster at one moment, as far as this proxy knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// Rises with every publication.
    pub version: u64,
    /// The region of this proxy.
    pub region: RegionName,
    /// Which shard owns each slot.
    pub map: Arc<SlotMap>,
    /// All shards, indexed by [`ShardId`].
    pub shards: Vec<ShardState>,
}

impl Snapshot {
    /// The shard of this number.
    pub fn shard(&self, id: ShardId) -> Option<&ShardState> {
        self.shards.get(id.index())
    }

    /// A server of a shard.
    pub fn endpoint(&self, shard: ShardId, id: EndpointId) -> Option<&EndpointState> {
        self.shard(shard)?.endpoints.iter().find(|e| e.endpoint.id == id)
    }
}
