//! One process of the machine, told apart from a later one with the same number.
//!
//! Linux reuses process ids. A process is therefore known by its id and the clock tick at which it
//! began (`/proc/PID/stat`), and signals go through a pidfd, which can't change its target.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A process id together with the process's time of birth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Identity {
    pid: i32,
    /// Clock ticks between the machine's boot and the process's start.
    started: u64,
}

impl Identity {
    /// The process that has this id at the moment, unless there is none or it has ended.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (identity, state) = parse_stat(&stat)?;
        (!matches!(state, 'Z' | 'X')).then_some(identity)
    }

    /// This process.
    pub(crate) fn own() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// Reads a record: a copy of the process's own `/proc/PID/stat`.
    pub(crate) fn read(record: &Path) -> Option<Self> {
        let stat = fs::read_to_string(record).ok()?;
        parse_stat(&stat).map(|(identity, _)| identity)
    }

    /// From the two numbers of [`Identity::name`].
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let (pid, started) = name.split_once('-')?;
        Some(Self {
            pid: pid.parse().ok()?,
            started: started.parse().ok()?,
        })
    }

    /// `PID-START`: a name for a folder that belongs to this process.
    pub(crate) fn name(self) -> String {
        format!("{}-{}", self.pid, self.started)
    }

    /// The process id as a number.
    pub(crate) fn pid(self) -> i32 {
        self.pid
    }

    /// Whether this very process still runs. A zombie does not.
    pub(crate) fn alive(self) -> bool {
        u32::try_from(self.pid).ok().and_then(Self::of) == Some(self)
    }

    /// A handle on this very process; none if it has ended.
    fn handle(self) -> Option<OwnedFd> {
        let fd = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        // Looked at after opening: from here on the handle can only mean this process.
        self.alive().then_some(fd)
    }

    /// Sends a signal to this very process; does nothing if it has ended.
    pub(crate) fn signal(self, signal: Signal) {
        if let Some(handle) = self.handle() {
            // It may end between the two calls; then there is nobody left to be told.
            let _ = pidfd_send_signal(&handle, signal);
        }
    }

    /// Waits until the process has ended; false when `bound` passed first. Blocks the thread.
    pub(crate) fn wait_end(self, bound: Duration) -> bool {
        let Some(handle) = self.handle() else {
            return !self.alive();
        };
        let timeout = Timespec {
            tv_sec: i64::try_from(bound.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(bound.subsec_nanos()),
        };
        let mut fds = [PollFd::new(&handle, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(ready) => ready > 0 || !self.alive(),
            Err(_) => !self.alive(),
        }
    }
}

/// The identity and the state letter from a line of `/proc/PID/stat`.
fn parse_stat(stat: &str) -> Option<(Identity, char)> {
    // The second field is the command in parentheses and may itself hold spaces and parentheses.
    let (head, tail) = stat.rsplit_once(')')?;
    let pid = head.split_once(' ')?.0.parse().ok()?;
    let mut fields = tail.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    // Field 22 of the file; `fields` stands behind field 3.
    let started = fields.nth(18)?.parse().ok()?;
    Some((Identity { pid, started }, state))
}

/// How to end a server: signals in order, each with the time it is given.
pub(crate) type Recipe = [(Signal, Duration)];

/// Ends processes by the recipe, and by SIGKILL when nothing else helped. Blocks the thread.
pub(crate) fn end(processes: &[Identity], recipe: &Recipe) {
    let last_resort = (Signal::KILL, KILL_BOUND);
    for (signal, patience) in recipe.iter().copied().chain([last_resort]) {
        let deadline = Instant::now() + patience;
        for process in processes {
            process.signal(signal);
        }
        let all_ended = processes.iter().fold(true, |ended, process| {
            ended & process.wait_end(deadline.saturating_duration_since(Instant::now()))
        });
        if all_ended {
            return;
        }
    }
}

/// How long the kernel may take to bury a killed process (it may be in the middle of a write).
const KILL_BOUND: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_command_with_parentheses_does_not_confuse_the_parser() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 98765 100 200";
        let (identity, state) = parse_stat(stat).unwrap();
        assert_eq!(
            identity,
            Identity {
                pid: 42,
                started: 98765
            }
        );
        assert_eq!(state, 'S');
        assert_eq!(Identity::from_name(&identity.name()), Some(identity));
    }

    #[test]
    fn a_process_with_another_birth_is_left_alone() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let real = Identity::of(child.id()).unwrap();
        let stranger = Identity {
            started: real.started + 1,
            ..real
        };
        end(&[stranger], &[(Signal::TERM, Duration::from_secs(1))]);
        assert!(real.alive(), "a process that only shares the id was ended");
        end(&[real], &[(Signal::TERM, Duration::from_secs(5))]);
        assert!(!real.alive());
        child.wait().unwrap();
    }
}
