//! What the gateway must do, in front of the user service in two regions.

use anyhow::Result;
use cluster::StopMode;
use ringway_sdk::breaker::BreakerSettings;
use ringway_sdk::limit::Rate;
use ringway_sdk::service::{Environment, Server, ServerSettings};
use ringway_sdk::{REPORT_HEADER, SOURCE_HEADER};
use serde_json::json;
use shop_gateway::Settings;
use shop_testing::{Backing, Region, Scene, until};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The gateway of another region, as people reach it.
const ELSEWHERE: &str = "https://west.shop.example";

async fn gateway(environment: &Environment, settings: Settings) -> Result<Server> {
    let service = shop_gateway::service(environment, settings)?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let at_once = ServerSettings {
        unready: Duration::ZERO,
        ..ServerSettings::default()
    };
    Ok(Server::start(listener, environment, vec![service], at_once)?)
}

fn users(environment: &mut Environment) -> Result<Vec<ringway_sdk::service::Service>> {
    let settings = shop_user::Settings::new("sealed in tests only".into());
    environment.keys = shop_user::keys(&environment.database, &settings)?;
    Ok(vec![shop_user::service(environment, settings)?])
}

/// Sends bytes as they are: clients of HTTP would straighten the path.
async fn raw(address: std::net::SocketAddr, request: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let text = format!("{request} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_has_one_address() -> Result<()> {
    let scene = Box::pin(Scene::start(Backing::Full, users)).await?;
    let settings = Settings {
        by_address: Rate {
            calls: 40,
            per: Duration::from_secs(3_600),
        },
        regions: BTreeMap::from([("us-west".to_owned(), ELSEWHERE.to_owned())]),
        ..Settings::default()
    };
    let east = gateway(scene.environment(Region::UsEast), settings.clone()).await?;
    let west = gateway(scene.environment(Region::UsWest), settings).await?;
    let url = |server: &Server| format!("http://{}", server.address());
    let client = scene.client_of([url(&east), url(&west)], Region::UsEast);

    let person =
        json!({"email": "ada@example.com", "password": "correct horse", "name": "Ada", "country": "GB"});
    assert_eq!(client.post_once("/api/v1/users", "k", person).await?.status, 201);
    let who = json!({"email": "ada@example.com", "password": "correct horse"});
    let session = client.post("/api/v1/sessions", who).await?.ok()?;
    let ada_token = session["access_token"].as_str().unwrap_or_default();
    let ada = client.with_bearer(Some(ada_token.to_owned()));
    assert_eq!(ada.get("/api/v1/users/me").await?.ok()?["name"], "Ada");
    sources(&east, ada_token).await?;
    scene.pause_replay().await?;
    let grace = json!({"name": "Grace", "country": "GB"});
    ada.put("/api/v1/users/me", grace).await?.ok()?;
    let moved = ada.moved_to(Region::UsWest).get("/api/v1/users/me").await?;
    assert_eq!(moved.headers["ringway-region"], "us-west");
    assert_eq!(moved.ok()?["name"], "Grace", "the token goes through");
    scene.resume_replay().await?;

    refusals(&east, &client).await?;
    page(&east, &client).await?;
    let documents = client.get("/api/openapi.json").await?.ok()?;
    assert!(documents["paths"]["/api/v1/users/me"]["get"].is_object());
    assert_eq!(
        client.get("/.well-known/jwks.json").await?.ok()?["keys"][0]["kty"],
        "OKP"
    );

    let mut last = client.get("/api/v1/nothing").await?;
    for _ in 0..40 {
        last = client.get("/api/v1/nothing").await?;
    }
    assert_eq!((last.status, last.problem()), (429, "too-many"));
    let redis = scene.cluster.redis(Region::UsEast).expect("a full cluster");
    redis.stop(StopMode::Immediate).await?;
    let mut statuses = Vec::new();
    for _ in 0..60 {
        statuses.push(client.get("/api/v1/nothing").await?.status);
    }
    assert_eq!(
        (statuses[0], statuses[59]),
        (404, 429),
        "without Redis the process counts"
    );
    Ok(())
}

/// Who asks is told where the answer comes from, through the gateway.
async fn sources(east: &Server, bearer: &str) -> Result<()> {
    let url = format!("http://{}/api/v1/users/me", east.address());
    let http = reqwest::Client::new();
    let source = async |request: reqwest::RequestBuilder| {
        let answer = request.bearer_auth(bearer).send().await?.error_for_status()?;
        let told = answer.headers().get(SOURCE_HEADER).map(|told| told.to_str());
        anyhow::Ok(told.transpose()?.map(str::to_owned))
    };
    assert_eq!(source(http.get(&url)).await?, None, "nobody asked");
    let change = http.put(&url).json(&json!({"name": "Ada", "country": "GB"}));
    let changed = source(change.header(REPORT_HEADER, "source")).await?;
    assert_eq!(changed.as_deref(), Some("primary"));
    let mut seen = Vec::new();
    until("the profile is kept", async || {
        seen.extend(
            source(http.get(&url).header(REPORT_HEADER, "source"))
                .await
                .ok()
                .flatten(),
        );
        seen.last().is_some_and(|source| source == "memory")
    })
    .await?;
    let known = ["memory", "redis", "primary"];
    assert!(
        seen.iter().all(|source| known.contains(&source.as_str())),
        "{seen:?}"
    );
    Ok(())
}

/// The page is served, and may be asked from by the other region's page alone.
async fn page(east: &Server, client: &shop_testing::Client) -> Result<()> {
    assert_eq!(client.get("/api/shop").await?.ok()?["region"], "us-east");
    let http = reqwest::Client::new();
    let url = |path: &str| format!("http://{}{path}", east.address());
    for path in ["/", "/page/shop.js", "/page/shop.css", "/docs"] {
        let answer = http.get(url(path)).send().await?.error_for_status()?;
        let policy = answer.headers().get("content-security-policy");
        assert_eq!(policy.is_some(), path != "/docs", "{path}");
    }
    assert_eq!(client.get("/page/lib.rs").await?.problem(), "no-such-route");
    for (origin, may) in [(ELSEWHERE, true), ("http://evil.example", false)] {
        let asked = http.request(reqwest::Method::OPTIONS, url("/api/v1/cart"));
        let asked = asked
            .header("origin", origin)
            .header("access-control-request-method", "GET");
        let answer = asked.send().await?;
        let allowed = answer.headers().get("access-control-allow-origin");
        assert_eq!(allowed.is_some_and(|allowed| allowed == origin), may, "{origin}");
    }
    Ok(())
}

async fn refusals(east: &Server, client: &shop_testing::Client) -> Result<()> {
    for path in [
        "/api/v1/users/../../shop.v1.User/Get",
        "/api/v1/users/%2e%2e/%2e%2e/shop.v1.User/Get",
        "/api/v1/users/..%2f..%2fmetrics",
    ] {
        let answer = raw(east.address(), &format!("POST {path}")).await?;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{path}: {answer}");
        assert!(answer.contains("crooked-path"), "{path}: {answer}");
    }
    let outside = raw(east.address(), "POST /shop.v1.User/Get").await?;
    assert!(outside.starts_with("HTTP/1.1 404 "), "{outside}");
    let forged = client
        .with_bearer(Some("a.b.c".to_owned()))
        .get("/api/v1/users/me")
        .await?;
    assert_eq!((forged.status, forged.problem()), (401, "unauthenticated"));
    let problem = client.get("/api/v1/users/me").await?;
    assert_eq!(
        (problem.status, problem.problem()),
        (401, "unauthenticated"),
        "the service's own problem"
    );
    let long = json!({"email": "x".repeat(300_000)});
    let long = client.post("/api/v1/sessions", long).await?;
    assert_eq!((long.status, long.problem()), (413, "too-large"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_down_is_left_alone() -> Result<()> {
    let scene = Box::pin(Scene::start(Backing::Embedded, users)).await?;
    let mut environment = scene.environment(Region::UsEast).clone();
    // Nobody listens there.
    let nowhere = TcpListener::bind(("127.0.0.1", 0)).await?.local_addr()?;
    environment
        .peers
        .insert("product".to_owned(), format!("http://{nowhere}"));
    let breaker = BreakerSettings {
        min_calls: 4,
        ..BreakerSettings::default()
    };
    let server = gateway(
        &environment,
        Settings {
            breaker,
            ..Settings::default()
        },
    )
    .await?;
    let url = format!("http://{}", server.address());
    let client = scene.client_of([url.clone(), url], Region::UsEast);
    for _ in 0..4 {
        let down = client.get("/api/v1/products").await?;
        assert_eq!((down.status, down.problem()), (503, "service-unavailable"));
    }
    let open = client.get("/api/v1/products").await?;
    let pause: u64 = open.headers["retry-after"].to_str()?.parse()?;
    assert!(pause > 20, "it is left alone for {pause} s");
    assert_eq!(
        client.get("/.well-known/jwks.json").await?.status,
        200,
        "the others are not"
    );
    server.stop().await;
    Ok(())
}
