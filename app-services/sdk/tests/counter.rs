//! Counters whose processes are killed, and rows that grow old.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the failure")]

mod support;

use anyhow::Result;
use cluster::{Backing, Region, SHOP, StopMode};
use ringway_sdk::counter::{Counter, CounterSettings};
use ringway_sdk::purge::{Purge, PurgeSettings};
use ringway_sdk::{Context, Level, Reader, ShardKey};
use std::time::Duration;
use support::{Scene, until};
use tokio_postgres::NoTls;

const KEYS: i64 = 10;
const SETTINGS: CounterSettings = CounterSettings {
    gather: Duration::from_millis(50),
    flush: Duration::from_millis(200),
};
/// How often a process counts.
const BEAT: Duration = Duration::from_millis(2);

fn counter(scene: &Scene, region: Region) -> Counter {
    let redis = scene.cluster.redis(Region::UsEast).unwrap().url();
    Counter::new(&scene.database(region), &scene.store, "views", &redis, SETTINGS).unwrap()
}

/// Counts so often, one after the other.
async fn count(counter: &Counter, times: i64) {
    for n in 0..times {
        counter.add(&ShardKey::Int8(n % KEYS), 1);
        tokio::time::sleep(BEAT).await;
    }
}

async fn total(scene: &Scene) -> Result<u64> {
    let sum = scene
        .sum_at_primaries("SELECT coalesce(sum(value), 0)::bigint FROM app_counter")
        .await?;
    Ok(u64::try_from(sum)?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_reaches_redis_is_counted_once_and_a_crash_loses_what_was_not_sent() -> Result<()> {
    let scene = Box::pin(Scene::start(Backing::Full)).await?;
    // Stopped in order: nothing is lost, though all flush at once.
    let (stop, stopped) = tokio::sync::watch::channel(());
    let mut running = Vec::new();
    for n in 0..4 {
        let (counter, mut stopped) = (counter(&scene, Region::ALL[n % 2]), stopped.clone());
        let runs = counter.clone();
        let run = tokio::spawn(async move { runs.run(async { drop(stopped.changed().await) }).await });
        running.push((counter, run));
    }
    let counting = running.iter().map(|(counter, _)| count(counter, 200));
    futures_util::future::join_all(counting).await;
    stop.send(())?;
    for (counter, run) in running {
        run.await?;
        assert_eq!(counter.at_risk(), 0);
    }
    let mut expected = 800;
    assert_eq!(total(&scene).await?, expected);
    let east = counter(&scene, Region::UsEast);
    let read = async |reader: Reader| east.value(&reader, &ShardKey::Int8(3)).await;
    let database = scene.database(Region::UsEast);
    let value: i64 = database.read(&Context::background(), Level::Strong, read).await?;
    assert_eq!(value, 80);

    // Killed at any moment: what was at risk is lost at the most, and nothing is counted twice.
    let (mut added, mut at_risk) = (0, 0);
    for n in 0..8 {
        let counter = counter(&scene, Region::ALL[n % 2]);
        let runs = counter.clone();
        let run = tokio::spawn(async move { runs.run(std::future::pending()).await });
        let times = 60 + 17 * i64::try_from(n)?;
        count(&counter, times).await;
        run.abort();
        let _ = run.await;
        added += u64::try_from(times)?;
        at_risk += counter.at_risk();
    }
    let last = counter(&scene, Region::UsEast);
    last.run(std::future::ready(())).await;
    let counted = total(&scene).await? - expected;
    println!("{added} added, {counted} counted, {at_risk} were at risk in 8 crashes");
    assert!(counted <= added, "twice");
    assert!(counted >= added - at_risk, "what had reached Redis is lost");
    // A beat is 2 ms at the least, so that 50 ms and the time of a message to Redis hold a few dozen.
    assert!(at_risk < 8 * 60, "more is at risk than the bound says");
    expected += counted;

    // While Redis is gone counts wait; what it had and lost is lost.
    let waiting = counter(&scene, Region::UsEast);
    let redis = scene.cluster.redis(Region::UsEast).unwrap();
    redis.stop(StopMode::Immediate).await?;
    count(&waiting, 100).await;
    waiting.run(std::future::ready(())).await;
    assert_eq!(waiting.at_risk(), 100);
    redis.start_again().await?;
    until("the counts arrive", async || {
        waiting.run(std::future::ready(())).await;
        total(&scene).await.unwrap() == expected + 100
    })
    .await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_rows_are_removed_in_batches_and_young_ones_stay() -> Result<()> {
    let scene = Box::pin(Scene::start(Backing::Embedded)).await?;
    for (table, columns, values) in [
        ("app_inbox", "consumer, event_id", "'c', gen_random_uuid()"),
        ("app_idempotency", "key, operation", "n::text || age, 'o'"),
    ] {
        let sql = format!(
            "INSERT INTO {table} (shard_key, {columns}, at) SELECT n, {values}, now() - age * interval '1 hour' \
             FROM generate_series(1, 25) AS n, unnest(ARRAY[1, 100]) AS age"
        );
        scene.at_primaries(&sql).await?;
    }
    let hours = |hours: u64| Duration::from_secs(3_600 * hours);
    let settings = PurgeSettings {
        inbox: hours(50),
        idempotency: hours(200),
        batch: 10,
        pause: Duration::from_millis(1),
        idle: hours(1),
    };
    for shard in scene.cluster.shards() {
        let url = shard.primary.url(SHOP, SHOP);
        let purge = Purge::new(&scene.store, &url, settings, NoTls)?;
        assert_eq!(purge.once().await?, 25, "those of the inbox that are old");
        assert_eq!(purge.once().await?, 0);
    }
    let left = "SELECT count(*) FROM app_inbox WHERE at < now() - interval '2 hours'";
    assert_eq!(scene.sum_at_primaries(left).await?, 0);
    assert_eq!(
        scene.sum_at_primaries("SELECT count(*) FROM app_inbox").await?,
        50
    );
    assert_eq!(
        scene
            .sum_at_primaries("SELECT count(*) FROM app_idempotency")
            .await?,
        100
    );
    Ok(())
}
