//! The stream inside one process: a bounded broadcast.

use crate::{Error, Event};
use coherence::StreamMessage;
use std::sync::Arc;
use tokio::sync::broadcast;
use topology::ShardId;

/// How many messages a reader may lag behind; one that lags more misses the oldest and sees a gap.
pub const LOCAL_QUEUE_MESSAGES: usize = 1024;

/// The channel that sinks and sources of one process share.
#[derive(Clone, Debug)]
pub struct LocalBus {
    sender: broadcast::Sender<Arc<Event>>,
}

impl LocalBus {
    /// A channel in which a reader may lag `bound` messages behind (at least one).
    pub fn new(bound: usize) -> Self {
        Self {
            sender: broadcast::Sender::new(bound.max(1)),
        }
    }

    /// A place to publish.
    pub fn sink(&self) -> LocalSink {
        LocalSink {
            sender: self.sender.clone(),
        }
    }

    /// A reader of everything published from this moment on.
    pub fn source(&self) -> LocalSource {
        LocalSource {
            receiver: self.sender.subscribe(),
        }
    }
}

impl Default for LocalBus {
    fn default() -> Self {
        Self::new(LOCAL_QUEUE_MESSAGES)
    }
}

/// Publishes to the readers in this process.
#[derive(Clone, Debug)]
pub struct LocalSink {
    sender: broadcast::Sender<Arc<Event>>,
}

impl LocalSink {
    /// Hands `message` to every reader. Having none is no error: whoever joins later begins with what comes then.
    pub fn publish(&self, shard: ShardId, message: &StreamMessage) {
        let event = Event {
            shard,
            message: message.clone(),
        };
        if self.sender.send(Arc::new(event)).is_err() {
            tracing::trace!(%shard, "nobody reads the invalidation stream");
        }
    }
}

/// Reads what is published in this process.
#[derive(Debug)]
pub struct LocalSource {
    receiver: broadcast::Receiver<Arc<Event>>,
}

impl LocalSource {
    /// Waits for the next message.
    ///
    /// # Errors
    /// [`Error::Closed`] once all sinks and the bus are gone.
    pub async fn next(&mut self) -> Result<Event, Error> {
        loop {
            match self.receiver.recv().await {
                Ok(event) => return Ok(Arc::unwrap_or_clone(event)),
                // What was missed shows as a gap between two messages.
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "a reader of the invalidation stream lagged behind");
                }
                Err(broadcast::error::RecvError::Closed) => return Err(Error::Closed),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::LocalBus;
    use crate::Error;
    use coherence::StreamMessage;
    use topology::{Epoch, Lsn, ShardId};

    fn heartbeat(from: u64, to: u64) -> StreamMessage {
        StreamMessage::heartbeat(Epoch(1), Lsn(from), Lsn(to)).unwrap()
    }

    #[tokio::test]
    async fn every_reader_gets_everything_from_its_join_on_in_order() {
        let bus = LocalBus::new(8);
        let sink = bus.sink();
        sink.publish(ShardId(0), &heartbeat(0, 1));
        let mut early = bus.source();
        sink.publish(ShardId(1), &heartbeat(1, 2));
        let mut late = bus.source();
        sink.publish(ShardId(0), &heartbeat(2, 3));
        let first = early.next().await.unwrap();
        assert_eq!((first.shard, first.message), (ShardId(1), heartbeat(1, 2)));
        assert_eq!(early.next().await.unwrap().message, heartbeat(2, 3));
        assert_eq!(late.next().await.unwrap().message, heartbeat(2, 3));
    }

    #[tokio::test]
    async fn a_lagging_reader_misses_the_oldest_and_sees_a_gap() {
        let bus = LocalBus::new(2);
        let (sink, mut source) = (bus.sink(), bus.source());
        for n in 0..5 {
            sink.publish(ShardId(0), &heartbeat(n, n + 1));
        }
        assert_eq!(source.next().await.unwrap().message, heartbeat(3, 4));
        assert_eq!(source.next().await.unwrap().message, heartbeat(4, 5));
    }

    #[tokio::test]
    async fn the_end_is_an_end() {
        let bus = LocalBus::default();
        let mut source = bus.source();
        drop(bus);
        assert!(matches!(source.next().await, Err(Error::Closed)));
        assert!(!Error::Closed.is_retryable());
    }
}
