//! The memory that is shared with the kernel: the two queues and the buffers that it reads into. All of the crate's unsafe code.
//!
//! Soundness rests on three rules, kept here and in `table`:
//! - what a send in flight points to ([`Flying`]) is a heap allocation that nobody can touch and that is given up by its completion only;
//! - a buffer of the kernel's is read between the completion that names it and its return;
//! - the kernel's buffers are never freed.

#![expect(unsafe_code, reason = "the kernel reads and writes this memory by address")]

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering, fence};

use bytes::BytesMut;
use io_uring::squeue::Entry as Submission;
use io_uring::types::{BufRingEntry, Fd, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Submissions that are queued before they are handed over at the latest.
const SUBMISSIONS: u32 = 1024;
/// Completions that wait without being put aside by the kernel.
const COMPLETIONS: u32 = 8192;
/// The buffers that sockets are read into. They are emptied at every turn.
pub(crate) const BUFFERS: u16 = 256;
/// The length of each.
pub(crate) const BUFFER_LEN: usize = 8 << 10;
/// The only group of buffers.
const GROUP: u16 = 0;
/// The memory of buffers and their ring begins at a page.
const PAGE: usize = 4096;
/// `MSG_NOSIGNAL | MSG_WAITALL`: no SIGPIPE, and a send ends when all was taken.
const SEND_FLAGS: i32 = 0x4000 | 0x100;

/// How long a thread that waits in the ring may leave tokio's timers alone.
static TICK: Timespec = Timespec::new().nsec(2_000_000);
/// The slot of operations that belong to no socket.
const NO_SLOT: usize = 0;

/// What an operation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Receive,
    Send,
    Cancel,
    /// A moment has passed.
    Tick,
    /// Tokio's epoll has something.
    Epoll,
}

impl Kind {
    /// All, by their numbers.
    const ALL: [Self; 5] = [Self::Receive, Self::Send, Self::Cancel, Self::Tick, Self::Epoll];
    /// How many bits a number has.
    const BITS: u32 = 3;
}

/// What the kernel says of an operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Completion {
    pub(crate) slot: usize,
    pub(crate) kind: Kind,
    /// A number of bytes, or the negative of an error's number.
    pub(crate) result: i32,
    /// The buffer that was filled.
    pub(crate) buffer: Option<u16>,
    /// Whether the operation goes on.
    pub(crate) more: bool,
}

fn user_data(slot: usize, kind: Kind) -> u64 {
    (slot as u64) << Kind::BITS | kind as u64
}

impl From<cqueue::Entry> for Completion {
    fn from(entry: cqueue::Entry) -> Self {
        let data = entry.user_data();
        let kind = usize::try_from(data & ((1 << Kind::BITS) - 1)).unwrap_or(usize::MAX);
        Self {
            slot: usize::try_from(data >> Kind::BITS).unwrap_or(usize::MAX),
            kind: Kind::ALL.get(kind).copied().unwrap_or(Kind::Cancel),
            result: entry.result(),
            buffer: cqueue::buffer_select(entry.flags()),
            more: cqueue::more(entry.flags()),
        }
    }
}

/// What a send in flight points to. Nobody can change it; dropped before it has landed, it is leaked.
#[derive(Debug)]
pub(crate) struct Flying(ManuallyDrop<BytesMut>);

impl Flying {
    /// The buffer again, as the kernel says by this completion that it has done with it.
    pub(crate) fn land(self, completion: &Completion) -> BytesMut {
        debug_assert_eq!(completion.kind, Kind::Send);
        ManuallyDrop::into_inner(self.0)
    }
}

/// Memory that begins at a page and is zero at first. It is never freed: when a ring closes, the kernel may still write to it, and a
/// ring lives as long as its thread.
struct Pages {
    start: NonNull<u8>,
}

impl Pages {
    fn new(len: usize) -> io::Result<Self> {
        let layout = Layout::from_size_align(len, PAGE).map_err(io::Error::other)?;
        // SAFETY: the layout's size isn't zero: both callers ask for constants above it.
        let start = unsafe { alloc_zeroed(layout) };
        let start = NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout));
        Ok(Self { start })
    }
}

/// A ring with its buffers.
pub(crate) struct Kernel {
    ring: IoUring,
    entries: Pages,
    buffers: Pages,
    /// Buffers handed to the kernel so far, wrapping.
    tail: u16,
    /// What was pushed and not handed over.
    pushed: u32,
}

impl Kernel {
    /// A ring that only this thread uses. `signal` is written to when something completes.
    pub(crate) fn new(signal: BorrowedFd<'_>) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        let entries = Pages::new(usize::from(BUFFERS) * size_of::<BufRingEntry>())?;
        let buffers = Pages::new(usize::from(BUFFERS) * BUFFER_LEN)?;
        // SAFETY: `entries` holds as many entries, begins at a page, and is freed after the ring only.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(
                entries.start.as_ptr() as u64,
                BUFFERS,
                GROUP,
                0,
            )?;
        }
        ring.submitter().register_eventfd(signal.as_raw_fd())?;
        let mut kernel = Self {
            ring,
            entries,
            buffers,
            tail: 0,
            pushed: 0,
        };
        for id in 0..BUFFERS {
            kernel.give(id);
        }
        kernel.publish();
        Ok(kernel)
    }

    /// Whether the kernel has work for this thread, or this thread for the kernel.
    pub(crate) fn is_pending(&mut self) -> bool {
        let queue = self.ring.submission();
        self.pushed > 0 || queue.taskrun() || queue.cq_overflow()
    }

    /// Hands over what was pushed and has the kernel complete what it can, and waits for as many completions as are wanted.
    pub(crate) fn enter(&mut self, wanted: u32) -> io::Result<()> {
        // SAFETY: no argument is given.
        let entered = unsafe {
            let submitter = self.ring.submitter();
            submitter.enter::<()>(self.pushed, wanted, EnterFlags::GETEVENTS.bits(), None)
        };
        match entered {
            Ok(taken) => {
                self.pushed = self
                    .pushed
                    .saturating_sub(u32::try_from(taken).unwrap_or(u32::MAX));
                Ok(())
            }
            // Asked again at the next turn.
            Err(error) if matches!(error.raw_os_error(), Some(EINTR | EAGAIN | EBUSY)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// All that the kernel has said since the last call.
    pub(crate) fn completions(&mut self, into: &mut Vec<Completion>) {
        into.extend(self.ring.completion().map(Completion::from));
    }

    /// Receives into the kernel's buffers until it is cancelled or ends.
    pub(crate) fn receive(&mut self, slot: usize, fd: RawFd) -> io::Result<()> {
        let entry = opcode::RecvMulti::new(Fd(fd), GROUP).build();
        // SAFETY: the buffers live as long as the ring.
        unsafe { self.push(&entry.user_data(user_data(slot, Kind::Receive))) }
    }

    /// Sends all of `data`.
    pub(crate) fn send(&mut self, slot: usize, fd: RawFd, data: BytesMut) -> io::Result<Flying> {
        let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let entry = opcode::Send::new(Fd(fd), data.as_ptr(), len)
            .flags(SEND_FLAGS)
            .build();
        // SAFETY: the bytes are on the heap, and `Flying` keeps them as they are until the completion.
        unsafe { self.push(&entry.user_data(user_data(slot, Kind::Send)))? }
        Ok(Flying(ManuallyDrop::new(data)))
    }

    /// Ends an operation early; it completes all the same.
    pub(crate) fn cancel(&mut self, slot: usize, kind: Kind) -> io::Result<()> {
        let entry = opcode::AsyncCancel::new(user_data(slot, kind)).build();
        // SAFETY: it refers to no memory.
        unsafe { self.push(&entry.user_data(user_data(slot, Kind::Cancel))) }
    }

    /// Says so once a moment has passed.
    pub(crate) fn tick(&mut self) -> io::Result<()> {
        let entry = opcode::Timeout::new(&raw const TICK).build();
        // SAFETY: it refers to a static.
        unsafe { self.push(&entry.user_data(user_data(NO_SLOT, Kind::Tick))) }
    }

    /// Says so once an epoll instance has something.
    pub(crate) fn poll(&mut self, epoll: RawFd) -> io::Result<()> {
        let entry = opcode::PollAdd::new(Fd(epoll), POLLIN).build();
        // SAFETY: it refers to no memory.
        unsafe { self.push(&entry.user_data(user_data(NO_SLOT, Kind::Epoll))) }
    }

    /// Ends `poll` early; it completes all the same.
    pub(crate) fn cancel_poll(&mut self) -> io::Result<()> {
        self.cancel(NO_SLOT, Kind::Epoll)
    }

    /// Whether completions are told by the eventfd.
    pub(crate) fn set_signalled(&mut self, signalled: bool) {
        let queue = self.ring.completion();
        if signalled {
            queue.enable_eventfd();
            // The kernel writes what `is_pending` reads before it reads this flag: one of both sees the other's.
            fence(Ordering::SeqCst);
        } else {
            queue.disable_eventfd();
        }
    }

    unsafe fn push(&mut self, entry: &Submission) -> io::Result<()> {
        for _ in 0..2 {
            // SAFETY: the caller's promise.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                self.pushed += 1;
                return Ok(());
            }
            self.enter(0)?;
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    /// What was read into a buffer.
    pub(crate) fn bytes(&self, id: u16, len: usize) -> &[u8] {
        let at = usize::from(id % BUFFERS) * BUFFER_LEN;
        // SAFETY: buffer `id` lies within `buffers`; the completion that named it made it ours until `give`.
        unsafe { std::slice::from_raw_parts(self.buffers.start.as_ptr().add(at), len.min(BUFFER_LEN)) }
    }

    /// Puts a buffer back. The kernel sees it after `publish`.
    pub(crate) fn give(&mut self, id: u16) {
        let at = usize::from(self.tail % BUFFERS);
        // SAFETY: both places lie within their memory. The kernel doesn't read entries beyond the tail it knows, and of the first
        // entry, in which the tail is, these three fields are ours.
        unsafe {
            let buffer = self.buffers.start.as_ptr().add(usize::from(id) * BUFFER_LEN);
            let entry = &mut *self.entries.start.as_ptr().cast::<BufRingEntry>().add(at);
            entry.set_addr(buffer as u64);
            entry.set_len(u32::try_from(BUFFER_LEN).unwrap_or(u32::MAX));
            entry.set_bid(id);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    /// Shows the kernel the buffers that were put back.
    pub(crate) fn publish(&mut self) {
        // SAFETY: the tail is in the first entry, aligned, and written by nobody else.
        unsafe {
            let tail = BufRingEntry::tail(self.entries.start.as_ptr().cast::<BufRingEntry>());
            AtomicU16::from_ptr(tail.cast_mut()).store(self.tail, Ordering::Release);
        }
    }
}

/// `POLLIN`.
const POLLIN: u32 = 1;
const EINTR: i32 = 4;
const EAGAIN: i32 = 11;
const EBUSY: i32 = 16;

/// The descriptor of a socket that its holder keeps open.
pub(crate) fn borrow(holder: &crate::Socket) -> BorrowedFd<'_> {
    // SAFETY: the slot's descriptor is closed after the holder is dropped only.
    unsafe { BorrowedFd::borrow_raw(holder.as_raw_fd()) }
}

/// Has the runtime watch a descriptor.
pub(crate) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned by what is returned, and closed with it.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.map_err(Into::into)
}
