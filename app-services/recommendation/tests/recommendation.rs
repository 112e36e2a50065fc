//! Recommendations learnt from orders, on a real cluster with Kafka.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the failure")]

use anyhow::Result;
use ringway_sdk::service::{Environment, Service};
use ringway_sdk::{Context, KeyType, Store};
use serde_json::{Value, json};
use shop_contracts::events::{Message as _, OrderConfirmed, OrderEvent, OrderLine, Tell as _};
use shop_contracts::{Currency, Money};
use shop_product::seed;
use shop_testing::{Backing, Client, Region, Scene, until};
use std::time::Instant;
use uuid::Uuid;

const PRODUCTS: u32 = 30;

/// Publishes orders as the order service would.
fn orders() -> Store {
    Store::new("order", KeyType::Uuid).unwrap()
}

fn services(environment: &Environment) -> Result<Vec<Service>> {
    Ok(vec![
        shop_product::service(environment)?,
        shop_recommendation::service(environment)?,
        Service::new("order", environment)
            .store(&orders())
            .topic(OrderEvent::TOPIC),
    ])
}

async fn confirm(scene: &Scene, region: Region, products: &[u32]) -> Result<()> {
    let lines = products.iter().map(|number| OrderLine {
        product_id: seed::product_id(*number),
        name: seed::draft(*number).name,
        category: seed::draft(*number).category,
        quantity: 1,
        unit_price: seed::draft(*number).price,
    });
    let order = OrderEvent::Confirmed(OrderConfirmed {
        order_id: Uuid::now_v7(),
        user_id: Uuid::now_v7(),
        region: region.name().to_owned(),
        lines: lines.collect(),
        total: Money::new(1, Currency::USD),
        label: "L".to_owned(),
    });
    let (context, store, key) = (Context::background(), orders(), Uuid::now_v7());
    let told = scene.database(region).transaction(&context, async |tx| {
        tx.tell(&store, key, order.clone()).await.map(drop)
    });
    Ok(told.await?)
}

async fn recommended(client: &Client, path: &str) -> Result<Vec<(String, String)>> {
    let answer = client
        .get(&format!("/api/v1/recommendations{path}"))
        .await?
        .ok()?;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let list = answer.as_array().unwrap().iter();
    Ok(list
        .map(|one| (text(&one["product_id"]), text(&one["source"])))
        .collect())
}

fn of(numbers: &[u32], source: &str) -> Vec<(String, String)> {
    numbers
        .iter()
        .map(|number| (seed::product_id(*number).to_string(), source.to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_ordered_is_recommended() -> Result<()> {
    let scene = Box::pin(Scene::start(Backing::Full, |environment| services(environment))).await?;
    seed::seed(scene.environment(Region::UsEast), PRODUCTS)
        .await
        .unwrap();
    let (east, west) = (scene.anybody(Region::UsEast), scene.anybody(Region::UsWest));
    let cold = recommended(&east, "").await?;
    assert_eq!(cold.len(), 10);
    assert!(cold.iter().all(|(_, source)| source == "new"), "{cold:?}");

    for _ in 0..3 {
        confirm(&scene, Region::UsEast, &[1, 2]).await?;
    }
    confirm(&scene, Region::UsEast, &[1, 3]).await?;
    confirm(&scene, Region::UsWest, &[4, 5, 6]).await?;
    let path = format!("/products/{}", seed::product_id(1));
    let expected = [
        of(&[2, 3], "bought-together"),
        of(&[4, 5, 6], "popular-elsewhere"),
    ];
    until("the orders are learnt", async || {
        let found = recommended(&east, &path).await.unwrap_or_default();
        found.get(..2) == Some(&expected[0]) && found.len() == 5
    })
    .await?;
    until("in both regions", async || {
        recommended(&west, "").await.is_ok_and(|found| found.len() == 6)
    })
    .await?;
    let popular = recommended(&east, "").await?;
    assert_eq!(popular[..3], of(&[1, 2, 3], "popular"));
    let west_first = recommended(&west, "").await?;
    assert!(
        west_first[..3].iter().all(|(_, source)| source == "popular"),
        "{west_first:?}"
    );
    assert_eq!(west_first[3..], of(&[1, 2, 3], "popular-elsewhere"));
    once_in_effect(&scene).await?;
    what_is_not_sold_is_not_recommended(&scene, &east).await?;
    visitors_say_what_became_of_it(&scene).await?;
    how_long_it_takes(&west, &path).await
}

/// Four orders of the first product in us-east, each counted once: its warmth is that of four things within the test's time.
async fn once_in_effect(scene: &Scene) -> Result<()> {
    let mut heats = Vec::new();
    for shard in scene.cluster.shards() {
        let client = shard.primary.connect("shop", "shop").await?;
        let sql = "SELECT heat FROM recommendation_heat WHERE product_id = $1 AND region = 'us-east'";
        heats.extend(
            client
                .query(sql, &[&seed::product_id(1)])
                .await?
                .iter()
                .map(|row| row.get::<_, f64>(0)),
        );
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let four = shop_recommendation::heat::heat(4, i64::try_from(now.as_millis())?);
    assert!(
        matches!(heats[..], [heat] if (heat - four).abs() < 0.01),
        "{heats:?}, not {four}"
    );
    Ok(())
}

async fn what_is_not_sold_is_not_recommended(scene: &Scene, east: &Client) -> Result<()> {
    let staff = scene.staff(Region::UsEast)?;
    let mut edit = serde_json::to_value(seed::draft(2))?;
    (edit["version"], edit["on_sale"]) = (json!(1), json!(false));
    staff
        .put(&format!("/api/v1/products/{}", seed::product_id(2)), edit)
        .await?
        .ok()?;
    until("it is gone", async || {
        let found = recommended(east, "").await.unwrap_or_default();
        found.len() == 5 && found.iter().all(|(id, _)| *id != seed::product_id(2).to_string())
    })
    .await
}

async fn visitors_say_what_became_of_it(scene: &Scene) -> Result<()> {
    let customer = scene.customer(Region::UsWest, Uuid::now_v7())?;
    let id = seed::product_id(1);
    let said = json!({"source": "popular", "shown": [id, seed::product_id(3)], "taken": id});
    let path = "/api/v1/recommendations/feedback";
    assert_eq!(customer.post(path, said.clone()).await?.status, 204);
    assert_eq!(scene.anybody(Region::UsWest).post(path, said).await?.status, 401);
    let many = json!({"source": "popular", "shown": vec![id; 51]});
    assert_eq!(customer.post(path, many).await?.status, 422);
    assert_eq!(
        customer
            .post(path, json!({"source": "magic", "shown": []}))
            .await?
            .status,
        422
    );
    let heads = "SELECT coalesce(sum(version), 0)::bigint FROM recommendation_outbox_head";
    assert_eq!(scene.sum_at_primaries(heads).await?, 2);
    Ok(())
}

/// Said, not judged: the machine may be busy.
async fn how_long_it_takes(client: &Client, path: &str) -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..200 {
        let began = Instant::now();
        recommended(client, path).await?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    println!(
        "recommendations: p50 {:?}, p95 {:?}, p99 {:?}",
        times[100], times[190], times[198]
    );
    Ok(())
}
