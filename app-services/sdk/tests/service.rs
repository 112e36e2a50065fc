//! A whole service over the SDK, and what it must do.

use anyhow::Result;
use axum::Json;
use axum::extract::{Path, State};
use ringway_sdk::service::{Environment, Service, Table};
use ringway_sdk::web::{Caller, IdempotencyKey};
use ringway_sdk::{Context, Database, KeyType, Level, Store};
use serde::{Deserialize, Serialize};
use serde_json::json;
use shop_testing::{Backing, Region, Scene};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

// ---- The service.

ringway_sdk::refusals! {
    /// What the service refuses.
    enum Refusal {
        /// The balance doesn't suffice.
        TooLittle = CONFLICT "too-little" "there is not enough on the account",
        /// Nobody has opened it.
        NoAccount = NOT_FOUND "no-account" "there is no such account",
    }
}

#[derive(Serialize, Deserialize, ToSchema)]
struct Spend {
    #[schema(minimum = 1)]
    cents: i64,
}

#[derive(Serialize, Deserialize, ToSchema)]
struct Balance {
    cents: i64,
}

#[derive(Clone)]
struct Accounts {
    database: Database,
    store: Store,
}

/// What is on the caller's account.
#[utoipa::path(get, path = "/api/v1/account", responses((status = 200, body = Balance)))]
async fn show(
    State(accounts): State<Accounts>,
    context: Context,
    caller: Caller,
) -> Result<Json<Balance>, Refusal> {
    const SQL: &str = "SELECT cents FROM account_balance WHERE user_id = $1";
    let read = async |reader: ringway_sdk::Reader| reader.query_opt(SQL, &[&caller.user_id]).await;
    let row = accounts.database.read(&context, Level::Ryw, read).await?;
    let cents = row.ok_or(Refusal::NoAccount)?.get(0);
    Ok(Json(Balance { cents }))
}

/// Takes something off it, once for the key.
#[utoipa::path(post, path = "/api/v1/account/{what}", params(IdempotencyKey, ("what" = String, Path)), responses((status = 200, body = Balance)))]
async fn spend(
    State(accounts): State<Accounts>,
    context: Context,
    caller: Caller,
    key: IdempotencyKey,
    Path(what): Path<String>,
    Json(spend): Json<Spend>,
) -> Result<Json<Balance>, Refusal> {
    const SQL: &str =
        "UPDATE account_balance SET cents = cents - $2 WHERE user_id = $1 AND cents >= $2 RETURNING cents";
    if spend.cents < 1 {
        return Err(Refusal::Invalid("cents: at least 1".to_owned()));
    }
    let operation = format!("spend {} on {what}", spend.cents);
    let once = accounts.store.once(caller.user_id, key.0, operation);
    let spent = accounts.database.transaction_once(&context, once, async |tx| {
        let row = tx.query_opt(SQL, &[&caller.user_id, &spend.cents]).await?;
        let cents = row.ok_or(Refusal::TooLittle)?.get(0);
        Ok::<_, Refusal>(Balance { cents })
    });
    Ok(Json(spent.await?))
}

fn service(environment: &Environment) -> ringway_sdk::Result<Service> {
    let store = Store::new("account", KeyType::Uuid)?;
    let accounts = Accounts {
        database: environment.database.clone(),
        store: store.clone(),
    };
    Ok(Service::new("account", environment)
        .store(&store)
        .schema(&[
            "CREATE TABLE IF NOT EXISTS account_balance (user_id uuid PRIMARY KEY, cents bigint NOT NULL)",
        ])
        .table(Table::sharded("account_balance", "user_id").cached())
        .http(
            OpenApiRouter::new()
                .routes(routes!(show))
                .routes(routes!(spend))
                .with_state(accounts),
        ))
}

// ---- What it must do.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_thin() -> Result<()> {
    let scene = Box::pin(Scene::start(Backing::Embedded, |environment| {
        Ok(vec![service(environment)?])
    }))
    .await?;
    let user = Uuid::now_v7();
    let open = async |tx: ringway_sdk::Transaction| {
        tx.execute("INSERT INTO account_balance VALUES ($1, 100)", &[&user])
            .await
    };
    let database = scene.database(Region::UsEast);
    database
        .transaction::<_, ringway_sdk::Error, _, _>(&Context::background(), open)
        .await?;
    scene.cluster.wait_replayed().await?;
    scene.pause_replay().await?;

    let client = scene.customer(Region::UsEast, user)?;
    let thirty = json!({"cents": 30});
    let spent = client
        .post_once("/api/v1/account/tea", "a", thirty.clone())
        .await?;
    assert_eq!(spent.ok()?["cents"], 70);
    assert!(client.token().is_some(), "a token comes with the answer");
    let again = client
        .post_once("/api/v1/account/tea", "a", thirty.clone())
        .await?;
    assert_eq!(
        again.ok()?["cents"],
        70,
        "the same request is not carried out twice"
    );
    let seen = client.moved_to(Region::UsWest).get("/api/v1/account").await?;
    assert_eq!(seen.headers["ringway-region"], "us-west");
    assert_eq!(seen.ok()?["cents"], 70, "the other region sees it");

    let too_much = client
        .post_once("/api/v1/account/tea", "b", json!({"cents": 1_000}))
        .await?;
    assert_eq!((too_much.status, too_much.problem()), (409, "too-little"));
    let other = client
        .post_once("/api/v1/account/coffee", "a", thirty.clone())
        .await?;
    assert_eq!(
        (other.status, other.problem()),
        (400, "malformed"),
        "the key is for tea"
    );
    let stranger = scene.customer(Region::UsEast, Uuid::now_v7())?;
    assert_eq!(stranger.get("/api/v1/account").await?.problem(), "no-account");
    Ok(())
}
