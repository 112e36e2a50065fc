//! Clients and servers that are gone in the middle of something.

use anyhow::{Result, ensure};
use tests::Session;

use crate::place::{Place, eventually, place};
use crate::script::{Script, show};

fn script() -> Script {
    Script::default()
}

/// The states in which a session may be when one of its ends is lost.
fn states() -> Vec<(&'static str, Script)> {
    vec![
        ("running", script().query("SELECT pg_sleep(60)").until(b'Z', 0)),
        (
            "in a block",
            script().query("BEGIN; INSERT INTO l VALUES (1)").ready(1),
        ),
        (
            "in a failed block",
            script()
                .query("BEGIN; INSERT INTO l VALUES (1)")
                .query("SELECT 1/0")
                .ready(2),
        ),
        (
            "running in a block",
            script()
                .query("BEGIN; INSERT INTO l VALUES (1)")
                .ready(1)
                .query("SELECT pg_sleep(60)")
                .until(b'Z', 0),
        ),
        (
            "in an open batch",
            script().run("INSERT INTO l VALUES (1)").flush().until(b'C', 1),
        ),
        (
            "in a failed batch",
            script().run("SELECT 1/0").flush().until(b'E', 1),
        ),
        (
            "in COPY from it",
            script()
                .query("COPY l FROM STDIN")
                .until(b'G', 1)
                .copy_data(b"1\n")
                .until(b'Z', 0),
        ),
        (
            "in COPY from it by extended protocol",
            script()
                .run("COPY l FROM STDIN")
                .sync()
                .until(b'G', 1)
                .copy_data(b"1\n")
                .until(b'Z', 0),
        ),
        (
            "in COPY to it",
            script()
                .query("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 100000)) TO STDOUT")
                .until(b'd', 10),
        ),
        (
            "reading rows",
            script()
                .query("SELECT repeat('x', 1000) FROM generate_series(1, 100000)")
                .until(b'D', 10),
        ),
        (
            "at a portal",
            script()
                .query("BEGIN")
                .parse("", "SELECT n FROM generate_series(1, 9) n", &[])
                .bind("p", "", &[])
                .execute("p", 2)
                .sync()
                .ready(2),
        ),
        (
            "in a half message",
            script().message(b'Q', b"SELECT").until(b'Z', 0),
        ),
    ]
}

/// Asks PostgreSQL itself; gives the first value of the first row.
fn asked(session: &mut Session, sql: &str) -> Result<String> {
    let frames = script().query(sql).ready(1).play(session)?;
    let row = frames.iter().find(|(tag, _)| *tag == b'D');
    let value = row.and_then(|(_, body)| body.get(6..));
    Ok(value
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .unwrap_or_default())
}

fn begin(place: &Place) -> Result<Session> {
    let mut behind = place.behind()?;
    script()
        .query("DROP TABLE IF EXISTS l; CREATE TABLE l (a int)")
        .ready(1)
        .play(&mut behind)?;
    Ok(behind)
}

/// Nobody else is disturbed, nothing stays, and the pool of two connections goes on.
#[test]
fn clients_that_are_gone_leave_nothing() -> Result<()> {
    let place = place()?;
    let mut behind = begin(&place)?;
    for (name, state) in states() {
        for _ in 0..3 {
            let mut client = place.through()?;
            state.play(&mut client)?;
            drop(client);
        }
        let mut next = place.through()?;
        let answer = asked(
            &mut next,
            "SELECT count(*) || ' ' || (SELECT count(*) FROM pg_locks WHERE relation = 'l'::regclass AND pid <> pg_backend_pid()) FROM l",
        );
        ensure!(
            answer.as_ref().is_ok_and(|answer| answer.starts_with("0 ")),
            "{name}: {answer:?}"
        );
        eventually(name, || {
            let busy = asked(
                &mut behind,
                "SELECT count(*) FROM pg_stat_activity WHERE datname = 'through' AND pid <> pg_backend_pid() AND state <> 'idle'",
            )?;
            Ok(busy == "0")
        })?;
    }
    Ok(())
}

/// The client hears the server's own last words, or that the connection is lost, and is sent away.
#[test]
fn servers_that_are_gone_end_their_client() -> Result<()> {
    let place = place()?;
    let mut behind = begin(&place)?;
    for (name, state) in states() {
        if name == "in a half message" || name == "in a failed batch" {
            // No server has a part in it, or it is not known whether one has.
            continue;
        }
        let mut client = place.through()?;
        script()
            .query("SET application_name = 'victim'")
            .ready(1)
            .play(&mut client)?;
        state.play(&mut client)?;
        eventually(name, || {
            let ended = asked(
                &mut behind,
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 'through' AND application_name = 'victim' AND state <> 'idle'",
            )?;
            Ok(ended == "1")
        })?;
        let last = client.until_closed();
        let fault = last
            .as_ref()
            .ok()
            .and_then(|all| all.iter().rev().find_map(tests::Reply::error));
        let told = fault.is_some_and(|fault| fault.severity == "FATAL" && fault.code == "57P01");
        // A server that waits for its client to read says nothing more; if it is lost between two messages, Ringway says that.
        let silent = fault.is_none_or(|fault| fault.code == "08006");
        let reading = matches!(name, "in COPY to it" | "reading rows") && silent && last.is_ok();
        ensure!(told || reading, "{name}: {:?}", last.map(|all| all.len()));
        let mut next = place.through()?;
        ensure!(asked(&mut next, "SELECT 'fine'")? == "fine", "{name}");
    }
    Ok(())
}

/// A cancel request reaches the statement that runs, in every way of sending it.
#[test]
fn cancel_reaches_what_runs() -> Result<()> {
    let place = place()?;
    let mut behind = begin(&place)?;
    let sleep = "SELECT pg_sleep(60) AS sleeper";
    for start in [
        script().query(sleep).query("SELECT 1").until(b'Z', 0),
        script().run(sleep).sync().query("SELECT 1").until(b'Z', 0),
        script()
            .query("BEGIN")
            .ready(1)
            .query(sleep)
            .query("ROLLBACK")
            .until(b'Z', 0),
    ] {
        let mut client = place.through()?;
        start.play(&mut client)?;
        eventually("it sleeps", || {
            let sleeping = asked(
                &mut behind,
                "SELECT count(*) FROM pg_stat_activity WHERE datname = 'through' AND query LIKE '%AS sleeper' AND state = 'active' AND pid <> pg_backend_pid()",
            )?;
            Ok(sleeping == "1")
        })?;
        client.cancel()?;
        let frames = script().ready(2).play(&mut client)?;
        let errors = frames
            .iter()
            .filter(|(tag, body)| *tag == b'E' && body.windows(5).any(|w| w == b"57014"));
        ensure!(errors.count() == 1, "{}", show(&frames));
    }
    Ok(())
}

/// A cancel request reaches a statement that waits for a connection; the next one is not cancelled.
#[test]
fn cancel_reaches_what_waits_for_a_connection() -> Result<()> {
    let place = place()?;
    let mut others = Vec::new();
    for _ in 0..crate::place::CONNECTIONS {
        let mut other = place.through()?;
        script()
            .query("BEGIN")
            .query("SELECT 1")
            .ready(2)
            .play(&mut other)?;
        others.push(other);
    }
    for statement in [
        script().query("SELECT 1").until(b'Z', 0),
        script().query("SELECT 1; SELECT 2").until(b'Z', 0),
        script().run("SELECT 1").run("SELECT 2").sync().until(b'Z', 0),
        script().run("SELECT 1").sync().until(b'Z', 0),
        script().run("SELECT 1").flush().sync().until(b'Z', 0),
    ] {
        let mut client = place.through()?;
        statement.play(&mut client)?;
        eventually("it waits", || Ok(place.waiting()? == 1))?;
        client.cancel()?;
        let frames = script().ready(1).play(&mut client)?;
        let told: Vec<_> = frames.iter().map(|(tag, _)| char::from(*tag)).collect();
        let canceled =
            |(tag, body): &(u8, Vec<u8>)| *tag == b'E' && body.windows(5).any(|part| part == b"57014");
        ensure!(
            told == ['E', 'Z'] && frames.iter().any(canceled),
            "{}",
            show(&frames)
        );
        client.close();
    }
    drop(others);
    let mut next = place.through()?;
    ensure!(asked(&mut next, "SELECT 'fine'")? == "fine");
    Ok(())
}
