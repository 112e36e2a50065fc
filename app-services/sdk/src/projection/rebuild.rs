//! Building a read model anew while the old one is served.
//!
//! First the ends of the topics are noted, then the shards are read, then the topics from the noted ends on. An event that is committed when its shard is
//! read is found there; one that is committed later is published later, so it stands behind the noted end; one that is found in both places is known the
//! second time.

use super::apply::{NotApplied, Target};
use super::batch::BATCH;
use super::change::Source;
use super::generation::ALIAS_BOUND;
use super::projector::Projector;
use crate::error::{Blame, Error, Result, Retry};
use crate::event_store::Scan;
use crate::events::{ANSWER_BOUND, Event, Member, Quiet};
use futures_util::future::try_join_all;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::NoTls;

/// What a rebuild made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rebuilt {
    /// The generation that is served from then on.
    pub generation: u32,
    /// Events that were read from the shards.
    pub from_shards: u64,
    /// Events that were read from Kafka.
    pub from_kafka: u64,
    /// Those of them that can't be read: they are passed over, and the log says which.
    pub unreadable: u64,
}

impl Projector {
    /// Builds a new generation from the shards' event stores (and from Kafka's beginning where a topic has none), catches up, and serves it. Until
    /// then the old one is served and followed. The one before it is removed.
    ///
    /// # Errors
    /// Whatever fails; what was served before is still served.
    pub async fn rebuild(&self) -> Result<Rebuilt> {
        if let Some(served) = self.documents.served(&self.projection).await? {
            // Whoever has read the alias before it was switched to this one is done by then.
            tokio::time::sleep(ALIAS_BOUND * 2).await;
            self.documents.forget_before(&self.projection, served).await?;
        }
        let generation = self.documents.new_generation(&self.projection).await?;
        let target = self.target(generation);
        let mut rebuilt = Rebuilt {
            generation,
            from_shards: 0,
            from_kafka: 0,
            unreadable: 0,
        };
        for source in &self.settings.sources {
            let from = match source {
                Source::Journal { .. } => Side::End,
                Source::Kafka { .. } => Side::Beginning,
            };
            let noted = self.offsets(source.topic(), from).await?;
            if let Source::Journal { store, topic } = source {
                let scans = self
                    .settings
                    .shards
                    .iter()
                    .map(|url| scan(&target, source, (store, topic), url));
                for scanned in try_join_all(scans).await? {
                    rebuilt.from_shards += scanned.events;
                    rebuilt.unreadable += scanned.unreadable;
                }
            }
            let caught_up = self.catch_up(&target, source, noted).await?;
            rebuilt.from_kafka += caught_up.events;
            rebuilt.unreadable += caught_up.unreadable;
        }
        self.documents.serve(&self.projection, generation).await?;
        tracing::info!(
            projection = self.projection.name,
            ?rebuilt,
            "a read model was built"
        );
        Ok(rebuilt)
    }

    /// One end of each of a topic's partitions.
    async fn offsets(&self, topic: &str, side: Side) -> Result<BTreeMap<i32, i64>> {
        let config = self.settings.kafka.client(&[
            ("group.id", "projection.offsets"),
            ("isolation.level", "read_committed"),
        ]);
        let topic = topic.to_owned();
        let asked = tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer<Quiet> = config.create_with_context(Quiet)?;
            let metadata = consumer.fetch_metadata(Some(&topic), ANSWER_BOUND)?;
            let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
            let mut offsets = BTreeMap::new();
            for partition in partitions {
                let (low, high) = consumer.fetch_watermarks(&topic, partition.id(), ANSWER_BOUND)?;
                let offset = match side {
                    Side::Beginning => low,
                    Side::End => high,
                };
                offsets.insert(partition.id(), offset);
            }
            Ok::<_, KafkaError>(offsets)
        });
        let gone = |_| Error::new(Blame::Network, Retry::Safe, "the question to Kafka was dropped");
        Ok(asked.await.map_err(gone)??)
    }

    /// Applies what is behind these offsets, up to the ends; leaves to the generation's consumer group where it has come to.
    async fn catch_up(
        &self,
        target: &Target<'_>,
        source: &Source,
        mut offsets: BTreeMap<i32, i64>,
    ) -> Result<Tally> {
        let config = self.settings.kafka.client(&[
            ("group.id", &self.group(target.generation)),
            ("isolation.level", "read_committed"),
            ("enable.auto.commit", "false"),
            ("enable.partition.eof", "true"),
            ("auto.offset.reset", "earliest"),
        ]);
        let member = Member::new(&config)?;
        let consumer = member.get()?;
        consumer.assign(&positions(source.topic(), &offsets)?)?;
        let (mut ended, mut tally, mut read) = (BTreeSet::new(), Tally::default(), Vec::new());
        while ended.len() < offsets.len() {
            match consumer.recv().await {
                Ok(message) => {
                    let message = message.detach();
                    match self.read(&message) {
                        Ok((_, event)) => read.push((source, event)),
                        Err(why) => tally.pass_over(message.topic(), &why),
                    }
                    offsets.insert(message.partition(), message.offset().saturating_add(1));
                }
                Err(KafkaError::PartitionEOF(partition)) => {
                    ended.insert(partition);
                }
                Err(error) => return Err(error.into()),
            }
            if read.len() == BATCH {
                tally.apply(target, &std::mem::take(&mut read)).await?;
            }
        }
        tally.apply(target, &read).await?;
        let reached = positions(source.topic(), &offsets)?;
        let committed = tokio::task::spawn_blocking(move || -> Result<()> {
            Ok(member.get()?.commit(&reached, CommitMode::Sync)?)
        });
        let gone = |_| Error::new(Blame::Network, Retry::Safe, "the commit to Kafka was dropped");
        committed.await.map_err(gone)??;
        Ok(tally)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Beginning,
    End,
}

fn positions(topic: &str, offsets: &BTreeMap<i32, i64>) -> Result<TopicPartitionList> {
    let mut positions = TopicPartitionList::new();
    for (partition, offset) in offsets {
        positions.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
    }
    Ok(positions)
}

/// What was read.
#[derive(Clone, Copy, Default)]
struct Tally {
    events: u64,
    unreadable: u64,
}

impl Tally {
    async fn apply(&mut self, target: &Target<'_>, events: &[(&Source, Event)]) -> Result<()> {
        if target.apply_together(events).await.is_ok() {
            self.events += events.len() as u64;
            return Ok(());
        }
        for (source, event) in events {
            self.apply_one(target, source, event).await?;
        }
        Ok(())
    }

    async fn apply_one(&mut self, target: &Target<'_>, source: &Source, event: &Event) -> Result<()> {
        match target.apply(source, event).await {
            Ok(_) => self.events += 1,
            Err(NotApplied::Outage(error)) => return Err(error),
            Err(NotApplied::Unreadable(why)) => {
                let which = format!(
                    "version {} of {} in {}",
                    event.version, event.aggregate, event.topic
                );
                self.pass_over(&which, &why);
                target.pass_over(event).await?;
            }
        }
        Ok(())
    }

    fn pass_over(&mut self, which: &str, why: &str) {
        tracing::error!(which, why, "an event can't be applied, and is passed over");
        self.events += 1;
        self.unreadable += 1;
    }
}

/// Applies all that a shard has of a topic.
async fn scan(
    target: &Target<'_>,
    source: &Source,
    (store, topic): (&crate::Store, &str),
    url: &str,
) -> Result<Tally> {
    let mut scan = Scan::begin(store, topic, url, NoTls).await?;
    let mut tally = Tally::default();
    loop {
        let events = scan.next().await?;
        if events.is_empty() {
            return Ok(tally);
        }
        let events: Vec<_> = events.into_iter().map(|event| (source, event)).collect();
        for some in events.chunks(BATCH) {
            tally.apply(target, some).await?;
        }
    }
}
