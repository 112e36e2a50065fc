//! The simple query protocol: one string, one or more statements, one ReadyForQuery.

use super::single::Form;
use super::{Client, Failure, Flow};
use crate::data::thread::{PlannedText, TextStatement};
use crate::metrics::PlanKind;
use planner::{CopyPlan, Plan, Route};
use std::ops::Range;
use wire::backend::encode_empty_query_response;
use wire::{ProxyError, sqlstate};

impl Client {
    /// A Query message, answered up to and with ReadyForQuery. `body` is the text with its closing NUL.
    pub(crate) async fn simple_query(&mut self, body: Range<usize>) -> Flow {
        let outcome = self.run_query(body).await;
        let mut flow = match outcome {
            Ok(()) => Flow::Continue,
            Err(failure) => self.report(failure),
        };
        if self.block.is_some()
            && let Err(failure) = Box::pin(self.end_implicit()).await
        {
            flow = self.report(failure);
        }
        // The connection goes back before the client is answered: the next one need not wait for this one's socket.
        self.settle().await;
        if self.catalog_changed {
            Box::pin(self.follow_catalog()).await;
        }
        self.ready();
        flow
    }

    async fn run_query(&mut self, body: Range<usize>) -> Result<(), Failure> {
        let text = body.start..body.end.saturating_sub(1);
        let bytes = self.io.input.get(text.clone()).unwrap_or_default();
        if self.io.input.get(text.end) != Some(&0) || bytes.contains(&0) {
            return Err(ProxyError::protocol_violation("invalid string in message").into());
        }
        match self.thread.plan_text(&self.database, &self.plans, bytes)? {
            PlannedText::Empty => {
                encode_empty_query_response(&mut self.io.out);
                Ok(())
            }
            PlannedText::One(plan) => self.run_planned(&plan, &Form::Simple(text)).await,
            PlannedText::Many(statements) => Box::pin(self.run_many(text.start, statements)).await,
        }
    }

    /// Several statements in one string: one transaction around those that are not in a block of the client's.
    async fn run_many(&mut self, start: usize, statements: Vec<TextStatement>) -> Result<(), Failure> {
        for statement in &statements {
            if !matches!(statement.plan.route, Route::Local(planner::Local::Transaction(_))) {
                self.begin_implicit();
            }
            let text = start + statement.range.start..start + statement.range.end;
            self.run_planned(&statement.plan, &Form::Simple(text)).await?;
        }
        Ok(())
    }

    /// One statement of either protocol, by its plan.
    ///
    /// What is not the way of a statement on one shard is boxed where it is called: the state of this future is what every
    /// statement pays for.
    pub(crate) async fn run_planned(&mut self, plan: &Plan, form: &Form) -> Result<(), Failure> {
        self.thread
            .stats
            .database(self.database.index)
            .plan(kind(&plan.route));
        if let Route::Local(local) = &plan.route {
            return Box::pin(self.local(local, plan, form)).await;
        }
        if self.block.as_ref().is_some_and(|block| block.failed) {
            return Err(ProxyError::in_failed_transaction().into());
        }
        match &plan.route {
            Route::Single { shard, .. } | Route::Utility { shard } => {
                if self.answer_from_cache(plan, *shard, form).await? {
                    return Ok(());
                }
                let at = self.acquire(*shard, plan).await?;
                self.forward(at, plan, form).await
            }
            Route::Any => {
                // What is kept of a reference table is proved by one shard's log, always the same one's.
                let shard = self.database.config.default_shard;
                if self.answer_from_cache(plan, shard, form).await? {
                    return Ok(());
                }
                let at = self.acquire_any(plan).await?;
                self.forward(at, plan, form).await
            }
            Route::Scatter {
                parts,
                merge,
                columns,
            } => Box::pin(self.scatter(plan, parts, merge, *columns, form)).await,
            Route::Split { parts } => {
                Box::pin(self.write_parts(plan, parts, planner::Answer::Sum, form)).await
            }
            Route::Everywhere { shards, answer } => {
                let parts: Vec<_> = shards
                    .iter()
                    .map(|shard| planner::Part {
                        shard: *shard,
                        text: None,
                    })
                    .collect();
                Box::pin(self.write_parts(plan, &parts, *answer, form)).await
            }
            Route::Copy(copy) => Box::pin(self.copy(copy, plan, form)).await,
            Route::Refuse(refusal) => Err(refused(refusal).into()),
            Route::Local(_) => Err(ProxyError::internal().into()),
        }
    }
}

/// How a statement is counted.
fn kind(route: &Route) -> PlanKind {
    match route {
        Route::Single { .. } | Route::Utility { .. } => PlanKind::Single,
        Route::Any => PlanKind::Any,
        Route::Split { .. } | Route::Copy(CopyPlan::ByRow { .. }) => PlanKind::Split,
        Route::Scatter { .. } | Route::Copy(CopyPlan::Gather { .. }) => PlanKind::Scatter,
        Route::Everywhere { .. } | Route::Copy(CopyPlan::Whole { .. }) => PlanKind::Everywhere,
        Route::Local(_) => PlanKind::Local,
        Route::Refuse(_) => PlanKind::Refused,
    }
}

/// A refusal as the client sees it.
pub(crate) fn refused(refusal: &planner::Refusal) -> ProxyError {
    let code =
        wire::SqlState::from_bytes(refusal.sqlstate.as_bytes()).unwrap_or(sqlstate::FEATURE_NOT_SUPPORTED);
    ProxyError::error(code, refusal.message.clone())
        .with_detail(refusal.reason.clone())
        .with_hint(refusal.hint.clone())
}
