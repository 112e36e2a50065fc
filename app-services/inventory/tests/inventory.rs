//! Stock is never sold twice, whoever comes at the same time, and comes back when it isn't sold.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the failure")]

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ringway_sdk::Context;
use ringway_sdk::web::Problem;
use serde_json::json;
use shop_contracts::Operation;
use shop_contracts::rpc::v1::inventory_client::InventoryClient;
use shop_contracts::rpc::v1::{self, reserve_reply};
use shop_inventory::{Committal, Inventory, Reservation, Settings, service};
use shop_testing::{Backing, Region, Scene, until};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use uuid::Uuid;

async fn scene(settings: Settings) -> Result<Scene> {
    Box::pin(Scene::start(Backing::Embedded, |environment| {
        Ok(vec![service(environment, settings)?])
    }))
    .await
}

fn inventory(scene: &Scene, region: Region) -> Inventory {
    Inventory::new(scene.database(region), Settings::default()).unwrap()
}

fn operation(order_id: Uuid, key: &str) -> Operation {
    Operation {
        key: format!("{order_id}/{key}"),
        user_id: Uuid::now_v7(),
        order_id,
    }
}

async fn set(inventory: &Inventory, product: Uuid, warehouse: &str, on_hand: u32) -> Result<()> {
    let (key, context) = (Uuid::now_v7().to_string(), Context::background());
    let counted = (warehouse, on_hand);
    let set = inventory.set_stock(&context, &key, Uuid::now_v7(), product, counted);
    set.await
        .map(drop)
        .map_err(|refusal| anyhow::anyhow!("{refusal:?}"))
}

/// What must be true of all stock; empty if it is.
async fn findings(scene: &Scene, set: i64) -> Result<Vec<String>> {
    let held = |state: &str| {
        format!(
            "SELECT coalesce(sum((part->>'quantity')::int), 0)::bigint FROM inventory_hold, jsonb_array_elements(taken) part \
             WHERE state = '{state}'"
        )
    };
    let reserved = scene
        .sum_at_primaries("SELECT coalesce(sum(reserved), 0)::bigint FROM inventory_stock")
        .await?;
    let on_hand = scene
        .sum_at_primaries("SELECT coalesce(sum(on_hand), 0)::bigint FROM inventory_stock")
        .await?;
    let new = scene
        .sum_at_primaries("SELECT count(*) FROM inventory_hold WHERE state = 'new'")
        .await?;
    let (kept, sold) = (
        scene.sum_at_primaries(&held("reserved")).await?,
        scene.sum_at_primaries(&held("committed")).await?,
    );
    let mut found = Vec::new();
    if reserved != kept {
        found.push(format!("{reserved} reserved, {kept} held"));
    }
    if on_hand + sold != set {
        found.push(format!("{on_hand} there and {sold} sold of {set}"));
    }
    if new != 0 {
        found.push(format!("{new} holds of unfinished transactions"));
    }
    Ok(found)
}

const BUYERS: usize = 1_000;
const PIECES: u32 = 100;

/// Asks until there is an answer, as a saga does; says whether the buyer got one.
async fn buy(peer: ringway_sdk::rpc::Peer, product: Uuid) -> Result<bool> {
    let operation = operation(Uuid::now_v7(), "reserve");
    let request = v1::ReserveRequest {
        operation: Some(operation.into()),
        lines: vec![v1::Line {
            product_id: product.to_string(),
            quantity: 1,
        }],
    };
    let began = Instant::now();
    loop {
        let context = Context::background().with_timeout(Duration::from_secs(10));
        let mut client = InventoryClient::new(peer.call(&context));
        match client.reserve(request.clone()).await {
            Ok(reply) => {
                let outcome = reply.into_inner().outcome.unwrap();
                return Ok(matches!(outcome, reserve_reply::Outcome::Reserved(_)));
            }
            Err(status) => {
                let problem = Problem::from(status);
                anyhow::ensure!(problem.retryable || problem.status >= 500, "{problem}");
                anyhow::ensure!(began.elapsed() < Duration::from_secs(25), "no answer: {problem}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_100_pieces_1_000_buyers_get_100() -> Result<()> {
    let scene = scene(Settings::default()).await?;
    let product = Uuid::now_v7();
    set(&inventory(&scene, Region::UsEast), product, "lisbon", PIECES - 30).await?;
    set(&inventory(&scene, Region::UsWest), product, "porto", 30).await?;
    let began = Instant::now();
    let buyers: Vec<_> = (0..BUYERS)
        .map(|number| {
            let region = if number % 2 == 0 {
                Region::UsEast
            } else {
                Region::UsWest
            };
            let peer = scene.peer(region, "inventory").unwrap();
            tokio::spawn(async move {
                let began = Instant::now();
                (buy(peer, product).await, began.elapsed())
            })
        })
        .collect();
    let (mut got, mut times) = (0, Vec::with_capacity(BUYERS));
    for buyer in buyers {
        let (bought, took) = buyer.await?;
        got += u32::from(bought?);
        times.push(took);
    }
    times.sort_unstable();
    println!(
        "{BUYERS} buyers answered in {:?}: p50 {:?}, p99 {:?}",
        began.elapsed(),
        times[BUYERS / 2],
        times[BUYERS * 99 / 100]
    );
    assert_eq!(got, PIECES);
    assert_eq!(findings(&scene, PIECES.into()).await?, Vec::<String>::new());
    let told = "SELECT count(*) FROM inventory_outbox WHERE kind = 'stock-reserved'";
    assert_eq!(scene.sum_at_primaries(told).await?, i64::from(PIECES));
    Ok(())
}

fn is_reserved(reservation: &Reservation) -> bool {
    matches!(reservation, Reservation::Reserved { .. })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_take_all_or_nothing_and_what_is_given_back_can_be_had() -> Result<()> {
    let scene = scene(Settings::default()).await?;
    let inventory = inventory(&scene, Region::UsEast);
    let context = Context::background();
    let products: Vec<Uuid> = (0..4).map(|_| Uuid::now_v7()).collect();
    for product in &products {
        set(&inventory, *product, "lisbon", 2).await?;
        set(&inventory, *product, "porto", 3).await?;
    }
    let all = |quantity: u32| {
        products
            .iter()
            .map(|id| (*id, quantity))
            .collect::<BTreeMap<_, _>>()
    };

    // Over both warehouses.
    let first = Uuid::now_v7();
    let op = operation(first, "reserve");
    let reserved = inventory.reserve(&context, &op, &all(4)).await.unwrap();
    assert!(is_reserved(&reserved));
    let again = inventory.reserve(&context, &op, &all(4)).await.unwrap();
    assert_eq!(again, reserved, "the same operation is not carried out twice");

    // The last product has too few: the others are given back, and the refusal stays one although there would be enough later.
    let second = Uuid::now_v7();
    let refused_op = operation(second, "reserve");
    let mut lines = all(1);
    *lines.values_mut().last().unwrap() = 2;
    let refused = inventory.reserve(&context, &refused_op, &lines).await.unwrap();
    let Reservation::Refused {
        reason, available, ..
    } = &refused
    else {
        panic!("{refused:?}")
    };
    assert_eq!((reason.as_str(), *available), ("out-of-stock", 1));
    assert_eq!(findings(&scene, 20).await?, Vec::<String>::new());
    inventory
        .release(&context, &operation(first, "release"), &products)
        .await
        .unwrap();
    inventory
        .release(&context, &operation(first, "release again"), &products)
        .await
        .unwrap();
    assert_eq!(
        inventory.reserve(&context, &refused_op, &lines).await.unwrap(),
        refused
    );

    // Released before it is reserved: never reserved.
    let third = Uuid::now_v7();
    inventory
        .release(&context, &operation(third, "release"), &products)
        .await
        .unwrap();
    let late = inventory
        .reserve(&context, &operation(third, "reserve"), &all(1))
        .await
        .unwrap();
    assert!(matches!(late, Reservation::Refused { reason, .. } if reason == "released"));

    // Committed, twice, and taken back.
    let fourth = Uuid::now_v7();
    let none = inventory
        .commit(&context, &operation(fourth, "too early"), &products)
        .await
        .unwrap();
    assert_eq!(none, Committal::NotReserved);
    let reserved = inventory
        .reserve(&context, &operation(fourth, "reserve"), &all(5))
        .await
        .unwrap();
    assert!(is_reserved(&reserved));
    for key in ["commit", "commit", "commit again"] {
        let came = inventory
            .commit(&context, &operation(fourth, key), &products)
            .await
            .unwrap();
        assert_eq!(came, Committal::Committed);
    }
    assert_eq!(findings(&scene, 20).await?, Vec::<String>::new());
    let stock = inventory.stock(&context, products[0]).await?.unwrap();
    assert_eq!((stock.available, stock.reserved), (0, 0));
    inventory
        .release(&context, &operation(fourth, "release"), &products)
        .await
        .unwrap();
    assert_eq!(
        inventory.stock(&context, products[0]).await?.unwrap().available,
        5
    );
    assert_eq!(findings(&scene, 20).await?, Vec::<String>::new());
    Ok(())
}

const RANDOM_ORDERS: usize = 60;

/// An order's life: anything may come twice, at once, or in the wrong order.
async fn live(inventory: Inventory, products: Vec<Uuid>, seed: u64) {
    let mut dice = StdRng::seed_from_u64(seed);
    let context = Context::background().with_timeout(Duration::from_secs(20));
    let order = Uuid::now_v7();
    let lines: BTreeMap<Uuid, u32> = products
        .iter()
        .filter(|_| dice.random_ratio(2, 3))
        .map(|id| (*id, 1 + seed as u32 % 3))
        .collect();
    let ids: Vec<Uuid> = lines.keys().copied().collect();
    if lines.is_empty() {
        return;
    }
    for step in 0..dice.random_range(1..4) {
        let op = operation(order, &format!("step {step}"));
        match dice.random_range(0..3) {
            0 => {
                let (a, b) = (
                    inventory.reserve(&context, &op, &lines),
                    inventory.reserve(&context, &op, &lines),
                );
                let (a, b) = Box::pin(futures_util::future::join(a, b)).await;
                assert_eq!(a.unwrap(), b.unwrap());
            }
            1 => drop(inventory.commit(&context, &op, &ids).await.unwrap()),
            _ => inventory.release(&context, &op, &ids).await.unwrap(),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_comes_stock_and_holds_agree() -> Result<()> {
    let seed: u64 =
        std::env::var("RINGWAY_SHOP_TEST_SEED").map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    println!("RINGWAY_SHOP_TEST_SEED={seed}");
    let scene = scene(Settings::default()).await?;
    let products: Vec<Uuid> = (0..3).map(|_| Uuid::now_v7()).collect();
    for product in &products {
        set(&inventory(&scene, Region::UsEast), *product, "lisbon", 20).await?;
        set(&inventory(&scene, Region::UsWest), *product, "porto", 7).await?;
    }
    let lives: Vec<_> = (0..RANDOM_ORDERS)
        .map(|number| {
            let region = if number % 2 == 0 {
                Region::UsEast
            } else {
                Region::UsWest
            };
            let seed = seed.wrapping_add(number as u64);
            tokio::spawn(live(inventory(&scene, region), products.clone(), seed))
        })
        .collect();
    for life in lives {
        life.await?;
    }
    assert_eq!(findings(&scene, 81).await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_and_staff() -> Result<()> {
    let settings = Settings {
        hold_seconds: 1,
        expiry_poll_ms: 50,
    };
    let scene = scene(settings).await?;
    let inventory = Inventory::new(scene.database(Region::UsEast), settings)?;
    let (product, context) = (Uuid::now_v7(), Context::background());
    let path = format!("/api/v1/stock/{product}");
    let staff = scene.staff(Region::UsEast)?;
    let anybody = scene.anybody(Region::UsEast);
    assert_eq!(anybody.get(&path).await?.problem(), "unknown-product");
    let put = |client: shop_testing::Client, key: &'static str, on_hand: i64| {
        let path = format!("{path}/lisbon");
        async move {
            client
                .send(
                    reqwest::Method::PUT,
                    &path,
                    Some(key),
                    Some(json!({"on_hand": on_hand})),
                )
                .await
        }
    };
    assert_eq!(put(staff.clone(), "a", 5).await?.ok()?["on_hand"], 5);
    let customer = scene.customer(Region::UsEast, Uuid::now_v7())?;
    assert_eq!(put(customer, "b", 9).await?.problem(), "staff-only");
    assert_eq!(put(anybody.clone(), "b", 9).await?.problem(), "unauthenticated");
    assert_eq!(put(staff.clone(), "c", -1).await?.status, 422);
    let seen = anybody.get(&path).await?.ok()?;
    assert_eq!((&seen["available"], &seen["reserved"]), (&json!(5), &json!(0)));

    let order = Uuid::now_v7();
    let lines = BTreeMap::from([(product, 4)]);
    assert!(is_reserved(
        &inventory
            .reserve(&context, &operation(order, "reserve"), &lines)
            .await
            .unwrap()
    ));
    assert_eq!(put(staff.clone(), "d", 3).await?.problem(), "reserved");
    until("the reservation is over", async || {
        inventory
            .stock(&context, product)
            .await
            .is_ok_and(|stock| stock.unwrap().available == 5)
    })
    .await?;
    let came = inventory
        .commit(&context, &operation(order, "commit"), &[product])
        .await
        .unwrap();
    assert_eq!(came, Committal::Expired);
    assert_eq!(put(staff, "e", 3).await?.ok()?["on_hand"], 3);
    assert_eq!(findings(&scene, 3).await?, Vec::<String>::new());
    let told = "SELECT count(*) FROM inventory_outbox WHERE kind = 'reservation-released'";
    assert_eq!(scene.sum_at_primaries(told).await?, 1);
    Ok(())
}
