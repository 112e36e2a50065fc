//! One question over HTTP to a server of this machine.

use std::io::{Error, ErrorKind, Result};
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// For one answer.
const ANSWER_BOUND: Duration = Duration::from_secs(5);
/// The largest answer that is read: `/metrics` of a small cluster fits many times over.
const ANSWER_MAX: u64 = 8 * 1024 * 1024;

/// Asks, and gives the status and the body.
pub(crate) async fn get(port: u16, path: &str) -> Result<(u16, String)> {
    let late = |_| Error::new(ErrorKind::TimedOut, "no answer in time");
    tokio::time::timeout(ANSWER_BOUND, ask(port, path))
        .await
        .map_err(late)?
}

/// Whether the server says that it is ready.
pub(crate) async fn is_ready(port: u16) -> bool {
    get(port, "/readyz").await.is_ok_and(|(status, _)| status == 200)
}

async fn ask(port: u16, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let malformed = || Error::from(ErrorKind::InvalidData);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(malformed)?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or_else(malformed)?;
    Ok((status, body.to_owned()))
}
