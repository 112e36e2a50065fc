//! The program `ringway-shop` as people run it: processes in two regions, with partners, and a person who uses them.

use cluster::{PerRegion, Region, ShopPlan, StopMode};
use shop_testing::person::{GOOD_CARD, buy, outcome, use_the_shop, word};
use shop_testing::{Answer, Catalogue, Processes};

const CATALOGUE: Catalogue = Catalogue {
    products: 24,
    stock: 5,
};

/// Ends a test that hangs.
const BOUND: std::time::Duration = std::time::Duration::from_secs(150);

#[tokio::test]
async fn a_person_buys_in_one_region_and_looks_in_the_other_and_services_end_in_order() {
    // Not within the bound: cargo may have to build them.
    let (ringway, program) = (cluster::build_ringway().unwrap(), cluster::build_shop().unwrap());
    let story = async {
        let plan = ShopPlan::free(&PerRegion {
            us_east: 1,
            us_west: 1,
        })?;
        let stage = Box::pin(Processes::start(&ringway, &program, plan, CATALOGUE)).await?;
        let shop = stage.addresses()?;
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

        assert_eq!(
            person.get("/metrics").await?.status,
            404,
            "metrics are not for everybody"
        );

        let told = stage.shop.run(&["rebuild", "order_history"]).await?;
        println!("{told}");
        let generation = told
            .strip_prefix("order_history: generation ")
            .and_then(|told| told.split_once(" is served, of "))
            .and_then(|(number, _)| number.parse::<u32>().ok());
        // Two processes that start together may each have built the first one.
        assert!(generation.is_some_and(|number| number > 1), "{told}");
        assert!(told.trim_end().ends_with("; 0 can't be read"), "{told}");
        shop_testing::until("the history is read of what was built anew", async || {
            let told = person.get("/api/v1/orders").await.and_then(Answer::ok);
            told.is_ok_and(|told| {
                told["source"] == "read-model" && told["orders"].as_array().map(Vec::len) == Some(2)
            })
        })
        .await?;

        for instance in stage.shop.instances() {
            instance.stop(StopMode::Fast).await?;
            let log = instance.log_tail(50);
            assert!(log.contains("the services end"), "{log}");
            assert!(!log.contains("panicked"), "{log}");
        }
        Ok::<_, anyhow::Error>(())
    };
    tokio::time::timeout(BOUND, story).await.unwrap().unwrap();
}
