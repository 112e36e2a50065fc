//! Where a client connects from.

use std::fmt;
use std::net::SocketAddr;
use tokio::net::unix::UCred;

/// Where a client connects from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Peer {
    /// By TCP, from this address.
    Tcp(SocketAddr),
    /// By a unix socket, from a process on this machine.
    Unix(UnixPeer),
}

/// The process at the other end of a unix socket, as the kernel names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct UnixPeer {
    /// The user it ran as when it connected.
    pub(crate) uid: u32,
    /// Its number; `None` where the kernel doesn't tell.
    pub(crate) pid: Option<i32>,
}

impl From<UCred> for UnixPeer {
    fn from(credentials: UCred) -> Self {
        Self {
            uid: credentials.uid(),
            pid: credentials.pid(),
        }
    }
}

impl Peer {
    /// The address, for one that has come by TCP.
    pub(crate) fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(UnixPeer { uid, pid: Some(pid) }) => write!(f, "unix (process {pid}, user {uid})"),
            Self::Unix(UnixPeer { uid, pid: None }) => write!(f, "unix (user {uid})"),
        }
    }
}
