//! Counters that are written behind: for what may be late and need not be exact after a crash, and nothing else.
//!
//! [`Counter::add`] counts in the process's memory. [`Counter::run`] sends what was gathered to Redis every [`CounterSettings::gather`], and every
//! [`CounterSettings::flush`] closes what Redis has into a batch and adds the batch to PostgreSQL, each key in a transaction that takes effect once for the batch. Any
//! number of processes may count and flush; a batch that one of them left is finished by another.
//!
//! **What a crash may lose.** A process that is killed loses what it has not sent: the counts of the last `gather` (and of the time that Redis was
//! gone). A Redis that loses its memory loses what was not flushed: the counts of the last `flush`. A process that is stopped in order loses nothing.
//!
//! **Invariant:** a count that has reached Redis is added to PostgreSQL once, however often sending or flushing it is repeated, as long as Redis keeps its memory.
//! **Invariant:** counts never hold more memory than 65,536 keys; what is beyond is counted in [`Counter::dropped`] and warned of.

use crate::context::Context;
use crate::database::{Database, Query, Transaction};
use crate::error::{Blame, Error, Result, Retry};
use crate::near;
use crate::store::{ShardKey, Store};
use futures_util::{StreamExt, stream};
use redis::aio::ConnectionManager;
use redis::{Cmd, FromRedisValue, RedisError};
use std::collections::HashMap;
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The most keys that a process holds.
const MAX_KEYS: usize = 65_536;

/// The most keys in one message to Redis.
const MAX_SENT: usize = 1_000;

/// The keys that are flushed at a time.
const AT_ONCE: usize = 8;

/// For one answer of Redis.
const ANSWER_BOUND: Duration = Duration::from_secs(1);

/// For one key to be flushed.
const FLUSH_BOUND: Duration = Duration::from_secs(10);

/// How long Redis knows that something was sent, in milliseconds: nothing is sent again after half of it.
const SENT_MS: u32 = 3_600_000;

/// Counts what was sent, unless it was counted.
const SEND: &str = "
if not redis.call('SET', KEYS[2], '1', 'NX', 'PX', ARGV[1]) then return 0 end
for i = 2, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1";

/// Closes what was counted into a batch.
const CLOSE: &str = "
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('RENAME', KEYS[1], KEYS[3])
redis.call('SADD', KEYS[2], ARGV[1])
return 1";

/// Forgets a batch.
const FORGET: &str = "
redis.call('DEL', KEYS[2])
redis.call('SREM', KEYS[1], ARGV[1])
return 1";

/// How late a counter may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CounterSettings {
    /// From the process to Redis.
    pub gather: Duration,
    /// From Redis to PostgreSQL.
    pub flush: Duration,
}

impl Default for CounterSettings {
    fn default() -> Self {
        Self {
            gather: Duration::from_millis(100),
            flush: Duration::from_secs(2),
        }
    }
}

/// A counter for each shard key. Clones share what was counted.
#[derive(Clone)]
pub struct Counter(Arc<Shared>);

struct Shared {
    database: Database,
    store: Store,
    name: &'static str,
    settings: CounterSettings,
    redis: ConnectionManager,
    counted: Mutex<Counted>,
    dropped: AtomicU64,
}

/// What this process has counted and Redis hasn't acknowledged.
#[derive(Default)]
struct Counted {
    open: HashMap<ShardKey, u64>,
    /// It is sent under its id until it is acknowledged.
    sending: Option<Sending>,
}

#[derive(Clone)]
struct Sending {
    id: Uuid,
    began: Instant,
    counts: Vec<(ShardKey, u64)>,
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counter")
            .field("name", &self.0.name)
            .field("settings", &self.0.settings)
            .finish_non_exhaustive()
    }
}

impl Counter {
    /// The counter of this name in the tables of `store`. Connects to Redis when it is first used.
    ///
    /// # Errors
    /// The URL is malformed.
    pub fn new(
        database: &Database,
        store: &Store,
        name: &'static str,
        redis: &str,
        settings: CounterSettings,
    ) -> Result<Self> {
        let redis = near::connect(redis, ANSWER_BOUND)?;
        Ok(Self(Arc::new(Shared {
            database: database.clone(),
            store: store.clone(),
            name,
            settings,
            redis,
            counted: Mutex::default(),
            dropped: AtomicU64::new(0),
        })))
    }

    /// Counts; returns at once.
    pub fn add(&self, key: &ShardKey, by: u32) {
        let mut counted = self.counted();
        if let Some(count) = counted.open.get_mut(key) {
            *count = count.saturating_add(by.into());
        } else if counted.open.len() < MAX_KEYS {
            counted.open.insert(key.clone(), by.into());
        } else {
            drop(counted);
            if self.0.dropped.fetch_add(by.into(), Ordering::Relaxed) == 0 {
                tracing::warn!(counter = self.0.name, "there is no room: counts are dropped");
            }
        }
    }

    /// What was counted here and isn't known to have reached Redis: what a crash of this process would lose.
    pub fn at_risk(&self) -> u64 {
        let counted = self.counted();
        let sending = counted.sending.iter().flat_map(|sending| &sending.counts);
        counted.open.values().chain(sending.map(|(_, count)| count)).sum()
    }

    /// What was not counted for want of room.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// What PostgreSQL has: late by what the settings say.
    ///
    /// # Errors
    /// As [`Query::rows`].
    pub async fn value(&self, from: &impl Query, key: &ShardKey) -> Result<i64> {
        self.0.store.check(key)?;
        let rows = from
            .rows(&self.0.store.sql.counter, &[key.parameter(), &self.0.name])
            .await?;
        Ok(rows.first().map_or(0, |row| row.get(0)))
    }

    /// Sends and flushes until `stop` ends, and then once more.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut flushed = Instant::now();
        loop {
            let last = tokio::select! {
                () = stop.as_mut() => true,
                () = tokio::time::sleep(self.0.settings.gather) => false,
            };
            let mut done = self.send().await;
            if done.is_ok() && (last || flushed.elapsed() >= self.0.settings.flush) {
                flushed = Instant::now();
                done = self.flush().await;
            }
            if let Err(error) = done {
                tracing::warn!(%error, counter = self.0.name, "counts wait");
            }
            if last {
                return;
            }
        }
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        // What it guards is changed in one step, so nobody leaves it half done.
        self.0.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what was counted to Redis; what wasn't acknowledged before goes first, under its own id.
    async fn send(&self) -> Result<()> {
        while let Some(sending) = self.next_sending() {
            if sending.began.elapsed() > Duration::from_millis(SENT_MS.into()) / 2 {
                // Redis may have forgotten that it has it; counting it twice would be wrong, losing it is allowed.
                let lost: u64 = sending.counts.iter().map(|(_, count)| count).sum();
                self.0.dropped.fetch_add(lost, Ordering::Relaxed);
                tracing::warn!(
                    counter = self.0.name,
                    lost,
                    "counts that Redis didn't acknowledge are given up"
                );
            } else {
                let mut command = self.script(SEND, &["open".to_owned(), format!("sent:{}", sending.id)]);
                command.arg(SENT_MS);
                for (key, count) in &sending.counts {
                    command.arg(key.to_string()).arg(*count);
                }
                self.ask::<i64>(&command).await?;
            }
            self.counted().sending = None;
        }
        Ok(())
    }

    fn next_sending(&self) -> Option<Sending> {
        let mut counted = self.counted();
        if counted.sending.is_none() && !counted.open.is_empty() {
            let keys: Vec<ShardKey> = counted.open.keys().take(MAX_SENT).cloned().collect();
            let counts = keys.into_iter().filter_map(|key| counted.open.remove_entry(&key));
            let sending = Sending {
                id: Uuid::now_v7(),
                began: Instant::now(),
                counts: counts.collect(),
            };
            counted.sending = Some(sending);
        }
        counted.sending.clone()
    }

    /// Adds what Redis has to PostgreSQL.
    async fn flush(&self) -> Result<()> {
        let id = Uuid::now_v7().to_string();
        let mut close = self.script(
            CLOSE,
            &["open".to_owned(), "batches".to_owned(), format!("batch:{id}")],
        );
        self.ask::<i64>(close.arg(&id)).await?;
        let mut known = Cmd::new();
        known.arg("SMEMBERS").arg(self.key("batches"));
        for batch in self.ask::<Vec<String>>(&known).await? {
            let mut held = Cmd::new();
            held.arg("HGETALL").arg(self.key(&format!("batch:{batch}")));
            let counts: HashMap<String, i64> = self.ask(&held).await?;
            let mut added = stream::iter(counts)
                .map(|(key, count)| {
                    let batch = &batch;
                    async move { self.add_once(batch, &key, count).await }
                })
                .buffer_unordered(AT_ONCE);
            while let Some(added) = added.next().await {
                added?;
            }
            let mut forget = self.script(FORGET, &["batches".to_owned(), format!("batch:{batch}")]);
            self.ask::<i64>(forget.arg(&batch)).await?;
        }
        Ok(())
    }

    async fn add_once(&self, batch: &str, key: &str, count: i64) -> Result<()> {
        let shared = &self.0;
        let shard_key = ShardKey::parse(shared.store.key_type(), key)?;
        let key = format!("counter/{}/{batch}", shared.name);
        let once = shared.store.once(shard_key.clone(), key, "count");
        let context = Context::background().with_timeout(FLUSH_BOUND);
        let work = async |tx: Transaction| {
            let parameters: &[crate::Parameter<'_>] = &[shard_key.parameter(), &shared.name, &count];
            tx.execute(&shared.store.sql.count, parameters).await
        };
        let counted = shared
            .database
            .transaction_once::<u64, Error, _, _>(&context, once, work);
        counted.await.map(drop)
    }

    /// A key of Redis; all of a counter lie in one slot of a cluster.
    fn key(&self, word: &str) -> String {
        format!("{{counter:{}:{}}}:{word}", self.0.store.name(), self.0.name)
    }

    fn script(&self, script: &str, words: &[String]) -> Cmd {
        let mut command = Cmd::new();
        command.arg("EVAL").arg(script).arg(words.len());
        for word in words {
            command.arg(self.key(word));
        }
        command
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T> {
        let failed = |error: RedisError| {
            Error::new(Blame::Network, Retry::Safe, "Redis did not do what it was asked").with_source(error)
        };
        let mut redis = self.0.redis.clone();
        match tokio::time::timeout(ANSWER_BOUND * 2, command.query_async(&mut redis)).await {
            Ok(answer) => answer.map_err(failed),
            Err(_) => Err(Error::new(Blame::Network, Retry::Safe, "Redis does not answer")),
        }
    }
}
