//! Cancel requests under way to the server that a connection leads to.
//!
//! A server heeds a request whenever it arrives, whatever its backend does by then. So nobody else gets the connection before
//! the server has taken every request for the one who had it; and nobody at all where that can't be known.

use pool::BackendTarget;
use std::cell::Cell;
use std::rc::Rc;
use tokio::sync::Notify;
use wire::CancelKey;

/// The requests to one server connection.
#[derive(Debug, Default)]
pub(crate) struct Cancels {
    under_way: Cell<u32>,
    /// Nobody knows what became of a request: it may arrive at any time.
    astray: Cell<bool>,
    arrived: Notify,
}

/// A request under way. Unless it is known to have arrived, it has gone astray when this is dropped.
struct UnderWay {
    cancels: Rc<Cancels>,
    arrived: bool,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let cancels = &self.cancels;
        cancels.under_way.set(cancels.under_way.get().saturating_sub(1));
        if !self.arrived {
            cancels.astray.set(true);
        }
        cancels.arrived.notify_waiters();
    }
}

impl Cancels {
    /// Sends a request in a task of its own.
    pub(crate) fn send(self: &Rc<Self>, target: Rc<BackendTarget>, key: CancelKey) {
        self.under_way.set(self.under_way.get() + 1);
        let under_way = UnderWay {
            cancels: Rc::clone(self),
            arrived: false,
        };
        tokio::task::spawn_local(async move {
            let mut under_way = under_way;
            match pool::cancel(&target, &key).await {
                Ok(()) => under_way.arrived = true,
                Err(error) => tracing::warn!(%error, "a cancel request did not reach its server"),
            }
        });
    }

    /// Whether the connection may go to somebody else at once.
    pub(crate) fn is_quiet(&self) -> bool {
        self.under_way.get() == 0 && !self.astray.get()
    }

    /// Waits until no request is under way, which [`pool::CANCEL_TIMEOUT`] bounds. Whether the connection may go to somebody else.
    pub(crate) async fn quiet(&self) -> bool {
        while self.under_way.get() > 0 {
            self.arrived.notified().await;
        }
        self.is_quiet()
    }
}
