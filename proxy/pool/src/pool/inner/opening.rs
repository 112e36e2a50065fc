//! Opening connections: as many as the load calls for, within the bounds, and again where that failed.

use std::rc::Rc;
use std::time::Duration;

use topology::Mono;

use super::{Inner, Phase, count};
use crate::connection::BackendConnection;
use crate::decide::{self, Attempts};
use crate::error::{CheckoutError, ConnectError};
use crate::pool::lease::{Meta, Server};
use crate::quota::{Need, Permit};

/// How long a pool waits for what other pools may close.
const STARVED_PAUSE: Duration = Duration::from_millis(10);

impl<S: 'static> Inner<S> {
    /// Opens as many connections as the load calls for.
    pub(super) fn open_wanted(self: &Rc<Self>) {
        self.open_wanted_at(self.now());
    }

    pub(super) fn open_wanted_at(self: &Rc<Self>, now: Mono) {
        self.starved.set(false);
        while self.phase.get() == Phase::Open
            && decide::wants_connection(self.load_at(now), &self.limits.borrow(), self.attempts.get(), now)
        {
            let need = if self.waiters.len() > 0 {
                Need::Waits
            } else {
                Need::WarmsUp
            };
            let Some(permit) = Permit::take(&self.quotas, need) else {
                self.starved.set(need == Need::Waits);
                break;
            };
            let connecting = Connecting::begin(self);
            tokio::task::spawn_local(open_one(connecting, permit));
        }
        self.schedule_retry();
    }

    pub(crate) fn is_starved(&self) -> bool {
        self.starved.get()
    }

    pub(crate) fn open_missing(self: &Rc<Self>) {
        self.open_wanted();
    }

    fn opened(self: &Rc<Self>, conn: BackendConnection, generation: u64, permit: Permit) {
        self.attempts.set(Attempts::Fine);
        self.last_failure.replace(None);
        if generation != self.generation.get() || self.phase.get() != Phase::Open {
            drop(conn);
            return self.open_wanted();
        }
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        count(&self.totals.opened);
        let meta = Rc::new(Meta::new(id, &conn, permit));
        self.all.borrow_mut().push(Rc::clone(&meta));
        let state = (self.new_state)(&conn);
        let now = self.now();
        self.take_back(Box::new(Server::new(conn, state, meta)), now);
        self.open_wanted();
    }

    fn failed(self: &Rc<Self>, error: ConnectError) {
        count(&self.totals.connect_failures);
        tracing::debug!(%error, "could not connect to a server");
        self.attempts.set(
            self.attempts
                .get()
                .after_failure(&self.limits.borrow(), self.now()),
        );
        let error = Rc::new(error);
        self.last_failure.replace(Some(Rc::clone(&error)));
        if decide::refuses_waiting(self.load()) {
            self.waiters.refuse_all(&CheckoutError::Connect(error));
        }
        self.schedule_retry();
    }

    /// While somebody waits for lent connections and connecting fails, or a shared bound is reached, tries again after a pause.
    pub(super) fn schedule_retry(self: &Rc<Self>) {
        let now = self.now();
        let pause = match self.attempts.get() {
            Attempts::Failing { retry_at, .. } if now < retry_at => retry_at.since(now),
            _ if self.starved.get() => STARVED_PAUSE,
            // Once the pause is over, the next checkout, loss or `maintain` makes the attempt.
            Attempts::Failing { .. } | Attempts::Fine => return,
        };
        let pointless = self.waiters.len() == 0 || self.connecting.get() > 0;
        if pointless || self.retry_scheduled.get() || self.phase.get() != Phase::Open {
            return;
        }
        self.retry_scheduled.set(true);
        let pool = Rc::downgrade(self);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(pause).await;
            if let Some(pool) = pool.upgrade() {
                pool.retry_scheduled.set(false);
                pool.open_wanted();
            }
        });
    }
}

async fn open_one<S: 'static>(connecting: Connecting<S>, permit: Permit) {
    let pool = Rc::clone(&connecting.pool);
    let generation = pool.generation.get();
    let opening = (pool.connect.borrow())();
    let result = opening.await;
    drop(connecting);
    match result {
        Ok(conn) => pool.opened(conn, generation, permit),
        Err(error) => {
            drop(permit);
            pool.failed(error);
        }
    }
}

/// Counts a connection as being opened for as long as it lives.
struct Connecting<S: 'static> {
    pool: Rc<Inner<S>>,
}

impl<S> Connecting<S> {
    fn begin(pool: &Rc<Inner<S>>) -> Self {
        pool.connecting.set(pool.connecting.get() + 1);
        Connecting {
            pool: Rc::clone(pool),
        }
    }
}

impl<S> Drop for Connecting<S> {
    fn drop(&mut self) {
        self.pool.connecting.set(self.pool.connecting.get() - 1);
    }
}
