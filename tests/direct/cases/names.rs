//! Names of prepared statements.

use anyhow::Result;
use wire::frontend::Target::{Portal, Statement};

use super::{compare_each, script};

#[test]
fn names_of_statements() -> Result<()> {
    compare_each(&[
        (
            "described",
            script()
                .parse("s", "SELECT $1::int + a FROM t WHERE b = $2", &[])
                .describe(Statement, "s")
                .sync()
                .bind("", "s", &["1", "row 2"])
                .describe(Portal, "")
                .execute("", 0)
                .sync()
                .ready(2),
        ),
        (
            "twice",
            script()
                .prepare("s", "SELECT 1")
                .prepare("s", "SELECT 2")
                .exec("s", &[])
                .sync()
                .ready(3),
        ),
        (
            "twice in one",
            script()
                .parse("s", "SELECT 1", &[])
                .prepare("s", "SELECT 2")
                .exec("s", &[])
                .sync()
                .ready(2),
        ),
        (
            "twice with a syntax error",
            script().prepare("s", "SELECT 1").prepare("s", "SELEC 2").ready(2),
        ),
        (
            "twice in a block",
            script()
                .query("BEGIN")
                .parse("s", "SELECT 1", &[])
                .prepare("s", "SELECT 2")
                .query("SELECT 1")
                .query("ROLLBACK")
                .exec("s", &[])
                .sync()
                .ready(5),
        ),
        (
            "closed",
            script()
                .parse("s", "SELECT 1", &[])
                .close(Statement, "s")
                .parse("s", "SELECT 2", &[])
                .exec("s", &[])
                .sync()
                .close(Statement, "s")
                .close(Statement, "s")
                .bind("", "s", &[])
                .sync()
                .ready(2),
        ),
        (
            "skipped after an error",
            script()
                .run("SELECT 1/0")
                .prepare("s", "SELECT 1")
                .bind("", "s", &[])
                .sync()
                .parse("s", "SELECT 3", &[])
                .exec("s", &[])
                .sync()
                .ready(3),
        ),
        (
            "a Close that is skipped",
            script()
                .prepare("s", "SELECT 1")
                .run("SELECT 1/0")
                .close(Statement, "s")
                .sync()
                .exec("s", &[])
                .sync()
                .ready(3),
        ),
        (
            "a bad one, then a good one",
            script()
                .prepare("s", "SELEC 1")
                .parse("s", "SELECT 1", &[])
                .exec("s", &[])
                .sync()
                .ready(2),
        ),
        (
            "unknown",
            script()
                .bind("", "nothing", &[])
                .sync()
                .describe(Statement, "nothing")
                .sync()
                .close(Statement, "nothing")
                .sync()
                .bind("", "", &[])
                .sync()
                .ready(4),
        ),
        (
            "too few values",
            script()
                .parse("mine", "SELECT $1::int, $2::int", &[])
                .bind("", "mine", &["1"])
                .sync()
                .ready(1),
        ),
        (
            "the unnamed one stays",
            script()
                .prepare("", "SELECT $1::int")
                .exec("", &["7"])
                .sync()
                .exec("", &["8"])
                .sync()
                .ready(3),
        ),
        (
            "the unnamed one ends with a query",
            script()
                .prepare("", "SELECT 1")
                .query("SELECT 2")
                .bind("", "", &[])
                .sync()
                .ready(3),
        ),
        (
            "the unnamed one is closed",
            script()
                .prepare("", "SELECT 1")
                .close(Statement, "")
                .sync()
                .bind("", "", &[])
                .sync()
                .ready(3),
        ),
        (
            "the unnamed one fails",
            script()
                .prepare("", "SELECT 1")
                .prepare("", "SELEC")
                .bind("", "", &[])
                .sync()
                .ready(3),
        ),
        (
            "EXECUTE in SQL",
            script()
                .prepare("s", "SELECT $1::int + 1")
                .query("EXECUTE s (41)")
                .query("DEALLOCATE s")
                .query("DEALLOCATE s")
                .bind("", "s", &["1"])
                .sync()
                .ready(5),
        ),
        (
            "PREPARE of a taken name",
            script()
                .prepare("s", "SELECT 1")
                .query("PREPARE s AS SELECT 2")
                .exec("s", &[])
                .sync()
                .ready(3),
        ),
        (
            "DEALLOCATE ALL",
            script()
                .parse("a", "SELECT 1", &[])
                .prepare("b", "SELECT 2")
                .query("DEALLOCATE ALL")
                .bind("", "a", &[])
                .sync()
                .parse("a", "SELECT 3", &[])
                .exec("a", &[])
                .sync()
                .ready(4),
        ),
        (
            "DISCARD ALL",
            script()
                .prepare("a", "SELECT 1")
                .query("DISCARD ALL")
                .bind("", "a", &[])
                .sync()
                .parse("a", "SELECT 3", &[])
                .exec("a", &[])
                .sync()
                .ready(4),
        ),
        (
            "a Bind of SQL's PREPARE",
            script()
                .query("PREPARE q AS SELECT 5")
                .bind("", "q", &[])
                .describe(Portal, "")
                .execute("", 0)
                .sync()
                .query("DEALLOCATE q")
                .ready(3),
        ),
        (
            "after DDL",
            script()
                .prepare("s", "SELECT * FROM u")
                .exec("s", &[])
                .sync()
                .query("ALTER TABLE u ADD COLUMN more int")
                .exec("s", &[])
                .sync()
                .close(Statement, "s")
                .parse("s", "SELECT * FROM u", &[])
                .bind("", "s", &[])
                .describe(Portal, "")
                .execute("", 0)
                .sync()
                .ready(5),
        ),
        (
            "in a failed block",
            script()
                .prepare("s", "SELECT 1")
                .query("BEGIN; SELECT 1/0")
                .prepare("z", "SELECT 1")
                .bind("", "s", &[])
                .sync()
                .query("ROLLBACK")
                .prepare("z", "SELECT 1")
                .ready(6),
        ),
    ])
}
