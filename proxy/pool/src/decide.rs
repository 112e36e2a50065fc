//! The decisions of a pool, free of sockets and of the clock: who is let in, when a connection is opened, kept, handed over or closed.

use std::rc::Rc;
use std::time::Duration;

use topology::Mono;

/// The bounds of one pool, on one thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The most connections, those being opened included.
    pub max_size: usize,
    /// Connections above `max_size` while somebody has waited for `reserve_timeout`. They are closed as soon as nobody waits.
    pub reserve_size: usize,
    /// How long a checkout waits before the reserve is used; looked at by every checkout that waits and by `maintain`.
    pub reserve_timeout: Duration,
    /// How many connections are kept open while there is no use for them.
    pub min_size: usize,
    /// The most checkouts that wait.
    pub max_waiting: usize,
    /// The most connections that are being opened at a time, so that a cold start doesn't storm the server.
    pub max_connecting: usize,
    /// How long a checkout waits; `None`: without bound.
    pub wait_timeout: Option<Duration>,
    /// How long a connection may be idle; `None`: for ever.
    pub idle_timeout: Option<Duration>,
    /// How old a connection may become before it is closed at its next rest; `None`: for ever.
    pub lifetime: Option<Duration>,
    /// The longest pause between two attempts after failures; the first pauses are shorter.
    pub login_retry: Duration,
    /// How a connection is tried that has rested for long; `None`: it is lent as it is.
    pub check: Option<Check>,
}

/// How a connection is tried before it is lent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Only after it has rested for so long.
    pub delay: Duration,
    /// By this statement.
    pub sql: Rc<str>,
    /// The bound of its answer.
    pub timeout: Duration,
}

impl Check {
    /// Whether a connection that rests since `idle_since` is tried first.
    pub fn is_due(&self, idle_since: Mono, now: Mono) -> bool {
        now.since(idle_since) >= self.delay
    }
}

impl Default for Limits {
    /// PgBouncer's defaults, where it has the setting.
    fn default() -> Self {
        Limits {
            max_size: 20,
            reserve_size: 0,
            reserve_timeout: Duration::from_secs(5),
            min_size: 0,
            max_waiting: 10_000,
            max_connecting: 4,
            wait_timeout: Some(Duration::from_secs(120)),
            idle_timeout: Some(Duration::from_secs(600)),
            lifetime: Some(Duration::from_secs(3600)),
            login_retry: Duration::from_secs(15),
            check: None,
        }
    }
}

/// How many connections and checkouts a pool has at the moment of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Connections at rest.
    pub idle: usize,
    /// Connections lent.
    pub active: usize,
    /// Connections being opened.
    pub connecting: usize,
    /// Connections being tried.
    pub testing: usize,
    /// Checkouts that wait.
    pub waiting: usize,
    /// How long the first of them has waited.
    pub longest_wait: Duration,
}

impl Load {
    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.idle + self.active + self.testing
    }

    /// Connections that are open or being opened.
    pub fn total(&self) -> usize {
        self.open() + self.connecting
    }
}

/// How the last attempts to connect went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Attempts {
    /// The last one succeeded, or there was none.
    #[default]
    Fine,
    /// The last ones failed.
    Failing {
        /// How many in a row.
        failures: u32,
        /// No further attempt before this.
        retry_at: Mono,
    },
}

/// The first pause after a failed attempt. Each further failure doubles it, up to `login_retry`.
pub const FIRST_PAUSE: Duration = Duration::from_millis(50);

impl Attempts {
    /// The state after one more failure.
    #[must_use]
    pub fn after_failure(self, limits: &Limits, now: Mono) -> Attempts {
        let failures = match self {
            Attempts::Fine => 1,
            Attempts::Failing { failures, .. } => failures.saturating_add(1),
        };
        let factor = 1_u32.checked_shl(failures - 1).unwrap_or(u32::MAX);
        let pause = FIRST_PAUSE.saturating_mul(factor).min(limits.login_retry);
        Attempts::Failing {
            failures,
            retry_at: now.plus(pause),
        }
    }

    /// Whether an attempt is allowed at `now`.
    pub fn allows(self, now: Mono) -> bool {
        match self {
            Attempts::Fine => true,
            Attempts::Failing { retry_at, .. } => now >= retry_at,
        }
    }
}

/// What becomes of a checkout for which no idle connection was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It joins the queue.
    Wait,
    /// The queue is full.
    RefuseFull,
    /// Nothing is open, connecting has just failed, and it isn't time for another attempt.
    RefuseFailing,
}

/// Decides about a checkout that found no idle connection. `load` doesn't count it as waiting.
pub fn admit(load: Load, limits: &Limits, attempts: Attempts, now: Mono) -> Admission {
    if load.total() == 0 && !attempts.allows(now) {
        Admission::RefuseFailing
    } else if load.waiting >= limits.max_waiting {
        Admission::RefuseFull
    } else {
        Admission::Wait
    }
}

/// Whether one more connection is to be opened: one for each checkout that waits, and up to `min_size`, those one after the other.
pub fn wants_connection(load: Load, limits: &Limits, attempts: Attempts, now: Mono) -> bool {
    let warms_up = load.total() < limits.min_size && load.connecting == 0;
    let wanted = load.waiting > load.connecting + load.idle + load.testing || warms_up;
    let in_need = load.waiting > 0 && load.longest_wait >= limits.reserve_timeout;
    let reserve = if in_need { limits.reserve_size } else { 0 };
    let allowed = load.total() < limits.max_size + reserve && load.connecting < limits.max_connecting.max(1);
    // After a failure, one attempt at a time finds out whether the server is back.
    let probing = attempts == Attempts::Fine || load.connecting == 0;
    wanted && allowed && probing && attempts.allows(now)
}

/// Whether those that wait are refused after an attempt has failed: nothing is open that could be handed to them.
/// `load` doesn't count the failed attempt as connecting.
pub fn refuses_waiting(load: Load) -> bool {
    load.total() == 0
}

/// What is known of a connection that is returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Returned {
    /// When it was opened.
    pub opened_at: Mono,
    /// It was told to close at its next rest (reconnect, failover, drain).
    pub condemned: bool,
}

/// What becomes of a connection that is returned clean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// To the checkout that has waited longest.
    HandOver,
    /// To the idle ones.
    Rest,
    /// Closed.
    Close,
}

/// Decides about a connection that is returned clean. `load` still counts it as active.
pub fn on_return(returned: Returned, load: Load, limits: &Limits, now: Mono) -> Fate {
    let too_old = limits
        .lifetime
        .is_some_and(|lifetime| now.since(returned.opened_at) >= lifetime);
    let allowed = limits.max_size + if load.waiting > 0 { limits.reserve_size } else { 0 };
    if returned.condemned || too_old || load.total() > allowed {
        Fate::Close
    } else if load.waiting > 0 {
        Fate::HandOver
    } else {
        Fate::Rest
    }
}

/// Whether a connection at rest is to be closed. `load` counts it as idle.
///
/// Age ends a connection always; being idle ends it only while more than `min_size` are open.
pub fn expires(opened_at: Mono, idle_since: Mono, load: Load, limits: &Limits, now: Mono) -> bool {
    let too_old = limits
        .lifetime
        .is_some_and(|lifetime| now.since(opened_at) >= lifetime);
    let too_idle = limits
        .idle_timeout
        .is_some_and(|timeout| now.since(idle_since) >= timeout);
    too_old || load.total() > limits.max_size || (too_idle && load.open() > limits.min_size)
}

#[cfg(test)]
mod tests;
