//! The socket of a client or of a backend.

use std::future::poll_fn;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{TlsAcceptor, TlsStream};

/// How TCP connections are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpOptions {
    /// Probes of silent connections; `None`: none.
    pub keepalive: Option<Keepalive>,
    /// How long sent bytes may stay unacknowledged; `None`: as the system has it.
    pub user_timeout: Option<Duration>,
}

/// Probes of a silent TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// The silence before the first one.
    pub idle: Duration,
    /// The time between two.
    pub interval: Duration,
    /// How many without an answer end the connection.
    pub count: u32,
}

impl Default for TcpOptions {
    fn default() -> Self {
        let keepalive = Keepalive {
            idle: Duration::from_secs(30),
            interval: Duration::from_secs(30),
            count: 4,
        };
        Self {
            keepalive: Some(keepalive),
            user_timeout: None,
        }
    }
}

/// A connected socket. The `try_` methods never wait and report `WouldBlock`; the `poll_` and `async` ones wait.
///
/// After a `try_` method has reported `WouldBlock`, wait by [`Stream::readable`] or [`Stream::poll_read_ready`] (or their
/// counterparts for writing) before trying again.
#[derive(Debug)]
pub enum Stream {
    /// TCP without TLS.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
    /// TLS over TCP, as client or server.
    Tls(Box<TlsStream<TcpStream>>),
    /// TCP or a unix socket, without TLS, on the thread's io_uring.
    Ring(uring::Socket),
}

/// What an idle connection shows that should have nothing to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdleCheck {
    /// Nothing: it can be used.
    Quiet,
    /// Bytes, the end of the stream or an error: it can't be used.
    Disturbed,
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Stream::Tcp(tcp) => tcp.as_raw_fd(),
            Stream::Unix(unix) => unix.as_raw_fd(),
            Stream::Tls(tls) => tls.get_ref().0.as_raw_fd(),
            Stream::Ring(ring) => ring.as_raw_fd(),
        }
    }
}

impl From<TcpStream> for Stream {
    fn from(tcp: TcpStream) -> Self {
        Stream::Tcp(tcp)
    }
}

impl From<UnixStream> for Stream {
    fn from(unix: UnixStream) -> Self {
        Stream::Unix(unix)
    }
}

impl Stream {
    /// Goes on on the thread's io_uring, if it has one. TLS stays where it is.
    ///
    /// # Errors
    /// Those of the system.
    pub fn onto_ring(self) -> io::Result<Stream> {
        let Some(ring) = uring::Ring::current() else {
            return Ok(self);
        };
        let socket: OwnedFd = match self {
            Stream::Tcp(tcp) => tcp.into_std()?.into(),
            Stream::Unix(unix) => unix.into_std()?.into(),
            Stream::Tls(_) | Stream::Ring(_) => return Ok(self),
        };
        SockRef::from(&socket).set_nonblocking(false)?;
        Ok(Stream::Ring(uring::Socket::new(&ring, socket)?))
    }

    /// Sets TCP_NODELAY and how the connection is watched; does nothing for unix sockets.
    ///
    /// # Errors
    /// Those of the system.
    pub fn tune(&self, options: &TcpOptions) -> io::Result<()> {
        let socket = self.socket();
        if socket.local_addr()?.is_unix() {
            return Ok(());
        }
        socket.set_tcp_nodelay(true)?;
        if let Some(probes) = options.keepalive {
            let keepalive = TcpKeepalive::new()
                .with_time(probes.idle)
                .with_interval(probes.interval)
                .with_retries(probes.count);
            socket.set_tcp_keepalive(&keepalive)?;
        }
        if options.user_timeout.is_some() {
            socket.set_tcp_user_timeout(options.user_timeout)?;
        }
        Ok(())
    }

    /// Whether bytes are encrypted.
    pub fn is_tls(&self) -> bool {
        matches!(self, Stream::Tls(_))
    }

    /// The certificate that the other side showed, as DER; `None` without TLS or without a certificate.
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        match self {
            Stream::Tls(tls) => Some(tls.get_ref().1.peer_certificates()?.first()?),
            Stream::Tcp(_) | Stream::Unix(_) | Stream::Ring(_) => None,
        }
    }

    /// What the two sides agreed on by ALPN.
    pub fn alpn(&self) -> Option<&[u8]> {
        match self {
            Stream::Tls(tls) => tls.get_ref().1.alpn_protocol(),
            Stream::Tcp(_) | Stream::Unix(_) | Stream::Ring(_) => None,
        }
    }

    /// The address of the other side; `None` for unix sockets.
    pub fn peer_addr(&self) -> Option<std::net::SocketAddr> {
        self.socket().peer_addr().ok()?.as_socket()
    }

    /// The address of this side; `None` for unix sockets.
    pub fn local_addr(&self) -> Option<std::net::SocketAddr> {
        self.socket().local_addr().ok()?.as_socket()
    }

    fn socket(&self) -> SockRef<'_> {
        match self {
            Stream::Tcp(tcp) => SockRef::from(tcp),
            Stream::Unix(unix) => SockRef::from(unix),
            Stream::Tls(tls) => SockRef::from(tls.get_ref().0),
            Stream::Ring(ring) => SockRef::from(ring),
        }
    }

    /// Does the server's side of a TLS handshake. The caller bounds the time.
    ///
    /// # Errors
    /// A failed handshake, or a stream that isn't plain TCP.
    pub async fn accept_tls(self, acceptor: &TlsAcceptor) -> io::Result<Stream> {
        match self {
            Stream::Tcp(tcp) => {
                let tls = acceptor.accept(tcp).await?;
                Ok(Stream::Tls(Box::new(TlsStream::Server(tls))))
            }
            Stream::Unix(_) | Stream::Tls(_) | Stream::Ring(_) => Err(io::Error::new(
                ErrorKind::InvalidInput,
                "TLS starts on a plain TCP connection",
            )),
        }
    }

    /// Reads what is there. `Ok(0)` is the end of the stream, given a `buf` that isn't empty.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is there, and those of the system.
    #[inline]
    pub fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(tcp) => read_once(buf, |read| {
                tcp.try_io(Interest::READABLE, || read(SockRef::from(&*tcp)))
            }),
            Stream::Unix(unix) => read_once(buf, |read| {
                unix.try_io(Interest::READABLE, || read(SockRef::from(&*unix)))
            }),
            Stream::Tls(_) => or_would_block(self.poll_read(&mut Context::from_waker(Waker::noop()), buf)),
            Stream::Ring(ring) => ring.try_read(buf),
        }
    }

    /// Writes as much as fits. On TLS, follow the last write by [`Stream::try_flush`] until it is done.
    ///
    /// # Errors
    /// `WouldBlock` if nothing fits, and those of the system.
    #[inline]
    pub fn try_write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(tcp) => tcp.try_write(buf),
            Stream::Unix(unix) => unix.try_write(buf),
            Stream::Tls(_) => or_would_block(self.poll_write(&mut Context::from_waker(Waker::noop()), buf)),
            Stream::Ring(ring) => ring.try_write(buf),
        }
    }

    /// Sends what TLS still holds of written bytes; nothing to do for other sockets.
    ///
    /// # Errors
    /// `WouldBlock` if not all of it fits, and those of the system.
    #[inline]
    pub fn try_flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Tcp(_) | Stream::Unix(_) | Stream::Ring(_) => Ok(()),
            Stream::Tls(_) => or_would_block(self.poll_flush(&mut Context::from_waker(Waker::noop()))),
        }
    }

    /// Waits until a read may give something.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(tcp) => tcp.readable().await,
            Stream::Unix(unix) => unix.readable().await,
            Stream::Tls(tls) if tls.get_ref().1.wants_read() => tls.get_ref().0.readable().await,
            Stream::Tls(_) => Ok(()),
            Stream::Ring(ring) => poll_fn(|cx| ring.poll_read_ready(cx)).await,
        }
    }

    /// Waits until a write may succeed.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn writable(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(tcp) => tcp.writable().await,
            Stream::Unix(unix) => unix.writable().await,
            Stream::Tls(tls) => tls.get_ref().0.writable().await,
            Stream::Ring(ring) => poll_fn(|cx| ring.poll_write_ready(cx)).await,
        }
    }

    /// As [`Stream::readable`], for futures written by hand. One task at a time is woken.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(tcp) => tcp.poll_read_ready(cx),
            Stream::Unix(unix) => unix.poll_read_ready(cx),
            Stream::Tls(tls) if tls.get_ref().1.wants_read() => tls.get_ref().0.poll_read_ready(cx),
            Stream::Tls(_) => Poll::Ready(Ok(())),
            Stream::Ring(ring) => ring.poll_read_ready(cx),
        }
    }

    /// As [`Stream::writable`], for futures written by hand. One task at a time is woken.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(tcp) => tcp.poll_write_ready(cx),
            Stream::Unix(unix) => unix.poll_write_ready(cx),
            Stream::Tls(tls) => tls.get_ref().0.poll_write_ready(cx),
            Stream::Ring(ring) => ring.poll_write_ready(cx),
        }
    }

    /// Reads, or registers the task to be woken.
    #[inline]
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if let Stream::Ring(ring) = self {
            return ring.poll_read(cx, buf);
        }
        let mut buf = ReadBuf::new(buf);
        ready!(AsyncRead::poll_read(Pin::new(self), cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().len()))
    }

    /// Writes, or registers the task to be woken.
    #[inline]
    pub fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Stream::Unix(unix) => Pin::new(unix).poll_write(cx, buf),
            Stream::Tls(tls) => Pin::new(tls.as_mut()).poll_write(cx, buf),
            Stream::Ring(ring) => ring.poll_write(cx, buf),
        }
    }

    /// Sends what TLS still holds, or registers the task to be woken.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(_) | Stream::Unix(_) | Stream::Ring(_) => Poll::Ready(Ok(())),
            Stream::Tls(tls) => Pin::new(tls.as_mut()).poll_flush(cx),
        }
    }

    /// Waits for bytes and reads them. `Ok(0)` is the end of the stream.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(cx, buf)).await
    }

    /// Fills `buf`.
    ///
    /// # Errors
    /// `UnexpectedEof` if the stream ends before, and those of the system.
    pub async fn read_exact(&mut self, mut buf: &mut [u8]) -> io::Result<()> {
        while !buf.is_empty() {
            match self.read(buf).await? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                n => buf = buf.get_mut(n..).unwrap_or_default(),
            }
        }
        Ok(())
    }

    /// Writes and flushes all of `buf`.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn write_all(&mut self, mut buf: &[u8]) -> io::Result<()> {
        while !buf.is_empty() {
            match poll_fn(|cx| self.poll_write(cx, buf)).await? {
                0 => return Err(ErrorKind::WriteZero.into()),
                n => buf = buf.get(n..).unwrap_or_default(),
            }
        }
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Ends the sending side (with close_notify on TLS). The caller bounds the time.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        poll_fn(|cx| AsyncWrite::poll_shutdown(Pin::new(&mut *self), cx)).await
    }

    /// Looks whether an idle connection is still usable. Without an event since the last read this is one atomic load and no system call.
    #[inline]
    pub fn check_idle(&mut self) -> IdleCheck {
        let mut probe = [0; 1];
        match self.try_read(&mut probe) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => IdleCheck::Quiet,
            _ => IdleCheck::Disturbed,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Stream::Unix(unix) => Pin::new(unix).poll_read(cx, buf),
            Stream::Tls(tls) => Pin::new(tls.as_mut()).poll_read(cx, buf),
            Stream::Ring(ring) => {
                let n = ready!(ring.poll_read(cx, buf.initialize_unfilled()))?;
                buf.advance(n);
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Stream::poll_write(self.get_mut(), cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Stream::poll_flush(self.get_mut(), cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls.as_mut()).poll_shutdown(cx),
            Stream::Ring(ring) => ring.poll_shutdown(cx),
        }
    }
}

/// Reads once by `try_io`. A read that didn't fill the buffer has emptied the socket: readiness is cleared at once, which saves the
/// system call that would only find that out. (The next bytes are a new edge of epoll, so no wake-up is lost.)
#[inline]
fn read_once(
    buf: &mut [u8],
    try_io: impl FnOnce(&mut dyn FnMut(SockRef<'_>) -> io::Result<usize>) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut short = None;
    let result = try_io(&mut |socket| match (&*socket).read(buf)? {
        n if n > 0 && n < buf.len() => {
            short = Some(n);
            Err(ErrorKind::WouldBlock.into())
        }
        n => Ok(n),
    });
    short.map_or(result, Ok)
}

fn or_would_block<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}
