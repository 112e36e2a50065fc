//! Reading the topic, from its end.

use super::{Context, KafkaConfig, not_made, topic};
use crate::{Error, Event};
use coherence::StreamMessage;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use std::fmt;
use topology::ShardId;

/// Reads the streams of one database from a Kafka topic.
///
/// The place in each partition is kept here alone and survives a broker's restart; a new source begins at the end.
pub struct KafkaSource {
    config: KafkaConfig,
    consumer: Option<StreamConsumer<Context>>,
}

impl fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Properties may hold a password.
        f.debug_struct("KafkaSource")
            .field("topic", &self.config.topic)
            .finish_non_exhaustive()
    }
}

impl KafkaSource {
    /// A reader; the broker is first asked for with [`next`](Self::next).
    pub fn new(config: KafkaConfig) -> Self {
        Self {
            config,
            consumer: None,
        }
    }

    /// Waits for the next message of these streams.
    ///
    /// # Errors
    /// Those of the topic and the broker, and [`Error::Malformed`]; see [`Error::is_retryable`].
    pub async fn next(&mut self) -> Result<Event, Error> {
        let consumer = match &mut self.consumer {
            Some(consumer) => consumer,
            empty => {
                topic::ensure(&self.config).await?;
                empty.insert(connect(&self.config)?)
            }
        };
        loop {
            let message = consumer.recv().await.map_err(Error::Broker)?;
            if let Some(event) = read(&self.config, &message) {
                return event;
            }
        }
    }
}

fn connect(config: &KafkaConfig) -> Result<StreamConsumer<Context>, Error> {
    let mut client = config.client();
    client
        // librdkafka wants a name even where no group is joined.
        .set("group.id", "ringway")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "false")
        // A place that is gone (retention, a topic made anew) becomes the end: the gap shows in the positions.
        .set("auto.offset.reset", "latest")
        .set("fetch.error.backoff.ms", "100")
        .set("queued.max.messages.kbytes", "65536");
    let consumer: StreamConsumer<Context> = config
        .with_properties(client)
        .create_with_context(Context)
        .map_err(not_made)?;
    let mut places = TopicPartitionList::with_capacity(usize::from(config.shards));
    for shard in 0..config.shards {
        places
            .add_partition_offset(&config.topic, i32::from(shard), Offset::End)
            .map_err(Error::Broker)?;
    }
    consumer.assign(&places).map_err(Error::Broker)?;
    Ok(consumer)
}

/// What a record says to us; `None` if it belongs to another database or cluster.
fn read(config: &KafkaConfig, record: &BorrowedMessage<'_>) -> Option<Result<Event, Error>> {
    let shard: ShardId = config.stream.shard_of(record.key()?)?;
    if i32::from(shard.0) != record.partition() {
        tracing::warn!(%shard, partition = record.partition(), "a message of a shard in another's partition is ignored");
        return None;
    }
    let message = StreamMessage::decode(record.payload().unwrap_or_default());
    Some(
        message
            .map(|message| Event { shard, message })
            .map_err(Error::Malformed),
    )
}
