//! The client's messages on their way to the server, with what has to be sent for them first.

use super::commit::commits;
use super::statements::Lent;
use super::{Batch, Bound, Client, Direct, Ended, Follow, Skip, Stop};
use crate::client::Failure;
use crate::data::duplex::UNSENT_HIGH_WATER;
use crate::data::plans::Special;
use crate::data::thread::PlanRef;
use bytes::Buf;
use planner::{Access, Effects};
use session::Expected;
use session::intake::Front;
use std::rc::Rc;
use wire::ProxyError;
use wire::frame::HEADER_LEN;
use wire::frontend::{Bind, BindNames, Describe, Execute, Parse, Target, encode_flush};

/// When a statement may be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Admitted {
    /// At once.
    Now,
    /// When what was sent before has been answered.
    Later,
}

/// What became of a message.
pub(super) enum Step {
    /// It was dealt with.
    Done,
    /// It has to wait, or is for somebody else.
    Stop(Stop),
}

impl Client {
    /// Sends on what the client has sent, as far as that is possible without waiting.
    pub(super) async fn take_messages(&mut self, direct: &mut Direct) -> Result<Stop, Ended> {
        loop {
            if self.is_full() {
                return Ok(Stop::Full);
            }
            if direct.intake.is_streaming() && !self.stream_on(direct) {
                return Ok(Stop::NeedMore);
            }
            if direct.follow.is_some() {
                if self.owes(direct) {
                    return Ok(Stop::Wait);
                }
                self.follow_up(direct);
            }
            let limit = self.thread.settings().limits.max_packet_size;
            let front = match direct.intake.front(&self.io.input, limit) {
                Ok(Some(front)) => front,
                Ok(None) => return Ok(Stop::NeedMore),
                Err(_) if self.owes(direct) => return Ok(self.hurry(direct)),
                Err(error) => return Err(self.end(direct, error)),
            };
            match self.take_message(direct, front).await? {
                Step::Done => {
                    let used = direct.intake.consume(front);
                    self.io.input.advance(used);
                }
                Step::Stop(stop) => return Ok(stop),
            }
        }
    }

    fn is_full(&self) -> bool {
        let waits = |p: &super::super::Participant| p.backend.unsent_len() >= UNSENT_HIGH_WATER;
        self.participants.first().is_some_and(waits)
    }

    /// Sends on what has come of a long message. `false`: more of it has to come.
    fn stream_on(&mut self, direct: &mut Direct) -> bool {
        let piece = direct.intake.stream(self.io.input.len());
        if let Some(participant) = self.participants.first_mut()
            && let Some(bytes) = self.io.input.get(..piece)
        {
            participant.backend.unsent().extend_from_slice(bytes);
        }
        self.io.input.advance(piece);
        !direct.intake.is_streaming()
    }

    /// What comes next can't be sent before everything was answered: asks the server to answer at once.
    pub(super) fn hurry(&mut self, direct: &mut Direct) -> Stop {
        if !direct.tracker.is_done()
            && let Some(participant) = self.participants.first_mut()
        {
            encode_flush(participant.backend.unsent());
        }
        direct.follow.get_or_insert(Follow::Wait);
        Stop::Wait
    }

    async fn take_message(&mut self, direct: &mut Direct, front: Front) -> Result<Step, Ended> {
        if front.tag == b'X' {
            return Ok(Step::Stop(Stop::Terminate));
        }
        if (direct.skip == Skip::ToSync || direct.tracker.is_skipping()) && front.tag != b'S' {
            return Ok(Step::Done);
        }
        if self.participants.is_empty() {
            match front.tag {
                // There is nobody who would answer differently.
                b'S' => {
                    self.begin_request(direct);
                    direct.tracker.emit_local(&mut self.io.out);
                    direct.skip = Skip::Nothing;
                    direct.batch = Batch::Closed;
                    direct.names.next_batch();
                    self.ready_direct(direct);
                    return Ok(Step::Done);
                }
                b'H' | b'd' | b'c' | b'f' => return Ok(Step::Done),
                _ => {}
            }
            if let Some(request) = self.routable(direct, front) {
                return Ok(Step::Stop(Stop::Routed(request)));
            }
        }
        self.begin_request(direct);
        match front.tag {
            b'Q' => return self.take_query(direct, front).await,
            b'P' => return self.take_parse(direct, front).await,
            b'B' => return self.take_bind(direct, front).await,
            b'E' => return self.take_execute(direct, front).await,
            b'D' | b'C' => return self.take_named(direct, front).await,
            b'F' => {
                if !self.server(direct).await? {
                    self.ready_direct(direct);
                    return Ok(Step::Done);
                }
                self.add_effects(Access::Write, Effects::SUSPECT);
                direct.batch = Batch::Closed;
                direct.names.next_batch();
                self.send_on(direct, front, Expected::Query);
            }
            b'S' => {
                direct.batch = Batch::Closed;
                direct.names.next_batch();
                if direct.commit.awaits_sync() {
                    self.send_commit(direct, front, Expected::Sync);
                } else {
                    self.send_on(direct, front, Expected::Sync);
                }
            }
            b'c' | b'f' => self.send_on(direct, front, Expected::CopyEnd),
            _ => self.pass_on(front),
        }
        Ok(Step::Done)
    }

    /// Sends the message at the front on as it is, as far as it is there.
    pub(super) fn pass_on(&mut self, front: Front) {
        if let Some(participant) = self.participants.first_mut()
            && let Some(bytes) = self.io.input.get(..front.have)
        {
            participant.backend.unsent().extend_from_slice(bytes);
        }
    }

    pub(super) fn send_on(&mut self, direct: &mut Direct, front: Front, expected: Expected) {
        self.pass_on(front);
        direct.tracker.expect(expected);
    }

    /// The same for what a COMMIT is answered with.
    pub(super) fn send_commit(&mut self, direct: &mut Direct, front: Front, expected: Expected) {
        self.pass_on(front);
        direct.commit.sent(direct.tracker.expect_marked(expected));
    }

    pub(super) fn front_body(&self, front: Front) -> &[u8] {
        self.io.input.get(HEADER_LEN..front.have).unwrap_or_default()
    }

    /// Remembers that a statement runs on the connection, and what it may leave there.
    pub(super) fn add_effects(&mut self, access: Access, effects: Effects) {
        self.note_effects(0, access, effects);
    }

    /// Whether a statement may run that leaves something on the connection, or asks for what was left there.
    ///
    /// # Errors
    /// Why not.
    pub(super) async fn admit(&mut self, direct: &mut Direct, effects: Effects) -> Result<Admitted, Failure> {
        if !effects.intersects(Effects::PINS.union(Effects::SEQUENCE_READ)) {
            return Ok(Admitted::Now);
        }
        if self.owes(direct) {
            return Ok(Admitted::Later);
        }
        Box::pin(self.before_effects(0, effects)).await?;
        if effects.intersects(Effects::SEQUENCE_READ) {
            // What was asked of the server for it may have ended the unnamed statement there.
            direct.names.unnamed.leave();
        }
        Ok(Admitted::Now)
    }

    /// What a text tells before a connection is taken for it.
    pub(super) fn foresee(&self, plan: Option<&PlanRef>, text: &[u8]) {
        if let Some(dbname) = plan.and_then(|plan| plan.vacated.as_deref()) {
            self.thread.vacate_everywhere(dbname, self.info.id);
        }
        let effects = plan.map_or(Effects::SUSPECT, |plan| plan.effects);
        if effects.intersects(Effects::SEQUENCE_READ) {
            self.thread.note_sequence_read();
        }
        if effects.intersects(Effects::UNLISTED) {
            self.learn_names(text, std::iter::empty());
        }
    }

    /// The extended protocol's message needs a server; without one the batch fails here.
    async fn batch_server(&mut self, direct: &mut Direct) -> Result<bool, Ended> {
        let there = self.server(direct).await?;
        if there {
            direct.batch = Batch::Open;
        } else {
            direct.skip = Skip::ToSync;
        }
        Ok(there)
    }

    async fn take_parse(&mut self, direct: &mut Direct, front: Front) -> Result<Step, Ended> {
        let Ok(parse) = Parse::decode(self.front_body(front)) else {
            return self.malformed(direct, front).await;
        };
        let is_unnamed = parse.name.is_empty();
        let plan = match self.thread.template(&self.database, &self.plans, parse.sql) {
            Ok(plan) => plan,
            Err(failure) => return Err(self.failed(direct, failure)),
        };
        self.foresee(Some(&plan), parse.sql);
        if plan.special == Special::Proxys {
            return Box::pin(self.parse_own(direct, front, plan)).await;
        }
        if awaits_names(direct, &plan) {
            return Ok(Step::Stop(self.hurry(direct)));
        }
        if is_unnamed {
            if !self.batch_server(direct).await? {
                return Ok(Step::Done);
            }
            self.lend_names(direct, &plan, Lent::ToBatch);
            let tail = self.io.input.get(HEADER_LEN + 1..front.len).unwrap_or_default();
            if direct.names.unnamed.set(tail, plan) == Special::Proxys {
                self.statements.remove(b"");
            }
            self.send_on(direct, front, Expected::UnnamedParse);
            return Ok(Step::Done);
        }
        if self.is_unsettled_before(direct, parse.name)
            || (direct.names.is_unsettled() && self.statements.is_taken(parse.name))
        {
            return Ok(Step::Stop(self.hurry(direct)));
        }
        if !self.batch_server(direct).await? {
            return Ok(Step::Done);
        }
        self.lend_names(direct, &plan, Lent::ToBatch);
        self.parse_named(direct, front)
    }

    async fn take_bind(&mut self, direct: &mut Direct, front: Front) -> Result<Step, Ended> {
        let Ok(names) = BindNames::decode(self.front_body(front)) else {
            return self.malformed(direct, front).await;
        };
        if self.is_unsettled_before(direct, names.statement) {
            return Ok(Step::Stop(self.hurry(direct)));
        }
        let plan = match names.statement {
            b"" => direct.names.unnamed.plan().map(Rc::clone),
            name => self.statements.get(name).map(|s| Rc::clone(&s.plan)),
        };
        if let Some(plan) = plan.as_ref().filter(|plan| plan.special == Special::Proxys) {
            let plan = Rc::clone(plan);
            return self.bind_own(direct, front, plan);
        }
        if plan.as_ref().is_some_and(|plan| awaits_names(direct, plan)) {
            return Ok(Step::Stop(self.hurry(direct)));
        }
        if direct.bound.find(names.portal).is_some() && self.owes(direct) {
            // What is remembered of a portal is of one that was really bound.
            return Ok(Step::Stop(self.hurry(direct)));
        }
        direct.bound.remove(names.portal);
        let is_commit = plan.as_ref().is_some_and(commits);
        direct.commit.bound(names.portal, is_commit);
        let followed = plan
            .as_ref()
            .filter(|plan| plan.special == Special::Session)
            .is_none_or(|plan| {
                direct.bound.insert(Bound {
                    portal: names.portal.into(),
                    plan: Rc::clone(plan),
                    statement: None,
                })
            });
        if !self.batch_server(direct).await? {
            return Ok(Step::Done);
        }
        let known = plan.is_some();
        if plan
            .as_ref()
            .is_none_or(|plan| plan.effects.intersects(Effects::UNLISTED))
        {
            self.learn_bound_names(front);
        }
        let (access, effects) = plan.as_ref().map_or((Access::Write, Effects::SUSPECT), |plan| {
            (plan.access, plan.effects_now())
        });
        let effects = if direct.unreadable.any() || !followed {
            effects | Effects::SUSPECT
        } else {
            effects
        };
        match self.admit(direct, effects).await {
            Ok(Admitted::Now) => {}
            Ok(Admitted::Later) => return Ok(Step::Stop(self.hurry(direct))),
            Err(failure) => return self.refuse_batch(direct, failure),
        }
        self.add_effects(access, effects);
        self.count_read(access);
        if let Some(plan) = plan {
            self.lend_names(direct, &plan, Lent::ToBatch);
        }
        self.send_bind(direct, front, known);
        Ok(Step::Done)
    }

    /// Values of a statement that may set something are perhaps the names of what it sets.
    fn learn_bound_names(&self, front: Front) {
        if let Ok(bind) = Bind::decode(self.front_body(front)) {
            self.learn_names(b"", bind.values.iter().flatten());
        }
    }

    async fn take_execute(&mut self, direct: &mut Direct, front: Front) -> Result<Step, Ended> {
        let portal = Execute::decode(self.front_body(front)).map(|execute| execute.portal);
        let portal: Box<[u8]> = portal.unwrap_or_default().into();
        let plan = direct.bound.find(&portal).map(|bound| Rc::clone(&bound.plan));
        if let Some(plan) = &plan {
            if plan.special == Special::Proxys {
                return Box::pin(self.execute_own(direct, &portal)).await;
            }
            if direct.names.is_unsettled() || !direct.tracker.is_done() {
                return Ok(Step::Stop(self.hurry(direct)));
            }
        }
        if !self.batch_server(direct).await? {
            return Ok(Step::Done);
        }
        if let Some(plan) = plan {
            direct.bound.remove(&portal);
            self.show_names(direct, &plan, Lent::ToBatch);
            self.lend_names(direct, &plan, Lent::ToBatch);
            self.follow(direct, plan);
        }
        self.count_statement();
        direct.commit.executed(&portal);
        self.send_on(direct, front, Expected::Execute);
        if direct.follow.is_some()
            && let Some(participant) = self.participants.first_mut()
        {
            encode_flush(participant.backend.unsent());
        }
        Ok(Step::Done)
    }

    /// Describe and Close: of statements and of portals.
    async fn take_named(&mut self, direct: &mut Direct, front: Front) -> Result<Step, Ended> {
        let Ok(Describe { target, name }) = Describe::decode(self.front_body(front)) else {
            return self.malformed(direct, front).await;
        };
        let name: Box<[u8]> = name.into();
        if target == Target::Statement && self.is_unsettled_before(direct, &name) {
            return Ok(Step::Stop(self.hurry(direct)));
        }
        if let Some(plan) = self.own_named(direct, target, &name) {
            return Ok(self.on_own_named(direct, front, target, &name, &plan));
        }
        let plan = match (front.tag, target, &*name) {
            (b'D', Target::Statement, b"") => direct.names.unnamed.plan(),
            (b'D', Target::Statement, name) => self.statements.get(name).map(|statement| &statement.plan),
            _ => None,
        };
        let plan = plan.map(Rc::clone);
        if plan.as_ref().is_some_and(|plan| awaits_names(direct, plan)) {
            return Ok(Step::Stop(self.hurry(direct)));
        }
        if !self.batch_server(direct).await? {
            return Ok(Step::Done);
        }
        if let Some(plan) = plan {
            self.lend_names(direct, &plan, Lent::ToBatch);
        }
        match (front.tag, target) {
            (b'D', Target::Statement) => self.take_describe_statement(direct, front, &name),
            (b'D', Target::Portal) => self.send_on(direct, front, Expected::DescribePortal),
            (_, Target::Portal) => self.send_on(direct, front, Expected::Close),
            (_, Target::Statement) => self.close_named(direct, front, &name),
        }
        Ok(Step::Done)
    }

    /// A message that can't be read: the server says what is wrong with it.
    async fn malformed(&mut self, direct: &mut Direct, front: Front) -> Result<Step, Ended> {
        if !front.is_whole() {
            let error = ProxyError::protocol_violation("invalid string in message");
            return Err(self.end(direct, error));
        }
        if self.batch_server(direct).await? {
            self.send_on(direct, front, Expected::Bind);
        }
        Ok(Step::Done)
    }
}

/// Whether a text names prepared statements of which the server has still to say what became of them.
fn awaits_names(direct: &Direct, plan: &PlanRef) -> bool {
    plan.special == Special::Session && direct.names.is_unsettled() && plan.names_statements()
}
