//! A read over several shards: every shard runs its part, the rows are merged on their way to the client.

use super::parts::Frame;
use super::single::Form;
use super::{Client, Failure};
use merge::{MergeSpec, MergeStep, Merger};
use planner::{Part, Plan};
use wire::backend::{
    Field, RowDescription, encode_bind_complete, encode_parse_complete, encode_portal_suspended,
};
use wire::frontend::Bind;
use wire::{Format, ProxyError, sqlstate};

impl Client {
    /// Answers a read from several shards.
    pub(crate) async fn scatter(
        &mut self,
        plan: &Plan,
        parts: &[Part],
        spec: &MergeSpec,
        columns: usize,
        form: &Form,
    ) -> Result<(), Failure> {
        let outcome = self.scatter_parts(plan, parts, spec, columns, form).await;
        if outcome.is_err() {
            self.drain_all().await;
        }
        outcome
    }

    async fn scatter_parts(
        &mut self,
        plan: &Plan,
        parts: &[Part],
        spec: &MergeSpec,
        columns: usize,
        form: &Form,
    ) -> Result<(), Failure> {
        let places = self.send_parts(plan, parts, form, spec.hidden_columns).await?;
        let description = self.first_description(&places).await?;
        self.begin_merged(&description, spec, columns, form)?;
        if matches!(form, Form::Extended(extended) if extended.max_rows.is_none()) {
            // Described, not executed.
            self.drain_all().await;
            return Ok(());
        }
        let formats = self.formats(form, columns)?;
        let mut merger = Merger::new(spec, &formats, places.len()).map_err(|e| not_merged(&e))?;
        let end = self.merge_rows(&mut merger, &places, form).await?;
        for at in &places {
            self.drain(*at).await?;
            self.note_ran(*at, plan);
        }
        self.answered_by_servers(&places, plan.access);
        match end {
            MergeEnd::Complete => self.complete(&merger.command_tag(), form),
            MergeEnd::Suspended => encode_portal_suspended(&mut self.io.out),
        }
        Ok(())
    }

    /// Sends every shard its part before any answer is read, so that they run side by side. Gives their places.
    pub(crate) async fn send_parts(
        &mut self,
        plan: &Plan,
        parts: &[Part],
        form: &Form,
        hidden_columns: usize,
    ) -> Result<Vec<usize>, Failure> {
        let mut places = Vec::with_capacity(parts.len());
        for part in parts {
            places.push(self.acquire(part.shard, plan).await?);
        }
        for (part, at) in parts.iter().zip(&places) {
            self.send_part(*at, part, form, hidden_columns)?;
        }
        for at in &places {
            self.push(*at).await?;
        }
        Ok(places)
    }

    /// Reads every shard up to its RowDescription and gives the first one's.
    async fn first_description(&mut self, places: &[usize]) -> Result<Frame, Failure> {
        let mut first = None;
        for at in places {
            loop {
                let frame = self.next_of_statement(*at).await?;
                match frame.tag {
                    b'T' => {
                        first.get_or_insert(frame);
                        break;
                    }
                    b'1' | b'2' => {}
                    _ => return Err(ProxyError::internal().into()),
                }
            }
        }
        first.ok_or_else(|| ProxyError::internal().into())
    }

    fn begin_merged(
        &mut self,
        description: &Frame,
        spec: &MergeSpec,
        columns: usize,
        form: &Form,
    ) -> Result<(), Failure> {
        let body = description.body();
        let fields: Vec<Field<'_>> = RowDescription::decode(&body)
            .map_err(ProxyError::from)?
            .iter()
            .collect();
        if fields.len() != columns {
            return Err(ProxyError::error(
                sqlstate::SERIALIZATION_FAILURE,
                "the tables have changed since the statement was planned",
            )
            .with_hint("Retry the statement.")
            .into());
        }
        let shown = fields
            .get(..columns.saturating_sub(spec.hidden_columns))
            .unwrap_or_default();
        let out = &mut self.io.out;
        match form {
            Form::Simple(_) => RowDescription::encode(out, shown),
            Form::Extended(extended) => {
                if extended.parse_pending {
                    encode_parse_complete(out);
                }
                encode_bind_complete(out);
                if extended.describe {
                    RowDescription::encode(out, shown);
                }
            }
        }
        Ok(())
    }

    /// The formats of the shards' columns.
    fn formats(&self, form: &Form, columns: usize) -> Result<Vec<Format>, Failure> {
        let Form::Extended(extended) = form else {
            return Ok(Vec::new());
        };
        let body = self.io.input.get(extended.bind.clone()).unwrap_or_default();
        let codes = Bind::decode(body).map_err(ProxyError::from)?.result_formats;
        let one = |n: usize| {
            Format::from_code(if codes.len() > 1 && n >= codes.len() {
                0
            } else {
                codes.code(n)
            })
        };
        (0..columns)
            .map(|n| one(n).ok_or_else(|| ProxyError::internal().into()))
            .collect()
    }

    async fn merge_rows(
        &mut self,
        merger: &mut Merger,
        places: &[usize],
        form: &Form,
    ) -> Result<MergeEnd, Failure> {
        let most = self.thread.settings().limits.scatter_max_rows;
        let limit = match form {
            Form::Extended(extended) => extended
                .max_rows
                .and_then(|n| u64::try_from(n).ok())
                .filter(|n| *n > 0),
            Form::Simple(_) => None,
        };
        let mut given: u64 = 0;
        loop {
            match merger.next_row().map_err(|e| not_merged(&e))? {
                MergeStep::Done => return Ok(MergeEnd::Complete),
                MergeStep::Row(body) => {
                    if limit.is_some_and(|limit| given >= limit) {
                        return Ok(MergeEnd::Suspended);
                    }
                    given += 1;
                    if given > most {
                        return Err(too_many_rows(most).into());
                    }
                    put_row(&mut self.io.out, &body);
                    self.flush_if_full().await?;
                }
                MergeStep::Need(stream) => {
                    let at = places.get(stream).copied().ok_or_else(ProxyError::internal)?;
                    let frame = self.next_of_statement(at).await?;
                    match frame.tag {
                        b'D' => merger
                            .push_row(stream, frame.body())
                            .map_err(|e| not_merged(&e))?,
                        b'C' => merger.shard_done(stream).map_err(|e| not_merged(&e))?,
                        _ => return Err(ProxyError::internal().into()),
                    }
                }
            }
        }
    }
}

/// Where the merged rows ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum MergeEnd {
    /// All rows were given.
    Complete,
    /// The row limit of Execute was reached, and there are more.
    Suspended,
}

/// A DataRow with this body.
pub(crate) fn put_row(out: &mut bytes::BytesMut, body: &[u8]) {
    let len = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    out.extend_from_slice(b"D");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(body);
}

fn not_merged(error: &merge::MergeError) -> Failure {
    ProxyError::unsupported(
        "the rows of several shards can't be merged",
        error.to_string(),
        "Name the shard key in the WHERE clause, so that one shard answers.",
    )
    .into()
}

fn too_many_rows(most: u64) -> ProxyError {
    ProxyError::error(sqlstate::PROGRAM_LIMIT_EXCEEDED, "the answer has too many rows")
        .with_detail(format!(
            "scatter_max_rows allows {most} rows of an answer that is merged from several shards."
        ))
        .with_hint("Add a LIMIT, name the shard key, or raise scatter_max_rows.")
}
