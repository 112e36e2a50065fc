//! Connections of the control plane: small queries with their answers as text, and streaming replication.

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use wire::backend::{CommandComplete, DataRow, RowDescription};
use wire::copy::{CopyData, encode_copy_done};
use wire::frame::{self, MAX_LARGE_LEN, Scan};
use wire::frontend::{Bind, Execute, Parse, Query, encode_sync, encode_terminate};
use wire::tag::BackendTag;
use wire::{FormatCodes, Oids, WireError};

use crate::connection::BackendConnection;
use crate::error::ServerError;

/// How much is reserved for a read, whatever length a frame announces.
const READ_CHUNK: usize = 64 * 1024;
/// The most bytes of rows that one [`ControlConnection::simple_query`] takes.
const MAX_RESULT_BYTES: usize = 64 * 1024 * 1024;

/// Why a statement or stream of the control plane ended.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The server reports an error; after one in a query the connection goes on.
    #[error("{}: {}", .0.sqlstate(), .0.message())]
    Server(ServerError),
    /// The connection broke.
    #[error("the connection to the server broke: {0}")]
    Lost(#[from] std::io::Error),
    /// What the server sent isn't the protocol.
    #[error("the server violated the protocol: {0}")]
    Protocol(#[from] WireError),
    /// The server sent a message that has no place there.
    #[error("the server sent an unexpected message {0:?}")]
    Unexpected(char),
    /// The result is larger than a control query may have.
    #[error("the result exceeds {MAX_RESULT_BYTES} bytes")]
    TooLarge,
}

/// The result of one statement: everything as text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueryResult {
    /// The names of the columns; empty for statements without rows.
    pub columns: Vec<String>,
    /// The rows; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
    /// The command tag, as `SELECT 1`.
    pub tag: String,
}

/// A connection that isn't pooled: a statement at a time, or a replication stream.
#[derive(Debug)]
pub struct ControlConnection {
    conn: BackendConnection,
    buf: BytesMut,
}

impl ControlConnection {
    /// Takes over a connection that is ready for a query.
    pub fn new(conn: BackendConnection) -> Self {
        ControlConnection {
            conn,
            buf: BytesMut::new(),
        }
    }

    /// The connection: its parameters, its key.
    pub fn connection(&self) -> &BackendConnection {
        &self.conn
    }

    /// Runs `sql` by the simple protocol: one result for each statement in it. Works on replication connections too (`IDENTIFY_SYSTEM`).
    /// The caller bounds the time; a call that is given up leaves the connection unusable.
    ///
    /// # Errors
    /// The first error of the server; the connection is ready again then. Any other error leaves it unusable.
    pub async fn simple_query(&mut self, sql: &str) -> Result<Vec<QueryResult>, ControlError> {
        self.send_query(sql).await?;
        self.results().await
    }

    /// Runs the one statement in `sql` with these values for `$1` and so on, by the extended protocol. All is text. The caller bounds
    /// the time; a call that is given up leaves the connection unusable.
    ///
    /// # Errors
    /// As [`ControlConnection::simple_query`].
    pub async fn query(&mut self, sql: &str, values: &[&str]) -> Result<QueryResult, ControlError> {
        let mut out = Vec::new();
        Parse {
            name: b"",
            sql: sql.as_bytes(),
            parameter_types: Oids::NONE,
        }
        .encode(&mut out);
        let values: Vec<Option<&[u8]>> = values.iter().map(|value| Some(value.as_bytes())).collect();
        Bind::encode(&mut out, b"", b"", FormatCodes::TEXT, &values, FormatCodes::TEXT);
        Execute {
            portal: b"",
            max_rows: 0,
        }
        .encode(&mut out);
        encode_sync(&mut out);
        self.write_raw(&out).await?;
        Ok(self.results().await?.pop().unwrap_or_default())
    }

    /// What the server answers up to ReadyForQuery.
    async fn results(&mut self) -> Result<Vec<QueryResult>, ControlError> {
        let mut results = Vec::new();
        let mut current = QueryResult::default();
        let mut error = None;
        let mut bytes = 0;
        loop {
            let message = self.read_frame().await?;
            let body = frame::body(&message);
            match tag_of(&message)? {
                BackendTag::RowDescription => {
                    current.columns = RowDescription::decode(body)?
                        .iter()
                        .map(|field| text(field.name))
                        .collect();
                }
                BackendTag::DataRow => {
                    bytes += message.len();
                    if bytes > MAX_RESULT_BYTES {
                        return Err(ControlError::TooLarge);
                    }
                    current.rows.push(
                        DataRow::decode(body)?
                            .values
                            .iter()
                            .map(|value| value.map(text))
                            .collect(),
                    );
                }
                BackendTag::CommandComplete => {
                    current.tag = text(CommandComplete::decode(body)?.tag);
                    results.push(std::mem::take(&mut current));
                }
                BackendTag::EmptyQueryResponse => results.push(std::mem::take(&mut current)),
                BackendTag::ErrorResponse => error = Some(ServerError::from_frame(&message)?),
                BackendTag::ReadyForQuery => break,
                BackendTag::NoticeResponse
                | BackendTag::ParameterStatus
                | BackendTag::NotificationResponse
                | BackendTag::ParseComplete
                | BackendTag::BindComplete => {}
                other => return Err(ControlError::Unexpected(char::from(other.byte()))),
            }
        }
        error.map_or(Ok(results), |error| Err(ControlError::Server(error)))
    }

    /// Sends `sql` (`START_REPLICATION ...`) and waits until the server has switched to streaming both ways.
    ///
    /// # Errors
    /// The server's error, or a server that answers otherwise.
    pub async fn start_copy_both(&mut self, sql: &str) -> Result<(), ControlError> {
        self.send_query(sql).await?;
        loop {
            let message = self.read_frame().await?;
            match tag_of(&message)? {
                BackendTag::CopyBothResponse => return Ok(()),
                BackendTag::ErrorResponse => {
                    let error = ServerError::from_frame(&message)?;
                    self.until_ready().await?;
                    return Err(ControlError::Server(error));
                }
                BackendTag::NoticeResponse | BackendTag::ParameterStatus => {}
                other => return Err(ControlError::Unexpected(char::from(other.byte()))),
            }
        }
    }

    /// The data of the next CopyData of a stream; `None` when the server has ended it (CopyDone). Giving up the call loses nothing.
    ///
    /// # Errors
    /// The server's error, a broken connection, or another message than belongs into a stream.
    pub async fn read_copy_data(&mut self) -> Result<Option<Bytes>, ControlError> {
        loop {
            let message = self.read_frame().await?;
            match tag_of(&message)? {
                BackendTag::CopyData => return Ok(Some(message.slice(frame::HEADER_LEN..))),
                BackendTag::CopyDone => return Ok(None),
                BackendTag::ErrorResponse => {
                    return Err(ControlError::Server(ServerError::from_frame(&message)?));
                }
                BackendTag::NoticeResponse | BackendTag::ParameterStatus => {}
                other => return Err(ControlError::Unexpected(char::from(other.byte()))),
            }
        }
    }

    /// Sends one CopyData (a standby status update, say).
    ///
    /// # Errors
    /// A broken connection.
    pub async fn write_copy_data(&mut self, data: &[u8]) -> Result<(), ControlError> {
        let mut out = Vec::with_capacity(data.len() + frame::HEADER_LEN);
        CopyData { data }.encode(&mut out);
        self.write_raw(&out).await
    }

    /// Sends CopyDone: our side of the stream ends.
    ///
    /// # Errors
    /// A broken connection.
    pub async fn write_copy_done(&mut self) -> Result<(), ControlError> {
        let mut out = Vec::new();
        encode_copy_done(&mut out);
        self.write_raw(&out).await
    }

    /// The next frame as it came. Giving up the call loses nothing: what has arrived stays buffered.
    ///
    /// # Errors
    /// A broken connection, or bytes that are no frame.
    pub async fn read_frame(&mut self) -> Result<Bytes, ControlError> {
        loop {
            match frame::scan(&self.buf, MAX_LARGE_LEN) {
                Scan::Frame { len, .. } => return Ok(self.buf.split_to(len).freeze()),
                Scan::Malformed(error) => return Err(error.into()),
                Scan::NeedMore { .. } => {
                    self.buf.reserve(READ_CHUNK);
                    if self.conn.stream.read_buf(&mut self.buf).await? == 0 {
                        return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
                    }
                }
            }
        }
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// A broken connection.
    pub async fn write_raw(&mut self, bytes: &[u8]) -> Result<(), ControlError> {
        Ok(self.conn.stream.write_all(bytes).await?)
    }

    /// Says goodbye and closes.
    pub async fn close(mut self) {
        let mut out = Vec::new();
        encode_terminate(&mut out);
        // The socket closes in either case; the goodbye only spares the server a line in its log.
        let _ = self.write_raw(&out).await;
    }

    async fn send_query(&mut self, sql: &str) -> Result<(), ControlError> {
        let mut out = Vec::with_capacity(sql.len() + frame::HEADER_LEN + 1);
        Query { sql: sql.as_bytes() }.encode(&mut out);
        self.write_raw(&out).await
    }

    async fn until_ready(&mut self) -> Result<(), ControlError> {
        while tag_of(&self.read_frame().await?)? != BackendTag::ReadyForQuery {}
        Ok(())
    }
}

fn tag_of(message: &[u8]) -> Result<BackendTag, WireError> {
    BackendTag::try_from(message.first().copied().unwrap_or_default())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
