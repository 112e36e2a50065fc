//! The shop as people run it: processes in two regions, with their partners.

use crate::person;
use anyhow::{Context as _, Result};
use cluster::{
    Backing, CONTROL_ROLE, Cluster, ClusterSpec, Documents, PerRegion, Programs, Region, Ringway, SHOP, Shop,
    ShopPlan,
};
use std::path::Path;
use tokio_postgres::Client;

const INSTALL_SQL: &str = include_str!("../../../replication/changes/sql/install.sql");

/// What is sold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Catalogue {
    /// How many products.
    pub products: u32,
    /// How many pieces of each.
    pub stock: u32,
}

/// The servers and processes. Dropping it ends them.
#[derive(Debug)]
pub struct Processes {
    /// The shop's.
    pub shop: Shop,
    /// The Ringways.
    pub ringways: PerRegion<Ringway>,
    /// What they stand on.
    pub cluster: Cluster,
}

impl Processes {
    /// Starts all of it from the programs `ringway` and `ringway-shop`.
    ///
    /// # Errors
    /// A server doesn't start.
    pub async fn start(ringway: &Path, program: &Path, plan: ShopPlan, catalogue: Catalogue) -> Result<Self> {
        let mut spec = ClusterSpec::new(2, Backing::Full, INSTALL_SQL)?;
        if Programs::mongodb().is_ok() {
            spec.documents = Documents::On;
        }
        let cluster = Box::pin(Cluster::start(spec)).await?;
        let shop = cluster.shop(program, plan)?;
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
        let (products, stock) = (catalogue.products.to_string(), catalogue.stock.to_string());
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

    /// Where people reach it.
    ///
    /// # Errors
    /// A region has no instance.
    pub fn addresses(&self) -> Result<person::Shop> {
        let gateway = |region| -> Result<String> { Ok(self.shop.of(region).context("no instance")?.url()) };
        Ok(person::Shop {
            gateways: PerRegion {
                us_east: gateway(Region::UsEast)?,
                us_west: gateway(Region::UsWest)?,
            },
            cards: self.shop.partners().payment_url(),
        })
    }

    /// A connection to each primary, past Ringway.
    ///
    /// # Errors
    /// A primary's.
    pub async fn primaries(&self) -> Result<Vec<Client>> {
        let mut clients = Vec::new();
        for shard in self.cluster.shards() {
            clients.push(shard.primary.connect(CONTROL_ROLE, SHOP).await?);
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
