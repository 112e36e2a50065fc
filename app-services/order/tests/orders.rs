//! Orders from the cart to their end: confirmed, refused at each step, cancelled at any moment, and left by who carried them out.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the failure")]

mod world;

use anyhow::Result;
use cluster::{MongoDb, Programs};
use ringway_sdk::service::{Environment, Server, ServerSettings, Service};
use ringway_sdk::{Context, Database, Transaction};
use serde_json::{Value, json};
use shop_contracts::events::{ShipmentMoved, ShipmentState, ShippingEvent, Tell};
use shop_order::{Settings, service};
use shop_testing::{Backing, Client, Region, Scene, until};
use std::time::Duration;
use tokio::net::TcpListener;
use uuid::Uuid;
use world::{Refuse, World};

const PRICE: i64 = 1_500;
const SHIPPING: i64 = 490;

/// A process that drives sagas and can be killed.
const AT_ONCE: ServerSettings = ServerSettings {
    connections: 64,
    unready: Duration::ZERO,
    drain: Duration::from_secs(1),
    tasks: Duration::from_secs(1),
    metrics: true,
};

fn checkout() -> Value {
    json!({
        "address": {"name": "A", "line1": "B 1", "postal_code": "1", "city": "C", "country": "DE"},
        "shipping_service": "standard",
        "payment_token": "tok",
    })
}

async fn scene(
    backing: Backing,
    world: &World,
    settings: Settings,
    mongodb: Option<&MongoDb>,
) -> Result<Scene> {
    Box::pin(Scene::start(backing, |environment| {
        environment.mongodb = mongodb.map(MongoDb::uri);
        let mut services = world.services(environment)?;
        services.push(service(environment, settings)?);
        Ok(services)
    }))
    .await
}

/// Puts two of a product into the cart and checks out.
async fn order(client: &Client, product: Uuid, key: &str) -> Result<Uuid> {
    let item = format!("/api/v1/cart/items/{product}");
    client.put(&item, json!({"quantity": 2})).await?.ok()?;
    let placed = client.post_once("/api/v1/orders", key, checkout()).await?.ok()?;
    Ok(placed["order_id"].as_str().unwrap().parse()?)
}

async fn view(client: &Client, order: Uuid) -> Result<Value> {
    client.get(&format!("/api/v1/orders/{order}")).await?.ok()
}

/// Waits until an order stands there; gives what it is then.
async fn wait_for(client: &Client, order: Uuid, state: &str) -> Result<Value> {
    until(&format!("{order} is {state}"), async || {
        view(client, order).await.is_ok_and(|view| view["state"] == state)
    })
    .await?;
    view(client, order).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_confirmed_once_and_seen_everywhere() -> Result<()> {
    let mongodb = match (MongoDb::elsewhere(), Programs::mongodb()) {
        (None, Err(missing)) => {
            println!("NOT TESTED with a read model: {missing}");
            None
        }
        _ => Some(MongoDb::start().await?),
    };
    let world = World::default();
    let scene = scene(Backing::Full, &world, Settings::default(), mongodb.as_ref()).await?;
    let (user, product) = (Uuid::now_v7(), Uuid::now_v7());
    let client = scene.customer(Region::UsEast, user)?;
    let empty = client.post_once("/api/v1/orders", "none", checkout()).await?;
    assert_eq!(empty.problem(), "empty-cart");

    let placed = order(&client, product, "a").await?;
    let again = client.post_once("/api/v1/orders", "a", checkout()).await?.ok()?;
    assert_eq!(
        again["order_id"],
        placed.to_string(),
        "the same checkout is the same order"
    );
    assert_eq!(again["total"]["amount_cents"], 2 * PRICE + SHIPPING);
    let west = client.moved_to(Region::UsWest);
    let seen = west.get("/api/v1/orders").await?.ok()?;
    assert_eq!(
        seen["orders"][0]["order_id"],
        placed.to_string(),
        "at once, in the other region"
    );
    let confirmed = wait_for(&client, placed, "confirmed").await?;
    assert_eq!(confirmed["label"], format!("label-{placed}"));
    assert_eq!(world.holdings(), vec![(placed, "sold, paid, sent".to_owned())]);
    until("the carrier picks it up", async || {
        world.calls("hand-over", placed) > 0
    })
    .await?;

    let moved = ShippingEvent::Moved(ShipmentMoved {
        shipment_id: Uuid::now_v7(),
        order_id: placed,
        user_id: user,
        state: ShipmentState::Delivered,
        label: "label".to_owned(),
    });
    let tell = async |tx: Transaction| tx.tell(&world::shipping_store(), user, moved.clone()).await;
    let database = scene.database(Region::UsEast);
    database.transaction(&Context::background(), tell).await?;
    wait_for(&client, placed, "delivered").await?;
    let late = client
        .post_once(&format!("/api/v1/orders/{placed}/cancel"), "x", Value::Null)
        .await?;
    assert_eq!(late.problem(), "too-late");

    if mongodb.is_some() {
        until("the history comes from the read model", async || {
            let history = client.get("/api/v1/orders").await.unwrap().ok().unwrap();
            history["source"] == "read-model"
        })
        .await?;
        let from_documents = client.get("/api/v1/orders?limit=1").await?.ok()?;
        let mut one = view(&client, placed).await?;
        let mut listed = from_documents["orders"][0].clone();
        // Documents have whole milliseconds.
        let _ = (
            one.as_object_mut().unwrap().remove("placed_at"),
            listed.as_object_mut().unwrap().remove("placed_at"),
        );
        assert_eq!(listed, one, "the read model says what the shard says");
    }
    let stranger = scene.customer(Region::UsEast, Uuid::now_v7())?;
    assert_eq!(
        stranger.get(&format!("/api/v1/orders/{placed}")).await?.problem(),
        "unknown-order"
    );
    assert_eq!(stranger.get("/api/v1/orders").await?.ok()?["orders"], json!([]));
    assert_eq!(
        scene.anybody(Region::UsEast).get("/api/v1/orders").await?.status,
        401
    );
    // Consumers are closed while Kafka is there: without it librdkafka may wait for ever.
    scene.stop_services().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_step_gives_back_everything_and_a_cancellation_is_never_half() -> Result<()> {
    let world = World::default();
    let scene = scene(Backing::Embedded, &world, Settings::default(), None).await?;
    for (refuse, reason) in [
        (Refuse::Score, "fraud-suspected"),
        (Refuse::Reserve, "out-of-stock"),
        (Refuse::Authorise, "declined"),
        (Refuse::Ship, "refused-by-carrier"),
        (Refuse::Capture, "not-authorised"),
        (Refuse::Commit, "expired"),
    ] {
        let (client, product) = (scene.customer(Region::UsEast, Uuid::now_v7())?, Uuid::now_v7());
        world.refuse(product, refuse);
        let placed = order(&client, product, "a").await?;
        let cancelled = wait_for(&client, placed, "cancelled").await?;
        assert_eq!(cancelled["reason"], reason);
        assert_eq!(world.calls("hand-over", placed), 0, "it couldn't be taken back");
    }
    assert_eq!(world.holdings(), vec![], "all is given back");

    let mut ends = [0, 0];
    for n in 0..12_u64 {
        let client = scene.customer(Region::UsEast, Uuid::now_v7())?;
        let placed = order(&client, Uuid::now_v7(), "a").await?;
        // From before the first step to after the last.
        tokio::time::sleep(Duration::from_millis(n * 60)).await;
        let path = format!("/api/v1/orders/{placed}/cancel");
        let before = client.post_once(&path, "x", Value::Null).await?.ok()?;
        ends[usize::from(before["state"] == "confirmed")] += 1;
        let cancelled = wait_for(&client, placed, "cancelled").await?;
        assert_eq!(cancelled["reason"], "cancelled");
    }
    println!("cancelled before and after their confirmation: {ends:?}");
    assert_eq!(world.holdings(), vec![]);

    let (client, product) = (scene.customer(Region::UsEast, Uuid::now_v7())?, Uuid::now_v7());
    world.refuse(product, Refuse::Recall);
    let placed = order(&client, product, "a").await?;
    wait_for(&client, placed, "confirmed").await?;
    let path = format!("/api/v1/orders/{placed}/cancel");
    client.post_once(&path, "x", Value::Null).await?.ok()?;
    until("the carrier is asked", async || world.calls("recall", placed) > 0).await?;
    assert_eq!(
        view(&client, placed).await?["state"],
        "confirmed",
        "the carrier has it"
    );
    assert_eq!(world.holdings(), vec![(placed, "sold, paid, sent".to_owned())]);
    Ok(())
}

/// A process of its own that drives sagas, with its own connections; killed when its runtime is.
fn driver(scene: &Scene, world: &World) -> Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let mut environment: Environment = scene.environment(Region::UsEast).clone();
    let url = scene
        .ringways
        .of(Region::UsEast)
        .url(cluster::SHOP, cluster::SHOP);
    let _ = world;
    runtime.block_on(async {
        environment.database = Database::new(&url, ringway_sdk::Settings::default())?;
        let services: Vec<Service> = vec![service(&environment, Settings::default())?];
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        Server::start(listener, &environment, services, AT_ONCE)?;
        anyhow::Ok(())
    })?;
    Ok(runtime)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_was_left_in_the_middle_is_taken_up_by_another_process() -> Result<()> {
    let world = World::default();
    let scene = scene(Backing::Embedded, &world, Settings { sagas: false }, None).await?;
    let (client, product) = (scene.customer(Region::UsEast, Uuid::now_v7())?, Uuid::now_v7());
    world.refuse(product, Refuse::AnswerToShip);
    let placed = order(&client, product, "a").await?;
    assert_eq!(world.calls("reserve", placed), 0, "nobody carries it out");
    let spawn = || tokio::task::block_in_place(|| driver(&scene, &world));
    let first = spawn()?;
    until("the carrier is asked", async || world.calls("ship", placed) > 0).await?;
    first.shutdown_background();
    assert_eq!(view(&client, placed).await?["state"], "placed");
    world.answer(product);
    let second = spawn()?;
    wait_for(&client, placed, "confirmed").await?;
    assert_eq!(world.holdings(), vec![(placed, "sold, paid, sent".to_owned())]);
    assert_eq!(
        world.calls("reserve", placed),
        1,
        "what was done is not done again"
    );
    second.shutdown_background();
    Ok(())
}
