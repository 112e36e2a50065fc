//! The catalogue on a real cluster of two regions.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the failure")]

use anyhow::Result;
use ringway_sdk::Context;
use serde_json::{Value, json};
use shop_contracts::rpc::v1::GetProductsRequest;
use shop_contracts::rpc::v1::product_client::ProductClient;
use shop_product::seed;
use shop_testing::{Backing, Client, Region, Scene, until};
use uuid::Uuid;

const PRODUCTS: u32 = 120;

async fn scene() -> Result<Scene> {
    let scene = Box::pin(Scene::start(Backing::Embedded, |environment| {
        Ok(vec![shop_product::service(environment)?])
    }))
    .await?;
    seed::seed(scene.environment(Region::UsEast), PRODUCTS)
        .await
        .unwrap();
    scene.cluster.wait_replayed().await?;
    Ok(scene)
}

fn draft(sku: &str, cents: i64) -> Value {
    json!({"category": "kitchen", "sku": sku, "name": "Copper kettle", "brand": "Halden", "description": "Whistles.",
        "price": {"amount_cents": cents, "currency": "USD"}, "weight_grams": 900, "on_sale": true})
}

fn edit(version: i64, sku: &str, cents: i64) -> Value {
    let mut edit = draft(sku, cents);
    edit["version"] = json!(version);
    edit
}

fn names(found: &Value) -> Vec<&str> {
    let products = found["products"].as_array().unwrap();
    products
        .iter()
        .map(|product| product["name"].as_str().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_searched_for_is_found() -> Result<()> {
    let scene = scene().await?;
    let anybody = scene.anybody(Region::UsWest);
    by_words_and_by_likeness(&anybody).await?;
    facets_count_what_the_filters_leave(&anybody).await?;
    categories_are_paged_through(&anybody).await?;
    what_makes_no_sense_is_refused(&anybody).await?;
    other_services_learn_what_products_cost(&scene).await
}

async fn by_words_and_by_likeness(anybody: &Client) -> Result<()> {
    let exact = anybody.get("/api/v1/products?q=keyboards&limit=5").await?.ok()?;
    assert_eq!(exact["matched"], "words");
    assert!(!names(&exact).is_empty() && names(&exact).iter().all(|name| name.contains("keyboard")));
    for (typed, meant) in [
        ("keybord", "keyboard"),
        ("hedphones", "headphones"),
        ("sleping bag", "sleeping bag"),
    ] {
        let typed = typed.replace(' ', "%20");
        let similar = anybody.get(&format!("/api/v1/products?q={typed}")).await?.ok()?;
        assert_eq!(similar["matched"], "similar", "{typed}");
        assert!(names(&similar)[0].contains(meant), "{typed}: {similar}");
    }
    let nothing = anybody.get("/api/v1/products?q=xylophonequartz").await?.ok()?;
    assert_eq!((&nothing["total"], names(&nothing).len()), (&json!(0), 0));
    // It is a text, whatever stands in it.
    for odd in [
        "%27%3B%20DROP%20TABLE%20product_item",
        "%25",
        "%22",
        "-",
        "%F0%9F%8E%B8",
    ] {
        anybody.get(&format!("/api/v1/products?q={odd}")).await?.ok()?;
    }
    Ok(())
}

async fn facets_count_what_the_filters_leave(anybody: &Client) -> Result<()> {
    let all = anybody.get("/api/v1/products?q=by&limit=100").await?.ok()?;
    assert_eq!(all["total"], 0, "a word without meaning finds nothing: {all}");
    let all = anybody
        .get("/api/v1/products?q=made%20repaired&limit=100")
        .await?
        .ok()?;
    assert_eq!(all["total"], PRODUCTS);
    let sum = |facets: &Value| {
        facets
            .as_array()
            .unwrap()
            .iter()
            .map(|f| f["count"].as_i64().unwrap())
            .sum::<i64>()
    };
    assert_eq!(
        (sum(&all["categories"]), sum(&all["brands"])),
        (PRODUCTS.into(), PRODUCTS.into())
    );
    let some = "/api/v1/products?q=made%20repaired&limit=100&category=kitchen&brand=Halden";
    let some = anybody.get(some).await?.ok()?;
    let halden = all["brands"]
        .as_array()
        .unwrap()
        .iter()
        .find(|facet| facet["value"] == "Halden")
        .unwrap();
    assert_eq!(sum(&some["categories"]), halden["count"].as_i64().unwrap());
    assert_eq!(some["total"].as_i64().unwrap(), names(&some).len() as i64);
    let cheap = anybody
        .get("/api/v1/products?q=made&max_cents=5000&limit=100")
        .await?
        .ok()?;
    let prices = cheap["products"].as_array().unwrap().iter();
    assert!(
        prices
            .map(|p| p["price"]["amount_cents"].as_i64().unwrap())
            .all(|cents| cents <= 5000)
    );
    Ok(())
}

async fn categories_are_paged_through(anybody: &Client) -> Result<()> {
    let categories = anybody.get("/api/v1/categories").await?.ok()?;
    let mut seen = 0;
    for category in categories.as_array().unwrap() {
        let slug = category["slug"].as_str().unwrap();
        let (mut after, mut last) = (String::new(), String::new());
        loop {
            let page = anybody
                .get(&format!("/api/v1/categories/{slug}/products?limit=4{after}"))
                .await?
                .ok()?;
            for name in names(&page) {
                assert!(*name >= *last, "{name} after {last}");
                last = name.to_owned();
                seen += 1;
            }
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={next}");
        }
    }
    assert_eq!(seen, PRODUCTS);
    Ok(())
}

async fn what_makes_no_sense_is_refused(anybody: &Client) -> Result<()> {
    let id = seed::product_id(PRODUCTS);
    for (path, status) in [
        ("/api/v1/products", 400),
        ("/api/v1/products?q=", 422),
        ("/api/v1/products?q=a%00b", 422),
        ("/api/v1/products?q=a&limit=0", 422),
        ("/api/v1/products?q=a&limit=x", 400),
        ("/api/v1/products?q=a&offset=1001", 422),
        ("/api/v1/categories/none/products", 404),
        ("/api/v1/products/none", 400),
        (&format!("/api/v1/products/{id}"), 404),
        (&format!("/api/v1/products/{id}/prices"), 404),
    ] {
        let answer = anybody.get(path).await?;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        assert!(!answer.problem().is_empty(), "{path}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_staff_changes_is_seen_everywhere() -> Result<()> {
    let scene = scene().await?;
    let staff = scene.staff(Region::UsEast)?;
    let anybody = scene.anybody(Region::UsWest);
    let made = staff
        .post_once("/api/v1/products", "first", draft("KE-1", 2_000))
        .await?;
    assert_eq!(made.status, 201, "{}", made.body);
    let path = format!("/api/v1/products/{}", made.body["product_id"].as_str().unwrap());
    // Once for its key.
    let again = staff
        .post_once("/api/v1/products", "first", draft("KE-1", 2_000))
        .await?;
    assert_eq!(again.body, made.body);
    let taken = staff
        .post_once("/api/v1/products", "second", draft("KE-1", 2_000))
        .await?;
    assert_eq!((taken.status, taken.problem()), (409, "sku-taken"));

    // Read until both regions have it in their caches.
    until("it is there", async || {
        anybody.get(&path).await.is_ok_and(|answer| answer.status == 200)
    })
    .await?;
    let west = staff.moved_to(Region::UsWest);
    assert_eq!(west.get(&path).await?.ok()?, made.body);

    let changed = staff.put(&path, edit(1, "KE-1", 1_500)).await?.ok()?;
    assert_eq!(
        (&changed["version"], &changed["price"]["amount_cents"]),
        (&json!(2), &json!(1_500))
    );
    // Who changed it sees that at once, in the other region too; everybody else within the bound of the cache.
    assert_eq!(west.get(&path).await?.ok()?, changed);
    until("everybody sees it", async || {
        anybody
            .get(&path)
            .await
            .is_ok_and(|answer| answer.body == changed)
    })
    .await?;
    // By the words of its name, too.
    let found = west.get("/api/v1/products?q=copper%20kettle").await?.ok()?;
    assert_eq!(found["products"][0], changed);

    let stale = staff.put(&path, edit(1, "KE-1", 1_000)).await?;
    assert_eq!((stale.status, stale.problem()), (409, "changed-meanwhile"));
    let prices = west.get(&format!("{path}/prices")).await?.ok()?;
    let cents: Vec<i64> = prices
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["price"]["amount_cents"].as_i64().unwrap())
        .collect();
    assert_eq!(cents, [1_500, 2_000]);
    two_edits_at_once(&staff, &path).await?;
    only_staff_may(&scene, &path).await?;
    // All shards have the same rows, and an event for each product and each edit stands in an outbox: there is no Kafka here.
    let events = scene
        .sum_at_primaries("SELECT count(*) FROM product_outbox WHERE kind = 'product-changed'")
        .await?;
    assert_eq!(events, i64::from(PRODUCTS) + 3);
    let rows = "SELECT count(*) FROM product_item WHERE sku = 'KE-1' AND version = 3";
    assert_eq!(scene.sum_at_primaries(rows).await?, 2);
    Ok(())
}

async fn two_edits_at_once(staff: &Client, path: &str) -> Result<()> {
    let edits = [900, 901].map(|cents| staff.put(path, edit(2, "KE-1", cents)));
    let [a, b] = edits;
    let (a, b) = tokio::join!(a, b);
    let mut statuses = [a?.status, b?.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    Ok(())
}

async fn only_staff_may(scene: &Scene, path: &str) -> Result<()> {
    let customer = scene.customer(Region::UsEast, Uuid::now_v7())?;
    let anybody = scene.anybody(Region::UsEast);
    for (who, status) in [(&customer, 403), (&anybody, 401)] {
        assert_eq!(who.put(path, edit(3, "KE-1", 1)).await?.status, status);
        let made = who
            .post_once("/api/v1/products", "theirs", draft("KE-2", 1))
            .await?;
        assert_eq!(made.status, status);
    }
    let staff = scene.staff(Region::UsEast)?;
    for (field, value) in [
        ("name", json!("")),
        ("price", json!({"amount_cents": 0, "currency": "USD"})),
        ("category", json!("none")),
    ] {
        let mut bad = draft("KE-3", 100);
        bad[field] = value;
        let status = staff.post_once("/api/v1/products", field, bad).await?.status;
        assert!([404, 422].contains(&status), "{field}: {status}");
    }
    Ok(())
}

async fn other_services_learn_what_products_cost(scene: &Scene) -> Result<()> {
    let peer = scene.peer(Region::UsWest, "product")?;
    let mut client = ProductClient::new(peer.call(&Context::background()));
    let product_ids = vec![
        seed::product_id(1).to_string(),
        Uuid::nil().to_string(),
        seed::product_id(2).to_string(),
    ];
    let reply = client.get(GetProductsRequest { product_ids }).await?.into_inner();
    let expected: Vec<_> = [1, 2]
        .map(|n| (seed::product_id(n).to_string(), seed::draft(n).price.amount_cents))
        .into();
    let found: Vec<_> = reply
        .products
        .into_iter()
        .map(|p| (p.product_id, p.price.unwrap().amount_cents))
        .collect();
    assert_eq!(found, expected);
    let many = vec![Uuid::nil().to_string(); 201];
    assert!(
        client
            .get(GetProductsRequest { product_ids: many })
            .await
            .is_err()
    );
    let odd = vec!["none".to_owned()];
    assert!(client.get(GetProductsRequest { product_ids: odd }).await.is_err());
    Ok(())
}
