//! The shop as processes, for several tests.

use anyhow::{Context as _, Result};
use cluster::{Backing, Cluster, ClusterSpec, Documents, PerRegion, Programs, Region, Ringway, ShopPlan};
use shop_testing::person::Shop;
use std::path::Path;

const INSTALL_SQL: &str = include_str!("../../../../replication/changes/sql/install.sql");

/// Servers and processes; dropped in this order.
pub(crate) struct Stage {
    /// The shop's processes.
    pub(crate) processes: cluster::Shop,
    _ringways: [Ringway; 2],
    _cluster: Cluster,
}

impl Stage {
    /// Starts all of it, with a small catalogue.
    pub(crate) async fn start(ringway: &Path, program: &Path) -> Result<Self> {
        let mut spec = ClusterSpec::new(2, Backing::Full, INSTALL_SQL)?;
        if Programs::mongodb().is_ok() {
            spec.documents = Documents::On;
        }
        let cluster = Box::pin(Cluster::start(spec)).await?;
        let plan = ShopPlan::free(&PerRegion {
            us_east: 1,
            us_west: 1,
        })?;
        let processes = cluster.shop(program, plan)?;
        let tables = processes.tables().await?;
        let start = async |region| {
            let config = cluster.bare_config(region) + &tables;
            cluster.start_ringway_with(ringway, region, &config).await
        };
        let ringways = [start(Region::UsEast).await?, start(Region::UsWest).await?];
        processes.install().await?;
        processes
            .run(&["seed", "--products", "24", "--stock", "5"])
            .await?;
        cluster.wait_replayed().await?;
        processes.start(&|_| ()).await?;
        Ok(Self {
            processes,
            _ringways: ringways,
            _cluster: cluster,
        })
    }

    /// Where people reach it.
    pub(crate) fn shop(&self) -> Result<Shop> {
        let gateway = |region| {
            let instance = self.processes.of(region);
            instance
                .map(cluster::ShopInstance::url)
                .context("no instance there")
        };
        Ok(Shop {
            gateways: PerRegion {
                us_east: gateway(Region::UsEast)?,
                us_west: gateway(Region::UsWest)?,
            },
            cards: self.processes.partners().payment_url(),
        })
    }
}
