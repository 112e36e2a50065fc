//! Nothing outlives its owner, however the owner ended; the demo starts everything or nothing.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cluster::demo::{self, Options, Wanted};
use cluster::shop::Scale;
use cluster::{Backing, Cluster, ClusterSpec, PortPlan, Postgres, PostgresSpec, Redis, Region};

/// Long enough for an immediate shutdown on a busy machine.
const END_BOUND: Duration = Duration::from_secs(30);

/// Not a test of its own: [`servers_of_a_killed_owner_end`] runs it in a process that it kills.
#[tokio::test]
#[ignore = "runs until it is killed"]
async fn owner_to_be_killed() {
    let postgres = Postgres::start(PostgresSpec::new("orphan")).await.unwrap();
    let redis = Redis::start().await.unwrap();
    let folder = postgres.data();
    println!(
        "\nservers {} {} {}",
        postgres.pid().unwrap(),
        redis.pid().unwrap(),
        folder.display()
    );
    std::future::pending::<()>().await;
}

#[test]
fn servers_of_a_killed_owner_end() {
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "owner_to_be_killed", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let line = lines
        .find_map(|line| line.unwrap().strip_prefix("servers ").map(str::to_owned))
        .unwrap();
    let mut words = line.split(' ');
    let pids =
        [words.next().unwrap(), words.next().unwrap()].map(|pid| PathBuf::from(format!("/proc/{pid}")));
    let run = Path::new(words.next().unwrap())
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .to_owned();
    assert!(pids.iter().all(|process| process.exists()) && run.exists());
    // SIGKILL: no destructor runs.
    owner.kill().unwrap();
    owner.wait().unwrap();
    let deadline = Instant::now() + END_BOUND;
    while pids.iter().any(|process| process.exists()) || run.exists() {
        assert!(
            Instant::now() < deadline,
            "{pids:?} or {} is still there",
            run.display()
        );
        std::thread::yield_now();
    }
}

#[expect(clippy::unwrap_used, reason = "a helper of tests: a panic is the failure")]
fn no_process_in(folder: &Path) -> bool {
    let needle = folder.display().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    !processes
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .any(|line| String::from_utf8_lossy(&line).contains(&needle))
}

/// A program that stands in for `ringway` and fails with a message of its own.
#[expect(clippy::unwrap_used, reason = "a helper of tests: a panic is the failure")]
fn failing_program(folder: &Path) -> PathBuf {
    let program = folder.join("ringway");
    fs::write(
        &program,
        "#!/bin/sh\necho \"ringway: cannot do $1\" >&2\nexit 1\n",
    )
    .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

#[expect(clippy::unwrap_used, reason = "a helper of tests: a panic is the failure")]
fn options(state_dir: PathBuf, executable: PathBuf) -> Options<'static> {
    let ports = PortPlan::free(1).unwrap();
    Options {
        state_dir,
        wanted: Wanted::Embedded,
        executable,
        install_sql: "",
        ports,
        scale: Scale::SMALL,
        services: None,
    }
}

#[tokio::test]
async fn a_demo_that_fails_shows_the_last_lines_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join(".ringway");
    let error = demo::up(options(state.clone(), failing_program(folder.path())))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("ringway: cannot do topology"),
        "{error}"
    );
    assert!(no_process_in(&state));
    let left: Vec<_> = fs::read_dir(&state)
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(left, ["lock"]);
    assert!(demo::status(&state).is_empty());
    assert!(demo::down(state.clone()).await.unwrap().is_empty());
    assert!(
        demo::down(state.clone()).await.unwrap().is_empty(),
        "twice in a row works"
    );
    assert!(!state.exists());
}

#[tokio::test]
async fn a_taken_port_is_named_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join(".ringway");
    let ports = PortPlan::documented(1);
    // Free or not before: after this it is taken.
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 5500));
    let options = Options {
        ports,
        ..options(state.clone(), failing_program(folder.path()))
    };
    let error = demo::up(options).await.unwrap_err().to_string();
    assert!(error.contains("is taken (wanted for "), "{error}");
    assert!(!state.join("data").exists());
}

#[tokio::test]
async fn a_whole_cluster_starts_and_its_configuration_names_its_servers() {
    let spec = ClusterSpec::new(2, Backing::Full, "CREATE SCHEMA ringway").unwrap();
    let cluster = Cluster::start(spec).await.unwrap();
    for shard in cluster.shards() {
        let client = shard.primary.connect("shop", "shop").await.unwrap();
        client
            .batch_execute("CREATE TABLE t AS SELECT 1 AS a")
            .await
            .unwrap();
    }
    cluster.wait_replayed().await.unwrap();
    for shard in cluster.shards() {
        let client = shard.standby.connect("shop", "shop").await.unwrap();
        assert_eq!(
            client
                .query_one("SELECT a FROM t", &[])
                .await
                .unwrap()
                .get::<_, i32>(0),
            1
        );
    }
    for region in Region::ALL {
        let config = cluster.config(region);
        let redis = cluster.redis(region).unwrap();
        for expected in [
            redis.url(),
            cluster.kafka().unwrap().bootstrap(),
            region.name().to_owned(),
        ] {
            assert!(config.contains(&expected), "{expected} is not in\n{config}");
        }
    }
    assert!(
        !format!("{cluster:?}").contains(&cluster.secrets().control),
        "a password is in the Debug form"
    );
}
