//! What users are told: in the app by WebSocket, server-sent events and polling, and by e-mail, push and SMS.
//!
//! In: gRPC `Notification.Send`, events of orders and payments, broadcasts of staff. Out: rows on the user's shard, and ways to know of them soon.
//!
//! A notification gets the next sequence of its user's mailbox, under the lock of the mailbox's row, so sequences rise in the order of commits. What a client
//! has is a [`Cursor`]; whatever is behind it is read from the shard. A socket, the registry in Redis and the call from instance to instance are only faster ways to learn of
//! it: each may fail at any time.
//!
//! Each notification and each channel of it is an event in the topic of its priority, with a retry ladder of its own. Low and normal ones
//! are held back in quiet hours and above the user's limit; they have no sequence yet, and a task releases them.
//!
//! **Invariant:** a client that connects with its cursor gets what came after it, in order, each once, whatever was killed in between.
//! **Invariant:** rows are selected by the signed user's id alone.
//! **Invariant:** bounded: sockets of an instance and of a user, what waits for one, sizes of messages, reads of shards at a time.
//! **Invariant:** a letter is handed to a provider under a key, so that handing it over again is no second letter.

mod broadcast;
mod channels;
mod connect;
mod dispatch;
mod hub;
mod local_provider;
mod mailbox;
mod model;
mod preference;
mod react;
mod registry;
mod rpc;
mod schema;
mod send;
mod settings;
mod subscription;
mod upkeep;

pub use broadcast::{Announcement, announce};
pub use channels::{HttpProvider, Letter, Provider, Undelivered};
pub use local_provider::LocalProvider;
pub use model::{Broadcast, Channel, Cursor, Draft, Notification, Priority};
pub use preference::Preference;
pub use settings::{Ladders, Providers, Settings};

use hub::Hub;
use registry::Registry;
use ringway_sdk::events::{ConsumerSettings, Order};
use ringway_sdk::rpc::Peer;
use ringway_sdk::service::{Environment, Service, Stop, Table};
use ringway_sdk::{Database, Error, KeyType, Result, Store};
use shop_contracts::events::{
    AuditEvent, Message as _, NotificationEvent, OrderEvent, PaymentEvent, UserDeleted,
};
use shop_contracts::rpc::v1::notification_delivery_server::NotificationDeliveryServer;
use shop_contracts::rpc::v1::notification_server::NotificationServer;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The most reads of shards for sockets at a time.
const LOOKS: usize = 8;

/// Users who are told of something at the same time, by the events of one topic: their rows lie on their own shards, and a letter's provider is waited for.
const USERS_AT_A_TIME: usize = 4;

ringway_sdk::refusals! {
    /// What the service refuses.
    pub enum Refusal {
        /// Another user's, or none.
        NotFound = NOT_FOUND "not-found" "there is no such notification",
        /// It was used, or is too old.
        BadTicket = UNAUTHORIZED "bad-ticket" "the ticket is not valid",
    }
}

/// What handlers stand on. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct App(Arc<Shared>);

impl AsRef<Database> for App {
    fn as_ref(&self) -> &Database {
        &self.database
    }
}

#[derive(Debug)]
pub(crate) struct Shared {
    database: Database,
    store: Store,
    settings: Settings,
    environment: Environment,
    /// Who knows addresses of users.
    users: Option<Peer>,
    hub: Hub,
    registry: Registry,
    /// Other instances, by address.
    instances: Mutex<HashMap<String, Peer>>,
    looks: Semaphore,
    draining: Stop,
    counters: upkeep::Counters,
}

impl std::ops::Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// The service.
///
/// # Errors
/// A Redis has no valid URL; settings that librdkafka refuses.
pub fn service(environment: &Environment, settings: Settings) -> Result<Service> {
    let app = App::new(environment, settings)?;
    let routes = OpenApiRouter::new()
        .routes(routes!(mailbox::list))
        .routes(routes!(mailbox::acknowledge))
        .routes(routes!(mailbox::read))
        .routes(routes!(connect::ticket))
        .routes(routes!(connect::socket))
        .routes(routes!(connect::stream))
        .routes(routes!(preference::show, preference::change))
        .routes(routes!(broadcast::send))
        .with_state(app.clone());
    let mut service = Service::new("notification", environment)
        .store(&app.store)
        .schema(&schema::STATEMENTS)
        .table(Table::sharded("notification_item", "user_id"))
        .table(Table::sharded("notification_mailbox", "user_id"))
        .table(Table::sharded("notification_preference", "user_id").cached())
        .table(Table::reference("notification_broadcast"))
        .topic(NotificationEvent::TOPIC)
        .http(routes)
        .grpc(NotificationServer::new(app.clone()))
        .grpc(NotificationDeliveryServer::new(app.clone()));
    for priority in Priority::ALL {
        let (dispatching, ladder) = (app.clone(), app.settings.ladders.of(priority));
        let settings = |kafka| ConsumerSettings {
            ladder,
            // A sequence keeps the order; letters have none.
            order: Order::None,
            at_a_time: USERS_AT_A_TIME,
            ..ConsumerSettings::new(kafka, priority.topic(), "notification")
        };
        let work = move |tx, event| dispatch::dispatch(dispatching.clone(), tx, event);
        service = service.consumer_with(&app.store, settings, work)?;
    }
    let (orders, payments) = (app.clone(), app.clone());
    let of_users = |topic, kinds| {
        move |kafka| ConsumerSettings {
            at_a_time: USERS_AT_A_TIME,
            ..ConsumerSettings::new(kafka, topic, "notification").only(kinds)
        }
    };
    let told = of_users(OrderEvent::TOPIC, &react::OF_ORDERS);
    let paid_back = of_users(PaymentEvent::TOPIC, &react::OF_PAYMENTS);
    service = service
        .consumer_with(&app.store, told, move |tx, event| {
            react::order(orders.clone(), tx, event)
        })?
        .consumer_with(&app.store, paid_back, move |tx, event| {
            react::payment(payments.clone(), tx, event)
        })?
        .consumer(&app.store, AuditEvent::TOPIC, &[UserDeleted::KIND], react::audit)?;
    Ok(upkeep::tasks(service, &app))
}

impl App {
    fn new(environment: &Environment, settings: Settings) -> Result<Self> {
        let (own, instance) = (&environment.region, &environment.instance);
        let registry = Registry::new(&environment.redis_by_region, own, instance, &settings.address);
        let registry =
            registry.map_err(|error| Error::caller("a Redis has no valid URL").with_source(error))?;
        let app = Self(Arc::new(Shared {
            database: environment.database.clone(),
            store: Store::new("notification", KeyType::Uuid)?,
            users: environment.peer("user").ok(),
            hub: Hub::new(settings.sockets),
            registry,
            instances: Mutex::default(),
            looks: Semaphore::new(LOOKS),
            draining: environment.draining.clone(),
            counters: upkeep::Counters::default(),
            environment: environment.clone(),
            settings,
        }));
        app.counters.register(&app);
        Ok(app)
    }
}
