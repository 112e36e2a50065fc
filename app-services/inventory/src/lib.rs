//! Stock by product and warehouse.
//!
//! An order's claim on a product is one row, its *hold*: reserved, then committed (it has left the warehouse), released or expired. What a hold has
//! taken from which warehouse stands in it, so that giving it back needs nothing else. All rows of a product lie on one shard, so each change is a
//! one-shard transaction; several products of an order are taken one after the other, in the order of their ids, and given back if one is refused.
//!
//! **Invariant:** in every warehouse 0 <= reserved <= on hand: a CHECK of the table, and no statement that relies on it.
//! **Invariant:** a product's reserved stock is what its reserved holds have taken; what lies there and what was committed is what staff has set.
//! **Invariant:** a change takes effect once for its operation key, a refusal as well, and writes its event with it.
//! **Invariant:** an order that was released is never reserved later.

mod expiry;
mod grpc;
mod hold;
mod http;
mod stock;

pub use hold::{Committal, Reservation, Taken};
pub use stock::{ProductStock, Warehouse};

use ringway_sdk::service::{Environment, Service, Table};
use ringway_sdk::{Database, KeyType, Result, Store};
use serde::Deserialize;
use shop_contracts::events::{InventoryEvent, Message};
use shop_contracts::rpc::v1::inventory_server::InventoryServer;
use std::time::Duration;

/// The tables beside the SDK's.
const SCHEMA: [&str; 3] = [
    "CREATE TABLE IF NOT EXISTS inventory_stock (product_id uuid NOT NULL, warehouse text NOT NULL, \
     on_hand int NOT NULL, reserved int NOT NULL DEFAULT 0, PRIMARY KEY (product_id, warehouse), \
     CONSTRAINT inventory_stock_bounds CHECK (0 <= reserved AND reserved <= on_hand))",
    "CREATE TABLE IF NOT EXISTS inventory_hold (product_id uuid NOT NULL, order_id uuid NOT NULL, user_id uuid NOT NULL, \
     state text NOT NULL, taken jsonb NOT NULL, expires_at timestamptz NOT NULL, PRIMARY KEY (product_id, order_id))",
    "CREATE INDEX IF NOT EXISTS inventory_hold_due ON inventory_hold (expires_at) WHERE state = 'reserved'",
];

/// How reservations end by themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// A reservation is kept for so long; longer than placing an order takes.
    pub hold_seconds: u32,
    /// Between two looks for reservations whose time is over.
    pub expiry_poll_ms: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hold_seconds: 900,
            expiry_poll_ms: 1_000,
        }
    }
}

/// Stock, and what is done with it.
#[derive(Clone, Debug)]
pub struct Inventory {
    database: Database,
    store: Store,
    settings: Settings,
}

impl Inventory {
    /// The stock of this database.
    ///
    /// # Errors
    /// None that this service's own name could cause.
    pub fn new(database: &Database, settings: Settings) -> Result<Self> {
        Ok(Self {
            database: database.clone(),
            store: Store::new("inventory", KeyType::Uuid)?,
            settings,
        })
    }
}

/// The service.
///
/// # Errors
/// As [`Inventory::new`].
pub fn service(environment: &Environment, settings: Settings) -> Result<Service> {
    let inventory = Inventory::new(&environment.database, settings)?;
    let expiring = inventory.clone();
    let poll = Duration::from_millis(settings.expiry_poll_ms.into());
    Ok(Service::new("inventory", environment)
        .store(&inventory.store)
        .schema(&SCHEMA)
        .table(Table::sharded("inventory_stock", "product_id").cached())
        .table(Table::sharded("inventory_hold", "product_id"))
        .topic(InventoryEvent::TOPIC)
        .http(http::routes(inventory.clone()))
        .grpc(InventoryServer::new(inventory))
        .task("expiry", move |stop| expiring.clone().expire_until(stop, poll)))
}

ringway_sdk::refusals! {
    /// What inventory refuses.
    pub enum Refusal {
        /// Staff wants to set fewer than are reserved.
        Reserved = CONFLICT "reserved" "more are reserved than would be there",
        /// Nobody has set a stock of the product.
        UnknownProduct = NOT_FOUND "unknown-product" "no stock of this product was ever set",
    }
}
