//! Signals: SIGTERM drains, SIGHUP reads the configuration again; nobody is dropped without a word.

use std::fs;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use cluster::{Region, StopMode};
use tests::{Reply, Session};

use crate::stage::{DRAIN, SOON, Stage, done, embedded, eventually, first_error, rows};

/// Sends SIGTERM and waits for the end of the process, while `clients` go on; then starts it again.
fn drained(stage: &Stage, clients: impl FnOnce() -> Result<()>) -> Result<()> {
    let outcome = thread::scope(|scope| {
        let stopping = scope.spawn(|| {
            let began = Instant::now();
            stage.wait(stage.us_east().stop(StopMode::Fast))?;
            anyhow::Ok(began.elapsed())
        });
        let clients = clients();
        let lasted = stopping.join().map_err(|_| anyhow!("stopping panicked"))??;
        clients?;
        ensure!(lasted < DRAIN * 3, "it took {lasted:?} to end");
        anyhow::Ok(())
    });
    stage.wait(stage.us_east().start_again())?;
    outcome
}

/// The last thing that an idle client hears.
fn sent_away(session: &mut Session) -> Result<()> {
    let replies = session.until_closed()?;
    let fault = first_error(&replies).with_context(|| format!("closed without a word: {replies:?}"))?;
    assert_eq!(
        (fault.severity.as_str(), fault.code.as_str()),
        ("FATAL", "57P01"),
        "{fault}"
    );
    Ok(())
}

#[test]
fn sigterm_sends_idle_clients_away_and_lets_a_transaction_finish() -> Result<()> {
    let stage = embedded()?;
    let user = stage.within(SOON, async { Ok(stage.users().await?[0]) })?;
    let mut idle = stage.connect(Region::UsEast)?;
    let mut busy = stage.connect(Region::UsEast)?;
    done(&mut busy, "BEGIN")?;
    done(
        &mut busy,
        &format!("UPDATE users SET name = 'draining' WHERE user_id = {user}"),
    )?;
    drained(&stage, || {
        sent_away(&mut idle).context("the idle client")?;
        let port = stage.us_east().port();
        ensure!(
            Session::connect(&stage.shop(Region::UsEast)).is_err(),
            "port {port} takes new clients while draining"
        );
        let ready = stage.wait(stage.us_east().get("/readyz"));
        ensure!(
            ready.is_err() || ready.is_ok_and(|(status, _)| status == 503),
            "ready while draining"
        );
        done(
            &mut busy,
            &format!("UPDATE users SET name = name || '!' WHERE user_id = {user}"),
        )?;
        done(&mut busy, "COMMIT").context("the transaction that was under way")?;
        sent_away(&mut busy).context("after its transaction")
    })?;
    stage.within(SOON, async {
        let name = rows(
            &stage.direct(0).await?,
            &format!("SELECT name FROM users WHERE user_id = {user}"),
        )
        .await?;
        assert_eq!(name, [["draining!"]]);
        Ok(())
    })
}

#[test]
fn a_transaction_that_does_not_end_is_cut_off_after_drain_timeout() -> Result<()> {
    let stage = embedded()?;
    let user = stage.within(SOON, async { Ok(stage.users().await?[0]) })?;
    let mut busy = stage.connect(Region::UsEast)?;
    done(&mut busy, "BEGIN")?;
    done(
        &mut busy,
        &format!("UPDATE users SET name = 'never' WHERE user_id = {user}"),
    )?;
    drained(&stage, || sent_away(&mut busy))?;
    stage.within(SOON, async {
        let direct = stage.direct(0).await?;
        let lock =
            format!("SELECT 1 FROM users WHERE user_id = {user} AND name <> 'never' FOR UPDATE NOWAIT");
        eventually("rolled back", SOON, async || {
            Ok(rows(&direct, &lock).await.is_ok_and(|found| found.len() == 1))
        })
        .await
    })
}

/// Puts the configuration back, whatever a test made of it.
struct Restore<'a>(&'a Stage, String);

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        // A failure shows in the tests that follow.
        let _ = fs::write(self.0.us_east().config_file(), &self.1);
        self.0.us_east().reload();
    }
}

async fn setting(stage: &Stage, key: &str) -> Result<Option<String>> {
    let found = stage.show("CONFIG").await?;
    let row = found
        .into_iter()
        .find(|row| row.first().is_some_and(|name| name.ends_with(key)));
    Ok(row.and_then(|row| row.into_iter().nth(1)))
}

#[test]
fn sighup_reads_a_good_configuration_and_refuses_a_bad_one_without_dropping_a_client() -> Result<()> {
    let stage = embedded()?;
    let pid = stage.us_east().pid();
    let file = stage.us_east().config_file().to_owned();
    let text = fs::read_to_string(&file)?;
    let restore = Restore(&stage, text.clone());
    let mut session = stage.connect(Region::UsEast)?;
    done(
        &mut session,
        "BEGIN; CREATE TEMP TABLE kept (a int) ON COMMIT DROP",
    )
    .or_else(|_| done(&mut session, "ROLLBACK; BEGIN"))?;
    stage.within(SOON * 3, async {
        let before = setting(&stage, "default_pool_size").await?;
        assert_eq!(before.as_deref(), Some("4"));
        fs::write(
            &file,
            text.replace("default_pool_size = 4", "default_pool_size = 5"),
        )?;
        stage.us_east().reload();
        let changed = async || Ok(setting(&stage, "default_pool_size").await?.as_deref() == Some("5"));
        eventually("the new pool size", SOON, changed).await?;

        let bad = text.replace("default_pool_size = 4", "default_pool_size = 6\nno_such_key = 1");
        fs::write(&file, bad)?;
        let lines = stage.us_east().log_tail(1000).matches("no_such_key").count();
        stage.us_east().reload();
        let told = async || Ok(stage.us_east().log_tail(1000).matches("no_such_key").count() > lines);
        eventually("the bad key is named in the log", SOON, told).await?;
        assert_eq!(
            setting(&stage, "default_pool_size").await?.as_deref(),
            Some("5"),
            "all or nothing"
        );
        Ok(())
    })?;
    // The client that was there before is there still, in its transaction.
    let replies = session.simple("SELECT 1", None)?;
    ensure!(
        first_error(&replies).is_none() && replies.last() == Some(&Reply::Ready('T')),
        "{replies:?}"
    );
    done(&mut session, "COMMIT")?;
    drop(restore);
    stage.within(SOON * 2, async {
        let back = async || Ok(setting(&stage, "default_pool_size").await?.as_deref() == Some("4"));
        eventually("the old pool size", SOON, back).await?;
        stage.assert_well(pid).await
    })
}
