//! Prepared statements on their way to the server: under which name it has them, and what it is taught first.
//!
//! Commonly it has them under names of ours, the same for all clients. Where SQL names prepared statements beside the
//! protocol, or looks at them, the connection goes by the names of its client, and the server is their register: it says
//! which one is there already, which one isn't, and what there is.

use super::messages::Step;
use super::names::Names;
use super::{Batch, Client, Direct, Ended};
use crate::data::plans::Special;
use crate::data::thread::PlanRef;
use bytes::{BufMut, BytesMut};
use planner::Effects;
use session::intake::Front;
use session::{BackendState, Expected, Injection, Naming, Prepared, StatementId};
use sql::StatementKind;
use std::rc::Rc;
use wire::TransactionStatus;
use wire::frame::HEADER_LEN;
use wire::frontend::{BindNames, Close, Describe, Parse, Target, encode_sync};

/// Who needs the client's own names on the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lent {
    /// A simple query.
    ToQuery,
    /// A message of a batch: an error before it is the batch's.
    ToBatch,
}

/// The number of statements that have none.
const NOBODYS: StatementId = StatementId(0);

impl Client {
    /// A Parse with a name.
    pub(super) fn parse_named(&mut self, direct: &mut Direct, front: Front) -> Result<Step, Ended> {
        let body = self.io.input.get(HEADER_LEN..front.len).unwrap_or_default();
        let (Ok(parse), Some(participant)) = (Parse::decode(body), self.participants.first_mut()) else {
            return Ok(Step::Done);
        };
        let (state, out) = participant.backend.state_and_unsent();
        let whole = self.io.input.get(..front.len).unwrap_or_default();
        if self.statements.is_taken(parse.name) {
            // The server refuses it in its own words, if it has a statement of that name.
            if !state.has_own(parse.name) {
                lend_name(direct, state, out, parse.name);
            }
            out.extend_from_slice(whole);
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
        let capacity = self.thread.settings().pool.max_prepared_statements;
        let sent = match state.naming() {
            Naming::Clients => {
                state.learn_own(parse.name);
                out.extend_from_slice(whole);
                direct.tracker.expect(Expected::NamedParse(NOBODYS));
                true
            }
            Naming::Ours => {
                let certain = direct.status != TransactionStatus::Failed
                    && !direct.tracker.owes_ready()
                    && !direct.intake.is_halting()
                    && !self.catalog_changed;
                parse_as_ours(direct, state, out, (&parse, statement.id), certain, capacity)
            }
        };
        let counted = self.thread.stats.database(self.database.index);
        counted.client_parsed();
        if sent {
            counted.server_parsed();
        }
        direct.names.change(parse.name, None);
        self.statements.insert(parse.name, statement);
        Ok(Step::Done)
    }

    /// Whether the server has still to say what became of what earlier batches did with a name.
    pub(super) fn is_unsettled_before(&self, direct: &Direct, name: &[u8]) -> bool {
        if direct.tracker.is_done() {
            return false;
        }
        let id = self.statements.get(name).map(|statement| statement.id);
        direct.names.is_unsettled_before(name, id)
    }

    /// Sends a Bind on under the statement's name on the server.
    pub(super) fn send_bind(&mut self, direct: &mut Direct, front: Front, known: bool) {
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
            (name, Some(statement)) if known => {
                let counted = self.thread.stats.database(self.database.index);
                counted.bound();
                if is_barred(direct, state, name, statement) {
                    lend_name(direct, state, out, name);
                    out.extend_from_slice(have);
                } else if goes_by_own(direct, state, name, statement) {
                    bring_own(direct, state, out, (name, statement), Lent::ToBatch);
                    out.extend_from_slice(have);
                } else {
                    if !state.knows(statement.id) {
                        counted.server_parsed();
                    }
                    let capacity = self.thread.settings().pool.max_prepared_statements;
                    bring_statement(direct, state, out, (name, statement), capacity);
                    let server_name = statement.id.server_name();
                    let len = front.len - name.len() + server_name.as_bytes().len();
                    put_bind(&names, server_name.as_bytes(), len, out);
                }
            }
            // One of SQL's PREPARE, or none: the server knows.
            _ => out.extend_from_slice(have),
        }
        direct.tracker.expect(Expected::Bind);
    }

    pub(super) fn take_describe_statement(&mut self, direct: &mut Direct, front: Front, name: &[u8]) {
        let capacity = self.thread.settings().pool.max_prepared_statements;
        let Some(participant) = self.participants.first_mut() else {
            return;
        };
        let (state, out) = participant.backend.state_and_unsent();
        match (name, self.statements.get(name)) {
            (b"", _) => bring_unnamed(direct, out),
            (_, Some(statement)) if goes_by_own(direct, state, name, statement) => {
                bring_own(direct, state, out, (name, statement), Lent::ToBatch);
            }
            (_, Some(statement)) => {
                bring_statement(direct, state, out, (name, statement), capacity);
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

    /// The server closes a statement of the client's own name, if it has one; ours stays for others.
    pub(super) fn close_named(&mut self, direct: &mut Direct, front: Front, name: &[u8]) {
        if name.is_empty() {
            direct.names.unnamed.clear();
            direct.names.unnamed.bring();
            return self.send_on(direct, front, Expected::Close);
        }
        let before = self.statements.get(name).map(Rc::clone);
        if before.is_none() {
            return self.send_on(direct, front, Expected::Close);
        }
        if let Some(participant) = self.participants.first_mut() {
            let state = participant.backend.state_mut();
            if state.has_own(name) {
                state.lend_name(name);
            }
        }
        self.statements.remove(name);
        direct.names.change(name, before);
        self.send_on(direct, front, Expected::NamedClose);
    }

    /// Has the server know all of the client's statements, and no others, for a text that looks at them. Nothing else is
    /// under way.
    pub(super) fn show_names(&mut self, direct: &mut Direct, plan: &PlanRef, lent: Lent) {
        if !plan.effects.intersects(Effects::STATEMENTS_READ) {
            return;
        }
        let lent = lent.in_batch(direct);
        let Some(participant) = self.participants.first_mut() else {
            return;
        };
        let (state, out) = participant.backend.state_and_unsent();
        state.go_by_clients_names();
        for name in state.take_our_names() {
            close(direct, &name, out);
        }
        // Those that name others need these to be there.
        for naming_others in [false, true] {
            for (name, statement) in self.statements.named() {
                let special = statement.plan.special;
                if special != Special::Proxys && (special == Special::Session) == naming_others {
                    bring_own(direct, state, out, (name, statement), lent);
                }
            }
        }
    }

    /// Has the server know those of the client's statements that a text names.
    pub(super) fn lend_names(&mut self, direct: &mut Direct, plan: &PlanRef, lent: Lent) {
        if plan.special != Special::Session {
            return;
        }
        let lent = lent.in_batch(direct);
        let Some(participant) = self.participants.first_mut() else {
            return;
        };
        let (state, out) = participant.backend.state_and_unsent();
        if plan.effects.intersects(Effects::STATEMENTS_READ) {
            // Whatever is prepared from here on will be seen.
            state.go_by_clients_names();
        }
        let kinds = (0..plan.template.len()).filter_map(|n| plan.template.kind(n));
        for (naming, name) in kinds.filter_map(StatementKind::prepared) {
            if naming != sql::Naming::Ends {
                state.go_by_clients_names();
            }
            let name = name.as_bytes();
            let Some(statement) = self.statements.get(name) else {
                continue;
            };
            if direct.status == TransactionStatus::Failed && !state.has_own(name) {
                // No other statement can be prepared there.
                lend_name(direct, state, out, name);
                continue;
            }
            bring_own(direct, state, out, (name, statement), lent);
            if naming == sql::Naming::Runs {
                // It runs here what was prepared for everywhere.
                participant.effects |= statement.plan.effects;
            }
        }
    }
}

impl Lent {
    /// In a batch, a Sync would end it.
    fn in_batch(self, direct: &Direct) -> Self {
        match direct.batch {
            Batch::Open => Self::ToBatch,
            Batch::Closed => self,
        }
    }
}

/// Sends a Parse on under our own name, unless the connection knows the statement and it is `certain` that the server would
/// take it. Whether it was sent.
fn parse_as_ours(
    direct: &mut Direct,
    state: &mut BackendState,
    out: &mut BytesMut,
    (parse, id): (&Parse<'_>, StatementId),
    certain: bool,
    capacity: usize,
) -> bool {
    let known = state.knows(id);
    if known && certain {
        direct.tracker.expect(Expected::LocalNamedParse);
        return false;
    }
    if known {
        close_statement(direct, id, out);
    } else if let Injection::CloseThenParse(evicted) = state.use_statement(id, capacity) {
        close_statement(direct, evicted, out);
    }
    Parse {
        name: id.server_name().as_bytes(),
        sql: parse.sql,
        parameter_types: parse.parameter_types,
    }
    .encode(out);
    direct.tracker.expect(Expected::NamedParse(id));
    true
}

/// Whether the server is to know a statement of the client's under the client's own name.
fn goes_by_own(direct: &Direct, state: &BackendState, name: &[u8], statement: &Prepared<PlanRef>) -> bool {
    // In a failed transaction none can be prepared that isn't there.
    let stuck =
        direct.status == TransactionStatus::Failed && !state.has_own(name) && state.knows(statement.id);
    state.naming() == Naming::Clients && !stuck
}

/// Whether a statement can be neither prepared nor bound before the failed transaction ends.
fn is_barred(direct: &Direct, state: &BackendState, name: &[u8], statement: &Prepared<PlanRef>) -> bool {
    direct.status == TransactionStatus::Failed
        && !state.has_own(name)
        && !state.knows(statement.id)
        && !matches!(
            statement.plan.template.kind(0),
            Some(StatementKind::Transaction(_))
        )
}

/// Prepares an empty statement under a client's own name: a statement of that name is to be found, or not to be made.
fn lend_name(direct: &mut Direct, state: &mut BackendState, out: &mut BytesMut, name: &[u8]) {
    state.lend_name(name);
    direct.names.teach(name, NOBODYS);
    close(direct, name, out);
    Parse {
        name,
        sql: b"",
        parameter_types: wire::Oids::NONE,
    }
    .encode(out);
    direct.tracker.expect(Expected::InjectedParse(NOBODYS));
}

/// Has the connection know a statement of the client's under the client's own name.
fn bring_own(
    direct: &mut Direct,
    state: &mut BackendState,
    out: &mut BytesMut,
    (name, statement): (&[u8], &Prepared<PlanRef>),
    lent: Lent,
) {
    if state.has_own(name) {
        return;
    }
    state.learn_own(name);
    direct.names.teach(name, NOBODYS);
    // It may have been lent before, and be there still.
    close(direct, name, out);
    crate::client::single::encode_parse(statement, name, out);
    match lent {
        Lent::ToBatch => direct.tracker.expect(Expected::InjectedParse(NOBODYS)),
        // The server would skip the query if this failed and no Sync came.
        Lent::ToQuery => {
            encode_sync(out);
            direct.tracker.expect(Expected::InjectedBatch);
        }
    }
}

/// Closes what may be prepared under a name.
pub(super) fn close(direct: &mut Direct, name: &[u8], out: &mut BytesMut) {
    Close {
        target: Target::Statement,
        name,
    }
    .encode(out);
    direct.tracker.expect(Expected::InjectedClose(None));
}

fn close_statement(direct: &mut Direct, id: StatementId, out: &mut BytesMut) {
    Close {
        target: Target::Statement,
        name: id.server_name().as_bytes(),
    }
    .encode(out);
    direct.tracker.expect(Expected::InjectedClose(Some(id)));
}

/// Has the connection know a statement of the client's under our own name.
fn bring_statement(
    direct: &mut Direct,
    state: &mut BackendState,
    out: &mut BytesMut,
    (name, statement): (&[u8], &Prepared<PlanRef>),
    capacity: usize,
) {
    let injection = state.use_statement(statement.id, capacity);
    if let Injection::CloseThenParse(evicted) = injection {
        close_statement(direct, evicted, out);
    }
    if injection != Injection::Known {
        direct.names.teach(name, statement.id);
        crate::client::single::encode_parse(statement, statement.id.server_name().as_bytes(), out);
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
        None => close(direct, b"", out),
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
