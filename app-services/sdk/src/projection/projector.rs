//! Following the topics.

use super::apply::{Applied, NotApplied, Target};
use super::batch::BATCH;
use super::change::{Projection, Source};
use super::generation::{ALIAS_BOUND, Documents};
use crate::database::Database;
use crate::error::Result;
use crate::events::{ConsumerTopics, Event, Fate, KafkaSettings, Member, pass_on};
use crate::retry::{BudgetSettings, Policy};
use rdkafka::consumer::Consumer as _;
use rdkafka::message::{Message, OwnedMessage};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Pauses while the document store, the shards or Kafka don't work.
pub(crate) const OUTAGE: Policy = Policy {
    attempts: u32::MAX,
    base: Duration::from_millis(50),
    cap: Duration::from_secs(2),
    budget: BudgetSettings { full: 0, earned: 0 },
};

/// What a projector works with.
#[derive(Clone)]
pub struct ProjectorSettings {
    /// Kafka.
    pub kafka: KafkaSettings,
    /// The topics.
    pub sources: Vec<Source>,
    /// The primaries of all shards, as a role that may read the tables of the journals: what [`Projector::rebuild`] reads.
    pub shards: Vec<String>,
}

/// Without the shards' URLs: they have passwords.
impl fmt::Debug for ProjectorSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProjectorSettings")
            .field("kafka", &self.kafka)
            .field("sources", &self.sources)
            .finish_non_exhaustive()
    }
}

/// What a projector has done.
#[derive(Debug, Default)]
pub struct ProjectorCounters {
    /// Events that were applied as they came.
    pub applied: AtomicU64,
    /// Events that were known already.
    pub known: AtomicU64,
    /// Events that had been missed and were read from the shards.
    pub filled: AtomicU64,
    /// Events that can't be read; they are in the dead-letter topic.
    pub dead: AtomicU64,
}

/// Keeps the read model of a projection up to date. Any number of instances may run; they share the partitions.
pub struct Projector {
    pub(crate) documents: Documents,
    pub(crate) database: Database,
    pub(crate) projection: Projection,
    pub(crate) settings: ProjectorSettings,
    counters: Arc<ProjectorCounters>,
}

impl fmt::Debug for Projector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Projector")
            .field("projection", &self.projection.name)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl Projector {
    /// A projector; `database` is where it asks for events that it missed.
    ///
    /// # Errors
    /// Settings that librdkafka refuses.
    pub fn new(
        documents: &Documents,
        database: &Database,
        projection: Projection,
        settings: ProjectorSettings,
    ) -> Result<Self> {
        settings.kafka.check()?;
        Ok(Self {
            documents: documents.clone(),
            database: database.clone(),
            projection,
            settings,
            counters: Arc::default(),
        })
    }

    /// What it has done so far.
    pub fn counters(&self) -> Arc<ProjectorCounters> {
        Arc::clone(&self.counters)
    }

    /// Follows the topics for as long as it is polled, in whatever generation is served; builds the first one if there is none. It may be
    /// dropped or killed at any moment.
    pub async fn run(&self) {
        let mut failures = 1;
        loop {
            let done = match self.documents.served(&self.projection).await {
                Ok(Some(generation)) => self.follow(generation).await,
                Ok(None) => self.rebuild().await.map(drop),
                Err(error) => Err(error),
            };
            match done {
                Ok(()) => failures = 1,
                Err(error) => {
                    failures += 1;
                    tracing::warn!(%error, projection = self.projection.name, "the projection waits");
                    tokio::time::sleep(OUTAGE.pause(failures, rand::random())).await;
                }
            }
        }
    }

    /// The consumer group of a generation.
    pub(crate) fn group(&self, generation: u32) -> String {
        format!("projection.{}.g{generation}", self.projection.name)
    }

    pub(crate) fn target(&self, generation: u32) -> Target<'_> {
        Target {
            documents: &self.documents,
            database: &self.database,
            projection: &self.projection,
            generation,
            heads: Mutex::default(),
        }
    }

    /// Follows until another generation is served.
    async fn follow(&self, generation: u32) -> Result<()> {
        let config = self.settings.kafka.client(&[
            ("group.id", &self.group(generation)),
            ("session.timeout.ms", "10000"),
            ("isolation.level", "read_committed"),
            ("auto.offset.reset", "earliest"),
            // Stored once an event is applied, committed in the background: what is lost of it is known when it comes again.
            ("enable.auto.commit", "true"),
            ("auto.commit.interval.ms", "500"),
            ("enable.auto.offset.store", "false"),
        ]);
        let member = Member::new(&config)?;
        let consumer = member.get()?;
        let topics: Vec<&str> = self.settings.sources.iter().map(Source::topic).collect();
        consumer.subscribe(&topics)?;
        let target = self.target(generation);
        let mut look = tokio::time::interval(ALIAS_BOUND);
        loop {
            tokio::select! {
                _ = look.tick() => {
                    if self.documents.served(&self.projection).await? != Some(generation) {
                        return Ok(());
                    }
                }
                message = member.next() => {
                    let messages = member.and_ready(message?, BATCH);
                    self.settle_all(&target, &messages).await;
                    for message in &messages {
                        // Fails if the partition has gone to another, to which the event is delivered again.
                        let _ = consumer.store_offset(message.topic(), message.partition(), message.offset());
                    }
                }
            }
        }
    }

    /// As [`Projector::settle`]; together, if nothing is unusual.
    async fn settle_all(&self, target: &Target<'_>, messages: &[OwnedMessage]) {
        let events: Result<Vec<_>, _> = messages.iter().map(|message| self.read(message)).collect();
        if let Ok(events) = events
            && let Ok(known) = target.apply_together(&events).await
        {
            let (known, all) = (known as u64, events.len() as u64);
            self.counters.known.fetch_add(known, Ordering::Relaxed);
            self.counters.applied.fetch_add(all - known, Ordering::Relaxed);
            return;
        }
        for message in messages {
            self.settle(target, message).await;
        }
    }

    /// Applies an event or gives it up; returns when one of them is done for good.
    async fn settle(&self, target: &Target<'_>, message: &OwnedMessage) {
        let mut outages = 1;
        loop {
            let done = match self.read(message) {
                Ok((source, event)) => match target.apply(source, &event).await {
                    Ok(applied) => return self.count(applied),
                    Err(NotApplied::Outage(error)) => Err(error),
                    Err(NotApplied::Unreadable(why)) => {
                        self.give_up(target, message, Some(&event), &why).await
                    }
                },
                Err(why) => self.give_up(target, message, None, &why).await,
            };
            let Err(error) = done else { return };
            outages += 1;
            tracing::warn!(%error, projection = self.projection.name, "an event waits");
            tokio::time::sleep(OUTAGE.pause(outages, rand::random())).await;
        }
    }

    /// The event of a message, and where it comes from.
    pub(crate) fn read(&self, message: &OwnedMessage) -> Result<(&Source, Event), String> {
        let topic = message.topic();
        let mut sources = self.settings.sources.iter();
        let source = sources
            .find(|source| source.topic() == topic)
            .ok_or_else(|| format!("{topic} is not followed"))?;
        let event = Event::read(message, topic).map_err(|malformed| malformed.to_string())?;
        Ok((source, event))
    }

    pub(crate) fn count(&self, applied: Applied) {
        let counters = &self.counters;
        match applied {
            Applied::Known => counters.known.fetch_add(1, Ordering::Relaxed),
            Applied::New(filled) => {
                counters.filled.fetch_add(filled, Ordering::Relaxed);
                counters.applied.fetch_add(1, Ordering::Relaxed)
            }
        };
    }

    async fn give_up(
        &self,
        target: &Target<'_>,
        message: &OwnedMessage,
        event: Option<&Event>,
        why: &str,
    ) -> Result<()> {
        let consumer = format!("projection.{}", self.projection.name);
        let topics = ConsumerTopics::new(message.topic(), &consumer);
        tracing::error!(
            why,
            topic = message.topic(),
            projection = self.projection.name,
            "an event can't be applied"
        );
        pass_on(&self.settings.kafka, &topics, message, Fate::Dead, why).await?;
        if let Some(event) = event {
            target.pass_over(event).await?;
        }
        self.counters.dead.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
