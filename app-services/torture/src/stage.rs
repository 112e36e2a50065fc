//! The servers.

use anyhow::Result;
use cluster::{PerRegion, ShopPlan};
use shop_testing::{Catalogue, Processes};
use std::path::Path;

/// What is sold: more than is ever bought.
pub(crate) const CATALOGUE: Catalogue = Catalogue {
    products: 200,
    stock: 100_000,
};

/// Starts them from the programs `ringway` and `ringway-shop`, with so many instances of the shop in each region.
///
/// # Errors
/// A server doesn't start.
pub async fn set(ringway: &Path, program: &Path, instances: PerRegion<usize>) -> Result<Processes> {
    let plan = ShopPlan::free(&instances)?.for_load();
    Processes::start(ringway, program, plan, CATALOGUE).await
}
