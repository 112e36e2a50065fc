//! The stream in a Kafka topic: the partition is the shard's number, the key says whose stream it is.

mod sink;
mod source;
mod topic;

pub use sink::KafkaSink;
pub use source::KafkaSource;

use crate::{Error, StreamId};
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use std::time::Duration;

/// The topic, where the configuration names no other.
pub const DEFAULT_TOPIC: &str = "cache-invalidation-events";

/// How long one question to the broker may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the topic is and whose streams are meant.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// `host:port`, several with commas.
    pub bootstrap: String,
    /// The topic. It is created where it is missing.
    pub topic: String,
    /// The streams to publish or to read.
    pub stream: StreamId,
    /// The number of shards: the topic needs as many partitions.
    pub shards: u16,
    /// Further settings of librdkafka (TLS, SASL), set last.
    pub properties: Vec<(String, String)>,
}

impl KafkaConfig {
    /// What producer, consumer and administration have in common.
    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", &self.bootstrap)
            .set("client.id", "ringway")
            .set("socket.keepalive.enable", "true")
            .set("reconnect.backoff.ms", "100")
            // The default of 10 s would keep gates closed that long after the broker is back.
            .set("reconnect.backoff.max.ms", "1000")
            .set("topic.metadata.refresh.interval.ms", "30000")
            .set_log_level(RDKafkaLogLevel::Warning);
        client
    }

    fn with_properties(&self, mut client: ClientConfig) -> ClientConfig {
        for (name, value) in &self.properties {
            client.set(name, value);
        }
        client
    }
}

/// Passes librdkafka's own log on at debug level: what matters comes back as an error of a call.
#[derive(Clone, Copy, Debug)]
struct Context;

impl ClientContext for Context {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
    }
}

impl ConsumerContext for Context {}

/// Turns what a client could not be made of into our error.
fn not_made(error: KafkaError) -> Error {
    Error::Config(error)
}
