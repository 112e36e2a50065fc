//! A client's socket with what has been read from it and what is still to be sent.

use crate::data::thread::{Backend, Scratch};
use bytes::{Buf, BytesMut};
use pool::Stream;
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// What a client may have sent ahead while it waits for an answer; beyond it, it is not read.
pub(crate) const MAX_READ_AHEAD: usize = 64 << 10;
/// Buffers kept for reuse by a data thread.
const MAX_SPARE_BUFFERS: usize = 256;
/// A buffer that grew beyond this is given back to the allocator instead of being kept.
const MAX_SPARE_CAPACITY: usize = 64 << 10;

/// Buffers that idle clients have given back, so that an idle client holds none.
#[derive(Debug, Default)]
pub(crate) struct SpareBuffers(RefCell<Vec<BytesMut>>);

impl SpareBuffers {
    /// How many there are, and how many bytes they have.
    pub(crate) fn held(&self) -> (usize, usize) {
        let spare = self.0.borrow();
        (spare.len(), spare.iter().map(BytesMut::capacity).sum())
    }

    fn take(&self) -> BytesMut {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    fn give(&self, mut buffer: BytesMut) {
        let mut spare = self.0.borrow_mut();
        if spare.len() < MAX_SPARE_BUFFERS && (1..=MAX_SPARE_CAPACITY).contains(&buffer.capacity()) {
            buffer.clear();
            spare.push(buffer);
        }
    }
}

/// What ended a wait.
#[derive(Debug)]
pub(crate) enum Wake {
    /// So many bytes of the server's are in the scratch buffer.
    Backend(io::Result<usize>),
    /// The client closed its connection.
    ClientGone,
}

/// A client's socket and its two buffers.
#[derive(Debug)]
pub(crate) struct ClientIo {
    socket: Stream,
    scratch: Scratch,
    spare: Rc<SpareBuffers>,
    /// Bytes from the client that have not been dealt with.
    pub(crate) input: BytesMut,
    /// Bytes for the client that have not been sent.
    pub(crate) out: BytesMut,
}

impl ClientIo {
    /// A client that has sent `input` already.
    pub(crate) fn new(socket: Stream, scratch: Scratch, spare: Rc<SpareBuffers>, input: BytesMut) -> Self {
        Self {
            socket,
            scratch,
            spare,
            input,
            out: BytesMut::new(),
        }
    }

    /// Where the client connected to; `None` for a unix socket.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        self.socket.local_addr()
    }

    /// The number of its socket.
    pub(crate) fn fd(&self) -> Option<i32> {
        Some(self.socket.as_raw_fd())
    }

    /// The data thread's read buffer. It may be borrowed only between two awaits.
    pub(crate) fn scratch(&self) -> Scratch {
        Rc::clone(&self.scratch)
    }

    /// Gives the buffers back while the client has nothing to say.
    pub(crate) fn rest(&mut self) {
        if self.input.is_empty() && self.input.capacity() > 0 {
            self.spare.give(std::mem::take(&mut self.input));
        }
        if self.out.is_empty() && self.out.capacity() > 0 {
            self.spare.give(std::mem::take(&mut self.out));
        }
    }

    /// Reads what is there into `buffer`, or registers the task to be woken.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.socket.poll_read(cx, buffer)
    }

    /// Puts bytes that were read beside the input at its end.
    pub(crate) fn keep(&mut self, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        if self.input.capacity() == 0 {
            self.input = self.spare.take();
        }
        self.prepare_out();
        self.input.extend_from_slice(data);
    }

    /// Gets a buffer for what is to be sent.
    pub(crate) fn prepare_out(&mut self) {
        if self.out.capacity() == 0 {
            self.out = self.spare.take();
        }
    }

    /// The front of the input has been dealt with.
    pub(crate) fn consume(&mut self, len: usize) {
        self.input.advance(len.min(self.input.len()));
    }

    /// Sends as much of `data` as fits without waiting, if nothing is queued; the rest is queued.
    pub(crate) fn send_now(&mut self, data: &[u8]) {
        let mut sent = 0;
        if self.out.is_empty() && !self.socket.is_tls() {
            // An error comes again when the rest is sent.
            sent = self.socket.try_write(data).unwrap_or(0);
        }
        if sent < data.len() {
            self.prepare_out();
            self.out.extend_from_slice(data.get(sent..).unwrap_or_default());
        }
    }

    /// Reads what the client sends ahead, up to a bound. Ready when it is gone.
    pub(crate) fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.input.len() < MAX_READ_AHEAD {
            match ready!(self.poll_fill(cx)) {
                Ok(n) if n > 0 => {}
                _ => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    /// Reads more of what the client sends. `Ok(false)`: it closed its side.
    pub(crate) async fn read_more(&mut self) -> io::Result<bool> {
        std::future::poll_fn(|cx| self.poll_fill(cx)).await.map(|n| n > 0)
    }

    /// Reads what is there, or registers the task to be woken.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut scratch = self.scratch.borrow_mut();
        let n = ready!(self.socket.poll_read(cx, &mut scratch))?;
        let data = scratch.get(..n).unwrap_or_default();
        if self.input.capacity() == 0 {
            self.input = self.spare.take();
        }
        if self.out.capacity() == 0 {
            self.out = self.spare.take();
        }
        self.input.extend_from_slice(data);
        Poll::Ready(Ok(data.len()))
    }

    /// Sends what the client takes.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let n = ready!(self.socket.poll_write(cx, &self.out))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.advance(n);
        }
        self.socket.poll_flush(cx)
    }

    /// Sends all that is in `out`.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_send(cx)).await
    }

    /// Waits until the server has something, meanwhile sends what the client can take (once `may_send` allows it) and
    /// notices when the client goes away.
    ///
    /// With more than `high_water` bytes unsent the server is not read.
    pub(crate) async fn wait_for(
        &mut self,
        backend: &mut Backend,
        may_send: bool,
        high_water: usize,
    ) -> Wake {
        let scratch = self.scratch();
        std::future::poll_fn(|cx| {
            if let Poll::Ready(Err(error)) = backend.poll_send(cx) {
                // What the server said before it closed is worth more than the failed write.
                if error.kind() != io::ErrorKind::BrokenPipe {
                    return Poll::Ready(Wake::Backend(Err(error)));
                }
            }
            if self.out.len() < high_water {
                let mut scratch = scratch.borrow_mut();
                if let Poll::Ready(result) = backend.poll_read(cx, &mut scratch) {
                    return Poll::Ready(Wake::Backend(result));
                }
            }
            if may_send && !self.out.is_empty() {
                let was_full = self.out.len() >= high_water;
                if let Poll::Ready(Err(_)) = self.poll_send(cx) {
                    return Poll::Ready(Wake::ClientGone);
                }
                if was_full && self.out.len() < high_water {
                    // The server may be read again: have this polled once more.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
            self.poll_ahead(cx).map(|()| Wake::ClientGone)
        })
        .await
    }
}
