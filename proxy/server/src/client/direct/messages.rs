//! The client's messages on their way to the server, with what has to be sent for them first.

use super::names::Names;
use super::{Batch, Bound, Client, Direct, Ended, Follow, Skip, Stop};
use crate::client::Failure;
use crate::data::duplex::UNSENT_HIGH_WATER;
use crate::data::plans::Special;
use crate::data::thread::PlanRef;
use bytes::{Buf, BufMut, BytesMut};
use planner::{Access, Effects};
use session::intake::Front;
use session::{Expected, Injection, Prepared, StatementId};
use std::rc::Rc;
use wire::ProxyError;
use wire::frame::HEADER_LEN;
use wire::frontend::{Bind, BindNames, Close, Describe, Execute, Parse, Target, encode_flush, encode_sync};

/// Who needs the client's own names on the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lent {
    /// A simple query.
    ToQuery,
    /// An Execute in a batch: an error before it is the batch's.
    ToBatch,
}

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
                self.send_on(direct, front, Expected::Sync);
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
        if is_unnamed {
            if !self.batch_server(direct).await? {
                return Ok(Step::Done);
            }
            let tail = self.io.input.get(HEADER_LEN + 1..front.len).unwrap_or_default();
            if direct.names.unnamed.set(tail, plan) == Special::Proxys {
                self.statements.remove(b"");
            }
            self.send_on(direct, front, Expected::UnnamedParse);
            return Ok(Step::Done);
        }
        if direct.names.is_unsettled() && self.statements.is_taken(parse.name) {
            return Ok(Step::Stop(self.hurry(direct)));
        }
        if !self.batch_server(direct).await? {
            return Ok(Step::Done);
        }
        self.parse_named(direct, front)
    }

    /// A Parse with a name: the server knows the statement by a name of ours.
    fn parse_named(&mut self, direct: &mut Direct, front: Front) -> Result<Step, Ended> {
        let body = self.io.input.get(HEADER_LEN..front.len).unwrap_or_default();
        let (Ok(parse), Some(participant)) = (Parse::decode(body), self.participants.first_mut()) else {
            return Ok(Step::Done);
        };
        let (state, out) = participant.backend.state_and_unsent();
        if self.statements.is_taken(parse.name) {
            // The server refuses it in its own words, if it has a statement of that name.
            lend_name(direct, state, out, parse.name);
            out.extend_from_slice(self.io.input.get(..front.len).unwrap_or_default());
            direct.tracker.expect(Expected::Parse(None));
            return Ok(Step::Done);
        }
        let types: Vec<u32> = parse.parameter_types.iter().map(|oid| oid.0).collect();
        let prepared = self
            .thread
            .prepared_statement(&self.database, &self.plans, parse.sql, &types);
        let statement = match prepared {
            Ok(statement) => statement,
            Err(failure) => return Err(self.failed(direct, failure)),
        };
        let known = state.knows(statement.id);
        let sound = direct.status != wire::TransactionStatus::Failed
            && !direct.tracker.owes_ready()
            && !self.catalog_changed;
        if known && sound {
            direct.tracker.expect(Expected::LocalNamedParse);
        } else {
            if known {
                close_statement(statement.id, out);
                direct.tracker.expect(Expected::InjectedClose(Some(statement.id)));
            } else {
                let capacity = self.thread.settings().pool.max_prepared_statements;
                if let Injection::CloseThenParse(evicted) = state.use_statement(statement.id, capacity) {
                    close_statement(evicted, out);
                    direct.tracker.expect(Expected::InjectedClose(Some(evicted)));
                }
            }
            Parse {
                name: statement.id.server_name().as_bytes(),
                ..parse
            }
            .encode(out);
            direct.tracker.expect(Expected::NamedParse(statement.id));
        }
        let counted = self.thread.stats.database(self.database.index);
        counted.client_parsed();
        if !(known && sound) {
            counted.server_parsed();
        }
        direct.names.change(parse.name, None);
        self.statements.insert(parse.name, statement);
        Ok(Step::Done)
    }

    async fn take_bind(&mut self, direct: &mut Direct, front: Front) -> Result<Step, Ended> {
        let Ok(names) = BindNames::decode(self.front_body(front)) else {
            return self.malformed(direct, front).await;
        };
        if direct.names.is_unsettled_before(names.statement) {
            return Ok(Step::Stop(self.hurry(direct)));
        }
        let plan = match names.statement {
            b"" => direct.names.unnamed.plan().map(Rc::clone),
            name => self.statements.get(name).map(|s| Rc::clone(&s.plan)),
        };
        if let Some(plan) = plan.as_ref().filter(|plan| plan.special == Special::Proxys) {
            let plan = Rc::clone(plan);
            return Ok(self.bind_own(direct, front, plan));
        }
        if direct.bound.is_some() && self.owes(direct) {
            // What is remembered of a portal is of one that was really bound.
            return Ok(Step::Stop(self.hurry(direct)));
        }
        direct.bound = plan
            .as_ref()
            .filter(|plan| plan.special == Special::Session)
            .map(|plan| Bound {
                portal: names.portal.into(),
                plan: Rc::clone(plan),
                statement: None,
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
        let (access, effects) = plan.map_or((Access::Write, Effects::SUSPECT), |plan| {
            (plan.access, plan.effects_now())
        });
        let effects = if direct.unreadable.any() {
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
        self.send_bind(direct, front, known);
        Ok(Step::Done)
    }

    /// Values of a statement that may set something are perhaps the names of what it sets.
    fn learn_bound_names(&self, front: Front) {
        if let Ok(bind) = Bind::decode(self.front_body(front)) {
            self.learn_names(b"", bind.values.iter().flatten());
        }
    }

    /// Sends a Bind on under the statement's name on the server.
    fn send_bind(&mut self, direct: &mut Direct, front: Front, known: bool) {
        let Some(participant) = self.participants.first_mut() else {
            return;
        };
        let (state, out) = participant.backend.state_and_unsent();
        let have = self.io.input.get(..front.have).unwrap_or_default();
        let Ok(names) = BindNames::decode(have.get(HEADER_LEN..).unwrap_or_default()) else {
            return;
        };
        match (names.statement, self.statements.get(names.statement)) {
            (b"", _) => {
                bring_unnamed(direct, out);
                out.extend_from_slice(have);
            }
            (_, Some(statement)) if known => {
                let counted = self.thread.stats.database(self.database.index);
                counted.bound();
                if !state.knows(statement.id) {
                    counted.server_parsed();
                }
                let capacity = self.thread.settings().pool.max_prepared_statements;
                bring_statement(direct, state, out, statement, capacity);
                let server_name = statement.id.server_name();
                let len = front.len - names.statement.len() + server_name.as_bytes().len();
                put_bind(&names, server_name.as_bytes(), len, out);
            }
            // One of SQL's PREPARE, or none: the server knows.
            _ => out.extend_from_slice(have),
        }
        direct.tracker.expect(Expected::Bind);
    }

    async fn take_execute(&mut self, direct: &mut Direct, front: Front) -> Result<Step, Ended> {
        let portal = Execute::decode(self.front_body(front)).map(|execute| execute.portal);
        let plan = direct
            .bound
            .as_ref()
            .filter(|bound| portal.is_ok_and(|portal| *bound.portal == *portal))
            .map(|bound| Rc::clone(&bound.plan));
        if let Some(plan) = &plan {
            if plan.special == Special::Proxys {
                return Box::pin(self.execute_own(direct)).await;
            }
            if direct.names.is_unsettled() {
                return Ok(Step::Stop(self.hurry(direct)));
            }
        }
        if !self.batch_server(direct).await? {
            return Ok(Step::Done);
        }
        if let Some(plan) = plan {
            direct.bound = None;
            self.lend_names(direct, &plan, Lent::ToBatch);
            self.follow(direct, plan);
        }
        self.count_statement();
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
        if target == Target::Statement && direct.names.is_unsettled_before(&name) {
            return Ok(Step::Stop(self.hurry(direct)));
        }
        if let Some(plan) = self.own_named(direct, target, &name) {
            return Ok(self.on_own_named(direct, front, target, &name, &plan));
        }
        if !self.batch_server(direct).await? {
            return Ok(Step::Done);
        }
        match (front.tag, target) {
            (b'D', Target::Statement) => self.take_describe_statement(direct, front, &name),
            (b'D', Target::Portal) => self.send_on(direct, front, Expected::DescribePortal),
            (_, Target::Portal) => self.send_on(direct, front, Expected::Close),
            (_, Target::Statement) => self.close_named(direct, front, &name),
        }
        Ok(Step::Done)
    }

    fn take_describe_statement(&mut self, direct: &mut Direct, front: Front, name: &[u8]) {
        let capacity = self.thread.settings().pool.max_prepared_statements;
        let Some(participant) = self.participants.first_mut() else {
            return;
        };
        let (state, out) = participant.backend.state_and_unsent();
        match (name, self.statements.get(name)) {
            (b"", _) => bring_unnamed(direct, out),
            (_, Some(statement)) => {
                bring_statement(direct, state, out, statement, capacity);
                Describe {
                    target: Target::Statement,
                    name: statement.id.server_name().as_bytes(),
                }
                .encode(out);
                direct.tracker.expect(Expected::DescribeStatement);
                return;
            }
            _ => {}
        }
        self.send_on(direct, front, Expected::DescribeStatement);
    }

    /// The server closes a statement of the client's own name, if SQL's PREPARE made one; ours stays for others.
    fn close_named(&mut self, direct: &mut Direct, front: Front, name: &[u8]) {
        if name.is_empty() {
            direct.names.unnamed.clear();
            direct.names.unnamed.bring();
            return self.send_on(direct, front, Expected::Close);
        }
        let before = self.statements.get(name).map(Rc::clone);
        if before.is_some() {
            self.statements.remove(name);
            direct.names.change(name, before);
            self.send_on(direct, front, Expected::NamedClose);
        } else {
            self.send_on(direct, front, Expected::Close);
        }
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

/// Prepares an empty statement under a client's own name, where a statement of that name is to be found, or not to be made.
pub(super) fn lend_name(
    direct: &mut Direct,
    state: &mut session::BackendState,
    out: &mut BytesMut,
    name: &[u8],
) {
    state.lend_name(name);
    close_lent(direct, name, out);
    Parse {
        name,
        sql: b"",
        parameter_types: wire::Oids::NONE,
    }
    .encode(out);
    direct.tracker.expect(Expected::InjectedParse(NOBODYS));
}

/// Prepares under the client's own name what a statement in SQL is to find.
pub(super) fn lend_statement(
    direct: &mut Direct,
    state: &mut session::BackendState,
    out: &mut BytesMut,
    statement: &Prepared<PlanRef>,
    name: &[u8],
    lent: Lent,
) {
    state.lend_name(name);
    close_lent(direct, name, out);
    super::super::single::encode_parse(statement, name, out);
    match lent {
        Lent::ToBatch => direct.tracker.expect(Expected::InjectedParse(NOBODYS)),
        // The server would skip the query if this failed and no Sync came.
        Lent::ToQuery => {
            encode_sync(out);
            direct.tracker.expect(Expected::InjectedBatch);
        }
    }
}

/// A name may have been lent before, and be there still.
fn close_lent(direct: &mut Direct, name: &[u8], out: &mut BytesMut) {
    Close {
        target: Target::Statement,
        name,
    }
    .encode(out);
    direct.tracker.expect(Expected::InjectedClose(None));
}

/// The number of statements that are not registered.
const NOBODYS: StatementId = StatementId(0);

pub(super) fn close_statement(id: StatementId, out: &mut BytesMut) {
    Close {
        target: Target::Statement,
        name: id.server_name().as_bytes(),
    }
    .encode(out);
}

/// Has the connection know a statement of the client's.
fn bring_statement(
    direct: &mut Direct,
    state: &mut session::BackendState,
    out: &mut BytesMut,
    statement: &Prepared<PlanRef>,
    capacity: usize,
) {
    let injection = state.use_statement(statement.id, capacity);
    if let Injection::CloseThenParse(evicted) = injection {
        close_statement(evicted, out);
        direct.tracker.expect(Expected::InjectedClose(Some(evicted)));
    }
    if injection != Injection::Known {
        super::super::single::encode_parse(statement, statement.id.server_name().as_bytes(), out);
        direct.tracker.expect(Expected::InjectedParse(statement.id));
    }
}

/// Has the connection's unnamed statement be the client's: none, if the client has none.
fn bring_unnamed(direct: &mut Direct, out: &mut BytesMut) {
    let Names { unnamed, .. } = &mut direct.names;
    if unnamed.bring() {
        return;
    }
    match unnamed.parse() {
        Some(tail) => {
            out.put_u8(b'P');
            out.put_u32(u32::try_from(tail.len() + 5).unwrap_or(u32::MAX));
            out.put_u8(0);
            out.extend_from_slice(tail);
            direct.tracker.expect(Expected::InjectedParse(NOBODYS));
        }
        None => {
            Close {
                target: Target::Statement,
                name: b"",
            }
            .encode(out);
            direct.tracker.expect(Expected::InjectedClose(None));
        }
    }
}

/// A Bind under another statement's name, `len` long in the end, as far as it is there.
fn put_bind(names: &BindNames<'_>, statement: &[u8], len: usize, out: &mut BytesMut) {
    out.put_u8(b'B');
    out.put_u32(u32::try_from(len - 1).unwrap_or(u32::MAX));
    out.extend_from_slice(names.portal);
    out.put_u8(0);
    out.extend_from_slice(statement);
    out.put_u8(0);
    out.extend_from_slice(names.tail);
}
