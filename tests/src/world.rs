//! The servers of a test: a cluster behind Ringway, and one plain PostgreSQL that has the same schema and rows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cluster::shop::{self, Scale};
use cluster::{
    Backing, CONTROL_ROLE, Cluster, ClusterSpec, PerRegion, Postgres, PostgresSpec, Region, Ringway, SHOP,
};
use tokio::runtime::Runtime;
use tokio_postgres::Client;

use crate::{Console, Psql, Session, Shared, Target, executable};

/// For a Ringway to know the tables that another one created.
const CATALOG_BOUND: Duration = Duration::from_secs(30);
/// Between two questions whether it does.
const CATALOG_PAUSE: Duration = Duration::from_millis(100);
/// The shards of every world.
const SHARDS: u16 = 2;
/// What creates Ringway's objects on a shard.
const INSTALL_SQL: &str = include_str!("../../replication/changes/sql/install.sql");

/// How much the shop has in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Size {
    /// Enough for statements to find something.
    Small,
    /// As `make up` loads it.
    Demo,
}

impl Size {
    fn scale(self) -> Scale {
        match self {
            Self::Small => Scale::SMALL,
            Self::Demo => Scale::DEMO,
        }
    }
}

/// What a world consists of.
#[derive(Clone, Copy, Debug)]
pub struct WorldSpec {
    /// What stands beside PostgreSQL.
    pub backing: Backing,
    /// How much is in the shop.
    pub size: Size,
    /// Appended to the configuration of each Ringway: further tables.
    pub configuration: &'static str,
    /// Run through Ringway and on the plain PostgreSQL after the shop is loaded; statements end with `;` at a line's end.
    pub schema: &'static str,
}

/// Running servers. Dropping it ends them.
#[derive(Debug)]
pub struct World {
    // Those that use others first: fields are dropped in this order.
    ringways: PerRegion<Ringway>,
    plain: Postgres,
    cluster: Cluster,
    runtime: Runtime,
}

/// The shared world, started unless it runs. It ends with the last test that holds it.
///
/// # Errors
/// A server could not be started or filled.
pub fn shared(place: &Shared<World>, spec: &WorldSpec) -> Result<Arc<World>> {
    place.get(|| World::start(spec))
}

impl World {
    /// Starts all servers and fills them.
    ///
    /// # Errors
    /// A server could not be started or filled.
    pub fn start(spec: &WorldSpec) -> Result<Self> {
        let executable = executable::ringway()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let (cluster, ringways, plain) = runtime.block_on(async {
            let plain = PostgresSpec::new("plain")
                .role(SHOP, SHOP, "")
                .database(SHOP, SHOP);
            let cluster = ClusterSpec::new(SHARDS, spec.backing, INSTALL_SQL)?;
            let (plain, cluster) = tokio::try_join!(
                Box::pin(Postgres::start(plain)),
                Box::pin(Cluster::start(cluster))
            )?;
            let start = async |region| {
                let configuration = cluster.config(region) + spec.configuration;
                cluster
                    .start_ringway_with(executable, region, &configuration)
                    .await
            };
            let ringways = PerRegion {
                us_east: start(Region::UsEast).await?,
                us_west: start(Region::UsWest).await?,
            };
            let through = ringways.us_east.connect(SHOP, SHOP).await?;
            let straight = plain.connect(SHOP, SHOP).await?;
            tokio::try_join!(fill(&through, spec), fill(&straight, spec))?;
            cluster.wait_replayed().await?;
            know_tables(&ringways.us_west).await?;
            anyhow::Ok((cluster, ringways, plain))
        })?;
        Ok(Self {
            ringways,
            plain,
            cluster,
            runtime,
        })
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The Ringway of a region.
    pub fn ringway(&self, region: Region) -> &Ringway {
        self.ringways.of(region)
    }

    /// The plain PostgreSQL.
    pub fn plain(&self) -> &Postgres {
        &self.plain
    }

    /// Runs something asynchronous, as a server's stop.
    pub fn wait<T>(&self, doing: impl Future<Output = T>) -> T {
        self.runtime.block_on(doing)
    }

    /// Runs `doing` to its end, which must come within `bound`.
    ///
    /// # Errors
    /// Its own, or that it took longer.
    pub fn within<T>(&self, bound: Duration, doing: impl Future<Output = Result<T>>) -> Result<T> {
        self.wait(async { tokio::time::timeout(bound, doing).await })
            .with_context(|| format!("not within {bound:?}"))?
    }

    /// A client of the shop through the Ringway in us-east.
    ///
    /// # Errors
    /// The login failed.
    pub async fn client(&self) -> Result<Client> {
        Ok(self.ringway(Region::UsEast).connect(SHOP, SHOP).await?)
    }

    /// The admin database of the Ringway in us-east.
    pub fn console(&self) -> Console {
        Console::new(self.admin(Region::UsEast))
    }

    /// The shop through the Ringway of a region.
    pub fn shop(&self, region: Region) -> Target {
        let password = &self.cluster.secrets().shop;
        target(self.ringway(region).port(), SHOP, password, SHOP)
    }

    /// The admin database of a region's Ringway, as the admin.
    pub fn admin(&self, region: Region) -> Target {
        let password = &self.cluster.secrets().control;
        target(self.ringway(region).port(), CONTROL_ROLE, password, "ringway")
    }

    /// The shop on the plain PostgreSQL.
    pub fn straight(&self) -> Target {
        target(self.plain.port(), SHOP, SHOP, SHOP)
    }

    /// Straight to the primary of a shard, past Ringway.
    ///
    /// # Errors
    /// There is no such shard.
    pub fn shard(&self, number: usize) -> Result<Target> {
        let shard = self.cluster.shards().get(number).context("no such shard")?;
        let password = &self.cluster.secrets().control;
        Ok(target(shard.primary.port(), CONTROL_ROLE, password, SHOP))
    }

    /// A session through the Ringway of a region.
    ///
    /// # Errors
    /// The login failed; the last lines of Ringway's log say more.
    pub fn connect(&self, region: Region) -> Result<Session> {
        let ringway = self.ringway(region);
        Session::connect(&self.shop(region)).with_context(|| ringway.log_tail(20))
    }

    /// `psql` for a target.
    pub fn psql(&self, target: &Target) -> Psql {
        Psql::new(target, self.runtime.handle().clone())
    }
}

fn target(port: u16, user: &str, password: &str, database: &str) -> Target {
    Target {
        port,
        user: user.to_owned(),
        password: password.to_owned(),
        database: database.to_owned(),
    }
}

async fn fill(client: &Client, spec: &WorldSpec) -> Result<()> {
    Box::pin(shop::load(client, shop::SEED, spec.size.scale())).await?;
    for statement in spec.schema.split_inclusive(";\n") {
        let statement = statement.trim();
        if !statement.is_empty() {
            let failed = || statement.to_owned();
            client.batch_execute(statement).await.with_context(failed)?;
        }
    }
    Ok(())
}

/// Waits until a Ringway knows the last table of the shop.
async fn know_tables(ringway: &Ringway) -> Result<()> {
    let client = ringway.connect(SHOP, SHOP).await?;
    let started = Instant::now();
    loop {
        match client.simple_query("SELECT count(*) FROM reviews").await {
            Ok(_) => return Ok(()),
            Err(error) if started.elapsed() > CATALOG_BOUND => {
                bail!("{error}: {:?}\n{}", error.as_db_error(), ringway.log_tail(20));
            }
            Err(_) => tokio::time::sleep(CATALOG_PAUSE).await,
        }
    }
}
