//! What administrators have said of databases and of the whole proxy, and what they ask of the process. Data threads read the first.

use crate::admin::{GateRow, ProxyMode, Shutdown};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use tokio::sync::oneshot;
use wire::ProxyError;

/// What was said of one database.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    paused: AtomicBool,
    disabled: AtomicBool,
}

impl Gate {
    /// Whether its clients get no server connection.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Pauses or resumes; gives what it was before.
    pub(crate) fn set_paused(&self, paused: bool) -> bool {
        self.paused.swap(paused, Ordering::AcqRel)
    }

    /// Whether it takes no new clients.
    pub(crate) fn is_disabled(&self) -> bool {
        self.disabled.load(Ordering::Acquire)
    }

    /// Refuses new clients, or lets them in.
    pub(crate) fn set_disabled(&self, disabled: bool) {
        self.disabled.store(disabled, Ordering::Release);
    }

    /// Whether an administrator has closed it in either way.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_paused() || self.is_disabled()
    }

    /// Both, to be shown.
    pub(crate) fn row(&self) -> GateRow {
        GateRow {
            paused: self.is_paused(),
            disabled: self.is_disabled(),
        }
    }
}

/// Whether the proxy serves its clients.
#[derive(Debug, Default)]
pub(crate) struct Mode(AtomicU8);

impl Mode {
    /// What it is.
    pub(crate) fn get(&self) -> ProxyMode {
        match self.0.load(Ordering::Acquire) {
            PAUSED => ProxyMode::Paused,
            SUSPENDED => ProxyMode::Suspended,
            _ => ProxyMode::Active,
        }
    }

    /// Changes it; gives what it was before.
    pub(crate) fn set(&self, mode: ProxyMode) -> ProxyMode {
        let before = self.get();
        let number = match mode {
            ProxyMode::Active => 0,
            ProxyMode::Paused => PAUSED,
            ProxyMode::Suspended => SUSPENDED,
        };
        self.0.store(number, Ordering::Release);
        before
    }
}

const PAUSED: u8 = 1;
const SUSPENDED: u8 = 2;

/// What an administrator asks of the process.
#[derive(Debug)]
pub(crate) enum Order {
    /// Read the configuration again.
    Reload(Done),
    /// Change one setting, by its whole name.
    Set {
        /// With its section.
        key: String,
        /// As the configuration writes it.
        value: String,
        /// Told when it is in force.
        done: Done,
    },
    /// End.
    Shutdown(Shutdown),
}

/// Where the outcome goes.
pub(crate) type Done = oneshot::Sender<Result<(), ProxyError>>;
