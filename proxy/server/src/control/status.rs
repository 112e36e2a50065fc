//! What the control plane says of itself, for SHOW STREAM, `/readyz` and `/metrics`: cheap to write, cheap to read.

use crate::admin::{PublisherRow, StreamRow, StreamState};
use crate::control::recovery_task::RecoveryStats;
use arc_swap::ArcSwapOption;
use changes::PublisherStatus;
use coherence::{Applied, Coherence};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::watch;
use topology::ShardId;

/// One database's part.
#[derive(Debug)]
pub(crate) struct DatabaseStatus {
    /// By shard.
    pub(crate) shards: Box<[ShardStatus]>,
    /// Why the stream can't be read at the moment.
    pub(crate) source_error: ArcSwapOption<String>,
    /// Why the catalog could not be read when it was last tried.
    pub(crate) catalog_error: ArcSwapOption<String>,
    /// The recovery.
    pub(crate) recovery: Arc<RecoveryStats>,
}

/// One shard of a database.
#[derive(Debug, Default)]
pub(crate) struct ShardStatus {
    applied: AtomicU64,
    gaps: AtomicU64,
    publisher: OnceLock<(String, watch::Receiver<PublisherStatus>)>,
    /// Why the primary can't be used as it is: the install script was not run, or another version of it.
    pub(crate) unfit: ArcSwapOption<String>,
}

impl DatabaseStatus {
    /// Of a database on so many shards.
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            shards: (0..shards).map(|_| ShardStatus::default()).collect(),
            source_error: ArcSwapOption::empty(),
            catalog_error: ArcSwapOption::empty(),
            recovery: Arc::default(),
        }
    }

    /// The part of this shard.
    pub(crate) fn shard(&self, shard: ShardId) -> Option<&ShardStatus> {
        self.shards.get(shard.index())
    }

    /// The rows of SHOW STREAM.
    pub(crate) fn stream_rows(&self, dbname: &str, coherence: &Coherence) -> Vec<StreamRow> {
        let rows = (0..).map(ShardId).zip(&self.shards);
        rows.map(|(shard, status)| status.row(shard, dbname, coherence))
            .collect()
    }
}

impl ShardStatus {
    /// A message came.
    pub(crate) fn count(&self, applied: Applied) {
        match applied {
            Applied::InOrder | Applied::Began => self.applied.fetch_add(1, Ordering::Relaxed),
            Applied::Gap => {
                self.applied.fetch_add(1, Ordering::Relaxed);
                self.gaps.fetch_add(1, Ordering::Relaxed)
            }
            Applied::Repeated | Applied::Ended => return,
        };
    }

    /// The publisher of this shard's stream in this process, and its slot.
    pub(crate) fn set_publisher(&self, slot: &str, status: watch::Receiver<PublisherStatus>) {
        if self.publisher.set((slot.to_owned(), status)).is_err() {
            tracing::error!(slot, "a stream has two publishers in one process");
        }
    }

    fn row(&self, shard: ShardId, dbname: &str, coherence: &Coherence) -> StreamRow {
        let view = coherence.shard(shard).map(coherence::ShardCoherence::view);
        let known = view.as_ref().and_then(|view| view.epoch().zip(view.watermark()));
        let state = match (known, &view) {
            (Some((epoch, watermark)), Some(view)) => StreamState::Following {
                epoch,
                watermark,
                fresh_as_of: view.cache_freshness(),
            },
            _ => StreamState::Unknown,
        };
        StreamRow {
            shard,
            database: dbname.to_owned(),
            state,
            applied: self.applied.load(Ordering::Relaxed),
            gaps: self.gaps.load(Ordering::Relaxed),
            publisher: self.publisher_row(),
        }
    }

    /// `None` where another proxy publishes.
    fn publisher_row(&self) -> Option<PublisherRow> {
        let (slot, status) = self.publisher.get()?;
        let status = status.borrow().clone();
        if status.state == changes::PublisherState::Elsewhere {
            return None;
        }
        Some(PublisherRow {
            slot: slot.clone(),
            confirmed: (status.published_to.0 > 0).then_some(status.published_to),
            published: status.messages,
            last_error: match status.state {
                changes::PublisherState::Publishing => None,
                state => Some(match &status.last_error {
                    Some(error) => format!("{}: {error}", state.as_str()),
                    None => state.as_str().to_owned(),
                }),
            },
        })
    }
}
