//! SHUTDOWN in the admin database, in each of its forms: what becomes of clients, and how the process ends.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use tests::{Console, Reply, Session, eventually, run};

use crate::process::{Place, Process};

/// Held while the table of all scenes is made.
static ONE: Mutex<()> = Mutex::new(());

/// A client in a transaction and one at rest, the admin database, and the process.
struct Scene {
    place: Place,
    running: Process,
    busy: Session,
    resting: Session,
    console: Console,
}

impl Scene {
    fn start() -> Result<Self> {
        let place = Place::new()?;
        let running = place.start("only", &[])?;
        let (mut busy, resting) = (
            Session::connect(&place.target())?,
            Session::connect(&place.target())?,
        );
        // PostgreSQL refuses the second of two that come at once.
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        run(&mut busy, "CREATE TABLE IF NOT EXISTS ended (how text)")?;
        drop(one);
        run(&mut busy, "BEGIN")?;
        Ok(Self {
            console: Console::new(place.admin()),
            running,
            busy,
            resting,
            place,
        })
    }

    /// Gives the command without waiting for an answer: the process may end before.
    fn order(&self, sql: &str) -> Result<Session> {
        let mut admin = self.console.connect()?;
        admin.send_simple(sql)?;
        Ok(admin)
    }

    /// How many rows there are past Ringway.
    fn rows(&self, how: &str) -> Result<String> {
        let mut straight = Session::connect(&self.place.straight())?;
        let replies = straight.simple(&format!("SELECT count(*) FROM ended WHERE how = '{how}'"), None)?;
        Reply::value(&replies).with_context(|| format!("{replies:?}"))
    }

    /// No connection is taken any more.
    fn until_closed(&self) -> Result<()> {
        eventually("nobody is let in", || {
            Ok(Session::connect(&self.place.target()).is_err())
        })
    }
}

/// It is told that the proxy ends.
fn is_sent_away(client: &mut Session) -> Result<()> {
    let words = client.until_closed()?;
    let code = Reply::fault(&words).map(|fault| fault.code.as_str());
    ensure!(code == Some("57P01"), "{words:?}");
    Ok(())
}

#[test]
fn shutdown_ends_at_once() -> Result<()> {
    let mut scene = Scene::start()?;
    run(&mut scene.busy, "INSERT INTO ended VALUES ('at once')")?;
    let _admin = scene.order("SHUTDOWN")?;
    is_sent_away(&mut scene.busy)?;
    is_sent_away(&mut scene.resting)?;
    ensure!(scene.running.wait_for_end()?.success(), "{}", scene.running.log());
    ensure!(scene.rows("at once")? == "0");
    Ok(())
}

#[test]
fn shutdown_wait_for_servers_lets_transactions_end() -> Result<()> {
    let mut scene = Scene::start()?;
    let _admin = scene.order("SHUTDOWN WAIT_FOR_SERVERS")?;
    is_sent_away(&mut scene.resting)?;
    scene.until_closed()?;
    run(&mut scene.busy, "INSERT INTO ended VALUES ('servers')")?;
    ensure!(scene.running.is_running()?, "{}", scene.running.log());
    run(&mut scene.busy, "COMMIT")?;
    is_sent_away(&mut scene.busy)?;
    ensure!(scene.running.wait_for_end()?.success(), "{}", scene.running.log());
    ensure!(scene.rows("servers")? == "1");
    Ok(())
}

#[test]
fn shutdown_wait_for_clients_lets_clients_stay() -> Result<()> {
    let mut scene = Scene::start()?;
    let _admin = scene.order("SHUTDOWN WAIT_FOR_CLIENTS")?;
    scene.until_closed()?;
    run(&mut scene.resting, "INSERT INTO ended VALUES ('clients')")?;
    run(&mut scene.busy, "COMMIT")?;
    run(&mut scene.busy, "INSERT INTO ended VALUES ('clients')")?;
    let Scene { resting, busy, .. } = scene;
    resting.close();
    ensure!(scene.running.is_running()?, "{}", scene.running.log());
    busy.close();
    ensure!(scene.running.wait_for_end()?.success(), "{}", scene.running.log());
    let mut straight = Session::connect(&scene.place.straight())?;
    let replies = straight.simple("SELECT count(*) FROM ended WHERE how = 'clients'", None)?;
    ensure!(Reply::value(&replies).as_deref() == Some("2"), "{replies:?}");
    Ok(())
}
