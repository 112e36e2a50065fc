//! One server's prober: asks it at an interval, on demand, and at once when its connection ends.

use crate::board::Change;
use crate::clock::boot_time;
use crate::error::ProbeError;
use crate::link::Link;
use crate::monitor::Findings;
use crate::observation::{Life, Observation, Place};
use crate::pace::Rest;
use crate::question::{Answer, REPLAY_TIMELINE, WITH_WITNESS, WITHOUT_WITNESS, replay_timeline};
use pool::{BackendTarget, Replication, Stream};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use topology::{Activity, EndpointId, Mono, ShardId};

/// The longest pause between two probes of a server that is down, unless the interval is longer.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Intervals are stretched or shortened by up to this part of themselves, so that proxies don't ask in step.
const JITTER: f64 = 0.1;
/// A failed probe is repeated after this part of the interval, until the server counts as down.
const RETRY_PART: u32 = 8;
/// How the probes call themselves in `pg_stat_activity`.
const APPLICATION_NAME: &str = "ringway probe";

/// How the servers are probed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProbeConfig {
    /// Time between two probes of a server that is up.
    pub interval: Duration,
    /// The bound of connecting, and that of an answer.
    pub timeout: Duration,
    /// Failed probes in a row until a server counts as down; at least one.
    pub failures_until_down: u32,
    /// When the probes rest, and how far.
    pub rest: Rest,
}

/// Why a probe is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Occasion {
    /// The interval is over, or something happened to the connection.
    Due,
    /// Somebody needs a sample.
    Asked,
}

/// What the connection can be asked. A standby's replay timeline is told to replication connections only; a primary is
/// asked over an ordinary one, because its walsenders are few and standbys need them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Ordinary,
    Replication,
}

/// Whether the next question to a primary reads the witness.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Witness {
    Unread,
    Read,
}

#[derive(Debug)]
struct Connected {
    link: Link<Stream>,
    kind: Kind,
}

#[derive(Debug)]
pub(crate) struct Prober {
    shard: ShardId,
    endpoint: EndpointId,
    target: BackendTarget,
    config: ProbeConfig,
    findings: Arc<Findings>,
    link: Option<Connected>,
    /// What the next connection is for.
    kind: Kind,
    witness: Witness,
    connections: u64,
    failures: u32,
    asked_at: Mono,
    due: Instant,
}

impl Prober {
    pub(crate) fn new(
        shard: ShardId,
        endpoint: EndpointId,
        mut target: BackendTarget,
        config: ProbeConfig,
        findings: Arc<Findings>,
    ) -> Self {
        target.connect_timeout = config.timeout;
        target.parameters.retain(|(name, _)| name != "application_name");
        target
            .parameters
            .push(("application_name".to_owned(), APPLICATION_NAME.to_owned()));
        Self {
            shard,
            endpoint,
            target,
            config,
            findings,
            link: None,
            kind: Kind::Ordinary,
            witness: Witness::Unread,
            connections: 0,
            failures: 0,
            asked_at: Mono::default(),
            due: Instant::now(),
        }
    }

    /// Probes for ever.
    pub(crate) async fn run(mut self) {
        let mut occasion = Occasion::Due;
        loop {
            match self.observe().await {
                Ok(seen) => self.answered(&seen, occasion),
                Err(error) => self.failed(&error),
            }
            occasion = self.rest().await;
        }
    }

    fn answered(&mut self, seen: &Observation, occasion: Occasion) {
        if self.failures > 0 || occasion == Occasion::Due {
            self.due = Instant::now() + jittered(self.interval());
        }
        self.failures = 0;
        let change = self.findings.answered(self.shard, self.endpoint, seen, occasion);
        if change == Change::Structure {
            let (role, timeline) = (seen.role(), seen.timeline);
            tracing::info!(shard = %self.shard, endpoint = %self.endpoint, ?role, %timeline, "server changed");
        }
    }

    /// Time between two probes of a server that is up.
    fn interval(&self) -> Duration {
        match self.findings.pace().activity() {
            Activity::Busy => self.config.interval,
            Activity::Resting => self.config.interval.max(self.config.rest.interval),
        }
    }

    fn failed(&mut self, error: &ProbeError) {
        if !error.spares_the_link() {
            self.link = None;
        }
        self.failures = self.failures.saturating_add(1);
        let needed = self.config.failures_until_down.max(1);
        self.due = Instant::now()
            + match self.failures.checked_sub(needed) {
                None => self.config.interval / RETRY_PART,
                Some(further) => jittered(backoff(self.config.interval, further)),
            };
        if self.failures >= needed {
            let why = error.to_string();
            if self.findings.failed(self.shard, self.endpoint, &why) == Change::Structure {
                tracing::warn!(shard = %self.shard, endpoint = %self.endpoint, error = why, "server is down");
            }
        }
    }

    /// Waits for the next occasion.
    async fn rest(&mut self) -> Occasion {
        let trusted = self.findings.trusts(self.shard, self.endpoint);
        let findings = Arc::clone(&self.findings);
        let Some(Connected { link, .. }) = &mut self.link else {
            sleep_until(self.due).await;
            return Occasion::Due;
        };
        let error = tokio::select! {
            () = sleep_until(self.due) => return Occasion::Due,
            () = findings.requests().needed_after(self.shard, self.asked_at), if trusted => return Occasion::Asked,
            () = findings.pace().round_after(self.asked_at) => return Occasion::Due,
            error = link.ended() => error,
        };
        tracing::debug!(shard = %self.shard, endpoint = %self.endpoint, %error, "the probe's connection ended");
        self.link = None;
        // A server that ends each connection at once must not keep us busy.
        sleep(self.config.interval / RETRY_PART).await;
        Occasion::Due
    }

    async fn observe(&mut self) -> Result<Observation, ProbeError> {
        let seen = self.ask_within_bound().await;
        match seen {
            // A standby can't tell its timeline over an ordinary connection.
            Ok(None) => self.link = None,
            Err(error) if error.is_undefined_table() => self.witness = Witness::Unread,
            Ok(Some(seen)) => return Ok(seen),
            Err(error) => return Err(error),
        }
        let seen = self.ask_within_bound().await?;
        seen.ok_or(ProbeError::Answer("a standby without a timeline"))
    }

    /// One question and its answer. Dropped in the middle, the link would be out of step: it is put back only after the answer.
    async fn ask_within_bound(&mut self) -> Result<Option<Observation>, ProbeError> {
        let mut connected = match self.link.take() {
            Some(connected) => connected,
            None => self.connect().await?,
        };
        let bound = self.config.timeout;
        self.asked_at = boot_time();
        let answer = timeout(bound, ask(&mut connected, self.witness)).await;
        let round_trip = boot_time().since(self.asked_at);
        let answer = answer.map_err(|_| ProbeError::TimedOut { bound })?;
        if !answer.as_ref().is_err_and(|error| !error.spares_the_link()) {
            self.link = Some(connected);
        }
        let answer = answer?;
        (self.kind, self.witness) = match answer.place {
            Place::Insert { .. } if answer.witness_readable => (Kind::Ordinary, Witness::Read),
            Place::Insert { .. } => (Kind::Ordinary, Witness::Unread),
            Place::Replay { .. } => (Kind::Replication, Witness::Unread),
        };
        let life = Life {
            system_identifier: answer.system_identifier,
            started_at_us: answer.started_at_us,
            connection: self.connections,
        };
        let (place, asked_at) = (answer.place, self.asked_at);
        Ok(answer.timeline.map(|timeline| Observation {
            life,
            timeline,
            place,
            asked_at,
            round_trip,
        }))
    }

    async fn connect(&mut self) -> Result<Connected, ProbeError> {
        // Behind a new connection there may be a standby, which can't read the witness.
        self.witness = Witness::Unread;
        self.target.replication = match self.kind {
            Kind::Ordinary => Replication::None,
            Kind::Replication => Replication::Database,
        };
        let connection = pool::connect(&self.target, boot_time).await?;
        self.connections += 1;
        Ok(Connected {
            link: Link::new(connection.stream),
            kind: self.kind,
        })
    }
}

/// Asks what `kind` of connection can be asked, in one round trip.
///
/// A standby names its position first and its timeline second: should it move on to the next timeline in between, it has by
/// then replayed everything before the switch, so the pair still is a lower bound.
async fn ask(connected: &mut Connected, witness: Witness) -> Result<Answer, ProbeError> {
    let question = match witness {
        Witness::Read => WITH_WITNESS,
        Witness::Unread => WITHOUT_WITNESS,
    };
    let Connected { link, kind } = connected;
    match kind {
        Kind::Ordinary => {
            let [row] = link.ask([question]).await?;
            Answer::read(&row)
        }
        Kind::Replication => {
            let [row, identity] = link.ask([question, REPLAY_TIMELINE]).await?;
            let mut answer = Answer::read(&row)?;
            if matches!(answer.place, Place::Replay { .. }) {
                answer.timeline = Some(replay_timeline(&identity)?);
            }
            Ok(answer)
        }
    }
}

fn jittered(span: Duration) -> Duration {
    span.mul_f64(1.0 + JITTER * (2.0 * rand::random::<f64>() - 1.0))
}

/// The pause after `further` failures beyond those that made the server count as down: doubled each time.
fn backoff(interval: Duration, further: u32) -> Duration {
    interval
        .saturating_mul(2_u32.saturating_pow(further))
        .min(BACKOFF_MAX.max(interval))
}

#[cfg(test)]
mod tests {
    use super::{BACKOFF_MAX, backoff, jittered};
    use std::time::Duration;

    #[test]
    fn backoff_doubles_up_to_its_bound() {
        let interval = Duration::from_millis(500);
        assert_eq!(backoff(interval, 0), interval);
        assert_eq!(backoff(interval, 2), interval * 4);
        assert_eq!(backoff(interval, u32::MAX), BACKOFF_MAX);
        assert_eq!(backoff(Duration::from_secs(60), 9), Duration::from_secs(60));
    }

    #[test]
    fn jitter_stays_within_its_part() {
        for _ in 0..1000 {
            let span = jittered(Duration::from_millis(1000));
            assert!((Duration::from_millis(899)..=Duration::from_millis(1101)).contains(&span));
        }
    }
}
