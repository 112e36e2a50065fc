//! When to leave a store alone that doesn't answer: a state machine with the time as an argument.
//!
//! Closed: every call goes out. After [`BreakerPolicy::failures_to_open`] failures in a row it opens:
//! no call goes out for [`BreakerPolicy::open_for`]. Then one call at a time is let through to try;
//! a success closes it, a failure opens it for another period.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use topology::Mono;

/// When the breaker opens and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BreakerPolicy {
    /// Failures in a row that open it; at least one.
    pub failures_to_open: u32,
    /// How long no call goes out before one tries again.
    pub open_for: Duration,
}

/// Whether calls go out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BreakerState {
    /// Every call goes out.
    Closed,
    /// No call goes out.
    Open,
    /// One call at a time tries whether the store is back.
    HalfOpen,
}

impl BreakerState {
    /// The word that `SHOW CACHE` and the metrics use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

/// A breaker that all threads share; reading it takes one relaxed load.
#[derive(Debug)]
pub struct Breaker {
    policy: BreakerPolicy,
    /// Failures since the last success; stays at the limit while open.
    failures: AtomicU64,
    /// When the next try may go out, in nanoseconds; meaningful while open.
    retry_at: AtomicU64,
}

impl Breaker {
    /// A closed breaker.
    pub fn new(policy: BreakerPolicy) -> Self {
        Self {
            policy,
            failures: AtomicU64::new(0),
            retry_at: AtomicU64::new(0),
        }
    }

    /// Whether a call may go out. While it is open, one caller in each period gets a yes.
    pub fn admits(&self, now: Mono) -> bool {
        if self.failures.load(Ordering::Relaxed) < self.limit() {
            return true;
        }
        let due = self.retry_at.load(Ordering::Relaxed);
        // Who moves the moment of the next try wins this one. If it never reports back (its client left), another
        // tries a period later.
        now.0 >= due
            && self
                .retry_at
                .compare_exchange(due, self.next_try(now), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// The store answered.
    pub fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// The store refused, was silent or talked nonsense. Says whether this opened the breaker.
    pub fn failed(&self, now: Mono) -> bool {
        let before = self.failures.fetch_add(1, Ordering::Relaxed);
        if before + 1 < self.limit() {
            return false;
        }
        self.retry_at.store(self.next_try(now), Ordering::Relaxed);
        before + 1 == self.limit()
    }

    /// Whether calls go out at `now`.
    pub fn state(&self, now: Mono) -> BreakerState {
        if self.failures.load(Ordering::Relaxed) < self.limit() {
            BreakerState::Closed
        } else if now.0 >= self.retry_at.load(Ordering::Relaxed) {
            BreakerState::HalfOpen
        } else {
            BreakerState::Open
        }
    }

    fn limit(&self) -> u64 {
        u64::from(self.policy.failures_to_open.max(1))
    }

    fn next_try(&self, now: Mono) -> u64 {
        now.plus(self.policy.open_for).0
    }
}

#[cfg(test)]
mod tests {
    use super::{Breaker, BreakerPolicy, BreakerState};
    use std::time::Duration;
    use topology::Mono;

    const PERIOD: Duration = Duration::from_nanos(100);

    fn breaker() -> Breaker {
        Breaker::new(BreakerPolicy {
            failures_to_open: 3,
            open_for: PERIOD,
        })
    }

    #[test]
    fn it_opens_after_failures_in_a_row_only() {
        let breaker = breaker();
        for _ in 0..2 {
            assert!(breaker.admits(Mono(0)));
            assert!(!breaker.failed(Mono(0)));
        }
        breaker.succeeded();
        assert!(!breaker.failed(Mono(0)));
        assert!(!breaker.failed(Mono(0)));
        assert_eq!(breaker.state(Mono(0)), BreakerState::Closed);
        assert!(breaker.failed(Mono(0)));
        assert_eq!(breaker.state(Mono(1)), BreakerState::Open);
        assert!(!breaker.admits(Mono(99)));
    }

    #[test]
    fn open_it_lets_one_try_through_each_period() {
        let breaker = breaker();
        for _ in 0..3 {
            breaker.failed(Mono(0));
        }
        assert_eq!(breaker.state(Mono(100)), BreakerState::HalfOpen);
        assert!(breaker.admits(Mono(100)));
        assert!(!breaker.admits(Mono(100)));
        assert!(!breaker.failed(Mono(150)), "it was open before");
        assert!(!breaker.admits(Mono(249)));
        // A try that never reports back doesn't shut the door for good.
        assert!(breaker.admits(Mono(250)));
        assert!(breaker.admits(Mono(350)));
        breaker.succeeded();
        assert_eq!(breaker.state(Mono(351)), BreakerState::Closed);
        assert!(breaker.admits(Mono(351)) && breaker.admits(Mono(351)));
    }
}
