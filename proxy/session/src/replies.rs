//! Which answers a backend still owes, and what of them the client may see.
//!
//! For every message sent to a backend one [`Expected`] is queued. Answers to messages that we put in ourselves are
//! dropped; answers to messages that we kept back are made here at the place where the client expects them. After an
//! error the server skips to the next Sync, and so does the queue.

use crate::prepared::StatementId;
use std::collections::VecDeque;

/// What one message to the backend, or one kept back from it, will be answered with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expected {
    /// Kept back: the client is told ParseComplete by us.
    LocalParse,
    /// Kept back: the client is told CloseComplete by us.
    LocalClose,
    /// A Parse that the client sent.
    Parse(Option<StatementId>),
    /// A Parse that we put in; its answer is dropped.
    InjectedParse(StatementId),
    /// A Close that we put in; its answer is dropped.
    InjectedClose,
    /// A Bind.
    Bind,
    /// A Describe of a statement: ParameterDescription, then RowDescription or NoData.
    DescribeStatement,
    /// A Describe of a portal: RowDescription or NoData.
    DescribePortal,
    /// An Execute.
    Execute,
    /// A Close that the client sent.
    Close,
    /// A Sync: ReadyForQuery.
    Sync,
    /// A simple query of the client's.
    Query,
    /// A simple query of ours (BEGIN, SET ...); all its answers are dropped unless it fails.
    InjectedQuery,
}

/// What to do with a frame from the backend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disposition {
    /// Pass it on unchanged.
    Forward,
    /// Keep it from the client.
    Drop,
    /// ReadyForQuery of the client's last message: everything owed has come. The byte is the status.
    Ready(u8),
    /// The backend waits for the client's COPY data.
    CopyIn,
    /// A query of ours failed: forward the error, and nothing that follows of it.
    InjectedFailed,
    /// Not a frame that can come here.
    Unexpected,
}

/// The queue of what a backend owes.
#[derive(Debug, Default)]
pub struct ReplyTracker {
    queue: VecDeque<Expected>,
    /// Statements whose Parse has been sent and not been answered.
    failed_statements: Vec<StatementId>,
    failed: bool,
}

const PARSE_COMPLETE: [u8; 5] = [b'1', 0, 0, 0, 4];
const CLOSE_COMPLETE: [u8; 5] = [b'3', 0, 0, 0, 4];

impl ReplyTracker {
    /// Owes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more message was sent or kept back.
    pub fn expect(&mut self, expected: Expected) {
        self.queue.push_back(expected);
    }

    /// Whether everything has come.
    pub fn is_done(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether the client's part of the batch failed so far.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Statements that the backend turned out not to know, since their Parse failed or was skipped.
    pub fn take_failed_statements(&mut self) -> Vec<StatementId> {
        std::mem::take(&mut self.failed_statements)
    }

    /// Puts the answers that we make ourselves, as far as their turn has come, at the end of `out`.
    pub fn emit_local(&mut self, out: &mut impl Extend<u8>) {
        while let Some(front) = self.queue.front() {
            match front {
                Expected::LocalParse => out.extend(PARSE_COMPLETE),
                Expected::LocalClose => out.extend(CLOSE_COMPLETE),
                _ => break,
            }
            self.queue.pop_front();
        }
    }

    /// Whether an answer of ours is due before the next frame of the backend.
    pub fn local_is_due(&self) -> bool {
        matches!(
            self.queue.front(),
            Some(Expected::LocalParse | Expected::LocalClose)
        )
    }

    /// A frame with this tag came from the backend; `status` is the first byte of its body (of ReadyForQuery).
    pub fn on_frame(&mut self, tag: u8, status: u8) -> Disposition {
        // Asynchronous messages may come at any point.
        if matches!(tag, b'N' | b'A') {
            return match self.queue.front() {
                Some(Expected::InjectedQuery) if tag == b'N' => Disposition::Drop,
                _ => Disposition::Forward,
            };
        }
        let Some(front) = self.queue.front().copied() else {
            return if tag == b'S' {
                Disposition::Drop
            } else {
                Disposition::Unexpected
            };
        };
        if front == Expected::InjectedQuery {
            return self.on_injected_query(tag);
        }
        match (tag, front) {
            (b'S' | b'G' | b'H' | b'd' | b'c' | b'W', _) => Self::on_copy_or_status(tag),
            (b'E', _) => self.on_error(),
            (b'Z', Expected::Sync | Expected::Query) => {
                self.queue.pop_front();
                if self.queue.is_empty() {
                    Disposition::Ready(status)
                } else {
                    Disposition::Forward
                }
            }
            (_, Expected::Query) => Disposition::Forward,
            (b'1', Expected::Parse(_)) | (b'2', Expected::Bind) | (b'3', Expected::Close) => {
                self.pop(Disposition::Forward)
            }
            (b'1', Expected::InjectedParse(_)) | (b'3', Expected::InjectedClose) => {
                self.pop(Disposition::Drop)
            }
            (b'T' | b'n', Expected::DescribeStatement | Expected::DescribePortal) => {
                self.pop(Disposition::Forward)
            }
            (b't', Expected::DescribeStatement) | (b'D', Expected::Execute) => Disposition::Forward,
            (b'C' | b'I' | b's', Expected::Execute) => self.pop(Disposition::Forward),
            _ => Disposition::Unexpected,
        }
    }

    fn pop(&mut self, disposition: Disposition) -> Disposition {
        self.queue.pop_front();
        disposition
    }

    fn on_copy_or_status(tag: u8) -> Disposition {
        match tag {
            b'G' => Disposition::CopyIn,
            // COPY BOTH belongs to replication connections, which have no place here.
            b'W' => Disposition::Unexpected,
            _ => Disposition::Forward,
        }
    }

    fn on_injected_query(&mut self, tag: u8) -> Disposition {
        match tag {
            b'Z' => self.pop(Disposition::Drop),
            b'E' => Disposition::InjectedFailed,
            _ => Disposition::Drop,
        }
    }

    /// An error of a simple query is followed by its own ReadyForQuery; in the extended protocol everything up to the
    /// next Sync is skipped, by the server and here.
    fn on_error(&mut self) -> Disposition {
        self.failed = true;
        if self.queue.front() == Some(&Expected::Query) {
            return Disposition::Forward;
        }
        while let Some(front) = self.queue.front() {
            match front {
                Expected::Sync => break,
                Expected::Parse(Some(id)) | Expected::InjectedParse(id) => self.failed_statements.push(*id),
                _ => {}
            }
            self.queue.pop_front();
        }
        Disposition::Forward
    }
}

#[cfg(test)]
mod tests {
    use super::{Disposition as D, Expected as E, ReplyTracker};
    use crate::prepared::StatementId;

    fn tracker(expected: &[E]) -> ReplyTracker {
        let mut tracker = ReplyTracker::new();
        for e in expected {
            tracker.expect(*e);
        }
        tracker
    }

    fn run(tracker: &mut ReplyTracker, tags: &[u8]) -> Vec<D> {
        tags.iter().map(|t| tracker.on_frame(*t, b'I')).collect()
    }

    #[test]
    fn an_injected_parse_is_invisible() {
        let mut t = tracker(&[E::InjectedParse(StatementId(1)), E::Bind, E::Execute, E::Sync]);
        assert_eq!(
            run(&mut t, b"12DDCZ"),
            [
                D::Drop,
                D::Forward,
                D::Forward,
                D::Forward,
                D::Forward,
                D::Ready(b'I')
            ]
        );
        assert!(t.is_done());
    }

    #[test]
    fn a_parse_that_was_kept_back_is_answered_in_its_place() {
        let mut t = tracker(&[E::LocalParse, E::Bind, E::LocalClose, E::Execute, E::Sync]);
        let mut out = Vec::new();
        t.emit_local(&mut out);
        assert_eq!(out, [b'1', 0, 0, 0, 4]);
        assert_eq!(run(&mut t, b"2"), [D::Forward]);
        assert!(t.local_is_due());
        t.emit_local(&mut out);
        assert_eq!(out.len(), 10);
        assert_eq!(run(&mut t, b"CZ"), [D::Forward, D::Ready(b'I')]);
    }

    #[test]
    fn an_error_skips_to_the_sync_and_names_what_was_not_prepared() {
        let s = StatementId(4);
        let mut t = tracker(&[E::Parse(Some(s)), E::LocalParse, E::Bind, E::Execute, E::Sync]);
        assert_eq!(run(&mut t, b"EZ"), [D::Forward, D::Ready(b'I')]);
        assert!(t.has_failed());
        assert_eq!(t.take_failed_statements(), [s]);
    }

    #[test]
    fn a_statement_prepared_before_the_error_stays() {
        let mut t = tracker(&[E::Parse(Some(StatementId(4))), E::Bind, E::Sync]);
        run(&mut t, b"1EZ");
        assert!(t.take_failed_statements().is_empty());
    }

    #[test]
    fn our_own_queries_are_invisible_unless_they_fail() {
        let mut t = tracker(&[E::InjectedQuery, E::Query]);
        assert_eq!(run(&mut t, b"SCNZ"), [D::Drop, D::Drop, D::Drop, D::Drop]);
        assert_eq!(
            run(&mut t, b"TDCZ"),
            [D::Forward, D::Forward, D::Forward, D::Ready(b'I')]
        );
        let mut t = tracker(&[E::InjectedQuery, E::Query]);
        assert_eq!(run(&mut t, b"E"), [D::InjectedFailed]);
    }

    #[test]
    fn pipelined_syncs_end_one_by_one() {
        let mut t = tracker(&[E::Bind, E::Execute, E::Sync, E::Bind, E::Execute, E::Sync]);
        let got = run(&mut t, b"2CZ2CZ");
        assert_eq!(got.get(2), Some(&D::Forward));
        assert_eq!(got.get(5), Some(&D::Ready(b'I')));
    }

    #[test]
    fn frames_out_of_place_are_unexpected() {
        assert_eq!(run(&mut tracker(&[E::Bind]), b"1"), [D::Unexpected]);
        assert_eq!(run(&mut tracker(&[]), b"D"), [D::Unexpected]);
        assert_eq!(run(&mut tracker(&[E::Query]), b"W"), [D::Unexpected]);
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_frames_never_panic(tags in proptest::collection::vec(0u8..=255, 0..50)) {
            let mut t = tracker(&[E::InjectedQuery, E::LocalParse, E::Bind, E::Execute, E::Sync]);
            for tag in tags {
                t.on_frame(tag, b'I');
                t.emit_local(&mut Vec::new());
            }
        }
    }
}
