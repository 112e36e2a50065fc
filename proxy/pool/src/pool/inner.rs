//! The workings of a pool: its tables, and what its decisions do to them.

mod opening;
mod upkeep;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use topology::Mono;

use crate::connection::BackendConnection;
use crate::decide::{self, Admission, Attempts, Check, Fate, Limits, Load, Returned};
use crate::errand;
use crate::error::{CheckoutError, ConnectError};
use crate::pool::lease::{Lease, Meta, Server};
use crate::pool::waiters::{Waiters, Waiting};
use crate::pool::{Connector, PoolConfig};
use crate::quota::{Permit, Quota};
use crate::stream::IdleCheck;

/// Figures that only grow.
#[derive(Default)]
struct Totals {
    checkouts: Cell<u64>,
    waits: Cell<u64>,
    wait_time: Cell<Duration>,
    timeouts: Cell<u64>,
    opened: Cell<u64>,
    closed: Cell<u64>,
    connect_failures: Cell<u64>,
}

fn count(total: &Cell<u64>) {
    total.set(total.get() + 1);
}

/// Whether checkouts are served.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// Checkouts wait, and connections are closed as they come to rest.
    Held,
    Draining,
}

pub(crate) struct Inner<S: 'static> {
    limits: RefCell<Limits>,
    connect: RefCell<Connector>,
    new_state: Rc<dyn Fn(&BackendConnection) -> S>,
    clock: Rc<dyn Fn() -> Mono>,
    /// At rest, the one returned last at the end.
    idle: RefCell<Vec<Box<Server<S>>>>,
    /// Every open connection, wherever it is. Bounded by `max_size`.
    all: RefCell<Vec<Rc<Meta>>>,
    waiters: Waiters<S>,
    connecting: Cell<usize>,
    testing: Cell<usize>,
    quotas: Arc<[Arc<Quota>]>,
    /// A bound that is shared with other pools kept a connection from being opened.
    starved: Cell<bool>,
    attempts: Cell<Attempts>,
    last_failure: RefCell<Option<Rc<ConnectError>>>,
    /// A connection that was begun in an older generation isn't used.
    generation: Cell<u64>,
    next_id: Cell<u64>,
    phase: Cell<Phase>,
    retry_scheduled: Cell<bool>,
    totals: Totals,
}

impl<S: 'static> Inner<S> {
    pub(crate) fn new(config: PoolConfig<S>) -> Rc<Self> {
        Rc::new(Inner {
            limits: RefCell::new(config.limits),
            connect: RefCell::new(config.connect),
            new_state: config.new_state,
            clock: config.clock,
            idle: RefCell::new(Vec::new()),
            all: RefCell::new(Vec::new()),
            waiters: Waiters::new(),
            connecting: Cell::new(0),
            testing: Cell::new(0),
            quotas: config.quotas,
            starved: Cell::new(false),
            attempts: Cell::new(Attempts::Fine),
            last_failure: RefCell::new(None),
            generation: Cell::new(0),
            next_id: Cell::new(1),
            phase: Cell::new(Phase::Open),
            retry_scheduled: Cell::new(false),
            totals: Totals::default(),
        })
    }

    pub(crate) fn now(&self) -> Mono {
        (self.clock)()
    }

    pub(crate) fn waiters(&self) -> &Waiters<S> {
        &self.waiters
    }

    pub(crate) fn load(&self) -> Load {
        self.load_at(self.now())
    }

    fn load_at(&self, now: Mono) -> Load {
        let idle = self.idle.borrow().len();
        let oldest = self.waiters.oldest();
        Load {
            idle,
            active: self.all.borrow().len().saturating_sub(idle + self.testing.get()),
            connecting: self.connecting.get(),
            testing: self.testing.get(),
            waiting: self.waiters.len(),
            longest_wait: oldest.map_or(Duration::ZERO, |since| now.since(since)),
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.phase.get() == Phase::Draining
    }

    /// Whether an idle connection may be lent to whoever comes.
    pub(crate) fn lends(&self) -> bool {
        self.waiters.len() == 0 && self.phase.get() != Phase::Held
    }

    /// Stops or resumes lending.
    pub(crate) fn hold(self: &Rc<Self>, held: bool) {
        match (self.phase.get(), held) {
            (Phase::Open, true) => {
                self.phase.set(Phase::Held);
                self.close_idle();
            }
            (Phase::Held, false) => {
                self.phase.set(Phase::Open);
                self.open_wanted();
            }
            (Phase::Open, false) | (Phase::Held, true) | (Phase::Draining, _) => {}
        }
    }

    /// Lends the idle connection that was returned last and that the server hasn't closed meanwhile.
    pub(crate) fn lend_idle(self: &Rc<Self>, now: Mono) -> Option<Lease<S>> {
        loop {
            let mut server = self.idle.borrow_mut().pop()?;
            if server.conn.stream.check_idle() != IdleCheck::Quiet {
                self.forget(server.meta());
            } else if self.is_stale(&server, now) {
                // The others have rested longer; whoever asks waits for this one.
                self.idle.borrow_mut().push(server);
                return None;
            } else {
                return Some(self.lend(server, now));
            }
        }
    }

    fn is_stale(&self, server: &Server<S>, now: Mono) -> bool {
        let limits = self.limits.borrow();
        let check = limits.check.as_ref();
        check.is_some_and(|check| check.is_due(server.meta().used_at(), now))
    }

    /// Tries resting connections, one for each checkout that waits.
    fn rouse(self: &Rc<Self>) {
        while self.phase.get() == Phase::Open && self.waiters.len() > self.testing.get() {
            let Some(mut server) = self.idle.borrow_mut().pop() else {
                return;
            };
            if server.conn.stream.check_idle() != IdleCheck::Quiet {
                self.forget(server.meta());
                continue;
            }
            let Some(check) = self.limits.borrow().check.clone() else {
                return self.take_back(server, self.now());
            };
            server.meta().is_tried();
            let testing = Testing::begin(self);
            tokio::task::spawn_local(try_one(testing, server, check));
        }
    }

    /// Lends the connection with this id, if it is idle and the server hasn't closed it meanwhile.
    pub(crate) fn lend_server(self: &Rc<Self>, id: u64, now: Mono) -> Option<Lease<S>> {
        let mut idle = self.idle.borrow_mut();
        let index = idle.iter().position(|server| server.info().id == id)?;
        let mut server = idle.remove(index);
        drop(idle);
        if server.conn.stream.check_idle() == IdleCheck::Quiet {
            return Some(self.lend(server, now));
        }
        self.forget(server.meta());
        None
    }

    fn lend(self: &Rc<Self>, server: Box<Server<S>>, now: Mono) -> Lease<S> {
        server.meta().lent(now);
        count(&self.totals.checkouts);
        Lease::new(server, Rc::clone(self))
    }

    pub(crate) fn admit(&self, now: Mono) -> Admission {
        decide::admit(self.load_at(now), &self.limits.borrow(), self.attempts.get(), now)
    }

    pub(crate) fn last_failure(&self) -> CheckoutError {
        match &*self.last_failure.borrow() {
            Some(error) => CheckoutError::Connect(Rc::clone(error)),
            None => CheckoutError::QueueFull,
        }
    }

    /// Joins the queue.
    pub(crate) fn wait(self: &Rc<Self>, now: Mono) -> Waiting<S> {
        let waiting = Waiting::join(self, now);
        self.rouse();
        self.open_wanted_at(now);
        waiting
    }

    /// Somebody who waited got a connection.
    pub(crate) fn note_served(&self) {
        count(&self.totals.waits);
    }

    /// Somebody has waited since then and doesn't any more.
    pub(crate) fn note_waited(&self, since: Mono) {
        let total = &self.totals.wait_time;
        total.set(total.get() + self.now().since(since));
    }

    /// Takes back a clean connection: to whoever has waited longest, to the idle ones, or closed.
    pub(crate) fn take_back(self: &Rc<Self>, mut server: Box<Server<S>>, now: Mono) {
        let returned = Returned {
            opened_at: server.conn.opened_at,
            condemned: server.meta().is_condemned() || self.phase.get() != Phase::Open,
        };
        let fate = decide::on_return(returned, self.load_at(now), &self.limits.borrow(), now);
        match fate {
            Fate::Close => {
                server.say_goodbye();
                self.forget(server.meta());
                drop(server);
                self.open_wanted();
            }
            Fate::HandOver => {
                let lease = self.lend(server, now);
                if let Some(unclaimed) = self.waiters.hand_over(lease) {
                    unclaimed.release();
                }
            }
            Fate::Rest if Permit::is_wanted(&self.quotas) => {
                server.say_goodbye();
                self.forget(server.meta());
            }
            Fate::Rest => {
                server.meta().rests(now);
                self.idle.borrow_mut().push(server);
            }
        }
    }

    /// A lent connection was closed instead of returned.
    pub(crate) fn note_lost(self: &Rc<Self>, meta: &Rc<Meta>) {
        self.forget(meta);
        self.open_wanted();
    }

    fn forget(&self, meta: &Rc<Meta>) {
        let mut all = self.all.borrow_mut();
        if let Some(index) = all.iter().position(|other| Rc::ptr_eq(other, meta)) {
            all.swap_remove(index);
            count(&self.totals.closed);
        }
    }
}

async fn try_one<S: 'static>(testing: Testing<S>, mut server: Box<Server<S>>, check: Check) {
    let sound = errand::run(&mut server.conn, &check.sql, check.timeout).await;
    let pool = Rc::clone(&testing.pool);
    drop(testing);
    if sound {
        pool.take_back(server, pool.now());
    } else {
        tracing::debug!(
            pid = server.conn.pid(),
            "a connection that had rested did not answer"
        );
        let meta = Rc::clone(server.meta());
        drop(server);
        pool.note_lost(&meta);
        // Those that it was for have the others, or one that is opened.
        pool.rouse();
    }
}

/// Counts a connection as being tried for as long as it lives.
struct Testing<S: 'static> {
    pool: Rc<Inner<S>>,
}

impl<S> Testing<S> {
    fn begin(pool: &Rc<Inner<S>>) -> Self {
        pool.testing.set(pool.testing.get() + 1);
        Testing {
            pool: Rc::clone(pool),
        }
    }
}

impl<S> Drop for Testing<S> {
    fn drop(&mut self) {
        self.pool.testing.set(self.pool.testing.get() - 1);
    }
}
