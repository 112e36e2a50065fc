//! A backend's answers on their way to the client: scanned by tag and length, forwarded as contiguous ranges.

use crate::replies::{Disposition, ReplyTracker};
use bytes::BytesMut;
use smallvec::SmallVec;
use wire::backend::{ErrorFields, ParameterStatus};
use wire::frame::{self, MAX_LARGE_LEN, Scan};
use wire::{SqlState, TransactionStatus, sqlstate};

/// The longest message, apart from rows, COPY data, results of function calls and notices, that is held until it is complete.
const MAX_HELD_MESSAGE: usize = 64 << 20;
/// Rows and the like up to this length are held too: a client that has half a message can't be told that the server is lost.
const MIN_IN_PIECES: usize = 16 << 10;
/// Why a server's answers can't be forwarded any further.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The server said that it ends the connection, in these words.
    #[error("server connection ended by the server: {0:?}")]
    Ended(SqlState, ServerError),
    /// The server sent something that can't come here.
    #[error("unexpected message {0:?} from the server")]
    Unexpected(char),
}

/// Where a relay stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RelayEnd {
    /// ReadyForQuery of the last message came.
    Ready(TransactionStatus),
    /// Everything owed came, without a ReadyForQuery (the client sent Flush).
    Flushed,
    /// The server waits for COPY data.
    CopyIn,
    /// A query of our own failed; the error was forwarded.
    InjectedFailed,
}

/// A setting that a server reported, and its value.
pub type Reported = (Box<[u8]>, Box<[u8]>);

/// What was seen of an answer on its way.
#[derive(Debug, Default)]
pub struct Answer {
    /// The bytes forwarded, kept for the cache up to `capture_limit`; `None` when not wanted or too long.
    pub capture: Option<Vec<u8>>,
    /// The bound of `capture`.
    pub capture_limit: usize,
    /// The first error.
    pub error: Option<ServerError>,
    /// The last command tag.
    pub tag: SmallVec<[u8; 24]>,
    /// Reported settings that changed.
    pub parameters: Vec<Reported>,
    /// Notifications that came with an answer that is kept from the client.
    pub notifications: Vec<u8>,
    /// Keep the forwarded bytes from the client.
    pub silent: bool,
    /// Keep the final ReadyForQuery from the client.
    pub withhold_ready: bool,
}

/// An error of the server's, as it came.
#[derive(Debug)]
pub struct ServerError {
    /// The whole frame.
    pub frame: Box<[u8]>,
}

impl ServerError {
    /// The refusal of a connection of ours, as an error that ends only the client's statement.
    pub fn softened(refusal: &[u8]) -> Self {
        Self::with_severity(refusal, b"ERROR")
    }

    /// The same error with another severity.
    pub fn with_severity(refusal: &[u8], severity: &[u8]) -> Self {
        let mut soft = vec![b'E', 0, 0, 0, 0];
        if let Ok(fields) = ErrorFields::decode(frame::body(refusal)) {
            for (code, text) in fields.iter() {
                soft.push(code);
                soft.extend_from_slice(if matches!(code, b'S' | b'V') {
                    severity
                } else {
                    text
                });
                soft.push(0);
            }
        }
        soft.push(0);
        let len = u32::try_from(soft.len() - 1).unwrap_or(u32::MAX).to_be_bytes();
        if let Some(field) = soft.get_mut(1..frame::HEADER_LEN) {
            field.copy_from_slice(&len);
        }
        Self { frame: soft.into() }
    }
}

impl Answer {
    /// An answer that nobody is shown.
    pub fn silent() -> Self {
        Self {
            silent: true,
            ..Self::default()
        }
    }

    /// An answer that is forwarded and not kept.
    pub fn forwarded() -> Self {
        Self::default()
    }

    /// An answer that is also kept, up to `limit` bytes.
    pub fn captured(limit: usize) -> Self {
        Self {
            capture: Some(Vec::new()),
            capture_limit: limit,
            ..Self::default()
        }
    }
}

/// Who looks at a backend's answers on their way.
pub trait Watch {
    /// Whether the client's messages go on to the backend while its answers are read: then nothing of an answer stops the
    /// reading.
    const PUMPS: bool;

    /// Takes note of a frame that concerns the client; what is given back takes its place.
    ///
    /// # Errors
    /// When the server ends the connection: that concerns the connection, which is ours, and not the client's.
    fn see(&mut self, tag: u8, frame: &[u8]) -> Result<Option<Vec<u8>>, Fault>;

    /// Hands bytes on to the client.
    fn pass(&mut self, bytes: &[u8], out: &mut BytesMut);

    /// Whether the final ReadyForQuery is kept from the client.
    fn withholds_ready(&self) -> bool;
}

/// An error of the server's, unless it is one that ends the connection.
///
/// # Errors
/// [`Fault::Ended`].
pub fn survivable(frame: &[u8]) -> Result<ErrorFields<'_>, Fault> {
    let fields = ErrorFields::decode(frame::body(frame)).map_err(|_| Fault::Unexpected('E'))?;
    if fields.is_fatal() {
        let sqlstate = fields.sqlstate().unwrap_or(sqlstate::INTERNAL_ERROR);
        return Err(Fault::Ended(sqlstate, ServerError { frame: frame.into() }));
    }
    Ok(fields)
}

impl Watch for Answer {
    const PUMPS: bool = false;

    fn see(&mut self, tag: u8, frame: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let body = frame::body(frame);
        match tag {
            b'C' => self.tag = SmallVec::from_slice(body.strip_suffix(&[0]).unwrap_or(body)),
            b'E' => {
                survivable(frame)?;
                self.error
                    .get_or_insert_with(|| ServerError { frame: frame.into() });
            }
            b'A' if self.silent => self.notifications.extend_from_slice(frame),
            b'S' => {
                if let Ok(status) = ParameterStatus::decode(body) {
                    self.parameters.push((status.name.into(), status.value.into()));
                }
            }
            _ => {}
        }
        Ok(None)
    }

    fn pass(&mut self, bytes: &[u8], out: &mut BytesMut) {
        if let Some(capture) = &mut self.capture {
            if capture.len() + bytes.len() <= self.capture_limit {
                capture.extend_from_slice(bytes);
            } else {
                self.capture = None;
            }
        }
        if !self.silent {
            out.extend_from_slice(bytes);
        }
    }

    fn withholds_ready(&self) -> bool {
        self.withhold_ready
    }
}

/// A frame that is forwarded in pieces, because it did not arrive whole.
#[derive(Clone, Copy, Debug)]
struct Streaming {
    remaining: usize,
    forward: bool,
}

impl Cursor {
    /// Whether the stream stands between two messages with nothing read ahead: only then the connection may be reused.
    pub fn is_at_rest(&self) -> bool {
        self.streaming.is_none() && self.carry.is_empty()
    }

    /// Takes in what came while nothing was expected.
    pub fn carry(&mut self, data: &[u8]) {
        self.carry.extend_from_slice(data);
    }

    /// All that was taken in and is not used yet.
    pub fn take_carry(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.carry)
    }

    /// The next whole message of what was taken in. What can't be a message comes out as it is.
    pub fn next_whole(&mut self) -> Option<Vec<u8>> {
        match frame::scan(&self.carry, MAX_HELD_MESSAGE) {
            Scan::Frame { len, .. } => Some(self.carry.drain(..len).collect()),
            Scan::NeedMore { .. } => None,
            Scan::Malformed(_) => Some(std::mem::take(&mut self.carry)),
        }
    }
}

/// The place in a backend's byte stream.
#[derive(Debug, Default)]
pub struct Cursor {
    streaming: Option<Streaming>,
    /// The front of a message that has to be whole before anything can be said of it.
    carry: Vec<u8>,
}

/// Takes in what was read; `Some` when the relay is over.
///
/// # Errors
/// When the server ends the connection or breaks the protocol.
pub fn take<W: Watch>(
    data: &[u8],
    cursor: &mut Cursor,
    tracker: &mut ReplyTracker,
    answer: &mut W,
    out: &mut BytesMut,
) -> Result<Option<RelayEnd>, Fault> {
    let mut data = data;
    while !cursor.carry.is_empty() && !data.is_empty() {
        // No more than it takes, so that what follows is looked at where it lies.
        let missing = match frame::header(&cursor.carry, MAX_LARGE_LEN) {
            Ok(Some(header)) => header.len.saturating_sub(cursor.carry.len()).max(1),
            Ok(None) => frame::HEADER_LEN - cursor.carry.len(),
            Err(_) => return Err(Fault::Unexpected('?')),
        };
        let (head, rest) = data.split_at(missing.min(data.len()));
        let mut held = std::mem::take(&mut cursor.carry);
        held.extend_from_slice(head);
        data = rest;
        let (used, end) = scan(&held, cursor, tracker, answer, out)?;
        held.drain(..used);
        // Nothing being owed any more ends nothing: what follows may be a notification.
        if end.is_some_and(|end| end != RelayEnd::Flushed) {
            held.extend_from_slice(data);
            cursor.carry = held;
            return Ok(end);
        }
        if held.is_empty() && held.capacity() > MIN_IN_PIECES {
            // One long message doesn't take its room for ever.
            held = Vec::new();
        }
        cursor.carry = held;
    }
    let (used, end) = scan(data, cursor, tracker, answer, out)?;
    cursor
        .carry
        .extend_from_slice(data.get(used..).unwrap_or_default());
    Ok(end)
}

/// Forwards the frames at the front of `data`. Gives how many bytes are done with.
fn scan<W: Watch>(
    data: &[u8],
    cursor: &mut Cursor,
    tracker: &mut ReplyTracker,
    answer: &mut W,
    out: &mut BytesMut,
) -> Result<(usize, Option<RelayEnd>), Fault> {
    // data[run..at] is forwarded in one piece.
    let (mut run, mut at) = (0, 0);
    let piece = |from: usize, to: usize| data.get(from..to).unwrap_or_default();
    while at < data.len() {
        if let Some(Streaming { remaining, forward }) = cursor.streaming {
            let step = remaining.min(data.len() - at);
            if !forward {
                answer.pass(piece(run, at), out);
                run = at + step;
            }
            at += step;
            cursor.streaming = (step < remaining).then_some(Streaming {
                remaining: remaining - step,
                forward,
            });
            continue;
        }
        if tracker.local_is_due() {
            answer.pass(piece(run, at), out);
            run = at;
            tracker.emit_local(out);
        }
        let header = match frame::header(piece(at, data.len()), MAX_LARGE_LEN) {
            Ok(Some(header)) => header,
            Ok(None) => break,
            Err(_) => {
                answer.pass(piece(run, at), out);
                return Err(Fault::Unexpected('?'));
            }
        };
        let whole = data.len() - at >= header.len;
        let in_pieces = header.len > MIN_IN_PIECES && matches!(header.tag, b'D' | b'd' | b'V' | b'N');
        if !whole && !in_pieces {
            if header.len > MAX_HELD_MESSAGE {
                answer.pass(piece(run, at), out);
                return Err(Fault::Unexpected(char::from(header.tag)));
            }
            break;
        }
        let have = header.len.min(data.len() - at);
        let body = piece(at + frame::HEADER_LEN, at + have);
        let disposition = tracker.on_frame(header.tag, body.first().copied().unwrap_or(0));
        let next = at + have;
        if disposition != Disposition::Drop {
            match answer.see(header.tag, piece(at, next)) {
                Ok(None) => {}
                Ok(Some(instead)) => {
                    answer.pass(piece(run, at), out);
                    answer.pass(&instead, out);
                    run = next;
                }
                Err(error) => {
                    answer.pass(piece(run, at), out);
                    return Err(error);
                }
            }
        }
        match disposition {
            Disposition::Forward => {}
            Disposition::Ready(_) if W::PUMPS => {}
            Disposition::CopyIn if W::PUMPS => tracker.copy_started(),
            Disposition::Drop => {
                answer.pass(piece(run, at), out);
                run = next;
            }
            Disposition::Ready(status) => {
                let until = if answer.withholds_ready() { at } else { next };
                answer.pass(piece(run, until), out);
                let status = TransactionStatus::from_byte(status).ok_or(Fault::Unexpected('Z'))?;
                return Ok((next, Some(RelayEnd::Ready(status))));
            }
            Disposition::CopyIn => {
                answer.pass(piece(run, next), out);
                return Ok((next, Some(RelayEnd::CopyIn)));
            }
            Disposition::InjectedFailed => {
                answer.pass(piece(run, next), out);
                return Ok((next, Some(RelayEnd::InjectedFailed)));
            }
            Disposition::Unexpected => {
                answer.pass(piece(run, at), out);
                return Err(Fault::Unexpected(char::from(header.tag)));
            }
        }
        if !whole {
            cursor.streaming = Some(Streaming {
                remaining: header.len - have,
                forward: disposition == Disposition::Forward,
            });
        }
        at = next;
    }
    answer.pass(piece(run, at), out);
    tracker.emit_local(out);
    let end = (tracker.is_done() && cursor.streaming.is_none()).then_some(RelayEnd::Flushed);
    Ok((at, end))
}
