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

/// Whose names of prepared statements a connection goes by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Naming {
    /// Ours: a distinct text has the same name for all clients.
    #[default]
    Ours,
    /// Those of the client that has it: SQL's PREPARE may have made others beside them.
    Clients,
}

/// What is prepared under a client's own name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Own {
    /// The client's statement.
    Statement,
    /// Nothing of use, or perhaps nothing at all.
    Other,
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
    /// By whose names statements are prepared from here on.
    naming: Naming,
    /// Names of the client's own, which have to go before another client's use.
    own: HashMap<Box<[u8]>, Own, RandomState>,
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

    /// Whose names it goes by.
    pub fn naming(&self) -> Naming {
        self.naming
    }

    /// It goes by the names of the client that has it, until that one gives it back.
    pub fn go_by_clients_names(&mut self) {
        self.naming = Naming::Clients;
    }

    /// Whether the client's own statement is prepared under its own name.
    pub fn has_own(&self, name: &[u8]) -> bool {
        self.own.get(name) == Some(&Own::Statement)
    }

    /// The client's own statement is prepared under its own name.
    pub fn learn_own(&mut self, name: &[u8]) {
        self.own.insert(name.into(), Own::Statement);
    }

    /// Something else than its statement may be prepared under a name of the client's own.
    pub fn lend_name(&mut self, name: &[u8]) {
        self.own.insert(name.into(), Own::Other);
    }

    /// Nothing of ours is prepared under this name.
    pub fn drop_own(&mut self, name: &[u8]) {
        self.own.remove(name);
    }

    /// The server has closed what the client had under this name, unless it was prepared again since.
    pub fn own_was_closed(&mut self, name: &[u8]) {
        if self.own.get(name) == Some(&Own::Other) {
            self.own.remove(name);
        }
    }

    /// It isn't known any more what is prepared under the client's own names.
    pub fn doubt_own(&mut self) {
        self.own.values_mut().for_each(|own| *own = Own::Other);
    }

    /// The client gives it back: its own names, which have to be closed, whether or not statements of these names are left.
    pub fn take_own_names(&mut self) -> Vec<Box<[u8]>> {
        self.naming = Naming::Ours;
        if self.own.is_empty() {
            return Vec::new();
        }
        std::mem::take(&mut self.own).into_keys().collect()
    }

    /// Our own names, which are to be closed.
    pub fn take_our_names(&mut self) -> Vec<Box<[u8]>> {
        let questions = self.questions.take().map(Questions::each);
        let questions = questions
            .into_iter()
            .flatten()
            .map(|(_, _, name)| name.as_bytes().into());
        let statements = std::mem::take(&mut self.statements);
        let statements = statements
            .into_keys()
            .map(|id| id.server_name().as_bytes().into());
        questions.chain(statements).collect()
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
        self.own.clear();
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

    /// How many statements are prepared on it by protocol, the questions of ours included. There may be less where a client
    /// has names of its own.
    pub fn prepared_count(&self) -> usize {
        let questions = match self.questions {
            None => 0,
            Some(Questions::Settings | Questions::Pins) => 1,
            Some(Questions::Both) => 2,
        };
        self.statements.len() + self.own.len() + questions
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
    use super::{BackendState, Injection, Naming};
    use crate::prepared::StatementId;
    use crate::state::Questions;

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

    #[test]
    fn a_clients_own_names_go_with_it() {
        let mut backend = BackendState::default();
        backend.go_by_clients_names();
        backend.learn_own(b"a");
        backend.lend_name(b"b");
        assert!(backend.has_own(b"a") && !backend.has_own(b"b"));
        backend.own_was_closed(b"a");
        backend.own_was_closed(b"b");
        assert!(backend.has_own(b"a"), "it was prepared again since");
        backend.doubt_own();
        assert!(!backend.has_own(b"a"));
        assert_eq!(backend.take_own_names(), [Box::from(*b"a")]);
        assert_eq!(backend.naming(), Naming::Ours);
        assert_eq!(backend.prepared_count(), 0);
    }

    #[test]
    fn our_own_names_are_statements_and_questions() {
        let mut backend = BackendState::default();
        backend.use_statement(StatementId(7), 9);
        backend.learn_question(Questions::Pins);
        assert_eq!(backend.prepared_count(), 2);
        let names = backend.take_our_names();
        assert_eq!(names, [Box::from(*b"ringway_pins"), Box::from(*b"ringway_7")]);
        assert_eq!(backend.prepared_count(), 0);
    }
}
