//! The listening sockets of a data thread, and what comes in by them.

use crate::data::peer::Peer;
use crate::shared::Shared;
use pool::Stream;
use socket2::Socket;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// Who serves what comes in by a listening socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Spread {
    /// The thread that accepts it: each thread has a socket of its own, and the kernel spreads.
    Own,
    /// All threads in turn: there are fewer sockets than threads.
    InTurn,
}

/// A listening socket on its way to a thread.
#[derive(Debug)]
pub(crate) struct Door {
    /// The socket.
    pub(crate) socket: Socket,
    /// Who serves what comes in by it.
    pub(crate) spread: Spread,
}

/// A connection that was accepted, on its way to another thread.
#[derive(Debug)]
pub(crate) struct Accepted {
    socket: Detached,
    peer: Peer,
    login: LoginGuard,
}

#[derive(Debug)]
enum Detached {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    fn new(socket: Socket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(if socket.local_addr()?.is_unix() {
            Self::Unix(UnixListener::from_std(socket.into())?)
        } else {
            Self::Tcp(TcpListener::from_std(socket.into())?)
        })
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, Peer)>> {
        Poll::Ready(Ok(match self {
            Self::Tcp(listener) => {
                let (stream, peer) = ready!(listener.poll_accept(cx))?;
                (Stream::from(stream), Peer::Tcp(peer))
            }
            Self::Unix(listener) => {
                let (stream, _) = ready!(listener.poll_accept(cx))?;
                let peer = stream.peer_cred()?;
                (Stream::from(stream), Peer::Unix(peer.into()))
            }
        }))
    }
}

/// The listening sockets of one thread, registered with its runtime.
#[derive(Debug)]
pub(crate) struct Doors {
    listeners: Vec<(Listener, Spread)>,
    /// Which is asked first: one that is never silent must not hide the others.
    first: usize,
}

impl Doors {
    /// Registers them with the runtime that this is called in.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn open(doors: Vec<Door>) -> io::Result<Self> {
        let open = |door: Door| Ok((Listener::new(door.socket)?, door.spread));
        Ok(Self {
            listeners: doors.into_iter().map(open).collect::<io::Result<_>>()?,
            first: 0,
        })
    }

    /// The next connection. Without a listening socket there is none, ever.
    ///
    /// # Errors
    /// Those of the system: the next call may succeed.
    pub(crate) async fn accept(&mut self) -> io::Result<(Stream, Peer, Spread)> {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, Peer, Spread)>> {
        let count = self.listeners.len();
        self.first = self.first.wrapping_add(1);
        for n in 0..count {
            let Some((listener, spread)) = self.listeners.get(self.first.wrapping_add(n) % count) else {
                continue;
            };
            if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                return Poll::Ready(accepted.map(|(stream, peer)| (stream, peer, *spread)));
            }
        }
        Poll::Pending
    }

    /// Accepts no more.
    pub(crate) fn close(&mut self) {
        self.listeners.clear();
    }
}

impl Accepted {
    /// Takes it off this thread's runtime.
    ///
    /// # Errors
    /// When the system refuses, and for TLS and io_uring, which can't be moved.
    pub(crate) fn detach(stream: Stream, peer: Peer, login: LoginGuard) -> io::Result<Self> {
        let socket = match stream {
            Stream::Tcp(tcp) => Detached::Tcp(tcp.into_std()?),
            Stream::Unix(unix) => Detached::Unix(unix.into_std()?),
            Stream::Tls(_) | Stream::Ring(_) => return Err(io::ErrorKind::InvalidInput.into()),
        };
        Ok(Self { socket, peer, login })
    }

    /// Puts it on the runtime that this is called in.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn attach(self) -> io::Result<(Stream, Peer, LoginGuard)> {
        let stream = match self.socket {
            Detached::Tcp(tcp) => Stream::from(TcpStream::from_std(tcp)?),
            Detached::Unix(unix) => Stream::from(UnixStream::from_std(unix)?),
        };
        Ok((stream, self.peer, self.login))
    }
}

/// A connection that has not logged in yet: a proxy that was replaced waits for it.
#[derive(Debug)]
pub(crate) struct LoginGuard(Arc<Shared>);

impl LoginGuard {
    /// A connection was accepted.
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        shared.logins.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(shared))
    }
}

impl Drop for LoginGuard {
    fn drop(&mut self) {
        self.0.logins.fetch_sub(1, Ordering::AcqRel);
    }
}
