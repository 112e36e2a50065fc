//! What statements are taken to leave.

use crate::tests::shop::Shop;
use crate::{Catalog, Effects, Request, Tables, Template};
use std::time::Duration;

fn effects(text: &str, catalog: &Catalog, tables: &Tables) -> Effects {
    Template::prepare(&Request {
        text,
        catalog,
        tables,
        search_path: &["public".to_owned()],
        user: "shop",
    })
    .effects()
}

/// Each statement with its effects where no catalog is known.
const BY_NAME: &[(&str, &str)] = &[
    ("SELECT 1", ""),
    (
        "SELECT count(*), lower(name), now(), coalesce(a, b) FROM t GROUP BY 2",
        "",
    ),
    ("SELECT * FROM generate_series(1, 3) g, unnest(ARRAY[1]) u", ""),
    ("SELECT pg_catalog.whatever()", ""),
    ("SELECT pg_sleep(1), random(), pg_notify('a', 'b')", ""),
    ("SELECT my_function(1)", "suspect"),
    ("SELECT public.lower('x')", "suspect"),
    ("SELECT * FROM my_rows()", "suspect"),
    ("WITH x AS (SELECT my_function(1)) SELECT * FROM x", "suspect"),
    ("SELECT (SELECT pg_try_advisory_lock(1))", "advisory lock"),
    (
        "WITH l AS (SELECT pg_catalog.pg_advisory_lock_shared(1)) SELECT * FROM l",
        "advisory lock",
    ),
    (
        "UPDATE t SET a = 1 WHERE pg_try_advisory_lock(a)",
        "advisory lock",
    ),
    ("SELECT pg_advisory_xact_lock(1)", ""),
    ("SELECT name FROM pg_prepared_statements", "statements read"),
    (
        "SELECT * FROM pg_catalog.PG_Prepared_Statement()",
        "statements read",
    ),
    ("CREATE TABLE x AS EXECUTE a", "suspect"),
    ("EXPLAIN EXECUTE a", ""),
    ("SELECT pg_advisory_unlock_all()", "releases"),
    ("SELECT set_config('work_mem', '1MB', false)", "settings"),
    ("SELECT set_config('work_mem', '1MB', $1)", "settings"),
    ("SELECT set_config('work_mem', '1MB', true)", ""),
    ("SELECT setseed(0.5)", "random seed"),
    ("SET seed = 0.5", "random seed"),
    ("SELECT nextval('s')", "sequence use"),
    ("SELECT currval('s')", "sequence read"),
    ("SELECT lastval()", "sequence read"),
    ("INSERT INTO t VALUES (1)", "sequence use"),
    ("SET work_mem = '1MB'", "settings"),
    ("SET LOCAL work_mem = '1MB'", ""),
    ("SET TRANSACTION READ ONLY", ""),
    ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "settings"),
    ("SET ROLE x", "settings"),
    ("SET SESSION AUTHORIZATION x", "settings"),
    ("RESET ALL", "settings"),
    ("DISCARD ALL", "settings, releases, sequence end"),
    ("DISCARD SEQUENCES", "sequence end"),
    ("DISCARD TEMP", "releases"),
    ("CREATE TEMP TABLE t (a int)", "temporary"),
    (
        "CREATE TEMP TABLE t AS SELECT my_function(1)",
        "temporary, suspect",
    ),
    ("CREATE TABLE t AS SELECT 1 AS a", ""),
    ("CREATE TABLE pg_temp.t (a int)", "temporary"),
    ("SELECT 1 AS a INTO TEMP t", "temporary"),
    ("SELECT 1 AS a INTO t", ""),
    ("CREATE TEMP VIEW v AS SELECT 1", "temporary"),
    ("CREATE TEMP SEQUENCE s", "temporary"),
    (
        "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "temporary",
    ),
    ("CREATE TYPE pg_temp.e AS ENUM ('a')", "temporary"),
    ("CREATE TYPE pg_temp.c AS (a int)", "temporary"),
    ("CREATE DOMAIN pg_temp.d AS int", "temporary"),
    ("DROP TABLE t", "releases"),
    ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "held cursor"),
    ("DECLARE c CURSOR FOR SELECT 1", ""),
    ("CLOSE c", "releases"),
    ("LISTEN a", "listen"),
    ("UNLISTEN *", "releases"),
    ("NOTIFY a", ""),
    ("LOAD 'x'", "backend"),
    ("DO 'BEGIN END'", "suspect"),
    ("CALL p()", "suspect"),
    ("PREPARE p AS SELECT 1", "prepared"),
    ("EXECUTE p", "suspect"),
    ("DEALLOCATE p", "releases"),
    ("EXPLAIN SELECT my_function(1)", ""),
    ("EXPLAIN ANALYZE SELECT my_function(1)", "suspect"),
    ("COPY (SELECT my_function(1)) TO STDOUT", "suspect"),
    ("COPY t FROM STDIN", ""),
    ("BEGIN", ""),
    ("no SQL at all", "suspect"),
    (
        "LISTEN a; SET work_mem = '1MB'; SELECT my_function()",
        "listen, suspect, settings",
    ),
];

#[test]
fn effects_by_the_text_alone() {
    let tables = Tables::new(Vec::new(), topology::ShardId(0), 1, Duration::ZERO);
    for (text, expected) in BY_NAME {
        let found = effects(text, &Catalog::new(0), &tables).to_string();
        assert_eq!(found, *expected, "{text}");
    }
}

#[test]
fn names_are_sorted_for_the_search() {
    assert!(super::BUILT_IN_NAMES.is_sorted());
    assert!(super::is_built_in("btrim") && !super::is_built_in("my_function"));
}

#[test]
fn the_catalog_says_what_a_function_may_do() {
    let shop = Shop::new(2);
    for (text, expected) in [
        ("SELECT lower('a'), random()", ""),
        ("SELECT no_such_function()", "suspect"),
    ] {
        let found = effects(text, &shop.catalog, &shop.tables).to_string();
        assert_eq!(found, expected, "{text}");
    }
}
