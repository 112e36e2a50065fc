//! Prepared statements that survive transaction pooling.
//!
//! A client names its statements as it likes; on every backend a distinct text has one name of ours, so two clients
//! that prepare the same text share it, and a backend that doesn't know it yet is taught on demand.

use bytes::Bytes;
use foldhash::fast::RandomState;
use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

/// Our number for a distinct (text, parameter types); its name on backends is derived from it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StatementId(pub u64);

impl StatementId {
    /// The name on backends.
    pub fn name(self) -> String {
        format!("ringway_{}", self.0)
    }
}

/// A statement that a client prepared. `T` is what the server attaches: its plan template.
#[derive(Debug)]
pub struct Prepared<T> {
    /// Our number for it.
    pub id: StatementId,
    /// The text as the client sent it.
    pub sql: Bytes,
    /// The parameter types that the client declared; 0 where it left one open.
    pub parameter_types: Box<[u32]>,
    /// What the server attaches.
    pub plan: T,
    proved: Cell<bool>,
}

impl<T> Prepared<T> {
    /// Whether a server has accepted this text under this plan: then another Parse of it needs no server.
    ///
    /// Not only a matter of speed: a client that prepares inside a transaction would wait for a server connection that is
    /// held by others who wait for this client's program.
    pub fn is_proved(&self) -> bool {
        self.proved.get()
    }

    /// A server has accepted it.
    pub fn prove(&self) {
        self.proved.set(true);
    }
}

/// What makes a statement distinct.
type TextAndTypes = (Bytes, Box<[u32]>);

/// The distinct statements of all clients of one data thread.
#[derive(Debug)]
pub struct GlobalStatements<T> {
    next: u64,
    by_text: HashMap<TextAndTypes, Rc<Prepared<T>>, RandomState>,
    capacity: usize,
}

impl<T> GlobalStatements<T> {
    /// A registry that forgets statements which no client holds once it knows more than `capacity`.
    pub fn new(capacity: usize) -> Self {
        Self {
            next: 1,
            by_text: HashMap::default(),
            capacity,
        }
    }

    /// The shared statement for this text, made with `plan` where it is unknown or `is_current` says that the plan it
    /// carries is no longer good.
    ///
    /// # Errors
    /// What `plan` fails with; nothing is kept then.
    pub fn intern<E>(
        &mut self,
        sql: &[u8],
        parameter_types: &[u32],
        is_current: impl Fn(&T) -> bool,
        plan: impl FnOnce() -> Result<T, E>,
    ) -> Result<Rc<Prepared<T>>, E> {
        let key = (Bytes::copy_from_slice(sql), parameter_types.into());
        if let Some(known) = self.by_text.get(&key) {
            if is_current(&known.plan) {
                return Ok(Rc::clone(known));
            }
            // The same text keeps its name on backends; only the plan is made anew.
            let id = known.id;
            let renewed = Rc::new(Prepared {
                id,
                sql: key.0.clone(),
                parameter_types: key.1.clone(),
                plan: plan()?,
                proved: Cell::new(false),
            });
            self.by_text.insert(key, Rc::clone(&renewed));
            return Ok(renewed);
        }
        let plan = plan()?;
        if self.by_text.len() >= self.capacity {
            self.by_text
                .retain(|_, statement| Rc::strong_count(statement) > 1);
        }
        let id = StatementId(self.next);
        self.next += 1;
        let made = Rc::new(Prepared {
            id,
            sql: key.0.clone(),
            parameter_types: key.1.clone(),
            plan,
            proved: Cell::new(false),
        });
        self.by_text.insert(key, Rc::clone(&made));
        Ok(made)
    }

    /// How many distinct statements are known.
    pub fn len(&self) -> usize {
        self.by_text.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.by_text.is_empty()
    }
}

/// The statements of one client by the names it gave them. The unnamed one is under the empty name.
#[derive(Debug)]
pub struct ClientStatements<T> {
    by_name: HashMap<Box<[u8]>, Rc<Prepared<T>>, RandomState>,
}

impl<T> Default for ClientStatements<T> {
    fn default() -> Self {
        Self {
            by_name: HashMap::default(),
        }
    }
}

impl<T> ClientStatements<T> {
    /// The statement of this name.
    pub fn get(&self, name: &[u8]) -> Option<&Rc<Prepared<T>>> {
        self.by_name.get(name)
    }

    /// Whether a named statement of this name stands in the way of another Parse.
    pub fn is_taken(&self, name: &[u8]) -> bool {
        !name.is_empty() && self.by_name.contains_key(name)
    }

    /// The client prepared `statement` as `name`.
    pub fn insert(&mut self, name: &[u8], statement: Rc<Prepared<T>>) {
        self.by_name.insert(name.into(), statement);
    }

    /// The client closed `name`; closing what isn't there is not an error.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        self.by_name.remove(name).is_some()
    }

    /// DEALLOCATE ALL, DISCARD ALL: all are gone.
    pub fn clear(&mut self) {
        self.by_name = HashMap::default();
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::{ClientStatements, GlobalStatements};
    use std::rc::Rc;

    fn intern(g: &mut GlobalStatements<u32>, sql: &str, types: &[u32]) -> Rc<super::Prepared<u32>> {
        let result: Result<_, ()> = g.intern(sql.as_bytes(), types, |_| true, || Ok(7));
        result.unwrap()
    }

    #[test]
    fn equal_texts_share_a_name_and_other_types_do_not() {
        let mut g = GlobalStatements::new(10);
        let a = intern(&mut g, "SELECT $1", &[23]);
        let b = intern(&mut g, "SELECT $1", &[23]);
        let c = intern(&mut g, "SELECT $1", &[20]);
        assert_eq!(a.id, b.id);
        assert_ne!(a.id, c.id);
        assert_eq!(a.id.name(), "ringway_1");
    }

    #[test]
    fn statements_that_nobody_holds_are_forgotten_at_the_bound() {
        let mut g = GlobalStatements::new(2);
        let held = intern(&mut g, "SELECT 1", &[]);
        drop(intern(&mut g, "SELECT 2", &[]));
        drop(intern(&mut g, "SELECT 3", &[]));
        assert_eq!(g.len(), 2);
        assert_eq!(intern(&mut g, "SELECT 1", &[]).id, held.id);
    }

    #[test]
    fn a_stale_plan_is_renewed_under_the_same_name() {
        let mut g = GlobalStatements::new(2);
        let first = intern(&mut g, "SELECT 1", &[]);
        let renewed: Result<_, ()> = g.intern(b"SELECT 1", &[], |_| false, || Ok(8));
        let renewed = renewed.unwrap();
        assert_eq!((renewed.id, renewed.plan), (first.id, 8));
        let failed = g.intern(b"SELECT 4", &[], |_| true, || Err("no"));
        assert_eq!(failed.unwrap_err(), "no");
        assert_eq!(g.len(), 1);
    }

    #[test]
    fn only_named_statements_stand_in_the_way() {
        let mut g = GlobalStatements::new(2);
        let mut c = ClientStatements::default();
        let s = intern(&mut g, "SELECT 1", &[]);
        c.insert(b"", Rc::clone(&s));
        c.insert(b"a", s);
        assert!(!c.is_taken(b""));
        assert!(c.is_taken(b"a"));
        assert!(c.remove(b"a"));
        assert!(!c.remove(b"a"));
        c.clear();
        assert!(c.is_empty());
    }
}
