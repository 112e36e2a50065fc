//! What happens in the shop, counted.
//!
//! In: all events, from Kafka; those of orders also from the event stores of the shards. Out: documents by date, category and region in MongoDB, and for staff
//! the questions that they answer. An event is counted in the minute in which it happened, however late it comes, and once, however often.
//!
//! What is older than Kafka's retention can be built anew for orders alone: the other topics have no event store.
//!
//! **Invariant:** a document is made of the events of one aggregate, each applied once; sums are made when they are asked for, never kept.
//! **Invariant:** only who works for the shop is answered.

mod facts;
mod questions;

pub use facts::ANALYTICS;

use ringway_sdk::projection::{Projector, ReadModel, Source};
use ringway_sdk::service::{Environment, Service};
use ringway_sdk::{KeyType, Result, Store};
use shop_contracts::events::{Message, OrderEvent, TOPICS};

/// The store of the order service, whose events are all kept.
const ORDERS: &str = "order";

/// The service. Without a MongoDB it refuses all questions.
///
/// # Errors
/// Settings that librdkafka refuses.
pub fn service(environment: &Environment) -> Result<Service> {
    let model = environment.documents();
    let model = model.map(|documents| ReadModel::new(&documents, ANALYTICS));
    let mut service = Service::new("analytics", environment).http(questions::routes(model));
    for topic in TOPICS {
        service = service.topic(topic);
    }
    Ok(service.projection(projector(environment)?))
}

/// What keeps the documents up to date and builds them anew, if there are a MongoDB and a Kafka.
///
/// # Errors
/// Settings that librdkafka refuses.
pub fn projector(environment: &Environment) -> Result<Option<Projector>> {
    let orders = Store::new(ORDERS, KeyType::Uuid)?;
    let source = |topic: &str| {
        let topic = topic.to_owned();
        if topic == OrderEvent::TOPIC {
            let store = orders.clone();
            Source::Journal { topic, store }
        } else {
            Source::Kafka { topic }
        }
    };
    environment.projector(ANALYTICS, TOPICS.iter().map(|topic| source(topic)).collect())
}
