//! Statements that the session answers itself: transaction control, settings, SHOW ringway.*, EXPLAIN (ROUTE).

use super::single::Form;
use super::{Client, Failure};
use crate::data::thread::PlanRef;
use planner::{Local, Plan};
use wire::backend::{
    CommandComplete, DataRow, Field, RowDescription, encode_empty_query_response, encode_no_data,
};
use wire::{ProxyError, sqlstate};

/// The columns of an answer of the session's own: all text.
pub(crate) struct LocalColumns(Vec<String>);

impl LocalColumns {
    /// RowDescription.
    pub(crate) fn encode(&self, out: &mut bytes::BytesMut) {
        let fields: Vec<Field<'_>> = self.0.iter().map(|name| Field::text(name)).collect();
        RowDescription::encode(out, &fields);
    }
}

impl Client {
    /// Carries out a statement that no server has to see as it is.
    pub(crate) async fn local(&mut self, local: &Local, plan: &Plan, form: &Form) -> Result<(), Failure> {
        let failed = self.server_status == Some(wire::TransactionStatus::Failed)
            || self.block.as_ref().is_some_and(|block| block.failed);
        match local {
            Local::Empty => {
                self.begin_answer(form, None);
                encode_empty_query_response(&mut self.io.out);
                Ok(())
            }
            Local::Transaction(control) => {
                let text = String::from_utf8_lossy(form.text(&self.io.input)).into_owned();
                let told = self.transaction_control(control, &text).await?;
                self.begin_answer(form, None);
                if let Some(warning) = told.warning {
                    warning.encode_notice(&mut self.io.out);
                }
                self.complete(told.tag, form);
                Ok(())
            }
            _ if failed => Err(ProxyError::in_failed_transaction().into()),
            Local::Set(set) => self.set(set, plan, form).await,
            Local::Reset(name) => self.reset(name.as_deref(), plan, form).await,
            Local::Discard { all } => self.discard_statement(*all, plan, form).await,
            Local::SetRingway { name, value, local } => {
                let local = *local;
                if local && !self.in_block() {
                    self.begin_answer(form, None);
                    super::session_settings::local_outside().encode_notice(&mut self.io.out);
                    self.complete("SET", form);
                    return Ok(());
                }
                self.set_ringway(name, value, local).await?;
                self.begin_answer(form, None);
                self.complete("SET", form);
                Ok(())
            }
            Local::ResetRingway(name) => {
                self.reset_ringway(name)?;
                self.begin_answer(form, None);
                self.complete("RESET", form);
                Ok(())
            }
            Local::SqlPrepare { .. } | Local::SqlExecute { .. } => Err(ProxyError::unsupported(
                "PREPARE and EXECUTE in SQL are not supported",
                "A statement that is prepared in SQL stays on one server connection.",
                "Prepare by the protocol, as drivers do (in psql: \\bind).",
            )
            .into()),
            Local::SqlDeallocate { name } => {
                let tag = match name {
                    Some(name) if !self.statements.remove(name.as_bytes()) => {
                        return Err(super::batch::no_statement(name.as_bytes()).into());
                    }
                    Some(_) => "DEALLOCATE",
                    None => {
                        self.statements.clear();
                        "DEALLOCATE ALL"
                    }
                };
                self.begin_answer(form, None);
                self.complete(tag, form);
                Ok(())
            }
            Local::Cursor { .. } => self.at_cursor(plan, form).await,
            Local::ShowRingway(name) => {
                let value = self.show_ringway(name).await?;
                self.answer_rows(&[format!("ringway.{name}")], &[vec![value]], "SHOW", form);
                Ok(())
            }
            Local::ExplainRoute { inner } => {
                let rows = self.explain_route(inner, form);
                self.answer_rows(&explain_columns(), &rows, "EXPLAIN", form);
                Ok(())
            }
        }
    }

    /// The columns that a local statement answers with; `None`: no rows.
    pub(crate) fn local_columns(&self, template: &PlanRef) -> Option<LocalColumns> {
        match template.local(&self.database)? {
            Local::ShowRingway(name) => Some(LocalColumns(vec![format!("ringway.{name}")])),
            Local::ExplainRoute { .. } => Some(LocalColumns(explain_columns())),
            _ => None,
        }
    }

    /// What precedes the rows or the tag of an answer of our own, in either protocol.
    pub(crate) fn begin_answer(&mut self, form: &Form, columns: Option<&LocalColumns>) {
        let out = &mut self.io.out;
        match (form, columns) {
            (Form::Simple(_), Some(columns)) => columns.encode(out),
            (Form::Simple(_), None) => {}
            (Form::Extended(extended), columns) => {
                wire::backend::encode_bind_complete(out);
                if extended.describe {
                    match columns {
                        Some(columns) => columns.encode(out),
                        None => encode_no_data(out),
                    }
                }
            }
        }
    }

    /// CommandComplete, if the statement was to be executed.
    pub(crate) fn complete(&mut self, tag: &str, form: &Form) {
        if !matches!(form, Form::Extended(extended) if extended.max_rows.is_none()) {
            CommandComplete { tag: tag.as_bytes() }.encode(&mut self.io.out);
        }
    }

    fn answer_rows(&mut self, columns: &[String], rows: &[Vec<String>], tag: &str, form: &Form) {
        self.begin_answer(form, Some(&LocalColumns(columns.to_vec())));
        if matches!(form, Form::Extended(extended) if extended.max_rows.is_none()) {
            return;
        }
        for row in rows {
            let values: Vec<Option<&str>> = row.iter().map(|value| Some(value.as_str())).collect();
            DataRow::encode_text(&mut self.io.out, &values);
        }
        self.complete(tag, form);
    }

    /// FETCH, MOVE and CLOSE go where the transaction runs; over several shards nobody could say where the cursor is.
    async fn at_cursor(&mut self, plan: &Plan, form: &Form) -> Result<(), Failure> {
        if self.participants.len() > 1 {
            return Err(ProxyError::unsupported(
                "cursors are not supported in a transaction over several shards",
                "Ringway does not know on which of them the cursor is open.",
                "Use the cursor in a transaction of its own.",
            )
            .into());
        }
        let at = self.acquire_any(plan).await?;
        self.forward(at, plan, form).await
    }

    /// What EXPLAIN (ROUTE) prints: the plan, and the server that would be asked at this moment.
    fn explain_route(&mut self, plan: &Plan, form: &Form) -> Vec<Vec<String>> {
        let _ = form;
        self.describe_route(plan)
            .into_iter()
            .map(|(name, value)| vec![name, value])
            .collect()
    }
}

fn explain_columns() -> Vec<String> {
    vec!["property".to_owned(), "value".to_owned()]
}

/// 22023.
pub(crate) fn invalid_value(name: &str, value: &str, hint: &'static str) -> ProxyError {
    ProxyError::error(
        sqlstate::INVALID_PARAMETER_VALUE,
        format!("invalid value for parameter \"ringway.{name}\": \"{value}\""),
    )
    .with_hint(hint)
}
