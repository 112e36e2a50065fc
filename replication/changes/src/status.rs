//! What a publisher shows of itself.

use std::sync::Arc;
use topology::{Epoch, Lsn};

/// What a publisher is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PublisherState {
    /// Nobody knows a primary.
    #[default]
    NoPrimary,
    /// Connects, or waits before it tries again.
    Connecting,
    /// Another proxy publishes this stream.
    Elsewhere,
    /// Waits for what was running when it started.
    Starting,
    /// Publishes.
    Publishing,
    /// The carrier of the stream takes nothing: the log is kept, gates close.
    SinkDown,
    /// Was told to stop.
    Stopped,
}

impl PublisherState {
    /// A word for it, for tables and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoPrimary => "no_primary",
            Self::Connecting => "connecting",
            Self::Elsewhere => "elsewhere",
            Self::Starting => "starting",
            Self::Publishing => "publishing",
            Self::SinkDown => "sink_down",
            Self::Stopped => "stopped",
        }
    }
}

/// A publisher at one moment. Totals count from the start of the process. While another proxy publishes, positions are of the last
/// time that this one did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PublisherStatus {
    /// What it is doing.
    pub state: PublisherState,
    /// The epoch it publishes, or published last.
    pub epoch: Option<Epoch>,
    /// Up to where the carrier holds the log.
    pub published_to: Lsn,
    /// How far that was behind the end of the log, in bytes, when it was last asked for.
    pub lag_bytes: u64,
    /// How much of the log the slot holds back, in bytes.
    pub retained_bytes: u64,
    /// Messages that the carrier took, heartbeats among them.
    pub messages: u64,
    /// Transactions decoded.
    pub transactions: u64,
    /// Tags in the messages that the carrier took.
    pub tags: u64,
    /// Attempts after the first.
    pub retries: u64,
    /// Epochs begun.
    pub epochs_raised: u64,
    /// The last error, for operators.
    pub last_error: Option<Arc<str>>,
}
