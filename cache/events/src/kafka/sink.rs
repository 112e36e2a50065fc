//! Publishing to the topic.

use super::{Context, KafkaConfig, not_made, topic};
use crate::Error;
use coherence::StreamMessage;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use topology::ShardId;

/// How long a message may wait for its acknowledgement before the publisher is told.
const DELIVERY_TIMEOUT_MS: &str = "5000";

/// How many messages, and KiB, may wait in the producer.
const QUEUE_MESSAGES: &str = "1000";
const QUEUE_KIBIBYTES: &str = "65536";

/// How long to wait for room in that queue.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

/// Publishes to a Kafka topic, idempotently and acknowledged by all replicas in sync.
///
/// The broker is first asked for when the first message comes: being down is not an error of making a sink.
#[derive(Clone)]
pub struct KafkaSink {
    shared: Arc<Shared>,
}

struct Shared {
    config: KafkaConfig,
    /// Made with the first message, and anew after an error that librdkafka calls fatal.
    producer: Mutex<Option<FutureProducer<Context>>>,
}

impl fmt::Debug for KafkaSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Properties may hold a password.
        f.debug_struct("KafkaSink")
            .field("topic", &self.shared.config.topic)
            .finish_non_exhaustive()
    }
}

impl KafkaSink {
    /// A place to publish to.
    pub fn new(config: KafkaConfig) -> Self {
        Self {
            shared: Arc::new(Shared {
                config,
                producer: Mutex::new(None),
            }),
        }
    }

    /// Publishes `message` to the partition of `shard` and waits for the broker's acknowledgement.
    ///
    /// # Errors
    /// Those of the topic and the broker. After a retryable one the message may have arrived all the same.
    pub async fn publish(&self, shard: ShardId, message: &StreamMessage) -> Result<(), Error> {
        let config = &self.shared.config;
        let producer = self.producer().await?;
        let (key, payload) = (config.stream.key(shard), message.encode());
        let record = FutureRecord::to(&config.topic)
            .partition(i32::from(shard.0))
            .key(&key)
            .payload(&payload);
        match producer.send(record, QUEUE_TIMEOUT).await {
            Ok(_) => Ok(()),
            Err((error, _)) => {
                self.renew_after(&producer, &error).await;
                Err(Error::Broker(error))
            }
        }
    }

    async fn producer(&self) -> Result<FutureProducer<Context>, Error> {
        let mut slot = self.shared.producer.lock().await;
        if let Some(producer) = slot.as_ref() {
            return Ok(producer.clone());
        }
        let config = &self.shared.config;
        topic::ensure(config).await?;
        let mut client = config.client();
        client
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", DELIVERY_TIMEOUT_MS)
            .set("queue.buffering.max.messages", QUEUE_MESSAGES)
            .set("queue.buffering.max.kbytes", QUEUE_KIBIBYTES)
            .set("linger.ms", "0");
        let producer: FutureProducer<Context> = config
            .with_properties(client)
            .create_with_context(Context)
            .map_err(not_made)?;
        Ok(slot.insert(producer).clone())
    }

    /// A producer that failed fatally never sends again, and a topic that is gone must be made again: both by starting anew.
    async fn renew_after(&self, failed: &FutureProducer<Context>, error: &KafkaError) {
        let gone = matches!(
            error.rdkafka_error_code(),
            Some(
                RDKafkaErrorCode::UnknownTopicOrPartition
                    | RDKafkaErrorCode::UnknownTopic
                    | RDKafkaErrorCode::UnknownPartition
            )
        );
        if gone || failed.client().fatal_error().is_some() {
            *self.shared.producer.lock().await = None;
        }
    }
}
