//! What was acknowledged and when, and what a read may answer in the light of it.
//!
//! One clock, that of the test's process, gives all moments. A moment of acknowledgement is taken *after* the answer to the
//! write arrived, the beginning of a read *before* it is sent: so a read is never held to more than was promised to it.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a row was found to be: its version, or absent.
pub(crate) type Found = Option<i64>;

/// The level at which a read was promised to be answered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Level {
    /// The primary.
    Strong,
    /// Everything older than the bound, and the session's own writes.
    Ryw(Duration),
    /// Everything older than the bound.
    Bounded(Duration),
}

impl Level {
    /// The level as `SET ringway.level` takes it.
    pub(crate) fn setting(self) -> String {
        match self {
            Self::Strong => "strong".to_owned(),
            Self::Ryw(_) => "ryw".to_owned(),
            Self::Bounded(bound) => format!("bounded({}ms)", bound.as_millis()),
        }
    }

    /// What was acknowledged before this moment must be in the answer to a read that began at `began`. `None`: nothing yet.
    fn horizon(self, began: Instant) -> Option<Instant> {
        match self {
            Self::Strong => Some(began),
            Self::Ryw(bound) | Self::Bounded(bound) => began.checked_sub(bound),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.setting())
    }
}

/// Why an answer is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Wrong {
    /// Older than what the level promises.
    Stale { at_least: i64 },
    /// Older than what the session itself wrote.
    OwnWriteMissing { at_least: i64 },
    /// Never written so far.
    Unwritten { at_most: i64 },
    /// None of the states that the row went through since the promised moment.
    NotAmong(Vec<Found>),
    /// Another row's.
    OtherRow(String),
}

/// Rows with versions that only grow, written by many.
#[derive(Debug)]
pub(crate) struct Growing {
    rows: Vec<Mutex<GrowingRow>>,
}

#[derive(Default, Debug)]
struct GrowingRow {
    /// In the order of time; the versions never fall.
    acknowledged: Vec<(Instant, i64)>,
    /// Each may have raised the version by one.
    attempts: i64,
}

impl Growing {
    /// Rows 0 to `rows`, at version 0 from the beginning.
    pub(crate) fn new(rows: usize) -> Self {
        Self {
            rows: (0..rows).map(|_| Mutex::default()).collect(),
        }
    }

    fn row(&self, row: usize) -> MutexGuard<'_, GrowingRow> {
        self.rows[row].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A write is about to be sent.
    pub(crate) fn attempt(&self, row: usize) {
        self.row(row).attempts += 1;
    }

    /// A write was acknowledged, with the version that it made.
    pub(crate) fn acknowledged(&self, row: usize, version: i64) {
        let mut history = self.row(row);
        let newest = history.acknowledged.last().map_or(0, |(_, version)| *version);
        // Under the lock, so that the list is in the order of time.
        history.acknowledged.push((Instant::now(), newest.max(version)));
    }

    /// The version that was acknowledged before `moment`.
    pub(crate) fn floor(&self, row: usize, moment: Instant) -> i64 {
        let history = self.row(row);
        let known = history.acknowledged.partition_point(|(at, _)| *at <= moment);
        known
            .checked_sub(1)
            .map_or(0, |last| history.acknowledged[last].1)
    }

    /// Judges the answer to a read that began at `began`; `own` is the newest version that the session wrote itself.
    pub(crate) fn judge(
        &self,
        row: usize,
        found: Found,
        level: Level,
        began: Instant,
        own: i64,
    ) -> Result<(), Wrong> {
        let at_least = level.horizon(began).map_or(0, |horizon| self.floor(row, horizon));
        let version = found.ok_or_else(|| Wrong::NotAmong(vec![Some(at_least)]))?;
        if version < at_least {
            return Err(Wrong::Stale { at_least });
        }
        if version < own {
            return Err(Wrong::OwnWriteMissing { at_least: own });
        }
        let at_most = self.row(row).attempts;
        if version > at_most {
            return Err(Wrong::Unwritten { at_most });
        }
        Ok(())
    }

    /// The last versions that were acknowledged before `moment`, and the first after it, with their distance from it.
    pub(crate) fn around(&self, row: usize, moment: Instant) -> String {
        const BEFORE: usize = 8;
        const AFTER: usize = 2;
        let history = self.row(row);
        let known = history.acknowledged.partition_point(|(at, _)| *at <= moment);
        let shown = &history.acknowledged[known.saturating_sub(BEFORE)..];
        let shown = shown.iter().take(BEFORE + AFTER).map(|(at, version)| {
            let (sign, distance) = match at.checked_duration_since(moment) {
                Some(after) => ('+', after),
                None => ('-', moment.duration_since(*at)),
            };
            format!("{version} at {sign}{:.1} ms", distance.as_secs_f64() * 1e3)
        });
        shown.collect::<Vec<_>>().join(", ")
    }
}

/// Rows that come and go, written by one writer, step by step.
#[derive(Debug)]
pub(crate) struct Stepped {
    rows: Vec<Mutex<Vec<Step>>>,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    state: Found,
    /// `None` while it is under way, and for ever if its outcome is not known.
    acknowledged: Option<Instant>,
}

impl Stepped {
    /// Rows 0 to `rows`, absent since this moment, in `earlier` before it.
    pub(crate) fn new(rows: usize, earlier: Found) -> Self {
        let earlier = Step {
            state: earlier,
            acknowledged: None,
        };
        let beginning = Step {
            state: None,
            acknowledged: Some(Instant::now()),
        };
        Self {
            rows: (0..rows).map(|_| Mutex::new(vec![earlier, beginning])).collect(),
        }
    }

    fn row(&self, row: usize) -> MutexGuard<'_, Vec<Step>> {
        self.rows[row].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A step is about to be sent that brings these rows to these states.
    pub(crate) fn begin(&self, changes: &[(usize, Found)]) {
        for (row, state) in changes {
            self.row(*row).push(Step {
                state: *state,
                acknowledged: None,
            });
        }
    }

    /// The last step of these rows was acknowledged.
    pub(crate) fn acknowledged(&self, changes: &[(usize, Found)]) {
        let now = Instant::now();
        for (row, _) in changes {
            if let Some(step) = self.row(*row).last_mut() {
                step.acknowledged = Some(now);
            }
        }
    }

    /// Judges the answer to a read that began at `began`.
    pub(crate) fn judge(&self, row: usize, found: Found, level: Level, began: Instant) -> Result<(), Wrong> {
        let steps = self.row(row);
        let reached = |step: &Step, horizon| step.acknowledged.is_some_and(|at| at <= horizon);
        let from = level
            .horizon(began)
            .and_then(|horizon| steps.iter().rposition(|step| reached(step, horizon)))
            .unwrap_or(0);
        if steps[from..].iter().any(|step| step.state == found) {
            return Ok(());
        }
        Err(Wrong::NotAmong(
            steps[from..].iter().map(|step| step.state).collect(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_millis(100);

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    /// Versions 1 and 2, acknowledged a moment ago, with a third under way.
    fn grown() -> (Growing, Instant) {
        let history = Growing::new(2);
        for version in 1..=2 {
            history.attempt(1);
            history.acknowledged(1, version);
        }
        history.attempt(1);
        (history, Instant::now())
    }

    #[test]
    fn a_strong_read_must_have_all_that_was_acknowledged() {
        let (history, now) = grown();
        assert_eq!(history.judge(1, Some(2), Level::Strong, now, 0), Ok(()));
        assert_eq!(
            history.judge(1, Some(3), Level::Strong, now, 0),
            Ok(()),
            "may be under way"
        );
        let stale = Err(Wrong::Stale { at_least: 2 });
        assert_eq!(history.judge(1, Some(1), Level::Strong, now, 0), stale);
        assert_eq!(
            history.judge(1, Some(4), Level::Strong, now, 0),
            Err(Wrong::Unwritten { at_most: 3 })
        );
        assert!(history.judge(1, None, Level::Strong, now, 0).is_err());
        assert_eq!(history.judge(0, Some(0), Level::Strong, now, 0), Ok(()));
    }

    #[test]
    fn a_bounded_read_must_have_what_is_older_than_its_bound() {
        let (history, now) = grown();
        for level in [Level::Bounded(BOUND), Level::Ryw(BOUND)] {
            assert_eq!(
                history.judge(1, Some(0), level, now, 0),
                Ok(()),
                "all is younger than the bound"
            );
            let stale = Err(Wrong::Stale { at_least: 2 });
            assert_eq!(history.judge(1, Some(1), level, after(now, 101), 0), stale);
            assert_eq!(history.judge(1, Some(2), level, after(now, 101), 0), Ok(()));
        }
    }

    #[test]
    fn a_session_must_read_what_it_wrote() {
        let (history, now) = grown();
        let missing = Err(Wrong::OwnWriteMissing { at_least: 2 });
        assert_eq!(history.judge(1, Some(1), Level::Ryw(BOUND), now, 2), missing);
        assert_eq!(history.judge(1, Some(2), Level::Ryw(BOUND), now, 2), Ok(()));
    }

    #[test]
    fn a_row_that_comes_and_goes_is_held_to_the_states_since_the_promised_moment() {
        let history = Stepped::new(1, Some(0));
        for state in [Some(1), None, Some(2)] {
            history.begin(&[(0, state)]);
            history.acknowledged(&[(0, state)]);
        }
        let now = Instant::now();
        let judge = |found, level, began| history.judge(0, found, level, began).is_ok();
        assert!(judge(Some(2), Level::Strong, now));
        assert!(!judge(None, Level::Strong, now), "absence is older");
        assert!(!judge(Some(1), Level::Strong, now));
        assert!(
            judge(Some(1), Level::Bounded(BOUND), now),
            "all is younger than the bound"
        );
        assert!(!judge(Some(1), Level::Bounded(BOUND), after(now, 101)));
        assert!(!judge(None, Level::Bounded(BOUND), after(now, 101)));
        history.begin(&[(0, None)]);
        assert!(judge(None, Level::Strong, now), "under way");
        assert!(judge(Some(2), Level::Strong, now), "not acknowledged");
        history.begin(&[(0, Some(4))]);
        assert!(
            judge(Some(2), Level::Strong, now),
            "the outcome of the step before is not known"
        );
        history.acknowledged(&[(0, Some(4))]);
        assert!(!judge(Some(2), Level::Strong, Instant::now()));
    }

    #[test]
    fn a_history_is_told_with_distances() {
        let (history, now) = grown();
        let told = history.around(1, now);
        assert!(told.starts_with("1 at -") && told.contains(", 2 at -"), "{told}");
    }
}
