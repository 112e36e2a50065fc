//! Opening a connection: socket, TLS, login, up to the first ReadyForQuery.

use std::io;
use std::sync::Arc;

use rustls_pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{TlsConnector, TlsStream};
use topology::Mono;
use wire::backend::{Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus};
use wire::startup::{ProtocolVersion, encode_ssl_request, encode_startup};
use wire::tag::BackendTag;
use wire::{CancelKey, frame};

use crate::auth::{Channel, Login, Step};
use crate::certificate;
use crate::connection::{BackendConnection, ServerParameters};
use crate::error::{ConnectError, ServerError};
use crate::stream::Stream;
use crate::target::{Address, BackendTarget, Replication};
use crate::tls::TlsMode;

/// The longest message that is read while logging in.
const MAX_LOGIN_FRAME: usize = 256 * 1024;

/// Connects to `target` and logs in. `clock` is read once, when ReadyForQuery has arrived.
///
/// # Errors
/// See [`ConnectError`]; all of it together takes at most `target.connect_timeout`.
pub async fn connect(
    target: &BackendTarget,
    clock: impl Fn() -> Mono,
) -> Result<BackendConnection, ConnectError> {
    let opening = Box::pin(async {
        let stream = open(target).await?;
        log_in(target, stream, clock).await
    });
    match tokio::time::timeout(target.connect_timeout, opening).await {
        Ok(result) => result,
        Err(_) => Err(ConnectError::Timeout(target.connect_timeout)),
    }
}

/// Opens the socket and negotiates TLS: everything before the login. The caller bounds the time.
///
/// # Errors
/// See [`ConnectError`].
pub async fn open(target: &BackendTarget) -> Result<Stream, ConnectError> {
    match &target.address {
        Address::Unix { .. } => {
            let unix = UnixStream::connect(target.address.to_string()).await;
            unix.map(Stream::Unix).map_err(ConnectError::Unreachable)
        }
        Address::Tcp { host, port } => {
            let tcp = TcpStream::connect((host.as_str(), *port))
                .await
                .map_err(ConnectError::Unreachable)?;
            let stream = Stream::Tcp(tcp);
            stream.tune(&target.tcp).map_err(ConnectError::Unreachable)?;
            negotiate_tls(target, host, stream).await
        }
    }
}

async fn negotiate_tls(
    target: &BackendTarget,
    host: &str,
    mut stream: Stream,
) -> Result<Stream, ConnectError> {
    let Some(config) = target.tls.config() else {
        return Ok(stream);
    };
    let mut request = Vec::new();
    encode_ssl_request(&mut request);
    stream
        .write_all(&request)
        .await
        .map_err(ConnectError::Unreachable)?;
    // One byte and no more: bytes behind it would have come unencrypted.
    let mut answer = [0];
    stream
        .read_exact(&mut answer)
        .await
        .map_err(ConnectError::Unreachable)?;
    let tcp = match (answer, stream) {
        ([b'S'], Stream::Tcp(tcp)) => tcp,
        ([b'N'], stream) if target.tls.mode() == TlsMode::Prefer => return Ok(stream),
        ([b'N'], _) => return Err(ConnectError::NoTls),
        ([other], _) => return Err(ConnectError::Unexpected(char::from(other))),
    };
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| ConnectError::Tls(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
    let tls = TlsConnector::from(Arc::clone(config))
        .connect(name, tcp)
        .await
        .map_err(ConnectError::Tls)?;
    Ok(Stream::Tls(Box::new(TlsStream::Client(tls))))
}

async fn log_in(
    target: &BackendTarget,
    mut stream: Stream,
    clock: impl Fn() -> Mono,
) -> Result<BackendConnection, ConnectError> {
    let startup = startup_packet(target)?;
    stream
        .write_all(&startup)
        .await
        .map_err(ConnectError::Unreachable)?;
    let channel = match stream.peer_certificate() {
        None if stream.is_tls() => Channel::Tls { end_point: None },
        None => Channel::Plain,
        Some(der) => Channel::Tls {
            end_point: certificate::end_point_hash(der),
        },
    };
    let mut login = Login::new(target, channel);
    let mut parameters = ServerParameters::default();
    let mut key: Option<CancelKey> = None;
    let mut frame_buf = Vec::new();
    loop {
        read_frame(&mut stream, &mut frame_buf).await?;
        let body = frame::body(&frame_buf);
        let tag = frame_buf.first().copied().unwrap_or_default();
        match BackendTag::try_from(tag)? {
            BackendTag::Authentication => match login.on_request(&Authentication::decode(body)?)? {
                Step::Send(answer) => stream
                    .write_all(&answer)
                    .await
                    .map_err(ConnectError::Unreachable)?,
                Step::Wait => {}
                Step::Done => break,
            },
            BackendTag::NoticeResponse => {}
            BackendTag::ErrorResponse => {
                return Err(ConnectError::Server(ServerError::from_frame(&frame_buf)?));
            }
            BackendTag::NegotiateProtocolVersion => {
                negotiated(target, NegotiateProtocolVersion::decode(body)?)?
            }
            _ => return Err(ConnectError::Unexpected(char::from(tag))),
        }
    }
    loop {
        read_frame(&mut stream, &mut frame_buf).await?;
        let body = frame::body(&frame_buf);
        let tag = frame_buf.first().copied().unwrap_or_default();
        match BackendTag::try_from(tag)? {
            BackendTag::ParameterStatus => {
                let status = ParameterStatus::decode(body)?;
                parameters.set(status.name, status.value);
            }
            BackendTag::BackendKeyData => key = Some(BackendKeyData::decode(body)?.to_key()),
            BackendTag::ReadyForQuery => {
                return Ok(BackendConnection {
                    stream: stream.onto_ring().map_err(ConnectError::Unreachable)?,
                    parameters,
                    key,
                    opened_at: clock(),
                });
            }
            BackendTag::NoticeResponse => {}
            BackendTag::ErrorResponse => {
                return Err(ConnectError::Server(ServerError::from_frame(&frame_buf)?));
            }
            _ => return Err(ConnectError::Unexpected(char::from(tag))),
        }
    }
}

/// No option was asked for, so only an older version may come of it. Only the length of the cancel key depends on that.
fn negotiated(target: &BackendTarget, answer: NegotiateProtocolVersion<'_>) -> Result<(), ConnectError> {
    let older = (ProtocolVersion::V3_0..target.version).contains(&answer.version);
    if older && answer.unknown_options.is_empty() {
        Ok(())
    } else {
        Err(ConnectError::ProtocolVersion)
    }
}

fn startup_packet(target: &BackendTarget) -> Result<Vec<u8>, ConnectError> {
    let own = [("user", &target.user), ("database", &target.database)];
    let mut pairs: Vec<(&[u8], &[u8])> = Vec::with_capacity(own.len() + target.parameters.len() + 1);
    for (name, value) in own {
        if value.contains('\0') {
            return Err(ConnectError::NulByte(name));
        }
        pairs.push((name.as_bytes(), value.as_bytes()));
    }
    for (name, value) in &target.parameters {
        if name.contains('\0') || value.contains('\0') {
            return Err(ConnectError::NulByte("startup parameters"));
        }
        pairs.push((name.as_bytes(), value.as_bytes()));
    }
    if target.replication == Replication::Database {
        pairs.push((b"replication", b"database"));
    }
    let mut packet = Vec::new();
    encode_startup(&mut packet, target.version, pairs);
    Ok(packet)
}

/// Reads one frame and nothing behind it, so that whoever takes over the socket misses nothing.
async fn read_frame(stream: &mut Stream, frame_buf: &mut Vec<u8>) -> Result<(), ConnectError> {
    let mut head = [0; frame::HEADER_LEN];
    stream
        .read_exact(&mut head)
        .await
        .map_err(ConnectError::Unreachable)?;
    let len = frame::header(&head, MAX_LOGIN_FRAME)?.map_or(frame::HEADER_LEN, |header| header.len);
    frame_buf.clear();
    frame_buf.extend_from_slice(&head);
    frame_buf.resize(len, 0);
    let body = frame_buf.get_mut(frame::HEADER_LEN..).unwrap_or_default();
    stream.read_exact(body).await.map_err(ConnectError::Unreachable)
}

#[cfg(test)]
mod tests;
