//! SET, RESET and DISCARD: tried on a server, recorded here, and carried to every connection that the client uses later.

use super::local::invalid_value;
use super::single::Form;
use super::{Client, Failure};
use crate::metrics::Source;
use crate::reading::{ReadSettings, SessionLevel};
use coherence::{Token, TokenDecision};
use planner::{Effects, Plan};
use session::relay::{Answer, RelayEnd};
use session::{Expected, quote_literal};
use sql::{Set, SetWhat, TransactionModes};
use wire::backend::ParameterStatus;
use wire::frontend::Query;
use wire::{ProxyError, Severity, SqlState, sqlstate};

/// The warning of SET LOCAL outside a transaction block.
pub(crate) fn local_outside() -> ProxyError {
    const NO_ACTIVE_SQL_TRANSACTION: SqlState = SqlState::new(*b"25P01");
    ProxyError::error(
        NO_ACTIVE_SQL_TRANSACTION,
        "SET LOCAL can only be used in transaction blocks",
    )
    .with_severity(Severity::Warning)
}

/// Refuses a client encoding in which statements and keys can't be read.
///
/// # Errors
/// 0A000 for anything but UTF-8 and its subset.
pub(crate) fn readable_encoding(value: &str) -> Result<(), ProxyError> {
    let name = value
        .trim_matches('\'')
        .to_ascii_uppercase()
        .replace(['-', '_'], "");
    if matches!(name.as_str(), "UTF8" | "UNICODE" | "SQLASCII") {
        return Ok(());
    }
    Err(ProxyError::unsupported(
        format!("client_encoding {value} is not supported"),
        "Ringway reads statements and shard keys as UTF-8.",
        "Use client_encoding = UTF8.",
    ))
}

/// The values of a SET as SQL.
pub(crate) fn values_sql(values: &[String]) -> String {
    let quoted: Vec<String> = values.iter().map(|v| quote_literal(v)).collect();
    quoted.join(", ")
}

impl Client {
    /// SET of a server's parameter.
    pub(crate) async fn set(&mut self, set: &Set, plan: &Plan, form: &Form) -> Result<(), Failure> {
        match &set.what {
            SetWhat::Parameter { name, values } => {
                let value = values_sql(values);
                if name == "client_encoding" {
                    readable_encoding(&value)?;
                }
                let scope = if set.local { "SET LOCAL" } else { "SET" };
                let sql = format!("{scope} {} TO {value}", quote_name(name));
                self.run_setting(&sql, plan).await?;
                match (set.local, self.block.is_some()) {
                    (true, true) => {
                        self.settings.set_local(name, &value);
                        self.context_changed();
                    }
                    (true, false) => {
                        self.begin_answer(form, None);
                        local_outside().encode_notice(&mut self.io.out);
                        self.complete("SET", form);
                        return Ok(());
                    }
                    (false, _) => self.recorded_set(name, &value),
                }
            }
            SetWhat::Default { name } => self.reset_one(name, plan).await?,
            SetWhat::Transaction(modes) => self.set_transaction(*modes, form).await?,
            SetWhat::Characteristics(modes) => {
                for (name, value) in characteristics(*modes) {
                    let value = quote_literal(value);
                    self.run_setting(&format!("SET {name} TO {value}"), plan).await?;
                    self.recorded_set(name, &value);
                }
            }
            SetWhat::Snapshot | SetWhat::Other { .. } => {
                return Err(ProxyError::unsupported(
                    "this form of SET is not supported",
                    "Ringway can't carry it from one server connection to the next.",
                    "Use SET name TO value.",
                )
                .into());
            }
        }
        self.begin_answer(form, None);
        self.complete("SET", form);
        Ok(())
    }

    fn recorded_set(&mut self, name: &str, value: &str) {
        self.settings.set(name, value);
        if name == "application_name" {
            *self.info.application_name.borrow_mut() = value.trim_matches('\'').into();
        }
        self.settings_changed();
    }

    /// Connections held outside a block have just run the SET: that is what is applied to them.
    fn settings_changed(&mut self) {
        if self.block.is_none() {
            let now = self.settings.current();
            for participant in &mut self.participants {
                participant.backend.state_mut().applied = now.clone();
            }
        }
        self.context_changed();
    }

    async fn set_transaction(&mut self, modes: TransactionModes, form: &Form) -> Result<(), Failure> {
        if self.block.is_none() {
            const NO_ACTIVE_SQL_TRANSACTION: SqlState = SqlState::new(*b"25P01");
            let warning = "SET TRANSACTION can only be used in transaction blocks";
            ProxyError::error(NO_ACTIVE_SQL_TRANSACTION, warning)
                .with_severity(Severity::Warning)
                .encode_notice(&mut self.io.out);
            return Ok(());
        }
        let text = String::from_utf8_lossy(form.text(&self.io.input)).into_owned();
        self.set_characteristics(modes, &text).await
    }

    /// RESET name, RESET ALL.
    pub(crate) async fn reset(
        &mut self,
        name: Option<&str>,
        plan: &Plan,
        form: &Form,
    ) -> Result<(), Failure> {
        match name {
            Some(name) => self.reset_one(name, plan).await?,
            None => {
                self.run_setting("RESET ALL", plan).await?;
                let startup = self.startup.clone();
                self.settings.reset_all(&startup);
                self.reading = ReadSettings::default();
                // RESET ALL went back to the server's defaults, and what the client asked for at its login is not there
                // any more.
                self.reapply_startup().await?;
            }
        }
        self.begin_answer(form, None);
        self.complete("RESET", form);
        Ok(())
    }

    async fn reset_one(&mut self, name: &str, plan: &Plan) -> Result<(), Failure> {
        let sql = match self.startup.get(name) {
            Some(value) => format!("SET {} TO {value}", quote_name(name)),
            None => format!("RESET {}", quote_name(name)),
        };
        self.run_setting(&sql, plan).await?;
        let startup = self.startup.clone();
        self.settings.reset(name, &startup);
        self.settings_changed();
        Ok(())
    }

    async fn reapply_startup(&mut self) -> Result<(), Failure> {
        if let Some(sql) = session::Settings::default().statements_towards(&self.settings.current().clone()) {
            for at in 0..self.participants.len() {
                self.run_setting_at(at, &sql).await?;
            }
        }
        self.settings_changed();
        Ok(())
    }

    /// Runs a SET or RESET on every connection held, or on one if none is; the client gets the ParameterStatus of it.
    async fn run_setting(&mut self, sql: &str, plan: &Plan) -> Result<(), Failure> {
        if self.participants.is_empty() {
            self.acquire_any(plan).await?;
        }
        for at in 0..self.participants.len() {
            self.run_setting_at(at, sql).await?;
        }
        Ok(())
    }

    async fn run_setting_at(&mut self, at: usize, sql: &str) -> Result<(), Failure> {
        let mut tracker = self.open(at);
        let Some(participant) = self.participants.get_mut(at) else {
            return Err(ProxyError::internal().into());
        };
        Query { sql: sql.as_bytes() }.encode(participant.backend.unsent());
        tracker.expect(Expected::Query);
        let mut answer = Answer::silent();
        let end = self.relay(at, &mut tracker, &mut answer).await?;
        if let Some(error) = answer.error {
            return Err(Failure::Server(error));
        }
        if !matches!(end, RelayEnd::Ready(_)) {
            return Err(ProxyError::internal().into());
        }
        if at == 0 {
            for (name, value) in &answer.parameters {
                ParameterStatus { name, value }.encode(&mut self.io.out);
            }
        }
        Ok(())
    }

    /// DISCARD.
    pub(crate) async fn discard_statement(
        &mut self,
        all: bool,
        plan: &Plan,
        form: &Form,
    ) -> Result<(), Failure> {
        if all && self.block.is_some() {
            return Err(ProxyError::error(
                sqlstate::ACTIVE_SQL_TRANSACTION,
                "DISCARD ALL cannot run inside a transaction block",
            )
            .into());
        }
        let text = String::from_utf8_lossy(form.text(&self.io.input))
            .trim()
            .trim_end_matches(';')
            .to_uppercase();
        if all {
            // What is pinned to a connection ends with it.
            for participant in std::mem::take(&mut self.participants) {
                self.info.remove_backend(&participant.backend);
                participant.backend.close();
            }
            self.sequences = None;
            self.show_pins();
            self.statements.clear();
            self.portals.clear();
            let startup = self.startup.clone();
            self.settings.discard_all(&startup);
            self.settings_changed();
            self.reading = ReadSettings::default();
            self.source = Source::None;
        } else if self.participants.is_empty() {
            self.sequences = self
                .sequences
                .filter(|_| !plan.effects.intersects(Effects::SEQUENCE_END));
        } else {
            self.run_setting(&text, plan).await?;
            for at in 0..self.participants.len() {
                self.note_effects(at, planner::Access::Read, plan.effects);
            }
        }
        let tag: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        self.begin_answer(form, None);
        self.complete(&tag, form);
        Ok(())
    }

    /// SET ringway.*.
    pub(crate) async fn set_ringway(&mut self, name: &str, value: &str, local: bool) -> Result<(), Failure> {
        match name {
            "level" => {
                let level = SessionLevel::parse(value).map_err(|hint| invalid_value(name, value, hint))?;
                self.reading.set_level(level, local);
            }
            "cache" => {
                let on = match value {
                    "on" | "true" => true,
                    "off" | "false" => false,
                    _ => return Err(invalid_value(name, value, "Use on or off.").into()),
                };
                self.reading.set_cache(on, local);
            }
            "token" => {
                let snapshot = self.database.snapshot();
                let shards = u16::try_from(snapshot.shards.len()).unwrap_or(u16::MAX);
                let token =
                    Token::parse(value, snapshot.map.version(), shards).map_err(|error| match error {
                        coherence::Error::TokenNeedsNewerMap { .. } => ProxyError::error(
                            sqlstate::SERIALIZATION_FAILURE,
                            "the token names a newer slot map than this proxy has",
                        )
                        .with_hint("Retry in a moment."),
                        _ => invalid_value(name, "...", "Use a value that SHOW ringway.token gave."),
                    })?;
                self.positions.adopt(&token, health::boot_time());
            }
            _ => return Err(unknown_ringway(name).into()),
        }
        Ok(())
    }

    /// RESET ringway.*.
    pub(crate) fn reset_ringway(&mut self, name: &str) -> Result<(), Failure> {
        match name {
            "level" => self.reading.reset_level(),
            "cache" => self.reading.reset_cache(),
            // For a connection that serves one user after another: each brings a token of its own.
            "token" => self.positions = coherence::SessionPositions::new(),
            _ => return Err(unknown_ringway(name).into()),
        }
        Ok(())
    }

    /// SHOW ringway.*.
    pub(crate) async fn show_ringway(&mut self, name: &str) -> Result<String, Failure> {
        match name {
            "level" => Ok(self.reading.level().to_string()),
            "cache" => Ok(if self.reading.cache_on() { "on" } else { "off" }.to_owned()),
            "region" => Ok(self.thread.settings().region.to_string()),
            "version" => Ok(env!("CARGO_PKG_VERSION").to_owned()),
            "token" => self.token().await,
            "source" => Ok(self.source.word().to_owned()),
            _ => Err(unknown_ringway(name).into()),
        }
    }

    /// The token of this session, once every position in it is known.
    async fn token(&mut self) -> Result<String, Failure> {
        loop {
            let version = self.database.snapshot().map.version();
            match self.positions.token(version) {
                TokenDecision::Ready(token) => return Ok(token.to_string()),
                TokenDecision::ResolveFirst(shard) => self.resolve_position(shard).await?,
            }
        }
    }
}

fn unknown_ringway(name: &str) -> ProxyError {
    ProxyError::error(
        sqlstate::UNDEFINED_OBJECT,
        format!("unrecognized configuration parameter \"ringway.{name}\""),
    )
    .with_hint("Known are ringway.level, ringway.cache, ringway.token, ringway.source, ringway.region and ringway.version.")
}

/// A parameter's name as SQL: each part of a dotted name quoted by itself.
fn quote_name(name: &str) -> String {
    name.split('.')
        .map(super::backends::quote)
        .collect::<Vec<_>>()
        .join(".")
}

/// The parameters that SET SESSION CHARACTERISTICS stands for.
pub(crate) fn characteristics(modes: TransactionModes) -> Vec<(&'static str, &'static str)> {
    let mut all = Vec::new();
    if let Some(isolation) = modes.isolation {
        all.push((
            "default_transaction_isolation",
            match isolation {
                sql::Isolation::ReadUncommitted => "read uncommitted",
                sql::Isolation::ReadCommitted => "read committed",
                sql::Isolation::RepeatableRead => "repeatable read",
                sql::Isolation::Serializable => "serializable",
            },
        ));
    }
    if let Some(read_only) = modes.read_only {
        all.push((
            "default_transaction_read_only",
            if read_only { "on" } else { "off" },
        ));
    }
    if let Some(deferrable) = modes.deferrable {
        all.push((
            "default_transaction_deferrable",
            if deferrable { "on" } else { "off" },
        ));
    }
    all
}
