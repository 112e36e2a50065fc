//! A thread's ring.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};

use crate::kernel::{self, Kernel};
use crate::table::Table;

/// How long a socket that nobody holds may be silent about what it still has to send, at least; twice that at the most.
const LINGER: Duration = Duration::from_secs(10);
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
    /// Reused.
    woken: Cell<Vec<Waker>>,
    /// Written to by the kernel when there is something to do.
    signal: OwnedFd,
    /// Sockets that nobody held at the last look, and that still sent.
    lingering: RefCell<Vec<usize>>,
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
            woken: Cell::default(),
            signal,
            lingering: RefCell::default(),
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

    /// Hands over what was written, takes what has come, and wakes who waits for it.
    pub fn turn(&self) {
        let mut woken = self.0.woken.take();
        let mut table = self.table().borrow_mut();
        while woken.is_empty() && table.kernel.is_pending() {
            let done = table.kernel.enter().and_then(|()| table.complete(&mut woken));
            if let Err(error) = done {
                table.fail(error.raw_os_error().unwrap_or(EIO), &mut woken);
                break;
            }
        }
        drop(table);
        // Whoever is woken may use the ring at once.
        woken.drain(..).for_each(Waker::wake);
        self.0.woken.set(woken);
    }

    /// Never ends: wakes the thread whenever the ring has something to do. The turn itself is made before the thread parks.
    ///
    /// # Errors
    /// Outside a runtime.
    pub async fn watch(&self) -> io::Result<()> {
        let signal = kernel::watch(self.0.signal.try_clone()?)?;
        loop {
            if !self.table().borrow().is_closing() {
                // It is never read: each signal is an event of its own.
                signal.readable().await?.clear_ready();
                continue;
            }
            match tokio::time::timeout(LINGER, signal.readable()).await {
                Ok(ready) => ready?.clear_ready(),
                Err(_) => self.tend(),
            }
        }
    }

    /// Waits until no socket is left, also of those that nobody holds. The caller bounds the time.
    pub async fn emptied(&self) {
        while self.sockets() > 0 {
            tokio::time::sleep(EMPTIED_POLL).await;
        }
    }

    /// Gives up sending what sockets that nobody holds could not send since the last call.
    pub(crate) fn tend(&self) {
        let mut table = self.table().borrow_mut();
        let abandoned: Vec<usize> = table.abandoned().collect();
        let before = self.0.lingering.replace(abandoned);
        let now = self.0.lingering.borrow();
        for at in before.into_iter().filter(|at| now.contains(at)) {
            table.give_up(at);
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
