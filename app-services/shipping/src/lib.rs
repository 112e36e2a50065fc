//! Shipments: one for each order.
//!
//! What the carrier is asked for is an errand of the SDK's desk, as payments are: a label whose answer was lost is found by asking for the errand, never
//! ordered twice. Where a shipment is, the carrier tells by signed webhooks, in any order and as often as it likes.
//!
//! **Invariant:** a shipment only moves on: labelled, in transit, delivered; or cancelled before the carrier has it.
//! **Invariant:** an order that was cancelled is never sent later.
//! **Invariant:** the carrier picks nothing up before it was told to: until then a shipment can be taken back.
//! **Invariant:** a user sees that user's shipments and no others: rows are chosen by the token's user.

mod deals;
mod grpc;
mod http;
pub mod local;
mod operations;
mod rates;
mod shipment;

pub use deals::Labels;
pub use operations::Shipments;
pub use rates::{Rate, rates};
pub use shipment::{Kind, Locked, Shipment, State};

use ringway_sdk::partner::PartnerSettings;
use ringway_sdk::service::{Environment, Service, Table};
use ringway_sdk::{KeyType, Result, Store};
use shop_contracts::events::{Message, ShippingEvent};
use shop_contracts::rpc::v1::shipping_server::ShippingServer;

/// The tables beside the SDK's.
const SCHEMA: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS shipping_shipment (user_id uuid NOT NULL, order_id uuid NOT NULL, shipment_id uuid NOT NULL, \
     state text NOT NULL, service text NOT NULL, label text, address jsonb, weight_grams int NOT NULL, price_cents bigint NOT NULL, \
     currency text NOT NULL, open_errand uuid, reason text, at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (user_id, order_id), \
     CHECK (label IS NOT NULL OR state IN ('new', 'refused', 'cancelled')))",
    "CREATE UNIQUE INDEX IF NOT EXISTS shipping_shipment_id ON shipping_shipment (user_id, shipment_id)",
];

/// The service, with its carrier.
///
/// # Errors
/// None that this service's own name could cause.
pub fn service(environment: &Environment, carrier: &PartnerSettings) -> Result<Service> {
    let store = Store::new("shipping", KeyType::Uuid)?;
    let shipments = Shipments::new(&environment.database, &store, carrier);
    Ok(Service::new("shipping", environment)
        .store(&store)
        .schema(&SCHEMA)
        .table(Table::sharded("shipping_shipment", "user_id").cached())
        .topic(ShippingEvent::TOPIC)
        .desk(shipments.desk())
        .http(http::routes(shipments.clone()))
        .grpc(ShippingServer::new(shipments)))
}

ringway_sdk::refusals! {
    /// What shipping refuses.
    pub enum Refusal {
        /// The order has no shipment.
        UnknownShipment = NOT_FOUND "unknown-shipment" "there is no shipment for this order",
        /// The carrier tells of a shipment whose label isn't known here yet.
        TooEarly = CONFLICT "too-early" "the label is not known yet",
    }
}
