//! What a backend connection knows: the settings applied to it and the statements prepared on it.

use crate::prepared::StatementId;
use crate::settings::Settings;
use crate::state::Questions;
use foldhash::fast::RandomState;
use std::collections::HashMap;

/// What has to be sent before a backend can run a prepared statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Injection {
    /// It knows the statement.
    Known,
    /// It must be taught it.
    Parse,
    /// It must forget the given statement first, to stay within the bound.
    CloseThenParse(StatementId),
}

/// The protocol state of one backend connection.
#[derive(Debug, Default)]
pub struct BackendState {
    /// The client settings that were applied to it last.
    pub applied: Settings,
    statements: HashMap<StatementId, u64, RandomState>,
    tick: u64,
    /// The questions of ours that are prepared on it.
    questions: Option<Questions>,
    /// Names of clients' own that were prepared for a statement in SQL to find, and have to go before the next use.
    lent_names: Vec<Box<[u8]>>,
}

impl BackendState {
    /// Uses `statement`, of which the connection may know `capacity` at the most. The answer is what to send first;
    /// from here on the statement counts as known.
    pub fn use_statement(&mut self, statement: StatementId, capacity: usize) -> Injection {
        self.tick += 1;
        if let Some(last_use) = self.statements.get_mut(&statement) {
            *last_use = self.tick;
            return Injection::Known;
        }
        let mut evicted = None;
        if self.statements.len() >= capacity.max(1) {
            evicted = self
                .statements
                .iter()
                .min_by_key(|(_, used)| **used)
                .map(|(id, _)| *id);
            if let Some(id) = evicted {
                self.statements.remove(&id);
            }
        }
        self.statements.insert(statement, self.tick);
        evicted.map_or(Injection::Parse, Injection::CloseThenParse)
    }

    /// A statement was prepared under a client's own name.
    pub fn lend_name(&mut self, name: &[u8]) {
        self.lent_names.push(name.into());
    }

    /// The names that have to be closed, whether or not statements of these names are left.
    pub fn take_lent_names(&mut self) -> Vec<Box<[u8]>> {
        std::mem::take(&mut self.lent_names)
    }

    /// Uses `statement` if the connection knows it. `false`: it has to be taught it.
    pub fn renew(&mut self, statement: StatementId) -> bool {
        match self.statements.get_mut(&statement) {
            Some(last_use) => {
                self.tick += 1;
                *last_use = self.tick;
                true
            }
            None => false,
        }
    }

    /// Whether the connection knows `statement`.
    pub fn knows(&self, statement: StatementId) -> bool {
        self.statements.contains_key(&statement)
    }

    /// A Parse of `statement` failed: the connection doesn't know it after all.
    pub fn forget(&mut self, statement: StatementId) {
        self.statements.remove(&statement);
    }

    /// The connection lost all its statements: DEALLOCATE ALL, DISCARD ALL.
    pub fn forget_all(&mut self) {
        self.statements.clear();
        self.questions = None;
    }

    /// It was made as new by DISCARD ALL.
    pub fn discard_all(&mut self) {
        self.forget_all();
        self.applied = Settings::default();
    }

    /// A Close of `statement` was skipped: the connection knows it still.
    pub fn keep(&mut self, statement: StatementId) {
        self.statements.insert(statement, self.tick);
    }

    /// How many statements the connection knows.
    pub fn statement_count(&self) -> usize {
        self.statements.len()
    }

    /// How many statements are prepared on it by protocol, the questions of ours included.
    pub fn prepared_count(&self) -> usize {
        let questions = match self.questions {
            None => 0,
            Some(Questions::Settings | Questions::Pins) => 1,
            Some(Questions::Both) => 2,
        };
        self.statements.len() + questions
    }

    /// Whether a question of ours is prepared on it.
    pub fn knows_question(&self, question: Questions) -> bool {
        self.questions
            .is_some_and(|known| known == question || known == Questions::Both)
    }

    /// A question of ours was prepared on it.
    pub fn learn_question(&mut self, question: Questions) {
        self.questions = Some(match self.questions {
            Some(known) if known != question => Questions::Both,
            _ => question,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{BackendState, Injection};
    use crate::prepared::StatementId;

    #[test]
    fn the_least_recently_used_statement_makes_room() {
        let mut backend = BackendState::default();
        let [a, b, c] = [1, 2, 3].map(StatementId);
        assert_eq!(backend.use_statement(a, 2), Injection::Parse);
        assert_eq!(backend.use_statement(b, 2), Injection::Parse);
        assert_eq!(backend.use_statement(a, 2), Injection::Known);
        assert_eq!(backend.use_statement(c, 2), Injection::CloseThenParse(b));
        assert!(backend.knows(a) && !backend.knows(b) && backend.knows(c));
        backend.forget(c);
        assert_eq!(backend.use_statement(c, 2), Injection::Parse);
        assert_eq!(backend.statement_count(), 2);
    }
}
