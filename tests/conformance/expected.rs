//! The differences that docs/conformance.md explains: rows `| suite | test | how often | why |` of its tables.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::outcomes::Difference;

/// The page, as seen from the workspace.
const PAGE: &str = "docs/conformance.md";

/// How often a difference is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Often {
    Always,
    Sometimes,
}

/// One row of the page.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Row {
    suite: String,
    test: String,
    often: Often,
}

/// The differences of a suite that are explained.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Expected(Vec<Row>);

impl Expected {
    /// Reads the page.
    ///
    /// # Errors
    /// There is no page, or a row of it gives no reason.
    pub(crate) fn read(suite: &str) -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("no workspace")?;
        Self::parse(suite, &fs::read_to_string(root.join(PAGE)).context(PAGE)?)
    }

    fn parse(suite: &str, page: &str) -> Result<Self> {
        let mut rows = Vec::new();
        for line in page.lines() {
            let cells: Vec<&str> = line
                .split('|')
                .map(|cell| cell.trim().trim_matches('`'))
                .collect();
            let ["", of, test, often, why, ""] = cells.as_slice() else {
                continue;
            };
            let often = match *often {
                "always" => Often::Always,
                "sometimes" => Often::Sometimes,
                // The head of a table, or the line below it.
                _ => continue,
            };
            ensure!(why.len() > 20, "{PAGE} gives no reason for {test} of {of}");
            if *of == suite {
                rows.push(Row {
                    suite: (*of).to_owned(),
                    test: (*test).to_owned(),
                    often,
                });
            }
        }
        Ok(Self(rows))
    }

    /// What of `found` isn't explained, and what is explained but wasn't found.
    pub(crate) fn judge(&self, found: &[Difference]) -> Vec<String> {
        let unexplained = found
            .iter()
            .filter(|difference| !self.0.iter().any(|row| row.test == difference.test))
            .map(ToString::to_string);
        let absent = self
            .0
            .iter()
            .filter(|row| row.often == Often::Always && !found.iter().any(|found| found.test == row.test))
            .map(|row| format!("{}: {PAGE} explains a difference that isn't there", row.test));
        unexplained.chain(absent).collect()
    }
}

#[test]
fn a_row_explains_its_test_and_must_be_true() -> Result<()> {
    let page = "\
| suite | test | how often | why |
|---|---|---|---|
| `pq` | `TestA` | always | because of something that is explained |
| `pq` | `TestB` | sometimes | because of something that is explained |
| `pgx` | `TestC` | always | because of something that is explained |
";
    let difference = |test: &str| Difference {
        test: test.to_owned(),
        direct: Some("pass".to_owned()),
        through: Some("fail".to_owned()),
    };
    let expected = Expected::parse("pq", page)?;
    assert!(expected.judge(&[difference("TestA")]).is_empty());
    assert!(
        expected
            .judge(&[difference("TestA"), difference("TestB")])
            .is_empty()
    );
    assert_eq!(
        expected.judge(&[difference("TestC")]),
        [
            "TestC: direct pass; through Ringway fail",
            "TestA: docs/conformance.md explains a difference that isn't there",
        ]
    );
    assert!(Expected::parse("pq", "| pq | TestA | always | no |").is_err());
    Ok(())
}
