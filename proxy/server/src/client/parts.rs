//! Talking to several shards about one statement: what each is sent, and its answer frame by frame.

use super::backends::{CopyFrom, Participant};
use super::single::{Extended, Form};
use super::{Client, Failure};
use crate::data::io::Wake;
use crate::data::relay::RelayError;
use bytes::{Bytes, BytesMut};
use planner::Part;
use session::relay::ServerError;
use std::io;
use wire::backend::ErrorFields;
use wire::frame::{self, MAX_LARGE_LEN, Scan};
use wire::frontend::{Bind, Describe, Execute, Parse, Query, Target, encode_sync};
use wire::{FormatCodes, Oids, ProxyError, TransactionStatus};

/// What the client has not taken yet before no more rows are read for it.
const OUT_HIGH_WATER: usize = 64 << 10;

/// A whole message of a server.
#[derive(Debug)]
pub(crate) struct Frame {
    /// Its tag.
    pub(crate) tag: u8,
    /// All of it.
    pub(crate) bytes: Bytes,
}

impl Frame {
    /// Its body.
    pub(crate) fn body(&self) -> Bytes {
        self.bytes.slice(frame::HEADER_LEN.min(self.bytes.len())..)
    }
}

/// What becomes of a server's notices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Notices {
    /// The client gets them.
    Pass,
    /// Another shard has told the client the same.
    Drop,
}

impl Client {
    /// Queues a shard's part of a statement.
    pub(crate) fn send_part(
        &mut self,
        at: usize,
        part: &Part,
        form: &Form,
        hidden_columns: usize,
    ) -> Result<(), Failure> {
        let Some(participant) = self.participants.get_mut(at) else {
            return Err(ProxyError::internal().into());
        };
        participant.readies_due = 0;
        let begin = std::mem::take(&mut participant.begin_due);
        let out = participant.backend.unsent();
        if begin {
            Query { sql: b"BEGIN" }.encode(out);
            participant.readies_due += 1;
        }
        let out = participant.backend.unsent();
        match form {
            Form::Simple(range) => {
                let own = self.io.input.get(range.clone()).unwrap_or_default();
                let sql = part.text.as_ref().map_or(own, |text| text.text.as_bytes());
                Query { sql }.encode(out);
            }
            Form::Extended(extended) => {
                let body = self.io.input.get(extended.bind.clone()).unwrap_or_default();
                encode_extended(part, extended, body, hidden_columns, out)?;
            }
        }
        participant.readies_due += 1;
        Ok(())
    }

    /// Sends what is queued for a participant, without waiting for an answer.
    pub(crate) async fn push(&mut self, at: usize) -> Result<(), Failure> {
        let Some(participant) = self.participants.get_mut(at) else {
            return Err(ProxyError::internal().into());
        };
        let sent = std::future::poll_fn(|cx| participant.backend.poll_send(cx)).await;
        match sent {
            // A server that closed has said why, and that is still to be read.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(self.lost(at, &RelayError::BackendLost(error)))
            }
            _ => Ok(()),
        }
    }

    /// The next message of a participant.
    pub(crate) async fn next_frame(&mut self, at: usize) -> Result<Frame, Failure> {
        let limit = self.thread.settings().limits.scatter_max_bytes.min(MAX_LARGE_LEN);
        loop {
            let Some(participant) = self.participants.get_mut(at) else {
                return Err(ProxyError::internal().into());
            };
            let backend = &mut participant.backend;
            backend.expect_unasked();
            match frame::scan(backend.incoming(), limit) {
                Scan::Frame { tag, len } => {
                    let bytes = backend.incoming().split_to(len).freeze();
                    if tag == b'E' && ErrorFields::decode(frame::body(&bytes)).is_ok_and(|f| f.is_fatal()) {
                        return Err(self.lost(at, &RelayError::Unexpected('E')));
                    }
                    return Ok(Frame { tag, bytes });
                }
                Scan::Malformed(wire::WireError::TooLong { len, .. }) => {
                    self.discard(at);
                    return Err(row_too_long(len, limit).into());
                }
                Scan::Malformed(_) => return Err(self.lost(at, &RelayError::Unexpected('?'))),
                Scan::NeedMore { .. } => {}
            }
            let scratch = self.io.scratch();
            let wake = self.io.wait_for(backend, true, OUT_HIGH_WATER).await;
            match wake {
                Wake::Backend(Ok(n)) if n > 0 => {
                    backend
                        .incoming()
                        .extend_from_slice(scratch.borrow().get(..n).unwrap_or_default());
                }
                Wake::Backend(result) => {
                    let error = result
                        .err()
                        .unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
                    return Err(self.lost(at, &RelayError::BackendLost(error)));
                }
                Wake::ClientGone => return Err(Failure::ClientGone),
            }
        }
    }

    /// The next message of a participant that belongs to the statement: notices are passed on, the answer to a BEGIN of ours
    /// is taken away. An error of the server is a failure.
    pub(crate) async fn next_of_statement(&mut self, at: usize) -> Result<Frame, Failure> {
        self.next_with_notices(at, Notices::Pass).await
    }

    /// As [`Client::next_of_statement`]; the notices of a statement that every shard answers alike are passed on once.
    pub(crate) async fn next_with_notices(&mut self, at: usize, notices: Notices) -> Result<Frame, Failure> {
        loop {
            let frame = self.next_frame(at).await?;
            let due = self.participants.get(at).map_or(0, |p| p.readies_due);
            match frame.tag {
                b'E' => {
                    return Err(Failure::Server(ServerError {
                        frame: frame.bytes.as_ref().into(),
                    }));
                }
                b'N' if due <= 1 && notices == Notices::Pass => self.io.out.extend_from_slice(&frame.bytes),
                b'A' => self.io.out.extend_from_slice(&frame.bytes),
                b'N' | b'S' => {}
                b'Z' => {
                    if let Some(participant) = self.participants.get_mut(at) {
                        participant.readies_due = participant.readies_due.saturating_sub(1);
                    }
                    if due <= 1 {
                        self.note_ready(&frame);
                        return Ok(frame);
                    }
                }
                _ if due > 1 => {}
                _ => return Ok(frame),
            }
            self.flush_if_full().await?;
        }
    }

    fn note_ready(&mut self, frame: &Frame) {
        let status = frame
            .body()
            .first()
            .copied()
            .and_then(TransactionStatus::from_byte);
        self.note_status(status.unwrap_or(TransactionStatus::Failed));
    }

    /// Reads a participant up to the last ReadyForQuery that it owes, whatever comes.
    pub(crate) async fn drain(&mut self, at: usize) -> Result<(), Failure> {
        let taking = |p: &Participant| matches!(p.copy, CopyFrom::Taking(_));
        if self.participants.get(at).is_some_and(taking) {
            self.fail_copy(at).await?;
        }
        while self.participants.get(at).is_some_and(|p| p.readies_due > 0) {
            let frame = self.next_frame(at).await?;
            if frame.tag == b'G' {
                self.fail_copy(at).await?;
            }
            if frame.tag == b'Z' {
                if let Some(participant) = self.participants.get_mut(at) {
                    participant.readies_due -= 1;
                }
                self.note_ready(&frame);
            }
        }
        Ok(())
    }

    /// After a failure on one shard: the others come to rest, or are closed where they can't.
    pub(crate) async fn drain_all(&mut self) {
        let mut at = 0;
        while at < self.participants.len() {
            let before = self.participants.len();
            let drained = self.drain(at).await;
            if drained.is_err() && self.participants.len() == before {
                self.discard(at);
            }
            if self.participants.len() == before {
                at += 1;
            }
        }
    }

    /// Sends rows on before too many are held.
    pub(crate) async fn flush_if_full(&mut self) -> Result<(), Failure> {
        if self.io.out.len() >= OUT_HIGH_WATER {
            self.io.flush().await.map_err(|_| Failure::ClientGone)?;
        }
        Ok(())
    }
}

fn row_too_long(len: usize, limit: usize) -> ProxyError {
    ProxyError::error(
        wire::sqlstate::PROGRAM_LIMIT_EXCEEDED,
        "a row is too large to be merged",
    )
    .with_detail(format!("It has {len} bytes, and at most {limit} are held."))
    .with_hint("Ask for the row by its shard key, or raise scatter_max_bytes.")
}

/// A shard's part by Parse, Bind, Describe and Execute of unnamed objects.
fn encode_extended(
    part: &Part,
    extended: &Extended,
    body: &[u8],
    hidden_columns: usize,
    out: &mut BytesMut,
) -> Result<(), ProxyError> {
    let bind = Bind::decode(body)?;
    let chosen: Option<&[u16]> = part.text.as_ref().and_then(|t| t.parameters.as_deref());
    let count = bind.values.len();
    let indexes: Vec<usize> = match chosen {
        Some(list) => list.iter().map(|n| usize::from(*n).saturating_sub(1)).collect(),
        None => (0..count).collect(),
    };
    let sql = part
        .text
        .as_ref()
        .map_or(&extended.statement.sql[..], |t| t.text.as_bytes());
    let declared = &extended.statement.parameter_types;
    let types: Vec<u8> = indexes
        .iter()
        .flat_map(|i| declared.get(*i).copied().unwrap_or(0).to_be_bytes())
        .collect();
    let types = if declared.is_empty() {
        Oids::NONE
    } else {
        Oids::from_raw(&types).unwrap_or(Oids::NONE)
    };
    Parse {
        name: b"",
        sql,
        parameter_types: types,
    }
    .encode(out);
    let values: Vec<Option<&[u8]>> = indexes.iter().map(|i| bind.values.get(*i).flatten()).collect();
    let formats: Vec<u8> = indexes
        .iter()
        .flat_map(|i| bind.formats.code(*i).to_be_bytes())
        .collect();
    // Hidden columns come in the client's format where it named one for all, and as text where it named one for each:
    // codes for columns that the client doesn't know of are added by the caller's count.
    let results = result_formats(&bind, hidden_columns);
    Bind::encode(
        out,
        b"",
        b"",
        FormatCodes::from_raw(&formats).unwrap_or(FormatCodes::TEXT),
        &values,
        FormatCodes::from_raw(&results).unwrap_or(FormatCodes::TEXT),
    );
    Describe {
        target: Target::Portal,
        name: b"",
    }
    .encode(out);
    Execute {
        portal: b"",
        max_rows: 0,
    }
    .encode(out);
    encode_sync(out);
    Ok(())
}

fn result_formats(bind: &Bind<'_>, hidden: usize) -> Vec<u8> {
    let own = bind.result_formats.iter();
    let extra = if bind.result_formats.len() > 1 { hidden } else { 0 };
    own.chain(std::iter::repeat_n(0, extra))
        .flat_map(i16::to_be_bytes)
        .collect()
}
