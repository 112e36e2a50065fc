//! How suspicious an order is.
//!
//! The [`rules`] are pure: facts in, points with reasons out. What was done lately is counted in Redis (`windows`): by scoring itself, at once,
//! and from fraud-detection-events, so that what happens in one region counts in the other. Each thing that happened is one member of a
//! sorted set, so that what is told again counts once. What is to be looked at by staff is a row (`case`).
//!
//! **Invariant:** an order is scored once: the same operation gets the same score.
//! **Invariant:** without Redis an order below `closed_from_cents` is scored by the other rules, and one from there on is declined.
//! **Invariant:** every verdict has its reasons, and an order that staff has looked at is not looked at again.

mod case;
mod grpc;
mod http;
pub mod rules;
mod scoring;
mod windows;

pub use case::{Case, Review};
pub use scoring::Fraud;
pub use windows::Windows;

use ringway_sdk::events::ConsumerSettings;
use ringway_sdk::service::{Environment, Service, Table};
use ringway_sdk::{KeyType, Result, Store};
use rules::Limits;
use serde::Deserialize;
use shop_contracts::events::{AuditEvent, FraudEvent, FraudScored, Message, SignInTried};
use shop_contracts::rpc::v1::fraud_server::FraudServer;

/// The tables beside the SDK's.
const SCHEMA: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS fraud_case (user_id uuid NOT NULL, order_id uuid NOT NULL, amount_cents bigint NOT NULL, currency text NOT NULL, \
     score int NOT NULL, verdict text NOT NULL, reasons jsonb NOT NULL, is_open boolean NOT NULL, finding text, reviewed_by uuid, \
     at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (user_id, order_id))",
    "CREATE INDEX IF NOT EXISTS fraud_case_open ON fraud_case (at) WHERE is_open",
];

/// What is suspicious, and what follows from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// From this score on staff looks at it.
    pub review_from: u32,
    /// From this score on it is declined.
    pub decline_from: u32,
    /// Without Redis, orders from this amount on are declined.
    pub closed_from_cents: i64,
    /// From what on something is suspicious.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            review_from: 50,
            decline_from: 80,
            closed_from_cents: 50_000,
            limits: Limits::default(),
        }
    }
}

/// The service.
///
/// # Errors
/// Redis's URL is malformed; settings that librdkafka refuses.
pub fn service(environment: &Environment, settings: Settings) -> Result<Service> {
    let store = Store::new("fraud", KeyType::Uuid)?;
    let windows = Windows::new(environment.redis.as_deref())?;
    let fraud = Fraud::new(&environment.database, &store, windows.clone(), settings);
    // Each region counts for itself, so each gets all events.
    let consumer = format!("fraud-{}", environment.region);
    Service::new("fraud", environment)
        .store(&store)
        .schema(&SCHEMA)
        .table(Table::sharded("fraud_case", "user_id"))
        .topic(FraudEvent::TOPIC)
        .topic(AuditEvent::TOPIC)
        .http(http::routes(fraud.clone()))
        .grpc(FraudServer::new(fraud))
        .consumer_with(
            &store,
            |kafka| {
                ConsumerSettings::new(kafka, FraudEvent::TOPIC, &consumer)
                    .only(&[SignInTried::KIND, FraudScored::KIND])
            },
            move |_, event| {
                let windows = windows.clone();
                async move { windows.count_event(&event).await }
            },
        )
}

ringway_sdk::refusals! {
    /// What fraud detection refuses.
    pub enum Refusal {
        /// The order was never scored.
        UnknownCase = NOT_FOUND "unknown-case" "this order was never scored",
        /// Somebody has looked at it already.
        Reviewed = CONFLICT "reviewed" "somebody has looked at it already",
    }
}
