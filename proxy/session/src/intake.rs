//! A client's messages, one by one, as far as they may be acted upon: for a client whose messages are handed on.
//!
//! A batch is taken when its end is there, so that it goes out in one piece; one that is long is taken as it comes.

use wire::frame::{self, Header, MAX_LARGE_LEN, MAX_SMALL_LEN};
use wire::{ProxyError, WireError};

/// What of a batch is held back while its end isn't there.
pub const HELD_BATCH: usize = 16 << 10;
/// A message that is longer is forwarded in pieces.
pub const HELD_MESSAGE: usize = 48 << 10;

/// The message at the front of the input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Front {
    /// Its tag.
    pub tag: u8,
    /// The length of the whole frame.
    pub len: usize,
    /// How much of it is there.
    pub have: usize,
}

impl Front {
    /// Whether all of it is there.
    pub fn is_whole(self) -> bool {
        self.have == self.len
    }
}

/// How far the input has been looked at.
#[derive(Debug, Default)]
pub struct Intake {
    /// Whole messages at the front of the input.
    scanned: usize,
    /// The part of them that may be acted upon.
    ready: usize,
    /// What is still to come of a message that is forwarded in pieces.
    streaming: usize,
    /// Bytes taken since they were counted last.
    taken: usize,
    pace: Pace,
}

/// How the client sends the batch that is acted upon.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Pace {
    #[default]
    Steady,
    /// It paused in the middle.
    Halting,
}

impl Intake {
    /// The message at the front, if it may be acted upon. `limit` is for messages that have to be held whole.
    ///
    /// # Errors
    /// When the client breaks the protocol. What came before is acted upon first.
    pub fn front(&mut self, input: &[u8], limit: usize) -> Result<Option<Front>, ProxyError> {
        if self.ready == 0 {
            self.pace = Pace::Steady;
            if let Err(error) = self.look(input, limit) {
                // Messages before the bad one are sound.
                self.ready = self.scanned;
                if self.ready == 0 {
                    return Err(error);
                }
            }
        }
        if self.ready == 0 {
            return Ok(None);
        }
        match frame::header(input, MAX_LARGE_LEN) {
            Ok(Some(Header { tag, len })) => Ok(Some(Front {
                tag,
                len,
                have: len.min(input.len()),
            })),
            _ => Ok(None),
        }
    }

    fn look(&mut self, input: &[u8], limit: usize) -> Result<(), ProxyError> {
        loop {
            let rest = input.get(self.scanned..).unwrap_or_default();
            let Some(Header { tag, len }) = frame::header(rest, MAX_LARGE_LEN).map_err(invalid_length)?
            else {
                break;
            };
            let kind = Kind::of(tag)?;
            if len > kind.limit(limit) {
                return Err(match kind {
                    Kind::Held => too_long(len, limit),
                    _ => invalid_length(WireError::TooLong {
                        len,
                        limit: MAX_SMALL_LEN,
                    }),
                });
            }
            if len > rest.len() {
                if kind == Kind::Streamed && len > HELD_MESSAGE && rest.len() >= HELD_BATCH {
                    // Its names stand at its front, and what came before it goes out first.
                    self.ready = self.scanned + rest.len();
                    return Ok(());
                }
                break;
            }
            self.scanned += len;
            if matches!(tag, b'S' | b'H' | b'Q' | b'F' | b'X' | b'd' | b'c' | b'f') {
                self.ready = self.scanned;
            }
        }
        if self.scanned > HELD_BATCH {
            self.ready = self.scanned;
        }
        Ok(())
    }

    /// Whether messages are held back because the end of their batch isn't there.
    pub fn holds_back(&self) -> bool {
        self.ready == 0 && self.scanned > 0
    }

    /// The end of the batch doesn't come: what is there of it may be acted upon.
    pub fn wait_no_more(&mut self) {
        self.ready = self.scanned;
        self.pace = Pace::Halting;
    }

    /// Whether the message at the front is acted upon although its batch has no end yet: the server is to have it at once.
    pub fn is_halting(&self) -> bool {
        self.pace == Pace::Halting
    }

    /// The message at the front was dealt with: how much of the input is done with.
    pub fn consume(&mut self, front: Front) -> usize {
        self.scanned = self.scanned.saturating_sub(front.len);
        self.ready = self.ready.saturating_sub(front.len);
        self.streaming = front.len - front.have;
        self.taken += front.have;
        front.have
    }

    /// So much of the input was dealt with by others.
    pub fn skip(&mut self, used: usize) {
        self.scanned = self.scanned.saturating_sub(used);
        self.ready = self.ready.saturating_sub(used);
    }

    /// Whether a message is being forwarded in pieces.
    pub fn is_streaming(&self) -> bool {
        self.streaming > 0
    }

    /// How much of the input belongs to the message that is being forwarded in pieces; it counts as done with.
    pub fn stream(&mut self, available: usize) -> usize {
        let piece = self.streaming.min(available);
        self.streaming -= piece;
        self.taken += piece;
        piece
    }

    /// How many bytes were taken since this was asked last.
    pub fn take_count(&mut self) -> usize {
        std::mem::take(&mut self.taken)
    }
}

/// How a message may arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// In pieces, if it is long.
    Streamed,
    /// Whole: its text has to be known.
    Held,
    /// Whole, and never long.
    Small,
}

impl Kind {
    fn of(tag: u8) -> Result<Self, ProxyError> {
        match tag {
            b'Q' | b'B' | b'F' | b'd' => Ok(Self::Streamed),
            b'P' => Ok(Self::Held),
            b'S' | b'H' | b'X' | b'D' | b'E' | b'C' | b'c' | b'f' => Ok(Self::Small),
            // PostgreSQL's own words.
            _ => Err(ProxyError::protocol_violation(format!(
                "invalid frontend message type {tag}"
            ))),
        }
    }

    fn limit(self, held: usize) -> usize {
        match self {
            Self::Streamed => MAX_LARGE_LEN,
            Self::Held => held.min(MAX_LARGE_LEN),
            Self::Small => MAX_SMALL_LEN,
        }
    }
}

fn invalid_length(_: WireError) -> ProxyError {
    ProxyError::protocol_violation("invalid message length")
}

fn too_long(len: usize, limit: usize) -> ProxyError {
    ProxyError::fatal(
        wire::sqlstate::PROGRAM_LIMIT_EXCEEDED,
        "the text of a statement is too long",
    )
    .with_detail(format!("It has {len} bytes, and at most {limit} are held."))
    .with_hint("Send it as a simple query, or raise max_packet_size.")
}

#[cfg(test)]
mod tests {
    use super::{Front, HELD_MESSAGE, Intake, MAX_SMALL_LEN};

    const LIMIT: usize = 1 << 20;

    fn message(tag: u8, body: usize) -> Vec<u8> {
        let mut bytes = vec![tag];
        bytes.extend(i32::try_from(body + 4).unwrap().to_be_bytes());
        bytes.resize(bytes.len() + body, b'x');
        bytes
    }

    fn taken(intake: &mut Intake, input: &mut Vec<u8>) -> String {
        let mut tags = String::new();
        while let Some(front) = intake.front(input, LIMIT).unwrap() {
            tags.push(char::from(front.tag));
            let used = intake.consume(front);
            input.drain(..used);
            if intake.is_streaming() {
                tags.push('.');
                break;
            }
        }
        tags
    }

    #[test]
    fn a_batch_waits_for_its_end() {
        let (mut intake, mut input) = (Intake::default(), Vec::new());
        input.extend(message(b'P', 10));
        input.extend(message(b'B', 10));
        assert_eq!(taken(&mut intake, &mut input), "");
        input.extend(message(b'S', 0));
        input.extend(message(b'B', 3));
        assert_eq!(taken(&mut intake, &mut input), "PBS");
        input.extend(message(b'H', 0));
        assert_eq!(taken(&mut intake, &mut input), "BH");
        assert!(input.is_empty());
    }

    #[test]
    fn a_batch_that_pauses_does_not_wait_for_its_end() {
        let (mut intake, mut input) = (Intake::default(), message(b'P', 10));
        assert_eq!(taken(&mut intake, &mut input), "");
        assert!(intake.holds_back());
        intake.wait_no_more();
        assert!(intake.is_halting());
        assert_eq!(taken(&mut intake, &mut input), "P");
        assert!(!intake.holds_back() && !intake.is_halting());
        input.extend(message(b'B', 3));
        assert_eq!(taken(&mut intake, &mut input), "");
    }

    #[test]
    fn a_long_batch_does_not_wait() {
        let (mut intake, mut input) = (Intake::default(), Vec::new());
        for _ in 0..20 {
            input.extend(message(b'B', 1000));
        }
        assert_eq!(taken(&mut intake, &mut input).len(), 20);
    }

    #[test]
    fn a_long_message_is_taken_in_pieces() {
        let (mut intake, mut input) = (Intake::default(), message(b'P', 5));
        let mut long = message(b'B', HELD_MESSAGE * 3);
        let rest = long.split_off(HELD_MESSAGE);
        input.extend(long);
        assert_eq!(taken(&mut intake, &mut input), "PB.");
        assert!(input.is_empty());
        assert_eq!(intake.stream(rest.len() - 1), rest.len() - 1);
        assert_eq!(intake.stream(100), 1);
        assert!(!intake.is_streaming());
        input.extend(message(b'S', 0));
        assert_eq!(taken(&mut intake, &mut input), "S");
    }

    #[test]
    fn what_came_before_a_bad_message_is_taken() {
        let (mut intake, mut input) = (Intake::default(), message(b'P', 5));
        input.extend(message(b'?', 5));
        let front = intake.front(&input, LIMIT).unwrap();
        assert_eq!(
            front,
            Some(Front {
                tag: b'P',
                len: 10,
                have: 10
            })
        );
        input.drain(..intake.consume(front.unwrap()));
        assert_eq!(
            intake.front(&input, LIMIT).unwrap_err().message,
            "invalid frontend message type 63"
        );
        for bad in [
            message(b'S', 20_000),
            message(b'f', MAX_SMALL_LEN - 4),
            vec![b'Q', 0, 0, 0, 1],
            vec![b'Q', 0x7f, 0xff, 0xff, 0xff],
        ] {
            let error = Intake::default().front(&bad, LIMIT).unwrap_err();
            assert_eq!(error.message, "invalid message length");
        }
    }
}
