//! The region's shared store: values in Redis, behind a breaker, with a short lease so that a region asks the origin once.

use crate::breaker::{Breaker, BreakerPolicy, BreakerState};
use crate::error::StoreError;
use crate::kept::Kept;
use crate::stats::{Counter, SharedStats};
use coherence::WallAnchor;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, FromRedisValue, RedisError, cmd, pipe};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, sleep, timeout};
use topology::Mono;

/// The version in every key: a proxy that lays out values in another way uses other keys.
const LAYOUT: &str = "v1";
/// How long a try to reach a lost Redis again may take; no statement waits for it.
const REVIVAL_TIMEOUT: Duration = Duration::from_secs(2);
/// A revival makes this many calls: the first may only find that the old connection is gone.
const REVIVAL_CALLS: u32 = 3;
/// Releases a lease only if it still is the caller's.
const RELEASE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end";

/// How the region's Redis is used.
#[derive(Clone)]
pub struct SharedConfig {
    /// `redis://...`; may hold a password.
    pub url: String,
    /// Begins every key, so that several clusters can share a Redis.
    pub namespace: String,
    /// The bound of a call that a statement waits for: a few milliseconds.
    pub response_timeout: Duration,
    /// The bound of connecting, which no statement waits for longer than the bound above.
    pub connect_timeout: Duration,
    /// Larger values are neither put in nor taken out.
    pub max_value_bytes: usize,
    /// When to leave Redis alone.
    pub breaker: BreakerPolicy,
    /// One flight for the region; `None`: every proxy asks the origin for itself.
    pub lease: Option<LeasePolicy>,
    /// Reads the proxy's own clock (`CLOCK_BOOTTIME`).
    pub clock: fn() -> Mono,
}

impl fmt::Debug for SharedConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedConfig")
            .field("url", &"***")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

/// The bounds of the region's flights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeasePolicy {
    /// When a lease ends that nobody released.
    pub ttl: Duration,
    /// How long another proxy's answer is waited for.
    pub wait: Duration,
    /// How often it is looked for while waiting.
    pub poll: Duration,
}

/// The shared store as all threads see it.
#[derive(Clone, Debug)]
pub struct SharedStore {
    common: Arc<Common>,
}

#[derive(Debug)]
struct Common {
    config: SharedConfig,
    client: Client,
    breaker: Breaker,
    stats: Arc<SharedStats>,
}

/// The shared store as one thread uses it: with a connection of its own, on its own runtime.
#[derive(Clone, Debug)]
pub struct SharedClient {
    common: Arc<Common>,
    manager: ConnectionManager,
}

/// Whether this proxy may ask the origin for its region.
#[derive(Debug)]
pub enum RegionFlight {
    /// It may, and puts the answer in for the others.
    Ours(RegionLease),
    /// Another proxy asks already: see [`SharedClient::await_other`].
    Theirs,
    /// Leases are off, or Redis doesn't answer: everybody asks for itself.
    Unleased,
}

/// The right to ask the origin for the region. Lost (not released), it ends by itself.
#[derive(Debug)]
pub struct RegionLease {
    key: String,
    token: u64,
}

impl SharedStore {
    /// A store that is not connected yet.
    ///
    /// # Errors
    /// When the address can't be one.
    pub fn new(config: SharedConfig, stats: Arc<SharedStats>) -> Result<Self, StoreError> {
        let client = Client::open(config.url.as_str()).map_err(StoreError::Address)?;
        let breaker = Breaker::new(config.breaker);
        Ok(Self {
            common: Arc::new(Common {
                config,
                client,
                breaker,
                stats,
            }),
        })
    }

    /// A connection for the thread that calls this, on the runtime that it runs. It connects in the background.
    ///
    /// # Errors
    /// When the client refuses its limits.
    pub fn client(&self) -> Result<SharedClient, StoreError> {
        let config = &self.common.config;
        let limits = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(config.connect_timeout))
            .set_response_timeout(Some(config.response_timeout.max(REVIVAL_TIMEOUT)));
        let manager = ConnectionManager::new_lazy_with_config(self.common.client.clone(), limits)
            .map_err(StoreError::Client)?;
        let client = SharedClient {
            common: Arc::clone(&self.common),
            manager,
        };
        client.revive();
        Ok(client)
    }

    /// Whether Redis is asked at this moment.
    pub fn breaker_state(&self) -> BreakerState {
        self.common.breaker.state((self.common.config.clock)())
    }

    /// The counters.
    pub fn stats(&self) -> &SharedStats {
        &self.common.stats
    }
}

impl SharedClient {
    /// What the region keeps for the key of this hash and these bytes; `None` also if Redis doesn't answer in time.
    pub async fn get(&self, hash: u128, key: &[u8]) -> Option<Kept> {
        let found = self.look_up(hash, key).await;
        let stats = &self.common.stats;
        if found.is_some() {
            stats.hits.add_one()
        } else {
            stats.misses.add_one()
        }
        found
    }

    /// Keeps an answer for the region until its deadline, and ends the lease under which it was asked for.
    /// Says whether Redis took it.
    pub async fn put(&self, hash: u128, kept: &Kept, lease: Option<RegionLease>) -> bool {
        let clocks = self.clocks();
        let value = kept.encode(clocks);
        let ttl = kept.entry().deadline().since(clocks.mono);
        let fits = value.len() <= self.common.config.max_value_bytes;
        if !fits {
            self.common.stats.oversize.add_one();
        }
        if !fits || ttl < Duration::from_millis(1) {
            if let Some(lease) = lease {
                self.release(lease).await;
            }
            return false;
        }
        let mut commands = pipe();
        commands
            .cmd("SET")
            .arg(self.name('e', hash))
            .arg(value)
            .arg("PX")
            .arg(millis(ttl))
            .ignore();
        if let Some(lease) = lease {
            commands.add_command(release(&lease)).ignore();
        }
        let mut manager = self.manager.clone();
        let done: Option<()> = self
            .call(async move { commands.query_async(&mut manager).await })
            .await;
        if done.is_some() {
            self.common.stats.inserts.add_one();
        }
        done.is_some()
    }

    /// Drops what the region keeps for this hash.
    pub async fn discard(&self, hash: u128) {
        let mut delete = cmd("DEL");
        delete.arg(self.name('e', hash));
        let _dropped: Option<u64> = self.ask(delete).await;
    }

    /// Asks for the right to ask the origin for the region.
    pub async fn try_lease(&self, hash: u128) -> RegionFlight {
        let Some(policy) = self.common.config.lease else {
            return RegionFlight::Unleased;
        };
        let lease = RegionLease {
            key: self.name('l', hash),
            token: rand::random(),
        };
        let mut set = cmd("SET");
        set.arg(&lease.key)
            .arg(lease.token)
            .arg("NX")
            .arg("PX")
            .arg(millis(policy.ttl));
        match self.ask::<Option<String>>(set).await {
            Some(Some(_)) => RegionFlight::Ours(lease),
            Some(None) => {
                self.common.stats.lease_waits.add_one();
                RegionFlight::Theirs
            }
            None => RegionFlight::Unleased,
        }
    }

    /// Waits for the answer of the proxy that holds the lease, within the policy's bound. `still_valid` checks gate and cells
    /// of each candidate: the one that was there before is not what is waited for. `None`: go to the origin.
    pub async fn await_other(
        &self,
        hash: u128,
        key: &[u8],
        still_valid: impl Fn(&Kept) -> bool,
    ) -> Option<Kept> {
        let policy = self.common.config.lease?;
        let end = Instant::now() + policy.wait;
        while Instant::now() < end {
            sleep(policy.poll).await;
            if let Some(kept) = self.look_up(hash, key).await.filter(&still_valid) {
                self.common.stats.hits.add_one();
                return Some(kept);
            }
        }
        None
    }

    /// Ends a lease without an answer to keep.
    pub async fn release(&self, lease: RegionLease) {
        let _released: Option<u64> = self.ask(release(&lease)).await;
    }

    async fn look_up(&self, hash: u128, key: &[u8]) -> Option<Kept> {
        let limit = self.common.config.max_value_bytes;
        // A plain GET would take in a value of any size. One byte more than may be tells that there is more.
        let mut get = cmd("GETRANGE");
        get.arg(self.name('e', hash)).arg(0).arg(limit);
        let value: Vec<u8> = self.ask(get).await?;
        let stats = &self.common.stats;
        if value.is_empty() {
            return None;
        }
        if value.len() > limit {
            stats.oversize.add_one();
            return None;
        }
        match Kept::decode(&value, self.clocks()) {
            Ok(kept) => (kept.key() == key).then_some(kept),
            Err(_) => {
                stats.malformed.add_one();
                None
            }
        }
    }

    async fn ask<T: FromRedisValue>(&self, command: Cmd) -> Option<T> {
        let mut manager = self.manager.clone();
        self.call(async move { command.query_async(&mut manager).await })
            .await
    }

    /// One call within the bound, if the breaker lets it out.
    async fn call<T>(&self, call: impl Future<Output = Result<T, RedisError>>) -> Option<T> {
        let Common {
            config,
            breaker,
            stats,
            ..
        } = &*self.common;
        let now = (config.clock)();
        if breaker.state(now) != BreakerState::Closed {
            stats.skipped.add_one();
            // Nobody waits for the try whether it is back.
            if breaker.admits(now) {
                self.revive();
            }
            return None;
        }
        match timeout(config.response_timeout, call).await {
            Ok(Ok(answer)) => {
                breaker.succeeded();
                Some(answer)
            }
            Ok(Err(error)) if is_foreign_value(&error) => {
                breaker.succeeded();
                stats.malformed.add_one();
                None
            }
            Ok(Err(error)) => {
                self.failed(&stats.errors, &error);
                None
            }
            Err(_) => {
                self.failed(
                    &stats.errors,
                    &format_args!("no answer within {:?}", config.response_timeout),
                );
                None
            }
        }
    }

    fn failed(&self, counter: &Counter, error: &dyn fmt::Display) {
        counter.add_one();
        if self.common.breaker.failed((self.common.config.clock)()) {
            tracing::warn!(%error, "Redis is left alone until it answers again");
        }
    }

    /// Sees in the background whether Redis answers.
    fn revive(&self) {
        let Self { common, mut manager } = self.clone();
        tokio::spawn(async move {
            for _ in 0..REVIVAL_CALLS {
                let ping = cmd("PING");
                let answer = timeout(REVIVAL_TIMEOUT, ping.query_async::<String>(&mut manager)).await;
                if matches!(answer, Ok(Ok(_))) {
                    if common.breaker.state((common.config.clock)()) != BreakerState::Closed {
                        tracing::info!("Redis answers again");
                    }
                    common.breaker.succeeded();
                    return;
                }
            }
            common.breaker.failed((common.config.clock)());
        });
    }

    fn name(&self, kind: char, hash: u128) -> String {
        format!("{}:{LAYOUT}:{kind}:{hash:032x}", self.common.config.namespace)
    }

    fn clocks(&self) -> WallAnchor {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallAnchor {
            mono: (self.common.config.clock)(),
            unix_millis: millis(since),
        }
    }
}

fn release(lease: &RegionLease) -> Cmd {
    let mut eval = cmd("EVAL");
    eval.arg(RELEASE).arg(1).arg(&lease.key).arg(lease.token);
    eval
}

/// Whether Redis answered that the key holds something that isn't a string: somebody else wrote it.
fn is_foreign_value(error: &RedisError) -> bool {
    error.code() == Some("WRONGTYPE")
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
