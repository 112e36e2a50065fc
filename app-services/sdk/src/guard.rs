//! A breaker that many calls share, with the clock that it needs.

use crate::breaker::{Breaker, BreakerSettings, Outcome, Permit, Refused};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A [`Breaker`] for calls that are made side by side.
#[derive(Debug)]
pub struct Guard {
    breaker: Mutex<Breaker>,
    began: Instant,
}

impl Guard {
    /// One that lets calls through.
    pub fn new(settings: BreakerSettings) -> Self {
        Self {
            breaker: Mutex::new(Breaker::new(settings)),
            began: Instant::now(),
        }
    }

    /// Asks to make a call.
    ///
    /// # Errors
    /// As [`Breaker::ask`].
    pub fn ask(&self) -> Result<Permit, Refused> {
        self.breaker().ask(self.began.elapsed())
    }

    /// Tells how a call ended.
    pub fn tell(&self, permit: Permit, outcome: Outcome) {
        self.breaker().tell(permit, outcome, self.began.elapsed());
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        // It is changed in one step, so nobody leaves it half done.
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
