//! From a shard's outbox to Kafka.
//!
//! The relay asks the shard's primary itself, not through Ringway: it must have the rows of one shard and no other, hold a lock there for as long as it
//! works, and know the log position of what it read. Its URL may name several hosts with `target_session_attrs=read-write`; so it
//! follows a promotion.
//!
//! **Nothing is skipped.** There is no cursor: what is in the table is waiting, whatever its number and however late it was committed; what Kafka has
//! committed is deleted. **Nothing is reordered.** `ord` is drawn under the lock of the aggregate's head, so for an aggregate it rises in
//! the order of commits, and whoever sees an event sees all earlier ones of its aggregate or they are published already. **Nobody repeats late.** An advisory
//! lock lets one relay work. Should it have lost its lock without noticing (a network that is cut), its successor's
//! `init_transactions` under the same transactional id has fenced it in Kafka before the first row is read: nothing of it is
//! committed any more. A relay that dies between Kafka's commit and the deletion leaves rows that are published again.

use super::event::Event;
use super::kafka::{ANSWER_BOUND, KafkaSettings, Quiet};
use crate::error::{Blame, Error, Phase, Result, Retry};
use crate::retry::{BudgetSettings, Policy};
use crate::store::{ShardKey, Store};
use crate::token::Causality;
use crate::trace::TraceParent;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Row, Socket};

/// After so long Kafka gives up the transaction of a relay that has died, and readers go on.
const TRANSACTION_TIMEOUT_MS: &str = "10000";

/// How a relay that failed begins again.
const RESTARTS: Policy = Policy {
    attempts: u32::MAX,
    base: Duration::from_millis(100),
    cap: Duration::from_secs(3),
    budget: BudgetSettings { full: 0, earned: 0 },
};

/// Between two tries to get the lock: so much later a relay takes over from one that was killed.
const LOCK_PAUSE: Duration = Duration::from_millis(500);

/// Between two looks for what was delivered.
const DELIVERY_LOOK: Duration = Duration::from_millis(1);

/// So often an empty outbox is looked at in the usual pause; then it is at rest.
const QUICK_LOOKS: u32 = 50;

/// So many times the pause is longer at rest.
const AT_REST: u32 = 5;

/// Which outbox is relayed, and how.
#[derive(Clone)]
pub struct RelaySettings {
    /// The shard's primary, as a role that may read and delete from the outbox.
    pub url: String,
    /// The shard's number in Ringway (`SHOW SHARDS`, column `id`): events carry a token with the position of what they tell of.
    pub shard: u16,
    /// Kafka.
    pub kafka: KafkaSettings,
    /// The most events in one transaction of Kafka's.
    pub batch: u16,
    /// The pause after the outbox was found empty; five times as long once it has been empty for a while.
    pub poll: Duration,
}

impl RelaySettings {
    /// 200 events at a time, 20 ms between two looks.
    pub fn new(url: impl Into<String>, shard: u16, kafka: KafkaSettings) -> Self {
        Self {
            url: url.into(),
            shard,
            kafka,
            batch: 200,
            poll: Duration::from_millis(20),
        }
    }
}

/// Without the URL: it has a password.
impl std::fmt::Debug for RelaySettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelaySettings")
            .field("shard", &self.shard)
            .field("kafka", &self.kafka)
            .finish_non_exhaustive()
    }
}

/// What a relay has done.
#[derive(Debug, Default)]
pub struct RelayCounters {
    /// Events that Kafka has committed.
    pub published: AtomicU64,
    /// How often it had to begin again.
    pub restarts: AtomicU64,
}

/// Publishes the outbox of one store on one shard.
#[derive(Debug)]
pub struct Relay<T> {
    store: Store,
    settings: RelaySettings,
    config: Config,
    tls: T,
    counters: Arc<RelayCounters>,
}

impl<T> Relay<T>
where
    T: MakeTlsConnect<Socket> + Clone,
    T::Stream: Send + 'static,
{
    /// A relay; `tls` is how it connects to the primary ([`tokio_postgres::NoTls`] or a connector).
    ///
    /// # Errors
    /// The URL is malformed.
    pub fn new(store: &Store, settings: RelaySettings, tls: T) -> Result<Self> {
        let mut config: Config = settings.url.parse().map_err(|error: tokio_postgres::Error| {
            Error::caller("the primary's URL is malformed").with_source(error)
        })?;
        // A primary that is gone without a word is given up, and its lock with it.
        config
            .connect_timeout(ANSWER_BOUND)
            .tcp_user_timeout(ANSWER_BOUND)
            .keepalives_idle(ANSWER_BOUND)
            .keepalives_interval(Duration::from_secs(1))
            .application_name("ringway-relay");
        Ok(Self {
            store: store.clone(),
            settings,
            config,
            tls,
            counters: Arc::default(),
        })
    }

    /// What it has done so far.
    pub fn counters(&self) -> Arc<RelayCounters> {
        Arc::clone(&self.counters)
    }

    /// Relays until `stop` ends; then it finishes what it is doing. It may be dropped or killed at any moment. Whatever fails, it begins
    /// again, after a pause of up to three seconds, and says so in the log.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut failures = 1;
        loop {
            let before = self.counters.published.load(Ordering::Relaxed);
            let error = match self.hold(stop.as_mut()).await {
                Ok(()) => return,
                Err(error) => error,
            };
            self.counters.restarts.fetch_add(1, Ordering::Relaxed);
            let worked = self.counters.published.load(Ordering::Relaxed) > before;
            failures = if worked { 1 } else { failures + 1 };
            let pause = RESTARTS.pause(failures + 1, rand::random());
            tracing::warn!(%error, store = self.store.name(), shard = self.settings.shard, "the relay begins again");
            tokio::select! {
                () = stop.as_mut() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Takes the lock, fences whoever had it, and relays until something fails or `stop` ends.
    async fn hold(&self, mut stop: impl Future<Output = ()> + Unpin) -> Result<()> {
        let failed = |error| Error::from_driver(error, Phase::BeforeCommit);
        let (client, connection) = self.config.connect(self.tls.clone()).await.map_err(failed)?;
        let connection = Abort(tokio::spawn(async move {
            // Its error is the client's error too.
            drop(connection.await);
        }));
        let lock = "SELECT pg_try_advisory_lock(hashtextextended('ringway-relay:' || $1, 0))";
        while !client
            .query_one(lock, &[&self.store.name()])
            .await
            .map_err(failed)?
            .get::<_, bool>(0)
        {
            tokio::select! {
                () = &mut stop => return Ok(()),
                () = tokio::time::sleep(LOCK_PAUSE) => {}
            }
        }
        let producer = self.producer().await?;
        let statement = client
            .prepare(&self.store.sql.waiting_events)
            .await
            .map_err(failed)?;
        let mut empty_looks = 0;
        loop {
            let batch = i64::from(self.settings.batch);
            let rows = client.query(&statement, &[&batch]).await.map_err(failed)?;
            if rows.is_empty() {
                // The errors of an outage are queued until somebody asks for them.
                producer.poll(Duration::ZERO);
                empty_looks += 1;
                let factor = if empty_looks > QUICK_LOOKS { AT_REST } else { 1 };
                tokio::select! {
                    () = &mut stop => break,
                    () = tokio::time::sleep(self.settings.poll * factor) => continue,
                }
            }
            empty_looks = 0;
            let reached = self.position(&client).await?;
            self.publish(&producer, &rows, &reached).await?;
            let published: Vec<i64> = rows.iter().map(|row| row.get(10)).collect();
            client
                .execute(&self.store.sql.forget_events, &[&published])
                .await
                .map_err(failed)?;
            let count = u64::try_from(published.len()).unwrap_or(0);
            self.counters.published.fetch_add(count, Ordering::Relaxed);
            if rows.len() < usize::from(self.settings.batch) {
                // So that many small transactions make one batch.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        drop(connection);
        Ok(())
    }

    async fn producer(&self) -> Result<Arc<BaseProducer<Quiet>>> {
        let id = format!("ringway-relay-{}-{}", self.store.name(), self.settings.shard);
        let config = self.settings.kafka.client(&[
            ("transactional.id", &id),
            ("enable.idempotence", "true"),
            ("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS),
            ("message.timeout.ms", TRANSACTION_TIMEOUT_MS),
            ("linger.ms", "1"),
            // As other clients of Kafka do it, so that they find the partition of an aggregate.
            ("partitioner", "murmur2_random"),
        ]);
        blocking(move || {
            let producer: BaseProducer<Quiet> = config.create_with_context(Quiet)?;
            producer.init_transactions(ANSWER_BOUND)?;
            Ok(Arc::new(producer))
        })
        .await
    }

    /// What a reader must have seen to see everything that is in the outbox now. Rows are visible after their commit was flushed.
    async fn position(&self, client: &Client) -> Result<Causality> {
        const SQL: &str = "SELECT left(pg_walfile_name(lsn), 8), (lsn - '0/0')::bigint FROM pg_current_wal_flush_lsn() AS lsn";
        let row = client
            .query_one(SQL, &[])
            .await
            .map_err(|error| Error::from_driver(error, Phase::BeforeCommit))?;
        let (timeline, lsn): (String, i64) = (row.get(0), row.get(1));
        let timeline = u32::from_str_radix(&timeline, 16).unwrap_or_default();
        Causality::parse(&format!("rw1/0/{:x}:{timeline:x}:{lsn:x}", self.settings.shard))
    }

    /// Publishes rows in one transaction of Kafka's.
    async fn publish(
        &self,
        producer: &Arc<BaseProducer<Quiet>>,
        rows: &[Row],
        reached: &Causality,
    ) -> Result<()> {
        producer.begin_transaction()?;
        for row in rows {
            let event = self.event(row, reached)?;
            let record = BaseRecord::to(&event.topic)
                .key(&event.aggregate)
                .payload(&event.payload)
                .headers(event.headers());
            producer.send(record).map_err(|(error, _)| error)?;
        }
        // A message that was not delivered fails the commit.
        delivered(producer).await;
        let committing = Arc::clone(producer);
        blocking(move || committing.commit_transaction(ANSWER_BOUND)).await
    }

    fn event(&self, row: &Row, reached: &Causality) -> Result<Event> {
        let token: &str = row.get(8);
        let trace: Option<&str> = row.get(7);
        Ok(Event {
            shard_key: ShardKey::parse(self.store.key_type(), row.get(0))?,
            id: row.get(1),
            topic: row.get(2),
            aggregate: row.get(3),
            store: self.store.name().to_owned(),
            version: row.get(4),
            kind: row.get(5),
            payload: row.get(6),
            trace: trace.and_then(TraceParent::parse),
            causality: Causality::parse(token)?.join(reached),
            time_ms: row.get(9),
        })
    }
}

/// Ends a task with its owner.
struct Abort(tokio::task::JoinHandle<()>);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits until librdkafka has nothing under way, for so long at most. rdkafka's own waiting takes a processor for the last millisecond of each tenth of a
/// second, with a thread for each producer.
async fn delivered(producer: &BaseProducer<Quiet>) {
    let began = Instant::now();
    loop {
        producer.poll(Duration::ZERO);
        if producer.in_flight_count() == 0 || began.elapsed() > ANSWER_BOUND {
            return;
        }
        tokio::time::sleep(DELIVERY_LOOK).await;
    }
}

/// Runs what blocks on a thread of its own. If the caller is dropped it goes on, which is no worse than a late kill.
async fn blocking<V: Send + 'static>(
    doing: impl FnOnce() -> rdkafka::error::KafkaResult<V> + Send + 'static,
) -> Result<V> {
    let done = tokio::task::spawn_blocking(doing).await.map_err(|_| stopped())?;
    Ok(done?)
}

fn stopped() -> Error {
    Error::new(Blame::Network, Retry::Safe, "the producer was stopped")
}
