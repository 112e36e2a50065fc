//! A thread's ring.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use tokio::time::Instant;

use crate::kernel::{self, Kernel};
use crate::rest::{Rest, epoll_of};
use crate::table::Table;

/// How often it is looked whether the last socket is gone.
const EMPTIED_POLL: Duration = Duration::from_millis(2);
/// What sockets are told when the kernel refuses to work and gives no number.
const EIO: i32 = 5;

thread_local! {
    static CURRENT: RefCell<Option<Ring>> = const { RefCell::new(None) };
}

/// A thread's ring.
#[derive(Clone)]
pub struct Ring(Rc<Inner>);

/// Rings there have been, so that each has a number of its own.
static RINGS: AtomicU64 = AtomicU64::new(0);

struct Inner {
    number: u64,
    table: RefCell<Table>,
    rest: RefCell<Rest>,
    /// Who makes tokio look after its timers and its epoll.
    watcher: RefCell<Watcher>,
    /// Reused.
    woken: Cell<Vec<Waker>>,
    /// Written to by the kernel when there is something to do.
    signal: OwnedFd,
}

/// Who makes tokio look after its timers and its epoll.
#[derive(Default)]
struct Watcher {
    /// Whether it has to.
    is_due: bool,
    waker: Option<Waker>,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").finish_non_exhaustive()
    }
}

impl Ring {
    /// A ring for this thread.
    ///
    /// # Errors
    /// The kernel or the container doesn't allow it, or it is too old.
    pub fn new() -> io::Result<Self> {
        let signal = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let kernel = Kernel::new(signal.as_fd())?;
        Ok(Self(Rc::new(Inner {
            number: RINGS.fetch_add(1, Ordering::Relaxed),
            table: RefCell::new(Table::new(kernel)),
            rest: RefCell::new(Rest::new()),
            watcher: RefCell::default(),
            woken: Cell::default(),
            signal,
        })))
    }

    /// Makes it the thread's own.
    pub fn install(&self) {
        CURRENT.with(|current| current.replace(Some(self.clone())));
    }

    /// The thread's own.
    pub fn current() -> Option<Self> {
        CURRENT.with(|current| current.borrow().clone())
    }

    /// Sockets on it, those included that are being closed.
    pub fn sockets(&self) -> usize {
        self.table().borrow().len()
    }

    pub(crate) fn number(&self) -> u64 {
        self.0.number
    }

    pub(crate) fn table(&self) -> &RefCell<Table> {
        &self.0.table
    }

    /// Hands over what was written, takes what has come, waits for it if the thread waits here, and wakes who waits for it.
    pub fn turn(&self) {
        let mut woken = self.0.woken.take();
        let mut table = self.table().borrow_mut();
        let mut rest = self.0.rest.borrow_mut();
        while woken.is_empty() {
            let wanted = match (table.kernel.is_pending(), rest.is_in_ring()) {
                (true, _) => 0,
                (false, true) => 1,
                (false, false) => break,
            };
            let done = table
                .kernel
                .enter(wanted)
                .and_then(|()| table.complete(&mut woken))
                .and_then(|()| rest.hear(table.news(), &mut table.kernel));
            match done {
                Ok(false) => {}
                Ok(true) => {
                    let mut watcher = self.0.watcher.borrow_mut();
                    watcher.is_due = true;
                    woken.extend(watcher.waker.take());
                }
                Err(error) => {
                    rest.forbid(&mut table.kernel);
                    table.fail(error.raw_os_error().unwrap_or(EIO), &mut woken);
                    break;
                }
            }
        }
        drop((table, rest));
        // Whoever is woken may use the ring at once.
        woken.drain(..).for_each(Waker::wake);
        self.0.woken.set(woken);
    }

    /// Never ends: wakes the thread whenever the ring has something to do, and lets tokio look after its own while the thread waits
    /// in the ring. The turn itself is made before the thread parks.
    ///
    /// Sockets that nobody holds are given up that could not send all for `linger`, or for twice as long at the most.
    ///
    /// # Errors
    /// Outside a runtime.
    pub async fn watch(&self, linger: Duration) -> io::Result<()> {
        let signal = kernel::watch(self.0.signal.try_clone()?)?;
        // Where /proc isn't to be seen, the thread waits in tokio's epoll.
        if let Ok(Some(epoll)) = epoll_of(signal.get_ref().as_fd()) {
            self.0.rest.borrow_mut().allow(epoll);
        }
        let mut looked = Instant::now();
        loop {
            let closing = self.table().borrow().is_closing();
            if closing && looked.elapsed() >= linger {
                self.table().borrow_mut().tend();
                looked = Instant::now();
            }
            tokio::select! {
                // It is never read: each signal is an event of its own.
                ready = signal.readable() => ready?.clear_ready(),
                // Tokio looks after its own before it goes on.
                () = poll_fn(|cx| self.poll_due(cx)) => tokio::task::yield_now().await,
                () = tokio::time::sleep_until(looked + linger), if closing => {}
            }
        }
    }

    /// Whether the thread waits here.
    #[cfg(test)]
    pub(crate) fn waits(&self) -> bool {
        self.0.rest.borrow().is_in_ring()
    }

    /// Whether it will, once there is something to do.
    #[cfg(test)]
    pub(crate) fn is_allowed_to_wait(&self) -> bool {
        self.0.rest.borrow().is_allowed()
    }

    fn poll_due(&self, cx: &Context<'_>) -> Poll<()> {
        let mut watcher = self.0.watcher.borrow_mut();
        if std::mem::take(&mut watcher.is_due) {
            return Poll::Ready(());
        }
        watcher.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Waits until no socket is left, also of those that nobody holds. The caller bounds the time.
    pub async fn emptied(&self) {
        while self.sockets() > 0 {
            tokio::time::sleep(EMPTIED_POLL).await;
        }
    }
}

/// Uses the sockets of the thread's ring, if it is the one of this number.
pub(crate) fn with_table<T>(number: u64, work: impl FnOnce(&mut Table) -> T) -> Option<T> {
    let used = CURRENT.try_with(|current| {
        let current = current.borrow();
        let ring = current.as_ref().filter(|ring| ring.0.number == number)?;
        Some(work(&mut ring.0.table.borrow_mut()))
    });
    // A thread that ends has none.
    used.unwrap_or(None)
}

/// Makes a turn of the thread's ring, if it has one. To be called before the thread parks.
pub fn turn() {
    let ring = CURRENT.with(|current| current.borrow().clone());
    if let Some(ring) = ring {
        ring.turn();
    }
}
