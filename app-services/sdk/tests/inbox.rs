//! Consumers that are killed, fed twice and made to fail; the dead letters; and what the checker says of consumers without an inbox.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the failure")]

mod support;

use anyhow::Result;
use clap::Parser;
use cluster::{Backing, Region, SHOP};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::ClientConfig;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::message::Message;
use ringway_sdk::events::{
    Consumer, ConsumerSettings, ConsumerTopics, DeadLetters, DeadLettersCommand, Event, Failure,
    KafkaSettings, Ladder, NewEvent, Relay, RelaySettings, TopicSettings, ensure_topics,
};
use ringway_sdk::{Context, Database, Error, KeyType, Settings, ShardKey, Store, Transaction};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use support::{Scene, until};
use tokio::process::{Child, Command};
use tokio_postgres::NoTls;
use uuid::Uuid;

const USERS: i64 = 10;
/// Events of each user.
const EACH: i64 = 40;
const PARTITIONS: i32 = 3;
const TOPIC: &str = "orders";
const CONSUMER: &str = "ledger";
/// How long some events can't be acted on.
const FAILING: Duration = Duration::from_millis(1500);
/// The child's instructions: Kafka, the endpoint and its name.
const CHILD: &str = "RINGWAY_SDK_TEST_CONSUMER";

fn is_poison(version: i64) -> bool {
    version % 20 == 7
}

/// Of a kind that the consumer doesn't act on.
fn is_aside(version: i64) -> bool {
    version % 10 == 9
}

fn is_late(version: i64) -> bool {
    version % 10 == 3
}

/// Writes down what it was given. Some events it can't act on for a while, some not before their account is marked.
async fn apply(tx: Transaction, event: Arc<Event>) -> Result<(), Failure> {
    let ShardKey::Int8(user) = event.shard_key else {
        return Err(Failure::Never("no account".to_owned()));
    };
    record(&tx, CONSUMER, user, &event).await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let age = now.saturating_sub(Duration::from_millis(u64::try_from(event.time_ms).unwrap()));
    if is_late(event.version) && age < FAILING {
        return Err(Failure::Later("not yet".to_owned()));
    }
    let marked = "SELECT user_id FROM accounts WHERE user_id = $1 AND balance = -1";
    if is_poison(event.version) && tx.query_opt(marked, &[&user]).await?.is_none() {
        return Err(Failure::Never("the account is not marked".to_owned()));
    }
    Ok(())
}

async fn record(tx: &Transaction, consumer: &str, user: i64, event: &Event) -> Result<(), Error> {
    let sql = "INSERT INTO applied (user_id, consumer, event_id, version) VALUES ($1, $2, $3, $4)";
    tx.execute(sql, &[&user, &consumer, &event.id, &event.version])
        .await
        .map(drop)
}

fn consumer(kafka: &str, url: &str, instance: &str) -> Result<Consumer, Error> {
    let store = Store::new("app", KeyType::Int8)?;
    let database = Database::new(url, Settings::default())?;
    let mut settings = ConsumerSettings::new(KafkaSettings::new(kafka), TOPIC, CONSUMER);
    settings.instance = Some(instance.to_owned());
    settings.at_a_time = 4;
    settings = settings.only(&["ordered"]);
    settings.ladder = Ladder::new([200, 400, 800, 1600].map(Duration::from_millis).to_vec());
    Consumer::new(&database, &store, settings)
}

/// Runs the consumer as a process of its own that can be killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the other test, as a child"]
async fn consumer_child() -> Result<()> {
    let instructions = std::env::var(CHILD)?;
    let [kafka, url, instance] = instructions.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{instructions}")
    };
    let consumer = consumer(kafka, url, instance)?;
    tokio::spawn(async move { consumer.run(apply).await });
    // Ends with whoever started it, however that ended.
    let gone = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    tokio::task::spawn_blocking(gone).await??;
    Ok(())
}

fn start_consumer(scene: &Scene, region: Region) -> Result<Child> {
    let kafka = scene.cluster.kafka().unwrap().bootstrap();
    let child = Command::new(std::env::current_exe()?)
        .args(["--exact", "consumer_child", "--ignored", "--nocapture"])
        .env(CHILD, format!("{kafka} {} {}", scene.url(region), region.name()))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    Ok(child)
}

/// An event as it was written down.
struct Row {
    user: i64,
    id: Uuid,
    version: i64,
}

async fn applied(scene: &Scene, consumer: &str) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for shard in scene.cluster.shards() {
        let client = shard.primary.connect(SHOP, SHOP).await?;
        let sql = "SELECT user_id, event_id, version FROM applied WHERE consumer = $1 ORDER BY ord";
        rows.extend(client.query(sql, &[&consumer]).await?.iter().map(|row| Row {
            user: row.get(0),
            id: row.get(1),
            version: row.get(2),
        }));
    }
    Ok(rows)
}

/// Each expected event once, each user's in order.
fn findings(rows: &[Row], expected: impl Fn(i64) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    let (mut ids, mut last) = (BTreeSet::new(), BTreeMap::new());
    for row in rows {
        if !ids.insert(row.id) {
            found.push(format!("{} of user {} twice", row.version, row.user));
        }
        let last = last.entry(row.user).or_insert(0);
        if row.version < *last {
            found.push(format!("{} of user {} after {last}", row.version, row.user));
        }
        *last = row.version;
    }
    for user in 0..USERS {
        let known: BTreeSet<i64> = rows
            .iter()
            .filter(|row| row.user == user)
            .map(|row| row.version)
            .collect();
        let due: BTreeSet<i64> = (1..=EACH).filter(|version| expected(*version)).collect();
        if known != due {
            found.push(format!(
                "user {user}: {:?}",
                known.symmetric_difference(&due).collect::<Vec<_>>()
            ));
        }
    }
    found
}

/// Publishes the events while relays vanish and come back.
async fn publish(scene: &Scene, seed: u64) -> Result<()> {
    let kafka = KafkaSettings::new(scene.cluster.kafka().unwrap().bootstrap());
    let store = scene.store.clone();
    let relays = async {
        let mut dice = StdRng::seed_from_u64(seed);
        loop {
            let running: Vec<_> = (0_u16..)
                .zip(scene.cluster.shards())
                .map(|(number, shard)| {
                    let settings = RelaySettings::new(shard.primary.url(SHOP, SHOP), number, kafka.clone());
                    let relay = Relay::new(&store, settings, NoTls).unwrap();
                    tokio::spawn(async move { relay.run(std::future::pending()).await })
                })
                .collect();
            tokio::time::sleep(Duration::from_millis(dice.random_range(100..600))).await;
            running.iter().for_each(tokio::task::JoinHandle::abort);
            let waiting = scene.sum_at_primaries("SELECT count(*) FROM app_outbox").await?;
            let told =
                scene.sum_at_primaries("SELECT coalesce(sum(version), 0)::bigint FROM app_outbox_head");
            if waiting == 0 && told.await? == USERS * EACH {
                return anyhow::Ok(());
            }
        }
    };
    let database = scene.database(Region::UsEast);
    let events = async {
        for n in 0..EACH {
            for user in 0..USERS {
                let key = ShardKey::Int8(user);
                let once = scene.store.once(user, n.to_string(), "order");
                let aggregate = format!("account-{user}");
                let event = NewEvent {
                    topic: TOPIC,
                    aggregate: &aggregate,
                    kind: if is_aside(n + 1) { "looked-at" } else { "ordered" },
                    payload: b"{}",
                };
                let work = async |tx: Transaction| tx.publish(&scene.store, &key, event).await.map(drop);
                database
                    .transaction_once(&Context::background(), once, work)
                    .await?;
            }
        }
        anyhow::Ok(())
    };
    let began = Instant::now();
    tokio::try_join!(relays, events)?;
    println!("published in {:?}", began.elapsed());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_take_effect_once_and_in_order() -> Result<()> {
    let seed = support::seed()?;
    let scene = Box::pin(Scene::start(Backing::Full)).await?;
    for shard in scene.cluster.shards() {
        let client = shard.primary.connect(SHOP, SHOP).await?;
        // The rows are only looked at by their own shard's events.
        client
            .execute(
                "INSERT INTO accounts SELECT generate_series(0, $1::bigint - 1), 0",
                &[&USERS],
            )
            .await?;
    }
    let topics = TopicSettings {
        partitions: PARTITIONS,
        retry_partitions: 2,
        replication: 1,
        retention: Duration::from_secs(3600),
    };
    let kafka = scene.cluster.kafka().unwrap().bootstrap();
    ensure_topics(&KafkaSettings::new(&kafka), &[TOPIC], topics).await?;
    consumer(&kafka, &scene.url(Region::UsEast), "maker")?
        .ensure_topics(topics)
        .await?;

    tokio::try_join!(publish(&scene, seed), torture(&scene, seed ^ 1))?;
    let rows = applied(&scene, CONSUMER).await?;
    assert_eq!(
        findings(&rows, |version| !is_poison(version) && !is_aside(version)),
        Vec::<String>::new()
    );
    assert_eq!(
        scene.sum_at_primaries("SELECT count(*) FROM app_parked").await?,
        0,
        "nothing waits"
    );
    dead_letters(&scene, &kafka).await?;
    side_by_side(&scene, &kafka).await?;
    mutants(&scene, seed).await
}

/// The consumers, with everything going wrong, until all events are settled.
async fn torture(scene: &Scene, seed: u64) -> Result<()> {
    let mut dice = StdRng::seed_from_u64(seed);
    let start = |n: usize| start_consumer(scene, Region::ALL[n]);
    let mut consumers = [start(0)?, start(1)?];
    let acted_on = (1..=EACH).filter(|version| !is_poison(*version) && !is_aside(*version));
    let due = usize::try_from(USERS)? * acted_on.count();
    let (began, mut kills) = (Instant::now(), 0);
    while applied(scene, CONSUMER).await?.len() < due {
        assert!(began.elapsed() < 2 * support::BOUND, "events are not settled");
        // Long enough for a group of consumers to find itself, and rarer as time goes on.
        let calm = u64::try_from(began.elapsed().as_millis())? / 4;
        tokio::time::sleep(Duration::from_millis(dice.random_range(300..1200) + calm)).await;
        let n = dice.random_range(0..2);
        consumers[n].kill().await?;
        consumers[n] = start(n)?;
        kills += 1;
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                    WHERE usename = 'shop' AND pid <> pg_backend_pid() AND random() < 0.2";
        scene.at_primaries(kill).await?;
    }
    println!("{kills} consumers killed in {:?}", began.elapsed());
    Ok(())
}

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    command: DeadLettersCommand,
}

async fn run(kafka: &str, action: &[&str]) -> Result<String> {
    let common = ["test", "--kafka", kafka, "--topic", TOPIC, "--consumer", CONSUMER];
    let program = Program::try_parse_from(common.iter().chain(action))?;
    let mut out = Vec::new();
    program.command.run(&mut out).await?;
    Ok(String::from_utf8(out)?)
}

/// The letters are those that were injected; sent back, they take effect once.
async fn dead_letters(scene: &Scene, kafka: &str) -> Result<()> {
    let letters = DeadLetters::new(KafkaSettings::new(kafka), ConsumerTopics::new(TOPIC, CONSUMER));
    let poisoned = usize::try_from(USERS)? * (1..=EACH).filter(|version| is_poison(*version)).count();
    until("the last letter is there", async || {
        letters.list().await.unwrap().len() >= poisoned
    })
    .await;
    let listed = letters.list().await?;
    let ids: BTreeSet<Uuid> = listed
        .iter()
        .map(|letter| letter.event.as_ref().unwrap().id)
        .collect();
    assert_eq!(ids.len(), poisoned, "each once, or again after a kill");
    for letter in &listed {
        assert!(is_poison(letter.event.as_ref().unwrap().version));
        assert_eq!(letter.reason, "the account is not marked");
    }
    let table = run(kafka, &["list"]).await?;
    assert_eq!(table.lines().count(), listed.len() + 1, "{table}");
    assert!(table.contains("the account is not marked"), "{table}");

    scene.at_primaries("UPDATE accounts SET balance = -1").await?;
    let _consumer = start_consumer(scene, Region::UsEast)?;
    let one = ids.first().unwrap().to_string();
    run(kafka, &["replay", "--event", &one]).await?;
    run(kafka, &["replay", "--all"]).await?;
    assert_eq!(run(kafka, &["list", "--output", "json"]).await?, "");
    let all = usize::try_from(USERS)? * (1..=EACH).filter(|version| !is_aside(*version)).count();
    until("all are acted on", async || {
        applied(scene, CONSUMER).await.unwrap().len() >= all
    })
    .await;
    let rows = applied(scene, CONSUMER).await?;
    let known: BTreeSet<Uuid> = rows.iter().map(|row| row.id).collect();
    assert_eq!((rows.len(), known.len()), (all, all), "each once");
    Ok(())
}

/// Consumers that don't use the inbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mutant {
    /// Acts on whatever comes.
    Unchecked,
    /// Records the event in a transaction of its own, before it acts.
    RecordedApart,
}

/// Events of several users are acted on at the same time, those of one user never.
async fn side_by_side(scene: &Scene, kafka: &str) -> Result<()> {
    let database = scene.database(Region::UsEast);
    let mut settings = ConsumerSettings::new(KafkaSettings::new(kafka), TOPIC, "together");
    settings.at_a_time = 4;
    let consumer = Consumer::new(&database, &scene.store, settings)?;
    consumer
        .ensure_topics(TopicSettings {
            partitions: PARTITIONS,
            retry_partitions: 2,
            replication: 1,
            retention: Duration::from_secs(3600),
        })
        .await?;
    let (counters, running) = (consumer.counters(), Arc::<Mutex<Vec<ShardKey>>>::default());
    let most = Arc::new(AtomicUsize::new(0));
    let work = {
        let most = Arc::clone(&most);
        move |_, event: Arc<Event>| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            async move {
                let user = event.shard_key.clone();
                {
                    let mut running = running.lock().unwrap();
                    assert!(!running.contains(&user), "two of one user");
                    running.push(user.clone());
                    most.fetch_max(running.len(), Ordering::Relaxed);
                }
                // As if there were something to do.
                tokio::time::sleep(Duration::from_millis(2)).await;
                running.lock().unwrap().retain(|other| *other != user);
                Ok(())
            }
        }
    };
    let all = u64::try_from(USERS * EACH)?;
    let done = until("all are acted on", async || {
        counters.acted.load(Ordering::Relaxed) >= all
    });
    tokio::select! {
        ended = consumer.run(work) => ended?,
        () = done => {}
    }
    let most = most.load(Ordering::Relaxed);
    assert!((2..=4).contains(&most), "{most} at the same time");
    Ok(())
}

async fn mutants(scene: &Scene, seed: u64) -> Result<()> {
    let mut dice = StdRng::seed_from_u64(seed ^ 2);
    for mutant in [Mutant::Unchecked, Mutant::RecordedApart] {
        let name = format!("{mutant:?}");
        for _ in 0..8 {
            let crash = naive(scene, mutant, &name, Some(dice.random_range(1..30)));
            tokio::time::timeout(support::BOUND, crash).await??;
        }
        let to_the_end = naive(scene, mutant, &name, None);
        let _ = tokio::time::timeout(Duration::from_secs(3), to_the_end).await;
        let rows = applied(scene, &name).await?;
        let found = findings(&rows, |_| true);
        println!("{mutant:?}: {} acted on, {} findings", rows.len(), found.len());
        assert!(
            rows.len() > 300 && !found.is_empty(),
            "the checker sees nothing of {mutant:?}"
        );
    }
    Ok(())
}

/// Ends, as if killed, at message `crash`: between what should have been one step.
async fn naive(scene: &Scene, mutant: Mutant, name: &str, crash: Option<u32>) -> Result<()> {
    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", scene.cluster.kafka().unwrap().bootstrap())
        .set("group.id", name)
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.offset.store", "false")
        .set("auto.commit.interval.ms", "50")
        .create()?;
    consumer.subscribe(&[TOPIC])?;
    let (database, context) = (scene.database(Region::UsEast), Context::background());
    for n in 1.. {
        let message = consumer.recv().await?.detach();
        let event = Event::read(&message, TOPIC)?;
        let ShardKey::Int8(user) = event.shard_key else {
            continue;
        };
        let known = mutant == Mutant::RecordedApart && {
            let sql = "INSERT INTO app_inbox (shard_key, consumer, event_id) VALUES ($1, $2, $3) \
                       ON CONFLICT (shard_key, consumer, event_id) DO NOTHING";
            let work = async |tx: Transaction| tx.execute(sql, &[&user, &name, &event.id]).await;
            database.transaction(&context, work).await? == 0
        };
        if mutant == Mutant::RecordedApart && crash == Some(n) {
            return Ok(());
        }
        if !known {
            let work = async |tx: Transaction| record(&tx, name, user, &event).await;
            database.transaction(&context, work).await?;
        }
        if crash == Some(n) {
            return Ok(());
        }
        let _ = consumer.store_offset(message.topic(), message.partition(), message.offset());
    }
    Ok(())
}
