//! How often somebody may do something: a bound for all processes of a region, kept in Redis, and one for each process while Redis is gone.
//!
//! The algorithm is the generic cell rate algorithm: for each key it keeps one time, the *theoretical arrival time* of the next call. Calls may
//! come in a burst of [`Rate::calls`], and then evenly.

use crate::near::NearRedis;
use crate::web::Problem;
use aws_lc_rs::digest::{SHA256, digest};
use http::StatusCode;
use quick_cache::unsync::Cache;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// For one answer of Redis; it stands in the region.
const ANSWER_BOUND: Duration = Duration::from_millis(100);

/// After Redis has failed it is left alone for so long.
const LEFT_ALONE: Duration = Duration::from_secs(1);

/// The most keys that a process remembers while Redis is gone.
const MAX_KEYS: usize = 65_536;

/// [`next`] as Redis runs it, in one step, by its own clock. Times are in microseconds.
const SCRIPT: &str = "
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local gap, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local after = math.max(now, tonumber(redis.call('GET', KEYS[1]) or now)) + gap
if after - now > burst then return string.format('%.0f', after - now - burst) end
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.max(1, math.ceil((after - now) / 1000)))
return '0'";

/// So many calls in so much time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Calls; at least one.
    pub calls: u32,
    /// In this time.
    pub per: Duration,
}

impl Rate {
    fn gap(self) -> Duration {
        self.per / self.calls.max(1)
    }
}

/// When the next call could come after one at `now`; or how long it is too early. Pure.
fn next(rate: Rate, expected: Option<Duration>, now: Duration) -> Result<Duration, Duration> {
    let after = expected.map_or(now, |expected| expected.max(now)) + rate.gap();
    match (after - now).checked_sub(rate.per) {
        Some(early) if !early.is_zero() => Err(early),
        _ => Ok(after),
    }
}

/// Bounds how often something is done, by key. Clones share it.
#[derive(Clone)]
pub struct Limiter(Arc<Shared>);

struct Shared {
    name: &'static str,
    rate: Rate,
    redis: Option<NearRedis>,
    local: Mutex<Local>,
    began: Instant,
}

struct Local {
    expected: Cache<String, Duration>,
    /// Until when Redis is left alone.
    alone_until: Duration,
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter")
            .field("name", &self.0.name)
            .field("rate", &self.0.rate)
            .finish_non_exhaustive()
    }
}

impl Limiter {
    /// A limiter; those of one name and one Redis share their counts. Connects when it is first used.
    ///
    /// # Errors
    /// The URL is malformed.
    pub fn new(name: &'static str, rate: Rate, redis: Option<&str>) -> crate::Result<Self> {
        let redis = redis.map(|url| NearRedis::new(url, ANSWER_BOUND)).transpose()?;
        Ok(Self(Arc::new(Shared {
            name,
            rate,
            redis,
            local: Mutex::new(Local {
                expected: Cache::new(MAX_KEYS),
                alone_until: Duration::ZERO,
            }),
            began: Instant::now(),
        })))
    }

    /// Counts a call by `key`.
    ///
    /// # Errors
    /// It is one too many: a problem of status 429 that says when to come again.
    pub async fn take(&self, key: &str) -> Result<(), Problem> {
        let key = self.named(key);
        let early = match self.take_shared(&key).await {
            Some(early) => early,
            None => self.take_local(&key),
        };
        if early.is_zero() {
            return Ok(());
        }
        let seconds = early.as_secs() + u64::from(early.subsec_nanos() > 0);
        Err(
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many", "that was too often")
                .after_seconds(seconds),
        )
    }

    /// Keys may be names of people: what is stored is a digest.
    fn named(&self, key: &str) -> String {
        let mut named = format!("limit:{}:", self.0.name);
        for byte in digest(&SHA256, key.as_bytes()).as_ref().iter().take(16) {
            // Writing to a String can't fail.
            let _ = write!(named, "{byte:02x}");
        }
        named
    }

    /// By how much the call is too early, as Redis knows it; none if it doesn't answer.
    async fn take_shared(&self, key: &str) -> Option<Duration> {
        let redis = self.0.redis.as_ref()?;
        let now = self.0.began.elapsed();
        if now < self.local().alone_until {
            return None;
        }
        let rate = self.0.rate;
        let mut call = redis::pipe();
        call.cmd("EVAL").arg(SCRIPT).arg(1).arg(key);
        call.arg(micros(rate.gap())).arg(micros(rate.per));
        match redis.ask::<(String,)>(&call).await {
            Ok((early,)) => Some(Duration::from_micros(early.parse().ok()?)),
            Err(error) => {
                tracing::warn!(%error, "Redis doesn't answer: rates are bounded for each process");
                self.local().alone_until = now + LEFT_ALONE;
                None
            }
        }
    }

    fn take_local(&self, key: &str) -> Duration {
        let (mut local, now) = (self.local(), self.0.began.elapsed());
        let expected = local.expected.get(key).copied();
        match next(self.0.rate, expected, now) {
            Ok(after) => {
                local.expected.insert(key.to_owned(), after);
                Duration::ZERO
            }
            Err(early) => early,
        }
    }

    fn local(&self) -> std::sync::MutexGuard<'_, Local> {
        self.0.local.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_window_has_more_than_a_burst_and_what_has_come_evenly(
            calls in 1..20_u32,
            pauses in prop::collection::vec(0..2_000_u64, 1..200),
        ) {
            let rate = Rate { calls, per: Duration::from_secs(1) };
            let (mut expected, mut now, mut passed) = (None, Duration::ZERO, Vec::new());
            for pause in pauses {
                now += Duration::from_millis(pause);
                match next(rate, expected, now) {
                    Ok(after) => {
                        expected = Some(after);
                        passed.push(now);
                    }
                    Err(early) => prop_assert!(next(rate, expected, now + early).is_ok(), "it tells when"),
                }
            }
            for (n, from) in passed.iter().enumerate() {
                let within = passed[n..].iter().filter(|at| **at - *from < rate.per).count();
                prop_assert!(within <= 2 * calls as usize, "{within} in a window");
            }
        }
    }

    #[tokio::test]
    async fn without_redis_each_process_counts() {
        let rate = Rate {
            calls: 3,
            per: Duration::from_secs(600),
        };
        // Nobody listens there.
        for redis in [None, Some("redis://127.0.0.1:1")] {
            let limiter = Limiter::new("test", rate, redis).unwrap();
            for _ in 0..3 {
                limiter.take("a").await.unwrap();
            }
            let refused = limiter.take("a").await.unwrap_err();
            assert_eq!((refused.status, refused.retryable), (429, true));
            assert!(
                refused
                    .retry_after
                    .is_some_and(|seconds| (1..=200).contains(&seconds))
            );
            limiter.take("b").await.unwrap();
        }
    }
}
