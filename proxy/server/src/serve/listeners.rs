//! The sockets that clients connect to.

use anyhow::{Result, anyhow};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 1024;

/// Addresses that are ours, where nobody can connect yet.
#[derive(Debug)]
pub(crate) struct Bound {
    sockets: Vec<Socket>,
    address: SocketAddr,
    what: String,
}

impl Bound {
    /// Takes `address`, for so many threads.
    ///
    /// # Errors
    /// An address that another process has, or that this machine hasn't.
    pub(crate) fn new(address: SocketAddr, threads: usize, what: &str) -> Result<Self> {
        let explain = |error: io::Error| refused(address, what, &error);
        if threads > 1 {
            // Sockets that share a port would share it with another Ringway as well, silently.
            drop(bind(address, Shared::No).map_err(explain)?);
        }
        let shared = if threads > 1 { Shared::Yes } else { Shared::No };
        let sockets = (0..threads.max(1)).map(|_| bind(address, shared).map_err(explain));
        Ok(Self {
            sockets: sockets.collect::<Result<_>>()?,
            address,
            what: what.to_owned(),
        })
    }

    /// Lets clients connect.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn listen(self) -> Result<Vec<TcpListener>> {
        let listen = |socket: Socket| {
            // A port that another process has bound but doesn't listen on yet is found out only here.
            socket
                .listen(BACKLOG)
                .map_err(|error| refused(self.address, &self.what, &error))?;
            Ok(TcpListener::from(socket))
        };
        self.sockets.into_iter().map(listen).collect()
    }
}

fn refused(address: SocketAddr, what: &str, error: &io::Error) -> anyhow::Error {
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("port {} is taken: another process listens there", address.port())
        }
        io::ErrorKind::PermissionDenied => format!("port {} may not be used by this user", address.port()),
        io::ErrorKind::AddrNotAvailable => format!("{} is no address of this machine", address.ip()),
        _ => error.to_string(),
    };
    anyhow!("can't listen on {address} for {what}: {why}")
}

/// Whether several sockets of this process have the port.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shared {
    Yes,
    No,
}

fn bind(address: SocketAddr, shared: Shared) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of an earlier life that the kernel still remembers don't count.
    socket.set_reuse_address(true)?;
    if shared == Shared::Yes {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::Bound;
    use std::net::TcpListener;

    #[test]
    fn a_port_that_is_taken_is_named() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = other.local_addr().unwrap();
        for threads in [1, 2] {
            let error = Bound::new(address, threads, "PostgreSQL clients")
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(&format!("port {} is taken", address.port())),
                "{error}"
            );
        }
        drop(other);
        let listeners = Bound::new(address, 2, "PostgreSQL clients")
            .unwrap()
            .listen()
            .unwrap();
        assert_eq!(listeners.len(), 2);
        assert!(Bound::new(address, 2, "PostgreSQL clients").is_err());
    }
}
