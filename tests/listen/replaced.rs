//! What a takeover must not lose: transactions under load, time limits, and the freshness of what is cached.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster::Programs;
use tests::{Console, Reply, Session, eventually};

use crate::process::Place;

/// Clients of each pgbench.
const CLIENTS: usize = 3;
/// Transactions of each client that stays connected, and of each that connects for every one.
const STAYING: usize = 250;
const COMING: usize = 60;
/// A transaction of two statements with a pause between them, in which it is open.
const SCRIPT: &str =
    "BEGIN;\nINSERT INTO counted VALUES (1);\n\\sleep 4 ms\nINSERT INTO counted VALUES (1);\nCOMMIT;\n";

fn pgbench(place: &Place, transactions: usize, options: &[&str]) -> Result<Child> {
    let target = place.target();
    let script = place.file("script.sql");
    std::fs::write(&script, SCRIPT)?;
    Command::new(Programs::postgres()?.join("pgbench"))
        .args(["--no-vacuum", "--max-tries=1", "--host=127.0.0.1"])
        .arg(format!("--port={}", target.port))
        .arg(format!("--username={}", target.user))
        .arg(format!("--client={CLIENTS}"))
        .arg(format!("--transactions={transactions}"))
        .arg(format!("--file={}", script.display()))
        .args(options)
        .arg(&target.database)
        .env("PGPASSWORD", &target.password)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("pgbench could not be started")
}

fn count(place: &Place) -> Result<usize> {
    let replies = Session::connect(&place.straight())?.simple("SELECT count(*) FROM counted", None)?;
    let value = Reply::value(&replies).with_context(|| format!("{replies:?}"))?;
    Ok(value.parse()?)
}

#[test]
fn pgbench_sees_nothing_of_a_takeover() -> Result<()> {
    let place = Place::new()?;
    let mut first = place.start("first", &[])?;
    let mut client = Session::connect(&place.target())?;
    client.simple("CREATE TABLE counted (n int)", None)?;
    client.close();
    let mut staying = pgbench(&place, STAYING, &[])?;
    let mut coming = pgbench(&place, COMING, &["--connect"])?;
    eventually("both are at work", || Ok(count(&place)? > 4 * CLIENTS))?;
    let mut second = place.start("second", &["--takeover"])?;
    second.wait_for("took over")?;
    ensure!(
        staying.try_wait()?.is_none() && coming.try_wait()?.is_none(),
        "they were done before the takeover"
    );
    let at_takeover = count(&place)?;
    for (name, child) in [("staying", staying), ("coming", coming)] {
        let output = child.wait_with_output()?;
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            output.status.success() && !words.contains("error"),
            "{name}: {words}"
        );
    }
    let all = 2 * CLIENTS * (STAYING + COMING);
    ensure!(count(&place)? == all, "{} of {all}", count(&place)?);
    ensure!(at_takeover < all);
    ensure!(first.wait_for_end()?.success(), "{}", first.log());
    ensure!(second.is_running()?, "{}", second.log());
    Ok(())
}

#[test]
fn takeover_timeout_sends_away_who_stays_too_long() -> Result<()> {
    let place = Place::with_limits("takeover_timeout = \"700ms\"\ndrain_timeout = \"20s\"\n")?;
    let mut first = place.start("first", &[])?;
    let (mut resting, mut busy) = (
        Session::connect(&place.target())?,
        Session::connect(&place.target())?,
    );
    busy.simple("BEGIN", None)?;
    let replaced = Instant::now();
    let _second = place.start("second", &["--takeover"])?;
    // Until then it is served.
    ensure!(Reply::fault(&resting.simple("SELECT 1", None)?).is_none());
    let words = resting.until_closed()?;
    ensure!(
        Reply::fault(&words).is_some_and(|fault| fault.code == "57P01"),
        "{words:?}"
    );
    ensure!(replaced.elapsed() >= Duration::from_millis(700));
    // What is open may come to its end, as on SIGTERM.
    ensure!(Reply::fault(&busy.simple("SELECT 1", None)?).is_none());
    ensure!(first.is_running()?, "{}", first.log());
    let replies = busy.simple("COMMIT", None)?;
    ensure!(
        replies.contains(&Reply::Complete("COMMIT".to_owned())),
        "{replies:?}"
    );
    busy.until_closed()?;
    ensure!(first.wait_for_end()?.success(), "{}", first.log());
    Ok(())
}

/// `bound` of the cache of the shop's tables: older than that no answer may be.
const BOUND: Duration = Duration::from_secs(2);
/// Between an answer and the look at the clock, on a busy machine.
const SLACK: Duration = Duration::from_secs(1);
/// The row that changes.
const USER: &str = "SELECT name FROM users WHERE user_id = 77";

fn name(client: &mut Session) -> Result<String> {
    let replies = client.simple(USER, None)?;
    Reply::value(&replies).with_context(|| format!("{replies:?}"))
}

/// Reads until the value is there, which must be so within the bound.
fn sees(client: &mut Session, value: &str, written: Instant) -> Result<()> {
    while name(client)? != value {
        let late = written.elapsed();
        ensure!(late < BOUND + SLACK, "not `{value}` after {late:?}");
    }
    Ok(())
}

/// How often the process has answered from memory.
fn answered_from_memory(console: &Console) -> Result<u64> {
    let value = console.value("CACHE", &[("part", "answers"), ("item", "memory")], "value")?;
    Ok(value.unwrap_or_default().parse().unwrap_or(0))
}

/// Reads until an answer comes from memory.
fn until_cached(client: &mut Session, console: &Console) -> Result<()> {
    let before = answered_from_memory(console)?;
    eventually("an answer from memory", || {
        name(client)?;
        Ok(answered_from_memory(console)? > before)
    })
}

#[test]
fn the_cache_of_a_successor_follows_what_changes() -> Result<()> {
    let place = Place::new()?;
    place.load_shop()?;
    let mut first = place.start("first", &[])?;
    let console = Console::new(place.admin());
    let mut straight = Session::connect(&place.straight())?;
    let mut write = |value: &str| -> Result<Instant> {
        let replies = straight.simple(
            &format!("UPDATE users SET name = '{value}' WHERE user_id = 77"),
            None,
        )?;
        ensure!(
            replies.contains(&Reply::Complete("UPDATE 1".to_owned())),
            "{replies:?}"
        );
        Ok(Instant::now())
    };
    let mut old = Session::connect(&place.target())?;
    until_cached(&mut old, &console)?;

    let mut second = place.start("second", &["--takeover"])?;
    second.wait_for("took over")?;
    // Nobody tells the old process of changes any more: it asks, once what it knows is too old.
    let written = write("seen by the old one")?;
    sees(&mut old, "seen by the old one", written)?;
    let mut new = Session::connect(&place.target())?;
    until_cached(&mut new, &console)?;
    for turn in 0..5 {
        let value = format!("turn {turn}");
        let written = write(&value)?;
        sees(&mut new, &value, written)?;
        sees(&mut old, &value, written)?;
        until_cached(&mut new, &console)?;
        ensure!(name(&mut new)? == value);
    }
    old.close();
    ensure!(first.wait_for_end()?.success(), "{}", first.log());
    // The end of the old one takes nothing away.
    until_cached(&mut new, &console)?;
    let written = write("after the end")?;
    sees(&mut new, "after the end", written)
}
