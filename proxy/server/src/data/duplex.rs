//! Waiting for both sides of a client at once: its own socket, and that of the server that works for it.

use crate::data::io::{ClientIo, MAX_READ_AHEAD};
use crate::data::relay::OUT_HIGH_WATER;
use crate::data::thread::{Backend, ClientInfo, Turn};
use std::io;
use std::task::Poll;
use std::time::Duration;

/// What waits for the server before no more of the client's messages are taken.
pub(crate) const UNSENT_HIGH_WATER: usize = 128 << 10;

/// Whether more of the client can be taken in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Appetite {
    /// It is read.
    More,
    /// What waits for the server has to become less first.
    Full,
    /// Nothing is owed: what waits for the server is sent, and that is all.
    Nothing,
}

/// Whether the client is sent what is there for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sending {
    /// Not before the server has said more: it would only make a packet of its own.
    Later,
    /// As it comes.
    Now,
}

/// What ended a wait.
#[derive(Debug)]
pub(crate) enum Woken {
    /// So many bytes of the server's are in the scratch buffer.
    Backend(io::Result<usize>),
    /// The client sent more.
    Client,
    /// What waited for the server has become less, or is gone where nothing else is waited for.
    Room,
    /// The client closed its connection.
    ClientGone,
}

impl ClientIo {
    /// Sends to the server and to the client what is there for them, until one of them has said more.
    ///
    /// With more unsent than the client takes, the server is not read; with more unsent than the server takes, the client
    /// is not.
    pub(crate) async fn exchange(
        &mut self,
        backend: &mut Backend,
        appetite: Appetite,
        sending: Sending,
    ) -> Woken {
        let scratch = self.scratch();
        std::future::poll_fn(|cx| {
            if let Poll::Ready(Err(error)) = backend.poll_send(cx) {
                // What the server said before it closed is worth more than the failed write.
                if !is_closed(&error) {
                    return Poll::Ready(Woken::Backend(Err(error)));
                }
            }
            let has_room = match appetite {
                Appetite::More => false,
                Appetite::Full => backend.unsent_len() < UNSENT_HIGH_WATER,
                Appetite::Nothing => backend.unsent_len() == 0,
            };
            if has_room {
                return Poll::Ready(Woken::Room);
            }
            loop {
                if self.out.len() < OUT_HIGH_WATER
                    && let Poll::Ready(read) = backend.poll_read(cx, &mut scratch.borrow_mut())
                {
                    return Poll::Ready(Woken::Backend(read));
                }
                if sending == Sending::Later || self.out.is_empty() {
                    break;
                }
                let was_full = self.out.len() >= OUT_HIGH_WATER;
                if let Poll::Ready(Err(_)) = self.poll_send(cx) {
                    return Poll::Ready(Woken::ClientGone);
                }
                if !was_full || self.out.len() >= OUT_HIGH_WATER {
                    break;
                }
            }
            if self.input.len() >= MAX_READ_AHEAD || appetite == Appetite::Full {
                return Poll::Pending;
            }
            match self.poll_fill(cx) {
                Poll::Ready(Ok(n)) if n > 0 => Poll::Ready(Woken::Client),
                Poll::Ready(_) => Poll::Ready(Woken::ClientGone),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

/// What ended the rest of a client that holds a server connection.
#[derive(Debug)]
pub(crate) enum Rested {
    /// As without one.
    Turn(Turn),
    /// So many bytes of the server's are in the scratch buffer.
    Backend(io::Result<usize>),
}

impl ClientInfo {
    /// As [`ClientInfo::turn`], and listens to the server as well.
    pub(crate) async fn turn_beside(
        &self,
        io: &mut ClientIo,
        backend: &mut Backend,
        bound: Option<Duration>,
        may_stop: bool,
    ) -> Rested {
        let scratch = io.scratch();
        let turn = std::future::poll_fn(|cx| {
            if let Poll::Ready(read) = backend.poll_read(cx, &mut scratch.borrow_mut()) {
                return Poll::Ready(Rested::Backend(read));
            }
            self.poll_turn(cx, io, may_stop).map(Rested::Turn)
        });
        match bound {
            None => turn.await,
            // Boxed: few have a bound, and a timer is large.
            Some(bound) => Box::pin(tokio::time::timeout(bound, turn))
                .await
                .unwrap_or(Rested::Turn(Turn::TimedOut)),
        }
    }
}
