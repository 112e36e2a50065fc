//! The queue of those that wait for a connection: first in, first out.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use topology::Mono;

use crate::error::CheckoutError;
use crate::pool::inner::Inner;
use crate::pool::lease::Lease;

/// What a waiting checkout gets.
type Answer<S> = Result<Lease<S>, CheckoutError>;

/// A place in the queue: what the queue and whoever waits have in common.
struct Place<S: 'static> {
    id: u64,
    since: Mono,
    answer: Cell<Option<Answer<S>>>,
    waker: RefCell<Option<Waker>>,
}

impl<S> Place<S> {
    fn answer(&self, answer: Answer<S>) {
        self.answer.set(Some(answer));
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// The queue. Its length is bounded by `decide::admit`; whoever gives up leaves it at once.
pub(crate) struct Waiters<S: 'static> {
    queue: RefCell<VecDeque<Rc<Place<S>>>>,
    next_id: Cell<u64>,
}

impl<S> Waiters<S> {
    pub(crate) fn new() -> Self {
        Waiters {
            queue: RefCell::new(VecDeque::new()),
            next_id: Cell::new(0),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.borrow().len()
    }

    /// When the first one in the queue came.
    pub(crate) fn oldest(&self) -> Option<Mono> {
        self.queue.borrow().front().map(|place| place.since)
    }

    fn join(&self, now: Mono) -> Rc<Place<S>> {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        let place = Rc::new(Place {
            id,
            since: now,
            answer: Cell::new(None),
            waker: RefCell::new(None),
        });
        self.queue.borrow_mut().push_back(Rc::clone(&place));
        place
    }

    fn leave(&self, id: u64) {
        let mut queue = self.queue.borrow_mut();
        // Ids rise along the queue.
        if let Ok(index) = queue.binary_search_by_key(&id, |place| place.id) {
            queue.remove(index);
        }
    }

    /// Gives `lease` to the first in the queue; hands it back when nobody waits.
    pub(crate) fn hand_over(&self, lease: Lease<S>) -> Option<Lease<S>> {
        let first = self.queue.borrow_mut().pop_front();
        match first {
            Some(place) => {
                place.answer(Ok(lease));
                None
            }
            None => Some(lease),
        }
    }

    /// Tells everybody in the queue that there is nothing to wait for.
    pub(crate) fn refuse_all(&self, error: &CheckoutError) {
        let all = std::mem::take(&mut *self.queue.borrow_mut());
        for place in all {
            place.answer(Err(error.clone()));
        }
    }

    /// Refuses those that came before `moment`; gives how many there were.
    pub(crate) fn refuse_older(&self, moment: Mono, error: &CheckoutError) -> u64 {
        let mut refused = 0;
        while self.oldest().is_some_and(|since| since <= moment) {
            let first = self.queue.borrow_mut().pop_front();
            if let Some(place) = first {
                place.answer(Err(error.clone()));
                refused += 1;
            }
        }
        refused
    }
}

/// A checkout that waits in a pool's queue. Dropping it gives it up; a connection that is on its way to it goes back.
pub struct Waiting<S: 'static> {
    pool: Rc<Inner<S>>,
    place: Rc<Place<S>>,
}

impl<S> Waiting<S> {
    pub(crate) fn join(pool: &Rc<Inner<S>>, now: Mono) -> Self {
        Waiting {
            place: pool.waiters().join(now),
            pool: Rc::clone(pool),
        }
    }

    /// The connection, or why there is none. `wait_timeout` is looked at by [`Pool::maintain`](crate::Pool::maintain).
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Lease<S>, CheckoutError>> {
        if let Some(answer) = self.place.answer.take() {
            if answer.is_ok() {
                self.pool.note_served();
            }
            return Poll::Ready(answer);
        }
        let mut waker = self.place.waker.borrow_mut();
        match waker.as_mut() {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Since when it waits.
    pub fn since(&self) -> Mono {
        self.place.since
    }
}

impl<S> Drop for Waiting<S> {
    fn drop(&mut self) {
        self.pool.waiters().leave(self.place.id);
        self.pool.note_waited(self.place.since);
        if let Some(Ok(unclaimed)) = self.place.answer.take() {
            unclaimed.release();
        }
    }
}

impl<S> fmt::Debug for Waiting<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting")
            .field("since", &self.place.since)
            .finish_non_exhaustive()
    }
}
