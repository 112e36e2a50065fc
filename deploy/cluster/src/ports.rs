//! Ports on 127.0.0.1: free ones for tests, and whether a given one is taken.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, TcpListener};

use crate::Error;
use crate::run;

/// Below the kernel's usual range for outgoing connections (32768 and up), so that no connection
/// of another test can sit on a port between its choice and its use.
const FIRST: u16 = 20_000;
/// One past the last port that tests use.
const END: u16 = 32_000;

/// A port kept for its holder: no other test process takes it until this is dropped.
#[derive(Debug)]
pub struct PortLock {
    port: u16,
    /// Holds an advisory lock, which ends with the process at the latest; none for a port that the
    /// caller chose.
    _lock: Option<File>,
}

impl PortLock {
    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A port that the caller chose; nothing is locked.
    pub(crate) fn fixed(port: u16) -> Self {
        Self { port, _lock: None }
    }
}

/// Finds a free port and keeps it for the caller, across threads and processes of one user.
pub fn reserve_port() -> Result<PortLock, Error> {
    let folder = run::shared_folder("ports")?;
    let span = END - FIRST;
    // Start somewhere else in each call: a port that was just closed rests a while.
    let offset = rand::random_range(0..span);
    for step in 0..span {
        let port = FIRST + (offset + step) % span;
        let path = folder.join(port.to_string());
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(Error::file(&path))?;
        if lock.try_lock().is_ok() && is_free(port) {
            return Ok(PortLock {
                port,
                _lock: Some(lock),
            });
        }
    }
    Err(Error::NoFreePort {
        first: FIRST,
        last: END - 1,
    })
}

/// Whether a server could listen on this port of 127.0.0.1.
pub(crate) fn is_free(port: u16) -> bool {
    // The standard library sets SO_REUSEADDR, as the servers do: connections of a server that has
    // just ended don't count.
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Refuses the first of these ports that is taken.
pub(crate) fn check_free<'a>(wanted: impl IntoIterator<Item = (u16, &'a str)>) -> Result<(), Error> {
    for (port, wanted_for) in wanted {
        if !is_free(port) {
            return Err(Error::PortTaken {
                port,
                wanted_for: wanted_for.to_owned(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_holders_never_share_a_port() {
        let held: Vec<PortLock> = (0..50).map(|_| reserve_port().unwrap()).collect();
        let mut ports: Vec<u16> = held.iter().map(PortLock::port).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 50);
    }

    #[test]
    fn a_taken_port_is_named() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = check_free([(port, "shard 0")]).unwrap_err().to_string();
        assert!(
            error.contains(&format!("port {port} is taken (wanted for shard 0)")),
            "{error}"
        );
    }
}
