//! Redis, Kafka and a standby stopped: every statement is answered all the same, and all is as before once the part is back.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cluster::{CONTROL_ROLE, Region, SHOP, StopMode};
use tokio_postgres::Client;

use crate::stage::{SOON, Stage, eventually, full, rows};

/// Longer than the bound of the shop's tables: what depends on the missing part has run out by then.
const ABSENCE: Duration = Duration::from_secs(4);
/// The longest that a statement may take meanwhile.
const STATEMENT: Duration = Duration::from_secs(3);
/// For the proxies to use the part again.
const RETURN: Duration = Duration::from_secs(30);
/// Between two statements.
const PACE: Duration = Duration::from_millis(25);

/// Reads and writes in both regions, for as long as `doing` lasts and a while longer; every statement must be answered.
async fn answered_while<T>(stage: &Stage, doing: impl Future<Output = Result<T>>) -> Result<T> {
    let mut clients = Vec::new();
    for region in Region::ALL {
        clients.push((region, stage.ringway(region).connect(SHOP, SHOP).await?));
    }
    let mut doing = std::pin::pin!(doing);
    let mut outcome = None;
    let mut until = None;
    let mut round = 0;
    while until.is_none_or(|until| Instant::now() < until) {
        for (region, client) in &clients {
            let asking = tokio::time::timeout(STATEMENT, ask(client, round));
            asking
                .await
                .with_context(|| format!("no answer in {} within {STATEMENT:?}", region.name()))?
                .with_context(|| format!("in {}", region.name()))?;
        }
        round += 1;
        if outcome.is_none() {
            tokio::select! {
                done = &mut doing => {
                    outcome = Some(done?);
                    until = Some(Instant::now() + ABSENCE);
                }
                () = tokio::time::sleep(PACE) => {}
            }
        } else {
            tokio::time::sleep(PACE).await;
        }
    }
    outcome.context("not done")
}

async fn ask(client: &Client, round: i32) -> Result<()> {
    let user = round % 200 + 1;
    let found = rows(
        client,
        &format!("SELECT user_id FROM users WHERE user_id = {user}"),
    )
    .await?;
    ensure!(found == [[user.to_string()]], "{found:?}");
    let name = format!("round {round}");
    client
        .batch_execute(&format!(
            "UPDATE users SET name = '{name}' WHERE user_id = {user}"
        ))
        .await?;
    // Its own write, whichever server answers.
    let found = client
        .query_one("SELECT name::text FROM users WHERE user_id = $1::int", &[&user])
        .await?;
    ensure!(found.get::<_, &str>(0) == name, "its own write is not there");
    Ok(())
}

/// The column of this name in a SHOW, by the proxy of a region.
async fn column(stage: &Stage, region: Region, show: &str, name: &str) -> Result<Vec<Option<String>>> {
    let admin = stage.ringway(region).connect(CONTROL_ROLE, "ringway").await?;
    let answer = admin.simple_query(&format!("SHOW {show}")).await?;
    let mut values = Vec::new();
    for message in &answer {
        if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
            let Some(place) = row.columns().iter().position(|column| column.name() == name) else {
                bail!("SHOW {show} has no column {name}");
            };
            values.push(row.get(place).map(str::to_owned));
        }
    }
    Ok(values)
}

/// Waits until both proxies follow every stream closely.
async fn follows(stage: &Stage) -> Result<()> {
    const CLOSELY_US: u64 = 2_000_000;
    for region in Region::ALL {
        let close = async || {
            let lags = column(stage, region, "STREAM", "lag_us").await?;
            let close = |lag: &Option<String>| {
                lag.as_ref()
                    .and_then(|lag| lag.parse::<u64>().ok())
                    .is_some_and(|lag| lag < CLOSELY_US)
            };
            Ok(lags.len() == 2 && lags.iter().all(close))
        };
        eventually(&format!("{} follows the stream", region.name()), RETURN, close).await?;
    }
    Ok(())
}

/// Waits until the cache of both proxies answers.
async fn caches(stage: &Stage) -> Result<()> {
    for region in Region::ALL {
        let client = stage.ringway(region).connect(SHOP, SHOP).await?;
        let hits = async || {
            let rows = stage.show_in(region, "CACHE").await?;
            let kept = rows.iter().filter(|row| {
                matches!(row.as_slice(), [part, item, _] if part == "answers" && (item == "memory" || item == "shared"))
            });
            anyhow::Ok(
                kept.filter_map(|row| row.get(2)?.parse::<u64>().ok())
                    .sum::<u64>(),
            )
        };
        let before = hits().await?;
        let used = async || {
            rows(&client, "SELECT user_id, name FROM users WHERE user_id = 7").await?;
            Ok(hits().await? > before)
        };
        eventually(&format!("the cache in {} answers", region.name()), RETURN, used).await?;
    }
    Ok(())
}

const WHOLE: Duration = Duration::from_secs(120);

#[test]
fn redis_stopped() -> Result<()> {
    let stage = full()?;
    stage.within(WHOLE, async {
        let both = |region| stage.cluster().redis(region).context("no Redis");
        answered_while(&stage, async {
            both(Region::UsEast)?.stop(StopMode::Immediate).await?;
            Ok(both(Region::UsWest)?.stop(StopMode::Immediate).await?)
        })
        .await?;
        caches(&stage)
            .await
            .context("the proxies' own memory, without Redis")?;
        for region in Region::ALL {
            both(region)?.start_again().await?;
        }
        answered_while(&stage, async { Ok(()) }).await?;
        caches(&stage).await
    })
}

#[test]
fn kafka_stopped() -> Result<()> {
    let stage = full()?;
    stage.within(WHOLE, async {
        follows(&stage).await?;
        let kafka = stage.cluster().kafka().context("no Kafka")?;
        answered_while(&stage, async { Ok(kafka.stop(StopMode::Immediate).await?) }).await?;
        answered_while(&stage, async { Ok(kafka.start_again().await?) }).await?;
        follows(&stage).await?;
        caches(&stage).await
    })
}

#[test]
fn a_standby_stopped() -> Result<()> {
    let stage = full()?;
    stage.within(WHOLE, async {
        let standby = &stage.cluster().shards()[0].standby;
        // Whoever reads in us-west has a connection there.
        answered_while(&stage, async { Ok(()) }).await?;
        standby.stop(StopMode::Fast).await?;
        // From the first moment on, before a probe has told anything.
        answered_while(&stage, async { Ok(()) }).await?;
        let down = async || {
            let states = column(&stage, Region::UsWest, "REPLICAS", "state").await?;
            Ok(states.iter().any(|state| state.as_deref() == Some("down")))
        };
        eventually("the standby counts as down", SOON, down).await?;
        answered_while(&stage, async { Ok(()) }).await?;
        standby.start_again().await?;
        let up = async || {
            let states = column(&stage, Region::UsWest, "REPLICAS", "state").await?;
            Ok(states.iter().all(|state| state.as_deref() == Some("up")))
        };
        eventually("the standby counts as up", RETURN, up).await?;
        answered_while(&stage, async { Ok(()) }).await?;
        stage.cluster().wait_replayed().await?;
        caches(&stage).await
    })
}
