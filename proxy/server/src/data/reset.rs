//! Connections that clients left in the middle of something, made fit for others off everybody's way.

use crate::data::thread::{Backend, Thread};
use bytes::BytesMut;
use pool::BackendTarget;
use session::ReplyTracker;
use session::relay::{self, Answer};
use std::io;
use std::rc::Rc;
use std::time::Duration;
use wire::frame::{self, Scan};
use wire::frontend::Query;

/// How long a server may take before the connection is closed instead.
const RESET_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a server is asked to stop, and how long it may take before it is asked again.
const CANCELS: usize = 5;
const CANCEL_AGAIN: Duration = Duration::from_secs(1);
/// The longest message that may come.
const MAX_MESSAGE: usize = 1 << 20;

/// What a client left on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Left {
    /// An open transaction.
    Transaction,
    /// State of its session.
    Session,
    /// Both.
    Both,
}

/// Rolls back, and takes away all that belongs to the session that was; then the connection goes back to its pool, or is
/// closed if the server doesn't answer in time.
pub(crate) fn reset(thread: &Rc<Thread>, backend: Backend, left: Left) {
    let thread = Rc::clone(thread);
    tokio::task::spawn_local(async move {
        let mut backend = backend;
        let done = tokio::time::timeout(RESET_TIMEOUT, run(&thread, &mut backend, left)).await;
        match done {
            Ok(Ok(())) => backend.release(),
            Ok(Err(error)) => {
                tracing::debug!(endpoint = %backend.endpoint, %error, "a connection could not be reset");
                backend.close();
            }
            Err(_) => {
                tracing::warn!(endpoint = %backend.endpoint, "a connection was not reset in time");
                backend.close();
            }
        }
    });
}

/// Has a server stop what it does for a client that is gone, by what it `owes`, and closes the connection.
///
/// One that waits for more, of a COPY or of a message, sees that no more comes. One that works doesn't notice that the connection is
/// closed: it is asked to stop, and again, as a request that comes before it has begun is lost.
pub(crate) fn stop(thread: &Rc<Thread>, backend: Backend, target: Rc<BackendTarget>, owes: ReplyTracker) {
    let thread = Rc::clone(thread);
    tokio::task::spawn_local(async move {
        let (mut backend, mut owes) = (backend, owes);
        backend.unsent().clear();
        for _ in 0..CANCELS {
            backend.cancel(&target);
            let stopped = async {
                // An error is found by the reads as well.
                let _ = backend.end_sending().await;
                stopped(&thread, &mut backend, &mut owes).await;
            };
            if tokio::time::timeout(CANCEL_AGAIN, stopped).await.is_ok() {
                break;
            }
        }
        backend.close();
    });
}

/// Reads until the server has said all that it owes, or can't say more.
async fn stopped(thread: &Thread, backend: &mut Backend, owes: &mut ReplyTracker) {
    let mut nobody = BytesMut::new();
    while !owes.is_done() && read(thread, backend).await.is_ok() {
        let data = std::mem::take(backend.incoming());
        let taken = relay::take(&data, backend.cursor(), owes, &mut Answer::silent(), &mut nobody);
        if !matches!(taken, Ok(None)) {
            return;
        }
        nobody.clear();
    }
}

async fn run(thread: &Thread, backend: &mut Backend, left: Left) -> io::Result<()> {
    let mut owed = 0;
    let own = thread.settings().pool.server_reset_query.clone();
    let own = own.filter(|sql| {
        !sql.trim_end_matches([';', ' '])
            .eq_ignore_ascii_case("DISCARD ALL")
    });
    // A string of both would be one transaction, in which DISCARD ALL is refused.
    for (sql, needed) in [
        ("ROLLBACK", left != Left::Session),
        // What else it does, afterwards the connection is as it is known to be.
        (
            own.as_deref().unwrap_or_default(),
            left != Left::Transaction && own.is_some(),
        ),
        ("DISCARD ALL", left != Left::Transaction),
    ] {
        if needed {
            Query { sql: sql.as_bytes() }.encode(backend.unsent());
            owed += 1;
        }
    }
    std::future::poll_fn(|cx| backend.poll_send(cx)).await?;
    while owed > 0 {
        match frame::scan(backend.incoming(), MAX_MESSAGE) {
            Scan::Frame { tag, len } => {
                let message = backend.incoming().split_to(len);
                match tag {
                    b'Z' if message.last() == Some(&b'I') => owed -= 1,
                    b'Z' | b'E' => return Err(io::Error::other("the server refused")),
                    _ => {}
                }
            }
            Scan::Malformed(_) => return Err(io::ErrorKind::InvalidData.into()),
            Scan::NeedMore { .. } => read(thread, backend).await?,
        }
    }
    if left != Left::Transaction {
        backend.forget_session();
    }
    Ok(())
}

async fn read(thread: &Thread, backend: &mut Backend) -> io::Result<()> {
    std::future::poll_fn(|cx| {
        let mut scratch = thread.scratch.borrow_mut();
        backend.poll_read(cx, &mut scratch).map(|read| {
            let n = read?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            backend
                .incoming()
                .extend_from_slice(scratch.get(..n).unwrap_or_default());
            Ok(())
        })
    })
    .await
}
