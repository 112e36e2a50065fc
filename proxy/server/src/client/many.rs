//! A write over several shards: parts of one statement, or the same statement everywhere, in one transaction.

use super::parts::Notices;
use super::single::Form;
use super::{Client, Failure};
use bytes::Bytes;
use planner::{Answer, Part, Plan};
use wire::backend::{CommandComplete, encode_bind_complete, encode_no_data, encode_parse_complete};
use wire::{ProxyError, sqlstate};

/// What the shards answered so far.
#[derive(Default)]
struct Merged {
    description: Option<Bytes>,
    described: bool,
    command: Option<Bytes>,
    rows: u64,
}

impl Client {
    /// Runs a write on several shards. Outside a transaction block it gets one around it, so that it takes effect on all
    /// shards or on none.
    pub(crate) async fn write_parts(
        &mut self,
        plan: &Plan,
        parts: &[Part],
        whose: Answer,
        form: &Form,
    ) -> Result<(), Failure> {
        if parts.len() > 1 {
            self.begin_implicit();
        }
        let outcome = self.write_and_answer(plan, parts, whose, form).await;
        if outcome.is_err() {
            self.drain_all().await;
        }
        outcome
    }

    async fn write_and_answer(
        &mut self,
        plan: &Plan,
        parts: &[Part],
        whose: Answer,
        form: &Form,
    ) -> Result<(), Failure> {
        let places = self.send_parts(plan, parts, form, 0).await?;
        for at in &places {
            self.note_ran(*at, plan);
        }
        self.answered_by_servers(&places, plan.access);
        let mut merged = Merged::default();
        for (n, at) in places.iter().enumerate() {
            self.read_part(*at, n == 0, whose, form, &mut merged).await?;
        }
        let command = merged.command.ok_or_else(ProxyError::internal)?;
        let tag = CommandComplete::decode(&command).map_err(ProxyError::from)?;
        let text = match (whose, tag.rows()) {
            (Answer::Sum, Some(_)) => with_rows(&tag, merged.rows),
            _ => String::from_utf8_lossy(tag.tag).into_owned(),
        };
        self.note_command(text.as_bytes());
        self.complete(&text, form);
        Ok(())
    }

    /// Reads one shard's answer; the first one's decides the columns.
    async fn read_part(
        &mut self,
        at: usize,
        first: bool,
        whose: Answer,
        form: &Form,
        merged: &mut Merged,
    ) -> Result<(), Failure> {
        let notices = if first || whose == Answer::Sum {
            Notices::Pass
        } else {
            Notices::Drop
        };
        loop {
            let frame = self.next_with_notices(at, notices).await?;
            match frame.tag {
                b'1' | b'2' => {}
                b'T' | b'n' => {
                    if first {
                        merged.description = (frame.tag == b'T').then(|| frame.bytes.clone());
                        self.begin_parts(merged, form);
                    }
                }
                b'D' => {
                    if first || whose == Answer::Sum {
                        self.io.out.extend_from_slice(&frame.bytes);
                    }
                }
                b'C' => {
                    if first && !merged.described {
                        self.begin_parts(merged, form);
                    }
                    let body = frame.body();
                    let rows = CommandComplete::decode(&body)
                        .map_err(ProxyError::from)?
                        .rows()
                        .unwrap_or(0);
                    match whose {
                        Answer::Sum => merged.rows += rows,
                        Answer::First if first => merged.rows = rows,
                        // Copies of a reference table that differ: the transaction is rolled back, nothing is made worse.
                        Answer::First if merged.rows != rows => {
                            return Err(copies_differ(merged.rows, rows).into());
                        }
                        Answer::First => {}
                    }
                    merged.command.get_or_insert(body);
                }
                b'I' => return Err(ProxyError::internal().into()),
                b'Z' => return Ok(()),
                b'G' | b'H' => return Err(ProxyError::internal().into()),
                _ => return Err(ProxyError::internal().into()),
            }
        }
    }

    fn begin_parts(&mut self, merged: &mut Merged, form: &Form) {
        merged.described = true;
        let out = &mut self.io.out;
        match form {
            Form::Simple(_) => {
                if let Some(description) = &merged.description {
                    out.extend_from_slice(description);
                }
            }
            Form::Extended(extended) => {
                if extended.parse_pending {
                    encode_parse_complete(out);
                }
                encode_bind_complete(out);
                match (&merged.description, extended.describe) {
                    (Some(description), true) => out.extend_from_slice(description),
                    (None, true) => encode_no_data(out),
                    (_, false) => {}
                }
            }
        }
    }
}

/// The tag of a command with another number of rows.
fn with_rows(tag: &CommandComplete<'_>, rows: u64) -> String {
    let command = String::from_utf8_lossy(tag.command()).into_owned();
    // INSERT carries an oid that has been 0 since PostgreSQL 12.
    if command == "INSERT" {
        format!("INSERT 0 {rows}")
    } else {
        format!("{command} {rows}")
    }
}

fn copies_differ(first: u64, other: u64) -> ProxyError {
    ProxyError::error(
        sqlstate::DATA_CORRUPTED,
        "the copies of a reference table differ between shards",
    )
    .with_detail(format!(
        "The statement touched {first} rows on one shard and {other} on another; it was rolled back."
    ))
    .with_hint("Compare the table on all shards and bring the copies in line.")
}
