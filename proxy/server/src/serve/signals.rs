//! The signals that the proxy listens to.

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that mean something.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// The end, in good order.
    Stop,
    /// To read the configuration again.
    Reload,
}

impl Signals {
    /// Listens for them from here on.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.hang_up.recv() => Told::Reload,
        }
    }

    /// SIGTERM or SIGINT.
    pub(crate) async fn stop(&mut self) {
        while self.next().await != Told::Stop {}
    }
}
