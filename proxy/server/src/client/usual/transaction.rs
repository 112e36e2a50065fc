//! BEGIN, and COMMIT of a transaction on one shard, by simple query.

use super::{Form, Sent, Stage, Start};
use crate::client::backends::CopyFrom;
use crate::client::{Client, Failure};
use crate::data::io::Wake;
use crate::metrics::PlanKind;
use planner::Access;
use session::BlockKind;
use session::usual::{Kind, Request};
use sql::TransactionModes;
use topology::Mono;
use wire::ProxyError;
use wire::backend::CommandComplete;

/// COMMIT as a simple query.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";
/// Its answer where the transaction is committed, and nothing is said beside that.
const COMMITTED: &[u8] = b"C\0\0\0\x0bCOMMIT\0Z\0\0\0\x05I";

/// Whether it is the answer of a COMMIT that went as it does usually.
pub(super) fn is_committed(answer: &[u8]) -> bool {
    answer == COMMITTED
}

impl Client {
    /// BEGIN outside a block: no server sees it before the block's first statement.
    pub(super) fn begin_usual(
        &mut self,
        request: &Request<'_>,
        modes: TransactionModes,
        begun: Mono,
    ) -> Start {
        let Kind::Query(text) = &request.kind else {
            return Start::Other;
        };
        let Ok(text) = std::str::from_utf8(text) else {
            return Start::Other;
        };
        if self.block.is_some() {
            return Start::Other;
        }
        self.count_control(request, begun);
        let tag = self.begin(modes, text).tag;
        self.io.prepare_out();
        CommandComplete { tag: tag.as_bytes() }.encode(&mut self.io.out);
        self.ready();
        self.count_answered(begun, health::boot_time(), self.io.out.len());
        Start::Answered(request.bytes.len())
    }

    /// COMMIT of a sound block that one shard has joined.
    pub(super) fn commit_usual(&mut self, request: &Request<'_>, begun: Mono) -> Start {
        let sound = |block: &session::TransactionBlock| !block.failed && block.kind == BlockKind::Explicit;
        if !self.block.as_deref().is_some_and(sound) || self.info.lost_in_block.get() || self.catalog_changed
        {
            return Start::Other;
        }
        let [participant] = self.participants.as_mut_slice() else {
            return Start::Other;
        };
        let asked_already = participant.readies_due > 0 || participant.copy != CopyFrom::No;
        if !participant.joined || participant.begin_due || asked_already {
            return Start::Other;
        }
        participant.backend.send_now(COMMIT);
        let access = if participant.wrote {
            Access::Write
        } else {
            Access::Read
        };
        self.count_control(request, begun);
        Start::Sent(Sent {
            at: 0,
            begun,
            received: request.bytes.len(),
            access,
            form: Form::Commit,
            begin: false,
        })
    }

    /// The transaction is committed.
    pub(super) fn end_commit_usual(&mut self, sent: Sent) {
        let now = health::boot_time();
        if let Some(participant) = self.participants.get_mut(sent.at) {
            participant.joined = false;
        }
        if sent.access == Access::Write {
            self.note_write_acknowledged_at(sent.at, now);
        }
        self.end_block(true);
        self.io.send_now(COMMITTED);
        self.count_answered(sent.begun, now, COMMITTED.len());
        self.stage = Stage::Answered;
    }

    /// COMMIT was sent, and its answer is not the usual one, or not all of it: the general way reads it to its end.
    pub(super) async fn resume_commit(&mut self, from: usize, wake: Wake) -> Result<(), Failure> {
        self.io.prepare_out();
        self.stage = Stage::Heard(from, wake);
        let told = self.commit(false).await;
        if self.take_heard().is_some() {
            // Nobody has read the answer: it would be taken for another's.
            self.discard(0);
            return Err(ProxyError::internal().into());
        }
        let told = told?;
        CommandComplete {
            tag: told.tag.as_bytes(),
        }
        .encode(&mut self.io.out);
        Ok(())
    }

    /// What was heard of the answer to a COMMIT that this way has sent already.
    pub(in crate::client) fn take_heard(&mut self) -> Option<(usize, Wake)> {
        match std::mem::take(&mut self.stage) {
            Stage::Heard(from, wake) => Some((from, wake)),
            other => {
                self.stage = other;
                None
            }
        }
    }

    fn count_control(&mut self, request: &Request<'_>, begun: Mono) {
        self.note_begun(request.bytes.len(), begun);
        let counted = self.thread.stats.database(self.database.index);
        counted.plan(PlanKind::Local);
    }
}
