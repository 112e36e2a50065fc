//! `known_failures.txt`: cases that differ, each with the reason.
//!
//! An entry is a line `FILE: STATEMENT` (the case's first statement on one line) and, indented below it, the reason.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::case::{Case, squeezed};

pub(crate) struct KnownFailures {
    entries: Vec<Entry>,
}

struct Entry {
    file: String,
    title: String,
    failed: bool,
}

impl KnownFailures {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let mut entries = Vec::new();
        let mut lines = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
            .peekable();
        while let Some(line) = lines.next() {
            let (file, title) = line
                .split_once(": ")
                .with_context(|| format!("not an entry: {line}"))?;
            ensure!(!line.starts_with(' '), "a reason without an entry: {line}");
            ensure!(
                lines.peek().is_some_and(|next| next.starts_with(' ')),
                "no reason is given for {line}"
            );
            while lines.next_if(|next| next.starts_with(' ')).is_some() {}
            entries.push(Entry {
                file: file.to_owned(),
                title: squeezed(title),
                failed: false,
            });
        }
        Ok(Self { entries })
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether this case, which failed, is listed.
    pub(crate) fn expects(&mut self, file: &str, case: &Case) -> bool {
        let title = case.title();
        let entry = self
            .entries
            .iter_mut()
            .find(|entry| entry.file == file && entry.title == title);
        entry.is_some_and(|entry| {
            entry.failed = true;
            true
        })
    }

    /// Entries of which no case failed.
    pub(crate) fn that_passed(&self) -> impl Iterator<Item = String> {
        let passed = self.entries.iter().filter(|entry| !entry.failed);
        passed.map(|entry| format!("{}: {}", entry.file, entry.title))
    }
}
