//! The client's names of prepared statements and those on servers.

use crate::data::plans::Special;
use crate::data::thread::{Backend, PlanRef};
use bytes::BytesMut;
use session::{BackendState, ClientStatements, Outcome, Prepared, StatementId};
use std::collections::VecDeque;
use std::rc::Rc;
use wire::backend::ErrorFields;
use wire::frame;

/// The unnamed statement as the client has it.
#[derive(Debug, Default)]
pub(super) struct Unnamed {
    /// What follows the name in its Parse; empty where there is none. Kept for a connection that doesn't have it.
    parse: Vec<u8>,
    /// What was learned of it.
    plan: Option<PlanRef>,
    /// Whether the connection has what the client has.
    here: bool,
}

/// A change of the client's names that the server has not carried out yet.
#[derive(Debug)]
struct Change {
    name: Box<[u8]>,
    before: Option<Rc<Prepared<PlanRef>>>,
    batch: u64,
}

/// A statement that the server is taught, of which it isn't known whether it has learned it.
#[derive(Debug)]
struct Lesson {
    name: Box<[u8]>,
    id: StatementId,
    batch: u64,
}

/// The most lessons under way before they are waited for.
const MAX_LESSONS: usize = 64;

/// What is known of the client's names beyond its named statements.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) unnamed: Unnamed,
    changes: VecDeque<Change>,
    lessons: Vec<Lesson>,
    /// Counts the client's Syncs.
    batch: u64,
}

impl Unnamed {
    /// The client parses it anew. Gives what kind the one before was of.
    pub(super) fn set(&mut self, tail: &[u8], plan: PlanRef) -> Special {
        self.parse.clear();
        self.parse.extend_from_slice(tail);
        self.here = true;
        let before = self.plan.replace(plan);
        before.map_or(Special::No, |before| before.special)
    }

    /// The client parsed it by the routed way.
    pub(super) fn adopt(&mut self, statement: &Prepared<PlanRef>) {
        let mut message = BytesMut::new();
        crate::client::single::encode_parse(statement, b"", &mut message);
        let tail = message.get(frame::HEADER_LEN + 1..).unwrap_or_default();
        self.set(tail, Rc::clone(&statement.plan));
        self.here = false;
    }

    /// The client has none any more, and nor has the server.
    pub(super) fn clear(&mut self) {
        self.parse.clear();
        self.plan = None;
    }

    /// What follows the name in its Parse, if there is one.
    pub(super) fn parse(&self) -> Option<&[u8]> {
        self.plan.is_some().then_some(self.parse.as_slice())
    }

    /// What was learned of it.
    pub(super) fn plan(&self) -> Option<&PlanRef> {
        self.plan.as_ref()
    }

    /// Whether the connection has what the client has; from here on it does.
    pub(super) fn bring(&mut self) -> bool {
        std::mem::replace(&mut self.here, true)
    }

    /// Another connection, or none.
    pub(super) fn leave(&mut self) {
        self.here = false;
    }
}

impl Names {
    /// A Sync, or a message that counts as one.
    pub(super) fn next_batch(&mut self) {
        self.batch += 1;
    }

    /// A message that changes what `name` stands for was sent; `before` is what it stood for.
    pub(super) fn change(&mut self, name: &[u8], before: Option<Rc<Prepared<PlanRef>>>) {
        self.changes.push_back(Change {
            name: name.into(),
            before,
            batch: self.batch,
        });
    }

    /// The server is taught the statement with this name of the client's and this number of ours.
    pub(super) fn teach(&mut self, name: &[u8], id: StatementId) {
        self.lessons.push(Lesson {
            name: name.into(),
            id,
            batch: self.batch,
        });
    }

    /// Everything was answered.
    pub(super) fn all_answered(&mut self) {
        self.lessons.clear();
    }

    /// Whether the server has still to say what became of a change.
    pub(super) fn is_unsettled(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Whether it has still to say so of something that an earlier batch did with `name`, or taught it for the statement `id`
    /// that has this name: an error there doesn't end this batch.
    pub(super) fn is_unsettled_before(&self, name: &[u8], id: Option<StatementId>) -> bool {
        let changed = |change: &Change| change.batch < self.batch && *change.name == *name;
        let taught =
            |lesson: &Lesson| lesson.batch < self.batch && (*lesson.name == *name || Some(lesson.id) == id);
        self.changes.iter().any(changed)
            || self.lessons.iter().any(taught)
            || self.lessons.len() > MAX_LESSONS
    }

    /// The server has said what became of the oldest changes.
    pub(super) fn settle(
        &mut self,
        outcomes: &[Outcome],
        statements: &mut ClientStatements<PlanRef>,
        mut backend: Option<&mut BackendState>,
    ) {
        let mut undone = Vec::new();
        for outcome in outcomes {
            let change = self.changes.pop_front();
            if *outcome == Outcome::Undone {
                undone.extend(change);
                continue;
            }
            undo(&mut undone, statements, backend.as_deref_mut());
            if let (
                Some(Change {
                    name,
                    before: Some(_),
                    ..
                }),
                Some(backend),
            ) = (change, &mut backend)
            {
                backend.own_was_closed(&name);
            }
        }
        undo(&mut undone, statements, backend);
    }

    /// Every statement with a name is gone.
    pub(super) fn clear(&mut self) {
        self.changes.clear();
    }
}

/// Takes changes back that were skipped together, the last first.
fn undo(
    changes: &mut Vec<Change>,
    statements: &mut ClientStatements<PlanRef>,
    mut backend: Option<&mut BackendState>,
) {
    while let Some(Change { name, before, .. }) = changes.pop() {
        match before {
            Some(before) => {
                statements.insert(&name, before);
                if let Some(backend) = &mut backend {
                    // The Close was skipped: what it would have closed may be there.
                    backend.lend_name(&name);
                }
            }
            None => {
                statements.remove(&name);
                if let Some(backend) = &mut backend {
                    backend.drop_own(&name);
                }
            }
        }
    }
}

/// What became of statements on the connection, of which it was thought that it knows or forgot them.
pub(super) fn correct(backend: &mut Backend, failed: Vec<StatementId>, kept: Vec<StatementId>) {
    for id in failed {
        backend.state_mut().forget(id);
    }
    for id in kept {
        backend.state_mut().keep(id);
    }
}

/// An error with the client's own name of a statement where the server names it by ours; `None` where it names none.
pub(super) fn with_clients_name(error: &[u8], statements: &ClientStatements<PlanRef>) -> Option<Vec<u8>> {
    const OURS: &[u8] = b"\"ringway_";
    memchr::memmem::find(error, OURS)?;
    let fields = ErrorFields::decode(frame::body(error)).ok()?;
    let message = fields.message();
    let start = memchr::memmem::find(message, OURS)? + 1;
    let len = memchr::memchr(b'"', message.get(start..)?)?;
    let id = StatementId::from_name(message.get(start..start + len)?)?;
    let name = statements.name_of(id)?;
    let mut told = vec![b'E', 0, 0, 0, 0];
    for (code, text) in fields.iter() {
        told.push(code);
        if code == b'M' {
            told.extend_from_slice(message.get(..start)?);
            told.extend_from_slice(name);
            told.extend_from_slice(message.get(start + len..)?);
        } else {
            told.extend_from_slice(text);
        }
        told.push(0);
    }
    told.push(0);
    let len = u32::try_from(told.len() - 1).ok()?.to_be_bytes();
    told.get_mut(1..frame::HEADER_LEN)?.copy_from_slice(&len);
    Some(told)
}
