//! Batches of the extended protocol.

use anyhow::Result;
use wire::frontend::Target::{Portal, Statement};

use super::{compare_each, script};

#[test]
fn batches() -> Result<()> {
    compare_each(&[
        ("nothing but Sync", script().sync().sync().ready(2)),
        (
            "one",
            script().run("SELECT a, b FROM t WHERE a = 2").sync().ready(1),
        ),
        ("empty", script().run("").sync().ready(1)),
        (
            "several in one",
            script()
                .run("INSERT INTO u VALUES (1)")
                .run("SELECT * FROM u")
                .sync()
                .ready(1),
        ),
        (
            "an error in the middle",
            script()
                .run("INSERT INTO u VALUES (1)")
                .run("SELECT 1/0")
                .run("SELECT 2")
                .sync()
                .run("SELECT * FROM u")
                .sync()
                .ready(2),
        ),
        (
            "a syntax error in the middle",
            script()
                .run("SELECT 1")
                .run("SELEC 1")
                .close(Statement, "x")
                .sync()
                .run("SELECT 3")
                .sync()
                .ready(2),
        ),
        (
            "pipelines",
            (1..40)
                .fold(script(), |s, n| {
                    s.run(&format!("SELECT {n}, repeat('x', 500)")).sync()
                })
                .ready(39),
        ),
        (
            "a pipeline with errors",
            (1..40)
                .fold(script(), |s, n| {
                    s.run(&format!("SELECT 1/({n} % 3)")).run("SELECT 'after'").sync()
                })
                .ready(39),
        ),
        (
            "a block over batches",
            script()
                .run("BEGIN")
                .sync()
                .run("INSERT INTO u VALUES (1)")
                .sync()
                .run("SELECT 1/0")
                .sync()
                .run("SELECT 1")
                .sync()
                .run("ROLLBACK")
                .sync()
                .ready(5),
        ),
        (
            "Flush without Sync",
            script()
                .run("SELECT 1")
                .flush()
                .until(b'C', 1)
                .run("SELECT 2")
                .flush()
                .until(b'C', 1)
                .sync()
                .ready(1),
        ),
        (
            "Flush after an error",
            script()
                .run("SELECT 1/0")
                .flush()
                .until(b'E', 1)
                .run("SELECT 2")
                .flush()
                .sync()
                .ready(1),
        ),
        (
            "Flush and a commit",
            script()
                .run("INSERT INTO u VALUES (5)")
                .flush()
                .until(b'C', 1)
                .run("SELECT 1/0")
                .flush()
                .until(b'E', 1)
                .sync()
                .ready(1)
                .query("SELECT * FROM u")
                .ready(1),
        ),
        (
            "a query in an open batch",
            script()
                .run("INSERT INTO u VALUES (6)")
                .query("SELECT * FROM u")
                .ready(1),
        ),
        (
            "a query after an error",
            script()
                .run("SELECT 1/0")
                .query("SELECT 1")
                .sync()
                .query("SELECT 2")
                .ready(2),
        ),
        (
            "row limits",
            script()
                .parse("", "SELECT a FROM t ORDER BY a", &[])
                .bind("", "", &[])
                .execute("", 3)
                .execute("", 3)
                .execute("", 0)
                .execute("", 1)
                .sync()
                .ready(1),
        ),
        (
            "portals in a block",
            script()
                .query("BEGIN")
                .parse("s", "SELECT a FROM t ORDER BY a", &[])
                .bind("p", "s", &[])
                .bind("q", "s", &[])
                .execute("p", 2)
                .sync()
                .execute("q", 4)
                .describe(Portal, "q")
                .sync()
                .execute("p", 2)
                .close(Portal, "p")
                .execute("p", 1)
                .sync()
                .query("ROLLBACK")
                .ready(5),
        ),
        (
            "a portal after its batch",
            script()
                .parse("", "SELECT 1", &[])
                .bind("x", "", &[])
                .sync()
                .execute("x", 0)
                .sync()
                .ready(2),
        ),
        (
            "several statements",
            script().prepare("", "SELECT 1; SELECT 2").ready(1),
        ),
        (
            "malformed messages",
            script()
                .message(b'B', b"a\0")
                .sync()
                .message(b'P', b"no end")
                .sync()
                .message(b'D', b"X\0")
                .sync()
                .ready(3),
        ),
        (
            "settings",
            script()
                .run("SET application_name = 'by extended'")
                .sync()
                .run("SHOW application_name")
                .sync()
                .run("BEGIN")
                .run("SET LOCAL work_mem = '5MB'")
                .run("SHOW work_mem")
                .sync()
                .run("COMMIT")
                .run("SHOW work_mem")
                .sync()
                .ready(4),
        ),
        (
            "notices and listening",
            script()
                .run("LISTEN x")
                .run("NOTIFY x")
                .sync()
                .run("UNLISTEN x")
                .sync()
                .ready(2),
        ),
    ])
}
