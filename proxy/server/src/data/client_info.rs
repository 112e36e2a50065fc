//! A client as the rest of its thread sees it: who it is, what it does, and the ways to reach it.

use crate::admin::ClientState;
use crate::data::backend::Backend;
use crate::data::cancels::Cancels;
use crate::data::io::ClientIo;
use pool::BackendTarget;
use session::state::Pins;
use smallvec::SmallVec;
use std::cell::{Cell, OnceCell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::task::AbortHandle;
use topology::Mono;
use wire::{CancelKey, ProxyError};

/// How long a client that is dropped at rest may take to hear of it.
const KILL_BOUND: Duration = Duration::from_secs(1);

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
        if let Some(key) = backend.cancel_key() {
            self.backends.borrow_mut().push(HeldBackend {
                target: Rc::clone(target),
                key: key.clone(),
                cancels: Rc::clone(backend.cancels()),
            });
        }
    }

    /// What a connection of the client's leads to.
    pub(crate) fn target_of(&self, backend: &Backend) -> Option<Rc<BackendTarget>> {
        let key = backend.cancel_key()?;
        let backends = self.backends.borrow();
        let held = backends.iter().find(|held| held.key == *key)?;
        Some(Rc::clone(&held.target))
    }

    /// The client doesn't use it any more.
    pub(crate) fn remove_backend(&self, backend: &Backend) {
        let cancels = backend.cancels();
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
    /// Given by [`super::thread::Thread::register`].
    pub(crate) id: u64,
    /// Given by [`super::thread::Thread::register`].
    pub(crate) suspended: bool,
}
