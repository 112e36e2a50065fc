//! Quiet hours, limits, broadcasts, and that sockets work without Redis and Kafka: what is stored is found.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the failure")]

mod support;

use anyhow::Result;
use serde_json::{Value, json};
use shop_contracts::rpc::v1::Priority;
use shop_testing::{Backing, Client, Region, until};
use support::Stage;
use uuid::Uuid;

const LIST: &str = "/api/v1/notifications";
const PREFERENCES: &str = "/api/v1/notifications/preferences";

fn preferences(change: &Value) -> Value {
    let mut all = json!({"email_from": null, "push_from": null, "sms_from": null, "muted": [], "devices": [], "quiet_from": null,
        "quiet_until": null, "time_zone": "UTC", "per_hour": 60});
    for (key, value) in change.as_object().unwrap() {
        all[key] = value.clone();
    }
    all
}

async fn titles(client: &Client) -> Result<Vec<String>> {
    let page = client.get(LIST).await?.ok()?;
    let notifications = page["notifications"].as_array().unwrap().iter();
    Ok(notifications
        .map(|n| n["title"].as_str().unwrap().to_owned())
        .collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_wait_is_held_back() -> Result<()> {
    let stage = Stage::set(Backing::Embedded).await?;
    limits_hold_back(&stage).await?;
    quiet_hours_hold_back(&stage).await?;
    what_is_no_preference_is_refused(&stage).await?;
    everybody_is_told(&stage).await?;
    what_is_old_is_deleted(&stage).await?;
    without_redis_the_shard_is_looked_at(&stage).await
}

async fn limits_hold_back(stage: &Stage) -> Result<()> {
    let user = Uuid::now_v7();
    let client = stage.scene.customer(Region::UsEast, user)?;
    client
        .put(PREFERENCES, preferences(&json!({"per_hour": 2})))
        .await?
        .ok()?;
    for title in ["one", "two", "three"] {
        stage.send(Region::UsEast, user, Priority::Low, title).await?;
    }
    stage
        .send(Region::UsEast, user, Priority::Critical, "now")
        .await?;
    until("three are there", async || {
        titles(&client).await.is_ok_and(|t| t == ["one", "two", "now"])
    })
    .await?;
    // An hour later.
    let past = "WITH u AS (UPDATE notification_mailbox SET hour_began = hour_began - interval '2 hours' RETURNING 1), \
        i AS (UPDATE notification_item SET not_before = now() WHERE sequence IS NULL RETURNING 1) \
        SELECT (SELECT count(*) FROM u) + (SELECT count(*) FROM i)";
    stage.scene.sum_at_primaries(past).await?;
    until("the held one comes last", async || {
        titles(&client)
            .await
            .is_ok_and(|t| t == ["one", "two", "now", "three"])
    })
    .await
}

async fn quiet_hours_hold_back(stage: &Stage) -> Result<()> {
    let user = Uuid::now_v7();
    let client = stage.scene.customer(Region::UsEast, user)?;
    let now = time::OffsetDateTime::now_utc();
    let (from, to) = (now - time::Duration::minutes(3), now + time::Duration::hours(6));
    let show = |at: time::OffsetDateTime| format!("{:02}:{:02}", at.hour(), at.minute());
    let quiet = json!({"quiet_from": show(from), "quiet_until": show(to)});
    client.put(PREFERENCES, preferences(&quiet)).await?.ok()?;
    stage
        .send(Region::UsEast, user, Priority::Normal, "can wait")
        .await?;
    stage.send(Region::UsEast, user, Priority::High, "can't").await?;
    until("the urgent one is there", async || {
        titles(&client).await.is_ok_and(|t| t == ["can't"])
    })
    .await?;
    let held = "SELECT count(*) FROM notification_item WHERE sequence IS NULL AND title = 'can wait' \
        AND not_before - now() BETWEEN interval '5 hours 55 minutes' AND interval '6 hours'";
    assert_eq!(stage.scene.sum_at_primaries(held).await?, 1);
    // Elsewhere it is day.
    let zone =
        preferences(&json!({"quiet_from": show(from), "quiet_until": show(to), "time_zone": "Asia/Tokyo"}));
    client.put(PREFERENCES, zone).await?.ok()?;
    stage
        .send(Region::UsEast, user, Priority::Normal, "by day")
        .await?;
    until("it is there", async || {
        titles(&client).await.is_ok_and(|t| t == ["can't", "by day"])
    })
    .await
}

async fn what_is_no_preference_is_refused(stage: &Stage) -> Result<()> {
    let client = stage.scene.customer(Region::UsEast, Uuid::now_v7())?;
    for bad in [
        json!({"quiet_from": "22:00"}),
        json!({"quiet_from": "24:00", "quiet_until": "07:00"}),
        json!({"quiet_from": "+1:00", "quiet_until": "07:00"}),
        json!({"time_zone": "Mars/Olympus"}),
        json!({"time_zone": ""}),
        json!({"per_hour": 1001}),
        json!({"muted": [""]}),
        json!({"devices": ["x\u{0}"]}),
        json!({"unknown": 1}),
        json!({"email_from": "soon"}),
    ] {
        let answer = client.put(PREFERENCES, preferences(&bad)).await?;
        assert_eq!(answer.status, 422, "{bad}: {}", answer.body);
    }
    let before = client.get(PREFERENCES).await?.ok()?;
    assert_eq!(
        (&before["email_from"], &before["per_hour"]),
        (&json!("high"), &json!(60))
    );
    for (query, status) in [
        ("?after=x", 422),
        ("?after=-1.0", 422),
        ("?limit=0", 422),
        ("?limit=101", 422),
        ("?limit=x", 400),
    ] {
        assert_eq!(
            client.get(&format!("{LIST}{query}")).await?.status,
            status,
            "{query}"
        );
    }
    assert_eq!(stage.scene.anybody(Region::UsEast).get(LIST).await?.status, 401);
    Ok(())
}

async fn everybody_is_told(stage: &Stage) -> Result<()> {
    let (here, there) = (Uuid::now_v7(), Uuid::now_v7());
    let mut sockets = [
        stage.connect(Region::UsEast, here, None).await?,
        stage.connect(Region::UsWest, there, None).await?,
    ];
    let staff = stage.scene.staff(Region::UsEast)?;
    let sale = json!({"title": "Sale", "body": "All of it"});
    let sent = staff.post_once("/api/v1/broadcasts", "a", sale.clone()).await?;
    assert_eq!(sent.status, 201, "{}", sent.body);
    let again = staff.post_once("/api/v1/broadcasts", "a", sale.clone()).await?;
    assert_eq!(again.body, sent.body, "once for its key");
    for socket in &mut sockets {
        let frame = socket.next().await?;
        assert_eq!(frame["broadcast"], sent.body);
        assert!(socket.is_quiet().await);
    }
    // Who comes later finds it, until it is read.
    let late = Uuid::now_v7();
    let mut socket = stage.connect(Region::UsWest, late, None).await?;
    assert_eq!(socket.next().await?["broadcast"]["title"], "Sale");
    socket
        .say(json!({"read": {"broadcast": sent.body["sequence"]}}))
        .await?;
    let client = stage.scene.customer(Region::UsWest, late)?;
    let marked = "SELECT count(*) FROM notification_mailbox WHERE broadcast_read > 0";
    until("it is marked", async || {
        stage.scene.sum_at_primaries(marked).await.is_ok_and(|n| n == 1)
    })
    .await?;
    let mut socket = stage.connect(Region::UsWest, late, None).await?;
    assert!(socket.is_quiet().await);
    let page = client.get(LIST).await?.ok()?;
    assert_eq!(page["broadcasts"].as_array().unwrap().len(), 1);
    let customer = stage.scene.customer(Region::UsEast, here)?;
    assert_eq!(
        customer.post_once("/api/v1/broadcasts", "b", sale).await?.status,
        403
    );
    // Those that were sent at once come in order, everywhere.
    let more = (0..6).map(|n| {
        let staff = staff.clone();
        async move {
            staff
                .post_once(
                    "/api/v1/broadcasts",
                    &format!("m{n}"),
                    json!({"title": format!("{n}"), "body": ""}),
                )
                .await
        }
    });
    for answer in futures_util::future::join_all(more).await {
        assert_eq!(answer?.status, 201);
    }
    for socket in &mut sockets {
        for sequence in 2..=7 {
            assert_eq!(socket.next().await?["broadcast"]["sequence"], sequence);
        }
    }
    Ok(())
}

/// On every shard, broadcasts too; what isn't as old stays.
async fn what_is_old_is_deleted(stage: &Stage) -> Result<()> {
    const OLD: &str = "INSERT INTO notification_broadcast (sequence, title, body, data, created_at) VALUES ($1, 'old', '', '{}', $2)";
    const COUNT: &str = "SELECT count(*) FROM notification_broadcast WHERE title = 'old'";
    for (sequence, days) in [(-1_i64, 91), (-2, 89)] {
        let at = time::OffsetDateTime::now_utc() - time::Duration::days(days);
        let add = async |tx: ringway_sdk::Transaction| tx.execute(OLD, &[&sequence, &at]).await;
        let database = stage.scene.database(Region::UsEast);
        let context = ringway_sdk::Context::background();
        let added = database.transaction::<_, ringway_sdk::Error, _, _>(&context, add);
        added.await?;
    }
    let copies = i64::try_from(stage.scene.cluster.shards().len())?;
    until("the older one is deleted", async || {
        stage
            .scene
            .sum_at_primaries(COUNT)
            .await
            .is_ok_and(|n| n == copies)
    })
    .await
}

/// There are neither Redis nor Kafka here: nobody tells the instance of anything.
async fn without_redis_the_shard_is_looked_at(stage: &Stage) -> Result<()> {
    let user = Uuid::now_v7();
    let mut socket = stage.connect(Region::UsWest, user, Some("0.7")).await?;
    assert_eq!(socket.headers["ringway-notification-mode"], "polling");
    stage.send(Region::UsEast, user, Priority::High, "found").await?;
    assert_eq!(socket.title().await?, "found");
    let client = stage.scene.customer(Region::UsEast, user)?;
    let ticket = client.post("/api/v1/notifications/tickets", json!({})).await?;
    assert_eq!((ticket.status, ticket.problem()), (503, "no-tickets"));
    Ok(())
}
