//! Limits of time.

use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::{Reply, SOON, Session, eventually, run};

use crate::stage::{Fate, Kind, Pooler, Spec, Value, expect_error, on_both, on_ringway, pid, value};

const ONE: (&str, Value) = ("default_pool_size", Value::Plain("1"));

/// Nothing of the client's goes on at the server, and the next client gets a connection.
fn is_over(pooler: &Pooler, what: &str) -> Result<()> {
    eventually("it is over on the server", || {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle' \
             AND pid <> pg_backend_pid() AND query LIKE '%{what}%'"
        );
        Ok(pooler.beside(&sql)? == "0")
    })?;
    run(&mut pooler.client()?, "SELECT 1")
}

#[test]
fn query_wait_timeout() -> Result<()> {
    let spec = Spec {
        pool: &[ONE],
        limits: &[("query_wait_timeout", Value::Ms(300))],
        ..Spec::default()
    };
    on_both(&spec, |pooler| {
        let (mut first, mut second) = (pooler.client()?, pooler.client()?);
        run(&mut first, "BEGIN")?;
        let replies = second.simple("INSERT INTO kept (note) VALUES ('never')", None)?;
        expect_error(
            pooler,
            &replies,
            ("53300", "query_wait_timeout", Fate::Stays),
            ("08P01", "query_wait_timeout", Fate::SentAway),
        )?;
        // Whoever has a connection keeps it.
        run(&mut first, "COMMIT")?;
        ensure!(value(&mut first, "SELECT count(*) FROM kept")? == "0");
        is_over(pooler, "INSERT")
    })
}

#[test]
fn query_timeout() -> Result<()> {
    let spec = Spec {
        pool: &[ONE],
        limits: &[("query_timeout", Value::Ms(300))],
        ..Spec::default()
    };
    on_both(&spec, |pooler| {
        let mut client = pooler.client()?;
        let replies = client.simple("SELECT pg_sleep(600)", None)?;
        expect_error(
            pooler,
            &replies,
            ("57014", "canceling statement", Fate::Stays),
            ("08P01", "query timeout", Fate::SentAway),
        )?;
        // PgBouncer closes the connection and leaves the statement to itself.
        if pooler.kind == Kind::Ringway {
            is_over(pooler, "pg_sleep")?;
        }
        run(&mut pooler.client()?, "SELECT 1")
    })
}

/// Time in which nobody asks the server for anything isn't a query's.
#[test]
fn query_timeout_does_not_count_the_rest_of_a_transaction() -> Result<()> {
    let spec = Spec {
        limits: &[
            ("query_timeout", Value::Ms(400)),
            ("idle_transaction_timeout", Value::Ms(1500)),
        ],
        ..Spec::default()
    };
    on_both(&spec, |pooler| {
        let mut client = pooler.client()?;
        run(&mut client, "BEGIN")?;
        for _ in 0..3 {
            run(&mut client, "SELECT pg_sleep(0.2)")?;
        }
        run(&mut client, "COMMIT")
    })
}

#[test]
fn idle_transaction_timeout() -> Result<()> {
    let spec = Spec {
        pool: &[ONE],
        limits: &[("idle_transaction_timeout", Value::Ms(300))],
        ..Spec::default()
    };
    on_both(&spec, |pooler| {
        let mut client = pooler.client()?;
        run(&mut client, "BEGIN; INSERT INTO kept (note) VALUES ('never')")?;
        let replies = client.until_closed()?;
        expect_error(
            pooler,
            &replies,
            ("25P03", "idle_transaction_timeout", Fate::SentAway),
            ("08P01", "idle transaction timeout", Fate::SentAway),
        )?;
        is_over(pooler, "INSERT")?;
        ensure!(value(&mut pooler.client()?, "SELECT count(*) FROM kept")? == "0");
        Ok(())
    })
}

#[test]
fn client_idle_timeout() -> Result<()> {
    let spec = Spec {
        limits: &[("client_idle_timeout", Value::Ms(300))],
        ..Spec::default()
    };
    on_both(&spec, |pooler| {
        let mut client = pooler.client()?;
        run(&mut client, "SELECT 1")?;
        // At work it isn't idle, whatever the server takes.
        run(&mut client, "SELECT pg_sleep(1.5)")?;
        let replies = client.until_closed()?;
        expect_error(
            pooler,
            &replies,
            ("57P05", "client_idle_timeout", Fate::SentAway),
            ("08P01", "client_idle_timeout", Fate::SentAway),
        )
    })
}

/// PgBouncer has this since 1.24.
#[test]
fn transaction_timeout() -> Result<()> {
    let spec = Spec {
        pool: &[ONE],
        limits: &[("transaction_timeout", Value::Ms(400))],
        ..Spec::default()
    };
    on_ringway(&spec, |pooler| {
        for work in [
            "BEGIN; INSERT INTO kept (note) VALUES ('never')",
            "SELECT pg_sleep(600)",
        ] {
            let mut client = pooler.client()?;
            client.send_simple(work)?;
            let replies = client.until_closed()?;
            let fatal = replies.iter().find_map(|reply| match reply {
                Reply::Error(fault) if fault.severity == "FATAL" => Some(fault.code.clone()),
                _ => None,
            });
            ensure!(fatal.as_deref() == Some("25P04"), "{work}: {replies:?}");
            is_over(pooler, "pg_sleep")?;
        }
        ensure!(value(&mut pooler.client()?, "SELECT count(*) FROM kept")? == "0");
        Ok(())
    })
}

#[test]
fn client_login_timeout() -> Result<()> {
    let spec = Spec {
        limits: &[("client_login_timeout", Value::Ms(300))],
        ..Spec::default()
    };
    on_both(&spec, |pooler| {
        let port = pooler.target("", "").port;
        let mut silent = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        silent.set_read_timeout(Some(SOON))?;
        let mut words = Vec::new();
        silent.read_to_end(&mut words).context("not closed")?;
        run(&mut pooler.client()?, "SELECT 1")
    })
}

/// The transaction of a client that is gone is rolled back, and nobody waits for that.
#[test]
fn a_client_that_dies_in_a_transaction() -> Result<()> {
    let spec = Spec {
        pool: &[("default_pool_size", Value::Plain("2"))],
        ..Spec::default()
    };
    on_both(&spec, |pooler| {
        let mut dying = pooler.client()?;
        run(
            &mut dying,
            "BEGIN; INSERT INTO kept (id, note) VALUES (1, 'never')",
        )?;
        let mut waiting = pooler.client()?;
        waiting.send_simple("INSERT INTO kept (id, note) VALUES (1, 'mine')")?;
        eventually("it waits for the lock", || {
            let sql = "SELECT count(*) FROM pg_locks WHERE NOT granted";
            Ok(pooler.beside(sql)? == "1")
        })?;
        // Without Terminate: as if its machine were gone.
        drop(dying);
        let replies = waiting.rest()?;
        ensure!(Reply::fault(&replies).is_none(), "{replies:?}");
        ensure!(value(&mut waiting, "SELECT note FROM kept")? == "mine");
        is_over(pooler, "never")
    })
}

/// Ringway keeps the connection; PgBouncer opens another one.
#[test]
fn the_connection_of_a_dead_client_is_used_again() -> Result<()> {
    let spec = Spec {
        pool: &[ONE],
        ..Spec::default()
    };
    on_ringway(&spec, |pooler| {
        let mut dying = pooler.client()?;
        run(&mut dying, "BEGIN; INSERT INTO kept (note) VALUES ('never')")?;
        let theirs = pid(&mut dying)?;
        drop(dying);
        let mut next = pooler.client()?;
        ensure!(pid(&mut next)? == theirs);
        ensure!(value(&mut next, "SELECT count(*) FROM kept")? == "0");
        // Also in the middle of a statement: that is cancelled first.
        next.send_simple("BEGIN; SELECT pg_sleep(600)")?;
        eventually("it runs", || {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                AND query LIKE 'BEGIN; SELECT pg_sleep%' AND state = 'active'";
            Ok(pooler.beside(sql)? == "1")
        })?;
        drop(next);
        let mut last: Session = pooler.client()?;
        last.wait_at_most(Duration::from_secs(10))?;
        run(&mut last, "SELECT 1")?;
        is_over(pooler, "pg_sleep")
    })
}
