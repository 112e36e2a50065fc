//! A connection of the prober: simple queries and replication commands over an authenticated stream.

use crate::error::ProbeError;
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use wire::backend::{DataRow, ErrorFields};
use wire::frame::{Scan, body, scan};
use wire::frontend::Query;
use wire::tag::BackendTag;

/// The longest answer that a probe takes; what it asks for fits a hundred times.
const MAX_ANSWER_LEN: usize = 64 * 1024;
/// A row's values in text; `None` is NULL.
pub(crate) type Row = Vec<Option<String>>;

/// One connection to one server, which nothing else uses.
#[derive(Debug)]
pub(crate) struct Link<S> {
    stream: S,
    incoming: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// A link over a stream that is past its authentication and ready for a query.
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            incoming: BytesMut::new(),
        }
    }

    /// Asks all questions in one write, so that they share a round trip, and gives the last row of each answer.
    /// The server answers them in this order. After an error the link is of no more use, except for one of the
    /// server's that isn't fatal.
    pub(crate) async fn ask<const N: usize>(&mut self, questions: [&str; N]) -> Result<[Row; N], ProbeError> {
        let mut out = Vec::new();
        for sql in questions {
            Query { sql: sql.as_bytes() }.encode(&mut out);
        }
        self.stream.write_all(&out).await?;
        let mut rows = [const { Row::new() }; N];
        let mut refused = None;
        for row in &mut rows {
            match self.answer().await {
                Ok(last) => *row = last,
                // The answers to the other questions are still to be read off.
                Err(error @ ProbeError::Refused { .. }) => refused = refused.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        refused.map_or(Ok(rows), Err)
    }

    /// Resolves when the server ends the connection. Safe to drop and call again.
    pub(crate) async fn ended(&mut self) -> ProbeError {
        loop {
            match self.frame().await {
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    }

    /// Reads up to ReadyForQuery.
    async fn answer(&mut self) -> Result<Row, ProbeError> {
        let mut last = Row::new();
        let mut refused = None;
        loop {
            match self.frame().await? {
                Frame::Row(row) => last = row,
                Frame::Refused(error) => refused = Some(error),
                Frame::Ready => return refused.map_or(Ok(last), Err),
                Frame::Other => {}
            }
        }
    }

    async fn frame(&mut self) -> Result<Frame, ProbeError> {
        loop {
            match scan(&self.incoming, MAX_ANSWER_LEN) {
                Scan::Frame { tag, len } => {
                    let frame = self.incoming.split_to(len);
                    return read_frame(tag, body(&frame));
                }
                Scan::NeedMore { .. } => {}
                Scan::Malformed(error) => return Err(error.into()),
            }
            if self.stream.read_buf(&mut self.incoming).await? == 0 {
                return Err(ProbeError::Closed {
                    unread: self.incoming.len(),
                });
            }
        }
    }
}

enum Frame {
    Row(Row),
    Refused(ProbeError),
    Ready,
    Other,
}

fn read_frame(tag: u8, body: &[u8]) -> Result<Frame, ProbeError> {
    let text = |value: Option<&[u8]>| value.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    Ok(match BackendTag::try_from(tag)? {
        BackendTag::DataRow => Frame::Row(DataRow::decode(body)?.values.iter().map(text).collect()),
        BackendTag::ReadyForQuery => Frame::Ready,
        BackendTag::ErrorResponse => {
            let fields = ErrorFields::decode(body)?;
            let error = ProbeError::Refused {
                sqlstate: fields.sqlstate().map(|s| s.to_string()).unwrap_or_default(),
                message: String::from_utf8_lossy(fields.message()).into_owned(),
            };
            if fields.is_fatal() {
                return Err(error);
            } else {
                Frame::Refused(error)
            }
        }
        _ => Frame::Other,
    })
}
