//! Which answers a backend still owes, and what of them the client may see.
//!
//! For every message sent to a backend one [`Expected`] is queued. Answers to messages that we put in ourselves are
//! dropped; answers to messages that we kept back are made here at the place where the client expects them. After an
//! error the server skips to the next Sync, and so does the queue.

mod copy;

use crate::prepared::StatementId;
use copy::CopyIn;
use std::collections::VecDeque;

/// What one message to the backend, or one kept back from it, will be answered with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expected {
    /// Kept back: the client is told ParseComplete by us.
    LocalParse,
    /// As [`Expected::LocalParse`], of a statement with a name.
    LocalNamedParse,
    /// Kept back: the client is told CloseComplete by us.
    LocalClose,
    /// A Parse that the client sent.
    Parse(Option<StatementId>),
    /// A Parse that the client sent, of a statement with a name.
    NamedParse(StatementId),
    /// A Parse that the client sent, of the unnamed statement.
    UnnamedParse,
    /// A Parse that we put in; its answer is dropped.
    InjectedParse(StatementId),
    /// A Close that we put in, of that statement if it is one of ours; its answer is dropped.
    InjectedClose(Option<StatementId>),
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
    /// A Close that the client sent, of a statement with a name.
    NamedClose,
    /// A Sync: ReadyForQuery.
    Sync,
    /// A simple query or a function call of the client's.
    Query,
    /// A simple query of ours (BEGIN, SET ...); all its answers are dropped unless it fails.
    InjectedQuery,
    /// As [`Expected::InjectedQuery`], and what it changes of settings concerns the client.
    RestoringQuery,
    /// Messages of ours of the extended protocol, with a Sync at their end; all answers are dropped, errors too.
    InjectedBatch,
    /// CopyDone or CopyFail: no answer of its own.
    CopyEnd,
    /// A query of ours without a statement: what comes before its answer tells whether the server owed one more
    /// ReadyForQuery than was known.
    Settling,
    /// As [`Expected::Settling`], of which the answer has begun.
    Settled,
    /// A message of ours of the extended protocol: its answer is dropped unless it fails.
    Injected,
    /// A message of ours of the extended protocol that fails on purpose, since the client was told an error by us.
    Refused,
    /// A query of ours that fails on purpose; its ReadyForQuery is the client's.
    RefusedQuery,
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

/// What became of a message that names or closes a statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was carried out.
    Done,
    /// It failed, or was skipped after an error.
    Undone,
}

/// One message's place among all that were sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owed(usize);

/// The queue of what a backend owes.
#[derive(Debug, Default)]
pub struct ReplyTracker {
    queue: VecDeque<Expected>,
    /// How many messages have stood in it.
    queued: usize,
    news: News,
    copy: CopyIn,
    failed: bool,
    /// The server skips messages up to a Sync that it has not been sent.
    skipping: bool,
}

/// What became of messages, until somebody asks.
#[derive(Debug, Default)]
struct News {
    /// Statements whose Parse has been sent and was not carried out.
    failed_statements: Vec<StatementId>,
    /// Statements whose Close has been sent and was not carried out.
    kept_statements: Vec<StatementId>,
    /// Of messages with names, in the order in which they were sent.
    outcomes: Vec<Outcome>,
    /// The Parse of an unnamed statement failed or was skipped.
    unnamed_failed: bool,
    /// Something that we put in failed or was skipped.
    injected_failed: bool,
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
        if self.skipping {
            if expected != Expected::Sync {
                return;
            }
            self.skipping = false;
        }
        if self.copy.takes(expected) || (expected == Expected::CopyEnd && self.queue.is_empty()) {
            return;
        }
        self.queue.push_back(expected);
        self.queued = self.queued.wrapping_add(1);
    }

    /// The same, for somebody who asks later whether it was answered; `None`: the server skips it.
    pub fn expect_marked(&mut self, expected: Expected) -> Option<Owed> {
        let place = Owed(self.queued);
        self.expect(expected);
        (self.queued != place.0).then_some(place)
    }

    /// Whether the answer to a message has not come in full.
    pub fn owes(&self, message: Owed) -> bool {
        let ahead = self.queued.wrapping_sub(message.0);
        ahead <= self.queue.len()
    }

    /// Whether everything has come.
    pub fn is_done(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether the client's part of the batch failed so far.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Whether the server ignores what it is sent before a Sync.
    pub fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// Whether a ReadyForQuery is owed: until it comes, the state of the transaction isn't known.
    pub fn owes_ready(&self) -> bool {
        let ready = |expected: &Expected| {
            matches!(
                expected,
                Expected::Sync | Expected::Query | Expected::RefusedQuery
            )
        };
        self.queue.iter().any(ready)
    }

    /// Whether one ReadyForQuery more than is known of may come: an error ended COPY, and it can't be told on which side
    /// of it the server read a Sync. [`Expected::Settling`] finds out.
    pub fn is_unsure(&self) -> bool {
        self.copy.is_unsure()
    }

    /// Statements that the backend turned out not to know, since their Parse failed or was skipped.
    pub fn take_failed_statements(&mut self) -> Vec<StatementId> {
        std::mem::take(&mut self.news.failed_statements)
    }

    /// Statements that the backend turned out to know still, since their Close was skipped.
    pub fn take_kept_statements(&mut self) -> Vec<StatementId> {
        std::mem::take(&mut self.news.kept_statements)
    }

    /// What became of messages that name or close statements, in the order in which they were sent.
    pub fn take_outcomes(&mut self) -> Vec<Outcome> {
        std::mem::take(&mut self.news.outcomes)
    }

    /// Whether the Parse of an unnamed statement failed or was skipped since this was asked last.
    pub fn take_unnamed_failed(&mut self) -> bool {
        std::mem::take(&mut self.news.unnamed_failed)
    }

    /// Whether something that we put in under a name of the client's own failed or was skipped since this was asked last.
    pub fn take_injected_failed(&mut self) -> bool {
        std::mem::take(&mut self.news.injected_failed)
    }

    /// Whether there is something to be taken by one of the above.
    pub fn has_news(&self) -> bool {
        self.news.unnamed_failed
            || self.news.injected_failed
            || !self.news.outcomes.is_empty()
            || !self.news.failed_statements.is_empty()
            || !self.news.kept_statements.is_empty()
    }

    /// Puts the answers that we make ourselves, as far as their turn has come, at the end of `out`.
    pub fn emit_local(&mut self, out: &mut impl Extend<u8>) {
        while let Some(front) = self.queue.front() {
            match front {
                Expected::LocalParse => out.extend(PARSE_COMPLETE),
                Expected::LocalNamedParse => {
                    out.extend(PARSE_COMPLETE);
                    self.news.outcomes.push(Outcome::Done);
                }
                Expected::LocalClose => out.extend(CLOSE_COMPLETE),
                Expected::CopyEnd => {}
                _ => break,
            }
            self.queue.pop_front();
        }
    }

    /// Whether an answer of ours is due before the next frame of the backend.
    pub fn local_is_due(&self) -> bool {
        matches!(
            self.queue.front(),
            Some(Expected::LocalParse | Expected::LocalNamedParse | Expected::LocalClose | Expected::CopyEnd)
        )
    }

    /// The client's COPY data goes to the backend while its answers are read: the backend takes Sync and Flush for nothing
    /// until the data ends.
    pub fn copy_started(&mut self) {
        self.copy.start(&mut self.queue);
    }

    /// A frame with this tag came from the backend; `status` is the first byte of its body (of ReadyForQuery).
    #[inline]
    pub fn on_frame(&mut self, tag: u8, status: u8) -> Disposition {
        // Asynchronous messages may come at any point.
        if matches!(tag, b'N' | b'A') {
            return match self.queue.front() {
                Some(Expected::InjectedQuery | Expected::RestoringQuery | Expected::InjectedBatch)
                    if tag == b'N' =>
                {
                    Disposition::Drop
                }
                _ => Disposition::Forward,
            };
        }
        let Some(front) = self.queue.front().copied() else {
            return match tag {
                b'S' | b'E' => Disposition::Forward,
                b'Z' if self.copy.is_unsure() => self.answered_in_doubt(),
                _ => Disposition::Unexpected,
            };
        };
        match front {
            Expected::InjectedQuery => return self.on_injected_query(tag),
            Expected::RestoringQuery if tag == b'S' => return Disposition::Forward,
            Expected::RestoringQuery => return self.on_injected_query(tag),
            Expected::Settling | Expected::Settled => return self.on_settling(front, tag),
            Expected::InjectedBatch if tag == b'Z' => return self.pop(Disposition::Drop),
            Expected::InjectedBatch => {
                self.news.injected_failed |= tag == b'E';
                return Disposition::Drop;
            }
            _ => {}
        }
        match (tag, front) {
            (b'S' | b'G' | b'H' | b'd' | b'c' | b'W', _) => Self::on_copy_or_status(tag),
            (b'E', _) => self.on_error(front),
            (b'Z', Expected::Sync | Expected::Query | Expected::RefusedQuery) => {
                self.queue.pop_front();
                self.copy.over();
                if self.queue.is_empty() {
                    Disposition::Ready(status)
                } else {
                    Disposition::Forward
                }
            }
            (b'Z', _) if self.copy.is_unsure() => self.answered_in_doubt(),
            (_, Expected::Query) => Disposition::Forward,
            (b'1', Expected::Parse(_) | Expected::UnnamedParse)
            | (b'2', Expected::Bind)
            | (b'3', Expected::Close) => self.pop(Disposition::Forward),
            (b'1', Expected::NamedParse(_)) | (b'3', Expected::NamedClose) => {
                self.news.outcomes.push(Outcome::Done);
                self.pop(Disposition::Forward)
            }
            (b'1', Expected::InjectedParse(_)) | (b'3', Expected::InjectedClose(_)) => {
                self.pop(Disposition::Drop)
            }
            (b'1' | b'2' | b'3' | b'C', Expected::Injected) => self.pop(Disposition::Drop),
            (b'D', Expected::Injected) => Disposition::Drop,
            // Those before the one that fails.
            (b'1' | b'2', Expected::Refused) => self.pop(Disposition::Drop),
            (b'T' | b'n', Expected::DescribeStatement | Expected::DescribePortal) => {
                self.pop(Disposition::Forward)
            }
            (b't', Expected::DescribeStatement) | (b'D', Expected::Execute) => Disposition::Forward,
            (b'C' | b'I' | b's', Expected::Execute) => {
                self.copy.over();
                self.pop(Disposition::Forward)
            }
            _ => Disposition::Unexpected,
        }
    }

    /// A Sync in the middle of a COPY was answered: the server read it after the error, and skips nothing any more.
    fn answered_in_doubt(&mut self) -> Disposition {
        self.skipping = false;
        Disposition::Forward
    }

    fn pop(&mut self, disposition: Disposition) -> Disposition {
        self.queue.pop_front();
        disposition
    }

    fn on_settling(&mut self, front: Expected, tag: u8) -> Disposition {
        match (tag, front) {
            (b'I', Expected::Settling) => {
                if let Some(front) = self.queue.front_mut() {
                    *front = Expected::Settled;
                }
                Disposition::Drop
            }
            (b'Z', Expected::Settled) => {
                self.copy.settle();
                self.pop(Disposition::Drop)
            }
            // The client's.
            (b'Z' | b'S' | b'E', _) => Disposition::Forward,
            _ => Disposition::Unexpected,
        }
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
    fn on_error(&mut self, front: Expected) -> Disposition {
        self.failed = true;
        let disposition = match front {
            Expected::Query => {
                self.copy.failed_in_query();
                return Disposition::Forward;
            }
            Expected::RefusedQuery => return Disposition::Drop,
            Expected::Refused => Disposition::Drop,
            _ => Disposition::Forward,
        };
        self.copy.failed_in_execute();
        self.skipping = true;
        while let Some(front) = self.queue.front() {
            match front {
                Expected::Sync => {
                    self.skipping = false;
                    break;
                }
                Expected::Parse(Some(id)) => self.news.failed_statements.push(*id),
                Expected::InjectedParse(id) => {
                    self.news.failed_statements.push(*id);
                    self.news.injected_failed = true;
                }
                Expected::NamedParse(id) => {
                    self.news.failed_statements.push(*id);
                    self.news.outcomes.push(Outcome::Undone);
                }
                Expected::UnnamedParse => self.news.unnamed_failed = true,
                Expected::LocalNamedParse | Expected::NamedClose => self.news.outcomes.push(Outcome::Undone),
                Expected::InjectedClose(Some(id)) => self.news.kept_statements.push(*id),
                Expected::InjectedClose(None) => self.news.injected_failed = true,
                _ => {}
            }
            self.queue.pop_front();
        }
        disposition
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
    fn a_marked_message_is_owed_until_its_own_answer() {
        let mut tracker = tracker(&[E::Query]);
        let marked = tracker.expect_marked(E::Query).unwrap();
        tracker.expect(E::Query);
        for (tag, owed) in [(b'C', true), (b'Z', true), (b'C', true), (b'Z', false)] {
            tracker.on_frame(tag, b'I');
            assert_eq!(tracker.owes(marked), owed, "{}", char::from(tag));
        }
        assert!(!tracker.is_done());
        tracker.on_frame(b'Z', b'I');
        let failing = tracker.expect_marked(E::Execute).unwrap();
        tracker.on_frame(b'E', b'I');
        assert!(!tracker.owes(failing));
        assert_eq!(tracker.expect_marked(E::Execute), None, "skipped");
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
    fn what_comes_after_an_error_is_skipped_up_to_a_sync_that_is_still_to_be_sent() {
        let mut t = tracker(&[E::Parse(None), E::Bind]);
        assert_eq!(run(&mut t, b"E"), [D::Forward]);
        assert!(t.is_done() && t.is_skipping());
        t.expect(E::NamedParse(StatementId(1)));
        t.expect(E::Execute);
        assert!(t.is_done() && t.take_outcomes().is_empty());
        t.expect(E::Sync);
        assert_eq!(run(&mut t, b"Z"), [D::Ready(b'I')]);
        assert!(!t.is_skipping());
    }

    #[test]
    fn names_are_told_what_became_of_them() {
        let named = |n| E::NamedParse(StatementId(n));
        let mut t = tracker(&[
            named(1),
            E::LocalNamedParse,
            E::Sync,
            E::Bind,
            named(2),
            E::InjectedClose(Some(StatementId(9))),
            E::NamedClose,
            E::Sync,
            E::NamedClose,
            E::Sync,
        ]);
        let mut out = Vec::new();
        t.on_frame(b'1', 0);
        t.emit_local(&mut out);
        run(&mut t, b"ZEZ3Z");
        use super::Outcome::{Done, Undone};
        assert_eq!(t.take_outcomes(), [Done, Done, Undone, Undone, Done]);
        assert_eq!(t.take_failed_statements(), [StatementId(2)]);
        assert_eq!(t.take_kept_statements(), [StatementId(9)]);
        assert!(t.is_done());
    }

    #[test]
    fn errors_made_on_purpose_are_invisible() {
        let mut t = tracker(&[E::Parse(None), E::Refused, E::Sync]);
        assert_eq!(run(&mut t, b"1EZ"), [D::Forward, D::Drop, D::Ready(b'I')]);
        let mut t = tracker(&[E::RefusedQuery]);
        assert_eq!(run(&mut t, b"EZ"), [D::Drop, D::Ready(b'I')]);
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
