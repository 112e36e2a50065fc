//! The servers start, stop, come back and leave nothing behind.

use std::path::Path;

use cluster::{Kafka, MongoDb, PgBouncer, Postgres, PostgresSpec, Programs, Redis, StopMode};

/// The superuser and its database, which every server has.
const ADMIN: (&str, &str) = ("postgres", "postgres");

#[expect(clippy::unwrap_used, reason = "a helper of tests: a panic is the failure")]
async fn one_i64(server: &Postgres, sql: &str) -> i64 {
    server
        .connect(ADMIN.0, ADMIN.1)
        .await
        .unwrap()
        .query_one(sql, &[])
        .await
        .unwrap()
        .get(0)
}

#[tokio::test]
async fn postgres_is_as_specified() {
    let spec = PostgresSpec::new("one")
        .role("shop", "a'b", "")
        .database("shop", "shop");
    let server = Postgres::start(spec).await.unwrap();
    let client = server.connect("shop", "shop").await.unwrap();
    let row = client
        .query_one(
            "SELECT current_setting('wal_level'), current_setting('server_encoding'),
                    current_setting('max_prepared_transactions')::int4 > 0,
                    (SELECT datcollate FROM pg_database WHERE datname = 'shop')",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(row.get::<_, String>(0), "logical");
    assert_eq!(row.get::<_, String>(1), "UTF8");
    assert!(row.get::<_, bool>(2));
    assert_eq!(row.get::<_, String>(3), "C.UTF-8");
    client
        .batch_execute("BEGIN; CREATE TABLE t(); PREPARE TRANSACTION 'x'")
        .await
        .unwrap();
    client.batch_execute("COMMIT PREPARED 'x'").await.unwrap();

    let mut wrong: tokio_postgres::Config = server.url("shop", "shop").parse().unwrap();
    wrong.password("wrong");
    let error = wrong.connect(tokio_postgres::NoTls).await.err().unwrap();
    assert_eq!(error.code().unwrap().code(), "28P01", "a password is asked for");
}

#[tokio::test]
async fn a_standby_streams_and_can_take_over() {
    let primary = Postgres::start(PostgresSpec::new("primary")).await.unwrap();
    let client = primary.connect(ADMIN.0, ADMIN.1).await.unwrap();
    client
        .batch_execute("CREATE TABLE t AS SELECT 1 AS a")
        .await
        .unwrap();
    let standby = primary.standby("us-west").await.unwrap();
    client.batch_execute("INSERT INTO t VALUES (2)").await.unwrap();
    primary.wait_replayed_by(&standby).await.unwrap();
    assert_eq!(one_i64(&standby, "SELECT count(*) FROM t").await, 2);
    let streaming = "SELECT count(*) FROM pg_stat_replication JOIN pg_replication_slots ON pid = active_pid
                     WHERE application_name = 'us-west' AND slot_name = 'us_west' AND state = 'streaming'";
    assert_eq!(one_i64(&primary, streaming).await, 1);

    standby.stop(StopMode::Fast).await.unwrap();
    client.batch_execute("INSERT INTO t VALUES (3)").await.unwrap();
    standby.start_again().await.unwrap();
    primary.wait_replayed_by(&standby).await.unwrap();
    assert_eq!(one_i64(&standby, "SELECT count(*) FROM t").await, 3);

    primary.stop(StopMode::Immediate).await.unwrap();
    standby.promote().await.unwrap();
    standby
        .connect(ADMIN.0, ADMIN.1)
        .await
        .unwrap()
        .batch_execute("INSERT INTO t VALUES (4)")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_crash_loses_nothing_that_was_committed_and_settings_can_change() {
    let server = Postgres::start(PostgresSpec::new("crash")).await.unwrap();
    let port = server.port();
    let client = server.connect(ADMIN.0, ADMIN.1).await.unwrap();
    client
        .batch_execute("CREATE TABLE t AS SELECT 1 AS a")
        .await
        .unwrap();
    server
        .configure(&[("application_name", "changed")])
        .await
        .unwrap();
    server.stop(StopMode::Immediate).await.unwrap();
    assert_eq!(server.pid(), None);
    assert!(client.batch_execute("SELECT 1").await.is_err());
    server.start_again().await.unwrap();
    assert_eq!(server.port(), port);
    assert_eq!(one_i64(&server, "SELECT count(*) FROM t").await, 1);
    assert!(
        server.log_tail(50).contains("automatic recovery in progress"),
        "{}",
        server.log_tail(50)
    );
    assert!(
        server
            .start_again()
            .await
            .unwrap_err()
            .to_string()
            .contains("already running")
    );
}

#[tokio::test]
async fn a_server_that_cannot_start_shows_its_own_last_lines() {
    let spec = PostgresSpec::new("broken").setting("shared_buffers", "lots");
    let error = Postgres::start(spec).await.unwrap_err().to_string();
    assert!(error.contains("broken ended by itself"), "{error}");
    assert!(
        error.contains("invalid value for parameter \"shared_buffers\": \"lots\""),
        "{error}"
    );
}

#[tokio::test]
async fn redis_forgets_when_flushed_and_comes_back() {
    let redis = Redis::start().await.unwrap();
    redis.flush().await.unwrap();
    redis.stop(StopMode::Immediate).await.unwrap();
    assert!(redis.flush().await.is_err());
    redis.start_again().await.unwrap();
    redis.flush().await.unwrap();
    redis.stop(StopMode::Fast).await.unwrap();
    assert_eq!(redis.pid(), None);
}

#[tokio::test]
async fn kafka_answers_stops_and_comes_back() {
    let kafka = Kafka::start().await.unwrap();
    let port = kafka.port();
    kafka.stop(StopMode::Immediate).await.unwrap();
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    kafka.start_again().await.unwrap();
    assert_eq!(kafka.bootstrap(), format!("127.0.0.1:{port}"));
    kafka.stop(StopMode::Fast).await.unwrap();
}

#[tokio::test]
async fn pgbouncer_pools_for_one_server() {
    let spec = PostgresSpec::new("pooled")
        .role("shop", "secret", "")
        .database("shop", "shop");
    let server = Postgres::start(spec).await.unwrap();
    let pooler = PgBouncer::start(&server, "shop", "shop", 2).await.unwrap();
    let (client, connection) = tokio_postgres::connect(&pooler.url(), tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let rows = client.simple_query("SELECT current_user").await.unwrap();
    assert!(format!("{rows:?}").contains("shop"), "{rows:?}");
    assert!(pooler.pid().is_some());
    pooler.stop(StopMode::Fast).await.unwrap();
    assert!(client.simple_query("SELECT 1").await.is_err());
}

#[tokio::test]
async fn dropping_leaves_no_process_no_port_and_no_folder() {
    let server = Postgres::start(PostgresSpec::new("dropped")).await.unwrap();
    let (pid, port, data) = (server.pid().unwrap(), server.port(), server.data());
    drop(server);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(!data.exists());
}

#[tokio::test]
async fn the_mongodb_server_keeps_its_folder_over_a_crash() {
    if let (None, Err(missing)) = (MongoDb::elsewhere(), Programs::mongodb()) {
        println!("NOT TESTED: {missing}");
        return;
    }
    let server = MongoDb::start().await.unwrap();
    let Some(first) = server.pid() else {
        assert_eq!(Some(server.uri()), MongoDb::elsewhere());
        assert!(server.stop(StopMode::Immediate).await.is_err(), "not ours to end");
        return;
    };
    server.stop(StopMode::Immediate).await.unwrap();
    assert_eq!(server.pid(), None);
    server.start_again().await.unwrap();
    assert!(server.pid().is_some_and(|pid| pid != first));
    server.stop(StopMode::Fast).await.unwrap();
}
