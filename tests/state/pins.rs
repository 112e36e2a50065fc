//! What keeps a client on its connection: shown, counted, bounded, ended; and what reaches the client there.

use anyhow::{Context, Result, ensure};
use tests::{Reply, Session};

use crate::stage::{Side, Stage};

/// Statements that pin a client, why, and those that end it.
const PINS: &[(&str, &str, &str)] = &[
    ("LISTEN a", "listen", "UNLISTEN a"),
    ("SELECT listens()", "listen", "UNLISTEN *"),
    ("CREATE TEMP TABLE t (a int)", "temporary", "DROP TABLE t"),
    ("SELECT tables()", "temporary", "DISCARD TEMP"),
    (
        "CREATE TEMP TABLE t (a int)",
        "temporary",
        "DO 'BEGIN DROP TABLE t; END'",
    ),
    (
        "CREATE TYPE pg_temp.e AS ENUM ('a')",
        "temporary",
        "DROP TYPE pg_temp.e",
    ),
    (
        "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; COMMIT",
        "held_cursor",
        "CLOSE ALL",
    ),
    (
        "SELECT pg_advisory_lock(1)",
        "advisory_lock",
        "SELECT pg_advisory_unlock(1)",
    ),
    (
        "SELECT locks(1)",
        "advisory_lock",
        "SELECT pg_advisory_unlock_all()",
    ),
    (
        "LISTEN a; CREATE TEMP TABLE t (a int)",
        "listen,temporary",
        "DISCARD ALL",
    ),
];

/// Statements that look as if they left something, and don't.
const FREE: &[&str] = &[
    "SELECT quiet()",
    "SELECT pg_try_advisory_xact_lock(1)",
    "BEGIN; CREATE TEMP TABLE t (a int) ON COMMIT DROP; COMMIT",
    "BEGIN; LISTEN a; ROLLBACK",
    "SET work_mem = '3MB'",
    "SELECT set_config('work_mem', '3MB', false)",
    "INSERT INTO items (name) VALUES ('x')",
    "DO 'BEGIN PERFORM 1; END'",
    "SELECT no_such_function()",
    "no SQL",
];

fn errors(replies: &[Reply]) -> Vec<String> {
    let faults = replies.iter().filter_map(|reply| match reply {
        Reply::Error(fault) => Some(fault.code.clone()),
        _ => None,
    });
    faults.collect()
}

fn fine(session: &mut Session, sql: &str) -> Result<()> {
    let replies = session.simple(sql, None)?;
    let errors = errors(&replies);
    ensure!(errors.is_empty(), "{sql}: {replies:?}");
    Ok(())
}

#[test]
fn a_pin_is_shown_and_ends_with_what_it_is_for() -> Result<()> {
    let stage = Stage::start("default_pool_size = 2")?;
    let mut client = stage.session(Side::Pooled)?;
    for (make, reason, end) in PINS {
        fine(&mut client, make)?;
        let pinned = stage.pinned()?;
        ensure!(pinned == [*reason], "{make}: {pinned:?}\n{}", stage.log());
        fine(&mut client, "SELECT 1")?;
        ensure!(stage.pinned()? == [*reason], "{make}, then another statement");
        fine(&mut client, end)?;
        let pinned = stage.pinned()?;
        ensure!(pinned.is_empty(), "{make}; {end}: {pinned:?}\n{}", stage.log());
    }
    for sql in FREE {
        client.simple(sql, None)?;
        let pinned = stage.pinned()?;
        ensure!(pinned.is_empty(), "{sql}: {pinned:?}");
    }
    Ok(())
}

#[test]
fn a_client_that_leaves_leaves_nothing() -> Result<()> {
    // One connection: whoever comes next gets the same.
    let stage = Stage::start("default_pool_size = 1")?;
    for (make, reason, _) in PINS {
        let mut client = stage.session(Side::Pooled)?;
        fine(&mut client, make)?;
        stage.wait_pinned(&[*reason])?;
        client.close();
        stage.wait_pinned(&[])?;
        let mut next = stage.session(Side::Pooled)?;
        let replies = next.simple(
            "SELECT (SELECT count(*) FROM pg_listening_channels()), (SELECT count(*) FROM pg_cursors WHERE is_holdable), \
             (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'), to_regclass('pg_temp.t'), \
             (SELECT count(*) FROM pg_prepared_statements WHERE from_sql)",
            None,
        )?;
        let row = replies.iter().find_map(|reply| match reply {
            Reply::Row(values) => Some(values.clone()),
            _ => None,
        });
        let zero = Some(b"0".to_vec());
        let expected = vec![zero.clone(), zero.clone(), zero.clone(), None, zero];
        ensure!(row.as_ref() == Some(&expected), "after {make}: {replies:?}");
        next.close();
    }
    Ok(())
}

#[test]
fn too_many_pins_are_refused_before_they_are_made() -> Result<()> {
    let stage = Stage::start("default_pool_size = 3\nmax_pinned_connections = 1")?;
    let mut first = stage.session(Side::Pooled)?;
    let mut second = stage.session(Side::Pooled)?;
    fine(&mut first, "LISTEN a")?;
    fine(&mut first, "CREATE TEMP TABLE t (a int)")?;
    let refused = second.simple("SELECT pg_advisory_lock(1)", None)?;
    ensure!(errors(&refused) == ["53300"], "{refused:?}");
    let locks = second.simple("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", None)?;
    ensure!(
        locks.contains(&Reply::Row(vec![Some(b"0".to_vec())])),
        "{locks:?}"
    );
    first.close();
    stage.wait_pinned(&[])?;
    fine(&mut second, "SELECT pg_advisory_lock(1)")
}

#[test]
fn notifications_reach_a_client_at_rest() -> Result<()> {
    let stage = Stage::start("default_pool_size = 2")?;
    let mut listener = stage.session(Side::Pooled)?;
    let mut speaker = stage.session(Side::Pooled)?;
    fine(&mut listener, "LISTEN news")?;
    for n in 0..20 {
        let payload = format!("number {n}");
        fine(&mut speaker, &format!("NOTIFY news, '{payload}'"))?;
        let (channel, text) = listener.notification().context("no notification")?;
        ensure!((channel.as_str(), text.as_str()) == ("news", payload.as_str()));
    }
    // A statement between them takes nothing away.
    fine(&mut speaker, "NOTIFY news, 'before'")?;
    fine(&mut listener, "SELECT quiet()")?;
    fine(&mut speaker, "NOTIFY news, 'after'")?;
    ensure!(listener.notification()?.1 == "before");
    ensure!(listener.notification()?.1 == "after");
    // Nothing comes after UNLISTEN.
    fine(&mut listener, "UNLISTEN news")?;
    fine(&mut speaker, "NOTIFY news, 'unheard'")?;
    fine(&mut listener, "SELECT 1")?;
    ensure!(listener.notifications.is_empty());
    Ok(())
}

#[test]
fn a_server_that_goes_away_ends_a_pinned_client() -> Result<()> {
    let stage = Stage::start("default_pool_size = 2")?;
    let mut pinned = stage.session(Side::Pooled)?;
    let mut other = stage.session(Side::Pooled)?;
    fine(&mut pinned, "LISTEN news")?;
    fine(
        &mut other,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%listening_channels%' AND pid <> pg_backend_pid()",
    )?;
    let told = pinned.until_closed()?;
    ensure!(errors(&told) == ["57P01"], "{told:?}\n{}", stage.log());
    // The others go on.
    fine(&mut other, "SELECT 1")
}

#[test]
fn the_value_of_a_sequence_is_never_anothers() -> Result<()> {
    let stage = Stage::start("default_pool_size = 1")?;
    let mut first = stage.session(Side::Pooled)?;
    let mut second = stage.session(Side::Pooled)?;
    fine(&mut first, "SELECT nextval('numbers')")?;
    fine(&mut second, "SELECT nextval('numbers')")?;
    // The only connection is the second client's by now.
    let lost = first.simple("SELECT currval('numbers')", None)?;
    ensure!(errors(&lost) == ["55000"], "{lost:?}");
    // From here on a client keeps its connection.
    fine(&mut second, "SELECT nextval('numbers')")?;
    stage.wait_pinned(&["sequence"])?;
    fine(&mut second, "SELECT currval('numbers')")?;
    second.close();
    fine(&mut first, "SELECT setval('numbers', 7)")?;
    let value = first.simple("SELECT currval('numbers')", None)?;
    ensure!(
        value.contains(&Reply::Row(vec![Some(b"7".to_vec())])),
        "{value:?}"
    );
    fine(&mut first, "DISCARD SEQUENCES")?;
    stage.wait_pinned(&[])
}
