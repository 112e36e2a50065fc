//! Servers that stop, crash, fall silent or never were there.

use crate::fixture::{CONFIG, ONE, SHARD, SOON, TWO, both_up, monitor_of, pair, primary, spec, state, up_as};
use cluster::{Postgres, StopMode};
use health::{ProbeConfig, SampleError, boot_time};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use topology::{Epoch, Health, Role, Snapshot, Timeline};

#[tokio::test]
async fn a_stopped_standby_is_down_and_comes_back_in_a_new_life() {
    let (_one, two, monitor, _coherence) = pair().await;
    let before = both_up(&monitor).await;
    let before = state(&before, TWO).incarnation;
    two.stop(StopMode::Fast).await.unwrap();
    let down = |s: &Snapshot| state(s, TWO).health == Health::Down;
    let snapshot = monitor.wait_for(SOON, down).await.expect("it is down");
    assert!(state(&snapshot, TWO).last_error.is_some() && state(&snapshot, TWO).replay.is_none());
    assert_eq!(primary(&snapshot), Some(ONE));
    two.start_again().await.unwrap();
    let snapshot = both_up(&monitor).await;
    assert!(state(&snapshot, TWO).incarnation > before);
    assert!(state(&snapshot, TWO).last_error.is_none());
}

#[tokio::test]
async fn a_crash_of_the_primary_is_a_new_life_and_takes_the_witness() {
    let one = Postgres::start(spec()).await.unwrap();
    let client = one.connect("ringway", "shop").await.unwrap();
    let epoch = Epoch::new(Timeline(1), 5);
    let (monitor, _coherence) = monitor_of(&[one.port()], CONFIG);
    let requests = monitor.samples();
    let sample = requests
        .sample_after(SHARD, boot_time(), Timeline(1), SOON)
        .await
        .unwrap();
    assert_eq!(sample.witness, None, "there is no witness at all");
    let witness = format!(
        "CREATE SCHEMA ringway; CREATE UNLOGGED TABLE ringway.witness (only_row boolean PRIMARY KEY DEFAULT true, \
         epoch bigint NOT NULL); INSERT INTO ringway.witness (epoch) VALUES ({})",
        epoch.0
    );
    client.batch_execute(&witness).await.unwrap();
    let witnessed = async |wanted: Option<Epoch>| {
        let end = Instant::now() + SOON;
        while Instant::now() < end {
            if let Ok(sample) = requests.sample_after(SHARD, boot_time(), Timeline(1), SOON).await
                && sample.witness == wanted
            {
                return true;
            }
        }
        false
    };
    assert!(
        witnessed(Some(epoch)).await,
        "the witness is read once it is there"
    );
    let before = state(&monitor.snapshots().load_full(), ONE).incarnation;

    // A backend killed hard takes all others with it; the postmaster stays and recovers.
    let row = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap();
    let backend = rustix::process::Pid::from_raw(row.get(0)).unwrap();
    rustix::process::kill_process(backend, rustix::process::Signal::KILL).unwrap();
    let reborn = |s: &Snapshot| up_as(s, ONE, Role::Primary) && state(s, ONE).incarnation > before;
    monitor
        .wait_for(SOON, reborn)
        .await
        .expect("it comes back in a new life");
    assert!(witnessed(None).await, "the crash took the witness");
    // Dropped in between, it costs one more question and no probe.
    let client = one.connect("ringway", "shop").await.unwrap();
    client.batch_execute("DROP TABLE ringway.witness").await.unwrap();
    assert!(witnessed(None).await);
    assert_eq!(primary(&monitor.snapshots().load_full()), Some(ONE));
}

#[tokio::test]
async fn unreachable_and_silent_hosts_are_down_within_their_bounds() {
    // Accepts and never answers; and a port where nobody listens.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let closed = cluster::reserve_port().unwrap();
    let config = ProbeConfig {
        timeout: Duration::from_millis(200),
        ..CONFIG
    };
    let (monitor, _coherence) = monitor_of(&[silent.local_addr().unwrap().port(), closed.port()], config);
    let all_down = |s: &Snapshot| [ONE, TWO].iter().all(|id| state(s, *id).health == Health::Down);
    let before = Instant::now();
    let snapshot = monitor.wait_for(SOON, all_down).await.expect("both are down");
    assert!(
        before.elapsed() < Duration::from_secs(5),
        "{:?}",
        before.elapsed()
    );
    assert!(state(&snapshot, ONE).last_error.is_some() && state(&snapshot, TWO).last_error.is_some());
    let requests = monitor.samples();
    let asked = requests.sample_after(SHARD, boot_time(), Timeline(1), SOON).await;
    assert_eq!(asked, Err(SampleError::NoPrimary(SHARD)));
    drop(monitor);
    let asked = requests.sample_after(SHARD, boot_time(), Timeline(1), SOON).await;
    assert_eq!(asked, Err(SampleError::ShutDown));
}

#[tokio::test]
async fn a_server_that_stops_answering_is_down_and_up_again_when_it_goes_on() {
    let one = Postgres::start(spec()).await.unwrap();
    let config = ProbeConfig {
        timeout: Duration::from_millis(300),
        ..CONFIG
    };
    let (monitor, _coherence) = monitor_of(&[one.port()], config);
    monitor
        .wait_for(SOON, |s| up_as(s, ONE, Role::Primary))
        .await
        .unwrap();
    let client = one.connect("ringway", "shop").await.unwrap();
    let sql = "SELECT pid FROM pg_stat_activity WHERE application_name = 'ringway probe'";
    let backend = rustix::process::Pid::from_raw(client.query_one(sql, &[]).await.unwrap().get(0)).unwrap();
    let postmaster = rustix::process::Pid::from_raw(one.pid().unwrap()).unwrap();
    // The probe's backend and the postmaster (for its next connections) fall asleep.
    for pid in [backend, postmaster] {
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    }
    let down = monitor
        .wait_for(SOON, |s| state(s, ONE).health == Health::Down)
        .await;
    for pid in [backend, postmaster] {
        rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    }
    assert!(down.is_some(), "silence is noticed");
    monitor
        .wait_for(SOON, |s| up_as(s, ONE, Role::Primary))
        .await
        .expect("it is up again");
}
