//! COPY from the client: which Syncs the server takes for nothing.

use super::Expected;
use std::collections::VecDeque;

/// Where a COPY from the client stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Stage {
    /// There is none, or its data has been sent.
    #[default]
    None,
    /// The server waits for data of which the end hasn't been sent.
    Open,
}

/// COPY from the client, as far as it concerns the queue of answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct CopyIn {
    stage: Stage,
    /// Syncs that the server was to take for nothing.
    ignored: u32,
    /// An error came, and it isn't known whether all of them were.
    unsure: bool,
}

impl CopyIn {
    /// The server asks for data. What the client sent after the statement and before the end of the data is not answered.
    pub(super) fn start(&mut self, queue: &mut VecDeque<Expected>) {
        self.stage = Stage::Open;
        while let Some(next) = queue.get(1).copied() {
            if !self.takes(next) {
                return;
            }
            queue.remove(1);
            if self.stage == Stage::None {
                return;
            }
        }
    }

    /// Whether a message is for the COPY that is under way, and so not answered.
    pub(super) fn takes(&mut self, expected: Expected) -> bool {
        match (self.stage, expected) {
            (Stage::Open, Expected::Sync) => {
                self.ignored += 1;
                true
            }
            (Stage::Open, Expected::CopyEnd) => {
                self.stage = Stage::None;
                true
            }
            _ => false,
        }
    }

    /// The statement is over.
    pub(super) fn over(&mut self) {
        self.stage = Stage::None;
        self.ignored = 0;
    }

    /// The statement of a simple query failed: what is left of the data is not looked at, and Syncs are answered.
    pub(super) fn failed_in_query(&mut self) {
        self.failed_in_execute();
    }

    /// The statement of an Execute failed.
    pub(super) fn failed_in_execute(&mut self) {
        self.unsure |= self.ignored > 0;
        self.over();
    }

    /// All that was owed has come.
    pub(super) fn settle(&mut self) {
        self.unsure = false;
    }

    /// Whether a Sync may be answered that was counted as one that isn't.
    pub(super) fn is_unsure(&self) -> bool {
        self.unsure
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Disposition as D, Expected as E, ReplyTracker};

    fn tracker(expected: &[E]) -> ReplyTracker {
        let mut tracker = ReplyTracker::new();
        for e in expected {
            tracker.expect(*e);
        }
        tracker
    }

    #[test]
    fn a_sync_during_copy_is_not_answered() {
        let mut t = tracker(&[E::Execute, E::Sync]);
        assert_eq!(t.on_frame(b'G', 0), D::CopyIn);
        t.copy_started();
        t.expect(E::CopyEnd);
        t.expect(E::Sync);
        assert_eq!(t.on_frame(b'C', 0), D::Forward);
        assert_eq!(t.on_frame(b'Z', b'I'), D::Ready(b'I'));
        assert!(t.is_done() && !t.is_unsure());
    }

    #[test]
    fn data_that_was_sent_ahead_ends_its_own_copy() {
        let mut t = tracker(&[E::Execute, E::Sync, E::CopyEnd, E::Sync, E::Bind, E::Sync]);
        t.on_frame(b'G', 0);
        t.copy_started();
        let got: Vec<D> = b"CZ2Z".iter().map(|tag| t.on_frame(*tag, b'I')).collect();
        assert_eq!(got, [D::Forward, D::Forward, D::Forward, D::Ready(b'I')]);
    }

    #[test]
    fn an_error_during_copy_leaves_it_open_how_many_syncs_are_answered() {
        let mut t = tracker(&[E::Execute, E::Sync]);
        t.on_frame(b'G', 0);
        t.copy_started();
        assert_eq!(t.on_frame(b'E', 0), D::Forward);
        assert!(t.is_unsure());
        assert_eq!(t.on_frame(b'Z', b'I'), D::Forward);
        t.expect(E::CopyEnd);
        t.expect(E::Sync);
        assert_eq!(t.on_frame(b'Z', b'I'), D::Ready(b'I'));
    }

    #[test]
    fn a_query_of_ours_tells_how_many_syncs_were_answered() {
        for (frames, forwarded) in [(&b"ZIZ"[..], 1), (b"IZ", 0)] {
            let mut t = tracker(&[E::Execute, E::Sync]);
            t.on_frame(b'G', 0);
            t.copy_started();
            t.on_frame(b'E', 0);
            assert!(t.is_skipping());
            t.expect(E::Sync);
            assert_eq!(t.on_frame(b'Z', b'I'), D::Ready(b'I'));
            assert!(t.is_unsure() && t.is_done() && !t.is_skipping());
            t.expect(E::Settling);
            let got: Vec<D> = frames.iter().map(|tag| t.on_frame(*tag, b'I')).collect();
            assert_eq!(got.iter().filter(|d| **d == D::Forward).count(), forwarded);
            assert!(t.is_done() && !t.is_unsure());
        }
    }

    #[test]
    fn a_sync_that_was_read_after_the_error_ends_the_skipping() {
        let mut t = tracker(&[E::Execute]);
        t.on_frame(b'G', 0);
        t.copy_started();
        t.expect(E::Sync);
        t.expect(E::CopyEnd);
        assert_eq!(t.on_frame(b'E', 0), D::Forward);
        assert!(t.is_skipping());
        assert_eq!(t.on_frame(b'Z', b'I'), D::Forward);
        assert!(!t.is_skipping());
        t.expect(E::UnnamedParse);
        assert_eq!(t.on_frame(b'1', 0), D::Forward);
    }

    #[test]
    fn the_end_of_data_that_nobody_asked_for_is_not_answered() {
        let mut t = tracker(&[E::CopyEnd, E::Query, E::CopyEnd, E::Sync]);
        assert_eq!(t.on_frame(b'C', 0), D::Forward);
        assert_eq!(t.on_frame(b'Z', b'I'), D::Forward);
        let mut out = Vec::new();
        t.emit_local(&mut out);
        assert!(out.is_empty());
        assert_eq!(t.on_frame(b'Z', b'I'), D::Ready(b'I'));
    }
}
