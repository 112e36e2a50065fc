//! The proxy's own statements: SET, RESET and SHOW of ringway.*, EXPLAIN (ROUTE). They are answered here, in their turn.

use super::messages::Step;
use super::{Batch, Bound, Client, Direct, Ended, Skip};
use crate::client::single::{Extended, Form};
use crate::client::{Failure, Flow};
use crate::data::plans::Special;
use crate::data::thread::{PlanRef, PlannedText};
use bytes::Buf;
use planner::{Plan, Route};
use session::Expected;
use session::intake::Front;
use std::rc::Rc;
use wire::backend::{ParameterDescription, encode_bind_complete, encode_close_complete, encode_no_data};
use wire::frame::HEADER_LEN;
use wire::frontend::{Bind, BindNames, Execute, Parse, Query, Target};
use wire::{ProxyError, TransactionStatus};

/// What makes a transaction fail on the server when it failed here.
const FAIL: &[u8] = b"ROLLBACK TO SAVEPOINT \"refused by ringway\"";

impl Client {
    /// A query with a statement of the proxy's own.
    pub(super) async fn own_query(
        &mut self,
        direct: &mut Direct,
        front: Front,
        plan: PlanRef,
    ) -> Result<Step, Ended> {
        if self.owes(direct) || !direct.tracker.is_done() {
            return Ok(Step::Stop(self.hurry(direct)));
        }
        direct.names.unnamed.clear();
        let text = HEADER_LEN..front.len - 1;
        let outcome = if plan.template.len() > 1 {
            Err(not_alone().into())
        } else {
            let sql = self.io.input.get(text.clone()).unwrap_or_default();
            match self.thread.plan_text(&self.database, &self.plans, sql) {
                Ok(PlannedText::One(plan)) => self.run_own(&plan, &Form::Simple(text)).await,
                Ok(_) => Err(ProxyError::internal().into()),
                Err(failure) => Err(failure),
            }
        };
        match outcome {
            Ok(()) => self.ready_direct(direct),
            Err(failure) => self.refuse_query(direct, failure)?,
        }
        Ok(Step::Done)
    }

    async fn run_own(&mut self, plan: &Plan, form: &Form) -> Result<(), Failure> {
        match &plan.route {
            Route::Local(local) => self.local(local, plan, form).await,
            _ => Err(ProxyError::internal().into()),
        }
    }

    /// Tells the client of an error of a query; its transaction fails with it on the server too.
    pub(super) fn refuse_query(&mut self, direct: &mut Direct, failure: Failure) -> Result<(), Ended> {
        if self.report(failure) == Flow::Close {
            return Err(Ended);
        }
        match self.participants.first_mut() {
            Some(participant) if direct.status == TransactionStatus::InTransaction => {
                Query { sql: FAIL }.encode(participant.backend.unsent());
                direct.tracker.expect(Expected::RefusedQuery);
            }
            _ => self.ready_direct(direct),
        }
        Ok(())
    }

    /// Tells the client of an error in a batch: what follows is skipped up to Sync, by the server too.
    pub(super) fn refuse_batch(&mut self, direct: &mut Direct, failure: Failure) -> Result<Step, Ended> {
        if self.report(failure) == Flow::Close {
            return Err(Ended);
        }
        match self.participants.first_mut() {
            Some(participant) => {
                Parse {
                    name: b"",
                    sql: FAIL,
                    parameter_types: wire::Oids::NONE,
                }
                .encode(participant.backend.unsent());
                // It is a statement, so it is carried out to have it fail.
                Bind::encode(
                    participant.backend.unsent(),
                    b"",
                    b"",
                    wire::FormatCodes::TEXT,
                    &[],
                    wire::FormatCodes::TEXT,
                );
                Execute {
                    portal: b"",
                    max_rows: 0,
                }
                .encode(participant.backend.unsent());
                for _ in 0..3 {
                    direct.tracker.expect(Expected::Refused);
                }
                direct.batch = Batch::Open;
                direct.names.unnamed.leave();
            }
            None => direct.skip = Skip::ToSync,
        }
        Ok(Step::Done)
    }

    pub(super) async fn parse_own(
        &mut self,
        direct: &mut Direct,
        front: Front,
        plan: PlanRef,
    ) -> Result<Step, Ended> {
        if self.owes(direct) {
            return Ok(Step::Stop(self.hurry(direct)));
        }
        let body = self.io.input.get(HEADER_LEN..front.len).unwrap_or_default();
        let Ok(parse) = Parse::decode(body) else {
            return Ok(Step::Done);
        };
        if plan.template.len() > 1 {
            return self.refuse_batch(direct, not_alone().into());
        }
        if self.statements.is_taken(parse.name) {
            let error = ProxyError::error(
                wire::sqlstate::DUPLICATE_PREPARED_STATEMENT,
                format!(
                    "prepared statement \"{}\" already exists",
                    String::from_utf8_lossy(parse.name)
                ),
            );
            return self.refuse_batch(direct, error.into());
        }
        let types: Vec<u32> = parse.parameter_types.iter().map(|oid| oid.0).collect();
        let prepared = self
            .thread
            .prepared_statement(&self.database, &self.plans, parse.sql, &types);
        let statement = match prepared {
            Ok(statement) => statement,
            Err(failure) => return self.refuse_batch(direct, failure),
        };
        if parse.name.is_empty() {
            direct.names.unnamed.set(&[], plan);
            direct.names.unnamed.leave();
        }
        self.statements.insert(parse.name, statement);
        wire::backend::encode_parse_complete(&mut self.io.out);
        Ok(Step::Done)
    }

    pub(super) fn bind_own(
        &mut self,
        direct: &mut Direct,
        front: Front,
        plan: PlanRef,
    ) -> Result<Step, Ended> {
        if self.owes(direct) {
            return Ok(Step::Stop(self.hurry(direct)));
        }
        let Ok(names) = BindNames::decode(self.front_body(front)) else {
            return Ok(Step::Done);
        };
        let bound = Bound {
            portal: names.portal.into(),
            plan,
            statement: self.statements.get(names.statement).map(Rc::clone),
        };
        direct.bound.remove(names.portal);
        if direct.bound.insert(bound) {
            encode_bind_complete(&mut self.io.out);
            return Ok(Step::Done);
        }
        let error = ProxyError::error(
            wire::sqlstate::PROGRAM_LIMIT_EXCEEDED,
            "too many portals with statements of the proxy's own",
        );
        self.refuse_batch(direct, error.into())
    }

    /// The proxy's own statement or portal of this name, if it is one.
    pub(super) fn own_named(&self, direct: &Direct, target: Target, name: &[u8]) -> Option<PlanRef> {
        let plan = match (target, name) {
            (Target::Statement, b"") => direct.names.unnamed.plan(),
            (Target::Statement, name) => self.statements.get(name).map(|s| &s.plan),
            (Target::Portal, name) => direct.bound.find(name).map(|bound| &bound.plan),
        };
        plan.filter(|plan| plan.special == Special::Proxys).map(Rc::clone)
    }

    /// Describe or Close of the proxy's own statement or portal.
    pub(super) fn on_own_named(
        &mut self,
        direct: &mut Direct,
        front: Front,
        target: Target,
        name: &[u8],
        plan: &PlanRef,
    ) -> Step {
        if self.owes(direct) {
            return Step::Stop(self.hurry(direct));
        }
        if front.tag == b'C' {
            match target {
                Target::Portal => direct.bound.remove(name),
                Target::Statement => {
                    self.statements.remove(name);
                    if name.is_empty() {
                        direct.names.unnamed.clear();
                    }
                }
            }
            encode_close_complete(&mut self.io.out);
            return Step::Done;
        }
        if target == Target::Statement {
            ParameterDescription::encode(&mut self.io.out, &[]);
        }
        match self.local_columns(plan) {
            Some(columns) => columns.encode(&mut self.io.out),
            None => encode_no_data(&mut self.io.out),
        }
        Step::Done
    }

    pub(super) async fn execute_own(&mut self, direct: &mut Direct, portal: &[u8]) -> Result<Step, Ended> {
        if self.owes(direct) {
            return Ok(Step::Stop(self.hurry(direct)));
        }
        let bound = direct
            .bound
            .find(portal)
            .and_then(|bound| bound.statement.clone());
        direct.bound.remove(portal);
        let Some(statement) = bound else {
            return self.refuse_batch(direct, ProxyError::internal().into());
        };
        let form = Form::Extended(Extended {
            statement: Rc::clone(&statement),
            named: false,
            bind: 0..0,
            portal: Box::default(),
            parse_pending: false,
            describe: false,
            max_rows: Some(0),
        });
        let map = self.database.snapshot().map.clone();
        let plan = statement.plan.template.bind(0, &planner::Values::None, &map);
        let told = self.io.out.len();
        match self.run_own(&plan, &form).await {
            Ok(()) => {
                // Of the portal the client was told at its Bind.
                let mut answer = self.io.out.split_off(told);
                answer.advance(HEADER_LEN.min(answer.len()));
                self.io.out.unsplit(answer);
                Ok(Step::Done)
            }
            Err(failure) => {
                self.io.out.truncate(told);
                self.refuse_batch(direct, failure)
            }
        }
    }
}

fn not_alone() -> ProxyError {
    ProxyError::unsupported(
        "a statement of the proxy's own must be sent by itself",
        "The other statements of the string are a server's, and it takes them together.",
        "Send SET, SHOW and RESET of ringway.* and EXPLAIN (ROUTE) one by one.",
    )
}
