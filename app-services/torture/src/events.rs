//! What is in the topics.

use anyhow::{Context as _, Result, ensure};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};
use ringway_sdk::events::Event;
use std::time::{Duration, Instant};

/// For an answer of the broker.
const ANSWER_BOUND: Duration = Duration::from_secs(20);

/// For a whole topic to be read.
const READ_BOUND: Duration = Duration::from_secs(120);

/// The most that is read of a topic.
const MAX_MESSAGES: usize = 2_000_000;

/// What a poison begins with.
pub const POISON: &str = "torture-poison";

fn consumer(bootstrap: &str) -> Result<BaseConsumer> {
    let consumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "torture")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .create();
    Ok(consumer?)
}

/// The names of all topics.
///
/// # Errors
/// Kafka's.
pub async fn topics(bootstrap: &str) -> Result<Vec<String>> {
    let bootstrap = bootstrap.to_owned();
    tokio::task::spawn_blocking(move || {
        let metadata = consumer(&bootstrap)?.fetch_metadata(None, ANSWER_BOUND)?;
        Ok(metadata
            .topics()
            .iter()
            .map(|topic| topic.name().to_owned())
            .collect())
    })
    .await?
}

/// All messages of a topic, those of a partition in their order.
///
/// # Errors
/// Kafka's.
pub async fn messages(bootstrap: &str, topic: &str) -> Result<Vec<OwnedMessage>> {
    let (bootstrap, topic) = (bootstrap.to_owned(), topic.to_owned());
    tokio::task::spawn_blocking(move || read_all(&bootstrap, &topic)).await?
}

fn read_all(bootstrap: &str, topic: &str) -> Result<Vec<OwnedMessage>> {
    let consumer = consumer(bootstrap)?;
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER_BOUND)?;
    let partitions = metadata.topics().first().context("no such topic")?.partitions();
    let mut assigned = TopicPartitionList::new();
    for partition in partitions {
        assigned.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
    }
    consumer.assign(&assigned)?;
    let (mut found, mut left, began) = (Vec::new(), partitions.len(), Instant::now());
    // Offsets don't say how much there is: transactions leave records of their own.
    while left > 0 {
        ensure!(began.elapsed() < READ_BOUND, "{topic} can't be read in time");
        ensure!(found.len() < MAX_MESSAGES, "{topic} has too many messages");
        match consumer.poll(Duration::from_millis(200)) {
            None => {}
            Some(Ok(message)) => found.push(message.detach()),
            Some(Err(KafkaError::PartitionEOF(_))) => left -= 1,
            Some(Err(error)) => return Err(error.into()),
        }
    }
    Ok(found)
}

/// The events of a topic, and how many messages are none.
///
/// # Errors
/// Kafka's.
pub async fn events(bootstrap: &str, topic: &str) -> Result<(Vec<Event>, usize)> {
    let messages = messages(bootstrap, topic).await?;
    let events: Vec<Event> = messages
        .iter()
        .filter_map(|message| Event::read(message, topic).ok())
        .collect();
    let others = messages.len() - events.len();
    Ok((events, others))
}

/// Puts every message of a topic into it once more; gives how many.
///
/// # Errors
/// Kafka's.
pub async fn repeat(bootstrap: &str, topic: &str) -> Result<usize> {
    let messages = messages(bootstrap, topic).await?;
    let producer = producer(bootstrap)?;
    for message in &messages {
        let key = message.key().unwrap_or_default();
        let mut record = FutureRecord::to(topic)
            .key(key)
            .payload(message.payload().unwrap_or_default());
        if let Some(headers) = message.headers() {
            record = record.headers(headers.clone());
        }
        let sent = producer.send(record, ANSWER_BOUND).await;
        sent.map_err(|(error, _)| error)?;
    }
    Ok(messages.len())
}

/// Puts so many messages into a topic that are no events.
///
/// # Errors
/// Kafka's.
pub async fn poison(bootstrap: &str, topic: &str, count: u32) -> Result<()> {
    let producer = producer(bootstrap)?;
    for number in 0..count {
        let text = format!("{POISON} {number}");
        let record = FutureRecord::to(topic).key(&text).payload(&text);
        let sent = producer.send(record, ANSWER_BOUND).await;
        sent.map_err(|(error, _)| error)?;
    }
    Ok(())
}

fn producer(bootstrap: &str) -> Result<FutureProducer> {
    Ok(ClientConfig::new().set("bootstrap.servers", bootstrap).create()?)
}
