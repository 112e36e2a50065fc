//! Control commands on a Ringway of a test's own: those for the whole proxy, databases that aren't listed, rights.

use anyhow::{Result, ensure};
use tests::{Extended, Reply, Session, eventually, run};

use crate::alone::{Alone, CHIEF, LISTED, LOOKER, STRANGER, UNLISTED, pid};

#[test]
fn databases_that_are_not_listed_are_paused_and_resumed() -> Result<()> {
    let alone = Alone::start()?;
    let [name, other] = UNLISTED;
    let (mut here, mut there) = (alone.client(name)?, alone.client(other)?);
    run(&mut here, "SELECT 1")?;
    alone.order(&format!("PAUSE {name}"))?;
    let shown = |column: &str| alone.console().value("DATABASES", &[("name", name)], column);
    ensure!(shown("paused")?.as_deref() == Some("1"));
    ensure!(shown("database")?.as_deref() == Some(name));
    here.send_simple("SELECT 1")?;
    alone.until_waiting(name)?;
    run(&mut there, "SELECT 1")?;
    alone.order(&format!("RESUME {name}"))?;
    ensure!(Reply::value(&here.rest()?).as_deref() == Some("1"));
    ensure!(shown("paused")?.as_deref() == Some("0"));
    ensure!(alone.console().refusal(&format!("RESUME {name}"))? == "55000");
    Ok(())
}

#[test]
fn a_pause_holds_for_pools_that_are_made_later() -> Result<()> {
    let alone = Alone::start()?;
    let [name, _] = UNLISTED;
    for (pause, resume, database) in [
        ("PAUSE".to_owned(), "RESUME".to_owned(), LISTED),
        (format!("PAUSE {name}"), format!("RESUME {name}"), name),
    ] {
        alone.order(&pause)?;
        let target = alone.target(CHIEF, database);
        let client = std::thread::spawn(move || Session::connect(&target)?.simple("SELECT 1", None));
        alone.until_waiting(database)?;
        ensure!(alone.console().show("SERVERS")?.is_empty());
        alone.order(&resume)?;
        let replies = client.join().expect("no panic")?;
        ensure!(Reply::value(&replies).as_deref() == Some("1"), "{replies:?}");
        // Others wait as well once it is the next database's turn.
        alone.order("RECONNECT")?;
        eventually("nothing is open", || {
            Ok(alone.console().show("SERVERS")?.is_empty())
        })?;
    }
    Ok(())
}

#[test]
fn databases_that_are_not_listed_are_disabled_killed_and_reconnected() -> Result<()> {
    let alone = Alone::start()?;
    let [name, other] = UNLISTED;
    let (mut here, mut there) = (alone.client(name)?, alone.client(other)?);

    alone.order(&format!("DISABLE {name}"))?;
    let refused = alone.client(name).err().map(|error| format!("{error:#}"));
    ensure!(
        refused
            .as_ref()
            .is_some_and(|error| error.contains("not currently accepting connections")),
        "{refused:?}"
    );
    alone.client(other)?;
    run(&mut here, "SELECT 1")?;
    alone.order(&format!("ENABLE {name}"))?;
    alone.client(name)?;

    let (before, unchanged) = (pid(&mut here)?, pid(&mut there)?);
    run(&mut here, "BEGIN")?;
    ensure!(pid(&mut here)? == before);
    alone.order(&format!("RECONNECT {name}"))?;
    let waiting = alone.console();
    let command = format!("WAIT_CLOSE {name}");
    let waiting = std::thread::spawn(move || waiting.command(&command));
    // It may have its transaction to its end.
    ensure!(pid(&mut here)? == before);
    ensure!(!waiting.is_finished());
    run(&mut here, "COMMIT")?;
    ensure!(waiting.join().expect("no panic")? == "WAIT_CLOSE");
    ensure!(pid(&mut here)? != before && pid(&mut there)? == unchanged);

    run(&mut here, "BEGIN")?;
    alone.order(&format!("KILL {name}"))?;
    ensure!(here.simple("SELECT 1", None).is_err() || here.until_closed().is_ok());
    run(&mut there, "SELECT 1")?;
    alone.order(&format!("RESUME {name}"))?;
    run(&mut alone.client(name)?, "SELECT 1")?;

    for (sql, code) in [("RESUME nowhere", "3D000"), ("RECONNECT nowhere", "3D000")] {
        ensure!(alone.console().refusal(sql)? == code, "{sql}");
    }
    Ok(())
}

/// KILL without a name: everybody is dropped, and whoever comes then waits.
#[test]
fn everybody_is_killed() -> Result<()> {
    let alone = Alone::start()?;
    let (mut resting, mut busy) = (alone.client(LISTED)?, alone.client(UNLISTED[0])?);
    run(&mut resting, "SELECT 1")?;
    busy.send_simple("BEGIN; SELECT pg_sleep(600)")?;
    let console = alone.console();
    eventually("it runs", || {
        let active = console.value("SERVERS", &[("state", "active")], "database")?;
        Ok(active.is_some())
    })?;
    alone.order("KILL")?;
    let words = resting.until_closed()?;
    ensure!(
        Reply::fault(&words).is_some_and(|fault| fault.code == "57P01"),
        "{words:?}"
    );
    busy.until_closed()?;
    ensure!(console.show("SERVERS")?.is_empty());
    ensure!(console.value("STATE", &[("key", "paused")], "value")?.as_deref() == Some("yes"));
    alone.order("RESUME")?;
    run(&mut alone.client(LISTED)?, "SELECT 1")
}

#[test]
fn suspend_waits_for_what_runs_and_keeps_the_rest() -> Result<()> {
    let alone = Alone::start()?;
    let (mut busy, mut resting) = (alone.client(LISTED)?, alone.client(LISTED)?);
    run(&mut resting, "SELECT 1")?;
    busy.send_simple("SELECT pg_sleep(0.7)")?;
    let console = alone.console();
    eventually("it runs", || {
        Ok(console
            .value("SERVERS", &[("state", "active")], "link")?
            .is_some())
    })?;
    alone.order("SUSPEND")?;
    // Its answer was there before that of SUSPEND.
    busy.wait_at_most(std::time::Duration::from_millis(500))?;
    ensure!(Reply::fault(&busy.rest()?).is_none());
    resting.send_simple("SELECT 2")?;
    ensure!(
        console
            .value("STATE", &[("key", "suspended")], "value")?
            .as_deref()
            == Some("yes")
    );
    ensure!(
        console
            .show("SERVERS")?
            .iter()
            .all(|row| tests::get(row, "state") != Some("active"))
    );
    alone.order("RESUME")?;
    ensure!(Reply::value(&resting.rest()?).as_deref() == Some("2"));
    Ok(())
}

/// A setting is in force for those who are there already.
#[test]
fn set_and_reload_change_what_is_in_force() -> Result<()> {
    const ONE: &str = "default_pool_size = 1";
    const TWO: &str = "default_pool_size = 2";
    let alone = Alone::start_with(1, ONE)?;
    let two_at_a_time = || -> Result<bool> {
        let (mut first, mut second) = (alone.client(LISTED)?, alone.client(LISTED)?);
        run(&mut first, "BEGIN")?;
        second.send_simple("BEGIN")?;
        let console = alone.console();
        let mut both = None;
        eventually("one or the other", || {
            let pool = console.show("POOLS")?;
            let pool = pool
                .iter()
                .find(|row| tests::get(row, "database") == Some(LISTED));
            let count = |name| pool.and_then(|row| tests::get(row, name)).unwrap_or_default();
            both = match (count("sv_active"), count("cl_waiting"), count("sv_login")) {
                ("2", "0", "0") => Some(true),
                // While a connection is being opened for it, a client waits as well.
                ("1", "1", "0") => Some(false),
                _ => None,
            };
            Ok(both.is_some())
        })?;
        run(&mut first, "ROLLBACK")?;
        ensure!(Reply::fault(&second.rest()?).is_none());
        run(&mut second, "ROLLBACK")?;
        Ok(both == Some(true))
    };
    ensure!(!two_at_a_time()?);
    alone.order("SET default_pool_size = 2")?;
    ensure!(two_at_a_time()?);
    alone.order("RELOAD")?;
    ensure!(!two_at_a_time()?);
    alone.rewrite(ONE, TWO)?;
    alone.order("RELOAD")?;
    ensure!(two_at_a_time()?);
    // A mistake changes nothing.
    alone.rewrite(TWO, "default_pool_size = 0")?;
    ensure!(alone.console().refusal("RELOAD")? == "F0000");
    ensure!(two_at_a_time()?);
    Ok(())
}

/// The only connection that there may be goes from one thread to the other.
#[test]
fn threads_share_the_bound_of_a_database() -> Result<()> {
    /// Enough for both threads to have some.
    const CLIENTS: usize = 8;
    let alone = Alone::start()?;
    alone.order("SET max_db_connections = 1")?;
    let target = alone.target(CHIEF, LISTED);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let target = target.clone();
            std::thread::spawn(move || Session::connect(&target)?.simple("SELECT 1", None))
        })
        .collect();
    for client in clients {
        let replies = client.join().expect("no panic")?;
        ensure!(Reply::value(&replies).as_deref() == Some("1"), "{replies:?}");
    }
    // They were, and one after the other is served without a long wait.
    let mut clients: Vec<Session> = (0..CLIENTS)
        .map(|_| alone.client(LISTED))
        .collect::<Result<_>>()?;
    let threads: std::collections::BTreeSet<_> = alone
        .console()
        .show("CLIENTS")?
        .iter()
        .filter(|row| tests::get(row, "database") == Some(LISTED))
        .filter_map(|row| tests::get(row, "thread").map(str::to_owned))
        .collect();
    ensure!(threads.len() == 2, "{threads:?}");
    for client in &mut clients {
        let asked = std::time::Instant::now();
        run(client, "SELECT 1")?;
        ensure!(
            asked.elapsed() < std::time::Duration::from_secs(5),
            "{:?}",
            asked.elapsed()
        );
    }
    let open = alone.console().show("SERVERS")?.len();
    ensure!(open == 1, "{open}");
    Ok(())
}

/// Every command that changes something.
const CONTROL: [&str; 16] = [
    "SET query_timeout = 1",
    "RELOAD",
    "PAUSE",
    "PAUSE listed",
    "RESUME",
    "RESUME listed",
    "DISABLE listed",
    "ENABLE listed",
    "RECONNECT",
    "RECONNECT listed",
    "KILL listed",
    "KILL_CLIENT 1",
    "SUSPEND",
    "SHUTDOWN",
    "SHUTDOWN WAIT_FOR_SERVERS",
    "WAIT_CLOSE",
];

fn extended(session: &mut Session, sql: &str) -> Result<Vec<Reply>> {
    session.extended(&Extended::once(sql))
}

#[test]
fn who_may_look_may_change_nothing_and_others_may_not_even_look() -> Result<()> {
    let alone = Alone::start()?;
    let looker = tests::Console::new(alone.target(LOOKER, LISTED));
    for sql in CONTROL.iter().chain(&["SHUTDOWN WAIT_FOR_CLIENTS", "SHOW FDS"]) {
        let mut session = looker.connect()?;
        for replies in [session.simple(sql, None)?, extended(&mut session, sql)?] {
            let code = Reply::fault(&replies).map(|fault| fault.code.as_str());
            ensure!(code == Some("42501"), "{sql}: {replies:?}");
            ensure!(replies.last() == Some(&Reply::Ready('I')), "{sql}: {replies:?}");
        }
    }
    let mut chief = alone.console().connect()?;
    for row in alone.console().show("HELP")? {
        let command = row
            .first()
            .and_then(|(_, command)| command.clone())
            .unwrap_or_default();
        if command.starts_with("SHOW ") && command != "SHOW FDS" {
            for session in [&mut looker.connect()?, &mut chief] {
                let replies = session.simple(&command, None)?;
                ensure!(Reply::fault(&replies).is_none(), "{command}: {replies:?}");
                let replies = extended(session, &command)?;
                ensure!(Reply::fault(&replies).is_none(), "{command}: {replies:?}");
            }
        }
    }
    for database in ["ringway", "pgbouncer"] {
        let refused = Session::connect(&alone.target(STRANGER, database)).err();
        let refused = refused.map(|error| format!("{error:#}")).unwrap_or_default();
        ensure!(refused.contains("42501"), "{refused}");
    }
    // Nothing of it came about.
    ensure!(
        alone
            .console()
            .value("STATE", &[("key", "active")], "value")?
            .as_deref()
            == Some("yes")
    );
    run(&mut alone.client(LISTED)?, "SELECT 1")
}

#[test]
fn control_commands_by_the_extended_protocol() -> Result<()> {
    let alone = Alone::start()?;
    let mut client = alone.client(LISTED)?;
    run(&mut client, "SELECT 1")?;
    let mut console = alone.console().connect()?;
    for (sql, tag) in [
        ("PAUSE listed", "PAUSE"),
        ("RESUME listed", "RESUME"),
        ("RECONNECT", "RECONNECT"),
        ("WAIT_CLOSE", "WAIT_CLOSE"),
        ("DISABLE listed", "DISABLE"),
        ("ENABLE listed", "ENABLE"),
        ("SUSPEND", "SUSPEND"),
        ("RESUME", "RESUME"),
        ("SET query_timeout = 5", "SET"),
        ("RELOAD", "RELOAD"),
        ("KILL listed", "KILL"),
        ("RESUME listed", "RESUME"),
    ] {
        let replies = extended(&mut console, sql)?;
        ensure!(
            replies.contains(&Reply::Complete(tag.to_owned())),
            "{sql}: {replies:?}"
        );
        ensure!(replies.last() == Some(&Reply::Ready('I')), "{sql}: {replies:?}");
    }
    run(&mut alone.client(LISTED)?, "SELECT 1")
}
