//! The queue of those that wait for a connection: first in, first out.

use std::cell::RefCell;
use std::collections::VecDeque;

use tokio::sync::oneshot;
use topology::Mono;

use crate::error::CheckoutError;
use crate::pool::lease::Lease;

/// What a waiting checkout gets.
pub(crate) type Answer<S> = Result<Grant<S>, CheckoutError>;

/// A lease on its way to a waiting checkout. If nobody takes it out, the connection, which is clean, goes back instead of being closed.
pub(crate) struct Grant<S: 'static>(Option<Lease<S>>);

impl<S> Grant<S> {
    pub(crate) fn new(lease: Lease<S>) -> Self {
        Grant(Some(lease))
    }

    pub(crate) fn take(mut self) -> Option<Lease<S>> {
        self.0.take()
    }
}

impl<S> Drop for Grant<S> {
    fn drop(&mut self) {
        if let Some(lease) = self.0.take() {
            lease.release();
        }
    }
}

struct Waiter<S: 'static> {
    id: u64,
    since: Mono,
    answer: oneshot::Sender<Answer<S>>,
}

/// The queue. Its length is bounded by `decide::admit`.
pub(crate) struct Waiters<S: 'static> {
    queue: RefCell<VecDeque<Waiter<S>>>,
    next_id: std::cell::Cell<u64>,
}

impl<S> Waiters<S> {
    pub(crate) fn new() -> Self {
        Waiters {
            queue: RefCell::new(VecDeque::new()),
            next_id: std::cell::Cell::new(0),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.borrow().len()
    }

    /// When the first one in the queue came.
    pub(crate) fn oldest(&self) -> Option<Mono> {
        self.queue.borrow().front().map(|waiter| waiter.since)
    }

    /// Joins the queue. The place is left with [`Waiters::leave`] by the id that is returned.
    pub(crate) fn join(&self, now: Mono) -> (u64, oneshot::Receiver<Answer<S>>) {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        let (answer, receiver) = oneshot::channel();
        self.queue.borrow_mut().push_back(Waiter {
            id,
            since: now,
            answer,
        });
        (id, receiver)
    }

    /// Leaves the queue, if still in it.
    pub(crate) fn leave(&self, id: u64) {
        let mut queue = self.queue.borrow_mut();
        // Ids rise along the queue.
        if let Ok(index) = queue.binary_search_by_key(&id, |waiter| waiter.id) {
            queue.remove(index);
        }
    }

    /// Gives `lease` to the first in the queue that still waits; hands it back when nobody does.
    pub(crate) fn hand_over(&self, lease: Lease<S>) -> Option<Lease<S>> {
        let mut grant = Grant::new(lease);
        loop {
            let first = self.queue.borrow_mut().pop_front();
            let Some(waiter) = first else { return grant.take() };
            match waiter.answer.send(Ok(grant)) {
                Ok(()) => return None,
                Err(Ok(unclaimed)) => grant = unclaimed,
                Err(Err(_)) => return None,
            }
        }
    }

    /// Tells everybody in the queue that there is nothing to wait for.
    pub(crate) fn refuse_all(&self, error: &CheckoutError) {
        let all = std::mem::take(&mut *self.queue.borrow_mut());
        for waiter in all {
            // Whoever has given up meanwhile needs no answer.
            let _ = waiter.answer.send(Err(error.clone()));
        }
    }
}
