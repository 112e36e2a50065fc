//! Two shards with a standby each, and a Ringway in either region, for the tests of the SDK.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test binary uses a part of it"
)]

pub mod cut;
pub mod history;
pub mod kafka;

use anyhow::Result;
use cluster::{Backing, Cluster, ClusterSpec, PerRegion, Region, Ringway, SHOP};
use ringway_sdk::{Context, Database, Error, FromSdk, KeyType, Settings, Store};
use std::time::{Duration, Instant};

const INSTALL_SQL: &str = include_str!("../../../../replication/changes/sql/install.sql");

/// Nothing in these tests takes longer, unless it hangs.
pub const BOUND: Duration = Duration::from_secs(30);

/// The tables of the tests beside the SDK's.
const TABLES: &str = r#"
[[table]]
name = "accounts"
sharding = "hash"
column = "user_id"

[[table]]
name = "applied"
sharding = "hash"
column = "user_id"

[limits]
query_wait_timeout = "5s"
"#;

/// The servers of a test. Dropping it ends them.
pub struct Scene {
    pub ringways: PerRegion<Ringway>,
    pub cluster: Cluster,
    pub store: Store,
}

impl Scene {
    /// Starts all servers and makes the tables `accounts (user_id, balance)`, `applied` (what consumers did) and those of the store `app`.
    pub async fn start(backing: Backing) -> Result<Self> {
        let executable = cluster::build_ringway()?;
        let store = Store::new("app", KeyType::Int8)?;
        let cluster = Box::pin(Cluster::start(ClusterSpec::new(2, backing, INSTALL_SQL)?)).await?;
        for shard in cluster.shards() {
            let client = shard.primary.connect(SHOP, SHOP).await?;
            cluster::shop::create(&client).await?;
            client
                .batch_execute("CREATE TABLE accounts (user_id bigint PRIMARY KEY, balance bigint NOT NULL)")
                .await?;
            client
                .batch_execute(
                    "CREATE TABLE applied (user_id bigint NOT NULL, consumer text NOT NULL, event_id uuid NOT NULL, \
                     version bigint NOT NULL, ord bigint GENERATED ALWAYS AS IDENTITY)",
                )
                .await?;
            for statement in store.schema() {
                client.batch_execute(&statement).await?;
            }
        }
        cluster.wait_replayed().await?;
        let start = async |region| {
            let config = cluster.config(region) + TABLES + &store.ringway_tables();
            cluster.start_ringway_with(&executable, region, &config).await
        };
        let ringways = PerRegion {
            us_east: start(Region::UsEast).await?,
            us_west: start(Region::UsWest).await?,
        };
        let scene = Self {
            ringways,
            cluster,
            store,
        };
        Ok(scene)
    }

    /// The endpoint of a region.
    pub fn url(&self, region: Region) -> String {
        self.ringways.of(region).url(SHOP, SHOP)
    }

    /// A pool to it.
    pub fn database(&self, region: Region) -> Database {
        Database::new(&self.url(region), Settings::default()).unwrap()
    }

    /// Opens accounts with nothing on them, for users from 0 on.
    pub async fn open_accounts(&self, users: i64) -> Result<()> {
        let database = self.database(Region::UsEast);
        for user in 0..users {
            database
                .transaction(&Context::background(), async |tx| {
                    tx.execute("INSERT INTO accounts VALUES ($1, 0)", &[&user]).await
                })
                .await?;
        }
        Ok(())
    }

    /// Asks every primary, past Ringway, and adds up the first column of the first row.
    pub async fn sum_at_primaries(&self, sql: &str) -> Result<i64> {
        let mut sum = 0;
        for shard in self.cluster.shards() {
            let client = shard.primary.connect(SHOP, SHOP).await?;
            sum += client.query_one(sql, &[]).await?.get::<_, i64>(0);
        }
        Ok(sum)
    }

    /// Runs SQL on every standby as the superuser.
    pub async fn at_standbys(&self, sql: &str) -> Result<()> {
        for shard in self.cluster.shards() {
            let client = shard.standby.connect(cluster::CONTROL_ROLE, SHOP).await?;
            client.batch_execute(sql).await?;
        }
        Ok(())
    }

    /// Stops replay on every standby, and waits until it has stopped.
    pub async fn pause_replay(&self) -> Result<()> {
        self.at_standbys("SELECT pg_wal_replay_pause()").await?;
        for shard in self.cluster.shards() {
            let client = shard.standby.connect(cluster::CONTROL_ROLE, SHOP).await?;
            until("replay is paused", async || {
                let state = client.query_one("SELECT pg_get_wal_replay_pause_state()", &[]);
                state.await.unwrap().get::<_, String>(0) == "paused"
            })
            .await;
        }
        Ok(())
    }

    /// Runs SQL on every primary as the superuser.
    pub async fn at_primaries(&self, sql: &str) -> Result<()> {
        for shard in self.cluster.shards() {
            let client = shard.primary.connect(cluster::CONTROL_ROLE, SHOP).await?;
            client.batch_execute(sql).await?;
        }
        Ok(())
    }
}

/// What a closure refuses, beside what the SDK reports.
#[derive(Debug)]
pub enum Refusal {
    No,
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
            Self::No => None,
            Self::Sdk(error) => Some(error),
        }
    }
}

/// What decides a test's chances: `RINGWAY_SDK_TEST_SEED`, or anything. Printed, so that a run can be repeated.
pub fn seed() -> Result<u64> {
    let seed =
        std::env::var("RINGWAY_SDK_TEST_SEED").map_or_else(|_| Ok(rand::random()), |seed| seed.parse())?;
    println!("RINGWAY_SDK_TEST_SEED={seed}");
    Ok(seed)
}

/// Waits until a condition holds.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < BOUND, "{what}: not within {BOUND:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
