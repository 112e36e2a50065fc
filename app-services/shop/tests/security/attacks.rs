//! What somebody tries who wants to be somebody else, or to get past the gateway.

use crate::person::Person;
use crate::room::{PROVIDER_SECRET, Room, gateway};
use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::http::{HeaderMap, Uri};
use ringway_sdk::limit::Rate;
use ringway_sdk::partner::{SIGNATURE_HEADER, sign};
use ringway_sdk::rpc::SERVICE_KEY_HEADER;
use ringway_sdk::web::{CLIENT_HEADER, Caller, ISSUER, Role, Signer};
use serde_json::{Value, json};
use shop_testing::Region;
use shop_testing::jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// A value as a part of a token.
fn part(value: &Value) -> Result<String> {
    let token = encode(&Header::default(), value, &EncodingKey::from_secret(b"any"))?;
    let part = token.split('.').nth(1).context("no token")?;
    Ok(part.to_owned())
}

/// Tokens that nobody may believe, and what is wrong with them.
fn forgeries(room: &Room, person: &Person) -> Result<Vec<(&'static str, String)>> {
    let signer = &room.signer;
    let good = json!({ "sub": person.ids["user_id"], "role": "customer", "region": "us-east", "iss": ISSUER, "iat": now(),
        "exp": now() + 600 });
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let own = EncodingKey::from_ed_der(signer.pkcs8());
    let head = |algorithm, kid: Option<&str>| {
        let mut header = Header::new(algorithm);
        header.kid = kid.map(str::to_owned);
        header
    };
    let ours = |claims: &Value| encode(&head(Algorithm::EdDSA, Some(signer.id())), claims, &own);
    let public = serde_json::to_value(signer.public())?;
    let public = public["x"].as_str().context("no key")?.as_bytes();
    let other = Signer::generate()?;
    let theirs = EncodingKey::from_ed_der(other.pkcs8());
    let [header, _, signature] = person.bearer.split('.').collect::<Vec<_>>()[..] else {
        anyhow::bail!("{} is no token", person.bearer);
    };
    let unsigned = |algorithm: &str| {
        let head = part(&json!({ "alg": algorithm, "kid": signer.id() }))?;
        Ok::<_, anyhow::Error>(format!("{head}.{}.", part(&good)?))
    };
    Ok(vec![
        ("no algorithm", unsigned("none")?),
        ("no algorithm, written otherwise", unsigned("nOnE")?),
        ("no signature", unsigned("EdDSA")?),
        (
            "the public key as a secret",
            encode(
                &head(Algorithm::HS256, Some(signer.id())),
                &good,
                &EncodingKey::from_secret(public),
            )?,
        ),
        (
            "another key under this id",
            encode(&head(Algorithm::EdDSA, Some(signer.id())), &good, &theirs)?,
        ),
        (
            "another shop's key",
            encode(&head(Algorithm::EdDSA, Some(other.id())), &good, &theirs)?,
        ),
        ("no key id", encode(&head(Algorithm::EdDSA, None), &good, &own)?),
        (
            "a path as key id",
            encode(&head(Algorithm::EdDSA, Some("../../dev/null")), &good, &own)?,
        ),
        ("expired", ours(&with("exp", json!(now() - 60)))?),
        ("without an end", ours(&with("exp", Value::Null))?),
        ("another issuer", ours(&with("iss", json!("somebody")))?),
        ("no issuer", ours(&with("iss", Value::Null))?),
        ("no user", ours(&with("sub", json!("' OR true --")))?),
        ("a role that there isn't", ours(&with("role", json!("root")))?),
        (
            "claims changed",
            format!("{header}.{}.{signature}", part(&with("role", json!("staff")))?),
        ),
        ("nothing", String::new()),
        ("dots", "..".to_owned()),
        ("no token", "%00\u{7f}".replace('\u{7f}', "")),
    ])
}

/// A token is believed only as the user service made it: by the gateway as well as by every service behind it.
pub(crate) async fn forged_tokens(room: &Room) -> Result<()> {
    let person = Person::register(room, "forged").await?;
    let caller = Caller {
        user_id: person.ids["user_id"].parse()?,
        role: Role::Customer,
        region: "us-west".to_owned(),
    };
    let good = room.signer.sign(&caller, Duration::from_secs(60))?;
    let forgeries = forgeries(room, &person)?;
    let http = reqwest::Client::new();
    for base in room.gateways().into_iter().chain(room.services()) {
        let ask = async |path: &str, token: &str| {
            let request = http.get(format!("{base}{path}")).bearer_auth(token);
            Ok::<_, anyhow::Error>(request.send().await?.status().as_u16())
        };
        for path in [
            "/api/v1/cart",
            "/api/v1/users/me",
            "/api/v1/notifications",
            "/api/v1/orders",
        ] {
            // The forgeries are wrong by their faults, not by their key.
            ensure!(ask(path, &good).await? == 200, "{path}: a good one is refused");
            for (fault, token) in &forgeries {
                let status = ask(path, token).await?;
                ensure!(status == 401, "{base}{path}: {fault}: {status}");
            }
        }
        ensure!(
            ask("/api/v1/fraud/cases", &good).await? == 403,
            "a customer is no staff"
        );
    }
    Ok(())
}

/// What the provider tells is believed with its signature only, for a while, and once.
pub(crate) async fn webhooks_are_signed(room: &Room) -> Result<()> {
    let body = json!({ "operation": Uuid::now_v7(), "reference": Uuid::now_v7(), "subject": Uuid::now_v7(), "kind": "authorise",
        "status": "succeeded" })
    .to_string();
    let http = reqwest::Client::new();
    let [gateway, _] = room.gateways();
    for of in ["payments", "shipments"] {
        let told = async |signature: Option<String>| {
            let mut request = http
                .post(format!("{gateway}/api/v1/{of}/webhook"))
                .body(body.clone());
            if let Some(signature) = signature {
                request = request.header(SIGNATURE_HEADER, signature);
            }
            Ok::<_, anyhow::Error>(request.send().await?.status().as_u16())
        };
        let right = sign(PROVIDER_SECRET, now(), body.as_bytes());
        let (time, tag) = right.split_once(",v1=").context("no tag")?;
        for (fault, signature) in [
            ("none", None),
            ("empty", Some(String::new())),
            (
                "another secret",
                Some(sign("another secret", now(), body.as_bytes())),
            ),
            ("an empty secret", Some(sign("", now(), body.as_bytes()))),
            ("another body", Some(sign(PROVIDER_SECRET, now(), b"{}"))),
            (
                "too old",
                Some(sign(PROVIDER_SECRET, now() - 301, body.as_bytes())),
            ),
            (
                "from the future",
                Some(sign(PROVIDER_SECRET, now() + 400, body.as_bytes())),
            ),
            ("another time", Some(format!("t={},v1={tag}", now() - 5))),
            ("half", Some(format!("{time},v1={}", &tag[..32]))),
            ("no tag", Some(format!("{time},v1="))),
        ] {
            let status = told(signature).await?;
            ensure!(status == 401, "{of}: {fault}: {status}");
        }
    }
    Ok(())
}

/// Sends bytes as they are, and gives the status of what comes back; none if the connection is closed without an answer.
async fn raw(base: &str, request: &[u8]) -> Result<Option<u16>> {
    let address = base.strip_prefix("http://").context("not http")?;
    let mut stream = TcpStream::connect(address).await?;
    // Whoever sends too much is cut off: what was answered before counts.
    drop(stream.write_all(request).await);
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(15), stream.read_to_end(&mut answer)).await;
    drop(read.context("neither an answer nor an end")?);
    let text = String::from_utf8_lossy(&answer);
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    Ok(status.and_then(|status| status.parse().ok()))
}

/// Headers, bodies and paths have bounds, and bodies have one length.
pub(crate) async fn too_much_is_refused(room: &Room) -> Result<()> {
    let large = "x".repeat(1_000_000);
    let many: String = (0..500).map(|n| format!("x-{n}: 1\r\n")).collect();
    let chunk = format!("{:x}\r\n{large}\r\n", large.len());
    let start = "POST /api/v1/sessions HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nContent-Type: application/json\r\n";
    let cases = [
        (
            "a large header",
            format!("{start}x-large: {large}\r\n\r\n"),
            &[400, 431][..],
        ),
        ("many headers", format!("{start}{many}\r\n"), &[400, 431]),
        (
            "a large body",
            format!("{start}Content-Length: {}\r\n\r\n{large}", large.len()),
            &[413],
        ),
        (
            "a large body in pieces",
            format!("{start}Transfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n"),
            &[413],
        ),
        (
            "a length that can't be",
            format!("{start}Content-Length: -1\r\n\r\n"),
            &[400],
        ),
        (
            "two lengths",
            format!("{start}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}}}"),
            &[400],
        ),
        (
            "a length and pieces",
            format!("{start}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            &[400, 415, 422],
        ),
        (
            "pieces, and something else",
            format!("{start}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
            &[400],
        ),
        (
            "a long path",
            format!("GET /api/v1/products/{large} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n"),
            &[400, 414, 431],
        ),
        (
            "a folded header",
            format!("{start}x-a: 1\r\n b: 2\r\nContent-Length: 0\r\n\r\n"),
            &[400],
        ),
        (
            "a space before a colon",
            format!("{start}Content-Length : 0\r\n\r\n"),
            &[400],
        ),
    ];
    for base in room.gateways().into_iter().chain(room.services()) {
        for (what, request, expected) in &cases {
            let status = raw(&base, request.as_bytes()).await?;
            // Cut off before an answer could be read is refused as well.
            let refused = status.is_none_or(|status| expected.contains(&status));
            ensure!(refused, "{base}: {what}: {status:?}");
        }
        let alive = raw(
            &base,
            b"GET /livez HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n",
        )
        .await?;
        ensure!(alive == Some(200), "{base} does not live");
    }
    Ok(())
}

/// Only what the gateway's table names is reached, however it is written.
pub(crate) async fn crooked_paths(room: &Room) -> Result<()> {
    let [gateway, _] = room.gateways();
    let [services, _] = room.services();
    let inside = services.strip_prefix("http://").context("not http")?;
    let paths = [
        "/api/v1/users/../../metrics",
        "/api/v1/users/..%2f..%2f..%2fmetrics",
        "/api/v1/users/..%2F..%2Fmetrics",
        "/api/v1/users/%2e%2e/%2e%2e/%2e%2e/metrics",
        "/api/v1/users/.%2e/metrics",
        "/api/v1/users/..;/..;/metrics",
        "/api/v1/users/%252e%252e/metrics",
        "/api/v1/users/..%5c..%5cmetrics",
        "/api/v1/users/..\\..\\metrics",
        "/api/v1//users/me",
        "//api/v1/users/me",
        "/api/v1/users/./me",
        "/api/v1/users%2fme",
        "/api/v1/users/me%00",
        "/api/v1/users/me/",
        "/api/v1/shop.v1.User/Get",
        "/shop.v1.User/Get",
        "/API/V1/users/me",
        "*",
        "@shop/metrics",
    ];
    for path in paths {
        let request = format!("GET {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n");
        let status = raw(&gateway, request.as_bytes()).await?;
        ensure!(matches!(status, Some(400 | 404 | 405)), "{path}: {status:?}");
    }
    // Absolute, and with another host: its path counts, nothing else.
    for (request, expected) in [
        (format!("GET http://{inside}/openapi.json HTTP/1.1\r\nHost: {inside}\r\n"), 200),
        (format!("GET http://{inside}/shop.v1.User/Get HTTP/1.1\r\nHost: {inside}\r\n"), 404),
        (format!("CONNECT {inside} HTTP/1.1\r\nHost: {inside}\r\n"), 404),
        ("GET /api/v1/users/me HTTP/1.1\r\nHost: elsewhere\r\nX-Original-URL: /metrics\r\nX-Rewrite-URL: /metrics\r\n".to_owned(), 401),
    ] {
        let status = raw(&gateway, format!("{request}Connection: close\r\n\r\n").as_bytes()).await?;
        ensure!(status == Some(expected), "{request}: {status:?}");
    }
    Ok(())
}

/// Answers what it was asked.
async fn echo() -> Result<String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let tell = |uri: Uri, headers: HeaderMap| async move { format!("{uri}\n{headers:?}") };
    let told = Router::new().fallback(tell);
    let headers = |headers: HeaderMap| async move {
        let all = headers
            .iter()
            .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]));
        axum::Json(all.collect::<Vec<_>>())
    };
    let router = told.route("/api/v1/products", axum::routing::any(headers));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(url)
}

/// What only the gateway may say, it says itself, once; whatever a client says of it is dropped.
pub(crate) async fn nothing_is_smuggled_through(room: &Room) -> Result<()> {
    let mut environment = room.scene.environment(Region::UsEast).clone();
    environment.redis = None;
    environment.peers.insert("product".to_owned(), echo().await?);
    let server = gateway(&environment, shop_gateway::Settings::default()).await?;
    let request = reqwest::Client::new()
        .get(format!("http://{}/api/v1/products?a=1", server.address()))
        .header(CLIENT_HEADER, "6.6.6.6")
        .header(CLIENT_HEADER, "7.7.7.7")
        .header("Ringway-Client", "8.8.8.8")
        .header(SERVICE_KEY_HEADER, "a guess of the key")
        .header("connection", "ringway-client, ringway-service-key, authorization")
        .header("proxy-authorization", "Basic x")
        .header("te", "trailers")
        .header("keep-alive", "timeout=600");
    let answer = request.send().await?;
    ensure!(
        !answer.headers().contains_key(SERVICE_KEY_HEADER),
        "the key comes back"
    );
    let seen: Vec<(String, String)> = answer.json().await?;
    let said = |name: &str| -> Vec<&str> {
        let of_name = seen.iter().filter(|(one, _)| one == name);
        of_name.map(|(_, value)| value.as_str()).collect()
    };
    ensure!(said(CLIENT_HEADER) == ["127.0.0.1"], "{seen:?}");
    let key = environment.service_key.header();
    ensure!(said(SERVICE_KEY_HEADER) == [key.to_str()?], "{seen:?}");
    for dropped in ["proxy-authorization", "te", "keep-alive", "connection", "upgrade"] {
        ensure!(said(dropped).is_empty(), "{dropped}: {seen:?}");
    }
    server.stop().await;
    Ok(())
}

/// How often an address may ask can't be got around by saying that one is another.
pub(crate) async fn addresses_are_those_of_connections(room: &Room) -> Result<()> {
    let mut environment = room.scene.environment(Region::UsEast).clone();
    // Counts of its own.
    environment.redis = None;
    let per = Duration::from_secs(3_600);
    let settings = shop_gateway::Settings {
        by_address: Rate { calls: 4, per },
        ..shop_gateway::Settings::default()
    };
    let server = gateway(&environment, settings).await?;
    let http = reqwest::Client::new();
    let mut statuses = Vec::new();
    for n in 0..8 {
        let address = format!("10.9.8.{n}");
        let mut request = http.get(format!("http://{}/api/v1/categories", server.address()));
        for header in ["x-forwarded-for", "x-real-ip", "true-client-ip", CLIENT_HEADER] {
            request = request.header(header, &address);
        }
        let request = request.header("forwarded", format!("for={address}"));
        statuses.push(request.send().await?.status().as_u16());
    }
    ensure!(
        statuses == [200, 200, 200, 200, 429, 429, 429, 429],
        "{statuses:?}"
    );
    server.stop().await;
    // The same at a service: who signs in wrongly too often is stopped, whoever it says it is.
    let [services, _] = room.services();
    let mut last = 0;
    for n in 0..12 {
        let who = json!({ "email": "guessed@example.com", "password": format!("guess {n}") });
        let request = http.post(format!("{services}/api/v1/sessions")).json(&who);
        last = request
            .header(CLIENT_HEADER, format!("10.9.8.{n}"))
            .send()
            .await?
            .status()
            .as_u16();
    }
    ensure!(last == 429, "{last}");
    Ok(())
}
