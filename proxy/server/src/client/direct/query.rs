//! Simple queries, and statements that change what is kept of the session.

use super::commit::commits;
use super::messages::{Admitted, Step};
use super::statements::Lent;
use super::{Batch, Client, Direct, Ended, Follow};
use crate::data::plans::{READ_TEXT, Special};
use crate::data::thread::PlanRef;
use planner::{Access, Effects};
use session::Expected;
use session::intake::Front;

impl Client {
    pub(super) async fn take_query(&mut self, direct: &mut Direct, front: Front) -> Result<Step, Ended> {
        let plan = if direct.unreadable.any() {
            None
        } else {
            self.text_plan(front)
        };
        self.foresee(plan.as_ref(), self.front_body(front));
        match plan.as_ref().map_or(Special::No, |plan| plan.special) {
            Special::No => {}
            Special::Proxys => match plan {
                Some(plan) => return Box::pin(self.own_query(direct, front, plan)).await,
                None => return Ok(Step::Done),
            },
            Special::Session => {
                if direct.names.is_unsettled() || !direct.tracker.is_done() {
                    return Ok(Step::Stop(self.hurry(direct)));
                }
            }
        }
        if !self.server(direct).await? {
            self.ready_direct(direct);
            return Ok(Step::Done);
        }
        let (access, effects) = plan.as_ref().map_or((Access::Write, Effects::SUSPECT), |plan| {
            (plan.access, plan.effects_now())
        });
        match self.admit(direct, effects).await {
            Ok(Admitted::Now) => {}
            Ok(Admitted::Later) => return Ok(Step::Stop(self.hurry(direct))),
            Err(failure) => {
                self.refuse_query(direct, failure)?;
                return Ok(Step::Done);
            }
        }
        self.add_effects(access, effects);
        let is_commit = plan.as_ref().is_some_and(commits);
        if let Some(plan) = plan.filter(|plan| plan.special == Special::Session) {
            self.show_names(direct, &plan, Lent::ToQuery);
            self.lend_names(direct, &plan, Lent::ToQuery);
            self.follow(direct, plan);
        }
        direct.batch = Batch::Closed;
        direct.names.next_batch();
        direct.names.unnamed.clear();
        self.count_statement();
        self.count_read(access);
        if is_commit {
            self.send_commit(direct, front, Expected::Query);
        } else {
            self.send_on(direct, front, Expected::Query);
        }
        Ok(Step::Done)
    }

    /// What is known of a query's text; `None`: nothing.
    pub(super) fn text_plan(&self, front: Front) -> Option<PlanRef> {
        if !front.is_whole() || front.len > READ_TEXT {
            return None;
        }
        let text = self.front_body(front).strip_suffix(&[0])?;
        self.thread.text_template(&self.database, &self.plans, text).ok()
    }

    /// Nothing else is sent before the statement is over.
    pub(super) fn follow(&mut self, direct: &mut Direct, plan: PlanRef) {
        direct.seen.tag.clear();
        direct.seen.errors = 0;
        direct.seen.completed = 0;
        direct.restoring |= super::followed::resets(&plan);
        direct.follow = Some(Follow::Setting(plan));
    }
}
