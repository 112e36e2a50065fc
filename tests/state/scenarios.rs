//! Several sessions that interleave, on plain PostgreSQL and through Ringway: every answer is the same.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use tests::{Extended, Fault, Reply, Session};

use crate::stage::{Side, Stage};

/// What a session is told of a statement, and what was reported of its settings since it began.
type Told = (Vec<Reply>, BTreeMap<String, String>);

/// By which protocol statements are sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Protocol {
    Simple,
    Extended,
}

/// The statements of all sessions in order: the session's name, a colon, the statement. `\q` ends a session.
const SCENARIOS: &[(&str, &str)] = &[
    (
        "a setting that was made in a block",
        "a: BEGIN
         a: SET work_mem = '3MB'
         a: SAVEPOINT s
         a: SET statement_timeout = '1h'
         a: ROLLBACK TO s
         a: COMMIT
         b: SHOW work_mem
         a: SHOW work_mem
         a: SHOW statement_timeout",
    ),
    (
        "a setting that was rolled back",
        "a: SET work_mem = '2MB'
         a: BEGIN
         a: SET work_mem = '3MB'
         a: SELECT set_config('lock_timeout', '9s', false)
         a: ROLLBACK
         b: SHOW work_mem
         a: SHOW work_mem
         a: SHOW lock_timeout",
    ),
    (
        "set_config",
        "a: SELECT set_config('search_path', 'pg_catalog, \"x y\",public', false)
         a: SELECT set_config('app.tenant', 'it''s', false)
         a: SELECT set_config('work_mem', '7MB', true)
         b: SHOW search_path
         b: SELECT coalesce(current_setting('app.tenant', true), '')
         a: SHOW search_path
         a: SHOW app.tenant
         a: SHOW work_mem
         a: RESET search_path
         b: SELECT 1
         a: SHOW search_path",
    ),
    (
        "a function that sets",
        "a: SELECT sets('datestyle', 'German')
         b: SELECT '2024-02-01'::date
         a: SELECT '2024-02-01'::date
         a: DO $$BEGIN PERFORM set_config('timezone', 'Asia/Tokyo', false); END$$
         b: SHOW timezone
         a: SHOW timezone
         a: CALL numbered()
         b: SHOW work_mem
         a: SHOW work_mem",
    ),
    (
        "settings that an application has made up",
        "a: DO $$BEGIN PERFORM set_config('my.own', 'a', false); END$$
         b: SELECT coalesce(current_setting('my.own', true), '')
         a: SELECT current_setting('my.own', true)
         a: BEGIN
         a: SET my.other = 'c'
         a: COMMIT
         b: SELECT coalesce(current_setting('my.other', true), '')
         b: SET my.other = 'b'
         a: SHOW my.other
         b: SHOW my.other",
    ),
    (
        "roles",
        "a: SET ROLE low
         b: SELECT current_user, session_user
         a: SELECT current_user, session_user
         a: RESET ROLE
         a: SELECT current_user
         a: SET SESSION AUTHORIZATION lower
         b: SELECT current_user, session_user
         a: SELECT current_user, session_user
         a: RESET SESSION AUTHORIZATION
         a: SELECT session_user
         a: DO $$BEGIN SET ROLE low; END$$
         b: SELECT current_user
         a: SELECT current_user",
    ),
    (
        "the characteristics of transactions",
        "a: SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, ISOLATION LEVEL SERIALIZABLE
         b: SHOW default_transaction_read_only
         a: SHOW default_transaction_read_only
         a: SHOW transaction_isolation
         a: INSERT INTO items (name) VALUES ('x')",
    ),
    (
        "all settings at once",
        "a: SET work_mem = '3MB'
         a: SET timezone = 'CET'
         a: BEGIN
         a: RESET ALL
         a: COMMIT
         b: SET work_mem = '4MB'
         a: SHOW work_mem
         a: SHOW timezone
         a: SHOW application_name
         a: SHOW client_encoding",
    ),
    (
        "a temporary table",
        "a: CREATE TEMP TABLE t (a int)
         a: INSERT INTO t VALUES (1)
         b: SELECT * FROM t
         a: SELECT * FROM t
         b: CREATE TEMP TABLE t (b int)
         b: DROP TABLE t
         a: SELECT * FROM t
         a: DROP TABLE t
         a: SELECT * FROM t
         b: SELECT 1",
    ),
    (
        "temporary tables for a transaction",
        "a: BEGIN
         a: CREATE TEMP TABLE t (a int) ON COMMIT DROP
         a: INSERT INTO t VALUES (1)
         a: SELECT * FROM t
         a: COMMIT
         b: SELECT * FROM t
         a: SELECT * FROM t",
    ),
    (
        "other temporary objects",
        "a: SELECT 1 AS a INTO TEMP i
         b: SELECT * FROM i
         a: SELECT * FROM i
         a: DISCARD TEMP
         a: SELECT * FROM i
         a: CREATE TEMP VIEW v AS SELECT 2 AS b
         b: SELECT * FROM v
         a: SELECT * FROM v
         a: DROP VIEW v
         a: CREATE TEMP SEQUENCE s
         a: SELECT nextval('s')
         b: SELECT nextval('s')
         a: SELECT nextval('s')
         a: DROP SEQUENCE s
         a: CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 3'
         a: SELECT pg_temp.f()
         a: DROP FUNCTION pg_temp.f()
         a: SELECT tables()
         b: SELECT * FROM hidden
         a: SELECT * FROM hidden
         a: DROP TABLE hidden",
    ),
    (
        "a cursor WITH HOLD",
        "a: BEGIN
         a: DECLARE c CURSOR WITH HOLD FOR SELECT generate_series(1, 4)
         a: FETCH 1 FROM c
         a: COMMIT
         b: FETCH 1 FROM c
         a: FETCH 2 FROM c
         a: CLOSE c
         a: FETCH 1 FROM c
         b: SELECT 1",
    ),
    (
        "session advisory locks",
        "a: SELECT pg_advisory_lock(1)
         b: SELECT pg_try_advisory_lock(1)
         a: SELECT pg_try_advisory_lock(1)
         a: SELECT pg_advisory_unlock(1)
         b: SELECT pg_try_advisory_lock(1)
         a: SELECT pg_advisory_unlock(1)
         b: SELECT pg_try_advisory_lock(1)
         b: SELECT pg_advisory_unlock_all()
         a: WITH l AS (SELECT pg_try_advisory_lock_shared(2) AS got) SELECT got FROM l
         b: SELECT pg_try_advisory_lock(2)
         a: SELECT pg_advisory_unlock_shared(2)
         a: SELECT pg_advisory_unlock(2)
         a: SELECT locks(3)
         b: SELECT pg_try_advisory_lock(3)
         a: DO $$BEGIN PERFORM pg_advisory_unlock(3); END$$
         b: SELECT pg_try_advisory_lock(3)
         b: SELECT pg_advisory_unlock(3)",
    ),
    (
        "a lock that its owner leaves behind",
        "a: SELECT pg_advisory_lock(7)
         a: CREATE TEMP TABLE left_behind (a int)
         a: SET work_mem = '3MB'
         a: \\q
         b: SELECT pg_advisory_lock(7)
         b: SELECT * FROM left_behind
         b: SHOW work_mem
         b: SELECT pg_advisory_unlock(7)
         c: SELECT pg_try_advisory_lock(7), pg_advisory_unlock(7)",
    ),
    (
        "a client that leaves in a transaction",
        "a: BEGIN
         a: CREATE TEMP TABLE left_behind (a int)
         a: SET work_mem = '3MB'
         a: SELECT pg_advisory_lock(8)
         a: \\q
         b: SELECT pg_advisory_lock(8)
         b: SELECT * FROM left_behind
         b: SHOW work_mem
         b: SELECT pg_advisory_unlock(8)",
    ),
    (
        "sequences",
        "a: SELECT currval('numbers')
         a: SELECT lastval()
         a: SELECT setval('numbers', 41)
         a: SELECT nextval('numbers')
         a: SELECT currval('numbers'), lastval()
         b: SELECT currval('numbers')
         b: SELECT setval('numbers', 100)
         a: SELECT lastval()
         b: SELECT lastval()
         b: DISCARD SEQUENCES
         b: SELECT lastval()
         a: SELECT currval('numbers')",
    ),
    (
        "the seed of random numbers",
        "a: SELECT setseed(0.25)
         b: SELECT random() IS NULL
         a: SELECT random()
         a: SELECT random()",
    ),
    (
        "everything discarded",
        "a: SET work_mem = '3MB'
         a: CREATE TEMP TABLE t (a int)
         a: SELECT pg_advisory_lock(5)
         a: LISTEN here
         a: DISCARD ALL
         a: SHOW work_mem
         a: SELECT * FROM t
         a: SELECT count(*) FROM pg_listening_channels()
         b: SELECT pg_try_advisory_lock(5), pg_advisory_unlock(5)
         a: SHOW application_name",
    ),
    (
        "statements that leave nothing",
        "a: SELECT quiet(), count(*), now() IS NULL FROM items
         b: SELECT quiet()
         a: LISTEN here
         a: UNLISTEN *
         b: SELECT count(*) FROM pg_listening_channels()
         a: SELECT listens()
         b: SELECT count(*) FROM pg_listening_channels()
         a: SELECT * FROM pg_listening_channels()
         a: UNLISTEN quietly",
    ),
    (
        "errors in blocks that made state",
        "a: BEGIN
         a: CREATE TEMP TABLE t (a int)
         a: SELECT 1 / 0
         a: SELECT 1
         a: COMMIT
         b: SELECT * FROM t
         a: SELECT * FROM t
         a: BEGIN
         a: LISTEN nowhere
         a: ROLLBACK
         a: SELECT count(*) FROM pg_listening_channels()",
    ),
];

/// Statements prepared in SQL: for databases whose statements go to the server as they are.
const SQL_PREPARED: (&str, &str) = (
    "statements prepared in SQL",
    "a: PREPARE p (int) AS SELECT $1 + 1
     b: EXECUTE p (1)
     a: EXECUTE p (1)
     b: PREPARE p AS SELECT 'b'
     b: EXECUTE p
     a: EXECUTE p (2)
     b: DEALLOCATE ALL
     a: DEALLOCATE p
     a: EXECUTE p (3)",
);

/// Ringway speaks for the server in transactions over shards.
fn without_routine(reply: Reply) -> Reply {
    match reply {
        Reply::Error(fault) => Reply::Error(Fault {
            routine: None,
            ..fault
        }),
        Reply::Notice(fault) => Reply::Notice(Fault {
            routine: None,
            ..fault
        }),
        other => other,
    }
}

fn run(stage: &Stage, side: Side, protocol: Protocol, scenario: &str) -> Result<Vec<(String, Told)>> {
    let mut sessions: BTreeMap<&str, Session> = BTreeMap::new();
    let mut told = Vec::new();
    for line in scenario.lines().map(str::trim) {
        let (name, sql) = line.split_once(": ").context("a line without a session")?;
        if !sessions.contains_key(name) {
            sessions.insert(name, stage.session(side)?);
        }
        if sql == "\\q" {
            sessions.remove(name).context("no such session")?.close();
            continue;
        }
        let session = sessions.get_mut(name).context("no such session")?;
        let replies = match protocol {
            Protocol::Simple => session.simple(sql, None)?,
            Protocol::Extended => session.extended(&Extended::once(sql))?,
        };
        let replies = replies.into_iter().map(without_routine).collect();
        told.push((line.to_owned(), (replies, session.parameters.clone())));
    }
    for (_, session) in sessions {
        session.close();
    }
    Ok(told)
}

fn compare(stage: &Stage, protocol: Protocol, (name, scenario): (&str, &str)) -> Result<()> {
    let expected = run(stage, Side::Direct, protocol, scenario).with_context(|| name.to_owned())?;
    let found = run(stage, Side::Pooled, protocol, scenario)
        .with_context(|| format!("{name}, {protocol:?}\n{}", stage.log()))?;
    for ((line, expected), (_, found)) in expected.iter().zip(&found) {
        ensure!(
            expected == found,
            "{name}, {protocol:?}, at {line}\nPostgreSQL: {expected:?}\nRingway: {found:?}\n{}",
            stage.log()
        );
    }
    stage
        .wait_pinned(&[])
        .with_context(|| format!("after {name}, {protocol:?}"))
}

#[test]
fn sessions_that_interleave_are_told_what_postgresql_tells() -> Result<()> {
    let stage = Stage::start("default_pool_size = 2")?;
    let mut failures = Vec::new();
    for protocol in [Protocol::Simple, Protocol::Extended] {
        for scenario in SCENARIOS.iter().copied().chain([SQL_PREPARED]) {
            if let Err(error) = compare(&stage, protocol, scenario) {
                failures.push(format!("{error:#}"));
            }
        }
    }
    ensure!(
        failures.is_empty(),
        "{} failures\n{}",
        failures.len(),
        failures.join("\n\n")
    );
    Ok(())
}
