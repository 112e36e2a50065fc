//! Acting on events: once in effect, and in order although some have to wait.
//!
//! The event's id is recorded by the transaction that acts on it, on the same shard; what is delivered again finds it there. What can't be
//! acted on goes to retry topics with growing pauses, and at last to a dead-letter topic with the reason. Meanwhile it is *parked*: a row says so,
//! and later events of its aggregate go the same way until it is done or dead.
//!
//! An event waits in its place, and those behind it in its partition too, as long as it is the database that doesn't work: an outage is no
//! reason to give up events.

use super::event::Event;
use super::kafka::{KafkaSettings, Member, TopicSettings, ensure_topics};
use super::ladder::{Cause, Fate, Ladder};
use super::letter::{ConsumerTopics, failures, pass_on};
use crate::context::{Context, Session};
use crate::database::{Database, Isolation, Key, Transaction};
use crate::error::{Blame, Error, FromSdk, Result};
use crate::retry::{BudgetSettings, Policy};
use crate::store::{ShardKey, Store};
use futures_util::future::{join_all, try_join_all};
use rdkafka::consumer::Consumer as _;
use rdkafka::message::{Message, OwnedMessage};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// After so long without a heartbeat Kafka gives a consumer's partitions to others.
const SESSION_TIMEOUT_MS: &str = "10000";

/// What a consumer adds to a pause before Kafka takes it for dead.
const POLL_MARGIN: Duration = Duration::from_secs(300);

/// Pauses while the database or Kafka doesn't work.
const OUTAGE: Policy = Policy {
    attempts: u32::MAX,
    base: Duration::from_millis(50),
    cap: Duration::from_secs(2),
    budget: BudgetSettings { full: 0, earned: 0 },
};

/// Why a handler did not act on an event.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The SDK's error. One that blames the caller is retried as [`Failure::Later`] is; any other is waited out.
    #[error(transparent)]
    Sdk(#[from] Error),
    /// It may work later; this is why not now.
    #[error("{0}")]
    Later(String),
    /// It will never work; this is why.
    #[error("{0}")]
    Never(String),
}

impl FromSdk for Failure {
    fn as_sdk(&self) -> Option<&Error> {
        match self {
            Self::Sdk(error) => Some(error),
            Self::Later(_) | Self::Never(_) => None,
        }
    }
}

/// Whether events of one aggregate keep their order although one of them has to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Later ones wait for earlier ones.
    PerAggregate,
    /// None waits for another.
    None,
}

/// What is consumed, and how.
#[derive(Clone, Debug)]
pub struct ConsumerSettings {
    /// Kafka.
    pub kafka: KafkaSettings,
    /// The topic, and the name of the consumer: with the topic that of its group, and that in the inbox.
    pub topics: ConsumerTopics,
    /// The name of this instance, unique among those that run. One that is started again under its name has its partitions back at
    /// once; those of one without a name that was killed rest for ten seconds.
    pub instance: Option<String>,
    /// The pauses before further tries.
    pub ladder: Ladder,
    /// The kinds of events that are acted on; the others are passed over without a transaction. None: all are acted on.
    pub kinds: Option<&'static [&'static str]>,
    /// Whether order is kept.
    pub order: Order,
    /// Of how many aggregates events are acted on at the same time, for the topic and for each retry topic. More than one is for work that locks rows of one shard
    /// alone: two transactions that lock rows of two shards in different orders wait for each other, and no server sees it.
    pub at_a_time: usize,
    /// How long acting on one event may take.
    pub timeout: Duration,
    /// The shard key of the rows that an event is acted on by; the event's own if they lie where what it tells of lies.
    pub shard_key: fn(&Event) -> ShardKey,
}

impl ConsumerSettings {
    /// Ordered, one at a time, with the default ladder, ten seconds for each event, and the event's own shard key.
    pub fn new(kafka: KafkaSettings, topic: &str, consumer: &str) -> Self {
        Self {
            kafka,
            topics: ConsumerTopics::new(topic, consumer),
            instance: None,
            ladder: Ladder::default(),
            kinds: None,
            order: Order::PerAggregate,
            at_a_time: 1,
            timeout: Duration::from_secs(10),
            shard_key: |event| event.shard_key.clone(),
        }
    }

    /// The same for events of these kinds only.
    #[must_use]
    pub fn only(mut self, kinds: &'static [&'static str]) -> Self {
        self.kinds = Some(kinds);
        self
    }
}

/// What a consumer has done.
#[derive(Debug, Default)]
pub struct ConsumerCounters {
    /// Events that were acted on.
    pub acted: AtomicU64,
    /// Events that were known already.
    pub known: AtomicU64,
    /// Events of kinds that aren't acted on.
    pub passed_over: AtomicU64,
    /// Messages that were put into a retry topic.
    pub retried: AtomicU64,
    /// Messages that were put into the dead-letter topic.
    pub dead: AtomicU64,
}

/// A consumer of one topic.
pub struct Consumer {
    database: Database,
    store: Store,
    settings: ConsumerSettings,
    counters: Arc<ConsumerCounters>,
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("topics", &self.settings.topics)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

/// Why a transaction was not committed.
#[derive(Debug)]
enum Stop {
    Failure(Failure),
    OutOfTurn,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failure(Failure::Sdk(error))
    }
}

impl FromSdk for Stop {
    fn as_sdk(&self) -> Option<&Error> {
        match self {
            Self::Failure(failure) => failure.as_sdk(),
            Self::OutOfTurn => None,
        }
    }
}

/// A topic that the consumer reads: where events are published, or where they wait.
struct Source {
    topic: String,
    group: String,
    pause: Duration,
}

impl Consumer {
    /// A consumer that acts on rows of `database`, with the inbox of `store`.
    ///
    /// # Errors
    /// Settings that librdkafka refuses.
    pub fn new(database: &Database, store: &Store, settings: ConsumerSettings) -> Result<Self> {
        settings.kafka.check()?;
        Ok(Self {
            database: database.clone(),
            store: store.clone(),
            settings,
            counters: Arc::default(),
        })
    }

    /// What it has done so far.
    pub fn counters(&self) -> Arc<ConsumerCounters> {
        Arc::clone(&self.counters)
    }

    /// Makes the retry and dead-letter topics that are missing.
    ///
    /// # Errors
    /// The broker doesn't answer, or refuses.
    pub async fn ensure_topics(&self, settings: TopicSettings) -> Result<()> {
        let names = self.retry_topics();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        ensure_topics(&self.settings.kafka, &names, settings.of_retries()).await
    }

    /// Its retry topics and its dead-letter topic.
    pub fn retry_topics(&self) -> Vec<String> {
        let topics = &self.settings.topics;
        let rungs = self.settings.ladder.pauses().len();
        (0..rungs)
            .map(|rung| topics.retry(rung))
            .chain([topics.dead()])
            .collect()
    }

    /// Acts on events for as long as it is polled. It may be dropped or killed at any moment: what was under way is delivered again.
    ///
    /// Several of the same name share the partitions.
    ///
    /// # Errors
    /// Settings that librdkafka refuses.
    pub async fn run<F, Fut>(&self, work: F) -> Result<()>
    where
        F: Fn(Transaction, Arc<Event>) -> Fut,
        Fut: Future<Output = Result<(), Failure>>,
    {
        let (topics, work) = (&self.settings.topics, &work);
        // A group for each topic: a service that consumes several is one member of each, by one name.
        let group = |topic: &str| format!("{}.{topic}", topics.consumer());
        let main = Source {
            topic: topics.topic().to_owned(),
            group: group(topics.topic()),
            pause: Duration::ZERO,
        };
        let rungs = self.settings.ladder.pauses().iter().enumerate();
        let waiting = rungs.map(|(rung, pause)| Source {
            topic: topics.retry(rung),
            group: group(&topics.retry(rung)),
            pause: *pause,
        });
        let followed = [main]
            .into_iter()
            .chain(waiting)
            .map(|source| self.follow(source, work));
        // One that ends ends all: they begin again together.
        try_join_all(followed).await.map(drop)
    }

    async fn follow<F, Fut>(&self, source: Source, work: &F) -> Result<()>
    where
        F: Fn(Transaction, Arc<Event>) -> Fut,
        Fut: Future<Output = Result<(), Failure>>,
    {
        let poll = (source.pause + POLL_MARGIN).as_millis().to_string();
        let mut config = self.settings.kafka.client(&[
            ("group.id", &source.group),
            ("session.timeout.ms", SESSION_TIMEOUT_MS),
            ("isolation.level", "read_committed"),
            ("auto.offset.reset", "earliest"),
            // Stored once an event is settled, committed in the background: what is lost of it is delivered again.
            ("enable.auto.commit", "true"),
            ("auto.commit.interval.ms", "500"),
            ("enable.auto.offset.store", "false"),
            ("max.poll.interval.ms", &poll),
        ]);
        if let Some(instance) = &self.settings.instance {
            config.set("group.instance.id", instance);
        }
        let member = Member::new(&config)?;
        let consumer = member.get()?;
        consumer.subscribe(&[&source.topic])?;
        loop {
            let messages = member.and_ready(member.next().await?, self.settings.at_a_time);
            self.settle_all(&messages, source.pause, work).await;
            for message in &messages {
                // Fails if the partition has gone to another consumer, to which the event is delivered again.
                let _ = consumer.store_offset(message.topic(), message.partition(), message.offset());
            }
        }
    }

    /// Settles messages: those of one aggregate one after the other.
    async fn settle_all<F, Fut>(&self, messages: &[OwnedMessage], pause: Duration, work: &F)
    where
        F: Fn(Transaction, Arc<Event>) -> Fut,
        Fut: Future<Output = Result<(), Failure>>,
    {
        let mut lanes: HashMap<Option<&[u8]>, Vec<&OwnedMessage>> = HashMap::new();
        for message in messages {
            lanes.entry(message.key()).or_default().push(message);
        }
        let settled = lanes.into_values().map(|lane| async move {
            for message in lane {
                tokio::time::sleep(still_to_wait(message, pause)).await;
                self.settle(message, work).await;
            }
        });
        join_all(settled).await;
    }

    /// Acts on an event, or passes it on; returns when one of them is done for good.
    async fn settle<F, Fut>(&self, message: &OwnedMessage, work: &F)
    where
        F: Fn(Transaction, Arc<Event>) -> Fut,
        Fut: Future<Output = Result<(), Failure>>,
    {
        let event = match Event::read(message, self.settings.topics.topic()) {
            Ok(event) => Arc::new(event),
            Err(malformed) => {
                let dead = || self.pass(message, Fate::Dead, malformed.to_string());
                return until_done(dead).await;
            }
        };
        if self
            .settings
            .kinds
            .is_some_and(|kinds| !kinds.contains(&&*event.kind))
        {
            self.counters.passed_over.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut outages = 1;
        let (cause, why) = loop {
            match self.act(&event, work).await {
                Ok(()) => return,
                Err(Stop::OutOfTurn) => {
                    break (
                        Cause::OutOfTurn,
                        "an earlier event of its aggregate waits".to_owned(),
                    );
                }
                Err(Stop::Failure(Failure::Never(why))) => break (Cause::Never, why),
                Err(Stop::Failure(Failure::Later(why))) => break (Cause::Later, why),
                Err(Stop::Failure(Failure::Sdk(error))) if error.blame() == Blame::Caller => {
                    break (Cause::Later, error.to_string());
                }
                Err(Stop::Failure(Failure::Sdk(error))) => {
                    outages += 1;
                    tracing::warn!(%error, id = %event.id, "an event waits for the database");
                    tokio::time::sleep(OUTAGE.pause(outages, rand::random())).await;
                }
            }
        };
        let fate = self.settings.ladder.fate(cause, failures(message));
        if self.settings.order == Order::PerAggregate && fate != Fate::Dead {
            until_done(|| self.note(&event, &self.store.sql.park)).await;
        }
        until_done(|| self.pass(message, fate, why.clone())).await;
        if self.settings.order == Order::PerAggregate && fate == Fate::Dead {
            until_done(|| self.note(&event, &self.store.sql.unpark)).await;
        }
    }

    async fn act<F, Fut>(&self, event: &Arc<Event>, work: &F) -> Result<(), Stop>
    where
        F: Fn(Transaction, Arc<Event>) -> Fut,
        Fut: Future<Output = Result<(), Failure>>,
    {
        let key = (self.settings.shard_key)(event);
        self.store.check(&key)?;
        let (sql, consumer) = (&self.store.sql, self.settings.topics.consumer());
        let acted = self
            .database
            .transaction_tried(
                &self.context(event),
                Isolation::default(),
                Key::Given,
                async |tx| {
                    let key = key.parameter();
                    if tx
                        .execute(&sql.record_event, &[key, &consumer, &event.id])
                        .await?
                        == 0
                    {
                        return Ok(false);
                    }
                    let own = match self.settings.order {
                        Order::None => false,
                        Order::PerAggregate => is_parked(&tx, sql, (key, consumer), event).await?,
                    };
                    work(tx.clone(), Arc::clone(event)).await.map_err(Stop::Failure)?;
                    if own {
                        tx.execute(
                            &sql.unpark,
                            &[key, &consumer, &event.topic, &event.aggregate, &event.version],
                        )
                        .await?;
                    }
                    Ok::<bool, Stop>(true)
                },
            )
            .await?;
        let counter = if acted {
            &self.counters.acted
        } else {
            &self.counters.known
        };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn context(&self, event: &Event) -> Context {
        Context::background()
            .with_session(Session::after(event.causality.clone()))
            .with_trace(event.trace)
            .with_timeout(self.settings.timeout)
    }

    /// Parks an event, or lets the later ones pass.
    async fn note(&self, event: &Event, sql: &str) -> Result<()> {
        let key = (self.settings.shard_key)(event);
        let consumer = self.settings.topics.consumer();
        let work = async |tx: Transaction| {
            tx.execute(
                sql,
                &[
                    key.parameter(),
                    &consumer,
                    &event.topic,
                    &event.aggregate,
                    &event.version,
                ],
            )
            .await
            .map(drop)
        };
        self.database
            .transaction_tried(&self.context(event), Isolation::default(), Key::Given, work)
            .await
    }

    async fn pass(&self, message: &OwnedMessage, fate: Fate, why: String) -> Result<()> {
        pass_on(&self.settings.kafka, &self.settings.topics, message, fate, &why).await?;
        let counter = match fate {
            Fate::Retry { .. } => &self.counters.retried,
            Fate::Dead => &self.counters.dead,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Whether the event itself is parked; refused if an earlier one of its aggregate is.
async fn is_parked(
    tx: &Transaction,
    sql: &crate::store::Statements,
    (key, consumer): (crate::Parameter<'_>, &str),
    event: &Event,
) -> Result<bool, Stop> {
    let parked = tx
        .query(
            &sql.parked,
            &[key, &consumer, &event.topic, &event.aggregate, &event.version],
        )
        .await?;
    if parked.iter().any(|row| row.get::<_, i64>(0) < event.version) {
        return Err(Stop::OutOfTurn);
    }
    Ok(!parked.is_empty())
}

/// Does something again until it works.
async fn until_done<Fut: Future<Output = Result<()>>>(doing: impl Fn() -> Fut) {
    let mut made = 1;
    while let Err(error) = doing().await {
        made += 1;
        tracing::warn!(%error, "an event waits for Kafka or the database");
        tokio::time::sleep(OUTAGE.pause(made, rand::random())).await;
    }
}

/// What is left of a message's pause, by the time at which it was produced. A clock that goes wrong makes it shorter, never longer.
fn still_to_wait(message: &OwnedMessage, pause: Duration) -> Duration {
    let produced = message
        .timestamp()
        .to_millis()
        .and_then(|ms| u64::try_from(ms).ok());
    let waited = produced.and_then(|ms| {
        let at = UNIX_EPOCH.checked_add(Duration::from_millis(ms))?;
        SystemTime::now().duration_since(at).ok()
    });
    pause.saturating_sub(waited.unwrap_or_default())
}
