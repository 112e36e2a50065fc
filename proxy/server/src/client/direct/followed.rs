//! Statements that change what is kept of the session, when they are done.

use super::{Batch, Client, Direct, Follow};
use crate::data::plans::CachedTemplate;
use bytes::BytesMut;
use planner::{Access, Effects, Local};
use session::Expected;
use sql::{SetWhat, StatementKind, TransactionControl};
use wire::TransactionStatus;
use wire::frontend::{Bind, Close, Execute, Parse, Query, Target};
use wire::{FormatCodes, Oids};

/// Under which name a statement and a portal of ours stand in the midst of a batch of the client's.
const OWN_NAME: &[u8] = b"ringway";

impl Client {
    /// The statement that was followed is over.
    pub(super) fn follow_up(&mut self, direct: &mut Direct) {
        let Some(Follow::Setting(plan)) = direct.follow.take() else {
            return;
        };
        let template = &plan.template;
        let succeeded = direct.seen.errors == 0;
        for n in 0..template.len().min(direct.seen.completed) {
            if let Some(Local::SqlDeallocate { name: Some(name) }) = template.local(n) {
                self.statements.remove(name.as_bytes());
                if let Some(participant) = self.participants.first_mut() {
                    participant.backend.state_mut().drop_own(name.as_bytes());
                }
            }
        }
        if !plan.effects.intersects(Effects::SETTINGS) {
            return;
        }
        if succeeded && direct.seen.completed >= template.len() {
            self.restore_startup(direct, &plan);
        }
        let alone =
            template.len() == 1 && direct.status == TransactionStatus::Idle && direct.batch == Batch::Closed;
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

    /// RESET goes back to what the server connection began with. What the client began with is set again before anything
    /// else runs there.
    fn restore_startup(&mut self, direct: &mut Direct, plan: &CachedTemplate) {
        let Some(reset) = Reset::of(plan) else { return };
        let Some(participant) = self.participants.first_mut() else {
            return;
        };
        if direct.status == TransactionStatus::Failed {
            return;
        }
        let names = self.startup.statements();
        let statements = names.filter(|(name, _)| reset.touches(name)).map(|(_, sql)| sql);
        let out = participant.backend.unsent();
        if direct.batch == Batch::Closed || reset == Reset::Session {
            // DISCARD ALL is committed at once, whatever it is sent in.
            let sql: String = statements.collect();
            if !sql.is_empty() {
                Query { sql: sql.as_bytes() }.encode(out);
                direct.tracker.expect(Expected::RestoringQuery);
                direct.names.unnamed.leave();
            }
            return;
        }
        for sql in statements {
            run_inside(out, &sql);
            for _ in 0..INSIDE {
                direct.tracker.expect(Expected::Injected);
            }
        }
    }
}

/// Which settings a text takes back to where the session began.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Reset {
    /// All, with the rest of the session.
    Session,
    /// All.
    All,
    /// These.
    Named(Vec<String>),
}

impl Reset {
    /// `None`: none, or nobody knows whether it is taken back by the text itself.
    fn of(plan: &CachedTemplate) -> Option<Self> {
        let mut names = Vec::new();
        let mut all = None;
        for n in 0..plan.template.len() {
            match plan.template.local(n) {
                Some(Local::Discard { all: true }) => all = Some(Self::Session),
                Some(Local::Reset(None)) => all = Some(Self::All),
                Some(Local::Reset(Some(name))) => names.push(name.clone()),
                Some(Local::Set(sql::Set {
                    what: SetWhat::Default { name },
                    local: false,
                })) => names.push(name.clone()),
                _ => {
                    let begun = all.is_some() || !names.is_empty();
                    if begun && plan.template.kind(n).is_some_and(takes_back) {
                        return None;
                    }
                }
            }
        }
        all.or((!names.is_empty()).then_some(Self::Named(names)))
    }

    fn touches(&self, name: &str) -> bool {
        match self {
            Self::Session | Self::All => true,
            Self::Named(names) => names.iter().any(|reset| reset.eq_ignore_ascii_case(name)),
        }
    }
}

/// Whether a statement may undo what came before it in its text.
fn takes_back(kind: &StatementKind) -> bool {
    use TransactionControl::{Prepare, Rollback, RollbackTo};
    matches!(
        kind,
        StatementKind::Transaction(Rollback { .. } | RollbackTo(_) | Prepare(_))
    )
}

/// Whether a statement of the text takes settings back to where the session began.
pub(super) fn resets(plan: &CachedTemplate) -> bool {
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

/// The messages of [`run_inside`].
const INSIDE: usize = 5;

/// Runs a statement in the midst of a batch, without touching what the client has there.
fn run_inside(out: &mut BytesMut, sql: &str) {
    Parse {
        name: OWN_NAME,
        sql: sql.trim_end_matches(';').as_bytes(),
        parameter_types: Oids::NONE,
    }
    .encode(out);
    Bind::encode(out, OWN_NAME, OWN_NAME, FormatCodes::TEXT, &[], FormatCodes::TEXT);
    Execute {
        portal: OWN_NAME,
        max_rows: 0,
    }
    .encode(out);
    for target in [Target::Portal, Target::Statement] {
        Close {
            target,
            name: OWN_NAME,
        }
        .encode(out);
    }
}
