//! The probes against real servers: roles, timelines, freshness, stops, crashes and a promotion.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use cluster::{Postgres, PostgresSpec, StopMode};
use coherence::Coherence;
use health::{Monitor, ProbeConfig, ProbedEndpoint, ProbedShard, SampleError, boot_time};
use pool::{Address, BackendTarget, Password};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use topology::{
    Endpoint, EndpointId, EndpointState, Epoch, Health, Position, RegionName, Role, SLOT_COUNT, ShardId,
    SlotMap, Snapshot, Timeline,
};

const SHARD: ShardId = ShardId(0);
const ONE: EndpointId = EndpointId(0);
const TWO: EndpointId = EndpointId(1);
/// For what must happen soon, on a busy machine.
const SOON: Duration = Duration::from_secs(30);
const CONFIG: ProbeConfig = ProbeConfig {
    interval: Duration::from_millis(100),
    timeout: Duration::from_secs(2),
    failures_until_down: 2,
};

fn spec() -> PostgresSpec {
    PostgresSpec::new("one")
        .role("ringway", "secret", "SUPERUSER REPLICATION")
        .database("shop", "ringway")
}

fn probed(id: EndpointId, port: u16) -> ProbedEndpoint {
    let mut target = BackendTarget::new(Address::new("127.0.0.1", port), "shop", "ringway");
    target.password = Some(Password::new("secret"));
    let region = RegionName::new("us-east");
    ProbedEndpoint {
        endpoint: Endpoint {
            id,
            shard: SHARD,
            region,
            host: "127.0.0.1".to_owned(),
            port,
        },
        target,
    }
}

fn monitor_of(ports: &[u16], config: ProbeConfig) -> (Monitor, Arc<Coherence>) {
    let coherence = Arc::new(Coherence::new(1, 64));
    let map = Arc::new(SlotMap::new(1, vec![SHARD; usize::from(SLOT_COUNT)]).unwrap());
    let endpoints = (0..)
        .zip(ports)
        .map(|(id, port)| probed(EndpointId(id), *port))
        .collect();
    let shards = vec![ProbedShard {
        name: Arc::from("zero"),
        endpoints,
    }];
    let monitor = Monitor::start(
        RegionName::new("us-east"),
        map,
        shards,
        config,
        Arc::clone(&coherence),
    );
    (monitor, coherence)
}

async fn pair() -> (Postgres, Postgres, Monitor, Arc<Coherence>) {
    let one = Postgres::start(spec()).await.unwrap();
    let two = one.standby("two").await.unwrap();
    let (monitor, coherence) = monitor_of(&[one.port(), two.port()], CONFIG);
    (one, two, monitor, coherence)
}

fn state(snapshot: &Snapshot, id: EndpointId) -> &EndpointState {
    snapshot
        .shard(SHARD)
        .unwrap()
        .endpoints
        .iter()
        .find(|e| e.endpoint.id == id)
        .unwrap()
}

fn up_as(snapshot: &Snapshot, id: EndpointId, role: Role) -> bool {
    let server = state(snapshot, id);
    server.health == Health::Up && server.role == Some(role)
}

fn primary(snapshot: &Snapshot) -> Option<EndpointId> {
    snapshot.shard(SHARD).unwrap().primary().map(|e| e.endpoint.id)
}

async fn both_up(monitor: &Monitor) -> Arc<Snapshot> {
    let both = |s: &Snapshot| up_as(s, ONE, Role::Primary) && up_as(s, TWO, Role::Standby);
    monitor.wait_for(SOON, both).await.expect("both are up")
}

/// Writes a row and gives the insert position after its commit, as the server names it.
async fn write(client: &tokio_postgres::Client) -> String {
    client
        .batch_execute("INSERT INTO t DEFAULT VALUES")
        .await
        .unwrap();
    let row = client
        .query_one("SELECT pg_current_wal_insert_lsn()::text", &[])
        .await
        .unwrap();
    row.get(0)
}

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
    let enough = Arc::new(AtomicBool::new(false));
    let counting = count_samples(&monitor, Arc::clone(&enough));
    let askers = tokio::task::spawn_blocking(move || {
        std::thread::scope(|scope| {
            let ask = || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    let mut waiting = JoinSet::new();
                    for _ in 0..25 {
                        let (requests, after) = (requests.clone(), boot_time());
                        waiting.spawn(async move {
                            let sample = requests
                                .sample_after(SHARD, after, Timeline(1), SOON)
                                .await
                                .unwrap();
                            assert!(sample.asked_at >= after);
                        });
                    }
                    while let Some(done) = waiting.join_next().await {
                        done.unwrap();
                    }
                });
            };
            (0..4).for_each(|_| drop(scope.spawn(ask)));
        });
        enough.store(true, Ordering::Release);
    });
    let (asked, samples) = tokio::join!(askers, counting);
    asked.unwrap();
    assert!((1..=8).contains(&samples), "{samples} samples for 100 requests");
}

/// Counts the different samples that come until `enough`.
async fn count_samples(monitor: &Monitor, enough: Arc<AtomicBool>) -> usize {
    let requests = monitor.samples();
    let mut seen = std::collections::BTreeSet::new();
    let first = requests.latest(SHARD).map(|sample| sample.asked_at);
    while !enough.load(Ordering::Acquire) {
        seen.extend(requests.latest(SHARD).map(|sample| sample.asked_at));
        tokio::task::yield_now().await;
    }
    seen.into_iter().filter(|at| Some(*at) != first).count()
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
