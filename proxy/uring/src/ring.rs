//! A thread's ring.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::task::Waker;

use rustix::event::{EventfdFlags, eventfd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::kernel::Kernel;
use crate::table::Table;

/// What sockets are told when the kernel refuses to work and gives no number.
const EIO: i32 = 5;

thread_local! {
    static CURRENT: RefCell<Option<Ring>> = const { RefCell::new(None) };
}

/// A thread's ring.
#[derive(Clone)]
pub struct Ring(Rc<Inner>);

struct Inner {
    table: RefCell<Table>,
    /// Reused.
    woken: Cell<Vec<Waker>>,
    /// Written to by the kernel when there is something to do.
    signal: Rc<OwnedFd>,
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
        let signal = Rc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let kernel = Kernel::new(signal.as_fd())?;
        Ok(Self(Rc::new(Inner {
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
    pub async fn signalled(&self) -> io::Result<()> {
        let signal = AsyncFd::with_interest(Rc::clone(&self.0.signal), Interest::READABLE)?;
        loop {
            // It is never read: each signal is an event of its own.
            signal.readable().await?.clear_ready();
        }
    }

    /// Gives up sending what sockets that nobody holds could not send since the last call.
    pub fn tend(&self) {
        let mut table = self.table().borrow_mut();
        let abandoned = table.abandoned();
        let before = self.0.lingering.replace(abandoned);
        let now = self.0.lingering.borrow();
        for at in before.into_iter().filter(|at| now.contains(at)) {
            table.give_up(at);
        }
    }
}

/// Makes a turn of the thread's ring, if it has one. To be called before the thread parks.
pub fn turn() {
    let ring = CURRENT.with(|current| current.borrow().clone());
    if let Some(ring) = ring {
        ring.turn();
    }
}
