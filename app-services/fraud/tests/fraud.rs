//! Orders are scored by what was done lately, in both regions, and without Redis by their amount.

use anyhow::Result;
use ringway_sdk::Context;
use serde_json::json;
use shop_contracts::rpc::v1::fraud_client::FraudClient;
use shop_contracts::rpc::v1::{self, Decision, ScoreReply};
use shop_contracts::{Currency, Money, Operation};
use shop_fraud::rules::Limits;
use shop_fraud::{Settings, service};
use shop_testing::{Backing, Region, Scene, until};
use std::time::Duration;
use uuid::Uuid;

fn settings() -> Settings {
    Settings {
        limits: Limits {
            orders_per_hour: 3,
            ..Limits::default()
        },
        ..Settings::default()
    }
}

async fn order(
    scene: &Scene,
    region: Region,
    user_id: Uuid,
    order_id: Uuid,
    cents: i64,
) -> Result<ScoreReply> {
    let context = Context::background().with_timeout(Duration::from_secs(10));
    let key = format!("{order_id}/score");
    let request = v1::ScoreRequest {
        operation: Some(
            Operation {
                key,
                user_id,
                order_id,
            }
            .into(),
        ),
        total: Some(Money::new(cents, Currency::EUR).into()),
        payment_token: "tok_good_x".to_owned(),
        ..v1::ScoreRequest::default()
    };
    let mut client = FraudClient::new(scene.peer(region, "fraud")?.call(&context));
    Ok(client.score(request).await?.into_inner())
}

fn rules(reply: &ScoreReply) -> Vec<&str> {
    reply.reasons.iter().map(|reason| reason.rule.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_done_lately_counts_in_both_regions() -> Result<()> {
    let scene = Box::pin(Scene::start(Backing::Full, |environment| {
        Ok(vec![service(environment, settings())?])
    }))
    .await?;
    let user = Uuid::now_v7();
    let orders: Vec<Uuid> = (0..4).map(|_| Uuid::now_v7()).collect();
    for order_id in &orders[..3] {
        let reply = order(&scene, Region::UsEast, user, *order_id, 1_000).await?;
        assert_eq!(
            (reply.decision(), reply.score),
            (Decision::Approve, 0),
            "{reply:?}"
        );
    }
    let fourth = order(&scene, Region::UsEast, user, orders[3], 200_000).await?;
    assert_eq!((fourth.decision(), fourth.score), (Decision::Review, 65));
    assert_eq!(rules(&fourth), ["large-order", "many-orders"]);
    let again = order(&scene, Region::UsEast, user, orders[3], 200_000).await?;
    assert_eq!(again, fourth, "an order is scored once");
    let somebody = order(&scene, Region::UsEast, Uuid::now_v7(), Uuid::now_v7(), 1_000).await?;
    assert_eq!(
        somebody.decision(),
        Decision::Approve,
        "it is that user's orders that count"
    );

    // By the events, in the other region.
    until("us-west knows", async || {
        let probe = order(&scene, Region::UsWest, user, Uuid::now_v7(), 1).await;
        probe.is_ok_and(|reply| rules(&reply).contains(&"many-orders"))
    })
    .await?;

    // Staff.
    let staff = scene.staff(Region::UsEast)?;
    let customer = scene.customer(Region::UsEast, user)?;
    assert_eq!(customer.get("/api/v1/fraud/cases").await?.problem(), "staff-only");
    let open = staff.get("/api/v1/fraud/cases").await?.ok()?;
    assert_eq!(
        (open.as_array().unwrap().len(), &open[0]["order_id"]),
        (1, &json!(orders[3]))
    );
    let path = format!("/api/v1/fraud/cases/{user}/{}/review", orders[3]);
    let found = json!({"is_fraud": true});
    assert_eq!(
        customer.post_once(&path, "k", found.clone()).await?.problem(),
        "staff-only"
    );
    assert_eq!(staff.post_once(&path, "k", found.clone()).await?.status, 204);
    assert_eq!(
        staff.post_once(&path, "k", found.clone()).await?.status,
        204,
        "the same request"
    );
    assert_eq!(staff.post_once(&path, "l", found).await?.problem(), "reviewed");
    assert_eq!(staff.get("/api/v1/fraud/cases").await?.ok()?, json!([]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_the_amount_decides() -> Result<()> {
    let scene = Box::pin(Scene::start(Backing::Embedded, |environment| {
        // Nobody listens there.
        environment.redis = Some("redis://127.0.0.1:1".to_owned());
        Ok(vec![service(environment, settings())?])
    }))
    .await?;
    let closed_from = settings().closed_from_cents;
    let small = order(
        &scene,
        Region::UsEast,
        Uuid::now_v7(),
        Uuid::now_v7(),
        closed_from - 1,
    )
    .await?;
    assert_eq!(small.decision(), Decision::Approve);
    assert_eq!(rules(&small), ["recent-unknown"]);
    let large = order(
        &scene,
        Region::UsEast,
        Uuid::now_v7(),
        Uuid::now_v7(),
        closed_from,
    )
    .await?;
    assert_eq!(large.decision(), Decision::Decline);
    Ok(())
}
