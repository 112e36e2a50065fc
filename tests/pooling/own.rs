//! What only Ringway has: connections that clients keep in transaction mode, and their bound.

use anyhow::{Context, Result, ensure};
use tests::{Reply, eventually, run};

use crate::stage::{Pooler, Spec, Value, on_ringway, pid};

fn pinned(pooler: &Pooler, what: &str) -> Result<Vec<String>> {
    let rows = pooler.console().show(what)?;
    let reasons = rows.iter().filter_map(|row| tests::get(row, "pinned"));
    Ok(reasons
        .filter(|pins| !pins.is_empty())
        .map(str::to_owned)
        .collect())
}

#[test]
fn max_pinned_connections() -> Result<()> {
    let spec = Spec {
        pool: &[
            ("default_pool_size", Value::Plain("3")),
            ("max_pinned_connections", Value::Plain("1")),
        ],
        ..Spec::default()
    };
    on_ringway(&spec, |pooler| {
        let (mut first, mut second) = (pooler.client()?, pooler.client()?);
        run(&mut first, "LISTEN news")?;
        ensure!(pinned(pooler, "CLIENTS")? == ["listen"]);
        ensure!(pinned(pooler, "SERVERS")? == ["listen"]);
        for sql in [
            "LISTEN news",
            "CREATE TEMP TABLE t (a int)",
            "SELECT pg_advisory_lock(1)",
        ] {
            let replies = second.simple(sql, None)?;
            let fault = Reply::fault(&replies).with_context(|| format!("{sql}: {replies:?}"))?;
            ensure!(
                fault.code == "53300" && fault.message.contains("hold on to server connections"),
                "{fault}"
            );
            ensure!(
                fault
                    .detail
                    .as_deref()
                    .is_some_and(|detail| detail.contains("max_pinned_connections is 1")),
                "{fault}"
            );
            ensure!(replies.last() == Some(&Reply::Ready('I')), "{replies:?}");
        }
        // Nothing of it came about.
        run(&mut second, "NOTIFY news")?;
        ensure!(first.notification()?.0 == "news");
        // Who stays may leave more there, and others go on in transactions.
        run(&mut first, "SELECT pg_advisory_lock(2)")?;
        run(&mut second, "BEGIN; SELECT pg_advisory_xact_lock(3); COMMIT")?;
        run(&mut first, "UNLISTEN *; SELECT pg_advisory_unlock(2)")?;
        eventually("nobody stays", || Ok(pinned(pooler, "SERVERS")?.is_empty()))?;
        run(&mut second, "LISTEN news")
    })
}

/// One that leaves makes room as well, and takes all with it.
#[test]
fn what_a_client_kept_goes_with_it() -> Result<()> {
    let spec = Spec {
        pool: &[
            ("default_pool_size", Value::Plain("1")),
            ("max_pinned_connections", Value::Plain("1")),
        ],
        ..Spec::default()
    };
    on_ringway(&spec, |pooler| {
        let mut first = pooler.client()?;
        run(
            &mut first,
            "CREATE TEMP TABLE mine (a int); SELECT pg_advisory_lock(1)",
        )?;
        let theirs = pid(&mut first)?;
        drop(first);
        let mut second = pooler.client()?;
        ensure!(pid(&mut second)? == theirs);
        run(&mut second, "CREATE TEMP TABLE mine (b int)")?;
        ensure!(pooler.beside("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")? == "0");
        Ok(())
    })
}
