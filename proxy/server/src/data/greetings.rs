//! What clients of each kind were told at their login, for a while: the next one needs no server to log in.

use crate::client::Greeting;
use crate::shared::DatabaseContext;
use session::Settings;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use topology::Mono;

/// Kinds of clients whose greeting is remembered.
const MAX_GREETINGS: usize = 64;
/// How long it is: defaults of the server or of a role may change.
const GREETING_LIFE: Duration = Duration::from_secs(10);

/// The greetings that a thread remembers.
#[derive(Default, Debug)]
pub(crate) struct Greetings(RefCell<Vec<KnownGreeting>>);

/// What clients of one kind are told at their login.
#[derive(Debug)]
struct KnownGreeting {
    database: usize,
    user: Rc<str>,
    startup: Settings,
    greeting: Greeting,
    made_at: Mono,
}

impl Greetings {
    /// What clients of this kind are told, if one of them has logged in lately.
    pub(crate) fn known(
        &self,
        database: &DatabaseContext,
        user: &str,
        startup: &Settings,
    ) -> Option<Greeting> {
        let now = health::boot_time();
        let mut known = self.0.borrow_mut();
        known.retain(|k| now.since(k.made_at) < GREETING_LIFE);
        let found = known
            .iter()
            .find(|k| k.database == database.index && *k.user == *user && k.startup == *startup)?;
        Some(Rc::clone(&found.greeting))
    }

    /// Forgets what clients of a database are told.
    pub(crate) fn forget(&self, database: usize) {
        self.0.borrow_mut().retain(|known| known.database != database);
    }

    /// Remembers what clients of this kind are told.
    pub(crate) fn remember(
        &self,
        database: &DatabaseContext,
        user: &Rc<str>,
        startup: &Settings,
        greeting: &Greeting,
    ) {
        let mut known = self.0.borrow_mut();
        if known.len() >= MAX_GREETINGS {
            known.clear();
        }
        known.push(KnownGreeting {
            database: database.index,
            user: Rc::clone(user),
            startup: startup.clone(),
            greeting: Rc::clone(greeting),
            made_at: health::boot_time(),
        });
    }
}
