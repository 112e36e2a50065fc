//! Dead letters: listing them, and sending them back to their consumer.

use super::event::Event;
use super::kafka::{ANSWER_BOUND, KafkaSettings, Quiet};
use super::ladder::Fate;
use super::letter::{ConsumerTopics, failures, pass_on, reason};
use crate::error::{Blame, Error, Result, Retry};
use clap::{Args, Subcommand, ValueEnum};
use rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::json;
use std::io::Write;
use uuid::Uuid;

/// The most letters that are read at once.
const MAX_LETTERS: usize = 10_000;

/// An event that a consumer gave up.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The event; none if the message was no event.
    pub event: Option<Event>,
    /// How often acting on it had failed.
    pub failures: u32,
    /// Why, at the last time.
    pub reason: String,
    message: OwnedMessage,
}

/// The dead letters of a consumer.
#[derive(Debug)]
pub struct DeadLetters {
    kafka: KafkaSettings,
    topics: ConsumerTopics,
}

impl DeadLetters {
    /// Those of a consumer of a topic.
    pub fn new(kafka: KafkaSettings, topics: ConsumerTopics) -> Self {
        Self { kafka, topics }
    }

    /// All that are there and were not sent back with [`DeadLetters::replay_all`]; at most 10,000.
    ///
    /// # Errors
    /// Kafka doesn't answer.
    pub async fn list(&self) -> Result<Vec<DeadLetter>> {
        Ok(self.read().await?.1)
    }

    /// Sends one event back to its consumer, at once. Acting on it twice is ruled out by the inbox, so it stays listed.
    ///
    /// # Errors
    /// Kafka doesn't answer; there is no such letter.
    pub async fn replay(&self, id: Uuid) -> Result<()> {
        let (_, letters) = self.read().await?;
        let found = letters
            .iter()
            .find(|letter| letter.event.as_ref().is_some_and(|event| event.id == id));
        let letter = found.ok_or_else(|| Error::caller(format!("there is no dead letter {id}")))?;
        self.send_back(std::slice::from_ref(letter)).await
    }

    /// Sends all of them back to their consumer, and lists them no more. What is no event stays a dead letter.
    ///
    /// # Errors
    /// Kafka doesn't answer; then some may have been sent.
    pub async fn replay_all(&self) -> Result<usize> {
        let (reader, mut letters) = self.read().await?;
        // Not `reader.position()`: what that gives keeps librdkafka from ending the reader while it lives.
        let mut behind = TopicPartitionList::new();
        for letter in &letters {
            let (topic, partition) = (letter.message.topic(), letter.message.partition());
            let next = Offset::Offset(letter.message.offset() + 1);
            match behind.find_partition(topic, partition) {
                Some(mut known) => known.set_offset(next)?,
                None => behind.add_partition_offset(topic, partition, next)?,
            }
        }
        if letters.is_empty() {
            return Ok(0);
        }
        let (sent, kept): (Vec<_>, Vec<_>) = letters.drain(..).partition(|letter| letter.event.is_some());
        self.send_back(&sent).await?;
        for letter in &kept {
            pass_on(
                &self.kafka,
                &self.topics,
                &letter.message,
                Fate::Dead,
                &letter.reason,
            )
            .await?;
        }
        let committing = move || reader.commit(&behind, CommitMode::Sync);
        let committed = tokio::task::spawn_blocking(committing).await;
        committed.map_err(|error| Error::caller("the runtime ends").with_source(error))??;
        Ok(sent.len())
    }

    async fn send_back(&self, letters: &[DeadLetter]) -> Result<()> {
        for letter in letters {
            let fate = Fate::Retry { rung: 0, failures: 0 };
            pass_on(&self.kafka, &self.topics, &letter.message, fate, "sent back").await?;
        }
        Ok(())
    }

    async fn read(&self) -> Result<(StreamConsumer<Quiet>, Vec<DeadLetter>)> {
        let group = format!("{}.{}", self.topics.consumer(), self.topics.dead());
        let config = self.kafka.client(&[
            ("group.id", &group),
            ("enable.auto.commit", "false"),
            ("enable.partition.eof", "true"),
            ("auto.offset.reset", "earliest"),
        ]);
        let topic = self.topics.dead();
        let opened = tokio::task::spawn_blocking(move || {
            let reader: StreamConsumer<Quiet> = config.create_with_context(Quiet)?;
            let metadata = reader.fetch_metadata(Some(&topic), ANSWER_BOUND)?;
            let mut wanted = TopicPartitionList::new();
            for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
                wanted.add_partition_offset(&topic, partition.id(), Offset::Stored)?;
            }
            let partitions = wanted.count();
            reader.assign(&wanted)?;
            Ok::<_, KafkaError>((reader, partitions))
        });
        let (reader, mut open) = opened
            .await
            .map_err(|error| Error::caller("the runtime ends").with_source(error))??;
        let mut letters = Vec::new();
        while open > 0 && letters.len() < MAX_LETTERS {
            let received = tokio::time::timeout(ANSWER_BOUND, reader.recv()).await;
            let silent = || Error::new(Blame::Network, Retry::Safe, "Kafka does not answer");
            match received.map_err(|_| silent())? {
                Ok(message) => letters.push(self.letter(message.detach())),
                Err(KafkaError::PartitionEOF(_)) => open -= 1,
                Err(error) => return Err(error.into()),
            }
        }
        Ok((reader, letters))
    }

    fn letter(&self, message: OwnedMessage) -> DeadLetter {
        DeadLetter {
            event: Event::read(&message, self.topics.topic()).ok(),
            failures: failures(&message),
            reason: reason(&message).unwrap_or_default().to_owned(),
            message,
        }
    }
}

/// `dead-letters`: the command that a service's binary mounts.
#[derive(Debug, Args)]
pub struct DeadLettersCommand {
    /// Kafka: host:port, several with commas
    #[arg(long, env = "RINGWAY_KAFKA")]
    kafka: String,
    /// The topic that the events were published to
    #[arg(long)]
    topic: String,
    /// The consumer that gave them up
    #[arg(long)]
    consumer: String,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the letters: event, failures, reason
    List {
        /// How
        #[arg(long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Send letters back to the consumer
    Replay {
        /// The id of one event
        #[arg(long, conflicts_with = "all", required_unless_present = "all")]
        event: Option<Uuid>,
        /// All that are listed
        #[arg(long)]
        all: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Output {
    Table,
    Json,
}

impl DeadLettersCommand {
    /// Carries it out; prints to `out`.
    ///
    /// # Errors
    /// As [`DeadLetters`]; `out` can't be written to.
    pub async fn run(&self, out: &mut impl Write) -> Result<()> {
        let topics = ConsumerTopics::new(&self.topic, &self.consumer);
        let letters = DeadLetters::new(KafkaSettings::new(&self.kafka), topics);
        let text = match &self.action {
            Action::List { output } => listed(&letters.list().await?, *output),
            Action::Replay { event: Some(id), .. } => {
                letters.replay(*id).await?;
                "1 event sent back\n".to_owned()
            }
            Action::Replay { event: None, .. } => {
                format!("{} events sent back\n", letters.replay_all().await?)
            }
        };
        out.write_all(text.as_bytes())
            .map_err(|error| Error::caller("the output can't be written").with_source(error))
    }
}

fn listed(letters: &[DeadLetter], output: Output) -> String {
    let line = |letter: &DeadLetter| {
        let event = letter.event.as_ref();
        let id = event.map(|event| event.id.to_string()).unwrap_or_default();
        let aggregate = event.map(|event| event.aggregate.as_str()).unwrap_or_default();
        let (kind, version) = event.map_or(("", 0), |event| (event.kind.as_str(), event.version));
        let (failures, reason) = (letter.failures, letter.reason.as_str());
        match output {
            Output::Table => format!("{id:36}  {aggregate:24}  {version:>7}  {kind:20}  {failures:>8}  {reason}\n"),
            Output::Json => {
                json!({"id": id, "aggregate": aggregate, "version": version, "kind": kind, "failures": failures, "reason": reason})
                    .to_string()
                    + "\n"
            }
        }
    };
    let head = match output {
        Output::Table => format!(
            "{:36}  {:24}  {:>7}  {:20}  {:>8}  reason\n",
            "event", "aggregate", "version", "kind", "failures"
        ),
        Output::Json => String::new(),
    };
    letters.iter().map(line).fold(head, |text, line| text + &line)
}
