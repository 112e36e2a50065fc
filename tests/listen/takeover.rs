//! `ringway serve --takeover`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::{Reply, Session};
use tokio::task::JoinHandle;
use tokio_postgres::{Config, SimpleQueryMessage};

use crate::process::{Place, SOON, connect};

/// Restarts in a row.
const RESTARTS: usize = 3;
/// Clients that connect in a loop, by each way.
const CALLERS: usize = 2;
/// Connections that each way must have seen between two restarts, for the test to show something.
const CALLS_EACH: usize = 10;
/// Clients that stay connected, to see how they are spread.
const STAYING: usize = 16;

/// Clients that connect, ask something and leave, over and over.
struct Callers {
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<Result<()>>>,
}

impl Callers {
    fn start(place: &Place, unix: bool) -> Self {
        let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let tasks = (0..CALLERS).map(|_| {
            let (login, stop, calls) = (place.login(unix), Arc::clone(&stop), Arc::clone(&calls));
            place.runtime.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    call(&login).await?;
                    calls.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            })
        });
        let tasks = tasks.collect();
        Self { stop, calls, tasks }
    }

    /// Waits until more of them have succeeded.
    fn wait_for_more(&self) -> Result<()> {
        let (wanted, deadline) = (
            self.calls.load(Ordering::Relaxed) + CALLS_EACH,
            Instant::now() + SOON,
        );
        while self.calls.load(Ordering::Relaxed) < wanted {
            ensure!(
                !self.tasks.iter().any(JoinHandle::is_finished),
                "a connection failed"
            );
            ensure!(Instant::now() < deadline, "clients don't get on");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The number of connections, none of which failed.
    fn end(self, place: &Place) -> Result<usize> {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            place.runtime.block_on(task)??;
        }
        Ok(self.calls.load(Ordering::Relaxed))
    }
}

async fn call(login: &Config) -> Result<()> {
    let client = connect(login).await?;
    let answer = client.simple_query("SELECT 41 + 1").await?;
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    ensure!(row == Some("42"), "the answer is {row:?}");
    Ok(())
}

#[test]
fn no_connection_is_refused_and_nothing_is_lost() -> Result<()> {
    let place = Place::new()?;
    let mut running = place.start("first", &["--takeover"])?;
    assert!(running.log().contains("no running process to take over from"));
    let on = |client: &tokio_postgres::Client, sql: &str| place.runtime.block_on(client.batch_execute(sql));
    on(&place.connect(true)?, "CREATE TABLE kept (n int)")?;

    let callers = [Callers::start(&place, false), Callers::start(&place, true)];
    for restart in 1..=RESTARTS {
        callers.iter().try_for_each(Callers::wait_for_more)?;
        let writer = place.connect(restart % 2 == 0)?;
        on(&writer, "BEGIN")?;
        on(&writer, &format!("INSERT INTO kept VALUES ({restart})"))?;
        let idle = place.connect(true)?;

        let mut successor = place.start(&format!("successor-{restart}"), &["--takeover"])?;
        successor.wait_for("took over")?;
        running.wait_for("replaced")?;
        callers.iter().try_for_each(Callers::wait_for_more)?;
        // Those that were there are served by the process that they came to.
        on(&idle, "SELECT count(*) FROM kept")?;
        on(&writer, "INSERT INTO kept VALUES (0)")?;
        on(&writer, "COMMIT")?;
        on(&writer, "SELECT 1")?;
        ensure!(running.is_running()?, "it ended with clients:\n{}", running.log());
        drop((idle, writer));
        ensure!(running.wait_for_end()?.success(), "{}", running.log());
        successor.wait_for("the process before this has ended")?;
        running = successor;
    }
    for callers in callers {
        assert!(callers.end(&place)? >= RESTARTS * CALLS_EACH);
    }
    let mut session = Session::connect(&place.target())?;
    let rows = rows(session.simple("SELECT count(*), sum(n) FROM kept", None)?);
    assert_eq!(rows, [["6", "6"]]);

    running.terminate()?;
    ensure!(running.wait_for_end()?.success(), "{}", running.log());
    assert!(!place.socket().exists());
    Ok(())
}

#[test]
fn a_statement_of_the_old_process_is_cancelled_through_the_new_one() -> Result<()> {
    let place = Place::new()?;
    let mut first = place.start("first", &[])?;
    let client = place.connect(false)?;
    let token = client.cancel_token();
    let sleeping = place
        .runtime
        .spawn(async move { client.batch_execute("SELECT pg_sleep(600)").await });
    // It runs once the server has said so: cancelling what has not begun does nothing.
    let straight = place.connect(true)?;
    let seen =
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'";
    let deadline = Instant::now() + SOON;
    while place
        .runtime
        .block_on(straight.query_one(seen, &[]))?
        .get::<_, i64>(0)
        == 0
    {
        ensure!(Instant::now() < deadline, "the statement doesn't begin");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut second = place.start("second", &["--takeover"])?;
    first.wait_for("replaced")?;
    place
        .runtime
        .block_on(token.cancel_query(tokio_postgres::NoTls))?;
    let error = place
        .runtime
        .block_on(async { tokio::time::timeout(SOON, sleeping).await })??;
    let error = error.expect_err("it was cancelled");
    assert_eq!(
        error.code().map(tokio_postgres::error::SqlState::code),
        Some("57014"),
        "{error}"
    );
    drop(straight);
    ensure!(first.wait_for_end()?.success(), "{}", first.log());
    ensure!(second.is_running()?);
    Ok(())
}

#[test]
fn what_fails_before_the_takeover_changes_nothing() -> Result<()> {
    let place = Place::new()?;
    let mut first = place.start("first", &[])?;
    // A second one that isn't asked to take over finds the port taken.
    let mut second = place.spawn("second", &[])?;
    ensure!(!second.wait_for_end()?.success(), "it ended well");
    ensure!(second.log().contains("is taken"), "{}", second.log());
    assert!(place.socket().exists());
    // One that is gone before it is ready has taken nothing away.
    let third = place.spawn("third", &["--takeover"])?;
    drop(third);
    place.runtime.block_on(call(&place.login(false)))?;
    place.runtime.block_on(call(&place.login(true)))?;
    ensure!(first.is_running()?, "{}", first.log());
    let mut fourth = place.start("fourth", &["--takeover"])?;
    ensure!(first.wait_for_end()?.success(), "{}", first.log());
    ensure!(fourth.is_running()?);
    Ok(())
}

#[test]
fn clients_are_spread_over_the_threads() -> Result<()> {
    let place = Place::new()?;
    let _running = place.start("first", &[])?;
    for unix in [true, false] {
        let clients: Result<Vec<_>> = (0..STAYING).map(|_| place.connect(unix)).collect();
        let clients = clients?;
        let mut admin = Session::connect(&place.admin())?;
        let threads = threads_of_clients(&mut admin)?;
        let on = |thread| threads.iter().filter(|other| *other == thread).count();
        let (one, other) = (on("0"), on("1"));
        assert_eq!(one + other, STAYING, "{threads:?}");
        if unix {
            assert_eq!(one, other, "they take turns");
        } else {
            // The kernel chooses by a hash of the addresses.
            assert!(one > 0 && other > 0, "{one} and {other}");
        }
        drop(clients);
        let deadline = Instant::now() + SOON;
        while !threads_of_clients(&mut admin)?.is_empty() {
            ensure!(Instant::now() < deadline, "clients don't leave");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

/// The thread of each client of the shop.
fn threads_of_clients(admin: &mut Session) -> Result<Vec<String>> {
    let replies = admin.simple("SHOW CLIENTS", None)?;
    let column = |name: &str| {
        let columns = replies.iter().find_map(|reply| match reply {
            Reply::Columns(columns) => Some(columns),
            _ => None,
        });
        columns?.iter().position(|column| column.name == name)
    };
    let (database, thread) = (
        column("database").context("database")?,
        column("thread").context("thread")?,
    );
    let clients = rows(replies)
        .into_iter()
        .filter(|row| row.get(database).is_some_and(|name| name == "shop"));
    Ok(clients.filter_map(|row| row.into_iter().nth(thread)).collect())
}

fn rows(replies: Vec<Reply>) -> Vec<Vec<String>> {
    let text =
        |cell: &Option<Vec<u8>>| String::from_utf8_lossy(cell.as_deref().unwrap_or_default()).into_owned();
    let row = |reply: Reply| match reply {
        Reply::Row(cells) => Some(cells.iter().map(text).collect()),
        _ => None,
    };
    replies.into_iter().filter_map(row).collect()
}
