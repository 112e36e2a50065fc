//! What producers, consumers and administration of Kafka have in common.

use crate::error::{Blame, Error, Result, Retry};
use futures_util::FutureExt as _;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{Consumer as _, ConsumerContext, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::OwnedMessage;
use rdkafka::producer::{DeliveryResult, FutureProducer, Producer as _, ProducerContext};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// For one question to the broker.
pub(crate) const ANSWER_BOUND: Duration = Duration::from_secs(10);

/// Where Kafka is.
#[derive(Clone)]
pub struct KafkaSettings {
    /// `host:port`, several with commas.
    pub bootstrap: String,
    properties: Vec<(String, String)>,
    /// What clones pass messages on with: each producer has threads and connections of its own.
    producer: Arc<Mutex<Option<FutureProducer<Quiet>>>>,
}

/// Without the values of properties: some are passwords.
impl std::fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaSettings")
            .field("bootstrap", &self.bootstrap)
            .finish_non_exhaustive()
    }
}

impl KafkaSettings {
    /// A Kafka without TLS.
    pub fn new(bootstrap: impl Into<String>) -> Self {
        Self {
            bootstrap: bootstrap.into(),
            properties: Vec::new(),
            producer: Arc::default(),
        }
    }

    /// Further settings of librdkafka (TLS, SASL), set last.
    #[must_use]
    pub fn with_properties(self, properties: Vec<(String, String)>) -> Self {
        Self {
            properties,
            ..Self::new(self.bootstrap)
        }
    }

    /// Whether librdkafka takes them.
    pub(crate) fn check(&self) -> Result<()> {
        self.client(&[]).create_native_config()?;
        Ok(())
    }

    /// The producer that these settings and their clones share.
    ///
    /// # Errors
    /// Settings that librdkafka refuses.
    pub(crate) fn producer(&self) -> Result<FutureProducer<Quiet>> {
        let mut producer = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        // One that has failed fatally never sends again.
        if let Some(made) = producer
            .as_ref()
            .filter(|made| made.client().fatal_error().is_none())
        {
            return Ok(made.clone());
        }
        let config = self.client(&[
            ("enable.idempotence", "true"),
            ("message.timeout.ms", "10000"),
            ("partitioner", "murmur2_random"),
        ]);
        Ok(producer.insert(config.create_with_context(Quiet)?).clone())
    }

    pub(crate) fn client(&self, more: &[(&str, &str)]) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", &self.bootstrap)
            .set("client.id", "ringway-sdk")
            .set("socket.keepalive.enable", "true")
            .set("reconnect.backoff.ms", "100")
            .set("reconnect.backoff.max.ms", "1000")
            .set_log_level(RDKafkaLogLevel::Warning);
        let properties = self
            .properties
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in more.iter().copied().chain(properties) {
            client.set(name, value);
        }
        client
    }
}

/// After an error of a consumer: it keeps errors that come without an end from taking a whole processor.
const ERROR_PAUSE: Duration = Duration::from_millis(5);

/// An outage is told again after so long.
const TELL_AGAIN: Duration = Duration::from_secs(30);

/// Passes librdkafka's own log on at debug level: what matters comes back as an error of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
    }
}

impl ConsumerContext for Quiet {}

/// A transaction with a message that was not delivered can't be committed, which is how that is told.
impl ProducerContext for Quiet {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// A consumer whose end nobody waits for: librdkafka takes its leave of the group first, for ever if the brokers are gone.
pub(crate) struct Member(Option<StreamConsumer<Quiet>>);

impl Member {
    /// A consumer of these settings.
    pub(crate) fn new(config: &ClientConfig) -> Result<Self> {
        Ok(Self(Some(config.create_with_context(Quiet)?)))
    }

    /// The consumer.
    pub(crate) fn get(&self) -> Result<&StreamConsumer<Quiet>> {
        self.0
            .as_ref()
            .ok_or_else(|| Error::caller("the consumer has ended"))
    }

    /// Waits for the next message, through outages of Kafka: librdkafka connects again by itself, and queues an error for each try, of which there
    /// are hundreds after a minute. So an error costs next to nothing here, and is told now and then.
    ///
    /// # Errors
    /// One after which this consumer gets no more messages.
    pub(crate) async fn next(&self) -> Result<OwnedMessage> {
        let consumer = self.get()?;
        let mut told: Option<Instant> = None;
        loop {
            let error = match consumer.recv().await {
                Ok(message) => return Ok(message.detach()),
                Err(error) => error,
            };
            if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
                return Err(error.into());
            }
            if told.is_none_or(|told| told.elapsed() > TELL_AGAIN) {
                told = Some(Instant::now());
                let topics = consumer.subscription().map(|topics| topics.to_topic_map());
                let topics: Vec<String> = topics
                    .unwrap_or_default()
                    .into_keys()
                    .map(|(topic, _)| topic)
                    .collect();
                tracing::warn!(%error, ?topics, "reading events");
            }
            tokio::time::sleep(ERROR_PAUSE).await;
        }
    }
}

impl Member {
    /// A message and those behind it that are there already, so many at most.
    pub(crate) fn and_ready(&self, first: OwnedMessage, most: usize) -> Vec<OwnedMessage> {
        let mut messages = vec![first];
        while messages.len() < most
            && let Ok(consumer) = self.get()
            // An error comes again, or is over: it is told where it is waited for.
            && let Some(Ok(message)) = consumer.recv().now_or_never()
        {
            messages.push(message.detach());
        }
        messages
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let consumer = self.0.take();
        let leaving = std::thread::Builder::new().name("kafka-leave".to_owned());
        // Without a thread to be had it ends here.
        let _ = leaving.spawn(move || drop(consumer));
    }
}

impl From<KafkaError> for Error {
    fn from(error: KafkaError) -> Self {
        let blame = match error {
            KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) => Blame::Caller,
            _ => Blame::Network,
        };
        let retry = if blame == Blame::Caller {
            Retry::Never
        } else {
            Retry::Safe
        };
        Self::new(blame, retry, "Kafka did not do what it was asked").with_source(error)
    }
}

/// How a topic is made where it is missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TopicSettings {
    /// Its partitions. Adding some later breaks the order of aggregates that then go elsewhere.
    pub partitions: i32,
    /// Those of the retry and dead-letter topics of consumers: few events go there, and each partition costs a broker something.
    pub retry_partitions: i32,
    /// On how many brokers.
    pub replication: i32,
    /// How long messages are kept.
    pub retention: Duration,
}

impl TopicSettings {
    /// For the retry and dead-letter topics of consumers.
    #[must_use]
    pub fn of_retries(self) -> Self {
        Self {
            partitions: self.retry_partitions,
            ..self
        }
    }
}

/// Makes the topics that are missing; those that are there stay as they are.
///
/// # Errors
/// The broker doesn't answer, or refuses.
pub async fn ensure_topics(kafka: &KafkaSettings, names: &[&str], settings: TopicSettings) -> Result<()> {
    let admin: AdminClient<Quiet> = kafka.client(&[]).create_with_context(Quiet)?;
    let retention_ms = settings.retention.as_millis().to_string();
    let topics: Vec<NewTopic<'_>> = names
        .iter()
        .map(|name| {
            let replication = TopicReplication::Fixed(settings.replication);
            NewTopic::new(name, settings.partitions, replication).set("retention.ms", &retention_ms)
        })
        .collect();
    let options = AdminOptions::new().operation_timeout(Some(ANSWER_BOUND));
    for made in admin.create_topics(&topics, &options).await? {
        match made {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(KafkaError::AdminOp(code).into()),
        }
    }
    Ok(())
}
