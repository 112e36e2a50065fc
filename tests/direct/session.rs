//! What a session has beside its transactions: names, settings, what pins it; and the proxy's own statements.

use std::time::Duration;

use anyhow::Result;
use wire::frontend::Target::{Portal, Statement};

use crate::cases::{compare_each, script};
use crate::place::place;
use crate::script::{Script, same, show};

/// SQL and the protocol have one register of prepared statements, and nobody else's are in it.
#[test]
fn one_register_of_names() -> Result<()> {
    const LOOK: &str =
        "SELECT name, statement, parameter_types, from_sql FROM pg_prepared_statements ORDER BY name";
    compare_each(&[
        (
            "a Parse of a name that SQL took",
            script()
                .query("PREPARE s AS SELECT 1")
                .prepare("s", "SELECT 2")
                .exec("s", &[])
                .sync()
                .close(Statement, "s")
                .parse("s", "SELECT 3", &[])
                .exec("s", &[])
                .sync()
                .ready(4),
        ),
        (
            "a Close that is skipped, and a Parse in the next batch",
            script()
                .prepare("s", "SELECT 1")
                .execute("nothing", 0)
                .close(Statement, "s")
                .sync()
                .prepare("s", "SELECT 2")
                .exec("s", &[])
                .sync()
                .ready(4),
        ),
        (
            "in one pipeline",
            script()
                .parse("b", "SHOW application_name", &[])
                .query("PREPARE a AS SELECT 4")
                .prepare("a", "")
                .query("DEALLOCATE a")
                .parse("a", "SELECT 5", &[])
                .exec("a", &[])
                .sync()
                .ready(4),
        ),
        (
            "EXPLAIN of EXECUTE",
            script()
                .parse("s", "SELECT a FROM t WHERE a = $1", &[23])
                .sync()
                .query("EXPLAIN (COSTS off) EXECUTE s (1)")
                .run("EXPLAIN (COSTS off) EXECUTE s (1)")
                .sync()
                .query("CREATE TEMP TABLE made AS EXECUTE s (2)")
                .query("SELECT * FROM made; DROP TABLE made")
                .ready(5),
        ),
        (
            "EXECUTE is described",
            script()
                .parse("s", "SELECT a, b FROM t WHERE a = $1", &[23])
                .sync()
                .parse("e", "EXECUTE s (3)", &[])
                .describe(Statement, "e")
                .sync()
                .bind("", "e", &[])
                .describe(Portal, "")
                .execute("", 0)
                .sync()
                .run("EXECUTE s (4)")
                .sync()
                .ready(4),
        ),
        (
            "seen by a query",
            script()
                .query(LOOK)
                .parse("s", "SELECT $1::int", &[])
                .prepare("gone", "SELECT 7")
                .query("SET work_mem = '3MB'; SELECT set_config('lock_timeout', '9s', false)")
                .query("PREPARE q AS SELECT 2")
                .close(Statement, "gone")
                .sync()
                .query(LOOK)
                .query("DEALLOCATE q")
                .query(LOOK)
                .ready(7),
        ),
        (
            "seen by a statement",
            script()
                .parse("look", LOOK, &[])
                .parse("s", "SELECT 1", &[])
                .exec("look", &[])
                .sync()
                .run("SELECT count(*) FROM pg_prepared_statement()")
                .sync()
                .exec("s", &[])
                .sync()
                .ready(3),
        ),
    ])
}

/// RESET goes back to what the session began with, for whatever comes next.
#[test]
fn settings_that_are_reset() -> Result<()> {
    let show = |s: Script| s.query("SHOW application_name");
    compare_each(&[
        (
            "in a block",
            show(
                show(
                    script()
                        .query("BEGIN")
                        .query("SET application_name = 'x'")
                        .query("RESET ALL"),
                )
                .query("ROLLBACK"),
            )
            .ready(6),
        ),
        (
            "in a block that is committed",
            show(
                show(
                    script()
                        .query("SET application_name = 'x'")
                        .query("BEGIN")
                        .query("SET application_name TO DEFAULT"),
                )
                .query("COMMIT"),
            )
            .ready(6),
        ),
        (
            "in a batch",
            show(
                script()
                    .run("SET application_name = 'x'")
                    .run("RESET application_name")
                    .run("SHOW application_name")
                    .run("SELECT 1/0")
                    .sync(),
            )
            .ready(2),
        ),
        (
            "by DISCARD ALL in a batch",
            show(
                script()
                    .query("SET application_name = 'x'")
                    .run("DISCARD ALL")
                    .sync()
                    .run("SHOW application_name")
                    .sync(),
            )
            .ready(4),
        ),
        (
            "in a pipeline",
            show(
                script()
                    .query("SET application_name = 'x'")
                    .query("RESET ALL")
                    .query("BEGIN"),
            )
            .query("ROLLBACK")
            .ready(5),
        ),
    ])
}

/// A client that stays on its connection for what it has there has it after COPY went wrong as well.
#[test]
fn copy_that_fails_beside_what_pins() -> Result<()> {
    let begun = || {
        script()
            .query("CREATE TEMP TABLE pinned (a int)")
            .ready(1)
            .prepare("c", "COPY pinned FROM STDIN")
            .ready(1)
            .exec("c", &[])
            .sync()
            .until(b'G', 1)
    };
    compare_each(&[
        (
            "given up by the client",
            begun()
                .copy_data(b"1\n")
                .copy_fail("no more")
                .sync()
                .ready(1)
                .query("SELECT * FROM pinned; DROP TABLE pinned")
                .ready(1),
        ),
        (
            "a wrong row",
            begun()
                .copy_data(b"x\n")
                .copy_data(b"1\n")
                .copy_done()
                .sync()
                .ready(1)
                .run("SELECT * FROM pinned")
                .sync()
                .query("DROP TABLE pinned")
                .ready(2),
        ),
        (
            "an error that is waited for",
            begun()
                .copy_data(b"x\n")
                .copy_done()
                .until(b'E', 1)
                .sync()
                .ready(1)
                .query("DROP TABLE pinned")
                .ready(1),
        ),
    ])
}

/// What is there of a batch reaches the server before its end does.
#[test]
fn a_batch_that_pauses() -> Result<()> {
    compare_each(&[(
        "longer than statement_timeout",
        script()
            .query("SET statement_timeout = '100ms'")
            .ready(1)
            .parse("", "SELECT 1", &[])
            .pause(Duration::from_millis(300))
            .describe(Statement, "")
            .sync()
            .ready(1)
            .query("RESET statement_timeout")
            .ready(1),
    )])
}

/// A client's state follows it, whoever else uses the connections.
#[test]
fn sessions_beside_each_other() -> Result<()> {
    let place = place()?;
    let mut others: Vec<_> = (0..3).map(|_| place.through()).collect::<Result<_>>()?;
    let own = [
        script()
            .parse("s", "SELECT 'mine', $1::int", &[])
            .prepare("", "SELECT 'unnamed'")
            .ready(1),
        script().query("SET work_mem = '12MB'").ready(1),
        script().exec("s", &["1"]).sync().ready(1),
        script().exec("", &[]).sync().query("SHOW work_mem").ready(2),
        script()
            .query("BEGIN; SET work_mem = '13MB'")
            .query("COMMIT")
            .query("SHOW work_mem")
            .ready(3),
        script()
            .query("SELECT set_config('my.own', 'kept', false)")
            .query("SELECT current_setting('my.own')")
            .ready(2),
        script().query("SELECT current_setting('my.own', true)").ready(1),
    ];
    let noise = script()
        .parse("s", "SELECT 'another'", &[])
        .parse("", "SELECT 'another'", &[])
        .query("SET work_mem = '1MB'")
        .close(Statement, "s")
        .sync()
        .ready(2);
    let (mut straight, mut through) = (place.straight()?, place.through()?);
    for (n, part) in own.iter().enumerate() {
        let expected = part.play(&mut straight)?;
        same(&format!("part {n}"), &expected, &part.play(&mut through)?)?;
        for other in &mut others {
            noise.play(other)?;
        }
    }
    Ok(())
}

/// Statements of the proxy's own are answered in their turn, in both protocols and in a block.
#[test]
fn statements_of_the_proxys_own() -> Result<()> {
    let place = place()?;
    let mut session = place.through()?;
    let frames = script()
        .run("SELECT 'before'")
        .run("SET ringway.level = 'strong'")
        .run("SHOW ringway.level")
        .run("SELECT 'after'")
        .sync()
        .query("BEGIN")
        .query("SHOW ringway.level")
        .run("SET ringway.level = 'bogus'")
        .run("SELECT 'skipped'")
        .sync()
        .query("SELECT 1")
        .query("ROLLBACK")
        .query("EXPLAIN (ROUTE) SELECT 1")
        .query("SELECT 1; SHOW ringway.level")
        .query("SHOW ringway.source")
        .ready(9)
        .play(&mut session)?;
    let tags: String = frames.iter().map(|(tag, _)| char::from(*tag)).collect();
    let rows = frames.iter().filter(|(tag, _)| *tag == b'D').count();
    assert_eq!(
        tags.replace("DDDDD", "D"),
        "12TDC 12nC 12TDC 12TDC Z CZ TDCZ 12nEZ EZ CZ TDCZ EZ TDCZ".replace(' ', ""),
        "{}",
        show(&frames)
    );
    assert!(rows > 5);
    let states: String = frames
        .iter()
        .filter(|(tag, _)| *tag == b'Z')
        .map(|(_, body)| char::from(body[0]))
        .collect();
    assert_eq!(states, "ITTEEIIII");
    assert!(
        frames
            .iter()
            .any(|(tag, body)| *tag == b'D' && body.ends_with(b"primary")),
        "{}",
        show(&frames)
    );
    Ok(())
}
