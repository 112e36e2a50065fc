//! Strings of statements by the simple protocol.

use anyhow::Result;

use super::{compare_each, script};

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
