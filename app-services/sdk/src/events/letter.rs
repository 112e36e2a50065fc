//! A message between a consumer's topics: the event's own bytes, and what has become of it so far.

use super::event::text;
use super::kafka::{ANSWER_BOUND, KafkaSettings};
use super::ladder::Fate;
use crate::error::Result;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::FutureRecord;

const FAILURES: &str = "ringway-failures";
const REASON: &str = "ringway-reason";

/// The longest reason that is kept, in bytes.
const MAX_REASON: usize = 1_000;

/// The names of the topics that belong to a topic and a consumer of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerTopics {
    topic: String,
    consumer: String,
}

impl ConsumerTopics {
    /// Those of `consumer`, reading `topic`.
    pub fn new(topic: &str, consumer: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            consumer: consumer.to_owned(),
        }
    }

    /// Where the events are published.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The consumer.
    pub fn consumer(&self) -> &str {
        &self.consumer
    }

    /// `TOPIC.CONSUMER.retry.RUNG`
    pub fn retry(&self, rung: usize) -> String {
        format!("{}.{}.retry.{rung}", self.topic, self.consumer)
    }

    /// `TOPIC.CONSUMER.dead`
    pub fn dead(&self) -> String {
        format!("{}.{}.dead", self.topic, self.consumer)
    }
}

/// How often acting on it has failed.
pub(crate) fn failures(message: &impl Message) -> u32 {
    let header = message.headers().and_then(|headers| text(headers, FAILURES));
    header.and_then(|failures| failures.parse().ok()).unwrap_or(0)
}

/// Why it is where it is.
pub(crate) fn reason(message: &impl Message) -> Option<&str> {
    message.headers().and_then(|headers| text(headers, REASON))
}

/// Passes a message on to its fate; it is there when this returns.
pub(crate) async fn pass_on(
    kafka: &KafkaSettings,
    topics: &ConsumerTopics,
    message: &OwnedMessage,
    fate: Fate,
    why: &str,
) -> Result<()> {
    let (topic, failures) = match fate {
        Fate::Retry { rung, failures } => (topics.retry(rung), failures),
        Fate::Dead => (topics.dead(), failures(message).saturating_add(1)),
    };
    let mut headers = OwnedHeaders::new();
    let kept = message.headers().into_iter().flat_map(Headers::iter);
    for header in kept.filter(|header| header.key != FAILURES && header.key != REASON) {
        headers = headers.insert(header);
    }
    let failures = failures.to_string();
    let why = why.get(..why.floor_char_boundary(MAX_REASON)).unwrap_or_default();
    for (key, value) in [(FAILURES, failures.as_str()), (REASON, why)] {
        headers = headers.insert(Header {
            key,
            value: Some(value),
        });
    }
    let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(&topic).headers(headers);
    record.key = message.key();
    record.payload = message.payload();
    kafka
        .producer()?
        .send(record, ANSWER_BOUND)
        .await
        .map_err(|(error, _)| error)?;
    Ok(())
}
