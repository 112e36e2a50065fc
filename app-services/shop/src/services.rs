//! Which services there are, and how each is made.

use crate::config::Config;
use anyhow::{Result, ensure};
use ringway_sdk::Error;
use ringway_sdk::service::{Environment, Service};

/// The gateway listens elsewhere than the others.
pub(crate) const GATEWAY: &str = "gateway";

type Make = fn(&Environment, &Config) -> ringway_sdk::Result<Service>;

/// All services, by name.
const ALL: &[(&str, Make)] = &[
    ("analytics", |environment, _| shop_analytics::service(environment)),
    ("fraud", |environment, config| {
        shop_fraud::service(environment, config.fraud)
    }),
    ("order", |environment, _| {
        shop_order::service(environment, shop_order::Settings::default())
    }),
    (GATEWAY, |environment, config| {
        shop_gateway::service(environment, config.gateway())
    }),
    ("inventory", |environment, config| {
        shop_inventory::service(environment, config.inventory)
    }),
    ("notification", |environment, config| {
        shop_notification::service(environment, config.notification())
    }),
    ("payment", |environment, config| match &config.payment {
        Some(settings) => shop_payment::service(environment, settings),
        None => Err(Error::setting("the payment service needs the section [payment]")),
    }),
    ("product", |environment, _| shop_product::service(environment)),
    ("recommendation", |environment, _| {
        shop_recommendation::service(environment)
    }),
    ("shipping", |environment, config| match &config.shipping {
        Some(carrier) => shop_shipping::service(environment, carrier),
        None => Err(Error::setting(
            "the shipping service needs the section [shipping]",
        )),
    }),
    ("user", |environment, config| {
        shop_user::service(environment, user_settings(config))
    }),
];

/// How the user service is run.
pub(crate) fn user_settings(config: &Config) -> shop_user::Settings {
    shop_user::Settings::new(config.seal.secret().clone())
}

/// The names of all services.
pub(crate) fn names() -> Vec<&'static str> {
    ALL.iter().map(|(name, _)| *name).collect()
}

/// The services of these names.
pub(crate) fn make(environment: &Environment, config: &Config, chosen: &[String]) -> Result<Vec<Service>> {
    for name in chosen {
        let known = name == "all" || ALL.iter().any(|(one, _)| one == name);
        ensure!(
            known,
            "there is no service {name}; there are: {}",
            names().join(", ")
        );
    }
    let is_chosen = |name: &str| chosen.iter().any(|one| one == "all" || one == name);
    let made = ALL
        .iter()
        .filter(|(name, _)| is_chosen(name))
        .map(|(_, make)| make(environment, config));
    Ok(made.collect::<ringway_sdk::Result<_>>()?)
}
