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

#[cfg(test)]
mod tests {
    use super::{Link, MAX_ANSWER_LEN};
    use crate::error::ProbeError;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use wire::TransactionStatus;
    use wire::backend::{DataRow, ReadyForQuery};

    fn link() -> (Link<DuplexStream>, DuplexStream) {
        let (near, far) = tokio::io::duplex(4 * MAX_ANSWER_LEN);
        (Link::new(near), far)
    }

    fn row(out: &mut Vec<u8>, value: &str) {
        DataRow::encode_text(out, &[Some(value), None]);
    }

    fn ready(out: &mut Vec<u8>) {
        ReadyForQuery {
            status: TransactionStatus::Idle,
        }
        .encode(out);
    }

    fn error(out: &mut Vec<u8>, severity: &str, code: &str) {
        let body = format!("S{severity}\0V{severity}\0C{code}\0Mwhy\0\0");
        out.push(b'E');
        out.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        out.extend_from_slice(body.as_bytes());
    }

    #[tokio::test]
    async fn questions_share_a_write_and_each_has_its_last_row() {
        let (mut link, mut far) = link();
        let mut answers = Vec::new();
        row(&mut answers, "first");
        row(&mut answers, "last");
        ready(&mut answers);
        ready(&mut answers);
        far.write_all(&answers).await.unwrap();
        let rows = link.ask(["A", "B"]).await.unwrap();
        assert_eq!(rows, [vec![Some("last".to_owned()), None], vec![]]);
        let mut sent = vec![0; 14];
        far.read_exact(&mut sent).await.unwrap();
        assert_eq!(sent, b"Q\0\0\0\x06A\0Q\0\0\0\x06B\0");
    }

    #[tokio::test]
    async fn after_a_refusal_the_link_is_in_step() {
        let (mut link, mut far) = link();
        let mut answers = Vec::new();
        error(&mut answers, "ERROR", "42P01");
        ready(&mut answers);
        row(&mut answers, "of the second");
        ready(&mut answers);
        row(&mut answers, "of the next");
        ready(&mut answers);
        far.write_all(&answers).await.unwrap();
        let refused = link.ask(["A", "B"]).await.unwrap_err();
        assert!(
            refused.is_undefined_table() && refused.spares_the_link(),
            "{refused}"
        );
        assert_eq!(
            link.ask(["C"]).await.unwrap(),
            [vec![Some("of the next".to_owned()), None]]
        );
    }

    #[tokio::test]
    async fn ends_and_nonsense_are_errors() {
        let (mut link, mut far) = link();
        let mut last_words = Vec::new();
        error(&mut last_words, "FATAL", "57P01");
        far.write_all(&last_words).await.unwrap();
        assert!(matches!(link.ended().await, ProbeError::Refused { .. }));
        drop(far);
        assert!(matches!(link.ended().await, ProbeError::Closed { unread: 0 }));

        // More than fits is refused at its length, before any of it is taken in.
        for nonsense in [&b"D\x7f\xff\xff\xff"[..], b"D\0\0\0\0", b"?\0\0\0\x04"] {
            let (mut link, mut far) = self::link();
            far.write_all(nonsense).await.unwrap();
            let error = link.ask(["A"]).await.unwrap_err();
            assert!(matches!(error, ProbeError::Wire(_)), "{error}");
            assert!(!error.spares_the_link());
        }
    }
}
