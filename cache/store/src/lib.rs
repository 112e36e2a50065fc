//! Where cached answers are kept: in the process, and in the region's Redis. And single flight, so that many who miss ask once.
//!
//! In: a key (keyed 128-bit hash and full bytes) and what was kept for it: rows as wire bytes with their [`coherence::Entry`].
//! Out: candidates.
//!
//! **Invariant:** whether a candidate may be used is not decided here: the caller asks [`coherence::check_use`], and so does
//! whoever waited for another's flight. Losing, flushing or rolling back a store can make an answer slower, never wrong.
//! **Invariant:** a hit needs the whole key, not only its hash.
//! **Invariant:** knows no SQL and no servers of the database.
//! **Invariant:** every store is bounded in bytes, every call to Redis and every wait in time, every flight in waiters.
//! **Invariant:** a shared store that fails is a miss, never an error: after a few failures it isn't even asked.

mod breaker;
mod error;
mod flight;
mod kept;
mod memory;
mod shared;
mod stats;

pub use breaker::{Breaker, BreakerPolicy, BreakerState};
pub use error::StoreError;
pub use flight::{Boarding, FlightPolicy, Flights, Leader, Waiter};
pub use kept::{Kept, MalformedValue};
pub use memory::MemoryStore;
pub use shared::{LeasePolicy, RegionFlight, RegionLease, SharedClient, SharedConfig, SharedStore};
pub use stats::{Counter, FlightStats, MemoryStats, SharedStats};
