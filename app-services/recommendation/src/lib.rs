//! What the shop recommends: what is bought together with a product, and what is popular in a region.
//!
//! In: `order-confirmed` events, and what visitors say of recommendations. Out: products, with the reason for each.
//!
//! Each confirmed order warms its products in its region, and each pair of them; warmth halves every week ([`heat`]). It is kept beside the
//! product, so what is bought together with a product comes from one shard, and what is popular is merged from all of them.
//!
//! **Invariant:** an order counts once, whatever Kafka delivers.
//! **Invariant:** there is always an answer: without orders it is what is popular elsewhere, then what is new.

mod answers;
pub mod heat;
mod learn;

use ringway_sdk::rpc::Peer;
use ringway_sdk::service::{Environment, Service, Table};
use ringway_sdk::{Database, KeyType, Result, Store};
use shop_contracts::events::{Message as _, OrderConfirmed, OrderEvent, RecommendationEvent};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

ringway_sdk::refusals! {
    /// What recommendations refuse.
    pub enum Refusal {}
}

/// DDL.
const SCHEMA: [&str; 3] = [
    "CREATE TABLE IF NOT EXISTS recommendation_heat (
        product_id uuid NOT NULL,
        region     text NOT NULL,
        heat       double precision NOT NULL,
        PRIMARY KEY (product_id, region)
    )",
    "CREATE INDEX IF NOT EXISTS recommendation_heat_region ON recommendation_heat (region, heat)",
    "CREATE TABLE IF NOT EXISTS recommendation_pair (
        product_id uuid NOT NULL,
        other_id   uuid NOT NULL,
        heat       double precision NOT NULL,
        PRIMARY KEY (product_id, other_id)
    )",
];

/// What handlers stand on.
#[derive(Clone, Debug)]
struct Recommendations {
    database: Database,
    store: Store,
    products: Peer,
    region: String,
}

/// The service.
///
/// # Errors
/// The product service's address isn't known; settings that librdkafka refuses.
pub fn service(environment: &Environment) -> Result<Service> {
    let store = Store::new("recommendation", KeyType::Uuid)?;
    let recommendations = Recommendations {
        database: environment.database.clone(),
        store: store.clone(),
        products: environment.peer("product")?,
        region: environment.region.clone(),
    };
    let routes = OpenApiRouter::new()
        .routes(routes!(answers::popular))
        .routes(routes!(answers::together))
        .routes(routes!(answers::feedback))
        .with_state(recommendations);
    Service::new("recommendation", environment)
        .store(&store)
        .schema(&SCHEMA)
        .table(Table::sharded("recommendation_heat", "product_id"))
        .table(Table::sharded("recommendation_pair", "product_id"))
        .topic(RecommendationEvent::TOPIC)
        .http(routes)
        .consumer(&store, OrderEvent::TOPIC, &[OrderConfirmed::KIND], learn::learn)
}
