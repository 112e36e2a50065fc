//! The program `ringway-shop` as people run it: processes in two regions, with partners, and a person who uses them.

use cluster::{Backing, Cluster, ClusterSpec, Documents, PerRegion, Programs, Region, ShopPlan, StopMode};
use shop_testing::person::{GOOD_CARD, Shop, buy, outcome, use_the_shop, word};
use std::path::Path;

const INSTALL_SQL: &str = include_str!("../../../replication/changes/sql/install.sql");

/// Ends a test that hangs.
const BOUND: std::time::Duration = std::time::Duration::from_secs(150);

async fn stage(
    ringway: &Path,
    program: &Path,
) -> anyhow::Result<(Cluster, cluster::Shop, [cluster::Ringway; 2])> {
    let mut spec = ClusterSpec::new(2, Backing::Full, INSTALL_SQL)?;
    if Programs::mongodb().is_ok() {
        spec.documents = Documents::On;
    }
    let cluster = Box::pin(Cluster::start(spec)).await?;
    let plan = ShopPlan::free(&PerRegion {
        us_east: 1,
        us_west: 1,
    })?;
    let shop = cluster.shop(program, plan)?;
    let tables = shop.tables().await?;
    let start = async |region| {
        let config = cluster.bare_config(region) + &tables;
        cluster.start_ringway_with(ringway, region, &config).await
    };
    let ringways = [start(Region::UsEast).await?, start(Region::UsWest).await?];
    shop.install().await?;
    shop.run(&["seed", "--products", "24", "--stock", "5"]).await?;
    cluster.wait_replayed().await?;
    shop.start(&|_| ()).await?;
    Ok((cluster, shop, ringways))
}

#[tokio::test]
async fn a_person_buys_in_one_region_and_looks_in_the_other_and_services_end_in_order() {
    // Not within the bound: cargo may have to build them.
    let (ringway, program) = (cluster::build_ringway().unwrap(), cluster::build_shop().unwrap());
    let story = async {
        let (_cluster, processes, _ringways) = Box::pin(stage(&ringway, &program)).await?;
        let gateway =
            |region| Ok::<_, anyhow::Error>(processes.of(region).ok_or(anyhow::anyhow!("none"))?.url());
        let shop = Shop {
            gateways: PerRegion {
                us_east: gateway(Region::UsEast)?,
                us_west: gateway(Region::UsWest)?,
            },
            cards: processes.partners().payment_url(),
        };
        use_the_shop(&shop, |what, took| println!("{took:?} {what}")).await?;

        // A card that is refused, and more than there is: both orders end cancelled.
        let person = shop.newcomer(Region::UsWest).await?.client;
        let found = person.get("/api/v1/products?q=kettle").await?.ok()?;
        let product = word(&found["products"][0], "product_id")?;
        for (quantity, card) in [(1, "4000 0000 0000 0002"), (6, GOOD_CARD)] {
            let order = buy(&shop, &person, &product, quantity, card).await?;
            let state = outcome(&person, &word(&order, "order_id")?).await?;
            assert_eq!(state, "cancelled");
        }

        for instance in processes.instances() {
            instance.stop(StopMode::Fast).await?;
            let log = instance.log_tail(50);
            assert!(log.contains("the services end"), "{log}");
            assert!(!log.contains("panicked"), "{log}");
        }
        Ok::<_, anyhow::Error>(())
    };
    tokio::time::timeout(BOUND, story).await.unwrap().unwrap();
}
