//! A socket on a ring.

use std::fmt;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::kernel;
use crate::ring::{Ring, with_table};
use crate::table::{Front, Table};

/// A connected stream socket on the ring of the thread that made it. On another thread it can't be used and is never closed.
pub struct Socket {
    /// The ring's number.
    ring: u64,
    at: usize,
    fd: RawFd,
    front: Arc<Front>,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Socket").field(&self.fd).finish()
    }
}

impl Socket {
    /// Takes a socket in, which must be in blocking mode: the kernel waits in the ring, not in a call.
    ///
    /// # Errors
    /// Those of the ring.
    pub fn new(ring: &Ring, socket: OwnedFd) -> io::Result<Self> {
        let fd = socket.as_raw_fd();
        let front = Arc::<Front>::default();
        let at = ring.table().borrow_mut().insert(socket, Arc::clone(&front))?;
        Ok(Self {
            ring: ring.number(),
            at,
            fd,
            front,
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Table) -> io::Result<T>) -> io::Result<T> {
        with_table(self.ring, work).unwrap_or_else(|| Err(ErrorKind::NotConnected.into()))
    }

    fn poll_with(&self, work: impl FnOnce(&mut Table) -> Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        with_table(self.ring, work).unwrap_or_else(|| Poll::Ready(Err(ErrorKind::NotConnected.into())))
    }

    /// Reads what has come. `Ok(0)` is the end of the stream, given a `buf` that isn't empty.
    ///
    /// # Errors
    /// `WouldBlock` if nothing has, and those of the socket.
    #[inline]
    pub fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if !self.front.is_readable() && !buf.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.with(|table| table.read(self.at, buf))
    }

    /// Reads, or registers the task to be woken.
    #[inline]
    pub fn poll_read(&mut self, cx: &Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if !self.front.is_readable() && self.front.is_awaited_by(cx.waker()) {
            return Poll::Pending;
        }
        let read = with_table(self.ring, |table| match table.read(self.at, buf) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                ready!(table.poll_readable(self.at, cx))?;
                Poll::Pending
            }
            read => Poll::Ready(read),
        });
        read.unwrap_or_else(|| Poll::Ready(Err(ErrorKind::NotConnected.into())))
    }

    /// Waits until a read gives something.
    pub fn poll_read_ready(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.poll_with(|table| table.poll_readable(self.at, cx))
    }

    /// Takes as much as there is room for. It is sent at the end of the thread's turn.
    ///
    /// # Errors
    /// `WouldBlock` if there is no room, and those of what was sent before.
    pub fn try_write(&mut self, data: &[u8]) -> io::Result<usize> {
        if data.is_empty() {
            return Ok(0);
        }
        self.with(|table| table.write(self.at, data))
    }

    /// Writes, or registers the task to be woken.
    pub fn poll_write(&mut self, cx: &Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.try_write(data) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                ready!(self.poll_write_ready(cx))?;
                Poll::Pending
            }
            written => Poll::Ready(written),
        }
    }

    /// Waits until there is room for a write.
    pub fn poll_write_ready(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.poll_with(|table| table.poll_writable(self.at, cx))
    }

    /// Waits until all that was written has been taken by the kernel.
    pub fn poll_sent(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.poll_with(|table| table.poll_sent(self.at, cx))
    }

    /// Ends the sending side after what was written.
    pub fn poll_shutdown(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_sent(cx))?;
        let ended = rustix::net::shutdown(self.as_fd(), rustix::net::Shutdown::Write);
        Poll::Ready(ended.map_err(Into::into))
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        kernel::borrow(self)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // On another thread, or once its own has ended, there is nobody to tell.
        let _ = with_table(self.ring, |table| table.abandon(self.at));
    }
}
