//! How many clients there are, in all, of each user and of each database, over all data threads.

use settings::Settings;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wire::{ProxyError, sqlstate};

/// The clients that are logged in.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    users: HashMap<Box<str>, usize>,
    databases: HashMap<Box<str>, usize>,
}

/// A client's place. Dropping it makes room for another.
#[derive(Debug)]
pub(crate) struct Place {
    admission: Arc<Admission>,
    user: Rc<str>,
    database: Rc<str>,
}

/// The bounds for one client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bounds {
    all: usize,
    user: Option<usize>,
    database: Option<usize>,
}

impl Bounds {
    /// Those of the settings.
    pub(crate) fn of(settings: &Settings, user: &str, database: &str) -> Self {
        let limits = &settings.limits;
        let own = settings
            .auth
            .user(user)
            .and_then(|user| user.max_user_client_connections);
        let of_database = settings.database(database).or(settings.wildcard.as_ref());
        let of_database = of_database.and_then(|database| database.max_db_client_connections);
        Self {
            all: limits.max_client_conn,
            user: own.or(limits.max_user_client_connections),
            database: of_database.or(limits.max_db_client_connections),
        }
    }
}

impl Admission {
    /// Takes a place for a client.
    ///
    /// # Errors
    /// 53300, in PostgreSQL's words, where a bound is reached.
    pub(crate) fn admit(
        self: &Arc<Self>,
        bounds: Bounds,
        user: &Rc<str>,
        database: &Rc<str>,
    ) -> Result<Place, ProxyError> {
        let mut counts = self.counts();
        let count = |counts: &HashMap<Box<str>, usize>, name: &str| counts.get(name).copied().unwrap_or(0);
        let full = |most: Option<usize>, now: usize| most.is_some_and(|most| now >= most);
        if counts.all >= bounds.all {
            return Err(ProxyError::too_many_clients());
        }
        if full(bounds.user, count(&counts.users, user)) {
            return Err(too_many("role", user));
        }
        if full(bounds.database, count(&counts.databases, database)) {
            return Err(too_many("database", database));
        }
        counts.all += 1;
        *counts.users.entry(Box::from(&**user)).or_default() += 1;
        *counts.databases.entry(Box::from(&**database)).or_default() += 1;
        Ok(Place {
            admission: Arc::clone(self),
            user: Rc::clone(user),
            database: Rc::clone(database),
        })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.admission.counts();
        counts.all = counts.all.saturating_sub(1);
        leave(&mut counts.users, &self.user);
        leave(&mut counts.databases, &self.database);
    }
}

/// Counts one less; who has none left is forgotten.
fn leave(counts: &mut HashMap<Box<str>, usize>, name: &str) {
    if let Some(count) = counts.get_mut(name) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(name);
        }
    }
}

fn too_many(what: &str, name: &str) -> ProxyError {
    ProxyError::fatal(
        sqlstate::TOO_MANY_CONNECTIONS,
        format!("too many connections for {what} \"{name}\""),
    )
}

#[cfg(test)]
mod tests {
    use super::{Admission, Bounds};
    use std::sync::Arc;

    const BOUNDS: Bounds = Bounds {
        all: 3,
        user: Some(2),
        database: Some(2),
    };

    #[test]
    fn each_bound_holds_by_itself_and_a_place_comes_free_again() {
        let admission = Arc::new(Admission::default());
        let admit = |user: &str, database: &str| {
            admission
                .admit(BOUNDS, &user.into(), &database.into())
                .map_err(|e| e.to_string())
        };
        let first = admit("a", "x").unwrap();
        let _second = admit("a", "y").unwrap();
        assert_eq!(
            admit("a", "z").unwrap_err(),
            "FATAL: 53300: too many connections for role \"a\""
        );
        let third = admit("b", "x").unwrap();
        assert_eq!(
            admit("c", "z").unwrap_err(),
            "FATAL: 53300: sorry, too many clients already"
        );
        drop(first);
        let fourth = admit("b", "x").unwrap();
        drop((third, fourth));
        assert!(admit("a", "z").is_ok());
        let counts = admission.counts();
        assert_eq!(
            (counts.all, counts.users.len(), counts.databases.len()),
            (1, 1, 1)
        );
    }

    #[test]
    fn a_full_database_is_named() {
        let admission = Arc::new(Admission::default());
        let bounds = Bounds { all: 9, ..BOUNDS };
        let _places: Vec<_> = ["a", "b"]
            .map(|user| admission.admit(bounds, &user.into(), &"x".into()).unwrap())
            .into();
        assert_eq!(
            admission
                .admit(bounds, &"c".into(), &"x".into())
                .unwrap_err()
                .to_string(),
            "FATAL: 53300: too many connections for database \"x\""
        );
    }
}
