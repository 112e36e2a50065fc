//! How many connections there are, and who gets the next one.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tests::{Reply, Session, eventually, run};

use crate::stage::{ALICE, BOB, Kind, Pooler, Spec, Value, on_both, on_ringway, pid};

/// Clients that have a transaction open each.
fn busy(pooler: &Pooler, role: &str, database: &str, count: usize) -> Result<Vec<Session>> {
    let client = |_| {
        let mut client = pooler.client_of(role, database)?;
        run(&mut client, "BEGIN")?;
        Ok(client)
    };
    (0..count).map(client).collect()
}

fn pids(clients: &mut [Session]) -> Result<BTreeSet<String>> {
    clients.iter_mut().map(pid).collect()
}

/// As many as the bound get a connection; one more waits for one of theirs.
fn is_bound(pooler: &Pooler, role: &str, bound: usize) -> Result<()> {
    let mut clients = busy(pooler, role, pooler.database(), bound)?;
    let theirs = pids(&mut clients)?;
    ensure!(theirs.len() == bound, "{theirs:?}");
    let mut late = pooler.client_of(role, pooler.database())?;
    late.send_simple("SELECT pg_backend_pid()")?;
    pooler.until_waiting(1)?;
    ensure!(pooler.backends_of(role)? <= bound);
    let mut first = clients.remove(0);
    run(&mut first, "COMMIT")?;
    let pid = Reply::value(&late.rest()?);
    ensure!(pid.is_some_and(|pid| theirs.contains(&pid)));
    Ok(())
}

#[test]
fn default_pool_size() -> Result<()> {
    let spec = Spec {
        pool: &[("default_pool_size", Value::Plain("2"))],
        ..Spec::default()
    };
    on_both(&spec, |pooler| is_bound(pooler, ALICE, 2))
}

#[test]
fn pool_size_of_a_database() -> Result<()> {
    let spec = Spec {
        pool: &[("default_pool_size", Value::Plain("1"))],
        database: &[("pool_size", Value::Plain("2"))],
        ..Spec::default()
    };
    on_both(&spec, |pooler| is_bound(pooler, ALICE, 2))
}

/// PgBouncer has this since 1.22.
#[test]
fn pool_size_of_a_user() -> Result<()> {
    let spec = Spec {
        pool: &[("default_pool_size", Value::Plain("1"))],
        user: &[("pool_size", Value::Plain("2"))],
        ..Spec::default()
    };
    on_ringway(&spec, |pooler| {
        is_bound(pooler, BOB, 2)?;
        is_bound(pooler, ALICE, 1)
    })
}

#[test]
fn min_pool_size_is_opened_and_kept() -> Result<()> {
    let spec = Spec {
        pool: &[
            ("default_pool_size", Value::Plain("4")),
            ("min_pool_size", Value::Plain("2")),
            ("server_idle_timeout", Value::Ms(200)),
        ],
        ..Spec::default()
    };
    on_both(&spec, |pooler| {
        let mut clients = busy(pooler, ALICE, pooler.database(), 4)?;
        pooler.until_backends(4)?;
        clients.iter_mut().try_for_each(|client| run(client, "COMMIT"))?;
        // The others go for being idle, these stay.
        pooler.until_backends(2)?;
        // And what is lost is opened again without anybody asking.
        let lost = pooler.backends(None)?;
        let kill = format!("SELECT pg_terminate_backend({})", lost[0]);
        pooler.server().run("postgres", &kill)?;
        eventually("another one", || {
            let there = pooler.backends(None)?;
            Ok(there.len() == 2 && !there.contains(&lost[0]))
        })
    })
}

#[test]
fn the_reserve_is_for_those_who_have_waited_long() -> Result<()> {
    let spec = Spec {
        pool: &[
            ("default_pool_size", Value::Plain("1")),
            ("reserve_pool_size", Value::Plain("1")),
            ("reserve_pool_timeout", Value::Ms(500)),
        ],
        ..Spec::default()
    };
    on_both(&spec, |pooler| {
        let mut first = busy(pooler, ALICE, pooler.database(), 1)?;
        let mut second = pooler.client()?;
        let asked = Instant::now();
        run(&mut second, "BEGIN")?;
        let waited = asked.elapsed();
        ensure!(waited >= Duration::from_millis(400), "{waited:?}");
        ensure!(pid(&mut second)? != pid(&mut first[0])?);
        // There is no more than that.
        let mut third = pooler.client()?;
        third.send_simple("SELECT 1")?;
        pooler.until_waiting(1)?;
        run(&mut second, "COMMIT")?;
        ensure!(Reply::value(&third.rest()?).is_some());
        Ok(())
    })
}

#[test]
fn max_db_connections_bounds_the_pools_of_all_users() -> Result<()> {
    let spec = Spec {
        limits: &[("max_db_connections", Value::Plain("2"))],
        ..Spec::default()
    };
    on_both(&spec, |pooler| {
        let here = pooler.database();
        let mut alices = busy(pooler, ALICE, here, 2)?;
        let mut bob = pooler.target(BOB, here);
        bob.database = here.to_owned();
        let waiting = std::thread::spawn(move || Session::connect(&bob)?.simple("SELECT current_user", None));
        pooler.until_waiting(1)?;
        ensure!(pooler.backends(Some(here))?.len() == 2);
        // Another database has a bound of its own.
        busy(pooler, ALICE, &pooler.other(), 2)?;
        // One of alice's that rests is given up for bob.
        run(&mut alices[0], "COMMIT")?;
        let replies = waiting.join().expect("no panic")?;
        ensure!(Reply::value(&replies).as_deref() == Some(BOB), "{replies:?}");
        ensure!(pooler.backends(Some(here))?.len() <= 2);
        Ok(())
    })
}

#[test]
fn max_user_connections_bounds_the_pools_of_all_databases() -> Result<()> {
    let spec = Spec {
        limits: &[("max_user_connections", Value::Plain("2"))],
        ..Spec::default()
    };
    on_both(&spec, |pooler| {
        let mut here = busy(pooler, ALICE, pooler.database(), 2)?;
        let there = pooler.target(ALICE, &pooler.other());
        let waiting =
            std::thread::spawn(move || Session::connect(&there)?.simple("SELECT current_database()", None));
        let console = pooler.console();
        let other = pooler.other();
        eventually("the client waits", || {
            let of = [("database", other.as_str())];
            Ok(console.value("POOLS", &of, "cl_waiting")?.as_deref() == Some("1"))
        })?;
        ensure!(pooler.backends(None)?.len() == 2);
        run(&mut here[0], "COMMIT")?;
        let replies = waiting.join().expect("no panic")?;
        ensure!(Reply::value(&replies) == Some(other.clone()), "{replies:?}");
        ensure!(pooler.backends(None)?.len() <= 2);
        Ok(())
    })
}

#[test]
fn who_has_waited_longest_is_next() -> Result<()> {
    const CLIENTS: usize = 5;
    let spec = Spec {
        pool: &[("default_pool_size", Value::Plain("1"))],
        ..Spec::default()
    };
    on_both(&spec, |pooler| {
        let mut clients: Vec<Session> = (0..CLIENTS).map(|_| pooler.client()).collect::<Result<_>>()?;
        let mut first = busy(pooler, ALICE, pooler.database(), 1)?;
        for (place, client) in clients.iter_mut().enumerate() {
            client.send_simple(&format!("INSERT INTO kept (note) VALUES ('{place}')"))?;
            pooler.until_waiting(place + 1)?;
        }
        run(&mut first[0], "COMMIT")?;
        for client in &mut clients {
            client.rest()?;
        }
        let order = pooler.beside("SELECT string_agg(note, '' ORDER BY id) FROM kept")?;
        ensure!(order == "01234", "{order}");
        Ok(())
    })
}

/// A server that lets nobody in: what comes at once is what a server that has just started would have to bear.
#[test]
fn a_crowd_does_not_open_all_its_connections_at_once() -> Result<()> {
    const CROWD: usize = 20;
    /// What `pool::decide::Limits` has.
    const AT_A_TIME: usize = 4;
    on_ringway(&Spec::default(), |pooler| {
        ensure!(pooler.kind == Kind::Ringway);
        let silent = TcpListener::bind("127.0.0.1:0")?;
        let port = silent.local_addr()?.port();
        let came = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&came);
        // It ends with the test's process: it only sleeps in accept.
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            while let Ok((stream, _)) = silent.accept() {
                counted.fetch_add(1, Ordering::SeqCst);
                kept.push(stream);
            }
        });
        let other = pooler.ringway_before(port)?;
        let target = tests::Target {
            port: other.port(),
            ..pooler.target(ALICE, pooler.database())
        };
        for _ in 0..CROWD {
            let target = target.clone();
            // It waits for as long as the proxy lives.
            std::thread::spawn(move || drop(Session::connect(&target)));
        }
        let console = tests::Console::new(target.clone());
        eventually("all wait", || {
            let waiting = console.value("POOLS", &[("user", ALICE)], "cl_waiting")?;
            Ok(waiting == Some(CROWD.to_string()))
        })?;
        eventually("some are opened", || Ok(came.load(Ordering::SeqCst) == AT_A_TIME))?;
        let opening = console.value("POOLS", &[("user", ALICE)], "sv_login")?;
        ensure!(opening == Some(AT_A_TIME.to_string()), "{opening:?}");
        Ok(())
    })
}
