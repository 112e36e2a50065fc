//! The proxy killed between the phases of a commit over two shards: afterwards both have it, or neither.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cluster::{SHOP, StopMode};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::stage::{SOON, Stage, embedded, eventually};

/// For recovery to finish what a proxy left behind: its grace for transactions that may still be going on, and a few rounds.
const RECOVERY: Duration = Duration::from_secs(45);
const NAMES: &str = "synchronous_standby_names";

/// A user on each shard, and a superuser's client there.
struct Sides {
    users: Vec<i64>,
    direct: Vec<Client>,
}

impl Sides {
    async fn new(stage: &Stage) -> Result<Self> {
        let direct = vec![stage.direct(0).await?, stage.direct(1).await?];
        Ok(Self {
            users: stage.users().await?,
            direct,
        })
    }

    async fn set(&self, name: &str) -> Result<()> {
        for (direct, user) in self.direct.iter().zip(&self.users) {
            direct
                .batch_execute(&format!(
                    "UPDATE users SET name = '{name}' WHERE user_id = {user}"
                ))
                .await?;
        }
        Ok(())
    }

    /// The names of both users.
    async fn names(&self) -> Result<[String; 2]> {
        let mut names = [String::new(), String::new()];
        for ((direct, user), name) in self.direct.iter().zip(&self.users).zip(&mut names) {
            let row = direct
                .query_one("SELECT name::text FROM users WHERE user_id = $1", &[user])
                .await?;
            *name = row.get(0);
        }
        Ok(names)
    }

    /// How many parts are prepared on each shard.
    async fn prepared(&self) -> Result<[i64; 2]> {
        let mut counts = [0; 2];
        for (direct, count) in self.direct.iter().zip(&mut counts) {
            *count = direct
                .query_one("SELECT count(*) FROM pg_prepared_xacts", &[])
                .await?
                .get(0);
        }
        Ok(counts)
    }

    /// Waits until nothing is prepared any more, and gives the name that both sides have.
    async fn settled(&self) -> Result<String> {
        let none = async || Ok(self.prepared().await? == [0, 0]);
        eventually("every part is finished", RECOVERY, none).await?;
        let [first, second] = self.names().await?;
        ensure!(first == second, "half a transaction: {first} and {second}");
        Ok(first)
    }
}

/// Opens a transaction that wrote on both shards; the first one is its home.
async fn write_both(stage: &Stage, sides: &Sides, name: &str) -> Result<Client> {
    let client = stage.us_east().connect(SHOP, SHOP).await?;
    client.batch_execute("BEGIN").await?;
    for user in &sides.users {
        client
            .batch_execute(&format!(
                "UPDATE users SET name = '{name}' WHERE user_id = {user}"
            ))
            .await?;
    }
    Ok(client)
}

async fn kill(stage: &Stage) -> Result<()> {
    Ok(stage.us_east().stop(StopMode::Immediate).await?)
}

/// Runs a test's story; whatever becomes of it, commits aren't held any more and the proxy runs again.
fn played(stage: &Stage, story: impl Future<Output = Result<()>>) -> Result<()> {
    let outcome = stage.within(RECOVERY * 2, story);
    let tidied = stage.within(RECOVERY, async {
        stage.cluster().shards()[0]
            .primary
            .configure(&[(NAMES, "")])
            .await?;
        if stage.us_east().pid().is_none() {
            stage.us_east().start_again().await?;
        }
        Ok(())
    });
    outcome.and(tidied)
}

/// How many commits wait for a standby on the home shard.
async fn held(sides: &Sides) -> Result<i64> {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    Ok(sides.direct[0].query_one(sql, &[]).await?.get(0))
}

/// Makes commits on the home shard wait for a standby that isn't there, and proves it with a commit that waits.
async fn hold_commits(stage: &Stage, sides: &Sides) -> Result<JoinHandle<()>> {
    stage.cluster().shards()[0]
        .primary
        .configure(&[(NAMES, "absent")])
        .await?;
    // The setting arrives a moment later; commits that are faster pass.
    let begun = Instant::now();
    while begun.elapsed() < SOON {
        let writer = stage.direct(0).await?;
        let user = sides.users[0];
        let commit = tokio::spawn(async move {
            let sql = format!("UPDATE orders SET total = total WHERE user_id = {user}");
            // It ends with the server's word or with the test.
            let _ = writer.batch_execute(&sql).await;
        });
        let waits = async || Ok(commit.is_finished() || held(sides).await? > 0);
        eventually("a commit waits", SOON, waits).await?;
        if !commit.is_finished() {
            return Ok(commit);
        }
    }
    bail!("no commit waits")
}

#[test]
fn killed_before_the_decision() -> Result<()> {
    let stage = embedded()?;
    played(&stage, async {
        let sides = Sides::new(&stage).await?;
        sides.set("before").await?;
        // Nobody can decide while this is held.
        let holder = stage.direct(0).await?;
        holder
            .batch_execute("BEGIN; LOCK TABLE ringway.decision IN SHARE MODE")
            .await?;
        let client = write_both(&stage, &sides, "undecided").await?;
        let killing = async {
            let prepared = async || Ok(sides.prepared().await? == [0, 1]);
            eventually("the other shard's part is prepared", SOON, prepared).await?;
            kill(&stage).await
        };
        let (commit, killed) = tokio::join!(client.batch_execute("COMMIT"), killing);
        killed.with_context(|| format!("{commit:?}"))?;
        ensure!(commit.is_err(), "acknowledged without a decision");
        holder.batch_execute("ROLLBACK").await?;
        stage.us_east().start_again().await?;
        assert_eq!(sides.settled().await?, "before");
        Ok(())
    })
}

#[test]
fn killed_after_the_decision() -> Result<()> {
    let stage = embedded()?;
    played(&stage, async {
        let sides = Sides::new(&stage).await?;
        sides.set("before").await?;
        let client = write_both(&stage, &sides, "decided").await?;
        // The home shard's commit will be in its log, but not acknowledged.
        let other = hold_commits(&stage, &sides).await?;
        let killing = async {
            let decided = async || Ok(held(&sides).await? > 1 && sides.prepared().await? == [0, 1]);
            eventually("the home shard has decided", SOON, decided).await?;
            kill(&stage).await
        };
        let (commit, killed) = tokio::join!(client.batch_execute("COMMIT"), killing);
        killed.with_context(|| format!("{commit:?}"))?;
        ensure!(commit.is_err(), "acknowledged while it was held");
        stage.cluster().shards()[0]
            .primary
            .configure(&[(NAMES, "")])
            .await?;
        other.await?;
        stage.us_east().start_again().await?;
        assert_eq!(sides.settled().await?, "decided");
        Ok(())
    })
}

#[test]
fn killed_at_any_moment() -> Result<()> {
    const ROUNDS: usize = 4;
    let stage = embedded()?;
    for round in 0..ROUNDS {
        let story = async {
            let sides = Sides::new(&stage).await?;
            sides.set("before").await?;
            let after = format!("round {round}");
            let client = write_both(&stage, &sides, &after).await?;
            let commit = tokio::spawn(async move { client.batch_execute("COMMIT").await });
            // As soon as a part shows, or the commit is through.
            let begun = async || Ok(sides.prepared().await? != [0, 0] || commit.is_finished());
            eventually("a part is prepared", SOON, begun).await?;
            kill(&stage).await?;
            let acknowledged = commit.await?.is_ok();
            stage.us_east().start_again().await?;
            let settled = sides.settled().await?;
            ensure!(
                settled == after || (settled == "before" && !acknowledged),
                "{settled}, {acknowledged}"
            );
            Ok(())
        };
        played(&stage, story).with_context(|| format!("round {round}"))?;
    }
    Ok(())
}
