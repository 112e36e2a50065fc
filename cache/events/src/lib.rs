//! The invalidation stream: messages of a shard's publisher brought, in order, to every proxy.
//!
//! In: [`StreamMessage`](coherence::StreamMessage)s of one database, shard by shard, through an [`EventSink`].
//! Out: the same as [`Event`]s from an [`EventSource`], which begins at the end of the stream (a late join).
//! Two carriers: a Kafka topic with one partition for each shard, and a bounded channel inside the process.
//!
//! **Invariant:** knows nothing of what a message means: no cells, no watermarks, no validity.
//! **Invariant:** [`EventSink::publish`] returns success only once the carrier holds the message; a caller that
//! publishes one message after the other gets them delivered in that order. A message may come twice, never silently out of order:
//! a copy that arrives late is older than what the reader has, and is recognised by its positions.
//! **Invariant:** every queue is bounded. What a reader misses shows as a gap between the positions of two messages.
//! **Invariant:** no consumer group, no commits: a reader's place is not kept anywhere.

mod error;
mod kafka;
mod local;
mod stream;

pub use error::Error;
pub use kafka::{DEFAULT_TOPIC, KafkaConfig, KafkaSink, KafkaSource};
pub use local::{LOCAL_QUEUE_MESSAGES, LocalBus, LocalSink, LocalSource};
pub use stream::{Event, StreamId};

use coherence::StreamMessage;
use topology::ShardId;

/// Where a publisher puts its messages.
#[derive(Clone, Debug)]
pub enum EventSink {
    /// A Kafka topic.
    Kafka(KafkaSink),
    /// The process itself.
    Local(LocalSink),
}

impl EventSink {
    /// Publishes one message of `shard` and waits until the carrier holds it.
    ///
    /// # Errors
    /// [`Error::is_retryable`] says whether publishing the same message again may succeed.
    pub async fn publish(&self, shard: ShardId, message: &StreamMessage) -> Result<(), Error> {
        match self {
            Self::Kafka(sink) => sink.publish(shard, message).await,
            Self::Local(sink) => {
                sink.publish(shard, message);
                Ok(())
            }
        }
    }
}

/// Where a proxy reads the messages of all shards of its database.
#[derive(Debug)]
pub enum EventSource {
    /// A Kafka topic.
    Kafka(KafkaSource),
    /// The process itself.
    Local(LocalSource),
}

impl EventSource {
    /// Waits for the next message. May be dropped and called again without losing one.
    ///
    /// # Errors
    /// A retryable error means that reading goes on with the next call (the carrier reconnects by itself); a message that was
    /// malformed is skipped and shows as a gap. Others end the stream.
    pub async fn next(&mut self) -> Result<Event, Error> {
        match self {
            Self::Kafka(source) => source.next().await,
            Self::Local(source) => source.next().await,
        }
    }
}
