//! What changes when a configuration is read again while the proxy runs.

use crate::{Entry, Settings};
use std::collections::BTreeMap;
use std::fmt;
use topology::TableConfig;

/// One setting that differs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Section and name.
    pub key: String,
    /// The value that was in force; `None`: there was none. `***` for a secret.
    pub from: Option<String>,
    /// The value in the file; `None`: it is gone.
    pub to: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
        write!(f, "{}: {} -> {}", self.key, shown(&self.from), shown(&self.to))
    }
}

/// The outcome of a reload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reload {
    /// What to run by: the running settings with everything that could be changed.
    pub settings: Settings,
    /// What changed.
    pub applied: Vec<Change>,
    /// What stays as it was until a restart.
    pub needs_restart: Vec<Change>,
}

/// One line for each change, and which of them wait for a restart.
impl fmt::Display for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.applied.is_empty() && self.needs_restart.is_empty() {
            return f.write_str("nothing changed");
        }
        let applied = self.applied.iter().map(|change| format!("changed {change}"));
        let waiting = self
            .needs_restart
            .iter()
            .map(|change| format!("needs a restart, not changed: {change}"));
        f.write_str(&applied.chain(waiting).collect::<Vec<_>>().join("\n"))
    }
}

impl Settings {
    /// What a proxy that runs by `self` does about `new`: what can change changes, the rest is named.
    pub fn reload(&self, new: &Settings) -> Reload {
        let settings = self.merged(new);
        Reload {
            applied: changes(&self.entries(), &settings.entries()),
            needs_restart: changes(&settings.entries(), &new.entries()),
            settings,
        }
    }

    fn merged(&self, new: &Settings) -> Settings {
        let mut merged = self.clone();
        merged.pool = new.pool.clone();
        merged.limits = new.limits.clone();
        merged.auth.users.clone_from(&new.auth.users);
        merged.auth.admin_users.clone_from(&new.auth.admin_users);
        merged.auth.stats_users.clone_from(&new.auth.stats_users);
        merged.auth.rules.clone_from(&new.auth.rules);
        merged.auth.query.clone_from(&new.auth.query);
        for database in merged.databases.iter_mut().chain(&mut merged.wildcard) {
            let mut others = new.databases.iter().chain(&new.wildcard);
            if let Some(other) = others.find(|other| other.name == database.name) {
                database.pool = other.pool;
                database.max_db_connections = other.max_db_connections;
                database.max_db_client_connections = other.max_db_client_connections;
            }
        }
        merged.log.level = new.log.level;
        for table in &mut merged.tables {
            let same = |other: &&TableConfig| other.name == table.name && other.sharding == table.sharding;
            if let Some(other) = new.tables.iter().find(same) {
                table.cache.clone_from(&other.cache);
                table.replica_bound = other.replica_bound;
            }
        }
        merged
    }
}

/// Entries that differ, in the order of `old`, then those that only `new` has.
fn changes(old: &[Entry], new: &[Entry]) -> Vec<Change> {
    let before: BTreeMap<&str, &Entry> = old.iter().map(|entry| (entry.key.as_str(), entry)).collect();
    let after: BTreeMap<&str, &Entry> = new.iter().map(|entry| (entry.key.as_str(), entry)).collect();
    let added = new
        .iter()
        .filter(|entry| !before.contains_key(entry.key.as_str()));
    old.iter()
        .chain(added)
        .filter_map(|entry| {
            let (from, to) = (before.get(entry.key.as_str()), after.get(entry.key.as_str()));
            let value = |entry: &&Entry| entry.value().to_owned();
            (from != to).then(|| Change {
                key: entry.key.clone(),
                from: from.map(value),
                to: to.map(value),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
