//! Many sockets on one instance: memory for each, messages per second, and moving them all to another instance.
//!
//! `cargo run --release -p shop-notification --example sockets [SOCKETS]`, 15,000 if nothing is said. The instances are processes of their own
//! (this program, started with `serve`), because a process may hold 20,000 files. They have no consumers: those of the scene in this process
//! tell them, as other instances do.
//!
//! It fails if a message is lost, comes twice or out of order; never by a speed.

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::StreamExt;
use futures_util::stream::iter;
use ringway_sdk::rpc::{Peer, ServiceKey};
use ringway_sdk::service::{Environment, Server, ServerSettings, Stop};
use ringway_sdk::web::{Caller, Keys, Limits, Metrics, Role, Signer};
use ringway_sdk::{Context, Database};
use serde_json::json;
use shop_contracts::rpc::v1::notification_client::NotificationClient;
use shop_contracts::rpc::v1::notification_delivery_client::NotificationDeliveryClient;
use shop_contracts::rpc::v1::{DeliverRequest, Delivery, Operation, Priority, SendRequest};
use shop_notification::Settings;
use shop_testing::{Backing, Region, Scene};
use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use uuid::Uuid;

const SOCKETS: usize = 15_000;
/// Looks at the memory while sockets are opened.
const STEPS: usize = 6;
/// Sockets that are opened at a time.
const OPENING: usize = 64;
/// Messages that one instance is told of by another, so many in a call, so many calls at a time.
const MESSAGES: usize = 60_000;
const PER_CALL: usize = 100;
const CALLS: usize = 4;
/// Messages that are sent to mailboxes while the instance ends, and so many at a time.
const SENT: usize = 1_500;
const SENDING: usize = 4;
/// No step takes longer, unless it hangs.
const BOUND: Duration = Duration::from_secs(300);
/// How the services of a scene know each other.
const SERVICE_KEY: &str = "known-to-tests-only";

#[tokio::main]
async fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("serve") => serve().await,
        Some(sockets) => Box::pin(measure(sockets.parse()?)).await,
        None => Box::pin(measure(SOCKETS)).await,
    }
}

/// What an instance is told on its input; it ends in order when the input does.
#[derive(serde::Serialize, serde::Deserialize)]
struct Order {
    name: String,
    database: String,
    redis: BTreeMap<String, String>,
    keys: serde_json::Value,
}

async fn serve() -> Result<()> {
    let mut input = BufReader::new(tokio::io::stdin());
    let mut line = String::new();
    input.read_line(&mut line).await?;
    let order: Order = serde_json::from_str(&line)?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = format!("http://{}", listener.local_addr()?);
    let environment = Environment {
        region: Region::UsEast.name().to_owned(),
        instance: order.name,
        database: Database::new(&order.database, ringway_sdk::Settings::default())?,
        kafka: None,
        primaries: Vec::new(),
        redis: None,
        redis_by_region: order.redis,
        mongodb: None,
        peers: BTreeMap::new(),
        service_key: ServiceKey::new(SERVICE_KEY)?,
        keys: Keys::fixed(serde_json::from_value(order.keys)?),
        limits: Limits::default(),
        metrics: Metrics::default(),
        draining: Stop::new(),
    };
    let settings = Settings {
        drain: Duration::from_secs(30),
        ..Settings::new(&address)
    };
    let services = vec![shop_notification::service(&environment, settings)?];
    let server = ServerSettings {
        unready: Duration::ZERO,
        tasks: Duration::from_secs(120),
        ..ServerSettings::default()
    };
    let server = Server::start(listener, &environment, services, server)?;
    println!("{address}");
    input.read_to_end(&mut Vec::new()).await?;
    server.stop().await;
    Ok(())
}

/// An instance in a process of its own.
struct Instance {
    child: Child,
    url: String,
}

impl Instance {
    async fn start(order: &Order) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let input = child.stdin.as_mut().context("no input")?;
        input
            .write_all((serde_json::to_string(order)? + "\n").as_bytes())
            .await?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let url = lines.next_line().await?.context("the instance did not start")?;
        Ok(Self { child, url })
    }

    /// Its resident memory.
    fn memory(&self) -> Result<usize> {
        let id = self.child.id().context("it has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("no VmRSS")?;
        let kib: usize = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024)
    }
}

/// What all clients share.
struct Crowd {
    signer: Signer,
    urls: [String; 2],
    open: [AtomicUsize; 2],
    received: AtomicU64,
    wrong: AtomicU64,
}

/// A user, and the last sequence that it has.
struct Follower {
    user_id: Uuid,
    last: AtomicI64,
}

/// Connects to the first instance, and to the second one when it is sent away.
async fn follow(crowd: Arc<Crowd>, follower: Arc<Follower>) -> Result<()> {
    let mut place = 0;
    loop {
        if follow_at(&crowd, &follower, place).await.is_ok() {
            place = 1;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn follow_at(crowd: &Crowd, follower: &Follower, place: usize) -> Result<()> {
    let address = crowd.urls[place].strip_prefix("http://").context("not http")?;
    let after = follower.last.load(Ordering::Relaxed);
    let mut request =
        format!("ws://{address}/api/v1/notifications/socket?after={after}.0").into_client_request()?;
    let caller = Caller {
        user_id: follower.user_id,
        role: Role::Customer,
        region: String::new(),
    };
    let bearer = crowd.signer.sign(&caller, BOUND * 4)?;
    request
        .headers_mut()
        .insert("authorization", format!("Bearer {bearer}").parse()?);
    let small = WebSocketConfig::default()
        .read_buffer_size(1024)
        .write_buffer_size(0);
    let stream = TcpStream::connect(address).await?;
    let (mut socket, _) = Box::pin(client_async_with_config(request, stream, Some(small))).await?;
    crowd.open[place].fetch_add(1, Ordering::Relaxed);
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        let frame: serde_json::Value = serde_json::from_str(&text)?;
        let Some(sequence) = frame["notification"]["sequence"].as_i64() else {
            continue;
        };
        let before = follower.last.swap(sequence, Ordering::Relaxed);
        crowd.received.fetch_add(1, Ordering::Relaxed);
        if sequence != before + 1 {
            crowd.wrong.fetch_add(1, Ordering::Relaxed);
        }
    }
    crowd.open[place].fetch_sub(1, Ordering::Relaxed);
    Ok(())
}

async fn until(what: &str, condition: impl Fn() -> bool) -> Result<Duration> {
    let began = Instant::now();
    while !condition() {
        if began.elapsed() > BOUND {
            bail!("{what}: not within {BOUND:?}");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(began.elapsed())
}

async fn measure(sockets: usize) -> Result<()> {
    let scene = Box::pin(Scene::start(Backing::Full, |environment| {
        let address = environment.peers["notification"].clone();
        Ok(vec![shop_notification::service(
            environment,
            Settings::new(&address),
        )?])
    }))
    .await?;
    let signer = Signer::generate()?;
    let order = |name: &str| Order {
        name: name.to_owned(),
        database: scene.ringways.us_east.url("shop", "shop"),
        redis: scene.environment(Region::UsEast).redis_by_region.clone(),
        keys: json!({"keys": [signer.public()]}),
    };
    let mut first = Instance::start(&order("first")).await?;
    let second = Instance::start(&order("second")).await?;
    let crowd = Arc::new(Crowd {
        signer: signer.clone(),
        urls: [first.url.clone(), second.url.clone()],
        open: Default::default(),
        received: AtomicU64::new(0),
        wrong: AtomicU64::new(0),
    });
    let followers = Box::pin(open(&crowd, &first, sockets)).await?;
    // The first third is told by another instance alone, the rest through mailboxes.
    let (told, sent) = followers.split_at(sockets / 3);
    deliver(&crowd, &first.url, told).await?;
    Box::pin(drain(&scene, &crowd, &mut first, sent)).await?;
    ensure!(
        crowd.wrong.load(Ordering::Relaxed) == 0,
        "messages came twice or out of order"
    );
    println!("| every message came once and in order | yes |");
    Ok(())
}

/// Opens the sockets, and says what each costs.
async fn open(crowd: &Arc<Crowd>, instance: &Instance, sockets: usize) -> Result<Vec<Arc<Follower>>> {
    println!("| sockets | resident memory | for each | for each of the last |\n|---|---|---|---|");
    let (empty, mut before) = (instance.memory()?, (instance.memory()?, 0));
    let mut followers = Vec::with_capacity(sockets);
    for step in 1..=STEPS {
        while followers.len() < sockets * step / STEPS {
            let follower = Arc::new(Follower {
                user_id: Uuid::now_v7(),
                last: AtomicI64::new(0),
            });
            followers.push(Arc::clone(&follower));
            tokio::spawn(follow(Arc::clone(crowd), follower));
            let begun = followers.len();
            until("sockets open", || {
                crowd.open[0].load(Ordering::Relaxed) + OPENING > begun
            })
            .await?;
        }
        until("sockets open", || {
            crowd.open[0].load(Ordering::Relaxed) == followers.len()
        })
        .await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (memory, count) = (instance.memory()?, followers.len());
        let each = memory.saturating_sub(empty) / count;
        let last = memory.saturating_sub(before.0) / (count - before.1);
        println!("| {count} | {} MiB | {each} bytes | {last} bytes |", memory >> 20);
        before = (memory, count);
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    let each = instance.memory()?.saturating_sub(empty) / sockets;
    println!(
        "| {sockets}, pinged for 30 s | {} MiB | {each} bytes | |",
        instance.memory()? >> 20
    );
    Ok(followers)
}

/// Tells the instance of messages as other instances do, as fast as it takes them.
async fn deliver(crowd: &Arc<Crowd>, url: &str, followers: &[Arc<Follower>]) -> Result<()> {
    let peer = Peer::new("notification", url, ServiceKey::new(SERVICE_KEY)?)?;
    let body = "x".repeat(200);
    let before = crowd.received.load(Ordering::Relaxed);
    let began = Instant::now();
    let rounds = MESSAGES / followers.len();
    for round in 1..=rounds {
        let calls = followers.chunks(PER_CALL).map(|users| {
            let deliveries = users.iter().map(|follower| Delivery {
                user_id: follower.user_id.to_string(),
                sequence: i64::try_from(round).unwrap_or(i64::MAX),
                json: json!({"sequence": round, "title": "Told", "body": body}).to_string(),
            });
            let request = DeliverRequest {
                deliveries: deliveries.collect(),
            };
            let context = Context::background().with_timeout(BOUND);
            let mut client = NotificationDeliveryClient::new(peer.call(&context));
            async move { client.deliver(request).await }
        });
        let mut calls = iter(calls).buffer_unordered(CALLS);
        while let Some(answer) = calls.next().await {
            answer?;
        }
        // The next of a user only after this one: what is not the very next is read from the shard, where these are not.
        let due = before + u64::try_from(followers.len() * round)?;
        until("messages come", || crowd.received.load(Ordering::Relaxed) >= due).await?;
    }
    let took = began.elapsed();
    let count = rounds * followers.len();
    println!(
        "| {count} messages to {} sockets | {:.0} per second |",
        followers.len(),
        count as f64 / took.as_secs_f64()
    );
    Ok(())
}

/// Ends the first instance while messages are sent.
async fn drain(
    scene: &Scene,
    crowd: &Arc<Crowd>,
    first: &mut Instance,
    followers: &[Arc<Follower>],
) -> Result<()> {
    let sockets = crowd.open[0].load(Ordering::Relaxed);
    let peer = scene.peer(Region::UsEast, "notification")?;
    let before = crowd.received.load(Ordering::Relaxed);
    let began = Instant::now();
    let send = async |number: usize| -> Result<()> {
        let follower = &followers[number % followers.len()];
        let context = Context::background().with_timeout(BOUND);
        let request = SendRequest {
            operation: Some(Operation {
                key: number.to_string(),
                user_id: follower.user_id.to_string(),
                order_id: String::new(),
            }),
            priority: Priority::High.into(),
            category: "load".to_owned(),
            title: "Sent".to_owned(),
            ..SendRequest::default()
        };
        NotificationClient::new(peer.call(&context)).send(request).await?;
        Ok(())
    };
    let sending = async {
        let mut sent = iter((0..SENT).map(&send)).buffer_unordered(SENDING);
        while let Some(answer) = sent.next().await {
            answer?;
        }
        println!(
            "| {SENT} messages sent through the mailboxes meanwhile | {:.0} per second |",
            SENT as f64 / began.elapsed().as_secs_f64()
        );
        Ok::<_, anyhow::Error>(())
    };
    let ending = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let ended = Instant::now();
        drop(first.child.stdin.take());
        let status = tokio::time::timeout(BOUND, first.child.wait()).await??;
        ensure!(status.success(), "the instance ended with {status}");
        println!(
            "| the instance with {sockets} sockets ended | {:.1} s |",
            ended.elapsed().as_secs_f64()
        );
        until("all are elsewhere", || {
            crowd.open[1].load(Ordering::Relaxed) == sockets
        })
        .await?;
        println!(
            "| all of them were connected to the other one | {:.1} s |",
            ended.elapsed().as_secs_f64()
        );
        Ok::<_, anyhow::Error>(())
    };
    let (sending, ending) = tokio::join!(sending, ending);
    sending.and(ending)?;
    let due = before + u64::try_from(SENT)?;
    until("all messages come", || {
        crowd.received.load(Ordering::Relaxed) >= due
    })
    .await?;
    println!(
        "| messages received of those sent | {} of {SENT} |",
        crowd.received.load(Ordering::Relaxed) - before
    );
    Ok(())
}
