//! Modes and limits of time where a database is spread over shards; `tests/pooling` has those of one server. They are set while the
//! proxy runs.

use anyhow::{Context, Result, ensure};
use cluster::Region;
use tests::{Reply, Session, eventually, run};

use crate::console::{Stage, stage};

/// Users 11 and 24 are on different shards.
const BOTH_SHARDS: &str = "BEGIN; UPDATE users SET name = 'never' WHERE user_id = 11";
const OTHER_SHARD: &str = "UPDATE users SET name = 'never' WHERE user_id = 24";

/// Settings that hold until this is dropped.
struct Changed<'s>(&'s Stage);

impl<'s> Changed<'s> {
    fn set(stage: &'s Stage, settings: &[&str]) -> Result<Self> {
        let changed = Self(stage);
        for setting in settings {
            stage.console().command(&format!("SET {setting}"))?;
        }
        Ok(changed)
    }
}

impl Drop for Changed<'_> {
    fn drop(&mut self) {
        // A test that failed must not fail the next one; that has its own look at what it needs.
        let _ = self.0.console().command("RELOAD");
    }
}

fn client(stage: &Stage) -> Result<Session> {
    stage.connect(Region::UsEast)
}

/// The error that ends the client.
fn last_words(client: &mut Session) -> Result<String> {
    let words = client.until_closed()?;
    Ok(Reply::fault(&words)
        .with_context(|| format!("{words:?}"))?
        .code
        .clone())
}

/// Nothing was written, and nothing is held on any server.
fn nothing_is_left(stage: &Stage) -> Result<()> {
    eventually("everything is given back", || {
        let pools = stage.console().show("SERVER_POOLS")?;
        Ok(pools
            .iter()
            .all(|pool| tests::get(pool, "sv_active") == Some("0")))
    })?;
    let names = "SELECT count(*) FROM users WHERE name = 'never'";
    let replies = client(stage)?.simple(names, None)?;
    ensure!(Reply::value(&replies).as_deref() == Some("0"), "{replies:?}");
    Ok(())
}

#[test]
fn limits_of_time_hold_for_transactions_over_shards() -> Result<()> {
    let stage = stage()?;
    for (setting, code) in [
        ("idle_transaction_timeout = '300ms'", "25P03"),
        ("transaction_timeout = '300ms'", "25P04"),
    ] {
        let _changed = Changed::set(&stage, &[setting])?;
        let mut client = client(&stage)?;
        run(&mut client, BOTH_SHARDS)?;
        run(&mut client, OTHER_SHARD)?;
        let told = last_words(&mut client)?;
        ensure!(told == code, "{setting}: {told}");
        nothing_is_left(&stage)?;
    }
    let _changed = Changed::set(&stage, &["client_idle_timeout = '300ms'"])?;
    let mut client = client(&stage)?;
    run(&mut client, "SELECT count(*) FROM users")?;
    ensure!(last_words(&mut client)? == "57P05");
    Ok(())
}

#[test]
fn a_query_is_bounded_wherever_it_goes() -> Result<()> {
    let stage = stage()?;
    let _changed = Changed::set(&stage, &["query_timeout = '300ms'"])?;
    let mut client = client(&stage)?;
    for sql in [
        "SELECT pg_sleep(600) FROM users WHERE user_id = 1",
        "BEGIN; SELECT pg_sleep(600) FROM users WHERE user_id = 1",
    ] {
        let replies = client.simple(sql, None)?;
        let code = Reply::fault(&replies).map(|fault| fault.code.as_str());
        ensure!(code == Some("57014"), "{sql}: {replies:?}");
    }
    run(&mut client, "ROLLBACK")?;
    nothing_is_left(&stage)
}

#[test]
fn a_full_pool_is_waited_for_and_no_longer_than_said() -> Result<()> {
    let stage = stage()?;
    let _changed = Changed::set(&stage, &["default_pool_size = 1", "query_wait_timeout = '300ms'"])?;
    let (mut first, mut second) = (client(&stage)?, client(&stage)?);
    run(&mut first, BOTH_SHARDS)?;
    let replies = second.simple("SELECT count(*) FROM users", None)?;
    let fault = Reply::fault(&replies).with_context(|| format!("{replies:?}"))?;
    ensure!(
        fault.code == "53300" && fault.message.contains("query_wait_timeout"),
        "{fault}"
    );
    ensure!(replies.last() == Some(&Reply::Ready('I')), "{replies:?}");
    // What it had got of the other shard's is given back.
    run(&mut first, OTHER_SHARD)?;
    run(&mut first, "ROLLBACK")?;
    run(&mut second, "SELECT count(*) FROM users")?;
    nothing_is_left(&stage)
}

#[test]
fn statement_and_session_mode_over_shards() -> Result<()> {
    let stage = stage()?;
    {
        let _changed = Changed::set(&stage, &["pool_mode = statement"])?;
        let mut client = client(&stage)?;
        run(&mut client, "SELECT count(*) FROM users")?;
        let replies = client.simple(BOTH_SHARDS, None)?;
        let fault = Reply::fault(&replies).with_context(|| format!("{replies:?}"))?;
        ensure!(
            fault.code == "08P01" && fault.message.contains("statement pooling mode"),
            "{fault}"
        );
        ensure!(replies.last() == Some(&Reply::Gone), "{replies:?}");
        nothing_is_left(&stage)?;
    }
    let _changed = Changed::set(&stage, &["pool_mode = session"])?;
    let mut client = client(&stage)?;
    run(&mut client, "SELECT count(*) FROM users")?;
    let active = || -> Result<usize> {
        let pools = stage.console().show("SERVER_POOLS")?;
        Ok(pools
            .iter()
            .filter(|pool| tests::get(pool, "sv_active") == Some("1"))
            .count())
    };
    ensure!(active()? == 2, "{}", active()?);
    client.close();
    eventually("they go back with the client", || Ok(active()? == 0))
}
