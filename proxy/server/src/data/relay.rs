//! A backend's answers on their way to the client, from socket to socket.

use crate::data::io::{ClientIo, Wake};
use crate::data::thread::Backend;
use session::ReplyTracker;
use session::relay::{Answer, Fault, RelayEnd, ServerError, take};
use std::io;
use wire::SqlState;

/// What the client has not taken yet before the backend is no longer read.
pub(crate) const OUT_HIGH_WATER: usize = 128 << 10;

/// Why the answers of a backend did not all arrive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayError {
    /// The server's socket closed or failed.
    #[error("server connection lost: {0}")]
    BackendLost(io::Error),
    /// The server said that it ends the connection, in these words.
    #[error("server connection ended by the server: {0:?}")]
    BackendEnded(SqlState, ServerError),
    /// The client's socket closed or failed.
    #[error("client connection lost")]
    ClientLost,
    /// The server sent something that can't come here.
    #[error("unexpected message {0:?} from the server")]
    Unexpected(char),
}

impl From<Fault> for RelayError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Ended(sqlstate, said) => Self::BackendEnded(sqlstate, said),
            Fault::Unexpected(tag) => Self::Unexpected(tag),
        }
    }
}

/// Forwards answers until everything that `tracker` expects has come.
///
/// # Errors
/// When either side is lost or the server breaks the protocol; the connection to the server is useless then.
pub(crate) async fn relay(
    client: &mut ClientIo,
    backend: &mut Backend,
    tracker: &mut ReplyTracker,
    answer: &mut Answer,
) -> Result<RelayEnd, RelayError> {
    relay_after(client, backend, tracker, answer, None).await
}

/// The same where somebody has waited already: `first` is what woke him, and where in the scratch buffer the bytes that
/// were read then begin.
///
/// # Errors
/// As [`relay`].
pub(crate) async fn relay_after(
    client: &mut ClientIo,
    backend: &mut Backend,
    tracker: &mut ReplyTracker,
    answer: &mut Answer,
    mut first: Option<(usize, Wake)>,
) -> Result<RelayEnd, RelayError> {
    tracker.emit_local(&mut client.out);
    if tracker.is_done() {
        return Ok(RelayEnd::Flushed);
    }
    let mut cursor = std::mem::take(backend.cursor());
    // Before the server has said anything, what is there for the client would only make a packet of its own.
    let mut may_send = false;
    let scratch = client.scratch();
    loop {
        let (from, wake) = match first.take() {
            Some(first) => first,
            None => (0, client.wait_for(backend, may_send, OUT_HIGH_WATER).await),
        };
        may_send = true;
        match wake {
            Wake::Backend(Ok(0)) => {
                return Err(RelayError::BackendLost(io::ErrorKind::UnexpectedEof.into()));
            }
            Wake::Backend(Err(error)) => return Err(RelayError::BackendLost(error)),
            Wake::ClientGone => return Err(RelayError::ClientLost),
            Wake::Backend(Ok(n)) => {
                let scratch = scratch.borrow();
                let data = scratch.get(from..n).unwrap_or_default();
                if let Some(end) = take(data, &mut cursor, tracker, answer, &mut client.out)? {
                    *backend.cursor() = cursor;
                    return Ok(end);
                }
            }
        }
    }
}
