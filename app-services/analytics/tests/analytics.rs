//! A day in the shop, told out of order and more than once, and what staff is answered.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the failure")]

use anyhow::Result;
use cluster::{MongoDb, Programs};
use ringway_sdk::event_store::{Aggregate, Encoded, Journal, Loaded, Publication, Unreadable};
use ringway_sdk::service::Service;
use ringway_sdk::{Context, KeyType, Store, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shop_analytics::{projector, service};
use shop_contracts::events::{
    AnalyticsEvent, CancelledBy, CartChanged, Message, OrderCancelled, OrderConfirmed, OrderEvent, OrderLine,
    OrderPlaced, ProductViewed, Tell,
};
use shop_contracts::{Currency, Money};
use shop_testing::{Backing, Client, Region, Scene, until};
use time::OffsetDateTime;
use uuid::Uuid;

/// Orders as far as this test needs them: only their events.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Order;

impl Aggregate for Order {
    type Event = OrderEvent;
    const TOPIC: &'static str = OrderEvent::TOPIC;
    const SNAPSHOT_EVERY: u32 = 0;
    const FORM: i32 = 1;

    fn encode(event: &OrderEvent) -> Result<Encoded, Unreadable> {
        Ok(Encoded {
            kind: event.kind().into(),
            payload: event.payload(),
        })
    }

    fn decode(kind: &str, payload: &[u8]) -> Result<OrderEvent, Unreadable> {
        OrderEvent::read(kind, payload).map_err(|error| Unreadable(error.to_string()))
    }

    fn apply(&mut self, _: &OrderEvent) {}
}

fn store() -> Store {
    Store::new("order", KeyType::Uuid).unwrap()
}

fn euros(amount_cents: i64) -> Money {
    Money::new(amount_cents, Currency::EUR)
}

/// Places an order of some pieces of a product, and goes on as far as told.
async fn order(scene: &Scene, user_id: Uuid, (product_id, category): (Uuid, &str), end: &str) -> Result<()> {
    let order_id = Uuid::now_v7();
    let line = OrderLine {
        product_id,
        name: "Thing".to_owned(),
        category: category.to_owned(),
        quantity: 3,
        unit_price: euros(1_000),
    };
    let mut events: Vec<OrderEvent> = vec![
        OrderPlaced {
            order_id,
            user_id,
            region: "us-east".to_owned(),
            lines: vec![line.clone()],
            total: euros(3_500),
            shipping_price: euros(500),
            shipping_country: "DE".to_owned(),
        }
        .into(),
    ];
    if end != "placed" {
        let confirmed = OrderConfirmed {
            order_id,
            user_id,
            region: "us-east".to_owned(),
            lines: vec![line],
            total: euros(3_500),
            label: "l".to_owned(),
        };
        events.push(confirmed.into());
    }
    if end == "cancelled" {
        let cancelled = OrderCancelled {
            order_id,
            user_id,
            by: CancelledBy::Customer,
            reason: "cancelled".to_owned(),
            total: euros(3_500),
        };
        events.push(cancelled.into());
    }
    let journal = Journal::<Order>::new(&store(), Publication::Outbox);
    let work = async |tx: Transaction| {
        let id = order_id.to_string();
        journal
            .append(&tx, &user_id.into(), &id, &Loaded::default(), &events)
            .await
    };
    scene
        .database(Region::UsEast)
        .transaction(&Context::background(), work)
        .await?;
    Ok(())
}

async fn tell(scene: &Scene, user_id: Uuid, event: AnalyticsEvent) -> Result<()> {
    let work = async |tx: Transaction| tx.tell(&store(), user_id, event.clone()).await;
    scene
        .database(Region::UsEast)
        .transaction(&Context::background(), work)
        .await?;
    Ok(())
}

async fn ask(client: &Client, question: &str) -> Result<Value> {
    client.get(&format!("/api/v1/analytics/{question}")).await?.ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_is_counted_once() -> Result<()> {
    if let (None, Err(missing)) = (MongoDb::elsewhere(), Programs::mongodb()) {
        println!("NOT TESTED: {missing}");
        return Ok(());
    }
    let mongodb = MongoDb::start().await?;
    let scene = Box::pin(Scene::start(Backing::Full, |environment| {
        environment.mongodb = Some(mongodb.uri());
        // Whose events they are.
        let orders = Service::new("order", environment).store(&store());
        Ok(vec![orders, service(environment)?])
    }))
    .await?;
    let (tea, cup) = ((Uuid::now_v7(), "tea"), (Uuid::now_v7(), "cups"));
    let users: Vec<Uuid> = (0..4).map(|_| Uuid::now_v7()).collect();
    for user in &users {
        let viewed = ProductViewed {
            visitor: user.to_string(),
            region: "us-east".to_owned(),
            product_id: tea.0,
            category: "tea".to_owned(),
        };
        tell(&scene, *user, viewed.clone().into()).await?;
        tell(&scene, *user, viewed.into()).await?;
    }
    for user in users.iter().take(3) {
        let changed = CartChanged {
            visitor: user.to_string(),
            region: "us-east".to_owned(),
            product_id: tea.0,
            category: "tea".to_owned(),
            quantity: 3,
            unit_price: euros(1_000),
        };
        tell(&scene, *user, changed.into()).await?;
    }
    order(&scene, users[0], tea, "confirmed").await?;
    order(&scene, users[0], cup, "confirmed").await?;
    order(&scene, users[1], tea, "cancelled").await?;
    order(&scene, users[1], tea, "placed").await?;

    let staff = scene.staff(Region::UsEast)?;
    let date = OffsetDateTime::now_utc().date();
    let conversion = json!({"visitors": 4, "carted": 3, "ordered": 2});
    let counted = async || {
        let asked = ask(&staff, &format!("conversion?date={date}")).await;
        let revenue = ask(&staff, &format!("revenue?date={date}")).await.ok();
        let minutes = revenue
            .and_then(|all| all.as_array().cloned())
            .unwrap_or_default();
        let sum = |field: &str| {
            minutes
                .iter()
                .map(|one| one[field].as_i64().unwrap())
                .sum::<i64>()
        };
        asked.is_ok_and(|asked| asked == conversion) && (sum("placed"), sum("paid")) == (4, 2)
    };
    until("all is counted", counted).await?;
    let revenue = ask(&staff, &format!("revenue?date={date}&region=us-east")).await?;
    let cents = |minute: &Value| minute["revenue_cents"]["EUR"].as_i64().unwrap_or(0);
    assert_eq!(revenue.as_array().unwrap().iter().map(cents).sum::<i64>(), 7_000);
    let of_tea = ask(&staff, &format!("revenue?date={date}&category=tea")).await?;
    assert_eq!(of_tea.as_array().unwrap().iter().map(cents).sum::<i64>(), 3_000);
    let elsewhere = ask(&staff, &format!("revenue?date={date}&region=us-west")).await?;
    assert_eq!(elsewhere, json!([]));
    let top = ask(&staff, &format!("top-products?date={date}&category=cups")).await?;
    assert_eq!(
        top,
        json!([{"product_id": cup.0.to_string(), "quantity": 3, "cents": 3_000}])
    );
    let carts = ask(&staff, &format!("abandoned-carts?date={date}")).await?;
    assert_eq!(
        carts,
        json!({"carts": 3, "abandoned": 0, "cents": 0}),
        "half an hour isn't over"
    );

    // All over again, from the shards and from Kafka's beginning: nothing is counted twice.
    let rebuilt = projector(scene.environment(Region::UsEast))?;
    let rebuilt = rebuilt.unwrap().rebuild().await?;
    println!("{rebuilt:?}");
    assert_eq!(rebuilt.from_shards, 8);
    until("the same is counted", counted).await?;

    let customer = scene.customer(Region::UsEast, users[0])?;
    let refused = customer
        .get(&format!("/api/v1/analytics/conversion?date={date}"))
        .await?;
    assert_eq!(refused.status, 403);
    assert_eq!(
        staff.get("/api/v1/analytics/conversion?date=today").await?.status,
        422
    );
    // Consumers are closed while Kafka is there: without it librdkafka may wait for ever.
    scene.stop_services().await;
    Ok(())
}
