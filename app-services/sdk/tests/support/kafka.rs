//! All that a topic holds.

use anyhow::{Result, bail};
use rdkafka::ClientConfig;
use rdkafka::Offset;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::OwnedMessage;
use std::time::Duration;

/// Reads the committed messages of all partitions up to their ends.
pub async fn read_all(bootstrap: &str, topic: &str, partitions: i32) -> Result<Vec<OwnedMessage>> {
    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "reader-of-all")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("enable.auto.commit", "false")
        .create()?;
    let mut all = TopicPartitionList::new();
    for partition in 0..partitions {
        all.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&all)?;
    let (mut ended, mut messages) = (0, Vec::new());
    while ended < partitions {
        match tokio::time::timeout(Duration::from_secs(20), consumer.recv()).await? {
            Ok(message) => messages.push(message.detach()),
            Err(KafkaError::PartitionEOF(_)) => ended += 1,
            Err(error) => bail!(error),
        }
    }
    Ok(messages)
}
