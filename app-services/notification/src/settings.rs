//! How the service is set up.

use crate::channels::Provider;
use crate::model::{Channel, Priority};
use ringway_sdk::events::Ladder;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The providers by channel; a channel without one is not used.
pub type Providers = BTreeMap<Channel, Arc<dyn Provider>>;

/// The pauses before further tries, by priority.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ladders {
    /// Of low ones.
    pub low: Ladder,
    /// Of normal ones.
    pub normal: Ladder,
    /// Of high ones.
    pub high: Ladder,
    /// Of critical ones.
    pub critical: Ladder,
}

impl Ladders {
    /// The ladder of a priority.
    pub(crate) fn of(&self, priority: Priority) -> Ladder {
        match priority {
            Priority::Low => &self.low,
            Priority::Normal => &self.normal,
            Priority::High => &self.high,
            Priority::Critical => &self.critical,
        }
        .clone()
    }
}

/// The more urgent, the sooner a next try, and the earlier there is none.
impl Default for Ladders {
    fn default() -> Self {
        let ladder =
            |seconds: &[u64]| Ladder::new(seconds.iter().copied().map(Duration::from_secs).collect());
        Self {
            low: ladder(&[60, 1_800]),
            normal: ladder(&[10, 300]),
            high: ladder(&[2, 30, 120]),
            critical: ladder(&[1, 5, 20]),
        }
    }
}

/// How the service is set up.
#[derive(Clone)]
pub struct Settings {
    /// Where other instances reach this one by gRPC: `http://10.0.0.7:8080`.
    pub address: String,
    /// Who brings letters.
    pub providers: Providers,
    /// How handing over is tried again.
    pub ladders: Ladders,
    /// The most sockets of this instance.
    pub sockets: usize,
    /// Between two looks at the shards for what nobody told of; the second one while there is no Redis.
    pub sweep: (Duration, Duration),
    /// Sockets are sent elsewhere within this time when the instance ends: less than the server waits for its tasks.
    pub drain: Duration,
    /// Between two looks for what is held back no longer.
    pub release: Duration,
    /// Between two deletions of what is too old.
    pub expiry: Duration,
}

impl Settings {
    /// The defaults, for an instance at an address.
    pub fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            providers: Providers::new(),
            ladders: Ladders::default(),
            // A process may hold 20,000 files, some of which are not sockets.
            sockets: 18_000,
            sweep: (Duration::from_secs(10), Duration::from_secs(2)),
            drain: Duration::from_secs(8),
            release: Duration::from_secs(1),
            expiry: Duration::from_secs(3_600),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("address", &self.address)
            .field("providers", &self.providers)
            .finish_non_exhaustive()
    }
}
