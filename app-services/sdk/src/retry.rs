//! Whether a failed call is made again, and after what pause: pure.
//!
//! Time and randomness are arguments. A call is made again only if its error allows it ([`Retry`]), an attempt and enough of the
//! deadline are left, and the [`Budget`] that all calls of a process share has not been used up: retries are a share of the traffic, so
//! they can't multiply the load on a system that is already failing.

use crate::error::Retry;
use std::time::Duration;

/// How failed calls are made again.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Policy {
    /// Attempts in all, the first one included.
    pub attempts: u32,
    /// The longest pause before the second attempt; it doubles with each further one.
    pub base: Duration,
    /// No pause is longer.
    pub cap: Duration,
    /// What is set aside for retries.
    pub budget: BudgetSettings,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            attempts: 6,
            base: Duration::from_millis(10),
            cap: Duration::from_secs(1),
            budget: BudgetSettings::default(),
        }
    }
}

impl Policy {
    /// The pause before attempt `next` (2 is the first repetition): anything from nothing up to a bound that doubles, drawn by `dice`
    /// ("full jitter"), so that callers who failed together don't come back together.
    pub fn pause(&self, next: u32, dice: u64) -> Duration {
        let doublings = next.saturating_sub(2).min(30);
        let bound = self.base.saturating_mul(1 << doublings).min(self.cap);
        let bound_us = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(dice % bound_us.saturating_add(1))
    }

    /// The pause before the attempt after the `made`-th, or none if there is to be no other.
    ///
    /// `left` is what remains of the deadline; `has_key` says whether the call may be repeated although it may have been done.
    pub fn next(
        &self,
        retry: Retry,
        has_key: bool,
        made: u32,
        left: Option<Duration>,
        dice: u64,
    ) -> Option<Duration> {
        let allowed = match retry {
            Retry::Never => false,
            Retry::Safe => true,
            Retry::WithKey => has_key,
        };
        if !allowed || made >= self.attempts {
            return None;
        }
        let pause = self.pause(made + 1, dice);
        left.is_none_or(|left| pause < left).then_some(pause)
    }
}

/// Bounds of a [`Budget`], in thousandths of a retry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BudgetSettings {
    /// A full bucket.
    pub full: u32,
    /// What a call that succeeded puts in: 100 makes retries at most a tenth of the successful calls.
    pub earned: u32,
}

impl Default for BudgetSettings {
    fn default() -> Self {
        Self {
            full: 100_000,
            earned: 100,
        }
    }
}

/// What a retry takes out of the bucket.
const COST: u32 = 1_000;

/// A token bucket that successful calls fill and retries empty. Starts full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    settings: BudgetSettings,
    level: u32,
}

impl Budget {
    /// A full bucket.
    pub fn new(settings: BudgetSettings) -> Self {
        Self {
            settings,
            level: settings.full,
        }
    }

    /// A call succeeded.
    pub fn earn(&mut self) {
        self.level = self
            .level
            .saturating_add(self.settings.earned)
            .min(self.settings.full);
    }

    /// Takes out a retry, if there is one.
    pub fn spend(&mut self) -> bool {
        match self.level.checked_sub(COST) {
            Some(rest) => {
                self.level = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bound_of_the_pause_doubles_up_to_the_cap() {
        let policy = Policy::default();
        let bound = |next| {
            (0..2_000_000)
                .step_by(9_973)
                .map(|dice| policy.pause(next, dice))
                .max()
                .unwrap()
        };
        assert!(bound(2) <= Duration::from_millis(10) && bound(2) > Duration::from_millis(9));
        assert!(bound(4) <= Duration::from_millis(40) && bound(4) > Duration::from_millis(36));
        assert!(bound(60) <= policy.cap);
    }

    #[test]
    fn what_may_have_been_done_is_repeated_only_under_a_key() {
        let policy = Policy::default();
        let next = |retry, key| policy.next(retry, key, 1, None, 0).is_some();
        assert!(next(Retry::Safe, false) && next(Retry::WithKey, true));
        assert!(!next(Retry::WithKey, false) && !next(Retry::Never, true));
    }

    proptest! {
        #[test]
        fn no_attempt_begins_after_the_deadline_or_beyond_the_bound(made in 1..20_u32, left_us in 0..100_000_u64, dice: u64) {
            let (policy, left) = (Policy::default(), Duration::from_micros(left_us));
            if let Some(pause) = policy.next(Retry::Safe, false, made, Some(left), dice) {
                prop_assert!(made < policy.attempts && pause < left);
            }
        }

        #[test]
        fn retries_are_at_most_a_share_of_the_successes(calls in prop::collection::vec(any::<bool>(), 0..3_000)) {
            let settings = BudgetSettings { full: 10_000, earned: 100 };
            let mut budget = Budget::new(settings);
            let (mut earned, mut spent) = (0_usize, 0_usize);
            for succeeded in calls {
                if succeeded {
                    budget.earn();
                    earned += 1;
                } else if budget.spend() {
                    spent += 1;
                }
            }
            prop_assert!(spent <= 10 + earned / 10 + 1);
        }
    }
}
