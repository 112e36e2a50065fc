//! Reads outside a transaction that the cache or a standby may answer: they go the way of routed databases.

use super::{Client, Direct, Ended};
use crate::client::Flow;
use crate::data::plans::{CachedTemplate, Special};
use planner::Access;
use session::intake::Front;
use session::requests::{Assembled, Assembler, BatchEnd, Message, Request};
use wire::frontend::{Bind, BindNames, Describe, Execute, Parse, Target};

impl Client {
    /// The request at the front of the input, if it is such a read and nothing else is under way.
    pub(super) fn routable(&self, direct: &Direct, front: Front) -> Option<Request> {
        if !self.database.needs.stream() || direct.is_open() || !direct.tracker.is_done() {
            return None;
        }
        if front.tag == b'Q' {
            let plan = self.text_plan(front)?;
            return is_read(&plan).then_some(Request::Query(Message {
                tag: front.tag,
                frame: 0..front.len,
            }));
        }
        let limit = self.thread.settings().limits.max_packet_size;
        match Assembler::default().next(&self.io.input, limit) {
            Ok(Assembled::Request(Request::Batch(messages, BatchEnd::Sync), _)) if self.reads(&messages) => {
                Some(Request::Batch(messages, BatchEnd::Sync))
            }
            _ => None,
        }
    }

    /// Whether a batch is one read, with all that it needs.
    fn reads(&self, messages: &[Message]) -> bool {
        let mut parsed: Option<&[u8]> = None;
        let mut executes = 0;
        for message in messages {
            let body = self.io.input.get(message.body()).unwrap_or_default();
            let fine = match message.tag {
                b'P' => match Parse::decode(body) {
                    Ok(parse) if !self.statements.is_taken(parse.name) => {
                        parsed = Some(parse.name);
                        self.thread
                            .template(&self.database, &self.plans, parse.sql)
                            .is_ok_and(|plan| is_read(&plan))
                    }
                    _ => false,
                },
                b'B' => {
                    BindNames::decode(body).is_ok_and(|names| {
                        let known = self
                            .statements
                            .get(names.statement)
                            .is_some_and(|s| is_read(&s.plan));
                        names.portal.is_empty() && (known || parsed == Some(names.statement))
                    }) && Bind::decode(body).is_ok()
                }
                b'D' => Describe::decode(body).is_ok_and(|describe| {
                    describe.target == Target::Portal
                        || parsed == Some(describe.name)
                        || self
                            .statements
                            .get(describe.name)
                            .is_some_and(|s| is_read(&s.plan))
                }),
                b'E' => {
                    executes += 1;
                    Execute::decode(body).is_ok_and(|e| e.max_rows == 0 && e.portal.is_empty())
                }
                _ => false,
            };
            if !fine {
                return false;
            }
        }
        executes == 1
    }

    /// Has a read answered by the cache or the server that is best for it.
    pub(super) async fn route(&mut self, direct: &mut Direct, request: Request) -> Result<(), Ended> {
        self.request_len = match &request {
            Request::Query(message) => message.frame.end,
            Request::Batch(messages, _) => {
                messages.last().map_or(0, |last| last.frame.end) + wire::frame::HEADER_LEN
            }
            _ => 0,
        };
        let used = self.request_len;
        let is_query = matches!(request, Request::Query(_));
        let flow = Box::pin(self.handle(request)).await;
        self.consume_request();
        direct.intake.skip(used);
        if is_query {
            direct.names.unnamed.clear();
        } else {
            direct.names.next_batch();
            if let Some(statement) = self.statements.get(b"") {
                direct.names.unnamed.adopt(statement);
                self.statements.remove(b"");
            }
        }
        if self.io.flush().await.is_err() || flow == Flow::Close {
            return Err(Ended);
        }
        Ok(())
    }
}

fn is_read(plan: &CachedTemplate) -> bool {
    let template = &plan.template;
    plan.special == Special::No
        && plan.effects.is_empty()
        && template.len() == 1
        && !template.needs_exact_text()
        && template.local(0).is_none()
        && template.access(0) == Access::Read
}
