//! What became of each test of a suite, and where two runs differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// The outcome of each test by its name.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Outcomes(BTreeMap<String, String>);

/// A test that ended otherwise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Difference {
    /// The test.
    pub(crate) test: String,
    /// Its outcome on PostgreSQL; `None` if it didn't come to run.
    pub(crate) direct: Option<String>,
    /// Its outcome through Ringway.
    pub(crate) through: Option<String>,
}

impl Outcomes {
    /// Reads lines `NAME: OUTCOME`; a name may hold colons, an outcome may not.
    ///
    /// # Errors
    /// No such file, a line of another form, or a name that is there twice.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        let mut all = BTreeMap::new();
        for line in text.lines() {
            let (name, outcome) = line
                .rsplit_once(": ")
                .with_context(|| format!("not `NAME: OUTCOME`: {line}"))?;
            if all.insert(name.to_owned(), outcome.to_owned()).is_some() {
                bail!("{name} is there twice");
            }
        }
        Ok(Self(all))
    }

    /// How many tests there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many tests there are of each outcome, for outcomes that several have.
    pub(crate) fn summary(&self) -> String {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for outcome in self.0.values() {
            // Where the outcome is a digest, each is different: only its first words count.
            let words = outcome.split(',').next().unwrap_or_default();
            *counts.entry(words).or_default() += 1;
        }
        let counts: Vec<String> = counts
            .iter()
            .map(|(word, count)| format!("{count} {word}"))
            .collect();
        counts.join(", ")
    }

    /// The tests that ended otherwise in `through`, or on one side only.
    pub(crate) fn differences(&self, through: &Self) -> Vec<Difference> {
        let names: BTreeSet<&String> = self.0.keys().chain(through.0.keys()).collect();
        let differ = |name: &&String| self.0.get(*name) != through.0.get(*name);
        names
            .into_iter()
            .filter(differ)
            .map(|name| Difference {
                test: name.clone(),
                direct: self.0.get(name).cloned(),
                through: through.0.get(name).cloned(),
            })
            .collect()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |outcome: &Option<String>| outcome.clone().unwrap_or_else(|| "not run".to_owned());
        let (direct, through) = (word(&self.direct), word(&self.through));
        write!(f, "{}: direct {direct}; through Ringway {through}", self.test)
    }
}

#[test]
fn differences_are_found_on_both_sides() -> Result<()> {
    let direct = Outcomes::parse("a: pass\nb: x: pass\nc: fail\n")?;
    let through = Outcomes::parse("a: pass\nb: x: fail\nd: skip\n")?;
    let found: Vec<String> = direct
        .differences(&through)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        found,
        [
            "b: x: direct pass; through Ringway fail",
            "c: direct fail; through Ringway not run",
            "d: direct not run; through Ringway skip",
        ]
    );
    assert!(direct.differences(&direct).is_empty());
    assert!(Outcomes::parse("a: pass\na: pass\n").is_err());
    assert!(Outcomes::parse("a pass\n").is_err());
    Ok(())
}
