//! A statement that one server answers: the client's own bytes there, the server's own bytes back.

use super::{Client, Failure};
use crate::data::thread::PlanRef;
use planner::{Access, Effects, Plan};
use session::relay::{Answer, RelayEnd};
use session::{Expected, Injection, Prepared, ReplyTracker};
use std::ops::Range;
use std::rc::Rc;
use wire::Oids;
use wire::ProxyError;
use wire::frontend::{BindNames, Close, Describe, Execute, Parse, Query, Target, encode_sync};

/// How the client sent a statement; ranges are places in its input.
#[derive(Clone, Debug)]
pub(crate) enum Form {
    /// As (a part of) the text of a simple Query.
    Simple(Range<usize>),
    /// By Bind and Execute.
    Extended(Extended),
}

/// A statement sent by Bind and Execute.
#[derive(Clone, Debug)]
pub(crate) struct Extended {
    /// The prepared statement.
    pub(crate) statement: Rc<Prepared<PlanRef>>,
    /// Whether the client gave it a name.
    pub(crate) named: bool,
    /// The body of Bind.
    pub(crate) bind: Range<usize>,
    /// The portal's name.
    pub(crate) portal: Box<[u8]>,
    /// Whether the client waits for the ParseComplete of the statement.
    pub(crate) parse_pending: bool,
    /// Whether the client asked for the portal's description.
    pub(crate) describe: bool,
    /// The row limit of Execute, 0 for none; `None`: there is no Execute.
    pub(crate) max_rows: Option<i32>,
}

impl Form {
    /// The statement's text in the client's input, or the prepared one.
    pub(crate) fn text<'a>(&'a self, input: &'a [u8]) -> &'a [u8] {
        match self {
            Form::Simple(range) => input.get(range.clone()).unwrap_or_default(),
            Form::Extended(extended) => &extended.statement.sql,
        }
    }
}

impl Client {
    /// Sends the statement to a participant and passes its answer on, without ReadyForQuery.
    pub(crate) async fn forward(&mut self, at: usize, plan: &Plan, form: &Form) -> Result<(), Failure> {
        self.forward_watched(at, plan, form, Answer::forwarded())
            .await
            .map(|_| ())
    }

    /// As [`Client::forward`], and gives back what was seen of the answer.
    pub(crate) async fn forward_watched(
        &mut self,
        at: usize,
        plan: &Plan,
        form: &Form,
        mut answer: Answer,
    ) -> Result<Answer, Failure> {
        if !plan.effects.is_empty() {
            if plan.effects.intersects(Effects::UNLISTED) {
                self.learn_names_of(form);
            }
            Box::pin(self.before_effects(at, plan.effects)).await?;
        }
        answer.withhold_ready = true;
        let mut tracker = self.open(at);
        self.send(at, form, &mut tracker)?;
        loop {
            match self.relay(at, &mut tracker, &mut answer).await? {
                RelayEnd::Ready(status) => {
                    self.note_status(status);
                    self.note_ran(at, plan);
                    if !matches!(form, Form::Extended(extended) if extended.max_rows.is_none()) {
                        self.answered_by_server(at, plan.access);
                    }
                    self.note_command(&answer.tag);
                    if answer.error.is_some() {
                        self.forget_failed(at, &mut tracker);
                        return Err(if answer.silent {
                            silent_failure(answer)
                        } else {
                            Failure::Reported
                        });
                    }
                    if plan.access == Access::Write && self.block.is_none() {
                        self.note_write_acknowledged(at);
                    }
                    return Ok(answer);
                }
                RelayEnd::CopyIn => Box::pin(self.copy_in(at, form)).await?,
                RelayEnd::InjectedFailed => {
                    self.discard(at);
                    return Err(Failure::Reported);
                }
                RelayEnd::Flushed => return Err(ProxyError::internal().into()),
            }
        }
    }

    pub(crate) fn forget_failed(&mut self, at: usize, tracker: &mut ReplyTracker) {
        if let Some(participant) = self.participants.get_mut(at) {
            for id in tracker.take_failed_statements() {
                participant.backend.state_mut().forget(id);
            }
            for id in tracker.take_kept_statements() {
                participant.backend.state_mut().keep(id);
            }
        }
    }

    /// Queues the statement for a participant, together with what that connection has to be taught first.
    fn send(&mut self, at: usize, form: &Form, tracker: &mut ReplyTracker) -> Result<(), Failure> {
        let capacity = self.thread.settings().pool.max_prepared_statements;
        let Some(participant) = self.participants.get_mut(at) else {
            return Err(ProxyError::internal().into());
        };
        let (state, out) = participant.backend.state_and_unsent();
        let input = &self.io.input;
        match form {
            Form::Simple(range) => {
                Query {
                    sql: input.get(range.clone()).unwrap_or_default(),
                }
                .encode(out);
                tracker.expect(Expected::Query);
            }
            Form::Extended(extended) => {
                let body = input.get(extended.bind.clone()).unwrap_or_default();
                let statement = &extended.statement;
                let name = if extended.named {
                    statement.id.name()
                } else {
                    String::new()
                };
                let injection = if extended.named {
                    state.use_statement(statement.id, capacity)
                } else {
                    Injection::Parse
                };
                if let Injection::CloseThenParse(evicted) = injection {
                    Close {
                        target: Target::Statement,
                        name: evicted.name().as_bytes(),
                    }
                    .encode(out);
                    tracker.expect(Expected::InjectedClose(Some(evicted)));
                }
                let counted = self.thread.stats.database(self.database.index);
                if extended.named {
                    counted.bound();
                }
                if extended.named && injection != Injection::Known {
                    counted.server_parsed();
                }
                if injection != Injection::Known {
                    encode_parse(statement, name.as_bytes(), out);
                }
                match (injection, extended.parse_pending) {
                    (Injection::Known, true) => tracker.expect(Expected::LocalParse),
                    (Injection::Known, false) => {}
                    (_, true) => tracker.expect(Expected::Parse(extended.named.then_some(statement.id))),
                    (_, false) => tracker.expect(Expected::InjectedParse(statement.id)),
                }
                let names = BindNames::decode(body).map_err(ProxyError::from)?;
                BindNames {
                    statement: name.as_bytes(),
                    ..names
                }
                .encode(out);
                tracker.expect(Expected::Bind);
                if extended.describe {
                    Describe {
                        target: Target::Portal,
                        name: &extended.portal,
                    }
                    .encode(out);
                    tracker.expect(Expected::DescribePortal);
                }
                if let Some(max_rows) = extended.max_rows {
                    Execute {
                        portal: &extended.portal,
                        max_rows,
                    }
                    .encode(out);
                    tracker.expect(Expected::Execute);
                }
                encode_sync(out);
                tracker.expect(Expected::Sync);
            }
        }
        Ok(())
    }
}

/// A failure whose error the client has not been sent, since the answer was kept from it.
fn silent_failure(answer: Answer) -> Failure {
    answer.error.map_or(Failure::Reported, Failure::Server)
}

/// A Parse of the statement under `name`.
pub(crate) fn encode_parse(statement: &Prepared<PlanRef>, name: &[u8], out: &mut bytes::BytesMut) {
    let raw: Vec<u8> = statement
        .parameter_types
        .iter()
        .flat_map(|oid| oid.to_be_bytes())
        .collect();
    let types = Oids::from_raw(&raw).unwrap_or(Oids::NONE);
    Parse {
        name,
        sql: &statement.sql,
        parameter_types: types,
    }
    .encode(out);
}
