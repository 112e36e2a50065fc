//! What the tests of a binary share: the first one starts it, and it ends with the last one.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use anyhow::Result;

/// The place of something that tests share.
#[derive(Debug, Default)]
pub struct Shared<T>(Mutex<Weak<T>>);

impl<T> Shared<T> {
    /// Nothing is there.
    pub const fn new() -> Self {
        Self(Mutex::new(Weak::new()))
    }

    /// What is shared, started unless it is there.
    ///
    /// # Errors
    /// Those of `start`.
    pub fn get(&self, start: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
        // A test that failed while it started it leaves nothing that could be half done.
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = place.upgrade() {
            return Ok(there);
        }
        let started = Arc::new(start()?);
        *place = Arc::downgrade(&started);
        Ok(started)
    }
}

/// For tests that would disturb each other.
#[derive(Debug, Default)]
pub struct Turns(Mutex<()>);

impl Turns {
    /// It is nobody's turn.
    pub const fn new() -> Self {
        Self(Mutex::new(()))
    }

    /// Waits until it is this test's turn with `shared`, which goes on running for it meanwhile.
    pub fn take<T>(&'static self, shared: Arc<T>) -> Turn<T> {
        let turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Turn { shared, _turn: turn }
    }
}

/// What is shared, while it is one test's turn.
#[derive(Debug)]
pub struct Turn<T> {
    shared: Arc<T>,
    _turn: MutexGuard<'static, ()>,
}

impl<T> Deref for Turn<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.shared
    }
}
