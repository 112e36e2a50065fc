//! COPY, and function calls.

use anyhow::Result;
use wire::frontend::Target::Portal;

use super::{compare_each, script};

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
                .feed(b"1\n")
                .feed(b"2\n")
                .ready(1),
        ),
        (
            "in, csv",
            script()
                .query("COPY t FROM STDIN WITH (FORMAT csv, HEADER)")
                .feed(b"a,b\n99,\"x,\ny\"\n")
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
                .feed(b"4\n")
                .sync()
                .ready(1)
                .query("SELECT * FROM u")
                .ready(1),
        ),
        (
            "in, by the extended protocol without Sync",
            script()
                .parse("", "COPY u FROM STDIN", &[])
                .exec("", &[])
                .flush()
                .feed(b"4\n")
                .sync()
                .ready(1),
        ),
        (
            "in, by the extended protocol, a wrong row",
            script()
                .parse("", "COPY u FROM STDIN", &[])
                .exec("", &[])
                .flush()
                .feed(b"x\n")
                .sync()
                .ready(1)
                .query("SELECT 1")
                .ready(1),
        ),
        (
            "in, Syncs in between",
            script()
                .parse("", "COPY u FROM STDIN", &[])
                .exec("", &[])
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
