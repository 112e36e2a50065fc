//! The topic: made where it is missing, refused where it is too small.

use super::{Context, KafkaConfig, REQUEST_TIMEOUT, not_made};
use crate::Error;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;

/// How long the broker keeps messages of a topic that we make: a reader begins at the end, so this only
/// has to outlast a broker's pause.
const RETENTION_MS: &str = "3600000";

/// Makes sure that the topic has a partition for each shard.
///
/// # Errors
/// [`Error::TooFewPartitions`]; [`Error::NoTopic`] if it can't be made; [`Error::Broker`] if nobody answers.
pub(super) async fn ensure(config: &KafkaConfig) -> Result<(), Error> {
    let admin: AdminClient<Context> = config
        .with_properties(config.client())
        .create_with_context(Context)
        .map_err(not_made)?;
    let needs = usize::from(config.shards);
    let (admin, has) = partitions(admin, config.topic.clone()).await?;
    if has == 0 {
        create(&admin, config).await?;
        return Ok(());
    }
    if has < needs {
        return Err(Error::TooFewPartitions {
            topic: config.topic.clone(),
            has,
            needs,
        });
    }
    Ok(())
}

/// How many partitions the topic has; none if there is no such topic. librdkafka blocks here, so it is asked from a thread for such.
async fn partitions(
    admin: AdminClient<Context>,
    topic: String,
) -> Result<(AdminClient<Context>, usize), Error> {
    let asked = tokio::task::spawn_blocking(move || {
        let metadata = admin.inner().fetch_metadata(Some(&topic), REQUEST_TIMEOUT);
        (admin, metadata, topic)
    });
    let (admin, metadata, topic) = asked.await.map_err(|_| Error::Closed)?;
    let metadata = metadata.map_err(Error::Broker)?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let count = found
        .filter(|found| found.error().is_none())
        .map_or(0, |found| found.partitions().len());
    Ok((admin, count))
}

async fn create(admin: &AdminClient<Context>, config: &KafkaConfig) -> Result<(), Error> {
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
