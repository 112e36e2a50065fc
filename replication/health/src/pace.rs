//! How often the servers of a database are asked: at the configured interval while statements come, rarely while none do.
//!
//! What leans on the probes' pace, and what doesn't:
//!
//! - *How fresh an answer is* doesn't. Freshness is counted from when a sample was asked for, so samples that come rarely close
//!   gates and keep standbys from answering; they never make an old answer pass for a new one.
//! - *Knowing the primary* does. Without a failover provider a promotion is noticed by asking, so a primary that was replaced is
//!   believed for an interval. The first statement after a rest must not believe it for longer: it waits until every server that is
//!   not down was asked anew, at most for one interval or a probe's bound, and all that come meanwhile wait with it.
//! - *That a server is down* does where its host has vanished. A server that closes its connection is noticed at once at any
//!   pace, and the round that ends a rest finds the others.

use crate::clock::boot_time;
use std::pin::pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use topology::{Activity, Mono};

/// A statement came in this span.
const USED: u8 = 0;
/// None came in this span so far.
const UNUSED: u8 = 1;
/// None has come for one span at least, and what is known of the servers is as old as that.
const RESTING: u8 = 2;

/// When and how far the probes of a database rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rest {
    /// They rest when no statement has come for this long; at the latest after twice as long.
    pub after: Duration,
    /// Time between two probes of a server then.
    pub interval: Duration,
}

/// The pace of a database's probes, shared with those whose statements set it.
#[derive(Debug)]
pub struct Pace {
    state: AtomicU8,
    /// Somebody has found the probes resting.
    called: Notify,
    turn: watch::Sender<Turn>,
    activity: watch::Sender<Activity>,
    /// For how long a statement waits for a round.
    patience: Duration,
}

/// Where the probes stand.
#[derive(Clone, Copy, Debug)]
struct Turn {
    stage: Stage,
    /// Everybody is to be asked anew who was last asked before.
    round: Mono,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Quick,
    Resting,
    /// A round that ends a rest is under way.
    Waking,
}

impl Pace {
    /// A pace at which a statement waits for `patience` at most.
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            state: AtomicU8::new(USED),
            called: Notify::new(),
            turn: watch::Sender::new(Turn {
                stage: Stage::Quick,
                round: Mono(0),
            }),
            activity: watch::Sender::new(Activity::Busy),
            patience,
        }
    }

    /// Takes note of a statement. `false`: what is known of the servers is of a rest; [`Pace::wake`] comes first.
    pub fn note_statement(&self) -> bool {
        // Relaxed: from USED to RESTING it takes two spans, so nobody can miss both steps.
        match self.state.load(Ordering::Relaxed) {
            USED => true,
            UNUSED => {
                let taken = self
                    .state
                    .compare_exchange(UNUSED, USED, Ordering::Relaxed, Ordering::Relaxed);
                taken != Err(RESTING)
            }
            _ => false,
        }
    }

    /// Ends a rest: returns once every server that is not down was asked anew, or after an interval at the latest.
    pub async fn wake(&self) {
        let mut turns = self.turn.subscribe();
        if turns.borrow_and_update().stage == Stage::Quick {
            return;
        }
        self.called.notify_waiters();
        let awake = turns.wait_for(|turn| turn.stage == Stage::Quick);
        // A round that takes longer leaves what is known as old as it may be at any other time.
        let _elapsed = timeout(self.patience, awake).await;
    }

    /// Waits until the probes rest.
    pub async fn rested(&self) {
        let mut turns = self.turn.subscribe();
        // The sender lives in `self`, so this can't end by its loss.
        let _alive = turns.wait_for(|turn| turn.stage == Stage::Resting).await;
    }

    /// Whether anybody uses the database.
    pub fn activity(&self) -> Activity {
        *self.activity.borrow()
    }

    /// The same, to be waited on.
    pub fn watch_activity(&self) -> watch::Receiver<Activity> {
        self.activity.subscribe()
    }

    /// Resolves once a round is begun after `asked_at`.
    pub(crate) async fn round_after(&self, asked_at: Mono) {
        let mut turns = self.turn.subscribe();
        // As above.
        let _alive = turns.wait_for(|turn| turn.round > asked_at).await;
    }

    /// Sets the pace for ever; `asked_since` waits until everybody was asked since a moment.
    pub(crate) async fn keep<F: Future<Output = ()>>(&self, rest: Rest, asked_since: impl Fn(Mono) -> F) {
        loop {
            sleep(rest.after).await;
            if self.state.load(Ordering::Relaxed) == USED {
                self.state.store(UNUSED, Ordering::Relaxed);
                continue;
            }
            let mut called = pin!(self.called.notified());
            // Before anybody can find the rest begun: no call is missed.
            called.as_mut().enable();
            self.enter(Stage::Resting, Mono(0));
            let began = self
                .state
                .compare_exchange(UNUSED, RESTING, Ordering::Relaxed, Ordering::Relaxed);
            if began.is_ok() {
                called.await;
                let round = boot_time();
                self.enter(Stage::Waking, round);
                let _elapsed = timeout(self.patience, asked_since(round)).await;
                self.state.store(USED, Ordering::Relaxed);
            }
            // Where a statement came just before the rest: who has begun to rest meanwhile is asked at once.
            self.enter(Stage::Quick, boot_time());
        }
    }

    fn enter(&self, stage: Stage, round: Mono) {
        self.activity.send_replace(match stage {
            Stage::Quick | Stage::Waking => Activity::Busy,
            Stage::Resting => Activity::Resting,
        });
        self.turn.send_modify(|turn| {
            turn.stage = stage;
            turn.round = turn.round.max(round);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{Pace, Rest};
    use std::future::ready;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::{Duration, Instant};
    use tokio::time::timeout;
    use topology::Activity;

    const REST: Rest = Rest {
        after: Duration::from_millis(20),
        interval: Duration::from_secs(5),
    };
    const SOON: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_rest_ends_with_one_round_for_all_who_come() {
        let pace = Arc::new(Pace::new(SOON));
        let rounds = Arc::new(AtomicU32::new(0));
        let (keeper, counted) = (Arc::clone(&pace), Arc::clone(&rounds));
        let keeper = tokio::spawn(async move {
            let asked = |_| {
                counted.fetch_add(1, Ordering::Relaxed);
                ready(())
            };
            keeper.keep(REST, asked).await;
        });
        timeout(SOON, pace.rested()).await.expect("a rest");
        assert_eq!(pace.activity(), Activity::Resting);
        assert!(!pace.note_statement() && !pace.note_statement());
        let all = async { tokio::join!(pace.wake(), pace.wake(), pace.wake()) };
        timeout(SOON, all).await.expect("awake");
        assert_eq!(rounds.load(Ordering::Relaxed), 1);
        timeout(SOON, pace.rested()).await.expect("another rest");
        assert_eq!(rounds.load(Ordering::Relaxed), 1, "nobody has called");
        keeper.abort();
    }

    #[tokio::test]
    async fn nobody_rests_while_statements_come() {
        let pace = Pace::new(SOON);
        let statements = async {
            let end = Instant::now() + 10 * REST.after;
            while Instant::now() < end {
                assert!(pace.note_statement());
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = pace.keep(REST, |_| ready(())) => {}
            () = pace.rested() => panic!("a rest"),
            () = statements => {}
        }
    }

    #[tokio::test]
    async fn a_round_that_does_not_end_is_not_waited_for() {
        let pace = Pace::new(Duration::from_millis(50));
        let waiting = async {
            pace.rested().await;
            assert!(!pace.note_statement());
            pace.wake().await;
        };
        tokio::select! {
            () = pace.keep(REST, |_| std::future::pending()) => {}
            ended = timeout(SOON, waiting) => ended.expect("in time"),
        }
    }
}
