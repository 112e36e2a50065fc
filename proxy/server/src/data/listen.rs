//! A data thread's life: its listener, its clients, and what the control plane asks of it.

use crate::data::accept::{Accepted, Door, Doors, LoginGuard, Spread};
use crate::data::login;
use crate::data::peer::Peer;
use crate::data::rows::{ThreadRows, rows};
use crate::data::thread::{Counted, DatabaseContext, StopReason, Thread};
use crate::metrics::ThreadStats;
use crate::shared::Shared;
use pool::Stream;
use settings::IoDriver;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::runtime::LocalOptions;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use wire::CancelKey;

/// How long a listener that can't accept (no descriptors left) waits before it tries again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a client that was sent away may take to read what it was told, if it stays connected.
const LINGER: Duration = Duration::from_secs(10);
/// How long clients that are gone for the proxy may take to read what they were told last.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How often a draining thread looks whether its clients are gone.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// What the control plane asks of a data thread.
#[derive(Debug)]
pub(crate) enum ThreadCommand {
    /// Its clients, pools and server connections.
    Rows(oneshot::Sender<ThreadRows>),
    /// A cancel request that came to another thread. The sender hears when the servers have taken it.
    Cancel(CancelKey, oneshot::Sender<()>),
    /// A client that another thread has accepted.
    Adopt(Accepted),
    /// Accept no more connections, and serve the clients there are. The sender is dropped once that is so.
    StopAccepting(mpsc::Sender<()>),
    /// Take no more clients, send away those at rest, end when all are gone.
    Drain,
    /// Send away the others too: their statements are cancelled, their transactions rolled back.
    CutOff,
    /// The settings changed.
    Reload,
    /// What administrators have said of databases or the whole proxy changed.
    Gates,
    /// Replace the server connections of a database, by its place, or of all.
    Reconnect(Option<usize>),
    /// Drop the clients of a database, or of all, and its server connections.
    Kill(Option<Arc<DatabaseContext>>),
    /// Close the server connections that rest in a database (by its name on the servers), which no session may be in but that of
    /// the client of this number.
    Vacate(Box<str>, u64),
    /// Drop the client of this number, if it is one of this thread's.
    KillClient(u64, oneshot::Sender<()>),
    /// How many of something there are, of a database or of all.
    Count(Option<usize>, Counted, oneshot::Sender<usize>),
}

/// Runs a data thread until it has been drained.
///
/// # Errors
/// When the runtime or the listener can't be set up.
pub(crate) fn run_thread(
    shared: Arc<Shared>,
    index: usize,
    stats: Arc<ThreadStats>,
    doors: Vec<Door>,
    commands: mpsc::Receiver<ThreadCommand>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(uring::turn)
        .build_local(LocalOptions::default())?;
    runtime.block_on(async move {
        let ring = ring(shared.settings.load().io)?;
        let doors = Doors::open(doors)?;
        let thread = Thread::new(shared, index, stats);
        serve(thread, doors, commands).await;
        if let Some(ring) = ring {
            // What was said last is still to be sent.
            let _ = tokio::time::timeout(LAST_WORDS, ring.emptied()).await;
        }
        Ok(())
    })
}

/// The thread's io_uring, if it is to have one.
fn ring(io: IoDriver) -> io::Result<Option<uring::Ring>> {
    if io == IoDriver::Tokio {
        return Ok(None);
    }
    let ring = match (io, uring::Ring::new()) {
        (_, Ok(ring)) => ring,
        (IoDriver::Auto, Err(error)) => {
            tracing::info!(%error, "io_uring isn't available here: epoll is used");
            return Ok(None);
        }
        (_, Err(error)) => return Err(error),
    };
    ring.install();
    let watched = ring.clone();
    tokio::task::spawn_local(async move {
        if let Err(error) = watched.watch(LINGER).await {
            tracing::error!(%error, "io_uring isn't watched any more");
        }
    });
    Ok(Some(ring))
}

async fn serve(thread: Rc<Thread>, mut doors: Doors, mut commands: mpsc::Receiver<ThreadCommand>) {
    loop {
        tokio::select! {
            accepted = doors.accept() => match accepted {
                Ok((stream, peer, spread)) => welcome(&thread, stream, peer, spread),
                Err(error) => {
                    tracing::warn!(%error, "can't accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            command = commands.recv() => match command {
                Some(ThreadCommand::Drain) | None => break,
                Some(ThreadCommand::StopAccepting(_done)) => doors.close(),
                Some(command) => on_command(&thread, command),
            },
            () = thread.maintenance.due() => thread.maintain(),
        }
    }
    drop(doors);
    drain(&thread, commands).await;
}

/// Serves a connection, on this thread or on the one whose turn it is.
fn welcome(thread: &Rc<Thread>, stream: Stream, peer: Peer, spread: Spread) {
    let login = LoginGuard::new(&thread.shared);
    let others = thread.shared.threads.get().map_or(&[][..], Vec::as_slice);
    let turn = match spread {
        Spread::Own => thread.index,
        Spread::InTurn => thread.shared.next_thread.fetch_add(1, Ordering::Relaxed) % others.len().max(1),
    };
    let Some(other) = others.get(turn).filter(|_| turn != thread.index) else {
        tokio::task::spawn_local(login::connection(Rc::clone(thread), stream, peer, login));
        return;
    };
    let sent = Accepted::detach(stream, peer, login);
    match sent.map(|accepted| other.try_send(ThreadCommand::Adopt(accepted))) {
        Ok(Ok(())) => {}
        // Too busy: better served here than not at all.
        Ok(Err(TrySendError::Full(command) | TrySendError::Closed(command))) => on_command(thread, command),
        Err(error) => tracing::warn!(%error, "a connection was lost between threads"),
    }
}

fn on_command(thread: &Rc<Thread>, command: ThreadCommand) {
    match command {
        ThreadCommand::Rows(reply) => {
            // Whoever asked may have given up.
            let _ = reply.send(rows(thread));
        }
        ThreadCommand::Cancel(key, taken) => {
            let thread = Rc::clone(thread);
            tokio::task::spawn_local(async move {
                thread.cancel(&key).await;
                // Whoever asked may have given up.
                let _ = taken.send(());
            });
        }
        ThreadCommand::Reload => thread.reload(),
        ThreadCommand::CutOff => {
            for (_, client) in thread.clients.borrow().iter() {
                client.stop(StopReason::CutOff);
                client.cancel();
            }
        }
        ThreadCommand::Adopt(accepted) => match accepted.attach() {
            Ok((stream, peer, login)) => {
                tokio::task::spawn_local(login::connection(Rc::clone(thread), stream, peer, login));
            }
            Err(error) => tracing::warn!(%error, "a connection was lost between threads"),
        },
        ThreadCommand::Gates => thread.follow_gates(),
        ThreadCommand::Reconnect(database) => thread.pools_of(database, |pool| pool.pool.reconnect()),
        ThreadCommand::Kill(database) => thread.kill(database.as_deref()),
        ThreadCommand::Vacate(dbname, asker) => thread.vacate(dbname, asker),
        ThreadCommand::KillClient(id, done) => {
            if thread.kill_client(id) {
                // Whoever asked may have given up.
                let _ = done.send(());
            }
        }
        ThreadCommand::Count(database, what, reply) => {
            let _ = reply.send(thread.count(database, what));
        }
        ThreadCommand::Drain | ThreadCommand::StopAccepting(_) => {}
    }
}

/// Clients at rest leave at once, the others when their transaction is over. The control plane bounds the time.
async fn drain(thread: &Rc<Thread>, mut commands: mpsc::Receiver<ThreadCommand>) {
    for (_, client) in thread.clients.borrow().iter() {
        client.stop(StopReason::Draining);
    }
    while !thread.clients.borrow().is_empty() {
        // Those that wait for a connection may do so no longer than at other times.
        thread.maintain_pools();
        match tokio::time::timeout(DRAIN_POLL, commands.recv()).await {
            Ok(Some(command)) => on_command(thread, command),
            Ok(None) => tokio::time::sleep(DRAIN_POLL).await,
            Err(_) => {}
        }
    }
    thread.each_pool(|pool| pool.pool.drain());
}
