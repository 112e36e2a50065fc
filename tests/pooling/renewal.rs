//! How long connections live, how they are tried, and what is run behind a client.

use anyhow::{Result, ensure};
use tests::{eventually, run};

use crate::stage::{Spec, Value, on_both, on_ringway, pid, value};

const ONE: (&str, Value) = ("default_pool_size", Value::Plain("1"));
/// What a server is asked or told leaves a trace.
const COUNTS: Value = Value::Sql("SELECT nextval('runs')");

/// How often it was.
const RUNS: &str = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM runs";

#[test]
fn server_lifetime_ends_connections_that_are_free() -> Result<()> {
    let spec = Spec {
        pool: &[ONE, ("server_lifetime", Value::Ms(500))],
        ..Spec::default()
    };
    on_both(&spec, |pooler| {
        let mut client = pooler.client()?;
        run(&mut client, "BEGIN")?;
        let theirs = pid(&mut client)?;
        // Not in the middle of a transaction.
        run(&mut client, "SELECT pg_sleep(1.5)")?;
        ensure!(pid(&mut client)? == theirs);
        run(&mut client, "COMMIT")?;
        eventually("it is closed", || Ok(!pooler.backends(None)?.contains(&theirs)))?;
        ensure!(pid(&mut client)? != theirs);
        Ok(())
    })
}

#[test]
fn server_idle_timeout_ends_connections_that_rest() -> Result<()> {
    let spec = Spec {
        pool: &[("server_idle_timeout", Value::Ms(400))],
        ..Spec::default()
    };
    on_both(&spec, |pooler| {
        let mut client = pooler.client()?;
        run(&mut client, "SELECT 1")?;
        pooler.until_backends(0)?;
        run(&mut client, "SELECT 1")
    })
}

#[test]
fn server_check_query_is_asked_after_server_check_delay() -> Result<()> {
    let spec = Spec {
        pool: &[
            ONE,
            ("server_check_query", COUNTS),
            ("server_check_delay", Value::Ms(0)),
        ],
        ..Spec::default()
    };
    on_both(&spec, |pooler| {
        let mut client = pooler.client()?;
        run(&mut client, "SELECT 1")?;
        let before: i64 = pooler.beside(RUNS)?.parse()?;
        run(&mut client, "SELECT 1")?;
        run(&mut client, "SELECT 1")?;
        let asked = pooler.beside(RUNS)?.parse::<i64>()? - before;
        ensure!(asked == 2, "{asked}");
        Ok(())
    })
}

#[test]
fn server_check_query_is_not_asked_before_server_check_delay() -> Result<()> {
    let spec = Spec {
        pool: &[
            ONE,
            ("server_check_query", COUNTS),
            ("server_check_delay", Value::Ms(60_000)),
        ],
        ..Spec::default()
    };
    on_both(&spec, |pooler| {
        let mut client = pooler.client()?;
        for _ in 0..3 {
            run(&mut client, "SELECT 1")?;
        }
        ensure!(pooler.beside(RUNS)? == "0");
        Ok(())
    })
}

#[test]
fn a_connection_that_fails_its_check_is_replaced() -> Result<()> {
    let spec = Spec {
        pool: &[
            ONE,
            ("server_check_query", Value::Sql("SELECT 1 / count(*) FROM sound")),
            ("server_check_delay", Value::Ms(0)),
        ],
        ..Spec::default()
    };
    on_ringway(&spec, |pooler| {
        let mut client = pooler.client()?;
        let first = pid(&mut client)?;
        ensure!(pid(&mut client)? == first);
        pooler.server().run(pooler.database(), "DELETE FROM sound")?;
        let second = pid(&mut client)?;
        ensure!(second != first);
        pooler
            .server()
            .run(pooler.database(), "INSERT INTO sound VALUES (true)")?;
        ensure!(pid(&mut client)? == second);
        Ok(())
    })
}

#[test]
fn server_reset_query_is_run_behind_a_client_in_session_mode() -> Result<()> {
    let spec = Spec {
        pool: &[
            ONE,
            ("pool_mode", Value::Plain("session")),
            ("server_reset_query", COUNTS),
        ],
        ..Spec::default()
    };
    on_both(&spec, |pooler| {
        let before: i64 = pooler.beside(RUNS)?.parse()?;
        let mut client = pooler.client()?;
        run(&mut client, "SELECT 1")?;
        run(&mut client, "SELECT 2")?;
        ensure!(pooler.beside(RUNS)?.parse::<i64>()? == before);
        client.close();
        eventually("it is run", || {
            Ok(pooler.beside(RUNS)?.parse::<i64>()? == before + 1)
        })
    })
}

#[test]
fn server_reset_query_is_not_run_in_transaction_mode() -> Result<()> {
    let spec = Spec {
        pool: &[ONE, ("server_reset_query", COUNTS)],
        ..Spec::default()
    };
    on_both(&spec, |pooler| {
        let mut client = pooler.client()?;
        run(&mut client, "SELECT 1")?;
        run(&mut client, "BEGIN; SELECT 1; COMMIT")?;
        client.close();
        run(&mut pooler.client()?, "SELECT 1")?;
        ensure!(pooler.beside(RUNS)? == "0");
        Ok(())
    })
}

#[test]
fn server_reset_query_always_runs_it_behind_each_transaction() -> Result<()> {
    let spec = Spec {
        pool: &[
            ONE,
            ("server_reset_query", COUNTS),
            ("server_reset_query_always", Value::Yes),
        ],
        ..Spec::default()
    };
    on_both(&spec, |pooler| {
        let mut client = pooler.client()?;
        run(&mut client, "SELECT 1")?;
        eventually("it is run", || Ok(pooler.beside(RUNS)? != "0"))?;
        let before: i64 = pooler.beside(RUNS)?.parse()?;
        run(&mut client, "BEGIN")?;
        run(&mut client, "SELECT 1")?;
        ensure!(pooler.beside(RUNS)?.parse::<i64>()? == before);
        run(&mut client, "COMMIT")?;
        eventually("it is run once", || {
            Ok(pooler.beside(RUNS)?.parse::<i64>()? == before + 1)
        })
    })
}

/// A server that was started again since is no reason for errors at rest.
#[test]
fn connections_that_the_server_has_closed_are_not_lent() -> Result<()> {
    let spec = Spec {
        pool: &[("default_pool_size", Value::Plain("3"))],
        ..Spec::default()
    };
    on_both(&spec, |pooler| {
        let mut client = pooler.client()?;
        let theirs = pid(&mut client)?;
        pooler
            .server()
            .run("postgres", &format!("SELECT pg_terminate_backend({theirs})"))?;
        eventually("it is gone", || Ok(!pooler.backends(None)?.contains(&theirs)))?;
        ensure!(value(&mut client, "SELECT 1")? == "1");
        Ok(())
    })
}
