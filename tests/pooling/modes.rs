//! When a connection goes back: transaction, session and statement mode, of all, of a user, of a database.

use anyhow::{Result, ensure};
use tests::{Reply, Session, run};

use crate::stage::{ALICE, BOB, Fate, Pooler, Spec, Value, expect_error, on_both, on_ringway, pid, value};

/// One connection for each database and user.
const ONE: (&str, Value) = ("default_pool_size", Value::Plain("1"));
const SESSION: (&str, Value) = ("pool_mode", Value::Plain("session"));
const STATEMENT: (&str, Value) = ("pool_mode", Value::Plain("statement"));

/// Two clients get the same connection, one transaction after the other.
fn take_turns(pooler: &Pooler, role: &str, database: &str) -> Result<()> {
    let (mut first, mut second) = (
        pooler.client_of(role, database)?,
        pooler.client_of(role, database)?,
    );
    run(&mut first, "BEGIN")?;
    let theirs = pid(&mut first)?;
    second.send_simple("SELECT pg_backend_pid()")?;
    pooler_waits(pooler, database)?;
    run(&mut first, "COMMIT")?;
    let replies = second.rest()?;
    ensure!(Reply::value(&replies) == Some(theirs), "{replies:?}");
    Ok(())
}

/// The second client waits until the first one has left, and finds nothing of it.
fn keep_until_they_leave(pooler: &Pooler, role: &str, database: &str) -> Result<()> {
    let mut first = pooler.client_of(role, database)?;
    let theirs = pid(&mut first)?;
    run(
        &mut first,
        "CREATE TEMP TABLE mine (a int); SET work_mem = '7MB'; PREPARE p AS SELECT 1",
    )?;
    ensure!(pid(&mut first)? == theirs);
    let target = pooler.target(role, database);
    let second = std::thread::spawn(move || -> Result<Vec<Vec<Reply>>> {
        let mut second = Session::connect(&target)?;
        let asked = [
            "SELECT pg_backend_pid()",
            "SELECT count(*) FROM pg_class WHERE relname = 'mine'",
            "SHOW work_mem",
            "SELECT count(*) FROM pg_prepared_statements",
        ];
        asked.iter().map(|sql| second.simple(sql, None)).collect()
    });
    pooler_waits(pooler, database)?;
    ensure!(!second.is_finished());
    first.close();
    let answers = second.join().expect("no panic")?;
    let values: Vec<Option<String>> = answers.iter().map(|replies| Reply::value(replies)).collect();
    let expected = [theirs.as_str(), "0", "4MB", "0"].map(|value| Some(value.to_owned()));
    ensure!(values == expected, "{values:?}");
    Ok(())
}

fn pooler_waits(pooler: &Pooler, database: &str) -> Result<()> {
    let console = pooler.console();
    tests::eventually("a client waits", || {
        let waiting = console.show("POOLS")?;
        Ok(waiting.iter().any(|row| {
            tests::get(row, "database") == Some(database) && tests::get(row, "cl_waiting") == Some("1")
        }))
    })
}

#[test]
fn transaction_mode() -> Result<()> {
    let spec = Spec {
        pool: &[ONE],
        ..Spec::default()
    };
    on_both(&spec, |pooler| take_turns(pooler, ALICE, pooler.database()))
}

#[test]
fn session_mode() -> Result<()> {
    let spec = Spec {
        pool: &[ONE, SESSION],
        ..Spec::default()
    };
    on_both(&spec, |pooler| {
        keep_until_they_leave(pooler, ALICE, pooler.database())
    })
}

#[test]
fn session_mode_of_a_user() -> Result<()> {
    let spec = Spec {
        pool: &[ONE],
        user: &[SESSION],
        ..Spec::default()
    };
    on_both(&spec, |pooler| {
        keep_until_they_leave(pooler, BOB, pooler.database())?;
        take_turns(pooler, ALICE, pooler.database())
    })
}

#[test]
fn session_mode_of_a_database() -> Result<()> {
    let spec = Spec {
        pool: &[ONE],
        database: &[SESSION],
        ..Spec::default()
    };
    on_both(&spec, |pooler| {
        keep_until_they_leave(pooler, ALICE, pooler.database())?;
        take_turns(pooler, ALICE, &pooler.other())
    })
}

#[test]
fn the_mode_of_a_user_counts_more_than_that_of_a_database() -> Result<()> {
    let spec = Spec {
        pool: &[ONE],
        database: &[("pool_mode", Value::Plain("transaction"))],
        user: &[SESSION],
        ..Spec::default()
    };
    on_both(&spec, |pooler| {
        keep_until_they_leave(pooler, BOB, pooler.database())
    })
}

#[test]
fn statement_mode_has_no_transaction_blocks() -> Result<()> {
    let spec = Spec {
        pool: &[ONE, STATEMENT],
        ..Spec::default()
    };
    on_both(&spec, |pooler| {
        let mut client = pooler.client()?;
        run(&mut client, "INSERT INTO kept (note) VALUES ('alone')")?;
        let replies = client.simple("BEGIN; INSERT INTO kept (note) VALUES ('in a block')", None)?;
        let words = "transaction blocks not allowed in statement pooling mode";
        expect_error(
            pooler,
            &replies,
            ("08P01", words, Fate::SentAway),
            ("08P01", words, Fate::SentAway),
        )?;
        // The connection is there for others, and nothing was committed.
        let mut other = pooler.client()?;
        ensure!(value(&mut other, "SELECT string_agg(note, ',') FROM kept")? == "alone");
        Ok(())
    })
}

/// BEGIN by the extended protocol, too.
#[test]
fn statement_mode_refuses_blocks_by_every_protocol() -> Result<()> {
    let spec = Spec {
        pool: &[ONE, STATEMENT],
        ..Spec::default()
    };
    on_ringway(&spec, |pooler| {
        let mut client = pooler.client()?;
        let replies = client.extended(&tests::Extended {
            name: "",
            sql: "BEGIN",
            types: &[],
            bounds: &[tests::Bound::default()],
            binary: false,
            max_rows: 0,
            copy: None,
        })?;
        let fault = Reply::fault(&replies).map(|fault| fault.code.as_str());
        ensure!(fault == Some("08P01"), "{replies:?}");
        ensure!(replies.last() == Some(&Reply::Gone), "{replies:?}");
        run(&mut pooler.client()?, "SELECT 1")
    })
}
