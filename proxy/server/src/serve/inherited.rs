//! Listening sockets that this process was given at its start: by systemd, or by the Ringway that it replaces.

use crate::serve::listeners::Address;
use crate::serve::unix_socket::SocketFile;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use socket2::Socket;
use std::fs::File;
use std::path::{Path, PathBuf};

/// The first descriptor that systemd passes.
const FIRST_PASSED: i32 = 3;
/// More descriptors than any configuration has addresses.
const MAX_PASSED: i32 = 64;

/// Listening sockets that were open before this process.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    sockets: Vec<(String, Socket)>,
    locks: Vec<(PathBuf, File)>,
}

impl Inherited {
    /// What systemd passes by `LISTEN_FDS`.
    ///
    /// # Errors
    /// Descriptors that can't be had, or that don't listen.
    pub(crate) fn from_systemd() -> Result<Self> {
        let mut inherited = Self::default();
        let number = |name| std::env::var(name).ok()?.parse::<i32>().ok();
        let (Some(pid), Some(count)) = (number("LISTEN_PID"), number("LISTEN_FDS")) else {
            return Ok(inherited);
        };
        // The variables may be inherited from a parent that they were meant for.
        if Pid::from_raw(pid) != Some(getpid()) {
            return Ok(inherited);
        }
        let own = pidfd_open(getpid(), PidfdFlags::empty()).context("LISTEN_FDS")?;
        for descriptor in FIRST_PASSED..FIRST_PASSED.saturating_add(count.min(MAX_PASSED)) {
            let of = || format!("descriptor {descriptor} of LISTEN_FDS");
            let socket = pidfd_getfd(&own, descriptor, PidfdGetfdFlags::empty()).with_context(of)?;
            let socket = Socket::from(socket);
            if !socket.is_listener().with_context(of)? {
                bail!("{} doesn't listen", of());
            }
            let address = address(&socket).with_context(of)?;
            inherited.sockets.push((address, socket));
        }
        Ok(inherited)
    }

    /// One more socket.
    pub(crate) fn add(&mut self, address: String, socket: Socket) {
        self.sockets.push((address, socket));
    }

    /// The lock of a unix socket.
    pub(crate) fn add_lock(&mut self, path: PathBuf, lock: File) {
        self.locks.push((path, lock));
    }

    /// The sockets on this address.
    pub(crate) fn take(&mut self, address: &Address) -> Vec<Socket> {
        let wanted = address.to_string();
        let sockets = std::mem::take(&mut self.sockets);
        let (taken, rest): (Vec<_>, Vec<_>) =
            sockets.into_iter().partition(|(address, _)| *address == wanted);
        self.sockets = rest;
        taken.into_iter().map(|(_, socket)| socket).collect()
    }

    /// The file of the unix socket at this address, if it has one and it is ours: systemd keeps its own.
    pub(crate) fn take_file(&mut self, address: &Address) -> Option<SocketFile> {
        let Address::Unix(path) = address else { return None };
        let found = self
            .locks
            .iter()
            .position(|(other, _)| other == Path::new(path))?;
        let (path, lock) = self.locks.swap_remove(found);
        Some(SocketFile::taken_over(path, lock))
    }

    /// Addresses that nobody has taken.
    pub(crate) fn left_over(&self) -> impl Iterator<Item = &str> {
        self.sockets.iter().map(|(address, _)| address.as_str())
    }
}

/// Where a socket listens, as [`Address`] prints it.
fn address(socket: &Socket) -> Result<String> {
    let local = socket.local_addr()?;
    if let Some(address) = local.as_socket() {
        return Ok(Address::Tcp(address).to_string());
    }
    if let Some(path) = local.as_pathname() {
        return Ok(Address::Unix(path.to_owned()).to_string());
    }
    let name = local.as_abstract_namespace().context("it has no address")?;
    Ok(Address::Abstract(String::from_utf8_lossy(name).into_owned()).to_string())
}
