//! The one question asked of a broker: which brokers does the cluster have?
//!
//! Format: Apache Kafka protocol guide, request header v1 and Metadata v1.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// For connecting and the answer together.
const BOUND: Duration = Duration::from_secs(2);
/// The answer of one broker about no topic takes some fifty bytes.
const ANSWER_MAX: usize = 64 * 1024;
const METADATA: i16 = 3;
const VERSION: i16 = 1;
const CORRELATION: i32 = 7;

/// How many brokers the broker on this port knows, itself included. It answers 0 or not at all
/// until it has registered with the controller.
pub(super) async fn brokers(port: u16) -> io::Result<i32> {
    match tokio::time::timeout(BOUND, ask(port)).await {
        Ok(answer) => answer,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn ask(port: u16) -> io::Result<i32> {
    let mut request = Vec::new();
    request.extend(METADATA.to_be_bytes());
    request.extend(VERSION.to_be_bytes());
    request.extend(CORRELATION.to_be_bytes());
    // No client id; then an empty array of topics.
    request.extend((-1_i16).to_be_bytes());
    request.extend(0_i32.to_be_bytes());
    let length = u32::try_from(request.len()).map_err(io::Error::other)?;

    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(&request).await?;
    let length = usize::try_from(stream.read_u32().await?).map_err(io::Error::other)?;
    if length > ANSWER_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    if stream.read_i32().await? != CORRELATION {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // The array of brokers is first, and an array begins with its length.
    stream.read_i32().await
}
