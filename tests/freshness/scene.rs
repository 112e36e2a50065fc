//! The servers, the tables and the rows that are watched.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster::{Backing, CONTROL_ROLE, Cluster, ClusterSpec, Region, Ringway, SHOP, shop};

use crate::link::{Link, Protocol, Trouble};

/// The bound d of the watched tables, and of the reads at level bounded.
pub(crate) const BOUND: Duration = Duration::from_secs(1);
/// Rows whose versions grow; their ids are 1 to this.
pub(crate) const WATCHED: usize = 16;
/// The first of them are written all the time. The others are calm: what is kept of them stays in use for long, so that a
/// change that went unnoticed shows.
pub(crate) const BUSY: usize = 8;
/// Rows that come and go; their ids are 1 to this.
pub(crate) const MIRRORED: usize = 8;
/// The admin database.
const ADMIN: &str = "ringway";

/// On every shard.
const SCHEMA: &str = "
    CREATE TABLE watched (id bigint PRIMARY KEY, ver bigint NOT NULL, canary text NOT NULL);
    CREATE TABLE source (id bigint PRIMARY KEY, ver bigint NOT NULL);
    CREATE TABLE mirror (id bigint PRIMARY KEY REFERENCES source ON DELETE CASCADE, ver bigint NOT NULL);
    CREATE FUNCTION reflect() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO mirror VALUES (new.id, new.ver) ON CONFLICT (id) DO UPDATE SET ver = excluded.ver;
        RETURN NULL;
    END $$;
    CREATE TRIGGER reflect AFTER INSERT OR UPDATE ON source FOR EACH ROW EXECUTE FUNCTION reflect();
    CREATE FUNCTION rewrite(version bigint) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE mirror SET ver = version;
    END $$";

/// Added to the configuration of both proxies.
const SETTINGS: &str = r#"
[[table]]
name = "watched"
sharding = "hash"
column = "id"
replica_bound = "1s"
cache = { level = "ryw", bound = "1s", ttl = "5m" }

[[table]]
name = "mirror"
sharding = "hash"
column = "id"
replica_bound = "1s"
cache = { level = "ryw", bound = "1s", ttl = "5m" }

[[table]]
name = "source"
sharding = "hash"
column = "id"

[limits]
query_wait_timeout = "5s"
drain_timeout = "2s"
"#;

/// A cluster with a proxy in each region, and where each row lives.
pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    pub(crate) us_east: Ringway,
    pub(crate) us_west: Ringway,
    /// The watched rows of each shard.
    pub(crate) watched: Vec<Vec<usize>>,
    /// The mirrored rows of each shard.
    pub(crate) mirrored: Vec<Vec<usize>>,
}

impl Scene {
    /// Starts everything and inserts the rows through the proxy in us-east.
    pub(crate) async fn set() -> Result<Arc<Self>> {
        let executable = tests::ringway()?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("the workspace's root")?;
        let install = std::fs::read_to_string(root.join("replication/changes/sql/install.sql"))?;
        let cluster = Cluster::start(ClusterSpec::new(2, Backing::Full, &install)?).await?;
        for shard in cluster.shards() {
            let client = shard.primary.connect(SHOP, SHOP).await?;
            shop::create(&client).await?;
            client.batch_execute(SCHEMA).await?;
        }
        cluster.wait_replayed().await?;
        let config = |region: Region| {
            // Several threads share what is kept in one region, one has it to itself in the other.
            let threads = if region == Region::UsEast { 2 } else { 1 };
            format!("worker_threads = {threads}\n{}{SETTINGS}", cluster.config(region))
        };
        let us_east = cluster
            .start_ringway_with(executable, Region::UsEast, &config(Region::UsEast))
            .await?;
        let us_west = cluster
            .start_ringway_with(executable, Region::UsWest, &config(Region::UsWest))
            .await?;
        let mut scene = Self {
            cluster,
            us_east,
            us_west,
            watched: Vec::new(),
            mirrored: Vec::new(),
        };
        scene.insert_rows().await?;
        Ok(Arc::new(scene))
    }

    async fn insert_rows(&mut self) -> Result<()> {
        let client = self.us_east.connect(SHOP, SHOP).await?;
        for id in 1..=WATCHED {
            client
                .batch_execute(&format!("INSERT INTO watched VALUES ({id}, 0, '{}')", canary(id)))
                .await
                .with_context(|| format!("inserting row {id} through Ringway"))?;
        }
        // What is in mirror is made by the trigger; it begins empty, as the history says.
        for id in 1..=MIRRORED {
            client
                .batch_execute(&format!("INSERT INTO source VALUES ({id}, 0)"))
                .await?;
        }
        for shard in self.cluster.shards() {
            let client = shard.primary.connect(SHOP, SHOP).await?;
            client.batch_execute("TRUNCATE mirror").await?;
            let mut rows = Vec::new();
            for table in ["watched", "source"] {
                let found = client
                    .query(&format!("SELECT id FROM {table} ORDER BY id"), &[])
                    .await?;
                let found: Result<Vec<usize>, _> = found
                    .iter()
                    .map(|row| usize::try_from(row.get::<_, i64>(0) - 1))
                    .collect();
                rows.push(found?);
            }
            self.mirrored.push(rows.pop().unwrap_or_default());
            self.watched.push(rows.pop().unwrap_or_default());
        }
        for (placed, all) in [(&self.watched, WATCHED), (&self.mirrored, MIRRORED)] {
            let count: usize = placed.iter().map(Vec::len).sum();
            ensure!(count == all, "{count} of {all} rows arrived: {placed:?}");
            ensure!(
                placed.iter().all(|rows| !rows.is_empty()),
                "a shard has no rows: {placed:?}"
            );
        }
        for shard in 0..self.watched.len() {
            ensure!(!self.calm(shard).is_empty(), "shard {shard} has no calm row");
            ensure!(
                self.watched[shard].iter().any(|row| *row < BUSY),
                "shard {shard} has no busy row"
            );
        }
        Ok(())
    }

    /// The calm rows of a shard.
    pub(crate) fn calm(&self, shard: usize) -> Vec<usize> {
        self.watched[shard]
            .iter()
            .copied()
            .filter(|row| *row >= BUSY)
            .collect()
    }

    /// The proxy of a region.
    pub(crate) fn ringway(&self, region: Region) -> &Ringway {
        match region {
            Region::UsEast => &self.us_east,
            Region::UsWest => &self.us_west,
        }
    }

    /// A client of a region's proxy that reads and writes the tables.
    pub(crate) fn link(&self, region: Region, protocol: Protocol, setup: Vec<String>) -> Result<Link> {
        Link::new(&self.ringway(region).url(SHOP, SHOP), protocol, setup)
    }

    /// A client of a shard's primary.
    pub(crate) fn bypass(&self, shard: usize) -> Result<Link> {
        Link::new(
            &self.cluster.shards()[shard].primary.url(SHOP, SHOP),
            Protocol::Simple,
            Vec::new(),
        )
    }

    /// A client of a region's admin database.
    pub(crate) fn admin(&self, region: Region) -> Result<Link> {
        Link::new(
            &self.ringway(region).url(CONTROL_ROLE, ADMIN),
            Protocol::Simple,
            Vec::new(),
        )
    }
}

/// What the row of this id says of itself.
pub(crate) fn canary(id: usize) -> String {
    format!("row-{id}")
}

/// How many reads this proxy has answered since it started with something that was kept: in the process, in the region's
/// store, or for another client at the same moment.
pub(crate) async fn cache_hits(admin: &mut Link) -> Result<u64, Trouble> {
    const KEPT: [&str; 3] = ["memory", "shared", "flight"];
    let rows = admin.rows("SHOW CACHE").await?;
    let kept = rows.iter().filter(
        |row| matches!(row.as_slice(), [part, item, _] if part == "answers" && KEPT.contains(&item.as_str())),
    );
    Ok(kept.filter_map(|row| row.get(2)?.parse::<u64>().ok()).sum())
}
