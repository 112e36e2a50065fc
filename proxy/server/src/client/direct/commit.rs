//! A COMMIT whose answer may get lost: then nobody knows what became of it.

use crate::data::thread::PlanRef;
use session::{Owed, ReplyTracker};
use sql::{StatementKind, TransactionControl};

/// The COMMIT under way.
#[derive(Default, Debug)]
pub(super) struct Commit {
    /// The portal that commits when it is executed.
    portal: Option<Box<[u8]>>,
    sent: Sent,
}

/// Whether a lost answer to one of a text's statements leaves open what became of a transaction.
pub(super) fn commits(plan: &PlanRef) -> bool {
    use TransactionControl::{Commit, CommitPrepared, Prepare};
    let mut kinds = (0..plan.template.len()).filter_map(|n| plan.template.kind(n));
    kinds.any(|kind| {
        matches!(
            kind,
            StatementKind::Transaction(Commit { .. } | CommitPrepared(_) | Prepare(_))
        )
    })
}

/// How far the last one is.
#[derive(Clone, Copy, Default, Debug)]
enum Sent {
    /// There was none.
    #[default]
    None,
    /// It was executed in a batch whose Sync has not been sent.
    InBatch,
    /// The ReadyForQuery for this message says that it is over. A driver may not look at the command tag before.
    Whole(Owed),
}

impl Commit {
    /// A portal is bound to a statement that `commits`, or to one that doesn't.
    pub(super) fn bound(&mut self, portal: &[u8], commits: bool) {
        if commits {
            self.portal = Some(portal.into());
        } else if self.portal.as_deref() == Some(portal) {
            self.portal = None;
        }
    }

    /// A portal is executed.
    pub(super) fn executed(&mut self, portal: &[u8]) {
        if self.portal.as_deref() == Some(portal) {
            self.portal = None;
            self.sent = Sent::InBatch;
        }
    }

    /// Whether the Sync of its batch is still to be sent.
    pub(super) fn awaits_sync(&self) -> bool {
        matches!(self.sent, Sent::InBatch)
    }

    /// The query that it stands in, or the Sync of its batch, was sent; `None`: the server skips it.
    pub(super) fn sent(&mut self, owed: Option<Owed>) {
        self.sent = owed.map_or(Sent::None, Sent::Whole);
    }

    /// Whether one was sent that the server has not answered.
    pub(super) fn is_unanswered(&self, tracker: &ReplyTracker) -> bool {
        match self.sent {
            Sent::None => false,
            Sent::InBatch => true,
            Sent::Whole(owed) => tracker.owes(owed),
        }
    }
}
