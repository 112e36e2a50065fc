//! The commands and the life of `serve`, on real servers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use cluster::{Backing, Cluster, ClusterSpec, Postgres, Region, StopMode};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// For anything that should happen soon, on a busy machine.
const SOON: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

fn executable() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_ringway"))
}

/// Ends the process whatever the test does.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Proxy {
    fn start(config: &Path) -> Self {
        let mut command = Command::new(executable());
        command
            .args(["serve", "--config"])
            .arg(config)
            .stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    async fn exit_code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "still running");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// A cluster with a configuration file for it.
struct World {
    cluster: Cluster,
    folder: tempfile::TempDir,
}

impl World {
    async fn start(shards: u16, install_sql: &str) -> Self {
        Self::start_on(Backing::Embedded, shards, install_sql).await
    }

    async fn start_on(backing: Backing, shards: u16, install_sql: &str) -> Self {
        let cluster = Cluster::start(ClusterSpec::new(shards, backing, install_sql).unwrap())
            .await
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ringway.toml"), cluster.config(Region::UsEast)).unwrap();
        Self { cluster, folder }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("ringway.toml")
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(executable());
        let Output {
            status,
            stdout,
            stderr,
        } = command
            .args(arguments)
            .env("RINGWAY_CONFIG", self.config())
            .output()
            .unwrap();
        let text = [stdout, stderr]
            .map(|bytes| String::from_utf8(bytes).unwrap())
            .concat();
        (status.code(), text)
    }

    fn check(&self, arguments: &[&str], code: i32, parts: &[&str]) {
        let (found, text) = self.run(arguments);
        assert_eq!(found, Some(code), "{arguments:?}: {text}");
        for part in parts {
            assert!(
                text.contains(part),
                "{part:?} is not in the output of {arguments:?}:\n{text}"
            );
        }
    }

    async fn get(&self, path: &str) -> String {
        let (_, port) = self.cluster.ringway_ports(Region::UsEast);
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else {
            return String::new();
        };
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let mut answer = String::new();
        if stream.write_all(request.as_bytes()).await.is_ok() {
            // Cut off where the process ends meanwhile.
            let _ = stream.read_to_string(&mut answer).await;
        }
        answer
    }

    async fn wait_for(&self, path: &str, part: &str) -> String {
        let deadline = Instant::now() + SOON;
        loop {
            let answer = self.get(path).await;
            if answer.contains(part) {
                return answer;
            }
            assert!(Instant::now() < deadline, "no {part:?} in {path}: {answer}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn primary(&self, shard: usize) -> &Postgres {
        &self.cluster.shards()[shard].primary
    }

    async fn client(
        &self,
        role: &str,
        database: &str,
    ) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
        let (port, _) = self.cluster.ringway_ports(Region::UsEast);
        let secrets = self.cluster.secrets();
        let password = if role == "shop" {
            &secrets.shop
        } else {
            &secrets.control
        };
        let mut config = tokio_postgres::Config::new();
        config
            .host("127.0.0.1")
            .port(port)
            .user(role)
            .password(password)
            .dbname(database);
        let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }
}

async fn show(client: &tokio_postgres::Client, what: &str) -> Vec<Vec<Option<String>>> {
    let rows = client.simple_query(&format!("SHOW {what}")).await.unwrap();
    rows.iter()
        .filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|n| row.get(n).map(str::to_owned)).collect())
            }
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn from_bare_servers_to_a_proxy_that_drains() {
    let world = World::start(2, "SELECT 1").await;

    // Without the install script it says so, everywhere.
    world.check(
        &["check"],
        3,
        &["schema ringway is missing: run `ringway install`"],
    );
    let mut proxy = Proxy::start(&world.config());
    let answer = world.wait_for("/readyz", "schema ringway is missing").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(world.get("/livez").await.starts_with("HTTP/1.1 200"));

    world.check(&["install"], 0, &["shard-0", "shard-1", "installed"]);
    world.check(&["check"], 0, &["primary"]);
    world.wait_for("/readyz", "ready\n").await;
    world
        .wait_for("/readyz?verbose", "[+] stream shard-1 shop ok")
        .await;

    // A second one on the same ports says which.
    let (port, _) = world.cluster.ringway_ports(Region::UsEast);
    world.check(&["serve"], 1, &[&format!("port {port} is taken")]);

    // The proxy made the map, and nobody replaces it.
    world.check(&["topology", "show"], 0, &["from_slot", "shard-1"]);
    world.check(&["topology", "init"], 4, &["is there already"]);

    let client = world.client("shop", "shop").await.unwrap();
    client
        .batch_execute("CREATE TABLE users (user_id bigint PRIMARY KEY, name text)")
        .await
        .unwrap();
    for shard in 0..2 {
        let direct = world.primary(shard).connect("postgres", "shop").await.unwrap();
        direct.execute("SELECT FROM users", &[]).await.unwrap();
    }
    let sql = "SELECT * FROM users WHERE user_id = 42";
    world.check(
        &["route", sql],
        0,
        &["single", "us-east", "primary key (user_id = 42)"],
    );
    let insert = "INSERT INTO users VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')";
    world.check(
        &["route", insert],
        0,
        &["split", "two-phase commit", "shard-0", "shard-1"],
    );
    world.check(
        &["route", "SELECT * FROM users FOR UPDATE", "--output", "json"],
        0,
        &["\"value\": \"0A000\""],
    );

    let admin = world.client("ringway", "ringway").await.unwrap();
    assert_eq!(show(&admin, "STREAM").await.len(), 2);
    assert!(!show(&admin, "POOLS").await.is_empty());
    assert!(
        show(&admin, "CLIENTS")
            .await
            .iter()
            .any(|row| row.contains(&Some("shop".to_owned())))
    );

    // A transaction gets time to end; nobody new comes in.
    client
        .batch_execute("BEGIN; INSERT INTO users VALUES (1, 'a')")
        .await
        .unwrap();
    proxy.signal("-TERM");
    world.wait_for("/readyz", "draining").await;
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(proxy.exit_code().await, Some(0));
    assert!(world.client("shop", "shop").await.is_err());
}

#[tokio::test]
async fn a_reload_changes_what_it_can_and_a_second_signal_ends_at_once() {
    let world = World::start(1, changes::INSTALL_SQL).await;
    let mut proxy = Proxy::start(&world.config());
    world.wait_for("/readyz", "ready\n").await;
    let admin = world.client("ringway", "ringway").await.unwrap();
    let setting = async |key: &str| {
        let rows = show(&admin, "CONFIG").await;
        rows.into_iter()
            .find(|row| row[0].as_deref() == Some(key))
            .and_then(|row| row[1].clone())
    };

    let good = std::fs::read_to_string(world.config()).unwrap();
    std::fs::write(
        world.config(),
        format!("{good}\n[pool]\ndefault_pool_size = 7\nnonsense = 1\n"),
    )
    .unwrap();
    proxy.signal("-HUP");
    std::fs::write(world.config(), format!("{good}\n[pool]\ndefault_pool_size = 3\n")).unwrap();
    let deadline = Instant::now() + SOON;
    while setting("pool.default_pool_size").await.as_deref() != Some("3") {
        assert!(
            Instant::now() < deadline,
            "{:?}",
            setting("pool.default_pool_size").await
        );
        proxy.signal("-HUP");
        tokio::time::sleep(PAUSE).await;
    }

    let client = world.client("shop", "shop").await.unwrap();
    client
        .batch_execute("BEGIN; SELECT pg_backend_pid()")
        .await
        .unwrap();
    proxy.signal("-TERM");
    world.wait_for("/readyz", "draining").await;
    proxy.signal("-TERM");
    assert_eq!(proxy.exit_code().await, Some(0));
}

#[tokio::test]
async fn statements_are_answered_without_kafka_and_redis() {
    let world = World::start_on(Backing::Full, 1, changes::INSTALL_SQL).await;
    let _proxy = Proxy::start(&world.config());
    world
        .wait_for("/readyz?verbose", "[+] stream shard-0 shop ok")
        .await;
    assert!(world.get("/readyz?verbose").await.contains("[+] redis ok"));
    let client = world.client("shop", "shop").await.unwrap();
    for sql in [
        "CREATE TABLE users (user_id bigint PRIMARY KEY, name text)",
        "INSERT INTO users VALUES (1, 'a')",
    ] {
        client.batch_execute(sql).await.unwrap();
    }

    world
        .cluster
        .kafka()
        .unwrap()
        .stop(StopMode::Immediate)
        .await
        .unwrap();
    world
        .cluster
        .redis(Region::UsEast)
        .unwrap()
        .stop(StopMode::Immediate)
        .await
        .unwrap();
    for name in ["b", "c", "d"] {
        client
            .execute("UPDATE users SET name = $1 WHERE user_id = 1", &[&name])
            .await
            .unwrap();
        let row = client
            .query_one("SELECT name FROM users WHERE user_id = 1", &[])
            .await
            .unwrap();
        assert_eq!(row.get::<_, &str>(0), name);
    }
    assert!(world.get("/readyz").await.starts_with("HTTP/1.1 200"));

    world.cluster.kafka().unwrap().start_again().await.unwrap();
    let admin = world.client("ringway", "ringway").await.unwrap();
    // The ninth column counts the messages that were applied.
    let applied = async || show(&admin, "STREAM").await[0][8].clone();
    let before = applied().await;
    let deadline = Instant::now() + SOON;
    while applied().await == before {
        assert!(Instant::now() < deadline, "the stream doesn't go on: {before:?}");
        tokio::time::sleep(PAUSE).await;
    }
}

#[tokio::test]
async fn without_a_primary_it_waits_and_ends_when_told() {
    let world = World::start(1, changes::INSTALL_SQL).await;
    world.primary(0).stop(StopMode::Immediate).await.unwrap();
    let mut proxy = Proxy::start(&world.config());
    world.wait_for("/readyz", "shard shard-0: no primary").await;
    world.check(
        &["route", "SELECT 1"],
        1,
        &["no primary of shard-0 can be reached"],
    );
    proxy.signal("-TERM");
    assert_eq!(proxy.exit_code().await, Some(0));
}

#[tokio::test]
async fn what_is_wrong_is_said_with_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("ringway.toml");
    let run = |command: &str| {
        let output = Command::new(executable())
            .args([command, "--config"])
            .arg(&config)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for command in ["serve", "check", "install"] {
        let (code, text) = run(command);
        assert_eq!(code, Some(2), "{text}");
        assert!(
            text.contains("can't read") && text.contains("ringway.toml"),
            "{text}"
        );
    }
    std::fs::write(&config, "regoin = \"here\"\n").unwrap();
    let (code, text) = run("serve");
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("did you mean `region`?"), "{text}");
}
