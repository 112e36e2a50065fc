//! One setting changed while the proxy runs: SET in the admin database.

use crate::Settings;
use crate::context::Context;
use crate::decode::sections;
use crate::document::Section;
use crate::error::nearest;
use std::collections::{BTreeMap, BTreeSet};
use toml::de::DeTable;

/// Why a setting can't be changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChangeError {
    /// There is none of this name; the nearest one, if one is near.
    #[error("unrecognized configuration parameter \"{name}\"")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What may have been meant.
        help: Option<String>,
    },
    /// It can't change while the proxy runs, or not by itself.
    #[error("parameter \"{0}\" cannot be changed now")]
    Fixed(String),
    /// The value is none for it.
    #[error("invalid value for parameter \"{name}\": \"{value}\"")]
    Invalid {
        /// The setting.
        name: String,
        /// The value.
        value: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Settings {
    /// The same settings with `key` (`pool.default_pool_size`) set to `value`, written as in the configuration.
    ///
    /// # Errors
    /// See [`ChangeError`]. A secret is never in it.
    pub fn with(&self, key: &str, value: &str) -> Result<Settings, ChangeError> {
        let entries = self.entries();
        let Some(entry) = entries.iter().find(|entry| entry.key == key) else {
            return Err(ChangeError::Unknown {
                name: key.to_owned(),
                help: nearest(key, entries.iter().map(|entry| entry.key.as_str())),
            });
        };
        let fixed = || ChangeError::Fixed(key.to_owned());
        let (section, name) = key.split_once('.').ok_or_else(fixed)?;
        if !entry.changeable {
            return Err(fixed());
        }
        let mut changed = self.clone();
        match (section, name) {
            ("auth", "admin_users") => changed.auth.admin_users = names(value),
            ("auth", "stats_users") => changed.auth.stats_users = names(value),
            ("pool" | "limits" | "log", _) => {
                let invalid = |why| ChangeError::Invalid {
                    name: key.to_owned(),
                    value: value.to_owned(),
                    why,
                };
                // Every key of the section as it is, but this one: so they are judged together, as in a file.
                let variable =
                    |key: &str| format!("RINGWAY__{}", key.to_ascii_uppercase().replace('.', "__"));
                let prefix = format!("{section}.");
                let mut environment: BTreeMap<String, String> = entries
                    .iter()
                    .filter(|entry| entry.key.starts_with(&prefix))
                    .map(|entry| (variable(&entry.key), entry.value().to_owned()))
                    .collect();
                environment.insert(variable(key), value.to_owned());
                changed.read_section(section, environment).map_err(invalid)?;
            }
            _ => return Err(fixed()),
        }
        Ok(changed)
    }

    fn read_section(&mut self, name: &str, environment: BTreeMap<String, String>) -> Result<(), String> {
        let context = Context::new(environment);
        let document = DeTable::new();
        let root = Section::root(&context, &document);
        let read = match name {
            "pool" => sections::pool(&root.section("pool")).map(|pool| self.pool = pool),
            "limits" => sections::limits(&root.section("limits")).map(|limits| self.limits = limits),
            _ => sections::log(&root.section("log")).map(|log| self.log = log),
        };
        let (problems, _) = context.finish();
        match (read, problems.first()) {
            (Ok(()), None) => Ok(()),
            (_, Some(problem)) => Err(problem.beside_its_place()),
            (Err(_), None) => Err("not a value of this setting".to_owned()),
        }
    }
}

fn names(list: &str) -> BTreeSet<String> {
    let names = list.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::ChangeError;
    use crate::decode::tests::{SAMPLE, parse};

    #[test]
    fn one_setting_changes_and_nothing_else() {
        let settings = parse(SAMPLE, &[]).expect("the sample");
        for (key, value) in [
            ("pool.default_pool_size", "7"),
            ("pool.server_lifetime", "off"),
            ("limits.query_timeout", "5s"),
            ("limits.max_packet_size", "1MiB"),
            ("log.level", "debug"),
            ("auth.stats_users", "shop"),
        ] {
            let changed = settings.with(key, value).expect(key);
            let reload = settings.reload(&changed);
            let applied: Vec<_> = reload.applied.iter().map(|change| change.key.as_str()).collect();
            assert_eq!(applied, [key]);
            assert_eq!(reload.applied[0].to.as_deref(), Some(value));
            assert_eq!(reload.needs_restart, []);
        }
    }

    #[test]
    fn every_changeable_setting_of_a_section_takes_the_value_that_it_shows() {
        let settings = parse(SAMPLE, &[]).expect("the sample");
        for entry in settings.entries().iter().filter(|entry| entry.changeable) {
            if entry.key.starts_with("pool.") || entry.key.starts_with("limits.") {
                assert_eq!(
                    settings.with(&entry.key, entry.value()),
                    Ok(settings.clone()),
                    "{}",
                    entry.key
                );
            }
        }
    }

    #[test]
    fn what_cannot_be_changed_is_refused() {
        let settings = parse(SAMPLE, &[]).expect("the sample");
        let unknown = settings.with("pool.default_pool_sise", "7");
        assert!(
            matches!(unknown, Err(ChangeError::Unknown { help: Some(_), .. })),
            "{unknown:?}"
        );
        for key in ["listen.port", "user.shop.password"] {
            assert_eq!(settings.with(key, "7"), Err(ChangeError::Fixed(key.to_owned())));
        }
        for (key, value) in [
            ("pool.default_pool_size", "many"),
            ("pool.default_pool_size", "0"),
            ("pool.min_pool_size", "1000"),
            ("limits.query_timeout", "soon"),
            ("log.level", "loud"),
        ] {
            let refused = settings.with(key, value);
            let Err(ChangeError::Invalid { why, .. }) = refused else {
                panic!("{key} = {value}: {refused:?}");
            };
            assert!(!why.contains("RINGWAY__") && !why.is_empty(), "{why}");
        }
    }
}
