//! What the program can be told to do.

use crate::config::Config;
use crate::services::{GATEWAY, make, names, projectors, user_settings};
use anyhow::{Context as _, Result};
use futures_util::{StreamExt, TryStreamExt};
use ringway_sdk::Context;
use ringway_sdk::service::{Environment, Server, ServerSettings, Service, wait_known};
use ringway_sdk::web::Problem;
use shop_inventory::Inventory;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use uuid::Uuid;

/// For another region's Ringway to find tables that were made through ours.
const KNOWN_BOUND: Duration = Duration::from_secs(60);

/// Where the stock of the seed lies.
const WAREHOUSE: &str = "main";

/// Products whose stock is set at a time.
const AT_ONCE: usize = 8;

/// For a command that asks the database.
const ANSWER_BOUND: Duration = Duration::from_secs(30);

fn all(config: &Config) -> Result<(Environment, Vec<Service>)> {
    let environment = config.environment(&names())?;
    let services = make(&environment, config, &["all".to_owned()])?;
    Ok((environment, services))
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| address.to_string())
}

/// Runs services until SIGTERM; a second one ends them at once.
pub(crate) async fn serve(config: &Config, chosen: &[String]) -> Result<()> {
    let mut environment = config.environment(&names())?;
    if chosen.iter().any(|name| name == "user" || name == "all") {
        environment.keys = shop_user::keys(&environment.database, &user_settings(config))?;
    }
    let services = make(&environment, config, chosen)?;
    let known = Context::background().with_timeout(KNOWN_BOUND);
    let unknown = "Ringway does not know the tables: is `ringway-shop tables` in its configuration, and was `ringway-shop install` run?";
    wait_known(&environment.database, &known, &services)
        .await
        .context(unknown)?;
    let (public, inner): (Vec<_>, Vec<_>) = services
        .into_iter()
        .partition(|service| service.name() == GATEWAY);
    // The inner address is there also without services behind it: metrics are for those who run the shop, not for its customers.
    let mut servers = Vec::new();
    let settings = ServerSettings::default();
    servers.push(Server::start(
        listen(config.listen).await?,
        &environment,
        inner,
        settings,
    )?);
    if !public.is_empty() {
        let settings = ServerSettings {
            metrics: false,
            ..settings
        };
        servers.push(Server::start(
            listen(config.public).await?,
            &environment,
            public,
            settings,
        )?);
    }
    told_to_end().await?;
    tracing::info!("the services end");
    // The gateway first: what it has under way needs the others.
    let ending = async {
        while let Some(server) = servers.pop() {
            server.stop().await;
        }
    };
    tokio::select! {
        () = ending => Ok(()),
        told = told_to_end() => told,
    }
}

/// Waits for SIGTERM or SIGINT.
pub(crate) async fn told_to_end() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Makes tables and topics.
pub(crate) async fn install(config: &Config) -> Result<()> {
    let (environment, services) = all(config)?;
    ringway_sdk::service::install(&environment, &services, config.topics()).await?;
    println!("the tables and topics of {} are there", names().join(", "));
    Ok(())
}

/// Prints Ringway's part.
pub(crate) fn tables(config: &Config) -> Result<()> {
    let (_, services) = all(config)?;
    for service in &services {
        print!("{}", service.ringway_tables());
    }
    Ok(())
}

/// Prints the public signing keys.
pub(crate) async fn keys(config: &Config) -> Result<()> {
    let environment = config.environment(&names())?;
    let context = Context::background().with_timeout(ANSWER_BOUND);
    let keys = shop_user::public_keys(&environment.database, &context, &user_settings(config)).await?;
    println!("{}", serde_json::to_string_pretty(&keys)?);
    Ok(())
}

/// Makes a signing key.
pub(crate) async fn rotate_keys(config: &Config) -> Result<()> {
    let environment = config.environment(&names())?;
    let context = Context::background().with_timeout(ANSWER_BOUND);
    shop_user::rotate_keys(&environment.database, &context, &user_settings(config)).await?;
    println!("a key was made; it signs from three minutes on");
    Ok(())
}

/// Builds read models anew.
pub(crate) async fn rebuild(config: &Config, chosen: &[String]) -> Result<()> {
    let environment = config.environment(&names())?;
    for (name, projector) in projectors(&environment, chosen)? {
        let projector = projector.context("read models need the sections [mongodb] and [kafka]")?;
        let rebuilt = projector.rebuild().await.with_context(|| name.to_owned())?;
        println!(
            "{name}: generation {} is served, of {} events from the shards and {} from Kafka; {} can't be read",
            rebuilt.generation, rebuilt.from_shards, rebuilt.from_kafka, rebuilt.unreadable
        );
    }
    Ok(())
}

/// Makes somebody one of the staff.
pub(crate) async fn staff(config: &Config, email: &str) -> Result<()> {
    let environment = config.environment(&names())?;
    let context = Context::background().with_timeout(ANSWER_BOUND);
    let made = shop_user::make_staff(&environment.database, &context, email).await;
    let user_id = made.map_err(Problem::from)?;
    println!("{user_id} is one of the staff; its next sign-in says so");
    Ok(())
}

/// Fills the catalogue.
pub(crate) async fn seed(config: &Config, products: u32, stock: u32) -> Result<()> {
    let environment = config.environment(&names())?;
    let seeded = shop_product::seed::seed(&environment, products).await;
    seeded.map_err(Problem::from)?;
    let inventory = Inventory::new(&environment.database, shop_inventory::Settings::default())?;
    let context = Context::background();
    let counted = futures_util::stream::iter(0..products)
        .map(async |number| {
            let product = shop_product::seed::product_id(number);
            let key = format!("seed {stock}");
            let set = inventory.set_stock(&context, &key, Uuid::nil(), product, (WAREHOUSE, stock));
            set.await.map(drop).map_err(Problem::from)
        })
        .buffer_unordered(AT_ONCE);
    counted.try_collect::<()>().await?;
    println!("{products} products are there, {stock} of each");
    Ok(())
}
