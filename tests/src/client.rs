//! A client of the PostgreSQL protocol that shows every message.

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use wire::backend::{Authentication, BackendKeyData, NotificationResponse, ParameterStatus};
use wire::frame::{self, Scan};
use wire::frontend::{
    Bind, Close, Describe, Execute, Parse, Query, SaslInitialResponse, SaslResponse, Target as Named,
    encode_sync, encode_terminate,
};
use wire::startup::{ProtocolVersion, encode_cancel, encode_startup};
use wire::tag::BackendTag;
use wire::{CancelKey, FormatCodes, Oids, copy};

use crate::{Fault, Reply};

/// For one answer of a server.
const ANSWER_BOUND: Duration = Duration::from_secs(30);
/// The longest message that is taken.
const MESSAGE_MAX: usize = 64 * 1024 * 1024;
/// The most messages in one answer.
const REPLIES_MAX: usize = 1_000_000;

/// Where to log in.
#[derive(Clone, Debug)]
pub struct Target {
    /// The port on 127.0.0.1.
    pub port: u16,
    /// The role.
    pub user: String,
    /// Its password.
    pub password: String,
    /// The database.
    pub database: String,
}

/// A connection.
#[derive(Debug)]
pub struct Session {
    stream: TcpStream,
    target: Target,
    input: Vec<u8>,
    output: Vec<u8>,
    key: Option<CancelKey>,
    /// What the server reported by ParameterStatus.
    pub parameters: BTreeMap<String, String>,
    /// Notifications that came and nobody has taken: channel and payload.
    pub notifications: VecDeque<(String, String)>,
}

/// Cancels the statements of one session.
#[derive(Clone, Debug)]
pub struct Canceller {
    port: u16,
    key: CancelKey,
}

impl Canceller {
    /// Sends the request, and waits until the server has taken it.
    ///
    /// # Errors
    /// No connection.
    pub fn send(&self) -> Result<()> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        let mut packet = Vec::new();
        encode_cancel(&mut packet, &self.key);
        stream.write_all(&packet)?;
        // The server closes without an answer once it has passed the request on.
        stream.set_read_timeout(Some(ANSWER_BOUND))?;
        stream.read_to_end(&mut packet)?;
        Ok(())
    }

    /// The same for whoever has this process id, by a secret that is wrong.
    #[must_use]
    pub fn with_other_secret(mut self, change: u8) -> Self {
        if let Some(byte) = self.key.secret.first_mut() {
            *byte = byte.wrapping_add(change).wrapping_add(1);
        }
        self
    }
}

/// A statement of the extended protocol: prepared once, run with each of `bounds`, all in one go.
#[derive(Clone, Copy, Debug)]
pub struct Extended<'a> {
    /// The prepared statement's name; empty is the unnamed one.
    pub name: &'a str,
    /// The SQL.
    pub sql: &'a str,
    /// The types that are declared for parameters.
    pub types: &'a [u32],
    /// The runs.
    pub bounds: &'a [Bound],
    /// The format of parameters and results.
    pub binary: bool,
    /// Rows for each Execute; 0 for all at once.
    pub max_rows: i32,
    /// What to send when the server asks for COPY data.
    pub copy: Option<&'a [u8]>,
}

/// Values of the parameters of one run.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Bound {
    /// The values, in the format of the statement.
    pub values: Vec<Option<Vec<u8>>>,
}

impl<'a> Extended<'a> {
    /// One run of an unnamed statement without parameters, in text.
    pub fn once(sql: &'a str) -> Self {
        const NO_VALUES: &[Bound] = &[Bound { values: Vec::new() }];
        Self {
            name: "",
            sql,
            types: &[],
            bounds: NO_VALUES,
            binary: false,
            max_rows: 0,
            copy: None,
        }
    }
}

/// Runs by the simple protocol what must succeed.
///
/// # Errors
/// It is refused, or the connection ends.
pub fn run(client: &mut Session, sql: &str) -> Result<()> {
    let replies = client.simple(sql, None)?;
    ensure!(
        Reply::fault(&replies).is_none() && matches!(replies.last(), Some(Reply::Ready(_))),
        "{sql}: {replies:?}"
    );
    Ok(())
}

impl Session {
    /// Connects and logs in.
    ///
    /// # Errors
    /// No connection, a refused login (with the server's message), or an answer that is not of the protocol.
    pub fn connect(target: &Target) -> Result<Self> {
        Self::connect_as(target, "tests")
    }

    /// The same under an `application_name`.
    ///
    /// # Errors
    /// As above.
    pub fn connect_as(target: &Target, application_name: &str) -> Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, target.port))
            .with_context(|| format!("connecting to port {}", target.port))?;
        stream.set_read_timeout(Some(ANSWER_BOUND))?;
        stream.set_write_timeout(Some(ANSWER_BOUND))?;
        stream.set_nodelay(true)?;
        let mut session = Self {
            stream,
            target: target.clone(),
            input: Vec::new(),
            output: Vec::new(),
            key: None,
            parameters: BTreeMap::new(),
            notifications: VecDeque::new(),
        };
        let parameters = [
            ("user", target.user.as_str()),
            ("database", target.database.as_str()),
            ("application_name", application_name),
            ("client_encoding", "UTF8"),
        ];
        let parameters = parameters.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        encode_startup(
            &mut session.output,
            ProtocolVersion { major: 3, minor: 0 },
            parameters,
        );
        session.log_in()?;
        Ok(session)
    }

    fn log_in(&mut self) -> Result<()> {
        let password = self.target.password.clone();
        let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        self.flush()?;
        loop {
            let (tag, body) = self.message()?.context("closed during the login")?;
            match BackendTag::try_from(tag).ok() {
                Some(BackendTag::Authentication) => {
                    match Authentication::decode(&body)? {
                        Authentication::Ok => {}
                        Authentication::Sasl(_) => SaslInitialResponse {
                            mechanism: SCRAM_SHA_256.as_bytes(),
                            data: Some(scram.message()),
                        }
                        .encode(&mut self.output),
                        Authentication::SaslContinue(data) => {
                            scram.update(data)?;
                            SaslResponse {
                                data: scram.message(),
                            }
                            .encode(&mut self.output);
                        }
                        Authentication::SaslFinal(data) => scram.finish(data)?,
                        other => bail!("the server asks for {other:?}"),
                    }
                    self.flush()?;
                }
                Some(BackendTag::BackendKeyData) => self.key = Some(BackendKeyData::decode(&body)?.to_key()),
                Some(BackendTag::ErrorResponse) => bail!("login refused: {}", Fault::decode(&body)?),
                Some(BackendTag::ReadyForQuery) => return Ok(()),
                _ => {}
            }
        }
    }

    /// Asks the server to cancel what this session does.
    ///
    /// # Errors
    /// No connection, or no cancel key.
    pub fn cancel(&self) -> Result<()> {
        self.canceller()?.send()
    }

    /// What cancels this session's statements, for use from elsewhere.
    ///
    /// # Errors
    /// The server gave no cancel key.
    pub fn canceller(&self) -> Result<Canceller> {
        Ok(Canceller {
            port: self.target.port,
            key: self.key.clone().context("the server gave no cancel key")?,
        })
    }

    /// For how long an answer is awaited from here on.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn wait_at_most(&mut self, bound: Duration) -> Result<()> {
        Ok(self.stream.set_read_timeout(Some(bound))?)
    }

    /// Sends a Query and gives the whole answer, ReadyForQuery included.
    ///
    /// # Errors
    /// No answer in time, or an answer that is not of the protocol.
    pub fn simple(&mut self, sql: &str, copy: Option<&[u8]>) -> Result<Vec<Reply>> {
        self.send_simple(sql)?;
        self.answer(copy, false)
    }

    /// Sends a Query and doesn't wait.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn send_simple(&mut self, sql: &str) -> Result<()> {
        Query { sql: sql.as_bytes() }.encode(&mut self.output);
        self.flush()
    }

    /// The answer to what was sent, up to ReadyForQuery.
    ///
    /// # Errors
    /// No answer in time, or an answer that is not of the protocol.
    pub fn rest(&mut self) -> Result<Vec<Reply>> {
        self.answer(None, false)
    }

    /// Runs a statement by the extended protocol; gives the answers up to ReadyForQuery.
    ///
    /// Parse, Describe, Bind, Describe, Execute and Sync travel together. With `max_rows`, Execute is sent again (with a
    /// Sync only at the end, so that the portal lives) until the portal is done.
    ///
    /// # Errors
    /// No answer in time, or an answer that is not of the protocol.
    pub fn extended(&mut self, run: &Extended<'_>) -> Result<Vec<Reply>> {
        self.put_statement(run)?;
        encode_sync(&mut self.output);
        self.flush()?;
        self.answer(run.copy, true)
    }

    fn put_statement(&mut self, run: &Extended<'_>) -> Result<()> {
        let types: Vec<u8> = run.types.iter().flat_map(|oid| oid.to_be_bytes()).collect();
        let types = Oids::from_raw(&types).context("parameter types")?;
        let name = run.name.as_bytes();
        Parse {
            name,
            sql: run.sql.as_bytes(),
            parameter_types: types,
        }
        .encode(&mut self.output);
        Describe {
            target: Named::Statement,
            name,
        }
        .encode(&mut self.output);
        for bound in run.bounds {
            self.put_run(name, bound, run.binary, run.max_rows);
        }
        if !run.name.is_empty() {
            Close {
                target: Named::Statement,
                name,
            }
            .encode(&mut self.output);
        }
        Ok(())
    }

    /// Sends batches one after the other without waiting, each with a Sync of its own; gives the answer of each.
    ///
    /// # Errors
    /// No answer in time, or an answer that is not of the protocol.
    pub fn pipeline(&mut self, batches: &[Vec<Extended<'_>>]) -> Result<Vec<Vec<Reply>>> {
        for batch in batches {
            for run in batch {
                self.put_statement(run)?;
            }
            encode_sync(&mut self.output);
        }
        self.flush()?;
        batches.iter().map(|_| self.answer(None, true)).collect()
    }

    fn put_run(&mut self, name: &[u8], bound: &Bound, binary: bool, max_rows: i32) {
        /// Enough Executes to read what the tests read in portions.
        const PORTIONS: usize = 8;
        let formats = if binary {
            FormatCodes::BINARY
        } else {
            FormatCodes::TEXT
        };
        let values: Vec<Option<&[u8]>> = bound.values.iter().map(|value| value.as_deref()).collect();
        let value_formats = if values.is_empty() {
            FormatCodes::TEXT
        } else {
            formats
        };
        Bind::encode(&mut self.output, b"", name, value_formats, &values, formats);
        Describe {
            target: Named::Portal,
            name: b"",
        }
        .encode(&mut self.output);
        let portions = if max_rows == 0 { 1 } else { PORTIONS };
        for _ in 0..portions {
            Execute {
                portal: b"",
                max_rows,
            }
            .encode(&mut self.output);
        }
    }

    /// Sends these bytes, whether they are messages or not.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.output.extend_from_slice(bytes);
        self.flush()
    }

    /// Reads so many bytes of what the server sends, whatever they mean, and forgets them.
    ///
    /// # Errors
    /// The server closes before, or takes too long.
    pub fn read_some(&mut self, count: usize) -> Result<()> {
        let mut bytes = vec![0; count];
        Ok(self.stream.read_exact(&mut bytes)?)
    }

    /// Closes the client's side of the connection; answers still come.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn finish_sending(&mut self) -> Result<()> {
        match self.stream.shutdown(Shutdown::Write) {
            // The server was faster.
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(()),
            closed => Ok(closed?),
        }
    }

    /// Everything that the server still says until it closes the connection.
    ///
    /// # Errors
    /// It doesn't close in time, or says what is not of the protocol.
    pub fn until_closed(&mut self) -> Result<Vec<Reply>> {
        let mut replies = Vec::new();
        while let Some((tag, body)) = self.message()? {
            replies.extend(Reply::decode(tag, &body)?);
            if replies.len() > REPLIES_MAX {
                bail!("more than {REPLIES_MAX} messages");
            }
        }
        Ok(replies)
    }

    /// The next message as it came, its tag and its body; `None` if the server closed.
    ///
    /// # Errors
    /// No message in time, or bytes that are not of the protocol.
    pub fn frame(&mut self) -> Result<Option<(u8, Vec<u8>)>> {
        self.message()
    }

    /// Ends the session as a client does that leaves.
    pub fn close(mut self) {
        encode_terminate(&mut self.output);
        // The server may have closed already, which is what is wanted.
        let _ = self.flush();
    }

    fn answer(&mut self, copy: Option<&[u8]>, sync: bool) -> Result<Vec<Reply>> {
        let mut replies = Vec::new();
        while replies.len() < REPLIES_MAX {
            let Some((tag, body)) = self.message()? else {
                replies.push(Reply::Gone);
                return Ok(replies);
            };
            let Some(reply) = Reply::decode(tag, &body)? else {
                continue;
            };
            if let Reply::CopyIn(..) = reply {
                self.put_copy(copy.unwrap_or_default());
                if sync {
                    // The Sync that travelled with the statement is not heeded during COPY.
                    encode_sync(&mut self.output);
                }
                self.flush()?;
            }
            let done = matches!(reply, Reply::Ready(_));
            replies.push(reply);
            if done {
                return Ok(replies);
            }
        }
        bail!("an answer of more than {REPLIES_MAX} messages")
    }

    fn put_copy(&mut self, data: &[u8]) {
        /// Small, so that rows are cut between messages.
        const CHUNK: usize = 57;
        for chunk in data.chunks(CHUNK) {
            copy::CopyData { data: chunk }.encode(&mut self.output);
        }
        copy::encode_copy_done(&mut self.output);
    }

    fn flush(&mut self) -> Result<()> {
        let output = std::mem::take(&mut self.output);
        self.stream.write_all(&output).context("writing to the server")
    }

    /// The next message; `None` if the server closed.
    fn message(&mut self) -> Result<Option<(u8, Vec<u8>)>> {
        /// What is asked of the socket at once.
        const CHUNK: usize = 64 * 1024;
        loop {
            match frame::scan(&self.input, MESSAGE_MAX) {
                Scan::Frame { tag, len } => {
                    let message: Vec<u8> = self.input.drain(..len).collect();
                    let body = frame::body(&message).to_vec();
                    if tag == BackendTag::ParameterStatus.byte() {
                        self.note_parameter(&body)?;
                    }
                    if tag == BackendTag::NotificationResponse.byte() {
                        self.note_notification(&body)?;
                    }
                    return Ok(Some((tag, body)));
                }
                Scan::NeedMore { .. } => {}
                Scan::Malformed(error) => bail!("a malformed message: {error}"),
            }
            let mut chunk = vec![0; CHUNK];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(None),
                Ok(read) => self
                    .input
                    .extend_from_slice(chunk.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
                // A signal, as of a child that ended.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("reading an answer"),
            }
        }
    }

    /// The next notification; waits for it where none has come.
    ///
    /// # Errors
    /// None comes in time, or the server says something else.
    pub fn notification(&mut self) -> Result<(String, String)> {
        loop {
            if let Some(notification) = self.notifications.pop_front() {
                return Ok(notification);
            }
            let (tag, body) = self.message()?.context("closed instead of a notification")?;
            if let Some(reply) = Reply::decode(tag, &body)? {
                bail!("{reply:?} instead of a notification");
            }
        }
    }

    fn note_notification(&mut self, body: &[u8]) -> Result<()> {
        let notification = NotificationResponse::decode(body)?;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        self.notifications
            .push_back((text(notification.channel), text(notification.payload)));
        Ok(())
    }

    fn note_parameter(&mut self, body: &[u8]) -> Result<()> {
        let status = ParameterStatus::decode(body)?;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        self.parameters.insert(text(status.name), text(status.value));
        Ok(())
    }
}
