//! Simple queries, and statements that change what is kept of the session.

use super::messages::{Admitted, Lent, Step, lend_name, lend_statement};
use super::{Batch, Client, Direct, Ended, Follow};
use crate::data::plans::{READ_TEXT, Special};
use crate::data::thread::PlanRef;
use planner::{Access, Effects, Local};
use session::Expected;
use session::intake::Front;
use sql::SetWhat;

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
        direct.batch = Batch::Closed;
        direct.names.next_batch();
        direct.names.unnamed.clear();
        if let Some(plan) = plan.filter(|plan| plan.special == Special::Session) {
            self.lend_names(direct, &plan, Lent::ToQuery);
            self.follow(direct, plan);
        }
        self.count_statement();
        self.send_on(direct, front, Expected::Query);
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

    /// Has the server know those of the client's statements that the text names.
    pub(super) fn lend_names(&mut self, direct: &mut Direct, plan: &PlanRef, lent: Lent) {
        let Some(participant) = self.participants.first_mut() else {
            return;
        };
        for n in 0..plan.template.len() {
            let (name, whole) = match plan.template.local(n) {
                Some(Local::SqlExecute { name }) => (name, true),
                Some(Local::SqlPrepare { name } | Local::SqlDeallocate { name: Some(name) }) => (name, false),
                _ => continue,
            };
            let Some(statement) = self.statements.get(name.as_bytes()) else {
                continue;
            };
            let (state, out) = participant.backend.state_and_unsent();
            if whole {
                lend_statement(direct, state, out, statement, name.as_bytes(), lent);
                // It runs here what was prepared for everywhere.
                participant.effects |= statement.plan.effects;
            } else {
                lend_name(direct, state, out, name.as_bytes());
            }
        }
    }

    /// Nothing else is sent before the statement is over.
    pub(super) fn follow(&mut self, direct: &mut Direct, plan: PlanRef) {
        direct.seen.tag.clear();
        direct.seen.errors = 0;
        direct.restoring |= resets(&plan);
        direct.follow = Some(Follow::Setting(plan));
    }

    /// The statement that was followed is over.
    pub(super) fn follow_up(&mut self, direct: &mut Direct) {
        let Some(Follow::Setting(plan)) = direct.follow.take() else {
            return;
        };
        let template = &plan.template;
        let succeeded = direct.seen.errors == 0;
        for n in 0..template.len() {
            if let Some(Local::SqlDeallocate { name: Some(name) }) = template.local(n)
                && succeeded
            {
                self.statements.remove(name.as_bytes());
            }
        }
        if !plan.effects.intersects(Effects::SETTINGS) {
            return;
        }
        let alone = template.len() == 1
            && direct.status == wire::TransactionStatus::Idle
            && direct.batch == Batch::Closed;
        let settled =
            alone && (!succeeded || template.local(0).is_some_and(|local| self.setting_done(local)));
        if !settled {
            // In a block, a batch or a string of statements it may be taken back, and RESET goes back to what the client
            // began with: the server is asked in the end.
            self.add_effects(Access::Read, Effects::SETTINGS);
        }
    }

    /// A setting that stays was set on the connection. `false`: what it is can't be told.
    fn setting_done(&mut self, local: &Local) -> bool {
        let Local::Set(set) = local else { return false };
        let pairs: Vec<(&str, String)> = match &set.what {
            SetWhat::Parameter { name, values } => {
                vec![(name, super::super::session_settings::values_sql(values))]
            }
            SetWhat::Characteristics(modes) => super::super::session_settings::characteristics(*modes)
                .into_iter()
                .map(|(name, value)| (name, session::quote_literal(value)))
                .collect(),
            _ => return false,
        };
        let Some(participant) = self.participants.first_mut() else {
            return false;
        };
        let applied = &mut participant.backend.state_mut().applied;
        for (name, value) in pairs {
            self.settings.set(name, &value);
            *applied = applied.with(name, &value);
        }
        self.context_changed();
        true
    }
}

/// Whether a statement of the text takes settings back to where the session began.
fn resets(plan: &PlanRef) -> bool {
    (0..plan.template.len()).any(|n| {
        matches!(
            plan.template.local(n),
            Some(
                Local::Reset(_)
                    | Local::Discard { all: true }
                    | Local::Set(sql::Set {
                        what: SetWhat::Default { .. },
                        ..
                    })
            )
        )
    })
}
