//! Events while relays are killed, backends are terminated, writers vanish and Kafka crashes; and what the checker says of a service
//! that goes past the outbox.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the failure")]

mod support;

use anyhow::Result;
use cluster::{Backing, Region, SHOP, StopMode};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use ringway_sdk::events::{
    Event, KafkaSettings, NewEvent, Relay, RelaySettings, TopicSettings, ensure_topics,
};
use ringway_sdk::{Blame, Context, Database, Error, KeyType, ShardKey, Store};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::history::{Seen, findings};
use support::kafka::read_all;
use support::{Scene, until};
use tokio::process::{Child, Command};
use tokio_postgres::NoTls;
use uuid::Uuid;

const USERS: i64 = 12;
const PARTITIONS: i32 = 3;
/// How long the quiet and the torn stretches last together.
const TRAFFIC: Duration = Duration::from_secs(10);
/// The child's instructions: Kafka, then a URL for each shard, separated by spaces.
const CHILD: &str = "RINGWAY_SDK_TEST_RELAY";

/// How writers publish.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// By the outbox.
    Outbox,
    /// To Kafka, after the commit: what must not be done.
    AfterCommit,
    /// To Kafka, before the commit: what must not be done either.
    BeforeCommit,
}

/// Runs relays for all shards, as a process of its own that can be killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the other test, as a child"]
async fn relay_child() -> Result<()> {
    let instructions = std::env::var(CHILD)?;
    let mut words = instructions.split(' ');
    let kafka = KafkaSettings::new(words.next().unwrap());
    let store = Store::new("app", KeyType::Int8)?;
    for (shard, url) in (0_u16..).zip(words) {
        let settings = RelaySettings::new(url, shard, kafka.clone());
        let relay = Relay::new(&store, settings, NoTls)?;
        tokio::spawn(async move { relay.run(std::future::pending()).await });
    }
    // Ends with whoever started it, however that ended.
    let gone = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    tokio::task::spawn_blocking(gone).await??;
    Ok(())
}

fn start_relay(scene: &Scene) -> Result<Child> {
    let mut instructions = vec![scene.cluster.kafka().unwrap().bootstrap()];
    instructions.extend(
        scene
            .cluster
            .shards()
            .iter()
            .map(|shard| shard.primary.url(SHOP, SHOP)),
    );
    let child = Command::new(std::env::current_exe()?)
        .args(["--exact", "relay_child", "--ignored", "--nocapture"])
        .env(CHILD, instructions.join(" "))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    Ok(child)
}

struct Writer {
    database: Database,
    store: Store,
    way: Way,
    topic: &'static str,
    producer: FutureProducer,
}

impl Writer {
    async fn run(self, seed: u64) {
        let mut dice = StdRng::seed_from_u64(seed);
        loop {
            let user = dice.random_range(0..USERS);
            match self.write(user).await {
                Ok(()) => {}
                Err(error) => assert_ne!(error.blame(), Blame::Caller, "{error:?}"),
            }
        }
    }

    async fn write(&self, user: i64) -> Result<(), Error> {
        let context = Context::background().with_timeout(Duration::from_secs(5));
        let aggregate = format!("account-{user}");
        let state = self
            .database
            .transaction(&context, async |tx| {
                let sql = "UPDATE accounts SET balance = balance + 1 WHERE user_id = $1 RETURNING balance";
                let state: i64 = tx.query_one(sql, &[&user]).await?.get(0);
                match self.way {
                    Way::Outbox => {
                        let payload = state.to_string();
                        let event = NewEvent {
                            topic: self.topic,
                            aggregate: &aggregate,
                            kind: "credited",
                            payload: payload.as_bytes(),
                        };
                        let published = tx.publish(&self.store, &ShardKey::Int8(user), event).await?;
                        assert_eq!(published.version, state);
                    }
                    Way::BeforeCommit => self.straight(user, state).await,
                    Way::AfterCommit => {}
                }
                Ok::<i64, Error>(state)
            })
            .await?;
        if self.way == Way::AfterCommit {
            self.straight(user, state).await;
        }
        Ok(())
    }

    async fn straight(&self, user: i64, state: i64) {
        let (key, payload) = (format!("account-{user}"), state.to_string());
        let record = FutureRecord::to(self.topic).key(&key).payload(&payload);
        let _ = self.producer.send(record, Duration::from_secs(1)).await;
    }
}

/// Writers that vanish in the middle of whatever they are doing, and come back.
async fn traffic(scene: &Scene, way: Way, topic: &'static str, until: Instant, seed: u64) -> Result<()> {
    let mut dice = StdRng::seed_from_u64(seed);
    let databases = [scene.database(Region::UsEast), scene.database(Region::UsWest)];
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", scene.cluster.kafka().unwrap().bootstrap())
        .set("enable.idempotence", "true")
        .create()?;
    let start = |n: usize, seed| {
        let writer = Writer {
            database: databases[n % 2].clone(),
            store: scene.store.clone(),
            way,
            topic,
            producer: producer.clone(),
        };
        tokio::spawn(writer.run(seed))
    };
    let mut writers: Vec<_> = (0..6).map(|n| start(n, dice.random())).collect();
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(dice.random_range(20..120))).await;
        let n = dice.random_range(0..writers.len());
        let old = std::mem::replace(&mut writers[n], start(n, dice.random()));
        old.abort();
        if let Err(error) = old.await {
            assert!(error.is_cancelled(), "{error}");
        }
    }
    for writer in writers {
        writer.abort();
        let _ = writer.await;
    }
    Ok(())
}

async fn committed(scene: &Scene) -> Result<BTreeMap<String, i64>> {
    let mut all = BTreeMap::new();
    for shard in scene.cluster.shards() {
        let client = shard.primary.connect(SHOP, SHOP).await?;
        for row in client.query("SELECT user_id, balance FROM accounts", &[]).await? {
            all.insert(format!("account-{}", row.get::<_, i64>(0)), row.get(1));
        }
    }
    Ok(all)
}

/// Sets the balances back, so that states are versions again.
async fn begin(scene: &Scene) -> Result<()> {
    scene.at_primaries("UPDATE accounts SET balance = 0").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_event_is_lost_made_up_or_out_of_order() -> Result<()> {
    let seed = support::seed()?;
    let scene = Box::pin(Scene::start(Backing::Full)).await?;
    scene.open_accounts(USERS).await?;
    let kafka = KafkaSettings::new(scene.cluster.kafka().unwrap().bootstrap());
    let topics = TopicSettings {
        partitions: PARTITIONS,
        retry_partitions: 1,
        replication: 1,
        retention: Duration::from_secs(3600),
    };
    ensure_topics(
        &kafka,
        &["account-events", "after-events", "before-events"],
        topics,
    )
    .await?;
    ensure_topics(&kafka, &["account-events"], topics).await?;

    torture(&scene, seed).await?;
    let seen = events(&scene, "account-events").await?;
    let committed = committed(&scene).await?;
    let total: i64 = committed.values().sum();
    println!("{total} events committed, {} messages", seen.len());
    assert!(total > 200, "too few to show anything");
    assert_eq!(findings(&committed, &seen), Vec::<String>::new());
    mutants(&scene, seed).await
}

/// The outbox, with everything going wrong.
async fn torture(scene: &Scene, seed: u64) -> Result<()> {
    let end = Instant::now() + TRAFFIC;
    let mut relays = [start_relay(scene)?, start_relay(scene)?];
    let (kills, ..) = tokio::try_join!(
        kill_relays(scene, &mut relays, end, seed ^ 1),
        kill_backends(scene, end),
        crash_kafka(scene),
        traffic(scene, Way::Outbox, "account-events", end, seed),
    )?;
    println!("{kills} relays killed");
    until("the outboxes are empty", async || {
        let waiting = scene.sum_at_primaries("SELECT count(*) FROM app_outbox");
        waiting.await.unwrap() == 0
    })
    .await;
    Ok(())
}

async fn kill_relays(scene: &Scene, relays: &mut [Child; 2], end: Instant, seed: u64) -> Result<u32> {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut kills = 0;
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(dice.random_range(20..700))).await;
        let relay = &mut relays[dice.random_range(0..2)];
        if dice.random_bool(0.3) {
            outlive(scene, relay).await?;
        }
        relay.kill().await?;
        *relay = start_relay(scene)?;
        kills += 1;
    }
    Ok(kills)
}

/// Lets a relay miss that its lock is gone and that another has gone on.
async fn outlive(scene: &Scene, relay: &Child) -> Result<()> {
    let pid = relay.id().and_then(|id| Pid::from_raw(id.cast_signed())).unwrap();
    kill_process(pid, Signal::STOP)?;
    let kill =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ringway-relay'";
    scene.at_primaries(kill).await?;
    tokio::time::sleep(Duration::from_millis(1000)).await;
    kill_process(pid, Signal::CONT)?;
    tokio::time::sleep(Duration::from_millis(200)).await;
    Ok(())
}

async fn kill_backends(scene: &Scene, end: Instant) -> Result<()> {
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                    WHERE usename = 'shop' AND pid <> pg_backend_pid() AND random() < 0.2";
        scene.at_primaries(kill).await?;
    }
    Ok(())
}

async fn crash_kafka(scene: &Scene) -> Result<()> {
    tokio::time::sleep(TRAFFIC / 2).await;
    let kafka = scene.cluster.kafka().unwrap();
    kafka.stop(StopMode::Immediate).await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    Ok(kafka.start_again().await?)
}

/// Services that go past the outbox: the checker must see it.
async fn mutants(scene: &Scene, seed: u64) -> Result<()> {
    for (way, topic) in [
        (Way::AfterCommit, "after-events"),
        (Way::BeforeCommit, "before-events"),
    ] {
        begin(scene).await?;
        traffic(scene, way, topic, Instant::now() + Duration::from_secs(3), seed).await?;
        // What is on its way to Kafka arrives.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let seen = events(scene, topic).await?;
        let found = findings(&committed(scene).await?, &seen);
        println!("{way:?}: {} messages, {} findings", seen.len(), found.len());
        assert!(
            seen.len() > 50 && !found.is_empty(),
            "the checker sees nothing of {way:?}"
        );
    }
    Ok(())
}

async fn events(scene: &Scene, topic: &str) -> Result<Vec<Seen>> {
    let messages = read_all(&scene.cluster.kafka().unwrap().bootstrap(), topic, PARTITIONS).await?;
    let seen = messages.iter().map(|message| match Event::read(message, topic) {
        Ok(event) => Seen {
            state: String::from_utf8_lossy(&event.payload).parse().unwrap(),
            aggregate: event.aggregate,
            version: event.version,
            id: event.id,
        },
        // A mutant's: it has nothing but key and payload.
        Err(_) => {
            use rdkafka::message::Message;
            let state = String::from_utf8_lossy(message.payload().unwrap())
                .parse()
                .unwrap();
            Seen {
                aggregate: String::from_utf8_lossy(message.key().unwrap()).into_owned(),
                version: state,
                id: Uuid::now_v7(),
                state,
            }
        }
    });
    Ok(seen.collect())
}
