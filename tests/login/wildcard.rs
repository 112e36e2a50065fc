//! Databases that the configuration doesn't list.

use anyhow::Result;

use crate::stage::stage;

#[test]
fn a_database_made_later_is_there_under_its_name_and_gone_with_it() -> Result<()> {
    let stage = stage()?;
    let through = |database: &str, sql: &str| stage.psql("postgres", "postgres", database, "", sql);
    stage.on_server("DROP DATABASE IF EXISTS made")?;
    let missing = through("made", "SELECT 1")?;
    assert_eq!(
        missing.err,
        "psql: error: failed: FATAL:  database \"made\" does not exist"
    );
    stage.on_server("CREATE DATABASE made")?;
    let ran = through(
        "made",
        "CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2); SELECT count(*) FROM t",
    )?;
    assert_eq!(ran.out.lines().last(), Some("2"), "{ran:?}");
    // Its own, and none of another's.
    let other = through("one", "SELECT count(*) FROM pg_class WHERE relname = 't'")?;
    assert_eq!(other.out, "0", "{other:?}");
    // The connection that rests there is no session of anybody's.
    let dropped = through("postgres", "DROP DATABASE made")?;
    assert_eq!(dropped.out, "DROP DATABASE", "{dropped:?}");
    let gone = through("made", "SELECT 1")?;
    assert!(
        gone.out.is_empty() && gone.err.contains("database \"made\" does not exist"),
        "{gone:?}"
    );
    Ok(())
}

#[test]
fn settings_that_the_server_refuses_end_the_login_in_its_words() -> Result<()> {
    let stage = stage()?;
    let ours = stage.psql("trusted", "", "one", "options='-c work_mem=many'", "SELECT 1")?;
    assert_eq!(ours.out, "");
    assert!(
        ours.err
            .contains("FATAL:  invalid value for parameter \"work_mem\": \"many\""),
        "{ours:?}"
    );
    Ok(())
}
