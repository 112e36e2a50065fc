//! Scripts of the raw protocol, played on PostgreSQL and through Ringway.

use anyhow::Result;
use wire::frontend::Target::{Portal, Statement};

use crate::place::{Place, place};
use crate::script::{Script, same};

/// What every script finds.
const TABLES: &str = "DROP TABLE IF EXISTS t, u; CREATE TABLE t (a int PRIMARY KEY, b text); \
    INSERT INTO t SELECT n, 'row ' || n FROM generate_series(1, 10) n; CREATE TABLE u (a int)";

pub(crate) fn script() -> Script {
    Script::default()
}

/// Plays scripts one after the other, each in the same session on both sides.
fn compare(place: &Place, name: &str, scripts: &[Script]) -> Result<()> {
    let tables = script().query(TABLES).ready(1);
    tables.play(&mut place.straight()?)?;
    tables.play(&mut place.behind()?)?;
    let (mut straight, mut through) = (place.straight()?, place.through()?);
    for (n, script) in scripts.iter().enumerate() {
        let expected = script.play(&mut straight)?;
        same(
            &format!("{name}, part {n}"),
            &expected,
            &script.play(&mut through)?,
        )?;
    }
    Ok(())
}

pub(crate) fn compare_each(cases: &[(&str, Script)]) -> Result<()> {
    let place = place()?;
    for (name, script) in cases {
        compare(&place, name, std::slice::from_ref(script))?;
    }
    Ok(())
}

#[test]
fn strings_of_statements() -> Result<()> {
    compare_each(&[
        (
            "empty",
            script().query("").query(";").query("-- nothing").ready(3),
        ),
        (
            "several",
            script()
                .query("SELECT 1; SELECT a FROM t WHERE a < 3; SELECT 'x'")
                .ready(1),
        ),
        (
            "an error among several",
            script()
                .query("INSERT INTO u VALUES (1); SELECT 1/0; SELECT 3")
                .query("SELECT * FROM u")
                .ready(2),
        ),
        (
            "a syntax error",
            script()
                .query("SELEC 1")
                .query("SELECT 1; SELEC 2")
                .query("SELECT 'unfinished")
                .ready(3),
        ),
        (
            "BEGIN inside",
            script()
                .query("SELECT 1; BEGIN; INSERT INTO u VALUES (2)")
                .query("SELECT * FROM u")
                .query("ROLLBACK")
                .query("SELECT * FROM u")
                .ready(4),
        ),
        (
            "COMMIT inside",
            script()
                .query("BEGIN; INSERT INTO u VALUES (3); COMMIT; SELECT 1/0")
                .query("SELECT * FROM u")
                .ready(2),
        ),
        (
            "an error in a block",
            script()
                .query("BEGIN")
                .query("SELECT 1/0")
                .query("SELECT 1")
                .query("COMMIT")
                .query("COMMIT")
                .ready(5),
        ),
        (
            "savepoints",
            script()
                .query("BEGIN; SAVEPOINT a; INSERT INTO u VALUES (1)")
                .query("SELECT x")
                .query("ROLLBACK TO a; SELECT * FROM u; COMMIT")
                .ready(3),
        ),
        (
            "notices",
            script()
                .query("DO $$BEGIN RAISE NOTICE 'told'; RAISE WARNING 'warned'; END$$")
                .query("DROP TABLE IF EXISTS nothing")
                .query("ROLLBACK")
                .ready(3),
        ),
        (
            "settings",
            script()
                .query("SET application_name = 'x y'; SHOW application_name")
                .query("SET DateStyle = 'SQL, DMY'")
                .query("SHOW DateStyle")
                .query("RESET DateStyle")
                .ready(4),
        ),
        (
            "wrong settings",
            script()
                .query("SET nothing = 1")
                .query("SET work_mem = 'lots'")
                .query("BEGIN; SET work_mem = 'lots'")
                .query("ROLLBACK")
                .ready(4),
        ),
        (
            "encodings",
            script()
                .query("SET client_encoding = 'LATIN1'")
                .query("SELECT '\u{e4}'")
                .query("RESET client_encoding")
                .ready(3),
        ),
        (
            "bytes that are not UTF-8",
            script().message(b'Q', b"SELECT '\xff\xfe'\0").ready(1),
        ),
        (
            "a string that does not end",
            script().message(b'Q', b"SELECT 1").ready(1),
        ),
        (
            "prepared in SQL",
            script()
                .query("PREPARE p (int) AS SELECT $1 + 1")
                .query("EXECUTE p (1)")
                .query("DEALLOCATE p")
                .query("EXECUTE p (1)")
                .ready(4),
        ),
        (
            "cursors",
            script()
                .query("BEGIN; DECLARE c CURSOR FOR SELECT a FROM t ORDER BY a")
                .query("FETCH 3 FROM c")
                .query("MOVE 2 FROM c; FETCH c")
                .query("CLOSE c; COMMIT")
                .ready(4),
        ),
        (
            "a held cursor",
            script()
                .query("DECLARE h CURSOR WITH HOLD FOR SELECT a FROM t ORDER BY a")
                .query("FETCH 2 FROM h")
                .query("CLOSE h")
                .query("FETCH h")
                .ready(4),
        ),
        (
            "temporary tables",
            script()
                .query("CREATE TEMP TABLE tmp (a int)")
                .query("INSERT INTO tmp VALUES (1)")
                .query("SELECT * FROM tmp")
                .query("DROP TABLE tmp")
                .query("SELECT * FROM tmp")
                .ready(5),
        ),
        (
            "two-phase commit",
            script()
                .query("BEGIN; INSERT INTO u VALUES (9); PREPARE TRANSACTION 'x'")
                .query("ROLLBACK PREPARED 'x'")
                .ready(2),
        ),
        (
            "notifications",
            script()
                .query("LISTEN news")
                .query("NOTIFY news, 'payload'")
                .query("UNLISTEN *")
                .query("NOTIFY news, 'unheard'")
                .ready(4),
        ),
    ])
}

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
            script().parse("", "SELECT 1; SELECT 2", &[]).sync().ready(1),
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
                .parse("s", "SELECT 1", &[])
                .sync()
                .parse("s", "SELECT 2", &[])
                .sync()
                .bind("", "s", &[])
                .execute("", 0)
                .sync()
                .ready(3),
        ),
        (
            "twice in one",
            script()
                .parse("s", "SELECT 1", &[])
                .parse("s", "SELECT 2", &[])
                .sync()
                .bind("", "s", &[])
                .execute("", 0)
                .sync()
                .ready(2),
        ),
        (
            "twice with a syntax error",
            script()
                .parse("s", "SELECT 1", &[])
                .sync()
                .parse("s", "SELEC 2", &[])
                .sync()
                .ready(2),
        ),
        (
            "twice in a block",
            script()
                .query("BEGIN")
                .parse("s", "SELECT 1", &[])
                .parse("s", "SELECT 2", &[])
                .sync()
                .query("SELECT 1")
                .query("ROLLBACK")
                .bind("", "s", &[])
                .execute("", 0)
                .sync()
                .ready(5),
        ),
        (
            "closed",
            script()
                .parse("s", "SELECT 1", &[])
                .close(Statement, "s")
                .parse("s", "SELECT 2", &[])
                .bind("", "s", &[])
                .execute("", 0)
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
                .parse("s", "SELECT 1", &[])
                .sync()
                .bind("", "s", &[])
                .sync()
                .parse("s", "SELECT 3", &[])
                .bind("", "s", &[])
                .execute("", 0)
                .sync()
                .ready(3),
        ),
        (
            "a Close that is skipped",
            script()
                .parse("s", "SELECT 1", &[])
                .sync()
                .run("SELECT 1/0")
                .close(Statement, "s")
                .sync()
                .bind("", "s", &[])
                .execute("", 0)
                .sync()
                .ready(3),
        ),
        (
            "a bad one, then a good one",
            script()
                .parse("s", "SELEC 1", &[])
                .sync()
                .parse("s", "SELECT 1", &[])
                .bind("", "s", &[])
                .execute("", 0)
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
                .parse("", "SELECT $1::int", &[])
                .sync()
                .bind("", "", &["7"])
                .execute("", 0)
                .sync()
                .bind("", "", &["8"])
                .execute("", 0)
                .sync()
                .ready(3),
        ),
        (
            "the unnamed one ends with a query",
            script()
                .parse("", "SELECT 1", &[])
                .sync()
                .query("SELECT 2")
                .bind("", "", &[])
                .sync()
                .ready(3),
        ),
        (
            "the unnamed one is closed",
            script()
                .parse("", "SELECT 1", &[])
                .sync()
                .close(Statement, "")
                .sync()
                .bind("", "", &[])
                .sync()
                .ready(3),
        ),
        (
            "the unnamed one fails",
            script()
                .parse("", "SELECT 1", &[])
                .sync()
                .parse("", "SELEC", &[])
                .sync()
                .bind("", "", &[])
                .sync()
                .ready(3),
        ),
        (
            "EXECUTE in SQL",
            script()
                .parse("s", "SELECT $1::int + 1", &[])
                .sync()
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
                .parse("s", "SELECT 1", &[])
                .sync()
                .query("PREPARE s AS SELECT 2")
                .bind("", "s", &[])
                .execute("", 0)
                .sync()
                .ready(3),
        ),
        (
            "DEALLOCATE ALL",
            script()
                .parse("a", "SELECT 1", &[])
                .parse("b", "SELECT 2", &[])
                .sync()
                .query("DEALLOCATE ALL")
                .bind("", "a", &[])
                .sync()
                .parse("a", "SELECT 3", &[])
                .bind("", "a", &[])
                .execute("", 0)
                .sync()
                .ready(4),
        ),
        (
            "DISCARD ALL",
            script()
                .parse("a", "SELECT 1", &[])
                .sync()
                .query("DISCARD ALL")
                .bind("", "a", &[])
                .sync()
                .parse("a", "SELECT 3", &[])
                .bind("", "a", &[])
                .execute("", 0)
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
                .parse("s", "SELECT * FROM u", &[])
                .sync()
                .bind("", "s", &[])
                .execute("", 0)
                .sync()
                .query("ALTER TABLE u ADD COLUMN more int")
                .bind("", "s", &[])
                .execute("", 0)
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
                .parse("s", "SELECT 1", &[])
                .sync()
                .query("BEGIN; SELECT 1/0")
                .parse("z", "SELECT 1", &[])
                .sync()
                .bind("", "s", &[])
                .sync()
                .query("ROLLBACK")
                .parse("z", "SELECT 1", &[])
                .sync()
                .ready(6),
        ),
    ])
}

#[test]
fn copy() -> Result<()> {
    let binary_header: Vec<u8> = b"PGCOPY\n\xff\r\n\0".iter().copied().chain([0; 8]).collect();
    let binary_row = [0, 1, 0, 0, 0, 4, 0, 0, 0, 77];
    compare_each(&[
        (
            "in",
            script()
                .query("COPY u FROM STDIN")
                .until(b'G', 1)
                .copy_data(b"1\n2")
                .copy_data(b"\n3\n")
                .copy_done()
                .ready(1)
                .query("SELECT * FROM u ORDER BY a")
                .ready(1),
        ),
        (
            "in, sent ahead",
            script()
                .query("COPY u FROM STDIN")
                .copy_data(b"1\n")
                .copy_done()
                .query("SELECT * FROM u")
                .ready(2),
        ),
        (
            "in, given up",
            script()
                .query("COPY u FROM STDIN")
                .until(b'G', 1)
                .copy_data(b"1\n")
                .copy_fail("no more")
                .ready(1)
                .query("SELECT * FROM u")
                .ready(1),
        ),
        (
            "in, a wrong row",
            script()
                .query("COPY u FROM STDIN")
                .until(b'G', 1)
                .copy_data(b"1\nx\n")
                .copy_data(b"2\n")
                .copy_done()
                .ready(1)
                .query("SELECT * FROM u")
                .ready(1),
        ),
        (
            "in, no table",
            script()
                .query("COPY nothing FROM STDIN")
                .copy_data(b"1\n")
                .copy_done()
                .ready(1)
                .query("SELECT 1")
                .ready(1),
        ),
        (
            "in a string",
            script()
                .query(
                    "SELECT 1; COPY u FROM STDIN; SELECT * FROM u; COPY u FROM STDIN; SELECT count(*) FROM u",
                )
                .until(b'G', 1)
                .copy_data(b"1\n")
                .copy_done()
                .until(b'G', 1)
                .copy_data(b"2\n")
                .copy_done()
                .ready(1),
        ),
        (
            "in, csv",
            script()
                .query("COPY t FROM STDIN WITH (FORMAT csv, HEADER)")
                .until(b'G', 1)
                .copy_data(b"a,b\n99,\"x,\ny\"\n")
                .copy_done()
                .ready(1)
                .query("SELECT * FROM t WHERE a = 99")
                .ready(1),
        ),
        (
            "in, binary",
            script()
                .query("COPY u FROM STDIN WITH (FORMAT binary)")
                .until(b'G', 1)
                .copy_data(&binary_header)
                .copy_data(&binary_row)
                .copy_data(&[0xff, 0xff])
                .copy_done()
                .ready(1)
                .query("SELECT * FROM u")
                .ready(1),
        ),
        (
            "in, by the extended protocol",
            script()
                .parse("", "COPY u FROM STDIN", &[])
                .bind("", "", &[])
                .describe(Portal, "")
                .execute("", 0)
                .sync()
                .until(b'G', 1)
                .copy_data(b"4\n")
                .copy_done()
                .sync()
                .ready(1)
                .query("SELECT * FROM u")
                .ready(1),
        ),
        (
            "in, by the extended protocol without Sync",
            script()
                .parse("", "COPY u FROM STDIN", &[])
                .bind("", "", &[])
                .execute("", 0)
                .flush()
                .until(b'G', 1)
                .copy_data(b"4\n")
                .copy_done()
                .sync()
                .ready(1),
        ),
        (
            "in, by the extended protocol, a wrong row",
            script()
                .parse("", "COPY u FROM STDIN", &[])
                .bind("", "", &[])
                .execute("", 0)
                .flush()
                .until(b'G', 1)
                .copy_data(b"x\n")
                .copy_done()
                .sync()
                .ready(1)
                .query("SELECT 1")
                .ready(1),
        ),
        (
            "in, Syncs in between",
            script()
                .parse("", "COPY u FROM STDIN", &[])
                .bind("", "", &[])
                .execute("", 0)
                .sync()
                .until(b'G', 1)
                .copy_data(b"4\n")
                .sync()
                .flush()
                .sync()
                .copy_data(b"5\n")
                .copy_done()
                .sync()
                .run("SELECT * FROM u")
                .sync()
                .ready(2),
        ),
        (
            "in a block",
            script()
                .query("BEGIN")
                .query("COPY u FROM STDIN")
                .copy_data(b"x\n")
                .copy_done()
                .query("SELECT 1")
                .query("ROLLBACK")
                .ready(4),
        ),
        (
            "data out of place",
            script()
                .copy_data(b"1\n")
                .copy_done()
                .copy_fail("x")
                .query("SELECT 1")
                .copy_data(b"1")
                .sync()
                .copy_done()
                .query("SELECT 2")
                .ready(3),
        ),
        ("out", script().query("COPY t TO STDOUT").ready(1)),
        (
            "out, csv",
            script()
                .query("COPY (SELECT * FROM t ORDER BY a DESC) TO STDOUT WITH (FORMAT csv, HEADER)")
                .ready(1),
        ),
        (
            "out, binary",
            script().query("COPY t TO STDOUT WITH (FORMAT binary)").ready(1),
        ),
        (
            "out, by the extended protocol",
            script().run("COPY t TO STDOUT").run("SELECT 1").sync().ready(1),
        ),
        (
            "out, with an error",
            script()
                .query("COPY (SELECT 1/(5 - a) FROM t ORDER BY a) TO STDOUT")
                .query("SELECT 1")
                .ready(2),
        ),
        (
            "out, much",
            script()
                .query("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 5000)) TO STDOUT")
                .ready(1),
        ),
    ])
}

#[test]
fn function_calls() -> Result<()> {
    // int4pl, abs(int4), pg_catalog.version() by number are fixed in pg_proc.dat.
    const INT4PL: u32 = 177;
    const INT4DIV: u32 = 154;
    let number = |n: i32| n.to_be_bytes();
    compare_each(&[
        ("a sum", script().call(INT4PL, &[&number(2), &number(3)]).ready(1)),
        (
            "an error",
            script()
                .call(INT4DIV, &[&number(2), &number(0)])
                .query("SELECT 1")
                .ready(2),
        ),
        ("unknown", script().call(4_000_000, &[]).ready(1)),
        (
            "in a block",
            script()
                .query("BEGIN")
                .call(INT4PL, &[&number(2), &number(3)])
                .call(INT4DIV, &[&number(1), &number(0)])
                .call(INT4PL, &[&number(2), &number(3)])
                .query("ROLLBACK")
                .ready(5),
        ),
        (
            "in a pipeline",
            script()
                .run("SELECT 1")
                .sync()
                .call(INT4PL, &[&number(2), &number(3)])
                .run("SELECT 2")
                .sync()
                .ready(3),
        ),
    ])
}
