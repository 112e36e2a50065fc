//! What the clients of one data thread share: pools, plans, buffers, the register of clients.

use crate::admin::{ClientState, ProxyMode};
use crate::client::{Failure, Greeting};
use crate::data::cancels::Cancels;
use crate::data::hold::PoolNotes;
use crate::data::io::{ClientIo, SpareBuffers};
use crate::data::maintenance::Maintenance;
use crate::data::plans::{CachedTemplate, PlanCache};
use crate::data::relay::RelayError;
use crate::metrics::ThreadStats;
use crate::reading::Choice;
use crate::shared::{self, Shared};
use bytes::{Buf, BytesMut};
use pool::{BackendTarget, Lease, Pool, PoolConfig, Waiting};
use session::relay::{Cursor, ServerError};
use session::state::{CustomNames, Pins};
use session::{BackendState, GlobalStatements, Settings};
use slab::Slab;
use smallvec::SmallVec;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::task::AbortHandle;
use topology::{EndpointId, Mono, Role, ShardId, Timeline};
use wire::{CancelKey, ProxyError};

pub(crate) use crate::data::plans::{ContextPlans, PlanContext, PlannedText, TextStatement};
pub(crate) use crate::shared::DatabaseContext;

/// The plan of a statement before its values are known.
pub(crate) type PlanRef = Rc<CachedTemplate>;

/// The read buffer of a data thread.
pub(crate) type Scratch = Rc<RefCell<Box<[u8]>>>;

/// How much is read from a socket at a time.
const SCRATCH_SIZE: usize = 64 << 10;
/// Bits of a client's process id that say its place in its thread. Those above say which thread, and vary: who logs in again is
/// told another id.
const PLACE_BITS: u32 = 20;
/// How many values the bits above can have: the id is a positive number for clients.
const ABOVE_PLACE: usize = 1 << (31 - PLACE_BITS);
/// The largest place.
const MAX_PLACE: u32 = (1 << PLACE_BITS) - 1;
/// Kinds of clients whose greeting is remembered.
const MAX_GREETINGS: usize = 64;
/// How long it is: defaults of the server or of a role may change.
const GREETING_LIFE: Duration = Duration::from_secs(10);
/// Distinct settings that are compared by pointer.
const MAX_SETTINGS: usize = 64;
/// Distinct names of users and databases that are shared by the clients that have them.
const MAX_NAMES: usize = 1024;
/// Distinct prepared statements that a data thread remembers for clients that no longer hold them.
const MAX_STATEMENTS: usize = 10_000;

/// What a data thread keeps about a server connection.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    /// Settings and statements.
    pub(crate) session: BackendState,
    /// The server's timeline, asked on this connection while the server was a primary.
    pub(crate) timeline: Option<Timeline>,
    /// What its pool knows of clients that stay.
    notes: Rc<PoolNotes>,
    /// The client, by its number, whose statements may have used a sequence on it last.
    sequence_user: Option<u64>,
    /// Where its answers stand.
    cursor: Cursor,
    /// What was read of whole messages that nobody has taken.
    incoming: BytesMut,
    /// Bytes for the server that are not sent yet; empty between uses, with the room it had.
    unsent: BytesMut,
    /// Requests to cancel what it does.
    cancels: Rc<Cancels>,
}

/// How long a client that is dropped at rest may take to hear of it.
const KILL_BOUND: Duration = Duration::from_secs(1);

impl ConnectionState {
    fn new(notes: Rc<PoolNotes>) -> Self {
        Self {
            cancels: Rc::default(),
            session: BackendState::default(),
            timeline: None,
            notes,
            sequence_user: None,
            cursor: Cursor::default(),
            incoming: BytesMut::new(),
            unsent: BytesMut::new(),
        }
    }
}

/// A connection's buffer that grew beyond this is given up at its release.
const MAX_KEPT_BUFFER: usize = 64 << 10;

/// A server connection while a client uses it.
#[derive(Debug)]
pub(crate) struct Backend {
    lease: Lease<ConnectionState>,
    /// The shard.
    pub(crate) shard: ShardId,
    /// The server.
    pub(crate) endpoint: EndpointId,
    /// What the server was when it was chosen.
    pub(crate) role: Role,
}

impl Backend {
    /// A lent connection to the chosen server.
    pub(crate) fn new(lease: Lease<ConnectionState>, choice: &Choice) -> Self {
        Self {
            lease,
            shard: choice.shard,
            endpoint: choice.endpoint,
            role: choice.role,
        }
    }

    /// Sends as much of `bytes` as fits without waiting, if nothing is queued; the rest is queued.
    pub(crate) fn send_now(&mut self, bytes: &[u8]) {
        let server = &mut *self.lease;
        let unsent = &mut server.state.unsent;
        let sent = if unsent.is_empty() && !server.conn.stream.is_tls() {
            // An error comes again when the rest is sent.
            server.conn.stream.try_write(bytes).unwrap_or(0)
        } else {
            0
        };
        unsent.extend_from_slice(bytes.get(sent..).unwrap_or_default());
    }

    /// Sends as much of what is queued as fits without waiting.
    pub(crate) fn flush_now(&mut self) {
        let server = &mut *self.lease;
        if server.conn.stream.is_tls() {
            return;
        }
        if let Ok(sent) = server.conn.stream.try_write(&server.state.unsent) {
            server.state.unsent.advance(sent);
        }
    }

    /// Where its answers stand.
    pub(crate) fn cursor(&mut self) -> &mut Cursor {
        &mut self.lease.state.cursor
    }

    /// What was read of whole messages that nobody has taken.
    pub(crate) fn incoming(&mut self) -> &mut BytesMut {
        &mut self.lease.state.incoming
    }

    /// Its number in its pool.
    pub(crate) fn id(&self) -> u64 {
        self.lease.info().id
    }

    /// What its pool knows of clients that stay.
    pub(crate) fn notes(&self) -> &Rc<PoolNotes> {
        &self.lease.state.notes
    }

    /// The client, by its number, whose statements may have used a sequence on it last; `None`: nobody's have.
    pub(crate) fn sequence_user(&self) -> Option<u64> {
        self.lease.state.sequence_user
    }

    /// A client may have used a sequence on it; `None`: it has forgotten all of them.
    pub(crate) fn set_sequence_user(&mut self, client: Option<u64>) {
        self.lease.state.sequence_user = client;
    }

    /// It was made as new by DISCARD ALL.
    pub(crate) fn forget_session(&mut self) {
        self.lease.state.session.discard_all();
        self.lease.state.sequence_user = None;
    }

    /// What is known there.
    pub(crate) fn state(&self) -> &BackendState {
        &self.lease.state.session
    }

    /// What is known there.
    pub(crate) fn state_mut(&mut self) -> &mut BackendState {
        &mut self.lease.state.session
    }

    /// Bytes for the server that are not sent yet.
    pub(crate) fn unsent(&mut self) -> &mut BytesMut {
        &mut self.lease.state.unsent
    }

    /// How many of them there are.
    pub(crate) fn unsent_len(&self) -> usize {
        self.lease.state.unsent.len()
    }

    /// Both of the above.
    pub(crate) fn state_and_unsent(&mut self) -> (&mut BackendState, &mut BytesMut) {
        let state = &mut self.lease.state;
        (&mut state.session, &mut state.unsent)
    }

    /// The server's timeline as it said itself on this connection while it was a primary.
    pub(crate) fn timeline(&self) -> Option<Timeline> {
        self.lease.state.timeline
    }

    /// The server said its timeline.
    pub(crate) fn set_timeline(&mut self, timeline: Timeline) {
        self.lease.state.timeline = Some(timeline);
    }

    /// When the connection had answered its startup.
    pub(crate) fn opened_at(&self) -> Mono {
        self.lease.conn.opened_at
    }

    /// What the server reported of its settings at the startup.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lease.conn.parameters.iter()
    }

    /// Whether nothing is under way on it.
    pub(crate) fn is_at_rest(&self) -> bool {
        let state = &self.lease.state;
        state.unsent.is_empty() && state.incoming.is_empty() && state.cursor.is_at_rest()
    }

    /// Tells the server that nothing more comes.
    pub(crate) async fn end_sending(&mut self) -> io::Result<()> {
        self.lease.conn.stream.shutdown().await
    }

    /// Gives it back to its pool; one that is in the middle of something is closed.
    pub(crate) fn release(self) {
        self.release_at(health::boot_time());
    }

    /// The same for a caller who knows the time.
    pub(crate) fn release_at(mut self, now: Mono) {
        let state = &mut self.lease.state;
        for buffer in [&mut state.unsent, &mut state.incoming] {
            if buffer.is_empty() && buffer.capacity() > MAX_KEPT_BUFFER {
                *buffer = BytesMut::new();
            }
        }
        if !self.is_at_rest() {
            self.lease.close();
        } else if self.lease.state.cancels.is_quiet() {
            self.lease.release_at(now);
        } else {
            tokio::task::spawn_local(self.release_once_quiet());
        }
    }

    /// A request to cancel what its client did must not hit who has it next.
    async fn release_once_quiet(self) {
        let cancels = Rc::clone(&self.lease.state.cancels);
        if cancels.quiet().await {
            self.lease.release();
        } else {
            self.lease.close();
        }
    }

    /// Asks the server to stop what it does on it.
    pub(crate) fn cancel(&self, target: &Rc<BackendTarget>) {
        if let Some(key) = &self.lease.conn.key {
            self.lease.state.cancels.send(Rc::clone(target), key.clone());
        }
    }

    /// Closes it.
    pub(crate) fn close(self) {
        self.lease.close();
    }

    /// Sends what is queued.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let server = &mut *self.lease;
        let (stream, unsent) = (&mut server.conn.stream, &mut server.state.unsent);
        while !unsent.is_empty() {
            let n = ready!(stream.poll_write(cx, unsent))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            unsent.advance(n);
        }
        stream.poll_flush(cx)
    }

    /// Takes in what the server has said unasked; what is whole of it comes out by [`Backend::next_unasked`].
    pub(crate) fn take_unasked(&mut self, data: &[u8]) {
        self.lease.state.cursor.carry(data);
    }

    /// The next whole message that the server has said unasked.
    pub(crate) fn next_unasked(&mut self) -> Option<Vec<u8>> {
        self.lease.state.cursor.next_whole()
    }

    /// The rest of what the server said unasked stands at the front of [`Backend::incoming`] from here on.
    pub(crate) fn expect_unasked(&mut self) {
        let state = &mut self.lease.state;
        if !state.cursor.is_at_rest() {
            state.incoming.extend_from_slice(&state.cursor.take_carry());
        }
    }

    /// Reads what the server says.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.lease.conn.stream.poll_read(cx, buffer)
    }
}

/// Why a client is sent away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StopReason {
    /// The proxy shuts down; a transaction may finish first.
    Draining,
    /// The time for that is over.
    CutOff,
    /// An administrator said so.
    Killed,
    /// It has said nothing for `client_idle_timeout`.
    Idle,
    /// Its transaction has taken `transaction_timeout`.
    LongTransaction,
}

impl StopReason {
    /// What the client is told.
    pub(crate) fn error(self) -> ProxyError {
        match self {
            Self::Draining => ProxyError::draining(),
            Self::CutOff => ProxyError::draining().with_detail(
                "The open transaction was not finished within drain_timeout and is rolled back.",
            ),
            Self::Killed => ProxyError::killed(),
            Self::Idle => ProxyError::client_idle(),
            Self::LongTransaction => ProxyError::transaction_timeout(),
        }
    }
}

/// Where a client connects from and to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Origin {
    /// From; `None` for a unix socket.
    pub(crate) peer: Option<SocketAddr>,
    /// To; `None` for a unix socket.
    pub(crate) local: Option<SocketAddr>,
    /// The process at the other end of a unix socket, where it is known.
    pub(crate) pid: Option<i32>,
    /// The socket.
    pub(crate) fd: Option<i32>,
}

/// What administrators wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Counted {
    /// Server connections that are open or being opened.
    Open,
    /// Server connections that are closed once they are free.
    Closing,
    /// Clients for whom something is under way.
    Busy,
}

/// What ended a client's rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    /// More input is there.
    Read,
    /// The client closed its side.
    Gone,
    /// It took too long.
    TimedOut,
    /// It has to leave.
    Stopped(StopReason),
}

/// A client as the rest of its thread sees it.
#[derive(Debug)]
pub(crate) struct ClientInfo {
    /// What a cancel request has to show.
    pub(crate) key: CancelKey,
    /// The role.
    pub(crate) user: Rc<str>,
    /// The database, as the client calls it.
    pub(crate) database: Rc<str>,
    /// Its number, unique in this process.
    pub(crate) id: u64,
    /// Where the client connects from and to.
    pub(crate) origin: Origin,
    /// `application_name`.
    pub(crate) application_name: RefCell<Box<str>>,
    /// When it logged in.
    pub(crate) connected_at: Mono,
    /// Whether the connection is encrypted.
    pub(crate) tls: bool,
    /// When its last request came.
    pub(crate) request_at: Cell<Mono>,
    /// When the transaction under way began.
    pub(crate) transaction_at: Cell<Option<Mono>>,
    /// A shard's connection was lost in the open transaction block: it can only be rolled back.
    pub(crate) lost_in_block: Cell<bool>,
    /// Its named statements.
    pub(crate) prepared_statements: Cell<usize>,
    /// What it does.
    pub(crate) activity: Cell<ClientState>,
    /// Why it stays on its server connections.
    pub(crate) pinned: Cell<Pins>,
    stop: Cell<Option<StopReason>>,
    /// Nothing is taken from it for now.
    suspended: Cell<bool>,
    resting: RefCell<Option<Waker>>,
    /// It waits for a server connection.
    queued: RefCell<Option<Waker>>,
    /// That wait is cancelled.
    cancelled: Cell<bool>,
    /// Ends its task.
    task: OnceCell<AbortHandle>,
    backends: RefCell<SmallVec<[HeldBackend; 1]>>,
}

#[derive(Debug)]
struct HeldBackend {
    target: Rc<BackendTarget>,
    key: CancelKey,
    cancels: Rc<Cancels>,
}

impl ClientInfo {
    /// A client that has just logged in.
    pub(crate) fn new(login: ClientLogin) -> Self {
        Self {
            key: login.key,
            user: login.user,
            database: login.database,
            id: login.id,
            origin: login.origin,
            application_name: RefCell::new(login.application_name),
            connected_at: login.now,
            tls: login.tls,
            request_at: Cell::new(login.now),
            transaction_at: Cell::new(None),
            lost_in_block: Cell::new(false),
            prepared_statements: Cell::new(0),
            activity: Cell::new(ClientState::Idle),
            pinned: Cell::new(Pins::NONE),
            stop: Cell::new(None),
            suspended: Cell::new(login.suspended),
            task: OnceCell::new(),
            resting: RefCell::new(None),
            queued: RefCell::new(None),
            cancelled: Cell::new(false),
            backends: RefCell::new(SmallVec::new()),
        }
    }

    /// Asks the client to leave; one in a transaction leaves at its end, unless it is cut off.
    pub(crate) fn stop(&self, reason: StopReason) {
        self.stop.set(Some(reason));
        if let Some(waker) = self.resting.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Serves the client in a task of its own, which [`ClientInfo::kill`] ends.
    pub(crate) fn run(&self, serving: impl Future<Output = ()> + 'static) {
        let task = tokio::task::spawn_local(serving);
        // It runs once.
        let _ = self.task.set(task.abort_handle());
    }

    /// Drops the client: at rest it is told why; in the middle of something its connections are closed as they are.
    pub(crate) fn kill(&self) {
        self.cancel();
        self.stop(StopReason::Killed);
        let Some(task) = self.task.get().cloned() else {
            return;
        };
        match self.activity.get() {
            ClientState::Idle | ClientState::IdleInTransaction => {
                // One that does not take its answer is not resting.
                tokio::task::spawn_local(async move {
                    tokio::time::sleep(KILL_BOUND).await;
                    task.abort();
                });
            }
            ClientState::Active | ClientState::Waiting => task.abort(),
        }
    }

    /// Takes nothing from the client, or goes on.
    pub(crate) fn suspend(&self, suspended: bool) {
        self.suspended.set(suspended);
        if let Some(waker) = self.resting.borrow_mut().take() {
            waker.wake();
        }
    }

    /// The server connections that it holds: what each connects to, and the process at its other end.
    pub(crate) fn each_backend(&self, mut visit: impl FnMut(*const BackendTarget, u32)) {
        for held in self.backends.borrow().iter() {
            visit(Rc::as_ptr(&held.target), held.key.pid);
        }
    }

    /// What it does.
    pub(crate) fn state(&self) -> ClientState {
        self.activity.get()
    }

    /// Waits in a pool's queue by `poll`, unless the client cancels.
    ///
    /// # Errors
    /// 57014 where it cancels.
    pub(crate) fn poll_queued<T>(
        &self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<Result<T, ProxyError>> {
        let mut queued = self.queued.borrow_mut();
        let polled = if self.cancelled.take() {
            Poll::Ready(Err(ProxyError::canceled()))
        } else {
            poll(cx).map(Ok)
        };
        *queued = polled.is_pending().then(|| cx.waker().clone());
        polled
    }

    /// Asks the servers that work for it to stop, and ends its wait for another. Gives the connections whose servers are asked.
    pub(crate) fn cancel(&self) -> SmallVec<[Rc<Cancels>; 1]> {
        if let Some(waker) = self.queued.borrow_mut().take() {
            self.cancelled.set(true);
            waker.wake();
        }
        let backends = self.backends.borrow();
        for held in backends.iter() {
            held.cancels.send(Rc::clone(&held.target), held.key.clone());
        }
        backends.iter().map(|held| Rc::clone(&held.cancels)).collect()
    }

    /// The client uses a connection from here on.
    pub(crate) fn add_backend(&self, backend: &Backend, target: &Rc<BackendTarget>) {
        if let Some(key) = &backend.lease.conn.key {
            self.backends.borrow_mut().push(HeldBackend {
                target: Rc::clone(target),
                key: key.clone(),
                cancels: Rc::clone(&backend.lease.state.cancels),
            });
        }
    }

    /// What a connection of the client's leads to.
    pub(crate) fn target_of(&self, backend: &Backend) -> Option<Rc<BackendTarget>> {
        let key = backend.lease.conn.key.as_ref()?;
        let backends = self.backends.borrow();
        let held = backends.iter().find(|held| held.key == *key)?;
        Some(Rc::clone(&held.target))
    }

    /// The client doesn't use it any more.
    pub(crate) fn remove_backend(&self, backend: &Backend) {
        let cancels = &backend.lease.state.cancels;
        let mut backends = self.backends.borrow_mut();
        backends.retain(|held| !Rc::ptr_eq(&held.cancels, cancels));
    }

    /// Why the client has to leave, if it has to.
    pub(crate) fn stop_reason(&self) -> Option<StopReason> {
        self.stop.get()
    }

    /// Whether nothing is taken from it for now.
    pub(crate) fn is_suspended(&self) -> bool {
        self.suspended.get()
    }

    /// The client has nothing to do until `waker` is woken.
    pub(crate) fn rests(&self, waker: &Waker) {
        let mut resting = self.resting.borrow_mut();
        match resting.as_mut() {
            Some(known) => known.clone_from(waker),
            None => *resting = Some(waker.clone()),
        }
    }

    /// Looks whether there is more input, or a reason to leave, or registers the task to be woken.
    pub(crate) fn poll_turn(&self, cx: &mut Context<'_>, io: &mut ClientIo, may_stop: bool) -> Poll<Turn> {
        if let Some(reason) = self.stop.get()
            && (may_stop || reason != StopReason::Draining)
        {
            return Poll::Ready(Turn::Stopped(reason));
        }
        if self.suspended.get() {
            *self.resting.borrow_mut() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        match io.poll_fill(cx) {
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Turn::Gone),
            Poll::Ready(Ok(_)) => Poll::Ready(Turn::Read),
            Poll::Pending => {
                self.rests(cx.waker());
                Poll::Pending
            }
        }
    }

    /// Waits for more input, for at most `bound`. Only a client that `may_stop` is sent away, or one that is cut off.
    pub(crate) async fn turn(&self, io: &mut ClientIo, bound: Option<Duration>, may_stop: bool) -> Turn {
        let turn = std::future::poll_fn(|cx| self.poll_turn(cx, io, may_stop));
        match bound {
            None => turn.await,
            // Boxed: few have a bound, and a timer is large.
            Some(bound) => Box::pin(tokio::time::timeout(bound, turn))
                .await
                .unwrap_or(Turn::TimedOut),
        }
    }
}

/// What is known of a client at its login.
#[derive(Debug)]
pub(crate) struct ClientLogin {
    pub(crate) key: CancelKey,
    pub(crate) user: Rc<str>,
    pub(crate) database: Rc<str>,
    pub(crate) origin: Origin,
    pub(crate) application_name: Box<str>,
    pub(crate) now: Mono,
    pub(crate) tls: bool,
    /// Given by [`Thread::register`].
    pub(crate) id: u64,
    /// Given by [`Thread::register`].
    pub(crate) suspended: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct PoolKey {
    endpoint: EndpointId,
    database: usize,
    user: Rc<str>,
}

/// A pool with what it connects to.
#[derive(Debug)]
pub(crate) struct ThreadPool {
    /// The pool.
    pub(crate) pool: Pool<ConnectionState>,
    /// Where it connects.
    pub(crate) target: Rc<BackendTarget>,
    /// The server.
    pub(crate) endpoint: EndpointId,
    /// The database, by its place.
    pub(crate) database: usize,
    /// As clients call it.
    pub(crate) database_name: Box<str>,
    /// Gone when nobody uses a database that isn't listed any more.
    pub(crate) context: Weak<DatabaseContext>,
    /// Its place among the pools of its thread.
    number: usize,
}

/// Bits of a server connection's number that say its thread, and those that say its pool.
const THREAD_BITS: u32 = 8;
const POOL_BITS: u32 = 16;

impl ThreadPool {
    /// The number of a server connection in this process, made from that in its pool.
    pub(crate) fn server_id(&self, thread: usize, id: u64) -> u64 {
        let small = |n: usize| u64::try_from(n).unwrap_or_default();
        (id << POOL_BITS | small(self.number)) << THREAD_BITS | small(thread)
    }
}

/// What clients of one kind are told at their login.
#[derive(Debug)]
struct KnownGreeting {
    database: usize,
    user: Rc<str>,
    startup: Settings,
    greeting: Greeting,
    made_at: Mono,
}

/// What the settings say of every request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// The longest request.
    pub(crate) max_packet_size: usize,
    /// How long a statement may run.
    pub(crate) query_timeout: Option<Duration>,
    /// How long a client in a transaction may do nothing.
    pub(crate) idle_transaction_timeout: Option<Duration>,
}

impl Rules {
    fn of(settings: &settings::Settings) -> Self {
        Self {
            max_packet_size: settings.limits.max_packet_size,
            query_timeout: settings.limits.query_timeout,
            idle_transaction_timeout: settings.limits.idle_transaction_timeout,
        }
    }
}

/// One data thread.
#[derive(Debug)]
pub(crate) struct Thread {
    /// What all threads share.
    pub(crate) shared: Arc<Shared>,
    /// Which thread this is.
    pub(crate) index: usize,
    /// This thread's counters.
    pub(crate) stats: Arc<ThreadStats>,
    /// The read buffer.
    pub(crate) scratch: Scratch,
    /// Buffers between uses.
    pub(crate) spare: Rc<SpareBuffers>,
    /// Plans by text.
    pub(crate) plans: RefCell<PlanCache>,
    /// Prepared statements by text.
    pub(crate) prepared: RefCell<GlobalStatements<PlanRef>>,
    /// Clients that are logged in, by the low half of their process id.
    pub(crate) clients: RefCell<Slab<Rc<ClientInfo>>>,
    /// Administrators that are logged in.
    pub(crate) admins: RefCell<Slab<Rc<ClientInfo>>>,
    /// Cache keys are written here.
    pub(crate) key_buffer: RefCell<Vec<u8>>,
    /// This thread's connection to the region's Redis.
    pub(crate) region: Option<store::SharedClient>,
    /// When pools are looked after next.
    pub(crate) maintenance: Maintenance,
    /// The place of the next pool.
    next_pool: Cell<usize>,
    rules: Cell<Rules>,
    pools: RefCell<HashMap<PoolKey, Rc<ThreadPool>, foldhash::fast::RandomState>>,
    settings_seen: RefCell<Vec<Settings>>,
    /// Of users and databases.
    names_seen: RefCell<HashSet<Rc<str>, foldhash::fast::RandomState>>,
    greetings: RefCell<Vec<KnownGreeting>>,
    next_shard: Cell<u16>,
    /// Clients have asked for `currval` or `lastval`, which are known only on the connection where a sequence was used.
    sequences_are_read: Cell<bool>,
    /// Names of settings that applications have made up.
    pub(crate) custom_names: RefCell<CustomNames>,
}

impl Thread {
    /// A thread without clients.
    pub(crate) fn new(shared: Arc<Shared>, index: usize, stats: Arc<ThreadStats>) -> Rc<Self> {
        let region = shared
            .cache
            .region
            .as_ref()
            .and_then(|region| match region.client() {
                Ok(client) => Some(client),
                Err(error) => {
                    tracing::error!(%error, "the region's store can't be used");
                    None
                }
            });
        let rules = Cell::new(Rules::of(&shared.settings.load()));
        Rc::new(Self {
            rules,
            shared,
            index,
            stats,
            scratch: Rc::new(RefCell::new(vec![0; SCRATCH_SIZE].into_boxed_slice())),
            spare: Rc::default(),
            plans: RefCell::default(),
            prepared: RefCell::new(GlobalStatements::new(MAX_STATEMENTS)),
            clients: RefCell::default(),
            admins: RefCell::default(),
            key_buffer: RefCell::default(),
            region,
            maintenance: Maintenance::new(),
            next_pool: Cell::new(0),
            pools: RefCell::default(),
            settings_seen: RefCell::default(),
            names_seen: RefCell::default(),
            greetings: RefCell::default(),
            next_shard: Cell::new(0),
            sequences_are_read: Cell::new(false),
            custom_names: RefCell::default(),
        })
    }

    /// The settings in force.
    pub(crate) fn settings(&self) -> arc_swap::Guard<Arc<settings::Settings>> {
        self.shared.settings.load()
    }

    /// How many clients may stay on connections of one pool, as far as this thread goes; `None`: as many as there are.
    pub(crate) fn max_pinned(&self) -> Option<usize> {
        let settings = self.settings();
        let bound = settings.pool.max_pinned_connections;
        (bound > 0).then(|| bound.div_ceil(settings.worker_threads))
    }

    /// A client is about to ask for `currval` or `lastval`: from here on clients get back, if they can, the connection on
    /// which they used a sequence last.
    pub(crate) fn note_sequence_read(&self) {
        self.sequences_are_read.set(true);
    }

    /// Whether clients prefer the connection on which they used a sequence last.
    pub(crate) fn sequences_are_read(&self) -> bool {
        self.sequences_are_read.get()
    }

    /// Lends the client a connection to the chosen server: the `preferred` one, by its number, if it is free.
    ///
    /// # Errors
    /// When none can be had in time; the server's own words where it refused the login.
    pub(crate) async fn checkout(
        &self,
        client: &ClientInfo,
        database: &Arc<DatabaseContext>,
        choice: &Choice,
        preferred: Option<u64>,
    ) -> Result<(Backend, Rc<BackendTarget>), Failure> {
        let pool = self.pool(&client.user, database, choice.endpoint)?;
        let free = preferred.and_then(|id| pool.pool.try_checkout_server(id));
        let lease = match free.or_else(|| pool.pool.try_checkout()) {
            Some(lease) => lease,
            None => {
                let asked = health::boot_time();
                let lent = match self.queue(&pool) {
                    Ok(mut waiting) => {
                        std::future::poll_fn(|cx| client.poll_queued(cx, |cx| waiting.poll(cx))).await
                    }
                    Err(error) => Ok(Err(error)),
                };
                self.stats
                    .database(database.index)
                    .wait(health::boot_time().since(asked));
                lent?.map_err(|error| self.refused(&error, choice.endpoint))?
            }
        };
        self.stats.database(database.index).assigned();
        let backend = Backend {
            lease,
            shard: choice.shard,
            endpoint: choice.endpoint,
            role: choice.role,
        };
        Ok((backend, Rc::clone(&pool.target)))
    }

    /// What the settings say of every request.
    pub(crate) fn rules(&self) -> Rules {
        self.rules.get()
    }

    /// The settings changed.
    pub(crate) fn reload(&self) {
        let settings = self.settings();
        self.rules.set(Rules::of(&settings));
        self.each_pool(|pool| {
            let limits = shared::pool_limits(&settings, &pool.database_name, &pool.target.user);
            pool.pool.set_limits(limits);
        });
        self.maintenance.hurry();
    }

    /// Joins the queue for a connection of a pool, and sees to it that there will be one.
    ///
    /// # Errors
    /// Those that are known at once.
    pub(crate) fn queue(&self, pool: &ThreadPool) -> Result<Waiting<ConnectionState>, pool::CheckoutError> {
        let waiting = pool.pool.queue()?;
        self.maintenance.hurry();
        self.feed(pool);
        Ok(waiting)
    }

    /// What the client is told when no connection can be had.
    pub(crate) fn refused(&self, error: &pool::CheckoutError, endpoint: EndpointId) -> Failure {
        if let pool::CheckoutError::Connect(connect) = error {
            tracing::warn!(%endpoint, error = %connect, "can't connect to a server");
            if let Some(server) = connect.server_error() {
                return Failure::Server(ServerError::softened(server.frame()));
            }
        }
        error.to_client().into()
    }

    /// The pool of connections to a server.
    pub(crate) fn pool(
        &self,
        user: &Rc<str>,
        database: &Arc<DatabaseContext>,
        endpoint: EndpointId,
    ) -> Result<Rc<ThreadPool>, ProxyError> {
        let key = PoolKey {
            endpoint,
            database: database.index,
            user: Rc::clone(user),
        };
        if let Some(pool) = self.pools.borrow().get(&key) {
            return Ok(Rc::clone(pool));
        }
        let settings = self.settings();
        let (target, _) = shared::target(&settings, user, &database.config.dbname, endpoint)
            .ok_or_else(ProxyError::internal)?;
        let target = Rc::new(target);
        let notes = Rc::new(PoolNotes::new(Arc::clone(&self.stats)));
        let (connect_to, shared) = (Rc::clone(&target), Arc::clone(&self.shared));
        let pool = Pool::new(PoolConfig {
            limits: shared::pool_limits(&settings, &database.config.name, user),
            connect: Rc::new(move || {
                let mut target = BackendTarget::clone(&connect_to);
                // Of each connection anew: clients may have brought a newer one.
                target.password = shared.secrets.for_server(&target.user);
                Box::pin(async move { pool::connect(&target, &health::boot_time).await })
            }),
            new_state: Rc::new(move |_| ConnectionState::new(Rc::clone(&notes))),
            clock: Rc::new(health::boot_time),
            quotas: self.shared.quotas.of(&settings, &database.config.name, user),
        });
        let made = Rc::new(ThreadPool {
            pool,
            target,
            endpoint,
            database: database.index,
            database_name: database.config.name.as_str().into(),
            context: Arc::downgrade(database),
            number: self.next_pool.replace(self.next_pool.get() + 1),
        });
        // PAUSE holds for pools that nobody had needed yet.
        made.pool.hold(self.is_held(database));
        self.pools.borrow_mut().insert(key, Rc::clone(&made));
        Ok(made)
    }

    /// Equal settings of different clients become one value, so that comparing them is comparing pointers.
    pub(crate) fn intern_settings(&self, settings: &Settings) -> Settings {
        let mut seen = self.settings_seen.borrow_mut();
        if let Some(known) = seen.iter().find(|known| *known == settings) {
            return known.clone();
        }
        if seen.len() >= MAX_SETTINGS {
            seen.clear();
        }
        seen.push(settings.clone());
        settings.clone()
    }

    /// Equal names of different clients become one value.
    pub(crate) fn intern_name(&self, name: &str) -> Rc<str> {
        let mut seen = self.names_seen.borrow_mut();
        if let Some(known) = seen.get(name) {
            return Rc::clone(known);
        }
        if seen.len() >= MAX_NAMES {
            seen.clear();
        }
        let name: Rc<str> = Rc::from(name);
        seen.insert(Rc::clone(&name));
        name
    }

    /// Shards in turn, for statements that any of `shards` can answer.
    pub(crate) fn next_shard(&self, shards: u16) -> u16 {
        let next = self.next_shard.get();
        self.next_shard.set(next.wrapping_add(1));
        next % shards.max(1)
    }

    /// A client has been authenticated: it gets its place and its cancel key.
    pub(crate) fn register(&self, mut login: ClientLogin) -> Rc<ClientInfo> {
        let mut clients = self.clients.borrow_mut();
        let entry = clients.vacant_entry();
        let place = u32::try_from(entry.key()).unwrap_or(u32::MAX) & MAX_PLACE;
        self.number(&mut login);
        let threads = self.shared.stats.len().max(1);
        // Never 0, which is no process.
        let turn = 1 + usize::try_from(login.id).unwrap_or(0) % (ABOVE_PLACE / threads - 1).max(1);
        login.key.pid = u32::try_from(turn * threads + self.index).unwrap_or(0) << PLACE_BITS | place;
        let info = Rc::new(ClientInfo::new(login));
        entry.insert(Rc::clone(&info));
        self.shared.clients.fetch_add(1, Ordering::Relaxed);
        if clients.len() == 1 {
            self.maintenance.hurry();
        }
        self.stats.set_clients(clients.len());
        info
    }

    fn number(&self, login: &mut ClientLogin) {
        login.id = self.shared.next_client.fetch_add(1, Ordering::Relaxed);
        login.suspended = self.shared.mode.get() == ProxyMode::Suspended;
    }

    /// An administrator has been authenticated. They have no cancel key: nothing runs on a server for them.
    pub(crate) fn register_admin(&self, mut login: ClientLogin) -> (usize, Rc<ClientInfo>) {
        self.number(&mut login);
        login.suspended = false;
        let info = Rc::new(ClientInfo::new(login));
        let place = self.admins.borrow_mut().insert(Rc::clone(&info));
        (place, info)
    }

    /// Which of so many threads serves the client with this key.
    pub(crate) fn index_of(key: &CancelKey, threads: usize) -> usize {
        usize::try_from(key.pid >> PLACE_BITS).unwrap_or(usize::MAX) % threads.max(1)
    }

    /// A client is gone.
    pub(crate) fn forget(&self, info: &ClientInfo) {
        let place = usize::try_from(info.key.pid & MAX_PLACE).unwrap_or(usize::MAX);
        let mut clients = self.clients.borrow_mut();
        if clients.contains(place) {
            clients.remove(place);
            self.shared.clients.fetch_sub(1, Ordering::Relaxed);
        }
        self.stats.set_clients(clients.len());
    }

    /// Passes a cancel request on to the servers that work for the client with this key, if it is one of this thread's; waits
    /// until they have taken it.
    pub(crate) async fn cancel(&self, key: &CancelKey) {
        let place = usize::try_from(key.pid & MAX_PLACE).unwrap_or(usize::MAX);
        let asked = match self.clients.borrow().get(place) {
            Some(info) if info.key == *key => info.cancel(),
            _ => return,
        };
        for cancels in asked {
            cancels.quiet().await;
        }
    }

    /// What clients of this kind are told, if one of them has logged in lately.
    pub(crate) fn known_greeting(
        &self,
        database: &DatabaseContext,
        user: &str,
        startup: &Settings,
    ) -> Option<Greeting> {
        let now = health::boot_time();
        let mut known = self.greetings.borrow_mut();
        known.retain(|k| now.since(k.made_at) < GREETING_LIFE);
        let found = known
            .iter()
            .find(|k| k.database == database.index && *k.user == *user && k.startup == *startup)?;
        Some(Rc::clone(&found.greeting))
    }

    /// Forgets what clients of a database are told.
    pub(crate) fn forget_greetings(&self, database: usize) {
        self.greetings
            .borrow_mut()
            .retain(|known| known.database != database);
    }

    /// Remembers what clients of this kind are told.
    pub(crate) fn remember_greeting(
        &self,
        database: &DatabaseContext,
        user: &Rc<str>,
        startup: &Settings,
        greeting: &Greeting,
    ) {
        let mut known = self.greetings.borrow_mut();
        if known.len() >= MAX_GREETINGS {
            known.clear();
        }
        known.push(KnownGreeting {
            database: database.index,
            user: Rc::clone(user),
            startup: startup.clone(),
            greeting: Rc::clone(greeting),
            made_at: health::boot_time(),
        });
    }

    /// Looks after the pools; those of databases that are gone are closed.
    pub(crate) fn maintain_pools(&self) {
        self.pools.borrow_mut().retain(|_, pool| {
            let kept = pool.context.strong_count() > 0;
            if kept {
                pool.pool.maintain();
            } else {
                pool.pool.drain();
            }
            kept
        });
    }

    /// Every pool of this thread.
    pub(crate) fn each_pool(&self, mut visit: impl FnMut(&ThreadPool)) {
        self.pools.borrow().values().for_each(|pool| visit(pool));
    }

    /// A client's connection to a server broke.
    pub(crate) fn note_lost(&self, backend: &Backend, error: &RelayError) {
        if !matches!(error, RelayError::ClientLost) {
            tracing::warn!(endpoint = %backend.endpoint, shard = %backend.shard, %error, "server connection lost");
        }
    }
}
