//! One request of a client: everything up to the message that makes the server answer.

use smallvec::SmallVec;
use std::ops::Range;
use wire::frame::{self, Scan};
use wire::{ProxyError, sqlstate};

/// What a client may send between two Syncs.
pub const MAX_BATCH_MESSAGES: usize = 100_000;

/// One message of a batch, as its place in the client's input.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its tag.
    pub tag: u8,
    /// The whole frame.
    pub frame: Range<usize>,
}

impl Message {
    /// The body, without tag and length.
    pub fn body(&self) -> Range<usize> {
        self.frame.start + frame::HEADER_LEN..self.frame.end
    }
}

/// How a batch of the extended protocol ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BatchEnd {
    /// Sync: the server is ready afterwards.
    Sync,
    /// Flush: the server answers what it has, and the batch goes on.
    Flush,
}

/// A complete request.
#[derive(Debug)]
pub enum Request {
    /// A simple query.
    Query(Message),
    /// Messages of the extended protocol, without the one that ends them.
    Batch(SmallVec<[Message; 6]>, BatchEnd),
    /// A function call of the fast path.
    FunctionCall,
    /// CopyData, CopyDone or CopyFail outside of COPY: to be ignored, as PostgreSQL does.
    StrayCopy,
    /// Terminate.
    Terminate,
}

/// What the client's input holds.
#[derive(Debug)]
pub enum Assembled {
    /// A request, and how many bytes it takes.
    Request(Request, usize),
    /// Nothing complete.
    NeedMore,
}

/// Remembers how far a batch has been scanned, so that its messages are not scanned again when more arrives.
///
/// Between requests, which is where most clients are most of the time, there is nothing to remember.
#[derive(Debug, Default)]
pub struct Assembler(Option<Box<Unfinished>>);

/// A batch whose end has not come.
#[derive(Debug, Default)]
struct Unfinished {
    scanned: usize,
    messages: SmallVec<[Message; 6]>,
}

impl Assembler {
    /// Whether it stands between two requests.
    pub fn is_idle(&self) -> bool {
        self.0.is_none()
    }

    /// Looks for a complete request at the front of `input`.
    ///
    /// # Errors
    /// When the client breaks the protocol; the connection ends with this error.
    pub fn next(&mut self, input: &[u8], limit: usize) -> Result<Assembled, ProxyError> {
        let mut unfinished = self.0.take().map(|kept| *kept).unwrap_or_default();
        let assembled = unfinished.next(input, limit)?;
        if matches!(assembled, Assembled::NeedMore) && unfinished.scanned > 0 {
            self.0 = Some(Box::new(unfinished));
        }
        Ok(assembled)
    }
}

impl Unfinished {
    fn next(&mut self, input: &[u8], limit: usize) -> Result<Assembled, ProxyError> {
        loop {
            let rest = input.get(self.scanned..).unwrap_or_default();
            let (tag, len) = match frame::scan(rest, limit) {
                Scan::Frame { tag, len } => (tag, len),
                // Counted by what is announced: whether a request is too long doesn't depend on the pieces it comes in.
                Scan::NeedMore { at_least } if self.scanned + at_least > limit => {
                    return Err(too_much(limit));
                }
                Scan::NeedMore { .. } => return Ok(Assembled::NeedMore),
                Scan::Malformed(error) => return Err(error.into()),
            };
            let message = Message {
                tag,
                frame: self.scanned..self.scanned + len,
            };
            self.scanned += len;
            if self.scanned > limit {
                return Err(too_much(limit));
            }
            let request = match tag {
                b'P' | b'B' | b'D' | b'E' | b'C' => {
                    if self.messages.len() >= MAX_BATCH_MESSAGES {
                        return Err(too_much(limit));
                    }
                    self.messages.push(message);
                    continue;
                }
                b'S' => Request::Batch(std::mem::take(&mut self.messages), BatchEnd::Sync),
                b'H' => Request::Batch(std::mem::take(&mut self.messages), BatchEnd::Flush),
                // A request of another kind ends a batch that has no Sync yet; what came before is handled first.
                b'Q' | b'F' | b'X' if !self.messages.is_empty() => {
                    self.scanned -= len;
                    Request::Batch(std::mem::take(&mut self.messages), BatchEnd::Flush)
                }
                b'Q' => Request::Query(message),
                b'F' => Request::FunctionCall,
                b'd' | b'c' | b'f' => Request::StrayCopy,
                b'X' => Request::Terminate,
                _ => {
                    return Err(ProxyError::protocol_violation(format!(
                        "invalid frontend message type {tag}"
                    )));
                }
            };
            let used = std::mem::take(&mut self.scanned);
            return Ok(Assembled::Request(request, used));
        }
    }
}

fn too_much(limit: usize) -> ProxyError {
    ProxyError::fatal(sqlstate::PROGRAM_LIMIT_EXCEEDED, "request is too large")
        .with_detail(format!(
            "A request may have {limit} bytes and {MAX_BATCH_MESSAGES} messages."
        ))
        .with_hint("Send Sync more often, or raise max_packet_size.")
}

#[cfg(test)]
mod tests {
    use super::{Assembled, Assembler, BatchEnd, Request};

    const LIMIT: usize = 1000;

    fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![tag];
        bytes.extend(i32::try_from(body.len() + 4).unwrap().to_be_bytes());
        bytes.extend(body);
        bytes
    }

    /// Feeds `bytes` one by one and gives a word for each request.
    fn requests(bytes: &[u8]) -> Vec<String> {
        let (mut input, mut assembler, mut found) = (Vec::new(), Assembler::default(), Vec::new());
        for byte in bytes {
            input.push(*byte);
            match assembler.next(&input, LIMIT) {
                Ok(Assembled::NeedMore) => {}
                Ok(Assembled::Request(request, used)) => {
                    input.drain(..used);
                    found.push(match request {
                        Request::Query(_) => "Q".to_string(),
                        Request::Batch(m, end) => {
                            let tags: String = m.iter().map(|m| char::from(m.tag)).collect();
                            format!("{tags}/{}", if end == BatchEnd::Sync { "sync" } else { "flush" })
                        }
                        Request::FunctionCall => "F".to_string(),
                        Request::StrayCopy => "copy".to_string(),
                        Request::Terminate => "X".to_string(),
                    });
                }
                Err(error) => {
                    found.push(error.sqlstate.to_string());
                    break;
                }
            }
        }
        found
    }

    #[test]
    fn batches_end_at_sync_or_flush() {
        let bytes: Vec<u8> = [b'P', b'B', b'E', b'S', b'B', b'H', b'S', b'Q', b'X']
            .iter()
            .flat_map(|tag| frame(*tag, b"x\0"))
            .collect();
        assert_eq!(requests(&bytes), ["PBE/sync", "B/flush", "/sync", "Q", "X"]);
    }

    #[test]
    fn a_query_after_an_open_batch_comes_second() {
        let mut assembler = Assembler::default();
        let input = [frame(b'P', b"x"), frame(b'Q', b"y\0")].concat();
        let Ok(Assembled::Request(Request::Batch(m, BatchEnd::Flush), used)) = assembler.next(&input, LIMIT)
        else {
            panic!("not a batch");
        };
        assert_eq!((m.len(), used), (1, 6));
        assert!(matches!(
            assembler.next(&input[used..], LIMIT),
            Ok(Assembled::Request(Request::Query(_), 7))
        ));
    }

    #[test]
    fn bad_frames_are_errors() {
        assert_eq!(requests(&frame(b'?', b"")), ["08P01"]);
        assert_eq!(requests(&[b'Q', 0x7f, 0xff, 0xff, 0xff]).len(), 1);
        assert_eq!(requests(&[b'Q', 0, 0, 0, 1]), ["08P01"]);
    }
}
