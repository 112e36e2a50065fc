//! A statement of our own on a connection that nobody holds: is it alive, make it as new.

use bytes::BytesMut;
use std::io;
use std::time::Duration;
use wire::backend::ParameterStatus;
use wire::frame::{self, Scan};
use wire::frontend::Query;

use crate::connection::BackendConnection;

/// The longest message that an answer may have.
const MAX_FRAME: usize = 1 << 20;
/// How much is read at a time.
const READ_CHUNK: usize = 4 << 10;

/// Runs `sql` by the simple protocol and forgets its rows. `false`: it failed, the connection broke or left its transaction open, or
/// it took longer than `bound`; the connection is useless then.
pub(crate) async fn run(conn: &mut BackendConnection, sql: &str, bound: Duration) -> bool {
    let exchange = exchange(conn, sql);
    matches!(tokio::time::timeout(bound, exchange).await, Ok(Ok(true)))
}

async fn exchange(conn: &mut BackendConnection, sql: &str) -> io::Result<bool> {
    let mut out = Vec::with_capacity(sql.len() + frame::HEADER_LEN + 1);
    Query { sql: sql.as_bytes() }.encode(&mut out);
    conn.stream.write_all(&out).await?;
    let mut sound = true;
    let mut input = BytesMut::with_capacity(READ_CHUNK);
    let mut chunk = [0; READ_CHUNK];
    loop {
        while let Scan::Frame { tag, len } = frame::scan(&input, MAX_FRAME) {
            let message = input.split_to(len);
            let body = frame::body(&message);
            match tag {
                b'Z' => return Ok(sound && body == b"I" && input.is_empty()),
                b'E' => sound = false,
                b'S' => {
                    if let Ok(status) = ParameterStatus::decode(body) {
                        conn.parameters.set(status.name, status.value);
                    }
                }
                // COPY would wait for us.
                b'G' | b'W' => return Ok(false),
                _ => {}
            }
        }
        if let Scan::Malformed(_) = frame::scan(&input, MAX_FRAME) {
            return Ok(false);
        }
        match conn.stream.read(&mut chunk).await? {
            0 => return Ok(false),
            n => input.extend_from_slice(chunk.get(..n).unwrap_or_default()),
        }
    }
}
