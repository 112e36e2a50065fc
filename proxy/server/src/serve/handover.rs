//! The side of a process that is replaced: it gives its listening sockets to the one that comes after it.
//!
//! A thread of its own waits for a successor (it sleeps in the kernel meanwhile); the main task decides. The successor asks,
//! gets the sockets, makes itself ready while this process goes on accepting, and says so. Only then this process accepts
//! no more. Whatever fails before that moment leaves everything as it was.

use crate::serve::passing::{Channel, Meeting};
use crate::shared::Shared;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use wire::CancelKey;

/// What a successor says first. The number is that of this conversation's form.
pub(crate) const TAKEOVER: &str = "takeover 1";
/// Before the address of a socket.
pub(crate) const SOCKET: &str = "socket ";
/// Before the path of a unix socket, with its lock.
pub(crate) const LOCK: &str = "lock ";
/// With the socket that successors connect to.
pub(crate) const MEETING: &str = "meeting";
/// There are no more sockets.
pub(crate) const END: &str = "end";
/// The successor accepts connections.
pub(crate) const READY: &str = "ready";
/// The predecessor accepts no more.
pub(crate) const RELEASED: &str = "released";
/// Before the key of a cancel request: process id and secret, in hexadecimal digits.
pub(crate) const CANCEL: &str = "cancel ";
/// Before a reason why not.
pub(crate) const REFUSED: &str = "refused: ";

/// For each text of a successor, but for the one that it is ready: that may take as long as its start.
const TEXT_BOUND: Duration = Duration::from_secs(10);

/// After a failure: one that lasts must not keep us busy.
const PAUSE: Duration = Duration::from_millis(100);

/// What the main task is asked for.
#[derive(Debug)]
pub(crate) enum Request {
    /// The sockets, each with what is said of it.
    Sockets(oneshot::Sender<io::Result<Vec<(String, OwnedFd)>>>),
    /// The successor accepts connections: stop doing so.
    Release(oneshot::Sender<()>),
}

/// The name under which the process with these settings waits for its successor.
pub(crate) fn meeting_name(settings: &settings::Settings) -> String {
    let (cluster, proxy, port) = (&settings.cluster, &settings.proxy_id, settings.listen.port);
    format!("ringway/{cluster}/{proxy}/{port}")
}

/// Waits for a successor on a thread of its own, until one has come and gone.
pub(crate) fn wait(meeting: Meeting, shared: &Arc<Shared>) -> io::Result<mpsc::Receiver<Request>> {
    let (ask, requests) = mpsc::channel(1);
    let shared = Arc::downgrade(shared);
    std::thread::Builder::new()
        .name("ringway-handover".to_owned())
        .spawn(move || {
            while let Err(error) = serve(&meeting, &ask, &shared) {
                tracing::warn!(%error, "a takeover did not happen");
                if ask.is_closed() {
                    return;
                }
                // Whoever comes next should not find the same error at full speed.
                #[allow(clippy::disallowed_methods, reason = "this thread has nothing else to do")]
                std::thread::sleep(PAUSE);
            }
        })?;
    Ok(requests)
}

fn failed(why: &'static str) -> io::Error {
    io::Error::other(why)
}

/// `Ok` once a successor has taken over and is gone itself.
fn serve(meeting: &Meeting, ask: &mpsc::Sender<Request>, shared: &Weak<Shared>) -> io::Result<()> {
    let successor = meeting.accept()?;
    if !successor.is_trusted()? {
        return Err(failed("another user's process asked for the sockets"));
    }
    successor.bound(Some(TEXT_BOUND))?;
    match successor.receive()? {
        Some((text, _)) if text == TAKEOVER => {}
        Some(_) => {
            successor.send(&format!("{REFUSED}only `{TAKEOVER}` is understood"), None)?;
            return Err(failed("the process that asked is of another version"));
        }
        None => return Err(failed("the process that asked went away")),
    }
    give(meeting, ask, &successor)?;
    successor.bound(None)?;
    match successor.receive()? {
        Some((text, _)) if text == READY => {}
        _ => return Err(failed("the new process ended before it was ready")),
    }
    let (reply, done) = oneshot::channel();
    ask.blocking_send(Request::Release(reply))
        .map_err(|_| failed("this process is ending"))?;
    done.blocking_recv()
        .map_err(|_| failed("this process is ending"))?;
    // From here on the successor is the one that counts, whatever becomes of this connection.
    if let Err(error) = successor.send(RELEASED, None) {
        tracing::warn!(%error, "the successor was not told that this process accepts no more");
    }
    pass_cancels_on(&successor, shared);
    Ok(())
}

fn give(meeting: &Meeting, ask: &mpsc::Sender<Request>, successor: &Channel) -> io::Result<()> {
    let (reply, sockets) = oneshot::channel();
    ask.blocking_send(Request::Sockets(reply))
        .map_err(|_| failed("this process is ending"))?;
    let sockets = sockets
        .blocking_recv()
        .map_err(|_| failed("this process is ending"))??;
    for (text, descriptor) in &sockets {
        successor.send(text, Some(descriptor))?;
    }
    successor.send(MEETING, Some(&meeting.share()?))?;
    successor.send(END, None)
}

/// Clients of this process send their cancel requests to the port, which is the successor's.
fn pass_cancels_on(successor: &Channel, shared: &Weak<Shared>) {
    while let Ok(Some((text, _))) = successor.receive() {
        let Some(shared) = shared.upgrade() else { return };
        if let Some(key) = text.strip_prefix(CANCEL).and_then(cancel_key) {
            shared.cancel_anywhere(&key);
        }
    }
}

/// How a cancel request is passed on.
pub(crate) fn cancel_text(key: &CancelKey) -> String {
    let secret: String = key.secret.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{CANCEL}{:x} {secret}", key.pid)
}

fn cancel_key(text: &str) -> Option<CancelKey> {
    let (pid, secret) = text.split_once(' ')?;
    let bytes = secret.as_bytes().chunks(2).map(|digits| {
        let digits = str::from_utf8(digits).ok()?;
        u8::from_str_radix(digits, 16).ok()
    });
    Some(CancelKey {
        pid: u32::from_str_radix(pid, 16).ok()?,
        secret: bytes.collect::<Option<Vec<u8>>>()?.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::{CANCEL, cancel_key, cancel_text};
    use wire::CancelKey;

    #[test]
    fn cancel_keys_survive_being_passed_on() {
        let key = CancelKey {
            pid: u32::MAX,
            secret: Box::new([0, 1, 0xab, 0xff]),
        };
        let text = cancel_text(&key);
        assert_eq!(text, "cancel ffffffff 0001abff");
        assert!(cancel_key(text.strip_prefix(CANCEL).unwrap()).is_some_and(|passed| passed == key));
        for wrong in ["", "1", "x 00", "1 0g"] {
            assert!(cancel_key(wrong).is_none(), "{wrong}");
        }
    }
}
