//! Secrets are never told: not to a log, however much is logged, nor in answers, metrics, or what a value's `Debug` prints.

#[path = "../security/person.rs"]
#[allow(dead_code, reason = "the other test needs more of it")]
mod person;
#[path = "../security/room.rs"]
#[allow(dead_code, reason = "the other test needs more of it")]
mod room;

use anyhow::{Result, ensure};
use person::{KEY, Person};
use ringway_sdk::events::{ConsumerSettings, KafkaSettings, RelaySettings};
use ringway_sdk::partner::{PartnerSettings, Secret};
use ringway_sdk::projection::{DocumentSettings, Documents, ProjectorSettings};
use ringway_sdk::rpc::ServiceKey;
use ringway_sdk::service::Primary;
use ringway_sdk::web::Signer;
use room::{CARRIER_SECRET, PROVIDER_SECRET, Room, SEAL};
use serde_json::{Value, json};
use shop_testing::Region;
use shop_testing::person::word;
use std::fmt::Debug;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// The most lines of the log that are shown.
const SHOWN: usize = 20;

/// What services know each other by, in a scene.
const SERVICE_KEY: &str = "known-to-tests-only";

/// A log of which only the lines that tell a secret are kept.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    secrets: Vec<(&'static str, String)>,
    lines: usize,
    telling: Vec<String>,
}

impl Log {
    fn with<T>(&self, work: impl FnOnce(&mut Told) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From here on it may not be told.
    fn keep(&self, what: &'static str, secret: &str) {
        self.with(|told| told.secrets.push((what, secret.to_owned())));
    }

    /// Which secrets a text has in it.
    fn told_by(&self, text: &str) -> Vec<&'static str> {
        let of = |told: &mut Told| {
            let there = told
                .secrets
                .iter()
                .filter(|(_, secret)| text.contains(secret.as_str()));
            there.map(|(what, _)| *what).collect()
        };
        self.with(of)
    }
}

impl Write for Log {
    /// A whole event at a time.
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let told = self.told_by(&text);
        self.with(|log| {
            log.lines += 1;
            if !told.is_empty() && log.telling.len() < SHOWN {
                log.telling.push(format!("{told:?}: {text}"));
            }
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// What is secret of a person.
fn keep(log: &Log, person: &Person) {
    log.keep("an access token", &person.bearer);
    for (name, value) in &person.ids {
        if *name == "refresh_token" {
            log.keep("a refresh token", value);
        }
    }
    for word in &person.words {
        match word {
            word if word.starts_with("tok_") => log.keep("a card's token", word),
            word if word.contains("secret words") => log.keep("a password", word),
            _ => {}
        }
    }
}

/// Uses the shop rightly and wrongly, with secrets of its own; gives the answers that are no session.
async fn use_it(log: &Log, room: &Room, person: &Person) -> Result<Vec<Value>> {
    let client = &person.client;
    let mut answers = Vec::new();
    for wrong in ["wrong-password-one", "wrong-password-two"] {
        log.keep("a wrong password", wrong);
        let who = json!({ "email": "confidant@example.com", "password": wrong });
        answers.push(room.anybody().post("/api/v1/sessions", who).await?.body);
        let passwords = json!({ "old": wrong, "new": "a-password-that-comes" });
        answers.push(client.put("/api/v1/users/me/password", passwords).await?.body);
        // At places where nobody expects it.
        for path in [
            "/api/v1/users",
            "/api/v1/sessions",
            "/api/v1/sessions/refresh",
            "/api/v1/users/me/password",
        ] {
            let key = Some(KEY);
            for body in [
                json!({ "password": [wrong] }),
                json!({ "password": { "it": wrong } }),
                json!(wrong),
            ] {
                let method = if path.ends_with("password") { "PUT" } else { "POST" };
                let answer = room
                    .anybody()
                    .send(method.parse()?, path, key, Some(body))
                    .await?;
                ensure!(answer.status >= 400, "{path}: {}", answer.status);
                answers.push(answer.body);
            }
        }
    }
    let broken = format!("{}x", person.bearer);
    answers.push(client.with_bearer(Some(broken)).get("/api/v1/cart").await?.body);
    let ticket = client
        .post("/api/v1/notifications/tickets", json!({}))
        .await?
        .ok()?;
    let ticket = word(&ticket, "ticket")?;
    log.keep("a ticket", &ticket);
    // Used twice, of which the second is refused.
    for _ in 0..2 {
        let path = format!("/api/v1/notifications/socket?ticket={ticket}");
        answers.push(room.anybody().get(&path).await?.body);
    }
    Ok(answers)
}

/// What values of settings print of themselves, each with a secret in it.
fn settings(log: &Log, room: &Room) -> Result<Vec<String>> {
    const HIDDEN: &str = "hidden-in-settings";
    log.keep("a secret of settings", HIDDEN);
    let print = |value: &dyn Debug| format!("{value:?} {value:#?}");
    let url = |scheme: &str| format!("{scheme}://shop:{HIDDEN}@127.0.0.1:1/0");
    let password = ("sasl.password".to_owned(), HIDDEN.to_owned());
    let kafka = KafkaSettings::new("127.0.0.1:1").with_properties(vec![password]);
    let documents = DocumentSettings {
        uri: url("mongodb"),
        database: "shop".to_owned(),
    };
    let mut environment = room.scene.environment(Region::UsEast).clone();
    environment.redis = Some(url("redis"));
    environment
        .redis_by_region
        .insert("us-east".to_owned(), url("redis"));
    environment.mongodb = Some(url("mongodb"));
    environment.kafka = Some(kafka.clone());
    environment.service_key = ServiceKey::new(HIDDEN)?;
    let mut notification = shop_notification::Settings::new("http://127.0.0.1:1");
    let provider = shop_notification::HttpProvider::new("http://127.0.0.1:1", HIDDEN);
    notification
        .providers
        .insert(shop_notification::Channel::Email, Arc::new(provider));
    let projector = ProjectorSettings {
        kafka: kafka.clone(),
        sources: Vec::new(),
        shards: vec![url("postgres")],
    };
    let broken = format!("redis://:{HIDDEN}@[");
    let rate = shop_gateway::Settings::default().by_user;
    Ok(vec![
        print(&environment),
        print(&ringway_sdk::Database::new(
            &url("postgres"),
            ringway_sdk::Settings::default(),
        )?),
        print(
            &ringway_sdk::Database::new(
                &format!("postgres://shop:{HIDDEN}@[/"),
                ringway_sdk::Settings::default(),
            )
            .err(),
        ),
        print(&ringway_sdk::limit::Limiter::new("x", rate, Some(&broken)).err()),
        print(&RelaySettings::new(url("postgres"), 0, kafka.clone())),
        print(&ConsumerSettings::new(kafka.clone(), "topic", "consumer")),
        print(&projector),
        print(&documents),
        print(&Documents::new(documents.clone())),
        print(&kafka),
        print(&Primary {
            shard: 0,
            url: url("postgres"),
        }),
        print(&Secret::new(HIDDEN)),
        print(&PartnerSettings::new("http://127.0.0.1:1", Secret::new(HIDDEN))),
        print(&shop_user::Settings::new(HIDDEN.into())),
        print(&notification),
        print(&shop_gateway::service(
            &environment,
            shop_gateway::Settings::default(),
        )?),
        print(&shop_user::service(
            &environment,
            shop_user::Settings::new(HIDDEN.into()),
        )?),
        print(&environment.peer("user")?),
        print(&Signer::generate()?),
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_not_told() -> Result<()> {
    let log = Log::default();
    for (what, secret) in [
        ("the services' key", SERVICE_KEY),
        ("the signing seal", SEAL),
        ("the provider's secret", PROVIDER_SECRET),
        ("the carrier's secret", CARRIER_SECRET),
        ("a card's number", "4242 4242 4242 4242"),
    ] {
        log.keep(what, secret);
    }
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("trace"))
        .with_ansi(false)
        .with_writer(log.clone())
        .init();
    let room = Box::pin(Room::start()).await?;
    log.keep("the database's password", &room.scene.cluster.secrets().shop);
    log.keep(
        "the control user's password",
        &room.scene.cluster.secrets().control,
    );
    let (staff, product_id) = person::stocked(&room).await?;
    keep(&log, &staff);
    log.keep("a password", "confidant s secret words");
    let person = Person::register(&room, "confidant").await?;
    keep(&log, &person);
    let person = person.use_everything(&product_id).await?;
    keep(&log, &person);
    let mut texts: Vec<String> = use_it(&log, &room, &person)
        .await?
        .iter()
        .map(Value::to_string)
        .collect();
    let refresh = json!({ "refresh_token": person.ids["refresh_token"] });
    let next = person
        .client
        .post("/api/v1/sessions/refresh", refresh.clone())
        .await?
        .ok()?;
    log.keep("a refresh token", &word(&next, "refresh_token")?);
    // Used twice: its session ends, and the log says so.
    texts.push(
        person
            .client
            .post("/api/v1/sessions/refresh", refresh)
            .await?
            .body
            .to_string(),
    );
    for base in room.gateways().into_iter().chain(room.services()) {
        for path in [
            "/metrics",
            "/openapi.json",
            "/readyz",
            "/api/regions",
            "/api/openapi.json",
        ] {
            texts.push(reqwest::get(format!("{base}{path}")).await?.text().await?);
        }
    }
    texts.extend(settings(&log, &room)?);
    let tells = |text: &String| {
        let told = log.told_by(text);
        (!told.is_empty()).then(|| format!("{told:?} in: {text}"))
    };
    let telling: Vec<String> = texts.iter().filter_map(tells).collect();
    ensure!(telling.is_empty(), "{}", telling.join("\n"));
    room.end().await;
    log.with(|log| {
        println!("{} events were logged", log.lines);
        ensure!(log.lines > 10_000, "{} events: was anything logged?", log.lines);
        ensure!(
            log.telling.is_empty(),
            "the log tells:\n{}",
            log.telling.join("\n")
        );
        Ok(())
    })
}
