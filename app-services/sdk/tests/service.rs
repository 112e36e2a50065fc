//! A whole service over the SDK: two routes, and what they must do.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the failure")]

mod support;

use anyhow::Result;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use cluster::{Backing, Region};
use ringway_sdk::{Blame, Context, Database, Error, FromSdk, Level, Once, Store};
use std::time::Duration;
use support::Scene;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What the service refuses, beside what the SDK reports.
#[derive(Debug)]
enum Refusal {
    TooLittle,
    Sdk(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Sdk(error)
    }
}

impl FromSdk for Refusal {
    fn as_sdk(&self) -> Option<&Error> {
        match self {
            Self::TooLittle => None,
            Self::Sdk(error) => Some(error),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self.as_sdk().map(Error::blame) {
            None => StatusCode::CONFLICT,
            Some(Blame::Caller) => StatusCode::BAD_REQUEST,
            Some(Blame::Deadline) => StatusCode::GATEWAY_TIMEOUT,
            Some(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        status.into_response()
    }
}

/// The longest that a request may take.
const LONGEST: Duration = Duration::from_secs(5);

#[derive(Clone)]
struct Service {
    database: Database,
    store: Store,
}

type Reply = Result<(HeaderMap, Json<i64>), Refusal>;

fn reply(context: &Context, balance: i64) -> Reply {
    let mut headers = HeaderMap::new();
    context.write_answer(&mut headers);
    Ok((headers, Json(balance)))
}

async fn show(State(service): State<Service>, Path(user): Path<i64>, headers: HeaderMap) -> Reply {
    let context = Context::from_headers(&headers, LONGEST)?;
    let balance = service.database.read(&context, Level::Ryw, async |reader| {
        let sql = "SELECT balance FROM accounts WHERE user_id = $1";
        Ok::<i64, Error>(reader.query_one(sql, &[&user]).await?.get(0))
    });
    reply(&context, balance.await?)
}

async fn spend(
    State(service): State<Service>,
    Path((user, amount)): Path<(i64, i64)>,
    headers: HeaderMap,
) -> Reply {
    let context = Context::from_headers(&headers, LONGEST)?;
    let key = headers
        .get("idempotency-key")
        .and_then(|key| key.to_str().ok())
        .unwrap_or_default();
    let once = Once {
        store: &service.store,
        shard_key: &user.into(),
        key,
        operation: "spend",
    };
    let balance = service.database.transaction_once(&context, once, async |tx| {
        let sql = "UPDATE accounts SET balance = balance - $2 WHERE user_id = $1 AND balance >= $2 RETURNING balance";
        let row = tx.query_opt(sql, &[&user, &amount]).await?.ok_or(Refusal::TooLittle)?;
        Ok::<i64, Refusal>(row.get(0))
    });
    reply(&context, balance.await?.into_inner())
}

fn router(service: Service) -> Router {
    Router::new()
        .route("/accounts/{user}", get(show))
        .route("/accounts/{user}/spend/{amount}", post(spend))
        .with_state(service)
}

async fn serve(scene: &Scene, region: Region) -> Result<u16> {
    let service = Service {
        database: scene.database(region),
        store: scene.store.clone(),
    };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move { axum::serve(listener, router(service)).await });
    Ok(port)
}

/// Status, token and body of an answer.
async fn ask(port: u16, request: &str, headers: &[(&str, &str)]) -> Result<(u16, Option<String>, String)> {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    let mut text = format!("{request} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: 0\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    stream.write_all(format!("{text}\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse()?;
    let token = head.lines().find_map(|line| line.strip_prefix("ringway-token: "));
    Ok((status, token.map(str::to_owned), body.to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_thin() -> Result<()> {
    let scene = Box::pin(Scene::start(Backing::Embedded)).await?;
    scene
        .database(Region::UsEast)
        .transaction(&Context::background(), async |tx| {
            tx.execute("INSERT INTO accounts VALUES (1, 100), (2, 100), (3, 100)", &[])
                .await
        })
        .await?;
    scene.cluster.wait_replayed().await?;
    let (east, west) = (
        serve(&scene, Region::UsEast).await?,
        serve(&scene, Region::UsWest).await?,
    );
    scene.pause_replay().await?;

    let key = [("idempotency-key", "a")];
    let (status, token, body) = ask(east, "POST /accounts/1/spend/30", &key).await?;
    assert_eq!((status, body.as_str()), (200, "70"));
    let token = token.expect("a token comes with the answer");
    let (_, _, again) = ask(east, "POST /accounts/1/spend/30", &key).await?;
    assert_eq!(again, "70", "the same request is not carried out twice");
    let seen = ask(west, "GET /accounts/1", &[("ringway-token", &token)]).await?;
    assert_eq!((seen.0, seen.2.as_str()), (200, "70"), "the other region sees it");

    let (status, ..) = ask(east, "POST /accounts/1/spend/1000", &[("idempotency-key", "b")]).await?;
    assert_eq!(status, 409, "the service's own refusal");
    let (status, ..) = ask(east, "GET /accounts/1", &[("ringway-token", "x")]).await?;
    assert_eq!(status, 400);
    let (status, ..) = ask(east, "GET /accounts/1", &[("ringway-timeout", "0m")]).await?;
    assert_eq!(status, 504, "no time left");
    Ok(())
}
