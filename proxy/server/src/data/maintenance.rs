//! When a data thread looks after its pools and clients: often while somebody waits or is bound, seldom while all rest.

use crate::data::thread::Thread;
use std::cell::Cell;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How often while somebody waits for a connection, or has a limit of time.
const BUSY: Duration = Duration::from_secs(1);
/// While connections only rest: one that the server has closed, or that is too old, may be noticed so late.
const RESTING: Duration = Duration::from_secs(10);
/// While there are none: what is left is to forget databases that nobody uses.
const EMPTY: Duration = Duration::from_secs(60);
/// A limit of idle connections is kept to so exactly.
const PART_OF_LIMIT: u32 = 8;

/// The moment of the next look.
#[derive(Debug)]
pub(crate) struct Maintenance {
    next: Cell<Instant>,
    brought_forward: Notify,
}

impl Maintenance {
    /// The first look comes soon.
    pub(crate) fn new() -> Self {
        Self {
            next: Cell::new(Instant::now() + BUSY),
            brought_forward: Notify::new(),
        }
    }

    /// Waits for it. May be given up and called again.
    pub(crate) async fn due(&self) {
        while tokio::time::timeout_at(self.next.get(), self.brought_forward.notified())
            .await
            .is_ok()
        {}
    }

    /// Something has come up that can't wait for longer than usual.
    pub(crate) fn hurry(&self) {
        self.within(BUSY);
    }

    fn within(&self, pause: Duration) {
        let at = Instant::now() + pause;
        if self.next.get() > at {
            self.next.set(at);
            self.brought_forward.notify_one();
        }
    }

    /// It was done.
    pub(crate) fn done(&self, pause: Duration) {
        self.next.set(Instant::now() + pause);
    }
}

impl Thread {
    /// Looks after pools and clients, and decides when to do so again.
    pub(crate) fn maintain(&self) {
        self.maintain_pools();
        self.end_late_clients();
        self.maintenance.done(self.pause());
    }

    /// For how long nothing can come up that is not announced by [`Maintenance::hurry`].
    fn pause(&self) -> Duration {
        let settings = self.settings();
        let (limits, own) = (&settings.limits, &settings.pool);
        let watched = limits.client_idle_timeout.is_some() || limits.transaction_timeout.is_some();
        if watched && !self.clients.borrow().is_empty() {
            return BUSY;
        }
        let (mut open, mut busy) = (false, false);
        self.each_pool(|pool| {
            let needs = pool.pool.needs();
            open |= needs != pool::Needs::Nothing;
            busy |= needs == pool::Needs::Attention;
        });
        match (busy, open) {
            (true, _) => BUSY,
            (false, false) => EMPTY,
            (false, true) => [own.server_idle_timeout, own.server_lifetime]
                .into_iter()
                .flatten()
                .fold(RESTING, |pause, limit| pause.min(limit / PART_OF_LIMIT))
                .max(BUSY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{EMPTY, Maintenance};
    use std::time::Duration;
    use tokio::time::{Instant, timeout};

    const SOON: Duration = Duration::from_millis(60);

    #[tokio::test]
    async fn a_look_is_brought_forward_and_never_put_off() {
        let maintenance = Maintenance::new();
        let began = Instant::now();
        maintenance.done(EMPTY);
        let asked = async {
            // By now it is waited for; giving up and later calls change nothing.
            assert!(timeout(SOON / 4, maintenance.due()).await.is_err());
            maintenance.within(SOON);
            assert!(timeout(SOON / 4, maintenance.due()).await.is_err());
            maintenance.within(EMPTY);
            maintenance.due().await;
        };
        timeout(EMPTY, asked).await.expect("it comes soon");
        assert!(began.elapsed() >= SOON, "{:?}", began.elapsed());
    }
}
