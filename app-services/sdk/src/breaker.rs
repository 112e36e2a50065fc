//! A circuit breaker as a state machine: pure. The caller reads the clock.
//!
//! Closed, it counts outcomes over a rolling window. At `failure_percent` failures (of at least `min_calls`) it opens: calls are
//! refused at once, so that what is down is left alone and callers learn it quickly. After `open_for` it lets `probes` calls
//! through, one at a time (half-open): all of them succeed and it closes, one fails and it opens again.
//!
//! What counts as a failure is the caller's choice. The SDK counts what costs its callers time: an endpoint that can't be reached, a
//! connection that breaks, an answer that doesn't come. An endpoint that *answers* (also with 57P03 for one shard of many)
//! is up: refusing calls to the other shards because of it would make a small outage a large one.

use std::time::Duration;

/// The window is cut into so many parts; the oldest is forgotten as a whole.
const PARTS: usize = 10;

/// When a breaker opens and closes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BreakerSettings {
    /// How far back outcomes count.
    pub window: Duration,
    /// Fewer calls than this in the window prove nothing.
    pub min_calls: u32,
    /// The share of failures at which it opens.
    pub failure_percent: u32,
    /// How long it refuses calls.
    pub open_for: Duration,
    /// How many calls in a row must succeed before it closes.
    pub probes: u32,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(10),
            min_calls: 20,
            failure_percent: 50,
            open_for: Duration::from_secs(30),
            probes: 3,
        }
    }
}

/// What a breaker is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Calls pass.
    Closed,
    /// Calls are refused.
    Open,
    /// One call at a time passes.
    HalfOpen,
}

/// Leave to make a call; its outcome is told with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a probe whose outcome is never told keeps others out until it is given up"]
pub struct Permit {
    /// How often the breaker had changed its state: outcomes of calls from an earlier state don't count.
    term: u64,
}

/// How a call ended, for the breaker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The other side is up.
    Success,
    /// The other side is down or too slow.
    Failure,
    /// The call says nothing of the other side (the caller gave up).
    Unknown,
}

/// Refused: try again after this time at the earliest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused {
    /// The rest of the time for which calls are refused; for a probe under way, at most how long it is waited for.
    pub retry_after: Duration,
}

#[derive(Clone, Copy, Debug, Default)]
struct Part {
    /// The number of the part since the clock's zero.
    number: u128,
    successes: u32,
    failures: u32,
}

#[derive(Clone, Copy, Debug)]
enum Now {
    Closed,
    Open {
        until: Duration,
    },
    HalfOpen {
        succeeded: u32,
        probing_until: Option<Duration>,
    },
}

/// A circuit breaker.
#[derive(Clone, Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    now: Now,
    term: u64,
    parts: [Part; PARTS],
}

impl Breaker {
    /// A closed breaker.
    pub fn new(settings: BreakerSettings) -> Self {
        Self {
            settings,
            now: Now::Closed,
            term: 0,
            parts: [Part::default(); PARTS],
        }
    }

    /// Asks to make a call at `at`, the time since some fixed moment.
    ///
    /// # Errors
    /// [`Refused`] while open, and while a probe is under way. A probe whose outcome isn't told within `open_for` is given up.
    pub fn ask(&mut self, at: Duration) -> Result<Permit, Refused> {
        if let Now::Open { until } = self.now {
            if at < until {
                let retry_after = until.saturating_sub(at);
                return Err(Refused { retry_after });
            }
            self.enter(Now::HalfOpen {
                succeeded: 0,
                probing_until: None,
            });
        }
        if let Now::HalfOpen { probing_until, .. } = &mut self.now {
            match *probing_until {
                Some(until) if at < until => {
                    let retry_after = until.saturating_sub(at);
                    return Err(Refused { retry_after });
                }
                _ => *probing_until = Some(at.saturating_add(self.settings.open_for)),
            }
        }
        Ok(Permit { term: self.term })
    }

    /// Tells how a call ended at `at`.
    pub fn tell(&mut self, permit: Permit, outcome: Outcome, at: Duration) {
        if permit.term != self.term {
            return;
        }
        match (&mut self.now, outcome) {
            (Now::Closed, Outcome::Unknown) | (Now::Open { .. }, _) => {}
            (Now::Closed, _) => self.count(outcome, at),
            (Now::HalfOpen { .. }, Outcome::Failure) => self.open(at),
            (Now::HalfOpen { probing_until, .. }, Outcome::Unknown) => *probing_until = None,
            (
                Now::HalfOpen {
                    succeeded,
                    probing_until,
                },
                Outcome::Success,
            ) => {
                (*succeeded, *probing_until) = (*succeeded + 1, None);
                if *succeeded >= self.settings.probes {
                    self.parts = [Part::default(); PARTS];
                    self.enter(Now::Closed);
                }
            }
        }
    }

    /// What it does at `at`.
    pub fn state(&self, at: Duration) -> State {
        match self.now {
            Now::Closed => State::Closed,
            Now::Open { until } if at < until => State::Open,
            Now::Open { .. } | Now::HalfOpen { .. } => State::HalfOpen,
        }
    }

    fn count(&mut self, outcome: Outcome, at: Duration) {
        let length = (self.settings.window.as_micros() / PARTS as u128).max(1);
        let number = at.as_micros() / length;
        let index = usize::try_from(number % PARTS as u128).unwrap_or(0);
        let Some(part) = self.parts.get_mut(index) else {
            return;
        };
        if part.number != number {
            *part = Part {
                number,
                ..Part::default()
            };
        }
        match outcome {
            Outcome::Success => part.successes = part.successes.saturating_add(1),
            Outcome::Failure => part.failures = part.failures.saturating_add(1),
            Outcome::Unknown => {}
        }
        let recent = self
            .parts
            .iter()
            .filter(|part| part.number + PARTS as u128 > number);
        let (successes, failures) = recent.fold((0_u64, 0_u64), |(s, f), part| {
            (s + u64::from(part.successes), f + u64::from(part.failures))
        });
        let calls = successes + failures;
        if calls >= u64::from(self.settings.min_calls.max(1))
            && failures * 100 >= calls * u64::from(self.settings.failure_percent)
        {
            self.open(at);
        }
    }

    fn open(&mut self, at: Duration) {
        self.parts = [Part::default(); PARTS];
        self.enter(Now::Open {
            until: at.saturating_add(self.settings.open_for),
        });
    }

    fn enter(&mut self, now: Now) {
        self.now = now;
        self.term += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn call(breaker: &mut Breaker, outcome: Outcome, at: Duration) {
        let permit = breaker.ask(at).unwrap();
        breaker.tell(permit, outcome, at);
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::new(BreakerSettings::default());
        for n in 0..20 {
            let outcome = if n % 2 == 0 {
                Outcome::Success
            } else {
                Outcome::Failure
            };
            call(&mut breaker, outcome, seconds(100));
        }
        breaker
    }

    #[test]
    fn half_failures_open_it_for_thirty_seconds() {
        let mut breaker = opened();
        assert_eq!(breaker.state(seconds(100)), State::Open);
        assert_eq!(
            breaker.ask(seconds(110)),
            Err(Refused {
                retry_after: seconds(20)
            })
        );
        assert_eq!(breaker.state(seconds(130)), State::HalfOpen);
    }

    #[test]
    fn one_probe_at_a_time_and_three_close_it() {
        let mut breaker = opened();
        let probe = breaker.ask(seconds(130)).unwrap();
        assert!(breaker.ask(seconds(131)).is_err(), "another probe is under way");
        breaker.tell(probe, Outcome::Success, seconds(131));
        call(&mut breaker, Outcome::Success, seconds(131));
        assert_eq!(breaker.state(seconds(131)), State::HalfOpen);
        call(&mut breaker, Outcome::Success, seconds(132));
        assert_eq!(breaker.state(seconds(132)), State::Closed);
    }

    #[test]
    fn a_failed_probe_opens_it_again_and_a_lost_one_is_given_up() {
        let mut breaker = opened();
        let lost = breaker.ask(seconds(130)).unwrap();
        call(&mut breaker, Outcome::Failure, seconds(160));
        assert_eq!(breaker.state(seconds(161)), State::Open);
        breaker.tell(lost, Outcome::Success, seconds(162));
        assert_eq!(
            breaker.state(seconds(162)),
            State::Open,
            "an answer from an earlier term"
        );
    }

    #[test]
    fn what_left_the_window_is_forgotten() {
        let mut breaker = Breaker::new(BreakerSettings::default());
        for _ in 0..19 {
            call(&mut breaker, Outcome::Failure, seconds(100));
        }
        for _ in 0..19 {
            call(&mut breaker, Outcome::Failure, seconds(111));
        }
        assert_eq!(breaker.state(seconds(111)), State::Closed);
        call(&mut breaker, Outcome::Failure, seconds(112));
        assert_eq!(breaker.state(seconds(112)), State::Open);
    }

    proptest! {
        #[test]
        fn it_opens_only_by_failures_and_always_lets_a_probe_through_in_time(
            calls in prop::collection::vec((0..3_u8, 0..3_000_u64), 1..400)
        ) {
            let settings = BreakerSettings { open_for: seconds(5), ..BreakerSettings::default() };
            let mut breaker = Breaker::new(settings);
            let (mut at, mut refused_since) = (Duration::ZERO, None);
            for (kind, step) in calls {
                at += Duration::from_millis(step);
                match breaker.ask(at) {
                    Ok(permit) => {
                        refused_since = None;
                        let outcome = [Outcome::Success, Outcome::Failure, Outcome::Unknown][usize::from(kind)];
                        let before = breaker.state(at);
                        breaker.tell(permit, outcome, at);
                        if before != State::Open && breaker.state(at) == State::Open {
                            prop_assert_eq!(outcome, Outcome::Failure);
                        }
                    }
                    Err(refused) => {
                        prop_assert!(refused.retry_after <= settings.open_for);
                        let since = *refused_since.get_or_insert(at);
                        prop_assert!(at - since < settings.open_for);
                    }
                }
            }
        }
    }
}
