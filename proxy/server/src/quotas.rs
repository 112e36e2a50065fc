//! The bounds of server connections that pools share over all data threads: of a database, of a user.

use pool::Quota;
use settings::Settings;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The quotas in use, by the names of databases and users. Looked up when a pool is made, never by a statement.
#[derive(Debug, Default)]
pub(crate) struct Quotas {
    databases: Mutex<HashMap<String, Arc<Quota>>>,
    users: Mutex<HashMap<String, Arc<Quota>>>,
}

impl Quotas {
    /// Those of a pool.
    pub(crate) fn of(&self, settings: &Settings, database: &str, user: &str) -> Arc<[Arc<Quota>]> {
        let bounds = settings.pool_for(database, user);
        Arc::new([
            one(&self.databases, database, bounds.max_db_connections),
            one(&self.users, user, bounds.max_user_connections),
        ])
    }

    /// The settings changed.
    pub(crate) fn follow(&self, settings: &Settings) {
        for (database, quota) in &*lock(&self.databases) {
            quota.set(settings.pool_for(database, "").max_db_connections);
        }
        for (user, quota) in &*lock(&self.users) {
            quota.set(settings.pool_for("", user).max_user_connections);
        }
    }
}

fn one(quotas: &Mutex<HashMap<String, Arc<Quota>>>, name: &str, most: Option<usize>) -> Arc<Quota> {
    let mut quotas = lock(quotas);
    let quota = quotas.entry(name.to_owned()).or_insert_with(|| Quota::new(most));
    Arc::clone(quota)
}

fn lock(
    quotas: &Mutex<HashMap<String, Arc<Quota>>>,
) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Quota>>> {
    quotas.lock().unwrap_or_else(PoisonError::into_inner)
}
