//! The servers.

use anyhow::{Context as _, Result};
use cluster::{
    Backing, Cluster, ClusterSpec, Documents, PerRegion, Programs, Region, Ringway, Shop, ShopPlan,
};
use std::path::Path;
use tokio_postgres::Client;

const INSTALL_SQL: &str = include_str!("../../../replication/changes/sql/install.sql");

/// How many products there are.
pub(crate) const PRODUCTS: u32 = 200;

/// How many pieces of each.
pub(crate) const STOCK: u32 = 100_000;

/// A cluster, the Ringways and the shop. Dropping it ends them.
#[derive(Debug)]
pub struct Stage {
    /// The shop's processes.
    pub shop: Shop,
    /// The Ringways.
    pub ringways: PerRegion<Ringway>,
    /// What they stand on.
    pub cluster: Cluster,
}

impl Stage {
    /// Starts all of it from these programs, with so many instances of the shop in each region.
    ///
    /// # Errors
    /// A server doesn't start.
    pub async fn start(ringway: &Path, program: &Path, instances: PerRegion<usize>) -> Result<Self> {
        let mut spec = ClusterSpec::new(2, Backing::Full, INSTALL_SQL)?;
        if Programs::mongodb().is_ok() {
            spec.documents = Documents::On;
        }
        let cluster = Box::pin(Cluster::start(spec)).await?;
        let shop = cluster.shop(program, ShopPlan::free(&instances)?.for_load())?;
        let tables = shop.tables().await?;
        let start = async |region| {
            let config = cluster.bare_config(region) + &tables;
            cluster.start_ringway_with(ringway, region, &config).await
        };
        let ringways = PerRegion {
            us_east: start(Region::UsEast).await?,
            us_west: start(Region::UsWest).await?,
        };
        shop.install().await?;
        let (products, stock) = (PRODUCTS.to_string(), STOCK.to_string());
        shop.run(&["seed", "--products", &products, "--stock", &stock])
            .await?;
        cluster.wait_replayed().await?;
        shop.start(&|_| ()).await?;
        Ok(Self {
            shop,
            ringways,
            cluster,
        })
    }

    /// A connection to each primary, past Ringway.
    ///
    /// # Errors
    /// A primary's.
    pub async fn primaries(&self) -> Result<Vec<Client>> {
        let mut clients = Vec::new();
        for shard in self.cluster.shards() {
            clients.push(
                shard
                    .primary
                    .connect(cluster::CONTROL_ROLE, cluster::SHOP)
                    .await?,
            );
        }
        Ok(clients)
    }

    /// The address of the Kafka broker.
    ///
    /// # Errors
    /// There is none.
    pub fn bootstrap(&self) -> Result<String> {
        Ok(self.cluster.kafka().context("no Kafka")?.bootstrap())
    }
}
