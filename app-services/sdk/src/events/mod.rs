//! Events between services: written with the data they tell of, published in order.
//!
//! A transaction [`publish`](crate::Transaction::publish)es events into the outbox of its service, on the shard of the data. A [`Relay`] for each
//! shard publishes them to Kafka. A [`Consumer`] acts on them; what it has to give up ends as [`DeadLetters`].
//!
//! **Invariant:** an event is published if and only if its transaction was committed, at least once.
//! **Invariant:** for each (topic, aggregate) versions are 1, 2, 3 and so on without a gap, in the order of commits, and first appear in Kafka in
//! this order. What appears again repeats what was there: who reads with `read_committed` and drops what it knows sees each once.
//! **Invariant:** a consumer's transaction takes effect once for each event, or the event ends as a dead letter.

mod consumer;
mod dead;
mod event;
mod kafka;
mod ladder;
mod letter;
mod outbox;
mod relay;

pub use consumer::{Consumer, ConsumerCounters, ConsumerSettings, Failure, Order};
pub use dead::{DeadLetter, DeadLetters, DeadLettersCommand};
pub use event::{Event, Malformed};
pub(crate) use kafka::{ANSWER_BOUND, Member, Quiet};
pub use kafka::{KafkaSettings, TopicSettings, ensure_topics};
pub use ladder::{Cause, Fate, Ladder};
pub use letter::ConsumerTopics;
pub(crate) use letter::pass_on;
pub(crate) use outbox::MAX_PAYLOAD;
pub use outbox::{NewEvent, Published};
pub use relay::{Relay, RelayCounters, RelaySettings};
