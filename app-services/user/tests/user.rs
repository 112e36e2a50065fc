//! What the user service must do, on real servers in two regions.

use anyhow::Result;
use ringway_sdk::Context;
use ringway_sdk::limit::Rate;
use serde_json::{Value, json};
use shop_contracts::rpc::v1::GetUserRequest;
use shop_contracts::rpc::v1::user_client::UserClient;
use shop_testing::{Backing, Client, Region, Scene};
use shop_user::Settings;
use std::time::Duration;

const PASSWORD: &str = "correct horse battery";

async fn scene(backing: Backing) -> Result<Scene> {
    let start = Scene::start(backing, |environment| {
        let mut settings = Settings::new("sealed in tests only".into());
        settings.tries = Rate {
            calls: 5,
            per: Duration::from_secs(600),
        };
        environment.keys = shop_user::keys(&environment.database, &settings)?;
        Ok(vec![shop_user::service(environment, settings)?])
    });
    Box::pin(start).await
}

fn person(email: &str) -> Value {
    json!({"email": email, "password": PASSWORD, "name": "Ada", "country": "GB", "home_region": "us-east"})
}

fn home() -> Value {
    json!({"name": "Ada", "line1": "1 Mill Lane", "postal_code": "CB2 1RX", "city": "Cambridge", "country": "GB"})
}

/// Registers and signs in.
async fn user(scene: &Scene, email: &str) -> Result<(Client, Value)> {
    let anybody = scene.anybody(Region::UsEast);
    anybody
        .post_once("/api/v1/users", email, person(email))
        .await?
        .ok()?;
    let session = sign_in(&anybody, email, PASSWORD).await?.ok()?;
    let bearer = session["access_token"].as_str().map(str::to_owned);
    Ok((scene.anybody(Region::UsEast).with_bearer(bearer), session))
}

async fn sign_in(client: &Client, email: &str, password: &str) -> Result<shop_testing::Answer> {
    client
        .post("/api/v1/sessions", json!({"email": email, "password": password}))
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_register_sign_in_and_leave() -> Result<()> {
    let scene = scene(Backing::Embedded).await?;
    registration_is_once(&scene).await?;
    sessions_rotate(&scene).await?;
    own_writes_are_seen_everywhere(&scene).await?;
    nobody_reaches_others(&scene).await?;
    guessing_is_slowed_down(&scene).await?;
    leaving_forgets(&scene).await
}

async fn registration_is_once(scene: &Scene) -> Result<()> {
    let (east, west) = (scene.anybody(Region::UsEast), scene.anybody(Region::UsWest));
    let first = east
        .post_once("/api/v1/users", "k1", person("ada@example.com"))
        .await?
        .ok()?;
    let again = east
        .post_once("/api/v1/users", "k1", person("ada@example.com"))
        .await?
        .ok()?;
    assert_eq!(first, again, "the same request is the same user");
    let other = west
        .post_once("/api/v1/users", "k2", person(" ADA@Example.com "))
        .await?;
    assert_eq!((other.status, other.problem()), (409, "email-taken"));

    // Eight at once, in both regions: one of them wins.
    let race = (0..8).map(|n| {
        let client = if n % 2 == 0 { east.clone() } else { west.clone() };
        tokio::spawn(async move {
            client
                .post_once("/api/v1/users", &format!("race-{n}"), person("race@example.com"))
                .await
        })
    });
    let mut statuses = Vec::new();
    for answer in race.collect::<Vec<_>>() {
        statuses.push(answer.await??.status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409]);
    assert_eq!(
        scene
            .sum_at_primaries("SELECT count(*) FROM user_profile")
            .await?,
        2
    );
    assert_eq!(
        scene.sum_at_primaries("SELECT count(*) FROM user_outbox").await?,
        2,
        "one event each"
    );

    for (field, value) in [
        ("email", json!("no address")),
        ("password", json!("short")),
        ("country", json!("gb")),
        ("name", json!("")),
        ("name", json!("a\u{0}b")),
    ] {
        let mut bad = person("bad@example.com");
        bad[field] = value;
        let refused = east.post_once("/api/v1/users", "bad", bad).await?;
        assert_eq!((refused.status, refused.problem()), (422, "invalid"), "{field}");
    }
    let keyless = east.post("/api/v1/users", person("keyless@example.com")).await?;
    assert_eq!(keyless.problem(), "idempotency-key");
    Ok(())
}

async fn sessions_rotate(scene: &Scene) -> Result<()> {
    let (client, session) = user(scene, "rotating@example.com").await?;
    assert_eq!(session["home_region"], "us-east");
    let refresh = async |token: &Value| {
        client
            .post("/api/v1/sessions/refresh", json!({"refresh_token": token}))
            .await
    };
    let second = refresh(&session["refresh_token"]).await?.ok()?;
    let retried = refresh(&session["refresh_token"]).await?;
    assert_eq!(retried.status, 200, "an answer may have been lost");
    let third = retried.ok()?;
    let stolen = refresh(&session["refresh_token"]).await?;
    assert_eq!(
        (stolen.status, stolen.problem()),
        (401, "no-session"),
        "used up long ago"
    );
    for token in [&second, &third] {
        let ended = refresh(&token["refresh_token"]).await?;
        assert_eq!(ended.status, 401, "the whole session is ended");
    }
    for bad in ["", "x", &"A".repeat(86), &"A".repeat(85)] {
        assert_eq!(refresh(&json!(bad)).await?.status, 401, "{bad}");
    }
    let session = sign_in(&client, "rotating@example.com", PASSWORD).await?.ok()?;
    let token = json!({"refresh_token": session["refresh_token"]});
    assert_eq!(
        client.post("/api/v1/sessions/end", token.clone()).await?.status,
        204
    );
    assert_eq!(client.post("/api/v1/sessions/end", token).await?.status, 401);
    Ok(())
}

async fn own_writes_are_seen_everywhere(scene: &Scene) -> Result<()> {
    let (client, session) = user(scene, "moving@example.com").await?;
    scene.pause_replay().await?;
    let mut changed =
        json!({"name": "Grace", "phone": "1", "country": "US", "locale": "en-US", "time_zone": "UTC"});
    client.put("/api/v1/users/me", changed.clone()).await?.ok()?;
    let added = client
        .post_once("/api/v1/users/me/addresses", "a1", home())
        .await?;
    assert_eq!(added.status, 201);
    let west = client.moved_to(Region::UsWest);
    let seen = west.get("/api/v1/users/me").await?;
    assert_eq!(seen.headers["ringway-region"], "us-west");
    assert_eq!(seen.ok()?["name"], "Grace");
    assert_eq!(
        west.get("/api/v1/users/me/addresses").await?.ok()?[0]["address"],
        home()
    );
    scene.resume_replay().await?;

    let mut users = UserClient::new(scene.peer(Region::UsWest, "user")?.call(&Context::background()));
    let user_id = session["user_id"].as_str().unwrap_or_default().to_owned();
    let info = users.get(GetUserRequest { user_id }).await?.into_inner();
    assert_eq!(info.email, "moving@example.com");
    let user_id = uuid::Uuid::now_v7().to_string();
    let unknown = users.get(GetUserRequest { user_id }).await;
    assert_eq!(
        unknown.err().map(|status| status.code()),
        Some(tonic::Code::NotFound)
    );
    let id = session["user_id"].as_str().unwrap_or_default().parse()?;
    let home = scene
        .database(Region::UsWest)
        .home_of(&Context::background(), ("user_profile", "user_id"), id)
        .await?;
    assert_eq!(home.as_deref(), Some("us-east"), "where the primaries are");
    changed["country"] = json!("usa");
    assert_eq!(client.put("/api/v1/users/me", changed).await?.status, 422);
    Ok(())
}

async fn nobody_reaches_others(scene: &Scene) -> Result<()> {
    let (owner, _) = user(scene, "owner@example.com").await?;
    let (other, _) = user(scene, "other@example.com").await?;
    let stored = owner
        .post_once("/api/v1/users/me/addresses", "mine", home())
        .await?
        .ok()?;
    let path = format!(
        "/api/v1/users/me/addresses/{}",
        stored["address_id"].as_str().unwrap_or_default()
    );
    assert_eq!(other.put(&path, home()).await?.problem(), "no-address");
    assert_eq!(other.delete(&path).await?.problem(), "no-address");
    assert_eq!(other.get("/api/v1/users/me/addresses").await?.ok()?, json!([]));
    assert_eq!(owner.get("/api/v1/users/me/addresses").await?.ok()?[0], stored);

    let anybody = scene.anybody(Region::UsEast);
    for token in [None, Some(String::new()), Some("a.b.c".to_owned())] {
        let stranger = anybody.with_bearer(token);
        assert_eq!(
            stranger.get("/api/v1/users/me").await?.problem(),
            "unauthenticated"
        );
        assert_eq!(stranger.delete("/api/v1/users/me").await?.status, 401);
    }
    assert_eq!(owner.delete(&path).await?.status, 204);
    Ok(())
}

async fn guessing_is_slowed_down(scene: &Scene) -> Result<()> {
    let (client, _) = user(scene, "guessed@example.com").await?;
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(
            sign_in(&client, "guessed@example.com", "wrong horse")
                .await?
                .status,
        );
    }
    // One try was the right one, before.
    assert_eq!(seen, [401, 401, 401, 401, 429, 429]);
    let right = sign_in(&client, "guessed@example.com", PASSWORD).await?;
    assert_eq!(right.status, 429, "not even the right one");
    assert!(right.headers.contains_key("retry-after"));
    let unknown = sign_in(&client, "nobody@example.com", PASSWORD).await?;
    assert_eq!(
        unknown.problem(),
        "wrong-password",
        "nobody learns who is registered"
    );
    Ok(())
}

async fn leaving_forgets(scene: &Scene) -> Result<()> {
    let (client, session) = user(scene, "leaving@example.com").await?;
    client
        .post_once("/api/v1/users/me/addresses", "a", home())
        .await?
        .ok()?;
    assert_eq!(client.delete("/api/v1/users/me").await?.status, 204);
    assert_eq!(client.get("/api/v1/users/me").await?.problem(), "no-user");
    assert_eq!(client.delete("/api/v1/users/me").await?.problem(), "no-user");
    let refresh = json!({"refresh_token": session["refresh_token"]});
    assert_eq!(
        client.post("/api/v1/sessions/refresh", refresh).await?.status,
        401
    );
    assert_eq!(
        sign_in(&client, "leaving@example.com", PASSWORD).await?.status,
        401
    );
    let kept = "SELECT count(*) FROM user_profile WHERE deleted_at IS NOT NULL AND num_nonnulls(email, name, phone) = 0";
    assert_eq!(scene.sum_at_primaries(kept).await?, 1);
    let (_, session_again) = user(scene, "leaving@example.com").await?;
    assert_ne!(
        session_again["user_id"], session["user_id"],
        "the address is free"
    );
    Ok(())
}
