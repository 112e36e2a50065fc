//! Commands that change something: carried out by the data threads and the process, and waited for.

use crate::admin::{AdminCommand, ProxyMode, full_key, in_our_unit};
use crate::data::listen::ThreadCommand;
use crate::data::thread::{Counted, Thread};
use crate::gate::{Done, Order};
use crate::shared::{DatabaseContext, Shared};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use wire::{ProxyError, Severity, sqlstate};

/// How often it is looked whether what is waited for has come about.
const POLL: Duration = Duration::from_millis(20);
/// How long statements under way may take to end after SUSPEND: PgBouncer's `suspend_timeout`.
const SUSPEND_TIMEOUT: Duration = Duration::from_secs(10);

/// Carries out a command that answers with its tag.
///
/// # Errors
/// What keeps it from being carried out.
pub(super) async fn carry_out(thread: &Thread, command: AdminCommand) -> Result<&'static str, ProxyError> {
    let shared = &*thread.shared;
    match command {
        AdminCommand::Reload => {
            ordered(shared, Order::Reload).await?;
            Ok("RELOAD")
        }
        AdminCommand::Set { key, value } => {
            let key = full_key(&thread.settings(), &key).unwrap_or(key);
            let value = in_our_unit(&key, &value);
            ordered(shared, |done| Order::Set { key, value, done }).await?;
            Ok("SET")
        }
        AdminCommand::Shutdown(how) => {
            // The process ends whether or not anybody waits for it.
            let _ = shared.orders.send(Order::Shutdown(how)).await;
            Ok("SHUTDOWN")
        }
        AdminCommand::Disable(name) => {
            opened(shared, &name)?.gate.set_disabled(true);
            Ok("DISABLE")
        }
        AdminCommand::Enable(name) => {
            known(shared, &name)?.gate.set_disabled(false);
            Ok("ENABLE")
        }
        AdminCommand::Pause(name) => pause(shared, name.as_deref()).await,
        AdminCommand::Resume(name) => resume(shared, name.as_deref()).await,
        AdminCommand::Suspend => suspend(shared).await,
        AdminCommand::Kill(name) => kill(shared, name.as_deref()).await,
        AdminCommand::KillClient(id) => kill_client(shared, id).await,
        AdminCommand::Reconnect(name) => {
            let place = one_or_all(shared, name.as_deref(), known)?.map(|database| database.index);
            tell(shared, || ThreadCommand::Reconnect(place)).await;
            Ok("RECONNECT")
        }
        AdminCommand::WaitClose(name) => {
            let database = one_or_all(shared, name.as_deref(), known)?;
            until_none(shared, database.as_deref(), Counted::Closing).await;
            Ok("WAIT_CLOSE")
        }
        AdminCommand::Show(_)
        | AdminCommand::Courtesy(_)
        | AdminCommand::Ignored(_)
        | AdminCommand::Begin
        | AdminCommand::Commit
        | AdminCommand::Rollback => Err(ProxyError::internal()),
    }
}

/// Waits until the process has done what it is asked for.
async fn ordered(shared: &Shared, order: impl FnOnce(Done) -> Order) -> Result<(), ProxyError> {
    let (done, outcome) = oneshot::channel();
    let sent = shared.orders.send(order(done)).await;
    sent.map_err(|_| ProxyError::draining())?;
    outcome.await.unwrap_or_else(|_| Err(ProxyError::draining()))
}

async fn pause(shared: &Shared, name: Option<&str>) -> Result<&'static str, ProxyError> {
    let database = one_or_all(shared, name, opened)?;
    match &database {
        None if shared.mode.get() == ProxyMode::Suspended => {
            return Err(prerequisite("the proxy is suspended", "RESUME it first."));
        }
        None => {
            shared.mode.set(ProxyMode::Paused);
        }
        Some(database) => {
            database.gate.set_paused(true);
        }
    }
    tell(shared, || ThreadCommand::Gates).await;
    until_none(shared, database.as_deref(), Counted::Open).await;
    Ok("PAUSE")
}

async fn resume(shared: &Shared, name: Option<&str>) -> Result<&'static str, ProxyError> {
    match one_or_all(shared, name, known)? {
        None if shared.mode.set(ProxyMode::Active) == ProxyMode::Active => {
            return Err(prerequisite(
                "the proxy is not paused or suspended",
                "RESUME with a name resumes one database.",
            ));
        }
        Some(database) if !database.gate.set_paused(false) => {
            let message = format!("database \"{}\" is not paused", database.config.name);
            return Err(prerequisite(message, "SHOW DATABASES says which ones are."));
        }
        None | Some(_) => {}
    }
    tell(shared, || ThreadCommand::Gates).await;
    Ok("RESUME")
}

async fn suspend(shared: &Shared) -> Result<&'static str, ProxyError> {
    if shared.mode.get() == ProxyMode::Paused {
        return Err(prerequisite("the proxy is paused", "RESUME it first."));
    }
    shared.mode.set(ProxyMode::Suspended);
    tell(shared, || ThreadCommand::Gates).await;
    // What takes longer goes on; nothing more is taken from its client either.
    let quiet = until_none(shared, None, Counted::Busy);
    let _ = tokio::time::timeout(SUSPEND_TIMEOUT, quiet).await;
    Ok("SUSPEND")
}

/// Drops clients and servers, and keeps the database paused: whoever comes waits for RESUME.
async fn kill(shared: &Shared, name: Option<&str>) -> Result<&'static str, ProxyError> {
    let database = one_or_all(shared, name, opened)?;
    match &database {
        None => {
            shared.mode.set(ProxyMode::Paused);
        }
        Some(database) => {
            database.gate.set_paused(true);
        }
    }
    tell(shared, || ThreadCommand::Gates).await;
    tell(shared, || ThreadCommand::Kill(database.clone())).await;
    until_none(shared, database.as_deref(), Counted::Open).await;
    Ok("KILL")
}

async fn kill_client(shared: &Shared, id: u64) -> Result<&'static str, ProxyError> {
    for thread in shared.threads.get().map(Vec::as_slice).unwrap_or_default() {
        let (done, found) = oneshot::channel();
        let sent = thread.send(ThreadCommand::KillClient(id, done)).await;
        if sent.is_ok() && found.await.is_ok() {
            return Ok("KILL_CLIENT");
        }
    }
    Err(
        ProxyError::error(sqlstate::UNDEFINED_OBJECT, format!("client {id} does not exist"))
            .with_hint("SHOW CLIENTS has the ids."),
    )
}

/// The database that clients call `name`, even if it isn't listed and nobody has used it yet.
fn opened(shared: &Shared, name: &str) -> Result<Arc<DatabaseContext>, ProxyError> {
    not_the_admin_database(name)?;
    let opened = shared.database(name);
    // The administrator stays, whatever there are too many of.
    let opened = opened.map_err(|error| error.with_severity(Severity::Error))?;
    opened.ok_or_else(|| unknown(name))
}

/// The database that clients call `name`, if it is listed or in use.
fn known(shared: &Shared, name: &str) -> Result<Arc<DatabaseContext>, ProxyError> {
    not_the_admin_database(name)?;
    let listed = shared.listed(name).map(Arc::clone);
    listed
        .or_else(|| shared.wildcards.find(name))
        .ok_or_else(|| unknown(name))
}

fn not_the_admin_database(name: &str) -> Result<(), ProxyError> {
    if crate::admin::DATABASES.contains(&name) {
        return Err(ProxyError::error(
            sqlstate::FEATURE_NOT_SUPPORTED,
            format!("\"{name}\" is the admin database, which is always there"),
        ));
    }
    Ok(())
}

fn unknown(name: &str) -> ProxyError {
    let message = format!("database \"{name}\" does not exist");
    ProxyError::error(sqlstate::INVALID_CATALOG_NAME, message).with_hint("SHOW DATABASES lists them.")
}

/// The database of this name; `None`: all of them are meant.
fn one_or_all(
    shared: &Shared,
    name: Option<&str>,
    find: fn(&Shared, &str) -> Result<Arc<DatabaseContext>, ProxyError>,
) -> Result<Option<Arc<DatabaseContext>>, ProxyError> {
    name.map(|name| find(shared, name)).transpose()
}

/// Tells every data thread. One that is gone has nothing to be told of.
async fn tell(shared: &Shared, command: impl Fn() -> ThreadCommand) {
    for thread in shared.threads.get().map(Vec::as_slice).unwrap_or_default() {
        let _ = thread.send(command()).await;
    }
}

/// Waits until no data thread has any of these. Without a bound, as PgBouncer: whoever waits may leave.
async fn until_none(shared: &Shared, database: Option<&DatabaseContext>, what: Counted) {
    let place = database.map(|database| database.index);
    loop {
        let mut count = 0;
        for thread in shared.threads.get().map(Vec::as_slice).unwrap_or_default() {
            let (reply, answer) = oneshot::channel();
            if thread
                .send(ThreadCommand::Count(place, what, reply))
                .await
                .is_ok()
            {
                count += answer.await.unwrap_or(0);
            }
        }
        if count == 0 {
            return;
        }
        tokio::time::sleep(POLL).await;
    }
}

fn prerequisite(message: impl Into<String>, hint: &'static str) -> ProxyError {
    ProxyError::error(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message.into()).with_hint(hint)
}
