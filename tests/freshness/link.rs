//! A client that comes back: every statement is bounded, and a broken connection is replaced at the next statement.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage, Statement};

/// For one statement. Longer than anything is held back on purpose, shorter than a hang.
pub(crate) const STATEMENT_BOUND: Duration = Duration::from_secs(20);

/// How statements travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    /// Text with the values in it.
    Simple,
    /// Prepared once, values in binary.
    Prepared,
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    /// The server said so.
    Told { code: String, message: String },
    /// The connection broke without a word.
    Closed(String),
    /// Nothing came within [`STATEMENT_BOUND`].
    Hang,
}

impl Trouble {
    fn of(error: &tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(told) => Self::Told {
                code: told.code().code().to_owned(),
                message: told.message().to_owned(),
            },
            None => Self::Closed(error.to_string()),
        }
    }
}

/// A client, connected when needed.
pub(crate) struct Link {
    config: Config,
    protocol: Protocol,
    /// Sent after each login.
    setup: Vec<String>,
    state: Option<Connected>,
    /// Logins so far.
    pub(crate) logins: u64,
}

struct Connected {
    client: Client,
    prepared: Vec<(String, Statement)>,
}

impl Link {
    /// A client of the server at `url`, not connected yet.
    pub(crate) fn new(url: &str, protocol: Protocol, setup: Vec<String>) -> Result<Self> {
        let mut config: Config = url.parse()?;
        config.connect_timeout(STATEMENT_BOUND);
        Ok(Self {
            config,
            protocol,
            setup,
            state: None,
            logins: 0,
        })
    }

    /// Sets what the server calls this client.
    pub(crate) fn named(mut self, name: &str) -> Self {
        self.config.application_name(name);
        self
    }

    /// Logs in if there is no connection. After this, the session is new if `logins` has risen.
    pub(crate) async fn ready(&mut self) -> Result<(), Trouble> {
        if self.state.as_ref().is_some_and(|state| !state.client.is_closed()) {
            return Ok(());
        }
        let connecting = async {
            let (client, connection) = self.config.connect(NoTls).await?;
            // Its error is the error of every later call on the client.
            tokio::spawn(connection);
            for statement in &self.setup {
                client.batch_execute(statement).await?;
            }
            Ok::<_, tokio_postgres::Error>(client)
        };
        match tokio::time::timeout(STATEMENT_BOUND, connecting).await {
            Ok(Ok(client)) => {
                self.logins += 1;
                self.state = Some(Connected {
                    client,
                    prepared: Vec::new(),
                });
                Ok(())
            }
            Ok(Err(error)) => Err(Trouble::of(&error)),
            Err(_) => Err(Trouble::Hang),
        }
    }

    /// Runs a statement with bigints for `$1`, `$2` and gives the first row's columns as text; `None` without a row.
    pub(crate) async fn row(&mut self, sql: &str, values: &[i64]) -> Result<Option<Vec<String>>, Trouble> {
        self.ready().await?;
        let Some(state) = &mut self.state else {
            return Err(Trouble::Closed("not connected".to_owned()));
        };
        let asking = async {
            match self.protocol {
                Protocol::Simple => {
                    let rows = state.simple(&inline(sql, values)).await?;
                    Ok(rows.into_iter().next())
                }
                Protocol::Prepared => state.prepared(sql, values).await,
            }
        };
        let outcome = tokio::time::timeout(STATEMENT_BOUND, asking).await;
        match outcome {
            Ok(Ok(row)) => Ok(row),
            Ok(Err(error)) => {
                let trouble = Trouble::of(&error);
                if matches!(trouble, Trouble::Closed(_)) {
                    self.state = None;
                }
                Err(trouble)
            }
            Err(_) => {
                self.state = None;
                Err(Trouble::Hang)
            }
        }
    }

    /// All rows that a simple query answers.
    pub(crate) async fn rows(&mut self, sql: &str) -> Result<Vec<Vec<String>>, Trouble> {
        self.ready().await?;
        let Some(state) = &mut self.state else {
            return Err(Trouble::Closed("not connected".to_owned()));
        };
        match tokio::time::timeout(STATEMENT_BOUND, state.simple(sql)).await {
            Ok(answer) => answer.map_err(|error| Trouble::of(&error)),
            Err(_) => {
                self.state = None;
                Err(Trouble::Hang)
            }
        }
    }

    /// Runs statements without an answer, as one string.
    pub(crate) async fn run(&mut self, sql: &str) -> Result<(), Trouble> {
        self.ready().await?;
        let Some(state) = &self.state else {
            return Err(Trouble::Closed("not connected".to_owned()));
        };
        match tokio::time::timeout(STATEMENT_BOUND, state.client.batch_execute(sql)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Trouble::of(&error)),
            Err(_) => {
                self.state = None;
                Err(Trouble::Hang)
            }
        }
    }

    /// Sends `data` by `COPY ... FROM STDIN`.
    pub(crate) async fn copy(&mut self, sql: &str, data: String) -> Result<(), Trouble> {
        use futures_util::SinkExt;
        self.ready().await?;
        let Some(state) = &self.state else {
            return Err(Trouble::Closed("not connected".to_owned()));
        };
        let copying = async {
            let mut sink = std::pin::pin!(state.client.copy_in(sql).await?);
            sink.send(bytes::Bytes::from(data)).await?;
            sink.finish().await.map(|_rows| ())
        };
        match tokio::time::timeout(STATEMENT_BOUND, copying).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Trouble::of(&error)),
            Err(_) => {
                self.state = None;
                Err(Trouble::Hang)
            }
        }
    }

    /// Gives the connection up: the next statement logs in anew.
    pub(crate) fn drop_connection(&mut self) {
        self.state = None;
    }
}

impl Connected {
    async fn simple(&self, sql: &str) -> Result<Vec<Vec<String>>, tokio_postgres::Error> {
        let answer = self.client.simple_query(sql).await?;
        let rows = answer.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(
                (0..row.len())
                    .map(|column| row.get(column).unwrap_or_default().to_owned())
                    .collect(),
            ),
            _ => None,
        });
        Ok(rows.collect())
    }

    async fn prepared(
        &mut self,
        sql: &str,
        values: &[i64],
    ) -> Result<Option<Vec<String>>, tokio_postgres::Error> {
        let known = self
            .prepared
            .iter()
            .find(|(known, _)| known == sql)
            .map(|(_, statement)| statement.clone());
        let statement = match known {
            Some(statement) => statement,
            None => {
                let statement = self.client.prepare(sql).await?;
                self.prepared.push((sql.to_owned(), statement.clone()));
                statement
            }
        };
        let values = values
            .iter()
            .map(|value| value as &(dyn tokio_postgres::types::ToSql + Sync));
        let values: Vec<_> = values.collect();
        let row = self.client.query_opt(&statement, &values).await?;
        row.map(|row| {
            let column = |n: usize| match row.try_get::<_, i64>(n) {
                Ok(number) => Ok(number.to_string()),
                Err(_) => row.try_get::<_, String>(n),
            };
            (0..row.len()).map(column).collect()
        })
        .transpose()
    }
}

/// The statement with its values written out.
fn inline(sql: &str, values: &[i64]) -> String {
    let mut text = sql.to_owned();
    for (n, value) in values.iter().enumerate() {
        text = text.replace(&format!("${}", n + 1), &value.to_string());
    }
    text
}

/// One bigint of a row.
pub(crate) fn number(row: &[String], column: usize) -> Result<i64> {
    match row.get(column).map(|text| text.parse()) {
        Some(Ok(number)) => Ok(number),
        other => bail!("column {column} of {row:?} is no number: {other:?}"),
    }
}

/// A small generator of numbers, different for each seed, the same in each run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `limit` (xorshift64*).
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(drawn).unwrap_or(0) % limit.max(1)
    }
}
