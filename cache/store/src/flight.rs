//! One flight per key: of the statements of this proxy that miss the same entry, one asks the origin
//! and the others wait for its answer, within a bound.

use crate::stats::FlightStats;
use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// The table of flights is cut into this many parts, so that threads seldom meet at its locks.
const PARTS: usize = 16;

/// The bounds of the flights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlightPolicy {
    /// How many may wait for one flight; more go to the origin at once.
    pub max_waiters: usize,
    /// How many flights there may be at once; more are not shared.
    pub max_flights: usize,
}

/// The flights under way in this proxy, shared by its threads. `V` is what a flight brings, cheap to clone.
#[derive(Debug)]
pub struct Flights<V> {
    parts: Box<[Mutex<Part<V>>]>,
    policy: FlightPolicy,
    stats: Arc<FlightStats>,
}

type Part<V> = HashMap<u128, Arc<Flight<V>>>;

#[derive(Debug)]
struct Flight<V> {
    key: Box<[u8]>,
    landing: watch::Sender<Landing<V>>,
    waiters: AtomicUsize,
}

#[derive(Clone, Debug)]
enum Landing<V> {
    Flying,
    Landed(V),
    Abandoned,
}

/// The part of one caller in a flight.
#[derive(Debug)]
pub enum Boarding<V> {
    /// Ask the origin, and land with what it said.
    Lead(Leader<V>),
    /// Another asks already.
    Wait(Waiter<V>),
    /// No room: ask the origin for yourself.
    Full,
}

/// Asks the origin for everybody. Dropped without landing, it sends its waiters to the origin.
#[derive(Debug)]
pub struct Leader<V> {
    flights: Arc<Flights<V>>,
    hash: u128,
    flight: Arc<Flight<V>>,
}

/// Waits for another's answer.
#[derive(Debug)]
pub struct Waiter<V> {
    flight: Arc<Flight<V>>,
    landing: watch::Receiver<Landing<V>>,
    stats: Arc<FlightStats>,
}

impl<V: Clone> Flights<V> {
    /// No flights yet, within `policy`.
    pub fn new(policy: FlightPolicy, stats: Arc<FlightStats>) -> Arc<Self> {
        let parts = (0..PARTS).map(|_| Mutex::new(HashMap::new())).collect();
        Arc::new(Self { parts, policy, stats })
    }

    /// Joins the flight for the key of this hash and these bytes, or begins it.
    pub fn join(self: &Arc<Self>, hash: u128, key: &[u8]) -> Boarding<V> {
        let mut part = self.part(hash);
        let flights_here = part.len();
        let boarding = match part.entry(hash) {
            Slot::Occupied(there) => self.board(there.get(), key),
            Slot::Vacant(_) if flights_here >= self.policy.max_flights.div_ceil(PARTS) => Boarding::Full,
            Slot::Vacant(free) => {
                let flight = Arc::new(Flight {
                    key: key.into(),
                    landing: watch::Sender::new(Landing::Flying),
                    waiters: AtomicUsize::new(0),
                });
                free.insert(Arc::clone(&flight));
                Boarding::Lead(Leader {
                    flights: Arc::clone(self),
                    hash,
                    flight,
                })
            }
        };
        drop(part);
        match &boarding {
            Boarding::Lead(_) => self.stats.led.add_one(),
            Boarding::Full => self.stats.full.add_one(),
            Boarding::Wait(_) => {}
        }
        boarding
    }

    /// How many flights are under way.
    pub fn under_way(&self) -> usize {
        self.parts.iter().map(|part| lock(part).len()).sum()
    }

    fn board(&self, flight: &Arc<Flight<V>>, key: &[u8]) -> Boarding<V> {
        // Called under the lock of its part, so that the count can't be passed.
        if *flight.key != *key || flight.waiters.load(Ordering::Relaxed) >= self.policy.max_waiters {
            return Boarding::Full;
        }
        flight.waiters.fetch_add(1, Ordering::Relaxed);
        Boarding::Wait(Waiter {
            flight: Arc::clone(flight),
            landing: flight.landing.subscribe(),
            stats: Arc::clone(&self.stats),
        })
    }
}

impl<V> Flights<V> {
    fn part(&self, hash: u128) -> MutexGuard<'_, Part<V>> {
        // The remainder is below PARTS, and so fits and is in range.
        let index = usize::try_from(hash % PARTS as u128).unwrap_or(0);
        lock(&self.parts[index])
    }
}

impl<V> Leader<V> {
    /// Ends the flight with an entry for everybody who waits.
    pub fn land(self, value: V) {
        self.flight.landing.send_replace(Landing::Landed(value));
        // Drop takes the flight off the table.
    }
}

impl<V> Drop for Leader<V> {
    fn drop(&mut self) {
        self.flights.part(self.hash).remove(&self.hash);
        self.flight.landing.send_if_modified(|landing| {
            let flying = matches!(landing, Landing::Flying);
            if flying {
                *landing = Landing::Abandoned;
            }
            flying
        });
    }
}

impl<V: Clone> Waiter<V> {
    /// The other's answer, if it comes within `wait` and `still_valid` says yes to it. `still_valid` checks
    /// gate and cells anew: much may have been written since the flight began. `None`: go to the origin.
    pub async fn wait(mut self, wait: Duration, still_valid: impl FnOnce(&V) -> bool) -> Option<V> {
        let landed = self
            .landing
            .wait_for(|landing| !matches!(landing, Landing::Flying));
        let value = match tokio::time::timeout(wait, landed).await {
            Ok(Ok(landing)) => match &*landing {
                Landing::Landed(value) => Some(value.clone()),
                Landing::Flying | Landing::Abandoned => None,
            },
            Ok(Err(_)) | Err(_) => None,
        };
        let value = value.filter(still_valid);
        let outcome = if value.is_some() {
            &self.stats.shared
        } else {
            &self.stats.given_up
        };
        outcome.add_one();
        value
    }
}

impl<V> Drop for Waiter<V> {
    fn drop(&mut self) {
        self.flight.waiters.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that can panic runs under these locks, so a poisoned one still holds a whole table.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
