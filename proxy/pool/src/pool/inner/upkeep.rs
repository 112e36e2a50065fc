//! What is done with a pool as a whole: looking after it, counting, closing, changing its settings.

use std::rc::Rc;

use topology::Mono;

use super::{Inner, Phase};
use crate::decide::{self, Attempts, Limits};
use crate::error::CheckoutError;
use crate::pool::lease::Server;
use crate::pool::{Connector, Needs, PoolStats, ServerInfo};
use crate::quota::Permit;
use crate::stream::IdleCheck;

impl<S: 'static> Inner<S> {
    pub(crate) fn stats(&self) -> PoolStats {
        let load = self.load();
        PoolStats {
            max_size: self.limits.borrow().max_size,
            idle: load.idle,
            active: load.active,
            connecting: load.connecting,
            testing: load.testing,
            stale: self.count_stale(),
            waiting: load.waiting,
            max_wait: load.longest_wait,
            checkouts_total: self.totals.checkouts.get(),
            waits_total: self.totals.waits.get(),
            wait_time_total: self.totals.wait_time.get(),
            timeouts_total: self.totals.timeouts.get(),
            opened_total: self.totals.opened.get(),
            closed_total: self.totals.closed.get(),
            connect_failures_total: self.totals.connect_failures.get(),
        }
    }

    fn count_stale(&self) -> usize {
        let now = self.now();
        let idle = self.idle.borrow();
        idle.iter().filter(|server| self.is_stale(server, now)).count()
    }

    pub(crate) fn for_each_server(&self, mut visit: impl FnMut(&ServerInfo)) {
        let infos: Vec<ServerInfo> = self.all.borrow().iter().map(|meta| meta.info()).collect();
        infos.iter().for_each(&mut visit);
    }

    pub(crate) fn maintain(self: &Rc<Self>) {
        let now = self.now();
        self.refuse_late(now);
        self.close_idle_where(|pool, server| {
            let info = server.info();
            let expired = decide::expires(
                info.opened_at,
                info.used_at,
                pool.load(),
                &pool.limits.borrow(),
                now,
            );
            expired || server.conn.stream.check_idle() == IdleCheck::Disturbed
        });
        if !self.idle.borrow().is_empty() && Permit::is_wanted(&self.quotas) {
            self.yield_one();
        }
        self.open_wanted();
    }

    pub(crate) fn needs(&self) -> Needs {
        let load = self.load();
        let missing = load.total() < self.limits.borrow().min_size;
        let busy = load.waiting > 0 || load.connecting > 0 || load.testing > 0;
        // A pool on another thread may want what rests here, or will.
        let shares = load.total() > 0 && self.quotas.iter().any(|quota| quota.is_bounded());
        let lends = self.phase.get() == Phase::Open;
        if lends && (busy || missing || shares) {
            Needs::Attention
        } else if load.total() > 0 || load.waiting > 0 {
            Needs::Rest
        } else {
            Needs::Nothing
        }
    }

    /// Nobody has a timer of his own: that would cost every checkout that waits a little.
    fn refuse_late(&self, now: Mono) {
        let timeout = self.limits.borrow().wait_timeout;
        let moment = timeout.and_then(|timeout| now.0.checked_sub(u64::try_from(timeout.as_nanos()).ok()?));
        if let Some(moment) = moment {
            let refused = self
                .waiters
                .refuse_older(Mono(moment), &CheckoutError::WaitTimeout);
            let total = &self.totals.timeouts;
            total.set(total.get() + refused);
        }
    }

    pub(crate) fn close_where(self: &Rc<Self>, condemn: impl Fn(&ServerInfo) -> bool) {
        for meta in &*self.all.borrow() {
            if condemn(&meta.info()) {
                meta.condemn();
            }
        }
        self.close_idle_where(|_, server| server.info().condemned);
        self.open_wanted();
    }

    pub(crate) fn close_idle(self: &Rc<Self>) {
        self.close_idle_where(|_, _| true);
    }

    /// Closes the idle connections for which `condemn` says so, the one that has rested longest first.
    fn close_idle_where(self: &Rc<Self>, condemn: impl Fn(&Self, &mut Server<S>) -> bool) {
        let resting = std::mem::take(&mut *self.idle.borrow_mut());
        let mut kept: Vec<Box<Server<S>>> = Vec::with_capacity(resting.len());
        let mut resting = std::collections::VecDeque::from(resting);
        while let Some(mut server) = resting.pop_front() {
            if condemn(self, &mut server) {
                server.say_goodbye();
                self.forget(server.meta());
            } else {
                kept.push(server);
            }
        }
        *self.idle.borrow_mut() = kept;
    }

    pub(crate) fn reconnect(self: &Rc<Self>) {
        self.generation.set(self.generation.get() + 1);
        // The failures belong to what is being replaced.
        self.attempts.set(Attempts::Fine);
        self.close_where(|_| true);
    }

    pub(crate) fn set_limits(self: &Rc<Self>, limits: Limits) {
        self.limits.replace(limits);
        self.maintain();
    }

    pub(crate) fn set_connector(&self, connect: Connector) {
        self.connect.replace(connect);
    }

    pub(crate) fn yield_one(&self) -> bool {
        let mut idle = self.idle.borrow_mut();
        if idle.is_empty() {
            return false;
        }
        let mut server = idle.remove(0);
        drop(idle);
        server.say_goodbye();
        self.forget(server.meta());
        true
    }

    pub(crate) fn drain(self: &Rc<Self>) {
        self.phase.set(Phase::Draining);
        self.waiters.refuse_all(&CheckoutError::Draining);
        self.close_where(|_| true);
    }
}
