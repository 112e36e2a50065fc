//! Which server answers a read: what the session asks for, what this proxy has proved of each server, nearest first.

use crate::client::{Client, Failure};
use coherence::{ReadLevel, StandbyOffer, WriteNeed, primary_qualifies, standby_qualifies};
use planner::endpoint::{self, EndpointRequest, Level, Reason, SessionNeed};
use planner::explain::{self, ExplainEndpoint};
use planner::{Access, OneShard, Plan};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use topology::{EndpointId, Mono, RegionName, Role, ShardId, ShardState, Snapshot};
use wire::{ProxyError, sqlstate};

/// How long SHOW ringway.token waits for the primary to say where it stands.
const TOKEN_WAIT: Duration = Duration::from_secs(5);

/// The level of a session, as SET ringway.level takes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum SessionLevel {
    /// The session's own writes, and everything older than the table's bound.
    #[default]
    Ryw,
    /// Everything acknowledged more than this ago.
    Bounded(Duration),
    /// The primary, never a copy.
    Strong,
}

impl SessionLevel {
    /// Reads `ryw`, `strong` or `bounded(2s)`.
    ///
    /// # Errors
    /// A hint that says what is allowed.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        const ALLOWED: &str = "Use ryw, strong, or bounded(2s) with a time such as 500ms, 2s or 1m.";
        let text = text.trim().to_ascii_lowercase();
        match text.as_str() {
            "ryw" => return Ok(Self::Ryw),
            "strong" => return Ok(Self::Strong),
            "session" => return Err("Level session is not available yet. Use ryw, strong or bounded(d)."),
            _ => {}
        }
        let inner = text
            .strip_prefix("bounded(")
            .and_then(|rest| rest.strip_suffix(')'))
            .ok_or(ALLOWED)?;
        parse_duration(inner).map(Self::Bounded).ok_or(ALLOWED)
    }
}

impl fmt::Display for SessionLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ryw => f.write_str("ryw"),
            Self::Bounded(bound) => write!(f, "bounded({}ms)", bound.as_millis()),
            Self::Strong => f.write_str("strong"),
        }
    }
}

/// `500ms`, `2s`, `1m`.
fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let millis = match unit.trim() {
        "ms" => number,
        "s" => number.checked_mul(1_000)?,
        "m" | "min" => number.checked_mul(60_000)?,
        _ => return None,
    };
    Some(Duration::from_millis(millis))
}

/// How a session wants its reads answered; SET LOCAL stands until the end of the transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ReadSettings {
    level: SessionLevel,
    local_level: Option<SessionLevel>,
    cache: bool,
    local_cache: Option<bool>,
}

impl Default for ReadSettings {
    fn default() -> Self {
        Self {
            level: SessionLevel::default(),
            local_level: None,
            cache: true,
            local_cache: None,
        }
    }
}

impl ReadSettings {
    /// SET [LOCAL] ringway.level.
    pub(crate) fn set_level(&mut self, level: SessionLevel, local: bool) {
        if local {
            self.local_level = Some(level);
        } else {
            (self.level, self.local_level) = (level, None);
        }
    }

    /// SET [LOCAL] ringway.cache.
    pub(crate) fn set_cache(&mut self, on: bool, local: bool) {
        if local {
            self.local_cache = Some(on);
        } else {
            (self.cache, self.local_cache) = (on, None);
        }
    }

    /// RESET ringway.level.
    pub(crate) fn reset_level(&mut self) {
        self.set_level(SessionLevel::default(), false);
    }

    /// RESET ringway.cache.
    pub(crate) fn reset_cache(&mut self) {
        self.set_cache(true, false);
    }

    /// The transaction ended.
    pub(crate) fn end_transaction(&mut self) {
        (self.local_level, self.local_cache) = (None, None);
    }

    /// The level in force.
    pub(crate) fn level(&self) -> SessionLevel {
        self.local_level.unwrap_or(self.level)
    }

    /// Whether the cache may answer.
    pub(crate) fn cache_on(&self) -> bool {
        self.local_cache.unwrap_or(self.cache)
    }
}

/// A server chosen for a statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Choice {
    /// The shard.
    pub(crate) shard: ShardId,
    /// The server.
    pub(crate) endpoint: EndpointId,
    /// What it is.
    pub(crate) role: Role,
    /// Why it and no other.
    pub(crate) reason: Reason,
}

/// What of a statement decides who may answer it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needs {
    /// Whether it may change anything.
    pub(crate) access: Access,
    /// How far behind a standby may be.
    pub(crate) replica_bound: Duration,
    /// The level that its hints ask for.
    pub(crate) level: Option<sql::HintLevel>,
}

impl From<&Plan> for Needs {
    fn from(plan: &Plan) -> Self {
        Self {
            access: plan.access,
            replica_bound: plan.replica_bound,
            level: plan.hints.level,
        }
    }
}

impl From<&OneShard<'_>> for Needs {
    fn from(statement: &OneShard<'_>) -> Self {
        Self {
            access: statement.access,
            replica_bound: statement.replica_bound,
            level: statement.level,
        }
    }
}

impl Client {
    /// The level at which a statement is read: the session's, tightened by the statement's hints.
    fn read_level(&self, needs: &Needs) -> ReadLevel {
        let own = match self.reading.level() {
            SessionLevel::Ryw => ReadLevel::Ryw {
                bound: needs.replica_bound,
            },
            SessionLevel::Bounded(bound) => ReadLevel::Bounded { bound },
            SessionLevel::Strong => ReadLevel::Strong,
        };
        tightened(own, needs)
    }

    /// The server for a statement on `shard`.
    pub(crate) fn choose(&mut self, shard: ShardId, plan: &Plan) -> Result<Choice, Failure> {
        let database = Arc::clone(&self.database);
        self.choose_in(&database.snapshot(), shard, &plan.into(), health::boot_time())
    }

    /// The same by what the probes told last, for a caller who knows the time.
    pub(crate) fn choose_in(
        &mut self,
        snapshot: &Snapshot,
        shard: ShardId,
        needs: &Needs,
        now: Mono,
    ) -> Result<Choice, Failure> {
        let state = snapshot.shard(shard).ok_or_else(ProxyError::internal)?;
        let request = self.endpoint_request(&snapshot.region, shard, needs, now);
        chosen(state, &endpoint::choose(state, &request))
    }

    /// The shard's primary.
    pub(crate) fn choose_primary(&self, shard: ShardId) -> Result<Choice, Failure> {
        let snapshot = self.database.snapshot();
        let state = snapshot.shard(shard).ok_or_else(ProxyError::internal)?;
        let primary = state
            .primary()
            .ok_or_else(|| ProxyError::no_primary(&state.name))?;
        Ok(Choice {
            shard,
            endpoint: primary.endpoint.id,
            role: Role::Primary,
            reason: Reason::NoStandbyFresh,
        })
    }

    /// The nearest server for a statement that any shard can answer; among equally near ones each shard in turn.
    pub(crate) fn choose_any(&mut self, plan: &Plan) -> Result<Choice, Failure> {
        let database = Arc::clone(&self.database);
        let snapshot = database.snapshot();
        let shards = u16::try_from(snapshot.shards.len()).unwrap_or(1).max(1);
        let start = self.thread.next_shard(shards);
        let mut refused = None;
        let mut farther = None;
        for n in 0..shards {
            match self.choose(ShardId((start + n) % shards), plan) {
                Ok(choice) if self.is_local(&snapshot, &choice) => return Ok(choice),
                Ok(choice) => farther = farther.or(Some(choice)),
                Err(failure) => refused = Some(failure),
            }
        }
        farther.ok_or_else(|| refused.unwrap_or_else(|| ProxyError::internal().into()))
    }

    fn is_local(&self, snapshot: &Snapshot, choice: &Choice) -> bool {
        let server = snapshot.endpoint(choice.shard, choice.endpoint);
        server.is_some_and(|server| server.endpoint.region == snapshot.region)
    }

    fn endpoint_request<'a>(
        &mut self,
        region: &'a RegionName,
        shard: ShardId,
        needs: &Needs,
        now: Mono,
    ) -> EndpointRequest<'a> {
        let level = match self.read_level(needs) {
            ReadLevel::Strong => Level::Strong,
            ReadLevel::Ryw { .. } => Level::Ryw,
            ReadLevel::Bounded { bound } => Level::Bounded(bound),
        };
        // In a block that may write, a read belongs to the same snapshot as the writes: it stays on the primary.
        let may_write = self.block.as_ref().is_some_and(|block| !block.read_only);
        let need = match self.database.coherence.shard(shard) {
            None => SessionNeed::None,
            Some(_) if self.positions.is_empty() => SessionNeed::None,
            Some(state) => match self.positions.need_for(shard, &state.view()) {
                WriteNeed::None => SessionNeed::None,
                WriteNeed::Known(position) => SessionNeed::Known(position),
                WriteNeed::Pending { timeline, .. } => SessionNeed::Pending(timeline),
            },
        };
        EndpointRequest {
            region,
            access: if may_write { Access::Write } else { needs.access },
            level,
            need,
            replica_bound: needs.replica_bound,
            now,
        }
    }

    /// Whether the connection that was lent may answer: a standby's must be older than the replay position it counts on, a
    /// primary must not be one that the session's writes have left behind.
    pub(crate) fn connection_qualifies(
        &mut self,
        at: usize,
        needs: &Needs,
        now: Mono,
    ) -> Result<(), coherence::Refusal> {
        let Some(participant) = self.participants.get(at) else {
            return Ok(());
        };
        let (shard, endpoint) = (participant.backend.shard, participant.backend.endpoint);
        let Some(view) = self
            .database
            .coherence
            .shard(shard)
            .map(coherence::ShardCoherence::view)
        else {
            return Err(coherence::Refusal::NoStream);
        };
        let need = self.positions.need_for(shard, &view);
        let level = self.read_level(needs);
        match participant.backend.role {
            Role::Standby => {
                let sample = self
                    .database
                    .snapshot()
                    .endpoint(shard, endpoint)
                    .and_then(|e| e.replay);
                let sample = sample.ok_or(coherence::Refusal::TooOld)?;
                let offer = StandbyOffer {
                    sample,
                    opened_at: participant.backend.opened_at(),
                };
                standby_qualifies(&view, level, need, &offer, now)
            }
            Role::Primary => {
                let timeline = participant.backend.timeline().unwrap_or_default();
                primary_qualifies(&view, level, need, (endpoint, timeline), now)
            }
        }
    }

    /// A write on a participant was acknowledged.
    pub(crate) fn note_write_acknowledged(&mut self, at: usize) {
        self.note_write_acknowledged_at(at, health::boot_time());
    }

    /// The same for a caller who has read the time since.
    pub(crate) fn note_write_acknowledged_at(&mut self, at: usize, now: Mono) {
        if let Some(participant) = self.participants.get(at) {
            let timeline = participant.backend.timeline().unwrap_or_default();
            self.positions.wrote(participant.backend.shard, timeline, now);
        }
    }

    /// A write on `shard` was acknowledged over a connection that isn't the client's.
    pub(crate) fn positions_after_recovery(&mut self, shard: ShardId) {
        let timeline = self
            .database
            .snapshot()
            .shard(shard)
            .and_then(ShardState::primary)
            .map(|p| p.timeline);
        self.positions
            .wrote(shard, timeline.unwrap_or_default(), health::boot_time());
    }

    /// Waits until the position of this session's last write on `shard` is known.
    pub(crate) async fn resolve_position(&mut self, shard: ShardId) -> Result<(), Failure> {
        let Some(state) = self.database.coherence.shard(shard) else {
            return Err(ProxyError::internal().into());
        };
        if let WriteNeed::Pending { since, timeline } = self.positions.need_for(shard, &state.view()) {
            self.database
                .samples
                .sample_after(shard, since, timeline, TOKEN_WAIT)
                .await
                .map_err(|_| {
                    ProxyError::error(
                        sqlstate::CANNOT_CONNECT_NOW,
                        "the position of the last write is not known",
                    )
                    .with_hint("The shard's primary does not answer. Retry in a moment.")
                })?;
            self.positions.need_for(shard, &state.view());
        }
        Ok(())
    }

    /// The plan of a statement and the servers that would get it at this moment, for EXPLAIN (ROUTE).
    pub(crate) fn describe_route(&mut self, plan: &Plan) -> Vec<(String, String)> {
        let database = Arc::clone(&self.database);
        let snapshot = database.snapshot();
        let mut servers = Vec::new();
        for shard in &snapshot.shards {
            let request =
                self.endpoint_request(&snapshot.region, shard.id, &plan.into(), health::boot_time());
            let choice = endpoint::choose(shard, &request);
            let server = choice.endpoint.and_then(|id| snapshot.endpoint(shard.id, id));
            servers.push(ExplainEndpoint {
                shard: shard.name.to_string(),
                region: server.map(|s| s.endpoint.region.to_string()).unwrap_or_default(),
                role: choice.role,
                reason: choice.reason.to_string(),
            });
        }
        let mut rows = explain::rows(plan, &|shard| servers.get(shard.index()).cloned());
        rows.push(("level".to_owned(), self.reading.level().to_string()));
        rows
    }
}

/// The stricter of the session's level and the statement's hint.
pub(crate) fn tightened(own: ReadLevel, needs: &Needs) -> ReadLevel {
    use sql::HintLevel as LevelHint;
    match (own, needs.level) {
        (_, Some(LevelHint::Strong)) => ReadLevel::Strong,
        (ReadLevel::Bounded { bound }, Some(LevelHint::Bounded(hint))) => ReadLevel::Bounded {
            bound: bound.min(hint),
        },
        (ReadLevel::Ryw { bound }, Some(LevelHint::Bounded(hint))) => ReadLevel::Ryw {
            bound: bound.min(hint),
        },
        (ReadLevel::Bounded { bound }, Some(LevelHint::Ryw)) => ReadLevel::Ryw {
            bound: bound.min(needs.replica_bound),
        },
        (own, _) => own,
    }
}

fn chosen(state: &ShardState, choice: &endpoint::Choice) -> Result<Choice, Failure> {
    match (choice.endpoint, choice.role) {
        (Some(endpoint), Some(role)) => Ok(Choice {
            shard: state.id,
            endpoint,
            role,
            reason: choice.reason,
        }),
        _ => Err(ProxyError::no_primary(&state.name).into()),
    }
}
