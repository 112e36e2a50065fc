//! A scripted person in the shop of `make up`: `. .ringway/env && cargo run -p shop-testing --example person`

use shop_testing::person::{Shop, use_the_shop};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let shop = Shop::of_environment()?;
    use_the_shop(&shop, |what, took| {
        println!("{:7.1} ms  {what}", took.as_secs_f64() * 1_000.0);
    })
    .await
}
