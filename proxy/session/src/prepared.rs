//! Prepared statements that survive transaction pooling.
//!
//! A client names its statements as it likes; on every backend a distinct text has one name of ours, so two clients
//! that prepare the same text share it, and a backend that doesn't know it yet is taught on demand.

use bytes::Bytes;
use foldhash::fast::RandomState;
use smallvec::SmallVec;
use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

/// Our number for a distinct (text, parameter types); its name on backends is derived from it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StatementId(pub u64);

impl StatementId {
    /// The name on backends.
    pub fn name(self) -> String {
        format!("{NAME_PREFIX}{}", self.0)
    }

    /// The name on backends, where it is needed for each execution.
    pub fn server_name(self) -> ServerName {
        let mut digits = [0; MAX_DIGITS];
        let (mut left, mut at) = (self.0, MAX_DIGITS);
        loop {
            at -= 1;
            if let Some(digit) = digits.get_mut(at) {
                *digit = b'0' + u8::try_from(left % 10).unwrap_or_default();
            }
            left /= 10;
            if left == 0 || at == 0 {
                break;
            }
        }
        let mut name = ServerName::default();
        for byte in NAME_PREFIX.bytes().chain(digits.iter().skip(at).copied()) {
            name.0.push(byte);
        }
        name
    }

    /// The number in a name on backends.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        let digits = name.strip_prefix(NAME_PREFIX.as_bytes())?;
        std::str::from_utf8(digits).ok()?.parse().ok().map(Self)
    }
}

/// What the names of statements on backends begin with.
const NAME_PREFIX: &str = "ringway_";
/// Digits of the largest number.
const MAX_DIGITS: usize = 20;

/// A statement's name on backends, held without an allocation.
#[derive(Clone, Default, Debug)]
pub struct ServerName(SmallVec<[u8; 32]>);

impl ServerName {
    /// The name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A statement that a client prepared. `T` is what the server attaches: its plan template.
#[derive(Debug)]
pub struct Prepared<T> {
    /// Our number for it.
    pub id: StatementId,
    /// Its name on backends.
    pub server_name: Box<str>,
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

/// Under what circumstances equal texts mean the same: those that were prepared under others are other statements, since
/// servers keep what a text meant when it was prepared.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Meaning {
    /// For whom names mean the same.
    pub context: u64,
    /// Since when they do.
    pub version: u64,
}

/// What makes a statement distinct.
type Distinct = (Meaning, Bytes, Box<[u32]>);

/// The distinct statements of all clients of one data thread.
#[derive(Debug)]
pub struct GlobalStatements<T> {
    next: u64,
    by_text: HashMap<Distinct, Rc<Prepared<T>>, RandomState>,
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
        meaning: Meaning,
        sql: &[u8],
        parameter_types: &[u32],
        is_current: impl Fn(&T) -> bool,
        plan: impl FnOnce() -> Result<T, E>,
    ) -> Result<Rc<Prepared<T>>, E> {
        let key = (meaning, Bytes::copy_from_slice(sql), parameter_types.into());
        if let Some(known) = self.by_text.get(&key) {
            if is_current(&known.plan) {
                return Ok(Rc::clone(known));
            }
            // The same text keeps its name on backends; only the plan is made anew.
            let id = known.id;
            let renewed = Rc::new(Prepared {
                id,
                server_name: id.name().into(),
                sql: key.1.clone(),
                parameter_types: key.2.clone(),
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
            server_name: id.name().into(),
            sql: key.1.clone(),
            parameter_types: key.2.clone(),
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

    /// The name that the client gave to a statement; the unnamed one has none.
    pub fn name_of(&self, id: StatementId) -> Option<&[u8]> {
        let mut all = self.by_name.iter();
        let (name, _) = all.find(|(name, statement)| !name.is_empty() && statement.id == id)?;
        Some(name)
    }

    /// Those that have a name.
    pub fn named(&self) -> impl Iterator<Item = (&[u8], &Rc<Prepared<T>>)> {
        let all = self
            .by_name
            .iter()
            .map(|(name, statement)| (name.as_ref(), statement));
        all.filter(|(name, _)| !name.is_empty())
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
        let result: Result<_, ()> = g.intern(
            super::Meaning::default(),
            sql.as_bytes(),
            types,
            |_| true,
            || Ok(7),
        );
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
    fn names_on_backends_are_read_back() {
        for n in [0, 7, 10, 1_234_567, u64::MAX] {
            let id = super::StatementId(n);
            assert_eq!(id.server_name().as_bytes(), id.name().as_bytes());
            assert_eq!(super::StatementId::from_name(id.name().as_bytes()), Some(id));
        }
        assert_eq!(super::StatementId::from_name(b"other_1"), None);
    }

    #[test]
    fn equal_texts_that_mean_something_else_are_other_statements() {
        let mut g = GlobalStatements::new(10);
        let a = intern(&mut g, "SELECT * FROM t", &[]);
        let meaning = super::Meaning {
            context: 0,
            version: 1,
        };
        let b: Result<_, ()> = g.intern(meaning, b"SELECT * FROM t", &[], |_| true, || Ok(7));
        assert_ne!(a.id, b.unwrap().id);
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
        let renewed: Result<_, ()> =
            g.intern(super::Meaning::default(), b"SELECT 1", &[], |_| false, || Ok(8));
        let renewed = renewed.unwrap();
        assert_eq!((renewed.id, renewed.plan), (first.id, 8));
        let failed = g.intern(
            super::Meaning::default(),
            b"SELECT 4",
            &[],
            |_| true,
            || Err("no"),
        );
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
