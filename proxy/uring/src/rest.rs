//! Where a thread waits that has nothing to do: in the ring or in tokio's epoll.
//!
//! A busy thread waits in the ring: what is sent, what has come and the wait are one system call. Tokio's epoll is watched by the
//! ring meanwhile, and its timers are looked after at every tick. A thread that has received nothing from one tick to the next waits
//! in tokio's epoll, which the ring wakes by its eventfd, so that nothing ticks at rest.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use crate::kernel::Kernel;
use crate::table::News;

/// Where a thread waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Tokio,
    Ring,
}

/// Where a thread waits, and what the kernel was asked to tell it there.
#[derive(Debug)]
pub(crate) struct Rest {
    place: Place,
    /// Tokio's epoll, where it is known.
    epoll: Option<RawFd>,
    /// Whether a tick will come.
    ticking: bool,
    /// Whether the epoll is watched.
    watching: bool,
    /// Whether something was received since the last tick.
    busy: bool,
}

impl Rest {
    pub(crate) fn new() -> Self {
        Self {
            place: Place::Tokio,
            epoll: None,
            ticking: false,
            watching: false,
            busy: false,
        }
    }

    /// From now on the thread may wait in the ring, as somebody makes tokio look after this epoll and its timers when told to.
    pub(crate) fn allow(&mut self, epoll: RawFd) {
        self.epoll = Some(epoll);
    }

    /// The thread waits in tokio's epoll from now on, whatever happens.
    pub(crate) fn forbid(&mut self, kernel: &mut Kernel) {
        self.epoll = None;
        self.leave(kernel);
    }

    pub(crate) fn is_in_ring(&self) -> bool {
        self.place == Place::Ring
    }

    #[cfg(test)]
    pub(crate) fn is_allowed(&self) -> bool {
        self.epoll.is_some()
    }

    /// Takes in what was said. True if tokio has to look after its timers and its epoll.
    pub(crate) fn hear(&mut self, news: News, kernel: &mut Kernel) -> io::Result<bool> {
        self.busy |= news.received;
        if news.epoll {
            self.watching = false;
        }
        let tokio = self.is_in_ring() && (news.epoll || news.tick);
        if news.tick {
            self.ticking = false;
            if !std::mem::take(&mut self.busy) {
                self.leave(kernel);
                if self.watching {
                    kernel.cancel_poll()?;
                }
            }
        }
        if let Some(epoll) = self.epoll.filter(|_| self.busy || self.is_in_ring()) {
            self.stay(epoll, kernel)?;
        }
        Ok(tokio)
    }

    fn stay(&mut self, epoll: RawFd, kernel: &mut Kernel) -> io::Result<()> {
        if !self.is_in_ring() {
            self.place = Place::Ring;
            kernel.set_signalled(false);
        }
        if !self.ticking {
            kernel.tick()?;
            self.ticking = true;
        }
        if !self.watching {
            kernel.poll(epoll)?;
            self.watching = true;
        }
        Ok(())
    }

    fn leave(&mut self, kernel: &mut Kernel) {
        self.place = Place::Tokio;
        kernel.set_signalled(true);
    }
}

/// The epoll instance of this process that watches `fd`.
pub(crate) fn epoll_of(fd: BorrowedFd<'_>) -> io::Result<Option<RawFd>> {
    let wanted = fd.as_raw_fd().to_string();
    for entry in fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        // One may be closed meanwhile.
        let Ok(target) = fs::read_link(entry.path()) else {
            continue;
        };
        if target.as_os_str() != "anon_inode:[eventpoll]" {
            continue;
        }
        let name = entry.file_name();
        let Ok(info) = fs::read_to_string(std::path::Path::new("/proc/self/fdinfo").join(&name)) else {
            continue;
        };
        let mut watched = info.lines().filter_map(|line| line.strip_prefix("tfd:"));
        if watched.any(|line| line.split_whitespace().next() == Some(wanted.as_str())) {
            return Ok(name.to_str().and_then(|name| name.parse().ok()));
        }
    }
    Ok(None)
}
