//! Direct delivery over regions, instances that are killed or end, and providers that fail.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the failure")]

mod support;

use anyhow::Result;
use futures_util::StreamExt;
use ringway_sdk::events::{ConsumerTopics, DeadLetters};
use ringway_sdk::web::Role;
use serde_json::{Value, json};
use shop_contracts::rpc::v1::Priority;
use shop_testing::{BOUND, Backing, Region, until};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::{Socket, Stage};
use uuid::Uuid;

const LIST: &str = "/api/v1/notifications";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_reaches_whoever_is_connected_anywhere() -> Result<()> {
    let stage = Stage::set(Backing::Full).await?;
    it_comes_within_a_second(&stage).await?;
    it_is_acknowledged_and_read(&stage).await?;
    browsers_connect_by_ticket(&stage).await?;
    events_are_sent_where_there_are_no_sockets(&stage).await?;
    redis_that_is_gone_makes_it_slower_only(&stage).await
}

async fn it_comes_within_a_second(stage: &Stage) -> Result<()> {
    let (user, other) = (Uuid::now_v7(), Uuid::now_v7());
    let mut socket = stage.connect(Region::UsWest, user, None).await?;
    let mut second = stage.connect(Region::UsEast, user, None).await?;
    let mut stranger = stage.connect(Region::UsWest, other, None).await?;
    assert_eq!(socket.headers["ringway-notification-mode"], "direct");
    // The consumers have joined their groups, and connections are made.
    stage.send(Region::UsEast, user, Priority::High, "first").await?;
    assert_eq!(socket.title().await?, "first");
    assert_eq!(second.title().await?, "first");
    let mut slowest = Duration::ZERO;
    for number in 0..20 {
        let priority = [
            Priority::Low,
            Priority::Normal,
            Priority::High,
            Priority::Critical,
        ][number % 4];
        let began = Instant::now();
        let sent = stage
            .send(Region::UsEast, user, priority, &format!("message {number}"))
            .await?;
        let frame = socket.next().await?;
        // The first of a priority waits for what was never called before.
        if number >= 4 {
            slowest = slowest.max(began.elapsed());
        }
        assert_eq!(frame["notification"]["notification_id"], json!(sent));
        assert_eq!(frame["notification"]["data"], json!({"key": "value"}));
        assert_eq!(second.title().await?, format!("message {number}"));
    }
    println!("us-east to a socket in us-west, the slowest of 16: {slowest:?}");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    // Once for its key.
    let first = stage
        .send_once(Region::UsEast, user, Priority::High, "same", "the key")
        .await?;
    assert_eq!(
        stage
            .send_once(Region::UsWest, user, Priority::High, "same", "the key")
            .await?,
        first
    );
    assert_eq!(socket.title().await?, "same");
    assert!(socket.is_quiet().await && stranger.is_quiet().await);
    Ok(())
}

async fn it_is_acknowledged_and_read(stage: &Stage) -> Result<()> {
    let user = Uuid::now_v7();
    let mut socket = stage.connect(Region::UsEast, user, None).await?;
    let mut ids = Vec::new();
    for title in ["a", "b", "c"] {
        ids.push(stage.send(Region::UsEast, user, Priority::High, title).await?);
        assert_eq!(socket.title().await?, title);
    }
    socket.say(json!({"acknowledge": "2.0"})).await?;
    socket
        .say(json!({"read": {"notification_ids": [ids[0]]}}))
        .await?;
    let client = stage.scene.customer(Region::UsEast, user)?;
    let marks = async || -> Result<Vec<(bool, bool)>> {
        let page = client.get(LIST).await?.ok()?;
        let marks = page["notifications"].as_array().unwrap().iter();
        Ok(marks
            .map(|n| (n["acknowledged"] == true, n["read"] == true))
            .collect())
    };
    let expected = [(true, true), (true, false), (false, false)];
    until("they are marked", async || {
        marks().await.is_ok_and(|marks| marks == expected)
    })
    .await?;
    // Somebody else's are nobody's.
    let stranger = stage.scene.customer(Region::UsEast, Uuid::now_v7())?;
    let receipt = json!({"notification_ids": ids});
    let theirs = stranger
        .post("/api/v1/notifications/receipts", receipt.clone())
        .await?
        .ok()?;
    assert_eq!(
        (
            &theirs["changed"],
            stranger.get(LIST).await?.ok()?["notifications"]
                .as_array()
                .unwrap()
                .len()
        ),
        (&json!(0), 0)
    );
    assert_eq!(marks().await?, expected);
    let ours = client
        .post("/api/v1/notifications/receipts", receipt.clone())
        .await?
        .ok()?;
    assert_eq!(ours["changed"], 2);
    assert_eq!(
        client
            .post("/api/v1/notifications/receipts", receipt)
            .await?
            .ok()?["changed"],
        0
    );
    // Who comes without a cursor gets what isn't acknowledged: nothing.
    let mut fresh = stage.connect(Region::UsWest, user, None).await?;
    assert_eq!(fresh.cursor, "3.0");
    assert!(fresh.is_quiet().await);
    for said in [
        json!({"acknowledge": "x"}),
        json!({"acknowledge": 1}),
        json!({"other": 1}),
        json!([]),
    ] {
        socket.say(said.clone()).await?;
        assert_eq!(socket.next().await?["problem"]["type"], "invalid", "{said}");
    }
    Ok(())
}

async fn browsers_connect_by_ticket(stage: &Stage) -> Result<()> {
    let user = Uuid::now_v7();
    let client = stage.scene.customer(Region::UsEast, user)?;
    let ticket = client
        .post("/api/v1/notifications/tickets", json!({}))
        .await?
        .ok()?;
    let query = format!("?ticket={}", ticket["ticket"].as_str().unwrap());
    let url = stage.scene.url(Region::UsEast);
    let mut socket = Socket::connect(&url, &query, None).await?;
    stage
        .send(Region::UsWest, user, Priority::Critical, "by ticket")
        .await?;
    assert_eq!(socket.title().await?, "by ticket");
    assert!(
        Socket::connect(&url, &query, None).await.is_err(),
        "a ticket opens one connection"
    );
    assert!(Socket::connect(&url, "?ticket=made-up", None).await.is_err());
    assert!(Socket::connect(&url, "", None).await.is_err());
    assert!(Socket::connect(&url, "", Some("no.token.this")).await.is_err());
    Ok(())
}

async fn events_are_sent_where_there_are_no_sockets(stage: &Stage) -> Result<()> {
    let user = Uuid::now_v7();
    let bearer = stage.scene.bearer(user, Role::Customer)?;
    stage.send(Region::UsEast, user, Priority::High, "stored").await?;
    let (url, http) = (
        format!("{}{LIST}/stream", stage.scene.url(Region::UsWest)),
        reqwest::Client::new(),
    );
    let follow = async |last: &str, count: usize| -> Result<Vec<String>> {
        let request = http.get(&url).bearer_auth(&bearer).header("last-event-id", last);
        let answer = request.send().await?.error_for_status()?;
        let (mut body, mut text, mut titles) = (answer.bytes_stream(), String::new(), Vec::new());
        while titles.len() < count {
            let chunk = tokio::time::timeout(BOUND, body.next()).await?;
            text.push_str(std::str::from_utf8(&chunk.unwrap()?)?);
            titles = text
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
                .map(|frame| {
                    frame["notification"]["title"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned()
                })
                .collect();
            if titles.len() == 1 && count == 2 {
                stage.send(Region::UsEast, user, Priority::High, "sent").await?;
            }
        }
        Ok(titles)
    };
    assert_eq!(follow("0.0", 2).await?, ["stored", "sent"]);
    assert_eq!(follow("1.0", 1).await?, ["sent"]);
    Ok(())
}

async fn redis_that_is_gone_makes_it_slower_only(stage: &Stage) -> Result<()> {
    let user = Uuid::now_v7();
    let mut socket = stage.connect(Region::UsWest, user, None).await?;
    let redis = stage.scene.cluster.redis(Region::UsWest).unwrap();
    redis.flush().await?;
    // Forgotten; the next heartbeat writes everybody down again, and what came meanwhile is found.
    stage
        .send(Region::UsEast, user, Priority::High, "forgotten")
        .await?;
    assert_eq!(socket.title().await?, "forgotten");
    redis.stop(cluster::StopMode::Immediate).await?;
    stage.send(Region::UsEast, user, Priority::High, "gone").await?;
    assert_eq!(socket.title().await?, "gone");
    let client = stage.scene.customer(Region::UsWest, user)?;
    let mode = async || {
        client
            .get(LIST)
            .await
            .map(|answer| answer.headers["ringway-notification-mode"].clone())
    };
    until("it says so", async || {
        mode().await.is_ok_and(|mode| mode == "polling")
    })
    .await?;
    let mut late = stage.connect(Region::UsWest, user, Some("1.0")).await?;
    assert_eq!(late.title().await?, "gone");
    redis.start_again().await?;
    until("it is back", async || {
        mode().await.is_ok_and(|mode| mode == "direct")
    })
    .await?;
    stage.send(Region::UsEast, user, Priority::High, "back").await?;
    assert_eq!(late.title().await?, "back");
    assert_eq!(socket.title().await?, "back");
    Ok(())
}

/// Follows one user's messages over whatever happens to instances: connects again, with what it has.
async fn follow(urls: Vec<String>, bearer: String, count: usize) -> Result<Vec<i64>> {
    let (mut seen, mut cursor, mut turn) = (Vec::new(), "0.0".to_owned(), 0);
    while seen.len() < count {
        let url = &urls[turn % urls.len()];
        turn += 1;
        let Ok(mut socket) = Socket::connect(url, &format!("?after={cursor}"), Some(&bearer)).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        while seen.len() < count {
            match socket.next_or_close().await? {
                Some(frame) => seen.push(frame["notification"]["sequence"].as_i64().unwrap()),
                None => break,
            }
        }
        cursor = socket.cursor;
    }
    Ok(seen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_with_an_instance() -> Result<()> {
    let stage = Arc::new(Stage::set(Backing::Full).await?);
    an_instance_is_killed(&stage).await?;
    an_instance_ends(&stage).await
}

async fn an_instance_is_killed(stage: &Arc<Stage>) -> Result<()> {
    const MESSAGES: usize = 40;
    let user = Uuid::now_v7();
    let mut instance = stage.instance(Region::UsEast, "killed").await?;
    let urls = vec![instance.url.clone(), stage.scene.url(Region::UsWest)];
    let following = tokio::spawn(follow(urls, stage.scene.bearer(user, Role::Customer)?, MESSAGES));
    for number in 0..MESSAGES {
        stage
            .send(Region::UsEast, user, Priority::High, &number.to_string())
            .await?;
        if number == MESSAGES / 2 {
            instance.kill();
        }
    }
    let seen = tokio::time::timeout(BOUND, following).await???;
    let all: Vec<i64> = (1..=i64::try_from(MESSAGES)?).collect();
    assert_eq!(seen, all, "everything, each once, in order");
    Ok(())
}

async fn an_instance_ends(stage: &Arc<Stage>) -> Result<()> {
    const USERS: usize = 50;
    const MESSAGES: usize = 6;
    let mut instance = stage.instance(Region::UsEast, "ending").await?;
    let urls = [instance.url.clone(), stage.scene.url(Region::UsWest)];
    let users: Vec<Uuid> = (0..USERS).map(|_| Uuid::now_v7()).collect();
    let mut following = Vec::new();
    for &user in &users {
        following.push(tokio::spawn(follow(
            urls.to_vec(),
            stage.scene.bearer(user, Role::Customer)?,
            MESSAGES,
        )));
    }
    let done = Arc::new(AtomicBool::new(false));
    let sending = tokio::spawn({
        let (stage, users, done) = (Arc::clone(stage), users.clone(), Arc::clone(&done));
        async move {
            for number in 0..MESSAGES {
                for &user in &users {
                    stage
                        .send(Region::UsWest, user, Priority::High, &number.to_string())
                        .await?;
                }
            }
            done.store(true, Ordering::Relaxed);
            Ok::<_, anyhow::Error>(())
        }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let began = Instant::now();
    instance.stop().await;
    println!(
        "an instance with {USERS} sockets ended in {:?}, all sent: {}",
        began.elapsed(),
        done.load(Ordering::Relaxed)
    );
    sending.await??;
    let all: Vec<i64> = (1..=i64::try_from(MESSAGES)?).collect();
    for following in following {
        assert_eq!(tokio::time::timeout(BOUND, following).await???, all);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_climb_their_ladder() -> Result<()> {
    let stage = Stage::set(Backing::Full).await?;
    let send = async |email: &str, phone: &str, priority| -> Result<Uuid> {
        let user = Uuid::now_v7();
        stage.users.know(user, email, phone);
        stage.send(Region::UsEast, user, priority, "a letter").await?;
        Ok(user)
    };
    // Somebody whose provider works, and who has no number.
    send("anna@example.com", "", Priority::Critical).await?;
    send("late@example.com", "", Priority::High).await?;
    let failing = send("fails@example.com", "+15550100", Priority::Critical).await?;
    send("refused@example.com", "", Priority::High).await?;
    let letters = |to: &str| stage.provider.letters_to(to).len();
    until("letters arrive", async || {
        letters("anna@example.com") == 1 && letters("+15550100") == 1
    })
    .await?;
    let taken = async || {
        stage
            .provider
            .letters_to("late@example.com")
            .first()
            .is_some_and(|(_, times)| *times >= 2)
    };
    until("a late answer is asked for again, and is one letter", taken).await?;
    assert_eq!(letters("late@example.com"), 1);
    let kafka = stage.scene.environment(Region::UsEast).kafka.clone().unwrap();
    let dead = DeadLetters::new(
        kafka,
        ConsumerTopics::new("notification-critical", "notification"),
    );
    let mut found = Vec::new();
    until("what fails is dead", async || {
        found = dead.list().await.unwrap_or_default();
        !found.is_empty()
    })
    .await?;
    assert_eq!(
        (found.len(), found[0].failures, found[0].reason.as_str()),
        (1, 3, "the provider answers 503")
    );
    let payload: Value = serde_json::from_slice(&found[0].event.as_ref().unwrap().payload)?;
    assert_eq!(
        (&payload["channel"], &payload["user_id"]),
        (&json!("email"), &json!(failing))
    );
    // In the app, it is there all the same.
    let page = stage
        .scene
        .customer(Region::UsWest, failing)?
        .get(LIST)
        .await?
        .ok()?;
    assert_eq!(page["notifications"][0]["title"], "a letter");
    assert_eq!(letters("refused@example.com"), 0);
    Ok(())
}
