//! Connecting, cancelling and pooling against a real PostgreSQL 15.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::cell::Cell;
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::{Postgres, PostgresSpec};
use pool::decide::{Check, Limits};
use pool::{
    Address, BackendConnection, BackendTarget, Blame, ConnectError, ControlConnection, ControlError,
    Password, Pool, PoolConfig, Quota, Replication, ServerTls, TlsMode, cancel, connect,
};
use topology::Mono;

/// The bound of each test as a whole.
const TEST_BOUND: Duration = Duration::from_secs(120);

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let bounded = async { tokio::time::timeout(TEST_BOUND, test).await.expect("hangs") };
    tokio::task::LocalSet::new().block_on(&runtime, bounded);
}

fn clock() -> Mono {
    Mono(1)
}

async fn server(name: &str) -> Postgres {
    let spec = PostgresSpec::new(name)
        .role("jo", "s3cret", "")
        .role("md", "old", "")
        .role("walker", "walk", "REPLICATION")
        .database("shop", "jo");
    Postgres::start(spec).await.unwrap()
}

fn target(server: &Postgres, user: &str, password: &str) -> BackendTarget {
    BackendTarget {
        password: Some(Password::new(password)),
        connect_timeout: Duration::from_secs(10),
        ..BackendTarget::new(Address::new("127.0.0.1", server.port()), "shop", user)
    }
}

async fn control(target: &BackendTarget) -> ControlConnection {
    ControlConnection::new(connect(target, clock).await.unwrap())
}

async fn one_value(control: &mut ControlConnection, sql: &str) -> String {
    let results = control.simple_query(sql).await.unwrap();
    results[0].rows[0][0].clone().unwrap()
}

fn refused(result: Result<BackendConnection, ConnectError>, sqlstate: &str, message: &str) -> ConnectError {
    let error = result.unwrap_err();
    let server = error.server_error().unwrap_or_else(|| panic!("{error}"));
    assert_eq!(
        (server.sqlstate().to_string().as_str(), server.message().as_str()),
        (sqlstate, message)
    );
    // Verbatim: with the fields that only PostgreSQL writes.
    assert_eq!(server.frame()[0], b'E');
    assert!(
        server
            .frame()
            .windows(5)
            .any(|window| window == b"\0Fpos" || window == b"\0Faut")
    );
    error
}

#[test]
fn logging_in() {
    run(async {
        let server = server("pool-login").await;

        // SCRAM over TCP and over the unix socket.
        let mut scram = target(&server, "jo", "s3cret");
        scram.parameters = vec![("application_name".to_owned(), "ringway".to_owned())];
        let conn = connect(&scram, || Mono(42)).await.unwrap();
        assert_eq!(conn.opened_at, Mono(42));
        assert_eq!(conn.parameters.get(b"application_name"), Some(&b"ringway"[..]));
        assert_eq!(conn.parameters.get(b"server_encoding"), Some(&b"UTF8"[..]));
        assert_eq!(conn.key.as_ref().map(|key| key.secret.len()), Some(4));
        let mut control_conn = ControlConnection::new(conn);
        let pid = control_conn.connection().pid().to_string();
        assert_eq!(one_value(&mut control_conn, "SELECT pg_backend_pid()").await, pid);
        let mut unix = target(&server, "jo", "s3cret");
        unix.address = Address::new(&server.socket_folder().display().to_string(), server.port());
        assert_eq!(
            one_value(&mut control(&unix).await, "SELECT current_user").await,
            "jo"
        );

        // Refusals are the server's own, and blamed on whom they concern.
        let wrong = connect(&target(&server, "jo", "wrong"), clock).await;
        let error = refused(wrong, "28P01", "password authentication failed for user \"jo\"");
        assert_eq!(error.blame(), Blame::Settings);
        let unknown = BackendTarget {
            database: "nix".to_owned(),
            ..target(&server, "jo", "s3cret")
        };
        let error = refused(
            connect(&unknown, clock).await,
            "3D000",
            "database \"nix\" does not exist",
        );
        assert_eq!(error.blame(), Blame::Server);
        let without = BackendTarget {
            password: None,
            ..target(&server, "jo", "")
        };
        assert!(matches!(
            connect(&without, clock).await,
            Err(ConnectError::NoPassword)
        ));
        let nul = BackendTarget {
            database: "a\0b".to_owned(),
            ..target(&server, "jo", "s3cret")
        };
        assert!(matches!(
            connect(&nul, clock).await,
            Err(ConnectError::NulByte(_))
        ));

        // Other methods, by the server's own rules.
        let admin = server.connect("postgres", "postgres").await.unwrap();
        admin
            .batch_execute("SET password_encryption = md5; ALTER ROLE md PASSWORD 'old'")
            .await
            .unwrap();
        let hba = server.data().join("pg_hba.conf");
        std::fs::write(&hba, "host all postgres 127.0.0.1/32 scram-sha-256\nhost all md 127.0.0.1/32 md5\nhost all jo 127.0.0.1/32 password\nhost all walker 127.0.0.1/32 trust\n").unwrap();
        admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        let trusted = BackendTarget {
            password: None,
            ..target(&server, "walker", "")
        };
        until(async || connect(&trusted, clock).await.is_ok()).await;
        assert_eq!(
            one_value(&mut control(&target(&server, "md", "old")).await, "SELECT 1").await,
            "1"
        );
        let in_clear = target(&server, "jo", "s3cret");
        assert!(matches!(
            connect(&in_clear, clock).await,
            Err(ConnectError::CleartextRefused)
        ));
        let allowed = BackendTarget {
            cleartext_without_tls: true,
            ..in_clear
        };
        assert_eq!(one_value(&mut control(&allowed).await, "SELECT 1").await, "1");

        let gone = target(&server, "jo", "s3cret");
        server.stop(cluster::StopMode::Immediate).await.unwrap();
        let error = connect(&gone, clock).await.unwrap_err();
        assert!(matches!(error, ConnectError::Unreachable(_)), "{error}");
        assert_eq!(error.blame(), Blame::Unreachable);
    });
}

/// Waits for a condition that a signal to the server will bring about; the test's own bound ends it.
async fn until(condition: impl AsyncFn() -> bool) {
    while !condition().await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn control_queries_and_replication() {
    run(async {
        let server = server("pool-control").await;
        let mut conn = control(&target(&server, "jo", "s3cret")).await;
        let results = conn
            .simple_query("SELECT 1 AS a, NULL AS b; CREATE TABLE t (x int)")
            .await
            .unwrap();
        assert_eq!(results[0].columns, ["a", "b"]);
        assert_eq!(results[0].rows, [[Some("1".to_owned()), None]]);
        assert_eq!(results[1].tag, "CREATE TABLE");
        let error = conn.simple_query("SELECT 1/0").await.unwrap_err();
        assert!(
            matches!(&error, ControlError::Server(e) if e.sqlstate().to_string() == "22012"),
            "{error}"
        );
        assert_eq!(
            one_value(&mut conn, "SELECT 2").await,
            "2",
            "the connection goes on after an error"
        );

        let walker = BackendTarget {
            replication: Replication::Database,
            ..target(&server, "walker", "walk")
        };
        let mut walker = control(&walker).await;
        let identity = walker.simple_query("IDENTIFY_SYSTEM").await.unwrap();
        assert_eq!(identity[0].columns, ["systemid", "timeline", "xlogpos", "dbname"]);
        let admin = server.connect("postgres", "shop").await.unwrap();
        admin
            .batch_execute("CREATE PUBLICATION p FOR ALL TABLES")
            .await
            .unwrap();
        let wrong = walker
            .start_copy_both("START_REPLICATION SLOT nix LOGICAL 0/0")
            .await
            .unwrap_err();
        assert!(
            matches!(&wrong, ControlError::Server(e) if e.sqlstate().to_string() == "42704"),
            "{wrong}"
        );
        // Only here: an error drops temporary slots.
        walker
            .simple_query("CREATE_REPLICATION_SLOT s TEMPORARY LOGICAL pgoutput")
            .await
            .unwrap();
        walker
            .start_copy_both(
                "START_REPLICATION SLOT s LOGICAL 0/0 (proto_version '1', publication_names 'p')",
            )
            .await
            .unwrap();
        conn.simple_query("INSERT INTO t VALUES (7)").await.unwrap();
        // XLogData ('w') with an Insert ('I') in it comes by and by, after Begin and Relation.
        loop {
            let data = walker.read_copy_data().await.unwrap().unwrap();
            if data.first() == Some(&b'w') && data.get(25) == Some(&b'I') {
                break;
            }
        }
        walker.write_copy_done().await.unwrap();
        while walker.read_copy_data().await.unwrap().is_some() {}
        conn.close().await;
    });
}

#[test]
fn a_cancel_ends_the_statement_of_that_backend() {
    run(async {
        let server = server("pool-cancel").await;
        let target = target(&server, "jo", "s3cret");
        let mut sleeping = control(&target).await;
        let mut other = control(&target).await;
        let key = sleeping.connection().key.clone().unwrap();
        let running = tokio::task::spawn_local(async move {
            let error = sleeping.simple_query("SELECT pg_sleep(60)").await.unwrap_err();
            assert!(
                matches!(&error, ControlError::Server(e) if e.sqlstate().to_string() == "57014"),
                "{error}"
            );
            one_value(&mut sleeping, "SELECT 1").await
        });
        let active = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE pid = {} AND wait_event = 'PgSleep'",
            key.pid
        );
        while one_value(&mut other, &active).await != "1" {}
        cancel(&target, &key).await.unwrap();
        assert_eq!(running.await.unwrap(), "1");
        assert_eq!(one_value(&mut other, "SELECT 1").await, "1", "only that one");
    });
}

fn pool_of(target: BackendTarget, limits: Limits) -> Pool<()> {
    pool_within(target, limits, &[])
}

fn pool_within(target: BackendTarget, limits: Limits, quotas: &[Arc<Quota>]) -> Pool<()> {
    let start = Instant::now();
    let clock = Rc::new(move || Mono(u64::try_from(start.elapsed().as_nanos()).unwrap()));
    let connect_clock = Rc::clone(&clock);
    let connect = Rc::new(move || {
        let (target, clock) = (target.clone(), Rc::clone(&connect_clock));
        let opening: Pin<Box<dyn Future<Output = _>>> =
            Box::pin(async move { connect(&target, || clock()).await });
        opening
    });
    Pool::new(PoolConfig {
        limits,
        connect,
        new_state: Rc::new(|_| ()),
        clock,
        quotas: quotas.into(),
    })
}

#[test]
fn a_connection_that_has_rested_is_tried_before_it_is_lent() {
    run(async {
        let server = server("pool-check").await;
        let check = Check {
            delay: Duration::from_millis(1),
            sql: Rc::from("SELECT 'alive'"),
            timeout: Duration::from_secs(5),
        };
        let limits = Limits {
            max_size: 2,
            check: Some(check),
            ..Limits::default()
        };
        let pool = pool_of(target(&server, "jo", "s3cret"), limits.clone());
        let first = pool.checkout().await.unwrap();
        let pid = first.conn.pid();
        first.release();
        until(async || pool.stats().stale == 1).await;
        // Not at once: it is asked first. The same connection comes.
        assert!(pool.try_checkout().is_none());
        let mut again = pool.checkout().await.unwrap();
        assert_eq!(again.conn.pid(), pid);
        query(&mut again.conn, "SELECT 1").await.unwrap();
        again.release();
        assert_eq!(pool.stats().opened_total, 1);

        // One that fails the test is closed, and whoever waits gets another.
        let failing = Check {
            sql: Rc::from("SELECT 1 / 0"),
            ..limits.check.clone().unwrap()
        };
        pool.set_limits(Limits {
            check: Some(failing),
            ..limits
        });
        until(async || pool.stats().stale == 1).await;
        let other = pool.checkout().await.unwrap();
        assert_ne!(other.conn.pid(), pid);
        assert_eq!((pool.stats().opened_total, pool.stats().closed_total), (2, 1));
    });
}

#[test]
fn pools_share_a_bound_and_the_one_in_need_gets_what_rests_elsewhere() {
    run(async {
        let server = server("pool-quota").await;
        let quota = Quota::new(Some(2));
        let quotas = [Arc::clone(&quota)];
        let limits = Limits {
            max_size: 5,
            ..Limits::default()
        };
        let one = pool_within(target(&server, "jo", "s3cret"), limits.clone(), &quotas);
        let other = pool_within(target(&server, "md", "old"), limits, &quotas);
        let (a, b) = (one.checkout().await.unwrap(), one.checkout().await.unwrap());
        assert_eq!(quota.used(), 2);
        let waiting = {
            let other = other.clone();
            tokio::task::spawn_local(async move { other.checkout().await.unwrap().conn.pid() })
        };
        until(async || other.is_starved()).await;
        assert_eq!(other.stats().connecting, 0);
        // What is returned while another pool waits does not rest.
        a.release();
        assert_ne!(waiting.await.unwrap(), 0);
        assert_eq!(one.stats().idle, 0);
        // The lease was dropped with its task, so there is room again.
        until(async || quota.used() == 1).await;
        let c = one.checkout().await.unwrap();
        c.release();
        assert_eq!((one.stats().idle, quota.used()), (1, 2));
        // The pool in need can be helped at once.
        let waiting = {
            let other = other.clone();
            tokio::task::spawn_local(async move { other.checkout().await.unwrap().release() })
        };
        until(async || other.is_starved()).await;
        assert!(one.yield_one() && !one.yield_one());
        other.open_missing();
        waiting.await.unwrap();
        b.release();
    });
}

#[test]
fn a_pool_warms_up_one_connection_after_the_other() {
    run(async {
        let server = server("pool-warm").await;
        let limits = Limits {
            max_size: 10,
            min_size: 6,
            ..Limits::default()
        };
        let pool = pool_of(target(&server, "jo", "s3cret"), limits);
        pool.maintain();
        let most = Cell::new(0);
        until(async || {
            most.set(most.get().max(pool.stats().connecting));
            pool.stats().idle == 6
        })
        .await;
        assert_eq!((most.get(), pool.stats().connecting), (1, 0));
    });
}

/// Each of 2,000 wants a connection again as soon as it has had one: nobody gets two turns while somebody waits for one.
#[test]
fn two_thousand_over_twenty_take_turns() {
    const CLIENTS: usize = 2_000;
    const CONNECTIONS: usize = 20;
    const TURNS: usize = 3;
    run(async {
        let server = server("pool-fair").await;
        let limits = Limits {
            max_size: CONNECTIONS,
            max_waiting: CLIENTS,
            ..Limits::default()
        };
        let pool = pool_of(target(&server, "jo", "s3cret"), limits);
        let turns = Rc::new(std::cell::RefCell::new(vec![0_usize; CLIENTS]));
        let uneven = Rc::new(Cell::new(0_usize));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (pool, turns, uneven) = (pool.clone(), Rc::clone(&turns), Rc::clone(&uneven));
                tokio::task::spawn_local(async move {
                    let mut longest = Duration::ZERO;
                    for _ in 0..TURNS {
                        let asked = Instant::now();
                        let mut lease = pool.checkout().await.unwrap();
                        longest = longest.max(asked.elapsed());
                        {
                            let mut turns = turns.borrow_mut();
                            turns[client] += 1;
                            let least = turns.iter().min().copied().unwrap_or(0);
                            uneven.set(uneven.get().max(turns[client] - least));
                        }
                        query(&mut lease.conn, "SELECT 1").await.unwrap();
                        lease.release();
                    }
                    longest
                })
            })
            .collect();
        let began = Instant::now();
        let mut longest = Duration::ZERO;
        for client in clients {
            longest = longest.max(client.await.unwrap());
        }
        let all = began.elapsed();
        println!(
            "{CLIENTS} clients, {CONNECTIONS} connections: {TURNS} turns each in {all:?}, longest wait {longest:?}"
        );
        assert!(uneven.get() <= 1 + 1, "one was {} turns ahead", uneven.get());
        // With turns in order nobody waits for more than about one round of all.
        assert!(
            longest <= all / 2 + Duration::from_millis(500),
            "{longest:?} of {all:?}"
        );
    });
}

/// Sends a query on a lent connection and reads to ReadyForQuery.
async fn query(conn: &mut BackendConnection, sql: &str) -> std::io::Result<()> {
    let mut out = Vec::new();
    wire::frontend::Query { sql: sql.as_bytes() }.encode(&mut out);
    conn.stream.write_all(&out).await?;
    let mut answer = Vec::new();
    let mut buf = [0; 512];
    while !answer.ends_with(b"Z\0\0\0\x05I") {
        conn.stream.readable().await?;
        match conn.stream.try_read(&mut buf) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => answer.extend_from_slice(&buf[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[test]
fn a_pool_keeps_its_limit_on_the_server_and_survives_killed_backends() {
    run(async {
        let server = server("pool-limits").await;
        let pool = pool_of(
            target(&server, "jo", "s3cret"),
            Limits {
                max_size: 4,
                ..Limits::default()
            },
        );
        let served = Rc::new(Cell::new(0));
        let clients: Vec<_> = (0..40)
            .map(|_| {
                let (pool, served) = (pool.clone(), Rc::clone(&served));
                tokio::task::spawn_local(async move {
                    for _ in 0..5 {
                        let mut lease = pool.checkout().await.unwrap();
                        query(&mut lease.conn, "SELECT pg_sleep(0.001)").await.unwrap();
                        lease.release();
                        served.set(served.get() + 1);
                    }
                })
            })
            .collect();
        let admin = server.connect("postgres", "postgres").await.unwrap();
        let count = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'jo'";
        let mut most: i64 = 0;
        while served.get() < 200 {
            most = most.max(admin.query_one(count, &[]).await.unwrap().get(0));
        }
        for client in clients {
            client.await.unwrap();
        }
        assert!((1..=4).contains(&most), "{most}");
        assert_eq!(pool.stats().active, 0);

        // All idle ones are killed; the next checkout gets one that works.
        assert!(pool.stats().idle > 0);
        let kill =
            "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE usename = 'jo'";
        admin.query_one(kill, &[]).await.unwrap();
        let mut lease = pool.checkout().await.unwrap();
        query(&mut lease.conn, "SELECT 1").await.unwrap();
        lease.release();
        assert_eq!((pool.stats().idle, pool.stats().active), (1, 0));
    });
}

/// Gives the server a certificate for `localhost` signed by an authority of its own; returns the authority's file.
async fn with_tls(server: &Postgres, folder: &Path) -> std::path::PathBuf {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_file = folder.join("ca.pem");
    std::fs::write(
        &authority_file,
        authority.self_signed(&authority_key).unwrap().pem(),
    )
    .unwrap();
    let key = KeyPair::generate().unwrap();
    let issuer = Issuer::from_params(&authority, &authority_key);
    let certificate = CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();

    use std::os::unix::fs::MetadataExt;
    let owner = std::fs::metadata(server.data()).unwrap();
    for (name, pem) in [
        ("server.crt", certificate.pem()),
        ("server.key", key.serialize_pem()),
    ] {
        let file = server.data().join(name);
        std::fs::write(&file, pem).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::chown(&file, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    server.configure(&[("ssl", "on")]).await.unwrap();
    authority_file
}

#[test]
fn tls_in_all_its_modes() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let server = server("pool-tls").await;
        let at = |host: &str, tls: &ServerTls| BackendTarget {
            address: Address::new(host, server.port()),
            tls: tls.clone(),
            ..target(&server, "jo", "s3cret")
        };
        let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        let prefer = ServerTls::new(TlsMode::Prefer, None).unwrap();
        let require = ServerTls::new(TlsMode::Require, None).unwrap();

        // A server without TLS.
        assert_eq!(
            one_value(&mut control(&at("127.0.0.1", &prefer)).await, encrypted).await,
            "f"
        );
        assert!(matches!(
            connect(&at("127.0.0.1", &require), clock).await,
            Err(ConnectError::NoTls)
        ));

        let authority = with_tls(&server, folder.path()).await;
        until(async || connect(&at("127.0.0.1", &require), clock).await.is_ok()).await;
        for unchecked in [&prefer, &require] {
            assert_eq!(
                one_value(&mut control(&at("127.0.0.1", unchecked)).await, encrypted).await,
                "t"
            );
        }
        let verify_ca = ServerTls::new(TlsMode::VerifyCa, Some(&authority)).unwrap();
        let verify_full = ServerTls::new(TlsMode::VerifyFull, Some(&authority)).unwrap();
        assert_eq!(
            one_value(&mut control(&at("127.0.0.1", &verify_ca)).await, encrypted).await,
            "t"
        );
        assert_eq!(
            one_value(&mut control(&at("localhost", &verify_full)).await, encrypted).await,
            "t"
        );
        let error = connect(&at("127.0.0.1", &verify_full), clock).await.unwrap_err();
        assert!(matches!(error, ConnectError::Tls(_)), "{error}");

        let stranger = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let stranger_file = folder.path().join("stranger.pem");
        std::fs::write(&stranger_file, stranger.cert.pem()).unwrap();
        let strange = ServerTls::new(TlsMode::VerifyCa, Some(&stranger_file)).unwrap();
        let error = connect(&at("localhost", &strange), clock).await.unwrap_err();
        assert!(matches!(error, ConnectError::Tls(_)), "{error}");
        assert!(ServerTls::new(TlsMode::VerifyFull, None).is_err());

        // The try-methods work over TLS too, and a cancel goes through it.
        let over_tls = at("localhost", &verify_full);
        let pool = pool_of(over_tls.clone(), Limits::default());
        let mut lease = pool.checkout().await.unwrap();
        query(&mut lease.conn, "SELECT repeat('x', 100000)")
            .await
            .unwrap();
        cancel(&over_tls, &lease.conn.key.clone().unwrap()).await.unwrap();
        let id = lease.info().id;
        lease.release();
        assert_eq!(
            pool.checkout().await.unwrap().info().id,
            id,
            "idle over TLS is quiet"
        );
    });
}
