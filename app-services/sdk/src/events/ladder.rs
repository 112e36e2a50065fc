//! What becomes of an event that a consumer could not act on: pure.

use std::time::Duration;

/// Why a consumer did not act on an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// It may work later.
    Later,
    /// It will never work.
    Never,
    /// An earlier event of its aggregate waits for its own next try.
    OutOfTurn,
}

/// Where an event goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Into the retry topic of this rung; `failures` is what it has behind it then.
    Retry {
        /// The rung, from 0.
        rung: usize,
        /// How often acting on it has failed.
        failures: u32,
    },
    /// Into the dead-letter topic.
    Dead,
}

/// The pauses of a consumer's retry topics, growing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ladder(Vec<Duration>);

impl Ladder {
    /// A ladder with a topic for each pause; they are sorted.
    pub fn new(mut pauses: Vec<Duration>) -> Self {
        pauses.sort_unstable();
        Self(pauses)
    }

    /// The pauses, by rung.
    pub fn pauses(&self) -> &[Duration] {
        &self.0
    }

    /// The fate of an event that had failed `failures` times before this.
    pub fn fate(&self, cause: Cause, failures: u32) -> Fate {
        let rung = usize::try_from(failures).unwrap_or(usize::MAX);
        match cause {
            Cause::Never => Fate::Dead,
            // Waiting is no failure: it ends with the event that is waited for, at the latest when that one is dead.
            Cause::OutOfTurn if self.0.is_empty() => Fate::Dead,
            Cause::OutOfTurn => Fate::Retry { rung: 0, failures },
            Cause::Later if rung < self.0.len() => Fate::Retry {
                rung,
                failures: failures.saturating_add(1),
            },
            Cause::Later => Fate::Dead,
        }
    }
}

/// One second, ten, a minute, ten minutes.
impl Default for Ladder {
    fn default() -> Self {
        Self([1, 10, 60, 600].map(Duration::from_secs).to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_fails_climbs_rung_by_rung_and_dies(pauses in prop::collection::vec(0..100_u64, 0..6)) {
            let rungs = pauses.len();
            let ladder = Ladder::new(pauses.into_iter().map(Duration::from_secs).collect());
            let (mut failures, mut climbed) = (0, Vec::new());
            while let Fate::Retry { rung, failures: next } = ladder.fate(Cause::Later, failures) {
                prop_assert_eq!(next, failures + 1);
                climbed.push(rung);
                failures = next;
            }
            prop_assert_eq!(climbed, (0..rungs).collect::<Vec<_>>());
            prop_assert!(ladder.pauses().is_sorted());
        }

        #[test]
        fn waiting_for_another_is_no_failure(failures in 0..9_u32) {
            let fate = Ladder::default().fate(Cause::OutOfTurn, failures);
            prop_assert_eq!(fate, Fate::Retry { rung: 0, failures });
            prop_assert_eq!(Ladder::default().fate(Cause::Never, failures), Fate::Dead);
        }
    }
}
