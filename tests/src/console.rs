//! The admin database of a pooler, asked by commands.

use anyhow::{Context, Result, bail, ensure};

use crate::{Reply, Session, Target};

/// A row as text, by the names of its columns.
pub type Row = Vec<(String, Option<String>)>;

/// Where the admin database is, and who asks. Each command has a connection of its own.
#[derive(Clone, Debug)]
pub struct Console(Target);

impl Console {
    /// The admin database of `target`'s pooler, whatever database it names.
    pub fn new(target: Target) -> Self {
        Self(Target {
            // Both poolers know it by this name.
            database: "pgbouncer".to_owned(),
            ..target
        })
    }

    /// A connection to it.
    ///
    /// # Errors
    /// The login failed.
    pub fn connect(&self) -> Result<Session> {
        Session::connect(&self.0)
    }

    /// Carries out one command; gives its tag.
    ///
    /// # Errors
    /// It is refused.
    pub fn command(&self, sql: &str) -> Result<String> {
        let replies = self.connect()?.simple(sql, None)?;
        for reply in &replies {
            match reply {
                Reply::Complete(tag) => return Ok(tag.clone()),
                Reply::Error(fault) => bail!("{sql}: {fault}"),
                _ => {}
            }
        }
        bail!("{sql}: {replies:?}")
    }

    /// The SQLSTATE that a command is refused with.
    ///
    /// # Errors
    /// It isn't.
    pub fn refusal(&self, sql: &str) -> Result<String> {
        let replies = self.connect()?.simple(sql, None)?;
        let fault = Reply::fault(&replies);
        Ok(fault.with_context(|| format!("{sql}: {replies:?}"))?.code.clone())
    }

    /// The rows of a SHOW.
    ///
    /// # Errors
    /// It is refused.
    pub fn show(&self, what: &str) -> Result<Vec<Row>> {
        rows(&self.connect()?.simple(&format!("SHOW {what}"), None)?)
    }

    /// A value of the first row in which these columns have these values; `None`: there is no such row.
    ///
    /// # Errors
    /// SHOW is refused.
    pub fn value(&self, what: &str, of: &[(&str, &str)], column: &str) -> Result<Option<String>> {
        let is = |row: &Row| of.iter().all(|(name, text)| get(row, name) == Some(text));
        let rows = self.show(what)?;
        let row = rows.iter().find(|row| is(row));
        Ok(row.and_then(|row| get(row, column)).map(str::to_owned))
    }
}

/// A value of a row.
pub fn get<'r>(row: &'r [(String, Option<String>)], name: &str) -> Option<&'r str> {
    row.iter().find(|(column, _)| column == name)?.1.as_deref()
}

/// The rows among replies.
///
/// # Errors
/// There is an error among them, or a row that doesn't fit its columns.
pub fn rows(replies: &[Reply]) -> Result<Vec<Row>> {
    let mut names: Vec<String> = Vec::new();
    let mut found = Vec::new();
    for reply in replies {
        match reply {
            Reply::Columns(columns) => names = columns.iter().map(|column| column.name.clone()).collect(),
            Reply::Row(values) => {
                let count = values.len();
                ensure!(count == names.len(), "{count} values for {names:?}");
                let text = |value: &Option<Vec<u8>>| {
                    let bytes = value.as_ref()?;
                    Some(String::from_utf8_lossy(bytes).into_owned())
                };
                found.push(names.iter().cloned().zip(values.iter().map(text)).collect());
            }
            Reply::Error(fault) => bail!("{fault}"),
            _ => {}
        }
    }
    Ok(found)
}
