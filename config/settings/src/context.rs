//! What is collected while one configuration is read: mistakes, keys asked for, overrides used, places of secrets.

use crate::error::{Place, Problem, nearest};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Environment variables that override a key start with this.
const OVERRIDE_PREFIX: &str = "RINGWAY__";

/// Proof that a mistake was noted: can only be had by noting one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reported(());

/// What is known while one configuration is read: the environment, and the mistakes so far.
pub(crate) struct Context {
    environment: BTreeMap<String, String>,
    problems: RefCell<Vec<Problem>>,
    unknown: RefCell<Vec<Unknown>>,
    asked: RefCell<BTreeMap<String, BTreeSet<&'static str>>>,
    overrides: RefCell<BTreeSet<String>>,
    secrets: RefCell<Vec<Range<usize>>>,
}

/// A key that nobody asked for.
struct Unknown {
    section: String,
    key: String,
    span: Range<usize>,
}

impl Context {
    pub(crate) fn new(environment: BTreeMap<String, String>) -> Self {
        Self {
            environment,
            problems: RefCell::default(),
            unknown: RefCell::default(),
            asked: RefCell::default(),
            overrides: RefCell::default(),
            secrets: RefCell::default(),
        }
    }

    /// The value of an environment variable.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str)
    }

    /// Notes a mistake.
    pub(crate) fn report(&self, problem: Problem) -> Reported {
        self.problems.borrow_mut().push(problem);
        Reported(())
    }

    /// Notes that `section` has the key `key`, given or not.
    pub(crate) fn note_key(&self, section: &str, key: &'static str) {
        self.asked
            .borrow_mut()
            .entry(section.to_owned())
            .or_default()
            .insert(key);
    }

    /// Whether somebody asked for `key` in `section`.
    pub(crate) fn is_known(&self, section: &str, key: &str) -> bool {
        self.asked
            .borrow()
            .get(section)
            .is_some_and(|keys| keys.contains(key))
    }

    /// Notes a key that nobody asked for, at `span`.
    pub(crate) fn note_unknown(&self, section: &str, key: &str, span: Range<usize>) {
        let unknown = Unknown {
            section: section.to_owned(),
            key: key.to_owned(),
            span,
        };
        self.unknown.borrow_mut().push(unknown);
    }

    /// Notes that a secret stands at `span`.
    pub(crate) fn note_secret(&self, span: Range<usize>) {
        self.secrets.borrow_mut().push(span);
    }

    /// The variable that overrides `key` of `section`, with its value, if it is set.
    pub(crate) fn override_of(&self, section: &str, key: &str) -> Option<(String, &str)> {
        if !overridable(section) {
            return None;
        }
        let name = override_name(section, key);
        self.overrides.borrow_mut().insert(name.clone());
        self.variable(&name).map(|text| (name, text))
    }

    /// The mistakes found, and where secrets stand in the text.
    pub(crate) fn finish(self) -> (Vec<Problem>, Vec<Range<usize>>) {
        self.report_unknown_keys();
        self.report_unknown_overrides();
        (self.problems.into_inner(), self.secrets.into_inner())
    }

    fn report_unknown_keys(&self) {
        let asked = self.asked.borrow();
        let none = BTreeSet::new();
        for Unknown { section, key, span } in self.unknown.take() {
            let siblings = asked.get(&section).unwrap_or(&none);
            let elsewhere = || {
                let homes = asked.iter().filter(|(_, keys)| keys.contains(key.as_str()));
                let home = homes
                    .map(|(section, _)| section)
                    .min_by_key(|section| !overridable(section))?;
                Some(format!("it belongs {}", placed(home)))
            };
            let known = || {
                format!(
                    "known here: {}",
                    siblings.iter().copied().collect::<Vec<_>>().join(", ")
                )
            };
            let help = elsewhere()
                .or_else(|| nearest(&key, siblings.iter().copied()))
                .unwrap_or_else(known);
            let message = format!("unknown key `{key}` {}", placed(&section));
            self.report(Problem::new(&Place::Text(span), message).help(help));
        }
    }

    fn report_unknown_overrides(&self) {
        let known = self.overrides.borrow();
        let known_names = || known.iter().filter_map(|name| name.strip_prefix(OVERRIDE_PREFIX));
        for name in self.environment.keys().filter(|name| !known.contains(*name)) {
            let Some(key) = name.strip_prefix(OVERRIDE_PREFIX) else {
                continue;
            };
            let help = nearest(key, known_names()).unwrap_or_else(|| {
                "the form is RINGWAY__SECTION__KEY; entries of lists can't be overridden".to_owned()
            });
            let place = Place::Environment(name.clone());
            self.report(Problem::new(&place, "overrides no setting").help(help));
        }
    }
}

/// "at the top" or "in `[listen]`".
fn placed(section: &str) -> String {
    if section.is_empty() {
        "at the top, above the sections".to_owned()
    } else {
        format!("in {section}")
    }
}

/// Whether keys of the section can be overridden: those of lists can't, their entries have no lasting name.
fn overridable(section: &str) -> bool {
    !section.contains("[[")
}

/// `[listen]`, `port` -> `RINGWAY__LISTEN__PORT`.
fn override_name(section: &str, key: &str) -> String {
    let section = section.trim_matches(['[', ']']).to_ascii_uppercase();
    let key = key.to_ascii_uppercase();
    if section.is_empty() {
        format!("{OVERRIDE_PREFIX}{key}")
    } else {
        format!("{OVERRIDE_PREFIX}{section}__{key}")
    }
}
