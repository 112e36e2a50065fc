//! Cart, checkout, and orders.
//!
//! An order is what happened to it: `OrderEvent`s in the event store on its user's shard, folded by [`Order`]. Beside them lies one row with what the
//! events come to, written by the same transaction, so that a look at an order is one row by its primary key. Checking out appends `order-placed` and starts the
//! saga [`CHECKOUT`], whose steps are other services' calls; a step that is refused leads to `order-cancelled` once all that was taken is given back.
//! The history is a read model in MongoDB, used when it has all that the user's shard has, else the shard answers.
//!
//! **Invariant:** an order is confirmed only when its money is captured and its stock committed; cancelled only when all of it is given back.
//! **Invariant:** a cancellation and the confirmation of an order wait for each other at its row; whoever comes first has it.
//! **Invariant:** rows are selected by the user of the token, never by one from the path or the body.
//! **Invariant:** a checkout takes effect once for its `Idempotency-Key`.

mod calls;
mod cancel;
mod cart;
mod checkout;
mod history;
mod order;
mod record;
mod saga;
mod shipments;

pub use history::HISTORY;
pub use order::{Order, OrderView, State};
pub use saga::{CANCELLATION, CHECKOUT};

use calls::Calls;
use ringway_sdk::event_store::{AppendError, Journal, Publication};
use ringway_sdk::projection::{Projector, ReadModel, Source};
use ringway_sdk::service::{Environment, Service, Table};
use ringway_sdk::{Database, KeyType, Result, Store};
use serde::Deserialize;
use shop_contracts::events::{AnalyticsEvent, Message, OrderEvent, ShipmentMoved, ShippingEvent};
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;

/// The tables beside the SDK's.
const SCHEMA: [&str; 3] = [
    "CREATE TABLE IF NOT EXISTS order_cart (user_id uuid PRIMARY KEY, lines jsonb NOT NULL)",
    "CREATE TABLE IF NOT EXISTS order_summary (user_id uuid NOT NULL, order_id uuid NOT NULL, view jsonb NOT NULL, \
     cancel text, failure text, label text, placed_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (user_id, order_id))",
    "CREATE TABLE IF NOT EXISTS order_customer (user_id uuid PRIMARY KEY, changes bigint NOT NULL)",
];

/// What the service's tables are named after.
const NAME: &str = "order";

/// Carts and orders, and what is done with them.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    database: Database,
    store: Store,
    journal: Journal<Order>,
    history: Option<ReadModel>,
    calls: Arc<Calls>,
    region: String,
}

impl AsRef<Database> for Orders {
    fn as_ref(&self) -> &Database {
        &self.database
    }
}

impl Orders {
    fn new(environment: &Environment) -> Result<Self> {
        let store = Store::new(NAME, KeyType::Uuid)?;
        Ok(Self {
            database: environment.database.clone(),
            journal: Journal::new(&store, Publication::Outbox),
            store,
            history: environment
                .documents()
                .map(|documents| ReadModel::new(&documents, HISTORY)),
            calls: Arc::new(Calls::new(environment)?),
            region: environment.region.clone(),
        })
    }
}

/// What a process does of the service.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether it moves sagas on. Some process has to.
    pub sagas: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { sagas: true }
    }
}

/// The service.
///
/// # Errors
/// The address of a service that it calls is missing; settings that librdkafka refuses.
pub fn service(environment: &Environment, settings: Settings) -> Result<Service> {
    let orders = Orders::new(environment)?;
    let shipments = orders.clone();
    let routes = OpenApiRouter::new()
        .merge(cart::routes())
        .merge(checkout::routes())
        .merge(history::routes())
        .merge(cancel::routes());
    let service = Service::new(NAME, environment)
        .store(&orders.store)
        .schema(&SCHEMA)
        .table(Table::sharded("order_cart", "user_id").cached())
        .table(Table::sharded("order_summary", "user_id").cached())
        .table(Table::sharded("order_customer", "user_id").cached())
        .topic(OrderEvent::TOPIC)
        .topic(AnalyticsEvent::TOPIC)
        .topic(ShippingEvent::TOPIC)
        .http(routes.with_state(orders.clone()))
        .consumer(
            &orders.store,
            ShippingEvent::TOPIC,
            &[ShipmentMoved::KIND],
            move |tx, event| shipments.clone().moved(tx, event),
        )?;
    let service = if settings.sagas {
        let (checkout, cancellation) = (orders.clone(), orders.clone());
        service
            .saga(&orders.store, CHECKOUT, move |call| checkout.clone().act(call))
            .saga(&orders.store, CANCELLATION, move |call| {
                cancellation.clone().act(call)
            })
    } else {
        service
    };
    Ok(service.projection(projector(environment)?))
}

/// What keeps the order history up to date and builds it anew, if there are a MongoDB and a Kafka.
///
/// # Errors
/// Settings that librdkafka refuses.
pub fn projector(environment: &Environment) -> Result<Option<Projector>> {
    let orders = Source::Journal {
        topic: OrderEvent::TOPIC.to_owned(),
        store: Store::new(NAME, KeyType::Uuid)?,
    };
    environment.projector(HISTORY, vec![orders])
}

ringway_sdk::refusals! {
    /// What orders refuse.
    pub enum Refusal {
        /// There is nothing to check out.
        EmptyCart = CONFLICT "empty-cart" "there is nothing in the cart",
        /// It was changed while it was being checked out.
        CartChanged = CONFLICT "cart-changed" "the cart was changed at the same time",
        /// There is no room for another product.
        FullCart = CONFLICT "full-cart" "there are too many products in the cart",
        /// Nobody sells it.
        UnknownProduct = NOT_FOUND "unknown-product" "there is no such product",
        /// It can't be bought at the moment.
        NotOnSale = CONFLICT "not-on-sale" "a product can't be bought at the moment",
        /// The prices are not what the customer was shown.
        PriceChanged = CONFLICT "price-changed" "the total is another one than was expected",
        /// One order has one currency.
        MixedCurrencies = CONFLICT "mixed-currencies" "products of several currencies can't be ordered at once",
        /// It can't be sent there, or not so.
        NoShipping = CONFLICT "no-shipping" "it can't be sent there by this service",
        /// There is no such order of this user's.
        UnknownOrder = NOT_FOUND "unknown-order" "there is no such order",
        /// It is on its way, or there.
        TooLate = CONFLICT "too-late" "the order can't be cancelled any more",
        /// Somebody else did something with the order at the same time.
        Busy = SERVICE_UNAVAILABLE "busy" "the order is being changed",
        /// The saga's confirmation came after the cancellation.
        CancelledMeanwhile = CONFLICT "cancelled" "the order was cancelled",
    }
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Conflict(_) => Self::Busy,
            AppendError::Sdk(error) => Self::Sdk(error),
        }
    }
}

/// Routes over [`Orders`].
pub(crate) type Routes = OpenApiRouter<Orders>;
