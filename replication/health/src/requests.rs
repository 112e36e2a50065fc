//! Samples on demand: who needs to know where a primary stands after a moment asks here.
//!
//! A write that nobody asks about costs nothing. Everybody who asks about one shard shares its
//! samples: at most one is in flight, and it answers all those whose moment it was begun after.

use coherence::PrimarySample;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use topology::{Mono, ShardId, Timeline};

/// Why a sample was not had.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SampleError {
    /// The caller named a shard that doesn't exist.
    #[error("there is no shard {0}")]
    UnknownShard(ShardId),
    /// No server of the shard is trusted as its primary.
    #[error("shard {0} has no primary that could be asked")]
    NoPrimary(ShardId),
    /// The primary didn't answer in time.
    #[error("the primary of shard {shard} gave no sample within {waited:?}")]
    TimedOut {
        /// The shard.
        shard: ShardId,
        /// How long the caller was ready to wait.
        waited: Duration,
    },
    /// The probes are shut down.
    #[error("the probes are shut down")]
    ShutDown,
}

/// A handle for asking; cheap to clone, and usable from any thread and runtime with timers.
#[derive(Clone, Debug)]
pub struct SampleRequests {
    shards: Arc<[Desk]>,
}

/// Where the askers of one shard and the prober of its primary meet.
#[derive(Debug)]
struct Desk {
    /// The latest moment that somebody needs a sample begun after.
    wanted: watch::Sender<Mono>,
    answers: watch::Sender<Answers>,
}

#[derive(Clone, Copy, Debug)]
struct Answers {
    latest: Option<PrimarySample>,
    source: Source,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// The probes have not asked everybody yet.
    Unsettled,
    Primary,
    Nobody,
    ShutDown,
}

impl SampleRequests {
    pub(crate) fn new(shards: usize) -> Self {
        let desk = |_| Desk {
            wanted: watch::Sender::new(Mono(0)),
            answers: watch::Sender::new(Answers {
                latest: None,
                source: Source::Unsettled,
            }),
        };
        Self {
            shards: (0..shards).map(desk).collect(),
        }
    }

    /// The newest sample of `shard`, without asking.
    pub fn latest(&self, shard: ShardId) -> Option<PrimarySample> {
        self.shards
            .get(shard.index())
            .and_then(|desk| desk.answers.borrow().latest)
    }

    /// A sample of the primary of `shard`, on `timeline` or a newer one, whose question was sent at
    /// `after` or later. One that is in flight when this is called does not count.
    ///
    /// # Errors
    /// When no primary is known, or none answers within `wait`: the position stays unknown, and the
    /// caller goes to the primary.
    pub async fn sample_after(
        &self,
        shard: ShardId,
        after: Mono,
        timeline: Timeline,
        wait: Duration,
    ) -> Result<PrimarySample, SampleError> {
        let desk = self
            .shards
            .get(shard.index())
            .ok_or(SampleError::UnknownShard(shard))?;
        let mut answers = desk.answers.subscribe();
        if let Some(done) = verdict(&answers.borrow(), shard, after, timeline) {
            return done;
        }
        desk.wanted.send_if_modified(|wanted| {
            let raise = *wanted < after;
            *wanted = (*wanted).max(after);
            raise
        });
        let answer = answers.wait_for(|seen| verdict(seen, shard, after, timeline).is_some());
        match tokio::time::timeout(wait, answer).await {
            Ok(Ok(seen)) => verdict(&seen, shard, after, timeline).unwrap_or(Err(SampleError::ShutDown)),
            Ok(Err(_)) => Err(SampleError::ShutDown),
            Err(_) => Err(SampleError::TimedOut { shard, waited: wait }),
        }
    }

    /// Hands out a sample of the trusted primary.
    pub(crate) fn answer(&self, shard: ShardId, sample: PrimarySample) {
        self.update(shard, |answers| answers.latest = Some(sample));
    }

    /// Says whether there is anybody to ask.
    pub(crate) fn set_source(&self, shard: ShardId, source: Source) {
        if self
            .shards
            .get(shard.index())
            .is_some_and(|desk| desk.answers.borrow().source != source)
        {
            self.update(shard, |answers| answers.source = source);
        }
    }

    /// Tells everybody who waits that no more samples come.
    pub(crate) fn shut_down(&self) {
        for desk in self.shards.iter() {
            desk.answers
                .send_modify(|answers| answers.source = Source::ShutDown);
        }
    }

    /// Resolves once somebody needs a sample of `shard` that was begun after `asked_at`.
    pub(crate) async fn needed_after(&self, shard: ShardId, asked_at: Mono) {
        let Some(desk) = self.shards.get(shard.index()) else {
            return std::future::pending().await;
        };
        let mut wanted = desk.wanted.subscribe();
        // The sender lives in `self`, so this can't end by its loss.
        let _alive = wanted.wait_for(|moment| *moment > asked_at).await;
    }

    fn update(&self, shard: ShardId, change: impl FnOnce(&mut Answers)) {
        if let Some(desk) = self.shards.get(shard.index()) {
            desk.answers.send_modify(change);
        }
    }
}

/// What the answers so far mean to somebody who waits; `None`: go on waiting.
fn verdict(
    answers: &Answers,
    shard: ShardId,
    after: Mono,
    timeline: Timeline,
) -> Option<Result<PrimarySample, SampleError>> {
    match (answers.latest, answers.source) {
        (_, Source::ShutDown) => Some(Err(SampleError::ShutDown)),
        (Some(sample), _) if sample.asked_at >= after && sample.position.timeline >= timeline => {
            Some(Ok(sample))
        }
        (_, Source::Nobody) => Some(Err(SampleError::NoPrimary(shard))),
        (_, Source::Primary | Source::Unsettled) => None,
    }
}

#[cfg(test)]
mod tests;
