//! A socket on a ring.

use std::fmt;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::task::{Context, Poll, ready};

use crate::kernel;
use crate::ring::Ring;

/// A connected stream socket on a ring.
pub struct Socket {
    ring: Ring,
    at: usize,
    fd: RawFd,
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
        let at = ring.table().borrow_mut().insert(socket)?;
        Ok(Self {
            ring: ring.clone(),
            at,
            fd,
        })
    }

    /// Reads what has come. `Ok(0)` is the end of the stream, given a `buf` that isn't empty.
    ///
    /// # Errors
    /// `WouldBlock` if nothing has, and those of the socket.
    pub fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.ring.table().borrow_mut().read(self.at, buf)
    }

    /// Reads, or registers the task to be woken.
    pub fn poll_read(&mut self, cx: &Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut table = self.ring.table().borrow_mut();
        match table.read(self.at, buf) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // Nothing comes between the two.
                ready!(table.poll_readable(self.at, cx))?;
                Poll::Pending
            }
            read => Poll::Ready(read),
        }
    }

    /// Waits until a read gives something.
    pub fn poll_read_ready(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.ring.table().borrow_mut().poll_readable(self.at, cx)
    }

    /// Takes as much as there is room for. It is sent at the end of the thread's turn.
    ///
    /// # Errors
    /// `WouldBlock` if there is no room, and those of what was sent before.
    pub fn try_write(&mut self, data: &[u8]) -> io::Result<usize> {
        if data.is_empty() {
            return Ok(0);
        }
        self.ring.table().borrow_mut().write(self.at, data)
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
        self.ring.table().borrow_mut().poll_writable(self.at, cx)
    }

    /// Waits until all that was written has been taken by the kernel.
    pub fn poll_sent(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.ring.table().borrow_mut().poll_sent(self.at, cx)
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
        self.ring.table().borrow_mut().abandon(self.at);
    }
}
