//! Databases that aren't listed: their contexts are made when a client names them, and dropped when nobody has used them for a while.

use crate::control::plane;
use crate::shared::DatabaseContext;
use settings::{Database, Settings};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use topology::{Mono, SlotMap};
use wire::{ProxyError, sqlstate};

/// Databases that are open at a time at most.
const MAX_DATABASES: usize = 1_000;
/// PostgreSQL's bound of a name, without its zero byte.
const MAX_NAME_BYTES: usize = 63;

/// The databases that are open.
#[derive(Debug, Default)]
pub(crate) struct Wildcards {
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    contexts: HashMap<Box<str>, Used>,
    /// How many were ever made: each gets a number that no other had.
    made: usize,
}

#[derive(Debug)]
struct Used {
    context: Arc<DatabaseContext>,
    at: Mono,
}

impl Used {
    /// Whether a client has it, or an administrator has said something of it that must not be forgotten.
    fn in_use(&self) -> bool {
        Arc::strong_count(&self.context) > 1 || self.context.gate.is_closed()
    }
}

impl Wildcards {
    /// The database called `name`; `None` where the settings don't have databases under every name.
    ///
    /// # Errors
    /// 53300 when as many are open as may be, and all of them are in use.
    pub(crate) fn open(
        &self,
        settings: &Settings,
        map: &Arc<SlotMap>,
        name: &str,
        now: Mono,
    ) -> Result<Option<Arc<DatabaseContext>>, ProxyError> {
        let Some(wildcard) = &settings.wildcard else {
            return Ok(None);
        };
        // Servers cut longer names, so two names would be one database.
        if name.len() > MAX_NAME_BYTES {
            return Ok(None);
        }
        let mut open = self.locked();
        if let Some(used) = open.contexts.get_mut(name) {
            used.at = now;
            return Ok(Some(Arc::clone(&used.context)));
        }
        if open.contexts.len() >= MAX_DATABASES {
            open.contexts.retain(|_, used| used.in_use());
        }
        if open.contexts.len() >= MAX_DATABASES {
            return Err(
                ProxyError::fatal(sqlstate::TOO_MANY_CONNECTIONS, "too many databases are in use")
                    .with_detail(format!("{MAX_DATABASES} databases that are not listed are open.")),
            );
        }
        let database = Database {
            name: name.to_owned(),
            dbname: name.to_owned(),
            ..wildcard.clone()
        };
        let index = settings.databases.len() + open.made;
        open.made += 1;
        let context = plane::plain(settings, map, index, &database);
        open.contexts.insert(
            name.into(),
            Used {
                context: Arc::clone(&context),
                at: now,
            },
        );
        Ok(Some(context))
    }

    /// The database called `name`, if it is open.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<DatabaseContext>> {
        let open = self.locked();
        open.contexts.get(name).map(|used| Arc::clone(&used.context))
    }

    /// All that are open.
    pub(crate) fn all(&self) -> Vec<Arc<DatabaseContext>> {
        let open = self.locked();
        open.contexts
            .values()
            .map(|used| Arc::clone(&used.context))
            .collect()
    }

    /// Drops those that nobody has used for `idle`. The data threads close their pools then.
    pub(crate) fn sweep(&self, idle: Duration, now: Mono) {
        self.locked().contexts.retain(|_, used| {
            if used.in_use() {
                used.at = now;
            }
            now.since(used.at) < idle
        });
    }

    /// A client was refused by the server: the database is dropped at once if nobody else has it.
    pub(crate) fn give_up(&self, context: Arc<DatabaseContext>) {
        let mut open = self.locked();
        let name = context.config.name.clone();
        let same = open
            .contexts
            .get(name.as_str())
            .is_some_and(|used| Arc::ptr_eq(&used.context, &context));
        drop(context);
        if same
            && open
                .contexts
                .get(name.as_str())
                .is_some_and(|used| !used.in_use())
        {
            open.contexts.remove(name.as_str());
        }
    }

    fn locked(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
