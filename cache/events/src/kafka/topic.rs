//! The topic: made where it is missing, refused where it is too small.

use super::{Context, KafkaConfig, REQUEST_TIMEOUT, not_made};
use crate::Error;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;

/// How long the broker keeps messages of a topic that we make: a reader begins at the end, so this only
/// has to outlast a broker's pause.
const RETENTION_MS: &str = "3600000";

/// Makes sure that the topic has a partition for each shard.
///
/// # Errors
/// [`Error::TooFewPartitions`]; [`Error::NoTopic`] if it can't be made; [`Error::Broker`] if nobody answers.
pub(super) async fn ensure(config: &KafkaConfig) -> Result<(), Error> {
    let needs = usize::from(config.shards);
    match partitions(config).await? {
        0 => create(config).await,
        has if has < needs => Err(Error::TooFewPartitions {
            topic: config.topic.clone(),
            has,
            needs,
        }),
        _ => Ok(()),
    }
}

/// How many partitions the topic has; none if there is no such topic.
///
/// A consumer is asked, as it alone doesn't make the broker create the topic by its own default. librdkafka blocks here, so it
/// is asked on a thread for such.
async fn partitions(config: &KafkaConfig) -> Result<usize, Error> {
    let client = config.with_properties(config.client());
    let topic = config.topic.clone();
    let asked = tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer<Context> = client.create_with_context(Context).map_err(not_made)?;
        let metadata = consumer
            .fetch_metadata(Some(&topic), REQUEST_TIMEOUT)
            .map_err(Error::Broker)?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        Ok(found
            .filter(|found| found.error().is_none())
            .map_or(0, |found| found.partitions().len()))
    });
    asked.await.map_err(|_| Error::Closed)?
}

async fn create(config: &KafkaConfig) -> Result<(), Error> {
    let admin: AdminClient<Context> = config
        .with_properties(config.client())
        .create_with_context(Context)
        .map_err(not_made)?;
    // -1: the broker's own default, which only the operator of the broker can know.
    let topic = NewTopic::new(
        &config.topic,
        i32::from(config.shards.max(1)),
        TopicReplication::Fixed(-1),
    )
    .set("cleanup.policy", "delete")
    .set("retention.ms", RETENTION_MS);
    let options = AdminOptions::new()
        .request_timeout(Some(REQUEST_TIMEOUT))
        .operation_timeout(Some(REQUEST_TIMEOUT));
    for result in admin
        .create_topics([&topic], &options)
        .await
        .map_err(Error::Broker)?
    {
        match result {
            // Another proxy made it at the same moment: it has the same configuration.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {
                tracing::info!(
                    topic = config.topic,
                    partitions = config.shards,
                    "the topic is there"
                );
            }
            Err((topic, code)) => {
                return Err(Error::NoTopic {
                    topic,
                    reason: code.to_string(),
                });
            }
        }
    }
    Ok(())
}
