//! What can go wrong, by whose fault.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// An error of the stream. Each variant names the party at fault.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration of the Kafka client is not accepted.
    #[error("the Kafka client can't be made from the configuration: {0}")]
    Config(KafkaError),
    /// The broker, or the way to it.
    #[error("Kafka: {0}")]
    Broker(KafkaError),
    /// The topic has fewer partitions than there are shards.
    #[error(
        "topic {topic} has {has} partitions, but there are {needs} shards: add partitions, or name another topic"
    )]
    TooFewPartitions {
        /// The topic.
        topic: String,
        /// Its partitions.
        has: usize,
        /// The shards.
        needs: usize,
    },
    /// The topic is neither there nor could it be made.
    #[error("topic {topic} doesn't exist and can't be created: {reason}")]
    NoTopic {
        /// The topic.
        topic: String,
        /// The broker's reason.
        reason: String,
    },
    /// Something in the stream is no message of this version.
    #[error("a message of the stream is skipped: {0}")]
    Malformed(coherence::Error),
    /// A name that can't be part of a stream id.
    #[error("{0:?} can't name a stream: it is empty or contains a slash")]
    Name(String),
    /// All senders are gone.
    #[error("the stream has ended")]
    Closed,
}

impl Error {
    /// Whether doing the same again may succeed without anyone changing the configuration.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Broker(error) => !matches!(error.rdkafka_error_code(), Some(code) if is_final(code)),
            Self::Malformed(_) | Self::NoTopic { .. } => true,
            Self::Config(_) | Self::TooFewPartitions { .. } | Self::Name(_) | Self::Closed => false,
        }
    }
}

/// Codes that repeat until someone changes the message, the topic or the rights.
fn is_final(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::InvalidMessageSize
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::InvalidTopic
            | RDKafkaErrorCode::PolicyViolation
            | RDKafkaErrorCode::InvalidArgument
    )
}
