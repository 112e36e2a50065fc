//! A data thread's life: its listener, its clients, and what the control plane asks of it.

use crate::admin::{ClientRow, ClientState, PoolRow, ServerConnectionState, ServerRow};
use crate::data::accept::{Accepted, Door, Doors, LoginGuard, Spread};
use crate::data::login;
use crate::data::peer::Peer;
use crate::data::thread::{ClientInfo, StopReason, Thread, ThreadPool};
use crate::metrics::ThreadStats;
use crate::shared::{self, Shared};
use pool::{ServerState, Stream};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};
use tokio::runtime::LocalOptions;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use topology::Mono;
use wire::CancelKey;

/// How often pools are looked after.
const MAINTENANCE: Duration = Duration::from_secs(1);
/// How long a listener that can't accept (no descriptors left) waits before it tries again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often a draining thread looks whether its clients are gone.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// What the control plane asks of a data thread.
#[derive(Debug)]
pub(crate) enum ThreadCommand {
    /// Its clients, pools and server connections.
    Rows(oneshot::Sender<ThreadRows>),
    /// A cancel request that came to another thread.
    Cancel(CancelKey),
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
}

/// What a data thread holds at one moment.
#[derive(Debug, Default)]
pub(crate) struct ThreadRows {
    /// Clients.
    pub(crate) clients: Vec<ClientRow>,
    /// Pools.
    pub(crate) pools: Vec<PoolRow>,
    /// Server connections.
    pub(crate) servers: Vec<ServerRow>,
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
        .build_local(LocalOptions::default())?;
    runtime.block_on(async move {
        let doors = Doors::open(doors)?;
        let thread = Thread::new(shared, index, stats);
        serve(thread, doors, commands).await;
        Ok(())
    })
}

async fn serve(thread: Rc<Thread>, mut doors: Doors, mut commands: mpsc::Receiver<ThreadCommand>) {
    let mut maintenance = tokio::time::interval(MAINTENANCE);
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
            _ = maintenance.tick() => thread.each_pool(|pool| pool.pool.maintain()),
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
        ThreadCommand::Cancel(key) => thread.cancel(&key),
        ThreadCommand::Reload => {
            let limits = shared::pool_limits(&thread.settings());
            thread.each_pool(|pool| pool.pool.set_limits(limits.clone()));
        }
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
        thread.each_pool(|pool| pool.pool.maintain());
        match tokio::time::timeout(DRAIN_POLL, commands.recv()).await {
            Ok(Some(command)) => on_command(thread, command),
            Ok(None) => tokio::time::sleep(DRAIN_POLL).await,
            Err(_) => {}
        }
    }
    thread.each_pool(|pool| pool.pool.drain());
}

fn rows(thread: &Thread) -> ThreadRows {
    let settings = thread.settings();
    let mut rows = ThreadRows::default();
    let now = Clocks::read();
    for (_, client) in thread.clients.borrow().iter() {
        rows.clients.push(client_row(client, thread.index, &now));
    }
    thread.each_pool(|pool| {
        let database = settings
            .databases
            .iter()
            .find(|d| d.dbname == pool.target.database);
        let database = database.map_or_else(|| pool.target.database.clone(), |d| d.name.clone());
        rows.pools.push(pool_row(pool, &database));
        pool.pool.for_each_server(|server| {
            rows.servers.push(ServerRow {
                id: server.id,
                user: pool.target.user.clone(),
                database: database.clone(),
                state: match server.state {
                    ServerState::Idle => ServerConnectionState::Idle,
                    ServerState::Active => ServerConnectionState::Active,
                },
                endpoint: pool.endpoint,
                local: server.local_addr,
                connected_at: now.wall(server.opened_at),
                request_at: Some(now.wall(server.used_at)),
                close_needed: server.condemned,
                link: None,
                remote_pid: server.pid,
                tls: server.tls,
                thread: thread.index,
            });
        });
    });
    rows
}

fn pool_row(pool: &ThreadPool, database: &str) -> PoolRow {
    let stats = pool.pool.stats();
    PoolRow {
        database: database.to_owned(),
        user: pool.target.user.clone(),
        endpoint: pool.endpoint,
        waiting: stats.waiting,
        active: stats.active,
        idle: stats.idle,
        connecting: stats.connecting,
        max_wait: stats.max_wait,
    }
}

fn client_row(client: &ClientInfo, thread: usize, now: &Clocks) -> ClientRow {
    ClientRow {
        id: u64::from(client.key.pid),
        user: client.user.to_string(),
        database: client.database.to_string(),
        state: client.state(),
        peer: client.peer,
        local: None,
        connected_at: now.wall(client.connected_at),
        request_at: Some(now.wall(client.request_at.get())),
        waited: match client.state() {
            ClientState::Waiting => now.mono.since(client.request_at.get()),
            _ => Duration::ZERO,
        },
        links: Vec::new(),
        tls: client.tls,
        application_name: client.application_name.borrow().to_string(),
        prepared_statements: client.prepared_statements.get(),
        thread,
    }
}

/// Both clocks at one moment, to show times of the proxy's own clock on the wall.
struct Clocks {
    mono: Mono,
    wall: SystemTime,
}

impl Clocks {
    fn read() -> Self {
        Self {
            mono: health::boot_time(),
            wall: SystemTime::now(),
        }
    }

    fn wall(&self, moment: Mono) -> SystemTime {
        self.wall
            .checked_sub(self.mono.since(moment))
            .unwrap_or(self.wall)
    }
}
