//! Where the usual way ends with an answer under way: the general relay reads the rest of it.

use super::{Form, Sent};
use crate::client::{Client, Failure, Flow};
use crate::data::io::Wake;
use crate::data::relay::relay_after;
use planner::{Access, Effects};
use session::relay::{Answer, RelayEnd};
use session::usual::Request;
use session::{Expected, ReplyTracker};
use wire::ProxyError;

impl Sent {
    /// What the server still owes.
    fn owed(&self) -> ReplyTracker {
        let mut tracker = ReplyTracker::new();
        if self.begin {
            tracker.expect(Expected::InjectedQuery);
        }
        match self.form {
            Form::Query | Form::Commit => tracker.expect(Expected::Query),
            Form::Execute { parse, describe } => {
                if parse {
                    tracker.expect(Expected::Parse(None));
                }
                tracker.expect(Expected::Bind);
                if describe {
                    tracker.expect(Expected::DescribePortal);
                }
                tracker.expect(Expected::Execute);
                tracker.expect(Expected::Sync);
            }
        }
        tracker
    }
}

impl Client {
    /// Reads the rest of an answer and ends the request. What was read already is in the scratch buffer.
    pub(in crate::client) async fn resume_usual(&mut self, sent: Sent, from: usize, wake: Wake) -> Flow {
        let outcome = match sent.form {
            Form::Commit => self.resume_commit(from, wake).await,
            Form::Query | Form::Execute { .. } => self.rest_of_answer(&sent, from, wake).await,
        };
        self.conclude_usual(&sent, outcome).await
    }

    async fn conclude_usual(&mut self, sent: &Sent, outcome: Result<(), Failure>) -> Flow {
        let mut flow = Flow::Continue;
        match outcome {
            Ok(()) if self.block.is_some() && matches!(sent.form, Form::Execute { .. }) => {
                self.remember_unnamed_portal(sent.at)
            }
            Ok(()) => {}
            Err(failure) => flow = self.report(failure),
        }
        if self.block.is_none() {
            self.portals.clear();
        }
        self.settle().await;
        if self.catalog_changed {
            self.follow_catalog().await;
        }
        self.ready();
        self.count_answered(sent.begun, health::boot_time(), self.io.out.len());
        flow
    }

    /// A request for which no connection can be had.
    pub(in crate::client) fn refuse_usual(&mut self, failure: Failure) -> Flow {
        let used = Request::read(&self.io.input, self.thread.rules().max_packet_size)
            .map_or(0, |request| request.bytes.len());
        self.io.consume(used);
        let now = health::boot_time();
        self.count_begun(used, now);
        let flow = self.report(failure);
        self.ready();
        self.count_answered(now, now, self.io.out.len());
        flow
    }

    async fn rest_of_answer(&mut self, sent: &Sent, from: usize, wake: Wake) -> Result<(), Failure> {
        let mut tracker = sent.owed();
        let mut answer = Answer {
            withhold_ready: true,
            ..Answer::forwarded()
        };
        let Some(participant) = self.participants.get_mut(sent.at) else {
            return Err(ProxyError::internal().into());
        };
        self.io.prepare_out();
        let backend = &mut participant.backend;
        let first = Some((from, wake));
        let end = relay_after(&mut self.io, backend, &mut tracker, &mut answer, first).await;
        match end {
            Ok(RelayEnd::Ready(status)) => {
                self.note_status(status);
                self.note_command(&answer.tag);
                self.note_effects(sent.at, sent.access, Effects::NONE);
                if answer.error.is_some() {
                    return Err(Failure::Reported);
                }
                if sent.access == Access::Write && self.block.is_none() {
                    self.note_write_acknowledged(sent.at);
                }
                Ok(())
            }
            Ok(RelayEnd::InjectedFailed) => {
                self.discard(sent.at);
                Err(Failure::Reported)
            }
            // A query's answer asks for no data, and its batch has a Sync.
            Ok(RelayEnd::CopyIn | RelayEnd::Flushed) => {
                self.discard(sent.at);
                Err(ProxyError::internal().into())
            }
            Err(error) => Err(self.lost(sent.at, &error)),
        }
    }
}
