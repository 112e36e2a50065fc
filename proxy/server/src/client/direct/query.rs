//! Simple queries, and statements that change what is kept of the session.

use super::intake::Front;
use super::messages::{Lent, Step, lend_name, lend_statement};
use super::{Batch, Client, Direct, Ended, Follow};
use crate::data::plans::Special;
use crate::data::thread::PlanRef;
use planner::{Effects, Local};
use session::Expected;
use sql::SetWhat;

/// A longer text is not looked into: it is taken for one that may leave anything.
const READ_TEXT: usize = super::intake::HELD_MESSAGE;

impl Client {
    pub(super) async fn take_query(&mut self, direct: &mut Direct, front: Front) -> Result<Step, Ended> {
        let plan = self.text_plan(front);
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
        direct.batch = Batch::Closed;
        direct.names.next_batch();
        direct.names.unnamed.clear();
        match plan {
            Some(plan) if plan.special == Special::Session => {
                self.add_effects(plan.effects.without(Effects::SETTINGS));
                self.lend_names(direct, &plan, Lent::ToQuery);
                self.follow(direct, plan);
            }
            Some(plan) => self.add_effects(plan.effects),
            None => self.add_effects(Effects::SUSPECT | Effects::SETTINGS),
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
        let alone = template.len() == 1 && direct.status == wire::TransactionStatus::Idle;
        match template.local(0) {
            Some(local) if alone && direct.batch == Batch::Closed => {
                if succeeded {
                    self.setting_done(local);
                }
            }
            // In a block, a batch or a string of statements it may be taken back: the server has to be asked in the end.
            _ => self.add_effects(Effects::SETTINGS),
        }
    }

    /// A setting that stays was set on the connection.
    fn setting_done(&mut self, local: &Local) {
        let startup = self.startup.clone();
        let Some(participant) = self.participants.first_mut() else {
            return;
        };
        let applied = &mut participant.backend.state_mut().applied;
        match local {
            Local::Set(set) => match &set.what {
                SetWhat::Parameter { name, values } => {
                    let value = super::super::session_settings::values_sql(values);
                    self.settings.set(name, &value);
                    *applied = applied.with(name, &value);
                }
                SetWhat::Default { name } => {
                    self.settings.reset(name, &startup);
                    *applied = applied.without(name);
                }
                SetWhat::Characteristics(modes) => {
                    for (name, value) in super::super::session_settings::characteristics(*modes) {
                        let value = super::super::quote_literal(value);
                        self.settings.set(name, &value);
                        *applied = applied.with(name, &value);
                    }
                }
                SetWhat::Transaction(_) | SetWhat::Snapshot => return,
                SetWhat::Other { .. } => return self.add_effects(Effects::SETTINGS),
            },
            Local::Reset(Some(name)) => {
                self.settings.reset(name, &startup);
                *applied = applied.without(name);
            }
            Local::Reset(None) => {
                self.settings.reset_all(&startup);
                *applied = session::Settings::default();
                for name in ["role", "session_authorization"] {
                    if let Some(value) = self.settings.current().get(name) {
                        *applied = applied.with(name, value);
                    }
                }
            }
            Local::Discard { all: true } => {
                self.settings.discard_all(&startup);
                *applied = session::Settings::default();
            }
            _ => return,
        }
        self.context_changed();
    }
}
