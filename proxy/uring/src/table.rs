//! What is known of each socket, and what its completions do to it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BytesMut};

use crate::kernel::{Completion, Flying, Kernel, Kind};

/// Beyond so much unread input a socket is not received from.
pub(crate) const MAX_INPUT: usize = 128 << 10;
/// So much may wait behind a send in flight.
pub(crate) const MAX_QUEUED: usize = 64 << 10;
/// A buffer that grew beyond this is not kept for others.
const MAX_SPARE_CAPACITY: usize = 64 << 10;
/// The most that is kept in buffers for others, in bytes.
const MAX_SPARE: usize = 1 << 20;
/// The kernel has no buffer left: not an error of the socket.
const ENOBUFS: i32 = 105;
/// Told to end.
const ECANCELED: i32 = 125;
/// Interrupted: begun anew.
const EINTR: i32 = 4;
/// What a send that ended early is told as.
const EPIPE: i32 = 32;

/// How far receiving is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Receiving {
    /// Not under way.
    Rests,
    /// Under way.
    Runs,
    /// Under way, and told to end.
    Ends,
}

/// Who has the socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Holder {
    /// A `Socket`.
    Socket,
    /// Nobody any more: it is closed once everything was sent.
    Nobody,
    /// The same, and it was so at the last look already.
    NobodyForLong,
}

/// What a socket's holder sees of it without asking the table.
#[derive(Default, Debug)]
pub(crate) struct Front {
    /// Whether a read would give something.
    readable: AtomicBool,
    /// Which waker waits for that, by its data and its functions; zero: none.
    reader: (AtomicUsize, AtomicUsize),
}

impl Front {
    /// Whether a read would give something.
    pub(crate) fn is_readable(&self) -> bool {
        self.readable.load(Ordering::Relaxed)
    }

    /// Whether this task waits for that already. The waker that waits is kept, so no other one can be at its address.
    pub(crate) fn is_awaited_by(&self, waker: &Waker) -> bool {
        let (data, functions) = parts(waker);
        self.reader.0.load(Ordering::Relaxed) == data && self.reader.1.load(Ordering::Relaxed) == functions
    }

    fn set_readable(&self, readable: bool) {
        self.readable.store(readable, Ordering::Relaxed);
    }

    fn set_reader(&self, reader: Option<&Waker>) {
        let (data, functions) = reader.map_or((0, 0), parts);
        self.reader.0.store(data, Ordering::Relaxed);
        self.reader.1.store(functions, Ordering::Relaxed);
    }
}

fn parts(waker: &Waker) -> (usize, usize) {
    (waker.data() as usize, std::ptr::from_ref(waker.vtable()) as usize)
}

/// One socket.
#[derive(Debug)]
pub(crate) struct Slot {
    fd: OwnedFd,
    /// Touched on the ring's own thread only; atomic because the socket may be carried elsewhere, to be dropped there.
    front: Arc<Front>,
    receiving: Receiving,
    /// What was received and not read.
    input: BytesMut,
    /// How the input ended: 0, or an error's number.
    end: Option<i32>,
    reader: Option<Waker>,
    /// The send under way.
    flying: Option<Flying>,
    /// What is sent after it.
    queued: BytesMut,
    send_error: Option<i32>,
    writer: Option<Waker>,
    holder: Holder,
}

impl Slot {
    pub(crate) fn new(fd: OwnedFd, front: Arc<Front>) -> Self {
        Self {
            fd,
            front,
            receiving: Receiving::Rests,
            input: BytesMut::new(),
            end: None,
            reader: None,
            flying: None,
            queued: BytesMut::new(),
            send_error: None,
            writer: None,
            holder: Holder::Socket,
        }
    }

    /// Whether a read would give something.
    pub(crate) fn has_input(&self) -> bool {
        !self.input.is_empty() || self.end.is_some()
    }

    /// There is something to read.
    fn wake_reader(&mut self, woken: &mut Vec<Waker>) {
        self.front.set_readable(true);
        self.front.set_reader(None);
        woken.extend(self.reader.take());
    }

    /// How much may be written.
    fn room(&self) -> usize {
        if self.flying.is_none() {
            return MAX_QUEUED;
        }
        MAX_QUEUED.saturating_sub(self.queued.len())
    }

    fn is_abandoned(&self) -> bool {
        self.holder != Holder::Socket
    }

    fn is_over(&self) -> bool {
        self.is_abandoned() && self.flying.is_none() && self.receiving == Receiving::Rests
    }
}

fn error(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

fn remember(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(known) => known.clone_from(cx.waker()),
        None => *place = Some(cx.waker().clone()),
    }
}

/// Buffers that are in no use.
#[derive(Default)]
struct Spare {
    buffers: Vec<BytesMut>,
    /// What they hold in all.
    capacity: usize,
}

impl Spare {
    /// An empty buffer.
    fn take(&mut self) -> BytesMut {
        let buffer = self.buffers.pop().unwrap_or_default();
        self.capacity -= buffer.capacity();
        buffer
    }

    fn keep(&mut self, mut buffer: BytesMut) {
        buffer.clear();
        let capacity = buffer.capacity();
        if (1..=MAX_SPARE_CAPACITY).contains(&capacity) && self.capacity + capacity <= MAX_SPARE {
            self.capacity += capacity;
            self.buffers.push(buffer);
        }
    }
}

/// All sockets of a ring.
pub(crate) struct Table {
    pub(crate) kernel: Kernel,
    slots: slab::Slab<Slot>,
    spare: Spare,
    /// Sockets for which there was no buffer.
    starved: VecDeque<usize>,
    /// How many sockets nobody holds any more.
    closing: usize,
    /// What was said that is no socket's.
    news: News,
    /// Reused.
    said: Vec<Completion>,
}

/// What completions have said that is no socket's.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct News {
    /// A moment has passed.
    pub(crate) tick: bool,
    /// Tokio's epoll is watched no more: it has something, or that was cancelled.
    pub(crate) epoll: bool,
    /// Something was received.
    pub(crate) received: bool,
}

impl Table {
    pub(crate) fn new(kernel: Kernel) -> Self {
        Self {
            kernel,
            slots: slab::Slab::new(),
            spare: Spare::default(),
            starved: VecDeque::new(),
            closing: 0,
            news: News::default(),
            said: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Takes a socket in and begins to receive.
    pub(crate) fn insert(&mut self, fd: OwnedFd, front: Arc<Front>) -> io::Result<usize> {
        let at = self.slots.insert(Slot::new(fd, front));
        self.receive(at)?;
        Ok(at)
    }

    pub(crate) fn slot(&mut self, at: usize) -> io::Result<&mut Slot> {
        self.slots
            .get_mut(at)
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn receive(&mut self, at: usize) -> io::Result<()> {
        let Some(slot) = self.slots.get_mut(at) else {
            return Ok(());
        };
        let wanted = slot.end.is_none() && !slot.is_abandoned() && slot.input.len() <= MAX_INPUT / 2;
        if slot.receiving == Receiving::Rests && wanted {
            self.kernel.receive(at, slot.fd.as_raw_fd())?;
            slot.receiving = Receiving::Runs;
        }
        Ok(())
    }

    /// Ends receiving; what is under way may still come.
    fn stop_receiving(&mut self, at: usize) -> io::Result<()> {
        let Some(slot) = self.slots.get_mut(at) else {
            return Ok(());
        };
        if slot.receiving == Receiving::Runs {
            self.kernel.cancel(at, Kind::Receive)?;
            slot.receiving = Receiving::Ends;
        }
        Ok(())
    }

    /// Reads what has been received.
    pub(crate) fn read(&mut self, at: usize, buf: &mut [u8]) -> io::Result<usize> {
        let slot = self.slot(at)?;
        let n = slot.input.len().min(buf.len());
        if n == 0 {
            return match slot.end {
                _ if buf.is_empty() => Ok(0),
                None => Err(io::ErrorKind::WouldBlock.into()),
                Some(0) => Ok(0),
                Some(number) => Err(error(number)),
            };
        }
        if let (Some(to), Some(from)) = (buf.get_mut(..n), slot.input.get(..n)) {
            to.copy_from_slice(from);
        }
        if n < slot.input.len() {
            slot.input.advance(n);
        } else {
            let empty = std::mem::take(&mut slot.input);
            slot.front.set_readable(slot.end.is_some());
            self.spare.keep(empty);
        }
        self.receive(at)?;
        Ok(n)
    }

    pub(crate) fn poll_readable(&mut self, at: usize, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let slot = self.slot(at)?;
        if slot.has_input() {
            return Poll::Ready(Ok(()));
        }
        remember(&mut slot.reader, cx);
        slot.front.set_reader(slot.reader.as_ref());
        Poll::Pending
    }

    /// Takes as much of `data` as there is room for, to be sent at the end of the turn.
    pub(crate) fn write(&mut self, at: usize, data: &[u8]) -> io::Result<usize> {
        let slot = self.slots.get_mut(at).ok_or(io::ErrorKind::NotConnected)?;
        if let Some(number) = slot.send_error {
            return Err(error(number));
        }
        let data = data.get(..data.len().min(slot.room())).unwrap_or_default();
        if data.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if slot.flying.is_some() {
            if slot.queued.capacity() == 0 {
                slot.queued = self.spare.take();
            }
            slot.queued.extend_from_slice(data);
            return Ok(data.len());
        }
        let mut flying = self.spare.take();
        flying.extend_from_slice(data);
        self.fly(at, flying)?;
        Ok(data.len())
    }

    pub(crate) fn poll_writable(&mut self, at: usize, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let slot = self.slot(at)?;
        if slot.send_error.is_some() || slot.room() > 0 {
            return Poll::Ready(Ok(()));
        }
        remember(&mut slot.writer, cx);
        Poll::Pending
    }

    /// Waits until everything was taken by the kernel.
    pub(crate) fn poll_sent(&mut self, at: usize, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let slot = self.slot(at)?;
        if let Some(number) = slot.send_error {
            return Poll::Ready(Err(error(number)));
        }
        if slot.flying.is_none() {
            return Poll::Ready(Ok(()));
        }
        remember(&mut slot.writer, cx);
        Poll::Pending
    }

    fn fly(&mut self, at: usize, data: BytesMut) -> io::Result<()> {
        if let Some(slot) = self.slots.get_mut(at) {
            slot.flying = Some(self.kernel.send(at, slot.fd.as_raw_fd(), data)?);
        }
        Ok(())
    }

    /// Nobody holds the socket any more.
    pub(crate) fn abandon(&mut self, at: usize) {
        if let Some(slot) = self.slots.get_mut(at) {
            slot.holder = Holder::Nobody;
            self.closing += 1;
            slot.reader = None;
            slot.front.set_reader(None);
            slot.writer = None;
            slot.input = BytesMut::new();
        }
        // A queue that is full was told so; the socket is closed at the end of its stream then.
        let _ = self.stop_receiving(at);
        self.close_if_over(at);
    }

    /// Ends what sockets still send that nobody held at the last call already.
    pub(crate) fn tend(&mut self) {
        for (at, slot) in &mut self.slots {
            match slot.holder {
                Holder::Socket => {}
                Holder::Nobody => slot.holder = Holder::NobodyForLong,
                // A queue that is full will have room at the next call.
                Holder::NobodyForLong if slot.flying.is_some() => drop(self.kernel.cancel(at, Kind::Send)),
                Holder::NobodyForLong => {}
            }
        }
    }

    /// Whether there are sockets that nobody holds any more.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing > 0
    }

    fn close_if_over(&mut self, at: usize) {
        if self.slots.get(at).is_some_and(Slot::is_over) {
            self.closing -= 1;
            let slot = self.slots.remove(at);
            self.spare.keep(slot.queued);
        }
    }

    /// What was said since the last call that is no socket's.
    pub(crate) fn news(&mut self) -> News {
        std::mem::take(&mut self.news)
    }

    /// Takes in all that the kernel says. Who waits for it is put into `woken`.
    pub(crate) fn complete(&mut self, woken: &mut Vec<Waker>) -> io::Result<()> {
        let mut given = false;
        let mut said = std::mem::take(&mut self.said);
        self.kernel.completions(&mut said);
        let mut done = Ok(());
        for completion in said.drain(..) {
            given |= completion.buffer.is_some();
            let taken = match completion.kind {
                Kind::Receive => {
                    self.news.received = true;
                    self.received(&completion, woken)
                }
                Kind::Send => self.sent(&completion, woken),
                Kind::Cancel => Ok(()),
                Kind::Tick => {
                    self.news.tick = true;
                    Ok(())
                }
                Kind::Epoll => {
                    self.news.epoll = true;
                    Ok(())
                }
            };
            done = done.and(taken);
        }
        self.said = said;
        done?;
        if given {
            self.kernel.publish();
        }
        while let Some(at) = self.starved.pop_front() {
            self.receive(at)?;
        }
        Ok(())
    }

    fn received(&mut self, completion: &Completion, woken: &mut Vec<Waker>) -> io::Result<()> {
        let at = completion.slot;
        let mut starved = false;
        if let Some(slot) = self.slots.get_mut(at) {
            if !completion.more {
                slot.receiving = Receiving::Rests;
            }
            match (completion.result, completion.buffer) {
                (0, _) => slot.end = Some(0),
                (len @ 1.., Some(buffer)) if !slot.is_abandoned() => {
                    if slot.input.capacity() == 0 {
                        slot.input = self.spare.take();
                    }
                    let len = usize::try_from(len).unwrap_or(0);
                    slot.input.extend_from_slice(self.kernel.bytes(buffer, len));
                }
                (1.., _) => {}
                (number, _) => match -number {
                    ENOBUFS => starved = true,
                    ECANCELED | EINTR => {}
                    number => slot.end = Some(number),
                },
            }
            if slot.has_input() {
                slot.wake_reader(woken);
            }
        }
        if let Some(buffer) = completion.buffer {
            self.kernel.give(buffer);
        }
        if self
            .slots
            .get(at)
            .is_some_and(|slot| slot.input.len() >= MAX_INPUT)
        {
            self.stop_receiving(at)?;
        }
        if starved {
            self.starved.push_back(at);
        } else if !completion.more {
            self.receive(at)?;
        }
        self.close_if_over(at);
        Ok(())
    }

    fn sent(&mut self, completion: &Completion, woken: &mut Vec<Waker>) -> io::Result<()> {
        let at = completion.slot;
        let Some(slot) = self.slots.get_mut(at) else {
            return Ok(());
        };
        let Some(flying) = slot.flying.take() else {
            return Ok(());
        };
        let flown = flying.land(completion);
        woken.extend(slot.writer.take());
        let whole = usize::try_from(completion.result).is_ok_and(|sent| sent == flown.len());
        if !whole {
            slot.send_error = Some(if completion.result < 0 {
                -completion.result
            } else {
                EPIPE
            });
            slot.queued = BytesMut::new();
        } else if !slot.queued.is_empty() {
            let queued = std::mem::take(&mut slot.queued);
            self.fly(at, queued)?;
        }
        self.spare.keep(flown);
        self.close_if_over(at);
        Ok(())
    }

    /// The kernel refuses to work: every socket ends with this error.
    pub(crate) fn fail(&mut self, number: i32, woken: &mut Vec<Waker>) {
        for (_, slot) in &mut self.slots {
            slot.end.get_or_insert(number);
            slot.send_error.get_or_insert(number);
            slot.wake_reader(woken);
            woken.extend(slot.writer.take());
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        for slot in self.slots.drain() {
            if !slot.is_abandoned() {
                // Its holder counts on it.
                std::mem::forget(slot.fd);
            }
        }
    }
}
