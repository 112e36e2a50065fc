//! Counters of the stores, shared by all threads.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Into how many cells a counter is split, so that threads seldom write to one cache line.
const STRIPES: usize = 8;

static NEXT_STRIPE: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static STRIPE: Cell<usize> = Cell::new(NEXT_STRIPE.fetch_add(1, Ordering::Relaxed) % STRIPES);
}

/// A cell alone on its cache line, and on the one that processors fetch beside it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe(AtomicU64);

/// One counter that only rises.
#[derive(Debug, Default)]
pub struct Counter([Stripe; STRIPES]);

impl Counter {
    /// Adds one.
    pub(crate) fn add_one(&self) {
        STRIPE.with(|stripe| {
            if let Some(stripe) = self.0.get(stripe.get()) {
                stripe.0.fetch_add(1, Ordering::Relaxed);
            }
        });
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.iter().map(|stripe| stripe.0.load(Ordering::Relaxed)).sum()
    }
}

/// What the in-process store did.
#[derive(Debug, Default)]
pub struct MemoryStats {
    /// A candidate was found. Whether it was valid is not known here.
    pub hits: Counter,
    /// Nothing was found.
    pub misses: Counter,
    /// Another key had the same hash: a miss.
    pub collisions: Counter,
    /// Entries put in.
    pub inserts: Counter,
    /// Entries that were too large to put in.
    pub oversize: Counter,
    /// Entries dropped for want of room.
    pub evictions: Counter,
}

/// What the shared store did.
#[derive(Debug, Default)]
pub struct SharedStats {
    /// A candidate was found. Whether it was valid is not known here.
    pub hits: Counter,
    /// Nothing was found.
    pub misses: Counter,
    /// Entries put in.
    pub inserts: Counter,
    /// Entries that were too large to put in, or to take out.
    pub oversize: Counter,
    /// Values that no proxy of this version wrote: taken as a miss.
    pub malformed: Counter,
    /// Calls that failed or were not answered in time.
    pub errors: Counter,
    /// Calls that the breaker kept back.
    pub skipped: Counter,
    /// Flights that found the region's lease with another proxy.
    pub lease_waits: Counter,
}

/// What the flights did.
#[derive(Debug, Default)]
pub struct FlightStats {
    /// Flights begun.
    pub led: Counter,
    /// Waiters that got the answer of another's flight.
    pub shared: Counter,
    /// Waiters that went to the origin after all: too late, not valid any more, or abandoned.
    pub given_up: Counter,
    /// Callers that found no room to wait.
    pub full: Counter,
}

#[cfg(test)]
mod tests {
    use super::Counter;

    #[test]
    fn nothing_is_lost_between_threads() {
        let counter = Counter::default();
        std::thread::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| (0..1000).for_each(|_| counter.add_one()));
            }
        });
        assert_eq!(counter.get(), 10_000);
    }
}
