//! The stream of a logical slot: what PostgreSQL calls the streaming replication protocol.

use crate::config::SlotName;
use crate::control::open;
use crate::error::Error;
use bytes::{Buf, Bytes};
use pool::{BackendTarget, ControlConnection, Replication};
use std::time::{Duration, SystemTime};
use tokio::time::timeout;
use topology::Lsn;

/// How long the server may take to begin the stream, or to take a status.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Seconds from the Unix epoch to PostgreSQL's (2000-01-01).
const POSTGRES_EPOCH_SECONDS: u64 = 946_684_800;

/// A slot being read.
#[derive(Debug)]
pub(crate) struct SlotStream {
    connection: ControlConnection,
}

/// What the server sends.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A message of the output plugin.
    Change(Bytes),
    /// Everything up to here is decoded and sent.
    Keepalive {
        /// The place.
        decoded: Lsn,
        /// Whether an answer is wanted at once.
        wants_reply: bool,
    },
}

impl SlotStream {
    /// Begins to read `slot` at `from`.
    pub(crate) async fn start(target: &BackendTarget, slot: &SlotName, from: Lsn) -> Result<Self, Error> {
        let mut connection = open(target, Replication::Database).await?;
        let sql = format!(
            "START_REPLICATION SLOT \"{slot}\" LOGICAL {from} \
             (proto_version '1', publication_names 'ringway', messages 'true')"
        );
        let started = timeout(ANSWER_TIMEOUT, connection.start_copy_both(&sql)).await;
        started
            .map_err(|_| Error::Silent(ANSWER_TIMEOUT))?
            .map_err(Error::from_server)?;
        Ok(Self { connection })
    }

    /// Waits for the next message. Giving up the call loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Incoming, Error> {
        let data = self
            .connection
            .read_copy_data()
            .await
            .map_err(Error::from_server)?
            .ok_or(Error::StreamEnded)?;
        parse(data)
    }

    /// Confirms everything up to `confirmed`, and asks for a keepalive if `wants_reply`.
    pub(crate) async fn confirm(&mut self, confirmed: Lsn, wants_reply: bool) -> Result<(), Error> {
        let status = status(confirmed, wants_reply);
        let sent = timeout(ANSWER_TIMEOUT, self.connection.write_copy_data(&status)).await;
        sent.map_err(|_| Error::Silent(ANSWER_TIMEOUT))?
            .map_err(Error::from_server)
    }

    /// Ends the connection.
    pub(crate) async fn close(self) {
        self.connection.close().await;
    }
}

/// Reads one message.
pub(crate) fn parse(mut data: Bytes) -> Result<Incoming, Error> {
    let short = |_| Error::Order("a short message of the replication stream");
    match data.try_get_u8().map_err(short)? {
        b'w' => {
            // Beginning, end and time of sending say nothing about a transaction's end.
            for _ in 0..3 {
                data.try_get_u64().map_err(short)?;
            }
            Ok(Incoming::Change(data))
        }
        b'k' => {
            let decoded = Lsn(data.try_get_u64().map_err(short)?);
            data.try_get_u64().map_err(short)?;
            Ok(Incoming::Keepalive {
                decoded,
                wants_reply: data.try_get_u8().map_err(short)? != 0,
            })
        }
        _ => Err(Error::Order("an unknown message of the replication stream")),
    }
}

fn status(confirmed: Lsn, wants_reply: bool) -> Vec<u8> {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let now = now.saturating_sub(Duration::from_secs(POSTGRES_EPOCH_SECONDS));
    let mut out = Vec::with_capacity(34);
    out.push(b'r');
    // Written, flushed, applied: one thing here.
    for _ in 0..3 {
        out.extend_from_slice(&confirmed.0.to_be_bytes());
    }
    out.extend_from_slice(&u64::try_from(now.as_micros()).unwrap_or(0).to_be_bytes());
    out.push(u8::from(wants_reply));
    out
}

#[cfg(test)]
mod tests {
    use super::{Incoming, parse, status};
    use bytes::Bytes;
    use proptest::prelude::*;
    use topology::Lsn;

    #[test]
    fn keepalives_and_changes() {
        let mut keepalive = vec![b'k'];
        keepalive.extend_from_slice(&7u64.to_be_bytes());
        keepalive.extend_from_slice(&[0; 8]);
        keepalive.push(1);
        let parsed = parse(Bytes::from(keepalive)).unwrap();
        assert!(matches!(
            parsed,
            Incoming::Keepalive {
                decoded: Lsn(7),
                wants_reply: true
            }
        ));
        let mut change = vec![b'w'; 25];
        change.extend_from_slice(b"payload");
        assert!(matches!(parse(Bytes::from(change)).unwrap(), Incoming::Change(bytes) if bytes == "payload"));
        assert_eq!(status(Lsn(1), true).len(), 34);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse(Bytes::from(bytes));
        }
    }
}
