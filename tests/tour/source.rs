//! Each answer's session can say where it came from.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cluster::{Cluster, Region, Ringway, SHOP};
use tests::{World, shared};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::{SPEC, UNTIL_PAUSE, WORLD};

/// For an answer to come from where it is expected.
const BOUND: Duration = Duration::from_secs(20);
const SOURCE: &str = "SHOW ringway.source";
const USER: &str = "SELECT name FROM users WHERE user_id = 77";
const PREPARED: &str = "SELECT email FROM users WHERE user_id = 79";

/// The word in an answer to SHOW.
fn word(messages: &[SimpleQueryMessage]) -> Result<String> {
    let word = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    word.context("SHOW gave no row")
}

/// Where a statement is answered; the question is sent with it, behind it.
async fn source(client: &Client, sql: &str) -> Result<String> {
    let both = futures_util::future::join(client.simple_query(sql), client.simple_query(SOURCE));
    let (answered, shown) = both.await;
    answered.with_context(|| sql.to_owned())?;
    word(&shown?)
}

/// The same by the extended protocol.
async fn prepared_source(client: &Client, sql: &str) -> Result<String> {
    let statement = client.prepare(sql).await?;
    let both = futures_util::future::join(client.query(&statement, &[]), client.simple_query(SOURCE));
    let (answered, shown) = both.await;
    answered?;
    word(&shown?)
}

/// Asks until the answer comes from there. Those on the way must be `before`.
async fn becomes(client: &Client, sql: &str, expected: &str, before: &str) -> Result<()> {
    let started = Instant::now();
    loop {
        let found = source(client, sql).await?;
        if found == expected {
            return Ok(());
        }
        ensure!(found == before, "{sql}: from {found}, not {expected} or {before}");
        if started.elapsed() > BOUND {
            bail!("{sql}: still from {found}, not {expected}");
        }
        tokio::time::sleep(UNTIL_PAUSE).await;
    }
}

/// A second Ringway in us-east: the same servers and the same Redis, a memory of its own.
async fn neighbour(cluster: &Cluster) -> Result<Ringway> {
    let (port, http_port) = cluster.ringway_ports(Region::UsEast);
    let config = cluster.config(Region::UsEast);
    let ports = format!("port = {port}\nhttp_port = {http_port}\n");
    let id = format!("proxy_id = \"{}\"", Region::UsEast.name());
    ensure!(config.contains(&ports) && config.contains(&id), "{config}");
    let started = Ringway::start_alone("neighbour", tests::ringway()?, |port, http_port| {
        let own = format!("port = {port}\nhttp_port = {http_port}\n");
        config
            .replace(&ports, &own)
            .replace(&id, "proxy_id = \"neighbour\"")
    });
    Ok(started.await?)
}

async fn connect(ringway: &Ringway, cluster: &Cluster) -> Result<Client> {
    let password = &cluster.secrets().shop;
    let url = format!("postgres://{SHOP}:{password}@127.0.0.1:{}/{SHOP}", ringway.port());
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// A read that the second Ringway has answered from Redis, because the first one keeps it there. Each try is another row: until a Ringway
/// knows how far the log is, it asks the primary, and may keep the answer itself.
async fn shared_read(keeping: &Client, asking: &Client) -> Result<String> {
    let started = Instant::now();
    for user in 100.. {
        let read = format!("SELECT name FROM users WHERE user_id = {user}");
        becomes(keeping, &read, "memory", "primary").await?;
        tokio::time::sleep(UNTIL_PAUSE).await;
        if source(asking, &read).await? == "redis" {
            return Ok(read);
        }
        ensure!(started.elapsed() < BOUND, "nothing comes from Redis");
    }
    bail!("no row is left")
}

#[test]
fn each_answer_says_where_it_came_from() -> Result<()> {
    let world: Arc<World> = shared(&WORLD, &SPEC)?;
    let cluster = world.cluster();
    world.within(Duration::from_secs(60), async {
        let east = world.client().await?;
        assert_eq!(word(&east.simple_query(SOURCE).await?)?, "none");
        // The cache may have been asked for the row by nobody yet: its answer is the primary's, and kept.
        assert_eq!(source(&east, USER).await?, "primary");
        becomes(&east, USER, "memory", "primary").await?;
        assert_eq!(prepared_source(&east, PREPARED).await?, "primary");
        assert_eq!(prepared_source(&east, PREPARED).await?, "memory");
        assert_eq!(word(&east.simple_query(SOURCE).await?)?, "memory", "it stays");
        let scattered = "SELECT count(*) FROM users";
        assert_eq!(source(&east, scattered).await?, "primary");
        becomes(&east, USER, "memory", "primary").await?;
        let written = "UPDATE users SET country = country WHERE user_id = 78";
        assert_eq!(source(&east, written).await?, "primary");
        let in_block = "BEGIN; SELECT name FROM users WHERE user_id = 77; COMMIT";
        assert_eq!(source(&east, in_block).await?, "primary", "its own snapshot");
        let known = word(&east.simple_query("BEGIN; SHOW ringway.source; COMMIT").await?)?;
        assert_eq!(known, "primary", "what Ringway answers itself changes nothing");
        east.batch_execute("DISCARD ALL").await?;
        assert_eq!(word(&east.simple_query(SOURCE).await?)?, "none");

        let second = neighbour(cluster).await?;
        let beside = connect(&second, cluster).await?;
        let shared = shared_read(&east, &beside).await?;
        becomes(&beside, &shared, "memory", "redis").await?;

        let west = connect(world.ringway(Region::UsWest), cluster).await?;
        becomes(&west, scattered, "replica", "primary").await?;
        becomes(&west, USER, "memory", "replica").await?;
        west.batch_execute("SET ringway.level = 'strong'").await?;
        assert_eq!(source(&west, USER).await?, "primary");
        counted(&second).await
    })
}

/// What was told is what was counted.
async fn counted(ringway: &Ringway) -> Result<()> {
    let (_, metrics) = ringway.get("/metrics").await?;
    for source in ["memory", "redis"] {
        let line = metrics
            .lines()
            .find(|line| line.starts_with("ringway_reads_total{") && line.contains(source))
            .with_context(|| format!("no reads from {source}"))?;
        ensure!(!line.ends_with(" 0"), "{line}");
    }
    Ok(())
}
