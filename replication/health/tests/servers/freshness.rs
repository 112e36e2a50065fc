//! Roles, positions, freshness, and samples on demand while all is well.

use crate::fixture::{
    CONFIG, ONE, SHARD, SOON, TWO, both_up, monitor_of, pair, primary, spec, state, up_as, write,
};
use cluster::Postgres;
use health::{ProbeConfig, SampleRequests, boot_time};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use topology::{Mono, Position, Role, Snapshot, Timeline};

#[tokio::test]
async fn roles_timelines_and_positions_are_the_servers_own() {
    let (one, two, monitor, coherence) = pair().await;
    let snapshot = both_up(&monitor).await;
    assert_eq!(primary(&snapshot), Some(ONE));
    for id in [ONE, TWO] {
        let server = state(&snapshot, id);
        assert_eq!(
            (server.timeline, server.incarnation),
            (Timeline(1), 1),
            "{server:?}"
        );
        assert!(server.round_trip > Duration::ZERO && server.last_error.is_none());
    }
    let client = one.connect("ringway", "shop").await.unwrap();
    client.batch_execute("CREATE TABLE t (id serial)").await.unwrap();
    let written = Position::new(Timeline(1), write(&client).await.parse().unwrap());
    let acknowledged = boot_time();
    let reached = |s: &Snapshot| state(s, TWO).replay.is_some_and(|r| r.position >= written);
    let snapshot = monitor
        .wait_for(SOON, reached)
        .await
        .expect("the standby replays the write");
    // What the standby says it has replayed really is there.
    let there = two.connect("ringway", "shop").await.unwrap();
    let count: i64 = there
        .query_one("SELECT count(*) FROM t", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(count, 1);
    assert!(state(&snapshot, TWO).replay.unwrap().asked_at <= boot_time());
    // And it becomes fresh as of a moment after the write.
    let fresh = |s: &Snapshot| state(s, TWO).fresh_as_of.is_some_and(|at| at >= acknowledged);
    monitor.wait_for(SOON, fresh).await.expect("the standby is fresh");
    assert!(
        coherence
            .shard(SHARD)
            .unwrap()
            .view()
            .freshness_of(written)
            .is_some()
    );
}

#[tokio::test]
async fn a_standby_stays_fresh_while_writes_go_on_and_ages_while_replay_is_held() {
    let (one, two, monitor, _coherence) = pair().await;
    both_up(&monitor).await;
    let client = one.connect("ringway", "shop").await.unwrap();
    client.batch_execute("CREATE TABLE t (id serial)").await.unwrap();
    let bound = Duration::from_secs(3);
    let age = || {
        let snapshot = monitor.snapshots().load_full();
        state(&snapshot, TWO)
            .fresh_as_of
            .map_or(Duration::MAX, |at| boot_time().since(at))
    };
    let writing = Instant::now();
    let mut measured = 0;
    while writing.elapsed() < Duration::from_secs(2) {
        write(&client).await;
        measured += usize::from(age() < bound);
    }
    assert!(measured > 0 && age() < bound, "{:?}", age());

    let there = two.connect("ringway", "shop").await.unwrap();
    there.batch_execute("SELECT pg_wal_replay_pause()").await.unwrap();
    let held = boot_time();
    write(&client).await;
    let acknowledged = boot_time();
    monitor
        .wait_for(SOON, |s| state(s, TWO).replay.is_some_and(|r| r.asked_at > held))
        .await
        .unwrap();
    // Wait until a primary's sample lies behind the write, so that it could be mistaken for freshness.
    let mut versions = monitor.versions();
    for _ in 0..10 {
        versions.changed().await.unwrap();
        let snapshot = monitor.snapshots().load_full();
        assert!(
            state(&snapshot, TWO)
                .fresh_as_of
                .is_none_or(|at| at < acknowledged),
            "it can't have the write"
        );
    }
    there
        .batch_execute("SELECT pg_wal_replay_resume()")
        .await
        .unwrap();
    let fresh = |s: &Snapshot| state(s, TWO).fresh_as_of.is_some_and(|at| at >= acknowledged);
    monitor.wait_for(SOON, fresh).await.expect("it catches up");
}

#[tokio::test]
async fn an_idle_standby_is_fresh_behind_a_switch_of_files() {
    let (one, _two, monitor, _coherence) = pair().await;
    both_up(&monitor).await;
    let client = one.connect("ringway", "shop").await.unwrap();
    client.batch_execute("CREATE TABLE t (id serial)").await.unwrap();
    let position = async || {
        let row = client
            .query_one("SELECT pg_current_wal_insert_lsn()::text", &[])
            .await
            .unwrap();
        row.get::<_, String>(0)
    };
    for _ in 0..5 {
        write(&client).await;
        client.batch_execute("SELECT pg_switch_wal()").await.unwrap();
        let (switched, begun) = (position().await, boot_time());
        let fresh = |s: &Snapshot| state(s, TWO).fresh_as_of >= Some(begun);
        monitor.wait_for(SOON, fresh).await.expect("the standby is fresh");
        // Unless the server has written something by itself meanwhile, which would have helped.
        if position().await == switched {
            return;
        }
    }
    panic!("the server never rests");
}

#[tokio::test]
async fn a_sample_on_demand_is_begun_after_it_was_asked_for_and_shared() {
    let one = Postgres::start(spec()).await.unwrap();
    // So rarely by itself that every sample below is one on demand.
    let rare = ProbeConfig {
        interval: Duration::from_secs(3600),
        ..CONFIG
    };
    let (monitor, _coherence) = monitor_of(&[one.port()], rare);
    monitor
        .wait_for(SOON, |s| up_as(s, ONE, Role::Primary))
        .await
        .unwrap();
    let client = one.connect("ringway", "shop").await.unwrap();
    client.batch_execute("CREATE TABLE t (id serial)").await.unwrap();
    let requests = monitor.samples();
    for _ in 0..20 {
        let written = write(&client).await.parse().unwrap();
        let acknowledged = boot_time();
        let sample = requests
            .sample_after(SHARD, acknowledged, Timeline(1), SOON)
            .await
            .unwrap();
        assert!(sample.asked_at >= acknowledged && sample.position.lsn >= written);
    }
    // A hundred at once, from threads with runtimes of their own, share a few samples.
    let asking = tokio::task::spawn_blocking(move || {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| ask_at_once(&requests, 25)))
                .collect();
            threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap())
                .collect::<BTreeSet<_>>()
        })
    });
    let samples = asking.await.unwrap();
    assert!(
        (1..=12).contains(&samples.len()),
        "{} samples for 100 requests",
        samples.len()
    );
}

/// Makes `count` requests at once on a runtime of this thread, and gives the times of the samples that answered them.
fn ask_at_once(requests: &SampleRequests, count: usize) -> Vec<Mono> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut waiting = JoinSet::new();
        for _ in 0..count {
            let (requests, after) = (requests.clone(), boot_time());
            waiting.spawn(async move {
                let sample = requests
                    .sample_after(SHARD, after, Timeline(1), SOON)
                    .await
                    .unwrap();
                assert!(sample.asked_at >= after);
                sample.asked_at
            });
        }
        waiting.join_all().await
    })
}
