//! Roles and timelines that change.

use crate::fixture::{CONFIG, ONE, SHARD, SOON, TWO, both_up, monitor_of, pair, primary, spec, state, up_as};
use cluster::{Postgres, StopMode};
use health::{ProbeConfig, Rest, SampleError, boot_time};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use topology::{EndpointId, Health, Role, Snapshot, Timeline};

#[tokio::test]
async fn after_a_promotion_the_old_primary_is_none_even_when_it_returns() {
    let (one, two, monitor, coherence) = pair().await;
    both_up(&monitor).await;
    let requests = monitor.samples();
    one.stop(StopMode::Immediate).await.unwrap();
    monitor
        .wait_for(SOON, |s| primary(s).is_none())
        .await
        .expect("no primary");
    let asked = requests.sample_after(SHARD, boot_time(), Timeline(1), SOON).await;
    assert_eq!(asked, Err(SampleError::NoPrimary(SHARD)));
    two.promote().await.unwrap();
    let promoted = monitor
        .wait_for(SOON, |s| primary(s) == Some(TWO))
        .await
        .expect("the new primary");
    assert_eq!(state(&promoted, TWO).timeline, Timeline(2));
    let sample = requests
        .sample_after(SHARD, boot_time(), Timeline(2), SOON)
        .await
        .unwrap();
    assert_eq!((sample.server, sample.position.timeline), (TWO, Timeline(2)));

    one.start_again().await.unwrap();
    let zombie = |s: &Snapshot| {
        state(s, ONE)
            .last_error
            .as_deref()
            .is_some_and(|e| e.contains("old primary"))
    };
    let snapshot = monitor
        .wait_for(SOON, zombie)
        .await
        .expect("the old one is found out");
    assert_eq!(primary(&snapshot), Some(TWO));
    assert_eq!(state(&snapshot, ONE).health, Health::Down);
    // Also when the new one is lost: the old one has not what was acknowledged there.
    two.stop(StopMode::Immediate).await.unwrap();
    let snapshot = monitor.wait_for(SOON, |s| primary(s) != Some(TWO)).await.unwrap();
    assert_eq!(primary(&snapshot), None);
    let newest = coherence
        .shard(SHARD)
        .unwrap()
        .view()
        .position_since(sample.asked_at, Timeline(2));
    assert!(
        newest.is_some_and(|p| p.timeline == Timeline(2)),
        "no sample of the old one came after"
    );
}

#[tokio::test]
async fn a_statement_after_a_rest_does_not_believe_a_primary_that_was_replaced_meanwhile() {
    let one = Postgres::start(spec()).await.unwrap();
    let two = one.standby("two").await.unwrap();
    let config = ProbeConfig {
        // A statement waits for so long at most: here for as long as it takes.
        interval: SOON,
        timeout: SOON,
        rest: Rest {
            after: Duration::from_millis(200),
            interval: 10 * SOON,
        },
        ..CONFIG
    };
    let (monitor, _coherence) = monitor_of(&[one.port(), two.port()], config);
    both_up(&monitor).await;
    let pace = monitor.pace();
    tokio::time::timeout(SOON, pace.rested()).await.expect("a rest");
    // The old primary lives on.
    two.promote().await.unwrap();
    let snapshots = monitor.snapshots();
    assert_eq!(primary(&snapshots.load()), Some(ONE), "nobody has asked");
    assert!(!pace.note_statement());
    pace.wake().await;
    assert_eq!(primary(&snapshots.load()), Some(TWO));
    assert_eq!(state(&snapshots.load(), ONE).health, Health::Down);
    assert!(pace.note_statement());
    // A server that is down is not waited for.
    one.stop(StopMode::Immediate).await.unwrap();
    monitor
        .wait_for(SOON, |s| {
            let error = state(s, ONE).last_error.as_deref();
            error.is_some_and(|error| !error.contains("old primary"))
        })
        .await
        .expect("down");
    tokio::time::timeout(SOON, pace.rested()).await.expect("a rest");
    tokio::time::timeout(SOON / 2, pace.wake()).await.expect("awake");
}

#[tokio::test]
async fn the_timeline_of_a_standby_is_that_of_replay() {
    const THREE: EndpointId = EndpointId(2);
    let one = Postgres::start(spec().setting("wal_retrieve_retry_interval", "100ms"))
        .await
        .unwrap();
    let (two, three) = (
        one.standby("two").await.unwrap(),
        one.standby("three").await.unwrap(),
    );
    let (monitor, _coherence) = monitor_of(&[one.port(), two.port(), three.port()], CONFIG);
    let begun = boot_time();
    let caught_up = |s: &Snapshot| {
        [TWO, THREE]
            .iter()
            .all(|id| state(s, *id).fresh_as_of >= Some(begun))
    };
    monitor
        .wait_for(SOON, caught_up)
        .await
        .expect("both standbys have replayed everything");
    one.stop(StopMode::Fast).await.unwrap();
    two.promote().await.unwrap();
    let promoted = two.connect("postgres", "postgres").await.unwrap();
    promoted
        .batch_execute("SELECT pg_create_physical_replication_slot('three')")
        .await
        .unwrap();
    // Three follows two through a gate that holds its request for the new timeline until its replay is asleep.
    let gate = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let there = three.connect("postgres", "postgres").await.unwrap();
    let sql = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'startup'";
    let replayer = rustix::process::Pid::from_raw(there.query_one(sql, &[]).await.unwrap().get(0)).unwrap();
    let upstream = format!(
        "host=127.0.0.1 port={} user=replicator password=replicator",
        gate.local_addr().unwrap().port()
    );
    let sleep = move || rustix::process::kill_process(replayer, rustix::process::Signal::STOP).unwrap();
    let gate = tokio::spawn(pass(gate, two.port(), b"TIMELINE 2", sleep));
    three.configure(&[("primary_conninfo", &upstream)]).await.unwrap();
    let received = "SELECT count(*) FROM pg_stat_wal_receiver WHERE received_tli = 2";
    let end = Instant::now() + SOON;
    while there.query_one(received, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        assert!(Instant::now() < end, "three receives the new timeline");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let begun = boot_time();
    let asked = |s: &Snapshot| state(s, THREE).replay.is_some_and(|r| r.asked_at > begun);
    let snapshot = monitor.wait_for(SOON, asked).await.expect("three is asked");
    assert_eq!(
        state(&snapshot, THREE).timeline,
        Timeline(1),
        "received, not replayed"
    );
    assert_eq!(state(&snapshot, TWO).timeline, Timeline(2));
    rustix::process::kill_process(replayer, rustix::process::Signal::CONT).unwrap();
    let replayed = |s: &Snapshot| {
        state(s, THREE)
            .replay
            .is_some_and(|r| r.position.timeline == Timeline(2))
    };
    monitor
        .wait_for(SOON, replayed)
        .await
        .expect("three replays the new timeline");
    gate.abort();
}

/// Passes connections on to `port`, and calls `held` before it passes on what contains `word`.
async fn pass(gate: TcpListener, port: u16, word: &'static [u8], held: impl Fn() + Copy + Send + 'static) {
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = gate.accept().await {
        let far = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let ((mut near_in, mut near_out), (mut far_in, mut far_out)) = (near.into_split(), far.into_split());
        connections.spawn(async move {
            let _ended = tokio::io::copy(&mut far_in, &mut near_out).await;
        });
        connections.spawn(async move {
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(len @ 1..) = near_in.read(&mut buffer).await {
                if buffer[..len].windows(word.len()).any(|window| window == word) {
                    held();
                }
                if far_out.write_all(&buffer[..len]).await.is_err() {
                    break;
                }
            }
        });
    }
}

#[tokio::test]
async fn a_primary_may_come_back_as_a_standby_and_be_promoted() {
    let one = Postgres::start(spec()).await.unwrap();
    let client = one.connect("ringway", "shop").await.unwrap();
    let witness = "CREATE SCHEMA ringway; CREATE UNLOGGED TABLE ringway.witness (epoch bigint NOT NULL)";
    client.batch_execute(witness).await.unwrap();
    let (monitor, _coherence) = monitor_of(&[one.port()], CONFIG);
    monitor
        .wait_for(SOON, |s| up_as(s, ONE, Role::Primary))
        .await
        .expect("a primary");
    one.stop(StopMode::Fast).await.unwrap();
    std::fs::write(one.data().join("standby.signal"), "").unwrap();
    one.start_again().await.unwrap();
    let snapshot = monitor
        .wait_for(SOON, |s| up_as(s, ONE, Role::Standby))
        .await
        .expect("a standby");
    assert_eq!(
        (primary(&snapshot), state(&snapshot, ONE).timeline),
        (None, Timeline(1))
    );
    one.promote().await.unwrap();
    let snapshot = monitor
        .wait_for(SOON, |s| primary(s) == Some(ONE))
        .await
        .expect("a primary again");
    assert_eq!(state(&snapshot, ONE).timeline, Timeline(2));
}
