//! The proxy killed between the phases of a commit over two shards: afterwards both have it, or neither.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster::{SHOP, StopMode};
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

#[test]
fn killed_before_the_decision() -> Result<()> {
    let stage = embedded()?;
    stage.within(RECOVERY * 2, async {
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
        killed?;
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
    stage.within(RECOVERY * 2, async {
        let sides = Sides::new(&stage).await?;
        sides.set("before").await?;
        let home = &stage.cluster().shards()[0].primary;
        let client = write_both(&stage, &sides, "decided").await?;
        // The home shard's commit is in its log, but not acknowledged.
        home.configure(&[(NAMES, "absent")]).await?;
        let killing = async {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
            let decided = async || {
                let held: i64 = sides.direct[0].query_one(sql, &[]).await?.get(0);
                Ok(held > 0 && sides.prepared().await? == [0, 1])
            };
            let seen = eventually("the home shard has decided", SOON, decided).await;
            let killed = kill(&stage).await;
            seen.and(killed)
        };
        let (commit, killed) = tokio::join!(client.batch_execute("COMMIT"), killing);
        home.configure(&[(NAMES, "")]).await?;
        killed?;
        ensure!(commit.is_err(), "acknowledged while it was held");
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
        stage
            .within(RECOVERY * 2, async {
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
            })
            .with_context(|| format!("round {round}"))?;
    }
    Ok(())
}
