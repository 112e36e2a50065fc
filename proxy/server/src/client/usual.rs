//! The usual way of a request: one statement that one server answers, or the cache of this process.
//!
//! Most requests are such statements, so their way is short: one small state, no future inside another, nothing
//! allocated, the client's bytes sent on from where they were read, the answer passed on from where it was read. Whatever
//! is not as usual leaves this way: before anything was sent by [`Departure::General`], as if it had never been here;
//! with an answer under way by [`Departure::Answer`], to be read to its end by the general relay.
//!
//! **Invariant:** decides nothing of its own. Where a statement goes, whether the cache may answer, what a server connection
//! has to be and what is counted is decided by the same functions as in the general way.

mod answer;
mod plan;
mod resume;
mod transaction;

use super::batch::Skip;
use super::{Client, Failure, Participant};
use crate::admin::ClientState;
use crate::data::io::Wake;
use crate::data::plans::UsualText;
use crate::data::thread::{Backend, ConnectionState, StopReason};
use crate::reading::{Choice, Needs};
use answer::Answer;
use plan::Planned;
use planner::{Access, Effects};
use pool::{BackendTarget, Waiting};
use session::BlockKind;
use session::usual::{Kind, Request};
use settings::PoolMode;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use store::Kept;
use topology::Mono;
use transaction::is_committed;
use wire::backend::encode_parse_complete;
use wire::frontend::Query;

/// Where a client stands on this way.
#[derive(Debug, Default)]
pub(super) enum Stage {
    /// Between requests.
    #[default]
    Rest,
    /// In a pool's queue; the request is at the front of the input.
    Queued(Box<Queued>),
    /// The statement was sent.
    Sent(Sent),
    /// The answer is there, and the client has not taken all of it.
    Answered,
    /// This way was left in the middle of COMMIT: where in the scratch buffer its answer begins, and what woke the client.
    Heard(usize, Wake),
}

/// A request whose server connection is waited for.
#[derive(Debug)]
pub(super) struct Queued {
    choice: Choice,
    begun: Mono,
    waiting: Waiting<ConnectionState>,
}

/// A statement under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// The participant, by its place.
    at: usize,
    begun: Mono,
    received: usize,
    access: Access,
    form: Form,
    /// The answer to a BEGIN of ours comes first.
    begin: bool,
}

/// How the statement was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Query,
    Execute {
        parse: bool,
        describe: bool,
    },
    /// COMMIT of a transaction on this shard.
    Commit,
}

/// Why a client leaves this way.
#[derive(Debug)]
pub(super) enum Departure {
    /// What the client sent, or has to be told, is not of the usual kind.
    General,
    /// The server's answer isn't, or it did not come: what was read of it is in the scratch buffer from this place on.
    Answer(Sent, usize, Wake),
    /// No connection can be had for the request at the front of the input.
    Refused(Failure),
    /// The client is gone.
    Gone,
}

/// What became of a request.
enum Start {
    /// Its statement was sent.
    Sent(Sent),
    /// It was answered; it took so many bytes.
    Answered(usize),
    /// It waits for a connection.
    Queued(Box<Queued>),
    /// Nothing: it is not of the usual kind.
    Other,
}

impl Client {
    /// Serves requests of the usual kind for as long as they come.
    pub(super) fn poll_usual(&mut self, cx: &mut Context<'_>) -> Poll<Departure> {
        loop {
            let departure = match &self.stage {
                Stage::Rest => ready!(self.poll_request(cx)),
                Stage::Sent(sent) => {
                    let sent = *sent;
                    ready!(self.poll_answer(sent, cx))
                }
                Stage::Queued(_) => ready!(self.poll_queue(cx)),
                Stage::Answered => {
                    if ready!(self.io.poll_send(cx)).is_err() {
                        return Poll::Ready(Departure::Gone);
                    }
                    self.stage = Stage::Rest;
                    None
                }
                // Whoever resumed has taken it.
                Stage::Heard(..) => Some(Departure::Gone),
            };
            if let Some(departure) = departure {
                self.stage = Stage::Rest;
                return Poll::Ready(departure);
            }
        }
    }

    /// Whether the next request may come by this way at all.
    fn is_usual(&self) -> bool {
        let rules = self.thread.rules();
        let bounded = self.block.is_some() && rules.idle_transaction_timeout.is_some();
        let has_to_stop = match self.info.stop_reason() {
            None => self.info.is_suspended(),
            Some(StopReason::Draining) => self.block.is_none(),
            Some(_) => true,
        };
        let explicit = self
            .block
            .as_ref()
            .is_none_or(|block| block.kind == BlockKind::Explicit);
        let beginning = self.io.input.is_empty() && self.assembler.is_idle() && self.skip == Skip::Nothing;
        // A connection that the client stays on may have something to say meanwhile, or to be asked at the end.
        let ordinary = |p: &Participant| p.hold.is_none() && p.effects.is_empty();
        let quiet = explicit && self.changed_back.is_empty() && self.participants.iter().all(ordinary);
        let shared = self.mode == PoolMode::Transaction && !self.thread.resets_always();
        beginning && shared && quiet && rules.query_timeout.is_none() && !bounded && !has_to_stop
    }

    /// Waits for a request and begins it.
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Option<Departure>> {
        if !self.is_usual() {
            return Poll::Ready(Some(Departure::General));
        }
        let scratch = self.io.scratch();
        let mut buffer = scratch.borrow_mut();
        let Poll::Ready(read) = self.io.poll_read(cx, &mut buffer) else {
            self.io.rest();
            self.info.rests(cx.waker());
            return Poll::Pending;
        };
        let data = match read {
            Ok(n) if n > 0 => buffer.get(..n).unwrap_or_default(),
            _ => return Poll::Ready(Some(Departure::Gone)),
        };
        let begun = health::boot_time();
        Poll::Ready(match self.start(data, begun) {
            Start::Other => {
                self.io.keep(data);
                Some(Departure::General)
            }
            Start::Queued(queued) => {
                self.io.keep(data);
                self.stage = Stage::Queued(queued);
                None
            }
            Start::Sent(sent) => {
                self.io.keep(data.get(sent.received..).unwrap_or_default());
                self.stage = Stage::Sent(sent);
                None
            }
            Start::Answered(used) => {
                self.io.keep(data.get(used..).unwrap_or_default());
                self.stage = Stage::Answered;
                None
            }
        })
    }

    /// Begins the request at the front of `data`.
    fn start(&mut self, data: &[u8], begun: Mono) -> Start {
        let Some(request) = Request::read(data, self.thread.rules().max_packet_size) else {
            return Start::Other;
        };
        if !self.database.pace.note_statement() {
            // The general way waits until the servers were asked anew.
            return Start::Other;
        }
        let planned = match self.plan_usual(&request) {
            Some(UsualText::OneShard(planned)) => planned,
            Some(UsualText::Begin(modes)) => return self.begin_usual(&request, modes, begun),
            Some(UsualText::Commit) => return self.commit_usual(&request, begun),
            None => return Start::Other,
        };
        if self.block.as_ref().is_some_and(|block| block.failed) {
            return Start::Other;
        }
        if let Some(cache) = &planned.cache
            && let Some(level) = self.cache_level(&cache.policy, &planned.needs)
        {
            return match self.kept_answer(&cache.policy, level, &planned.asked(&request)) {
                Some(kept) => {
                    self.answer_kept_usual(&request, &kept, begun);
                    Start::Answered(request.bytes.len())
                }
                // The general way counts and fills what is missing.
                None => Start::Other,
            };
        }
        let mut known = self.participants.iter();
        let at = match known.position(|p| p.backend.shard == planned.shard) {
            Some(at) if self.is_prepared(at) => at,
            Some(_) => return Start::Other,
            None => match self.borrow_for(&planned, begun) {
                Ok(at) => at,
                Err(start) => return start,
            },
        };
        // What a connection has to be taught first is the general way's, which finds it among the participants.
        self.send_usual(at, &request, &planned, begun)
            .map_or(Start::Other, Start::Sent)
    }

    /// A connection for a statement, as its place among the participants; or what becomes of the request without one.
    fn borrow_for(&mut self, planned: &Planned, begun: Mono) -> Result<usize, Start> {
        let choice = self.choose_now(planned, begun).ok_or(Start::Other)?;
        let pool = self.pool(choice.endpoint).map_err(|_| Start::Other)?;
        match pool.pool.try_checkout_at(begun) {
            Some(lease) => self
                .take_usual(
                    (Backend::new(lease, &choice), Rc::clone(&pool.target)),
                    &planned.needs,
                    begun,
                )
                .ok_or(Start::Other),
            None => Err(match self.thread.queue(&pool) {
                Ok(waiting) => Start::Queued(Box::new(Queued {
                    choice,
                    begun,
                    waiting,
                })),
                // The general way finds the same and says so.
                Err(_) => Start::Other,
            }),
        }
    }

    fn choose_now(&mut self, planned: &Planned, now: Mono) -> Option<Choice> {
        let database = Arc::clone(&self.database);
        self.choose_in(&database.snapshot(), planned.shard, &planned.needs, now)
            .ok()
    }

    /// Makes a lent connection a participant, if it may answer and needs nothing but a BEGIN before it does.
    fn take_usual(
        &mut self,
        (backend, target): (Backend, Rc<BackendTarget>),
        needs: &Needs,
        now: Mono,
    ) -> Option<usize> {
        self.thread.stats.database(self.database.index).assigned();
        self.hold((backend, target));
        let at = self.participants.len() - 1;
        if self.is_prepared(at) && self.connection_qualifies(at, needs, now).is_ok() {
            return Some(at);
        }
        self.give_back(at);
        None
    }

    /// Sends the statement. `None`: nothing was sent, the connection has to be taught something first.
    fn send_usual(
        &mut self,
        at: usize,
        request: &Request<'_>,
        planned: &Planned,
        begun: Mono,
    ) -> Option<Sent> {
        let participant = self.participants.get_mut(at)?;
        let begin = participant.begin_due;
        let form = match (&request.kind, &planned.statement) {
            (Kind::Query(_), _) => Form::Query,
            (Kind::Execute(execution), Some(statement)) => {
                if execution.parse.is_none() && !participant.backend.state_mut().renew(statement.id) {
                    return None;
                }
                Form::Execute {
                    parse: execution.parse.is_some(),
                    describe: execution.describe,
                }
            }
            (Kind::Execute(_), None) => return None,
        };
        if begin {
            participant.begin_due = false;
            Query { sql: b"BEGIN" }.encode(participant.backend.unsent());
        }
        match (&request.kind, &planned.statement) {
            (Kind::Execute(execution), Some(statement)) if execution.parse.is_none() => {
                let unsent = participant.backend.unsent();
                execution.encode_as(&statement.server_name, unsent);
                participant.backend.flush_now();
                if !execution.name.is_empty() {
                    self.thread.stats.database(self.database.index).bound();
                }
            }
            _ if begin => {
                participant.backend.unsent().extend_from_slice(request.bytes);
                participant.backend.flush_now();
            }
            _ => participant.backend.send_now(request.bytes),
        }
        self.count_begun(request.bytes.len(), begun);
        self.answered_by_server(at, planned.needs.access);
        Some(Sent {
            at,
            begun,
            received: request.bytes.len(),
            access: planned.needs.access,
            form,
            begin,
        })
    }

    /// Waits for the server's answer and passes it on.
    fn poll_answer(&mut self, sent: Sent, cx: &mut Context<'_>) -> Poll<Option<Departure>> {
        let scratch = self.io.scratch();
        let Some(participant) = self.participants.get_mut(sent.at) else {
            return Poll::Ready(Some(Departure::Gone));
        };
        let backend = &mut participant.backend;
        if backend.unsent_len() > 0
            && let Poll::Ready(Err(error)) = backend.poll_send(cx)
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            return Poll::Ready(Some(Departure::Answer(sent, 0, Wake::Backend(Err(error)))));
        }
        let mut buffer = scratch.borrow_mut();
        let Poll::Ready(read) = backend.poll_read(cx, &mut buffer) else {
            drop(buffer);
            let gone = || Some(Departure::Answer(sent, 0, Wake::ClientGone));
            return self.io.poll_ahead(cx).map(|()| gone());
        };
        let read = match read {
            Ok(n) if n > 0 => n,
            other => return Poll::Ready(Some(Departure::Answer(sent, 0, Wake::Backend(other)))),
        };
        let mut from = 0;
        let mut data = buffer.get(..read).unwrap_or_default();
        let mut sent = sent;
        if sent.begin
            && let Some(rest) = answer::after_begin(data)
        {
            sent.begin = false;
            from = data.len() - rest.len();
            data = rest;
            if data.is_empty() {
                self.stage = Stage::Sent(sent);
                return Poll::Ready(None);
            }
        }
        if sent.form == Form::Commit && is_committed(data) {
            self.end_commit_usual(sent);
            return Poll::Ready(None);
        }
        match Answer::read(data) {
            Answer::Whole(status)
                if sent.form != Form::Commit && !sent.begin && status == self.status().byte() =>
            {
                self.end_usual(sent, data);
                Poll::Ready(None)
            }
            _ => Poll::Ready(Some(Departure::Answer(sent, from, Wake::Backend(Ok(read))))),
        }
    }

    /// Answers from the cache of this process.
    fn answer_kept_usual(&mut self, request: &Request<'_>, kept: &Kept, begun: Mono) {
        self.count_begun(request.bytes.len(), begun);
        self.io.prepare_out();
        if matches!(&request.kind, Kind::Execute(execution) if execution.parse.is_some()) {
            encode_parse_complete(&mut self.io.out);
        }
        self.io.out.extend_from_slice(&kept.rows());
        self.ready();
        self.count_answered(begun, health::boot_time(), self.io.out.len());
    }

    /// The answer came: the connection goes back before the client is answered.
    fn end_usual(&mut self, sent: Sent, answer: &[u8]) {
        let now = health::boot_time();
        if sent.access == Access::Write {
            self.note_effects(sent.at, sent.access, Effects::NONE);
            if self.block.is_none() {
                self.note_write_acknowledged_at(sent.at, now);
            }
        }
        if self.block.is_none() {
            self.portals.clear();
            self.release_all_at(now);
        } else if matches!(sent.form, Form::Execute { .. }) {
            self.remember_unnamed_portal(sent.at);
        }
        self.io.send_now(answer);
        self.count_answered(sent.begun, now, answer.len());
        self.stage = Stage::Answered;
    }

    /// Waits for a connection.
    fn poll_queue(&mut self, cx: &mut Context<'_>) -> Poll<Option<Departure>> {
        let Stage::Queued(queued) = &mut self.stage else {
            return Poll::Ready(Some(Departure::General));
        };
        let lease = match self.info.poll_queued(cx, |cx| queued.waiting.poll(cx)) {
            Poll::Ready(lease) => lease,
            Poll::Pending => {
                self.info.request_at.set(queued.begun);
                self.info.activity.set(ClientState::Waiting);
                return self.io.poll_ahead(cx).map(|()| Some(Departure::Gone));
            }
        };
        let Stage::Queued(queued) = std::mem::take(&mut self.stage) else {
            return Poll::Ready(Some(Departure::General));
        };
        let now = health::boot_time();
        let waited = now.since(queued.waiting.since());
        self.thread.stats.database(self.database.index).wait(waited);
        self.info.activity.set(ClientState::Active);
        let lease = match lease {
            Ok(Ok(lease)) => lease,
            Err(canceled) => return Poll::Ready(Some(Departure::Refused(canceled.into()))),
            Ok(Err(error)) => {
                let failure = self.thread.refused(&error, queued.choice.endpoint);
                return Poll::Ready(Some(Departure::Refused(failure)));
            }
        };
        let input = std::mem::take(&mut self.io.input);
        let sent = self.start_with(&input, Backend::new(lease, &queued.choice), queued.begun, now);
        self.io.input = input;
        Poll::Ready(match sent {
            Some(sent) => {
                self.io.consume(sent.received);
                self.stage = Stage::Sent(sent);
                None
            }
            None => Some(Departure::General),
        })
    }

    /// Begins the request at the front of `data` on the connection that was waited for.
    fn start_with(&mut self, data: &[u8], backend: Backend, begun: Mono, now: Mono) -> Option<Sent> {
        let request = Request::read(data, self.thread.rules().max_packet_size);
        // The cluster, and with it where the statement goes, may have changed while it waited.
        let planned = request.as_ref().and_then(|request| self.plan_usual(request));
        let (Some(request), Some(UsualText::OneShard(planned))) = (request, planned) else {
            backend.release_at(now);
            return None;
        };
        let known = self.database.pace.note_statement();
        let chosen = self.choose_now(&planned, now).filter(|_| known);
        if !chosen.is_some_and(|c| (c.endpoint, c.role) == (backend.endpoint, backend.role)) {
            backend.release_at(now);
            return None;
        }
        let target = self
            .pool(backend.endpoint)
            .ok()
            .map(|pool| Rc::clone(&pool.target));
        let at = self.take_usual((backend, target?), &planned.needs, now)?;
        self.send_usual(at, &request, &planned, begun)
    }
}
