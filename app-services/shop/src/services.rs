//! Which services there are, and how each is made.

use crate::config::Config;
use anyhow::{Result, ensure};
use ringway_sdk::Error;
use ringway_sdk::projection::Projector;
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

type Project = fn(&Environment) -> ringway_sdk::Result<Option<Projector>>;

/// All read models, by name.
const READ_MODELS: &[(&str, Project)] = &[
    ("order_history", shop_order::projector),
    ("analytics", shop_analytics::projector),
];

/// What builds the read models of these names.
pub(crate) fn projectors(
    environment: &Environment,
    chosen: &[String],
) -> Result<Vec<(&'static str, Option<Projector>)>> {
    let all = READ_MODELS.iter().map(|(name, _)| *name);
    let chosen = chosen_of(all, "read model", chosen)?;
    let made = READ_MODELS
        .iter()
        .filter(|(name, _)| chosen.contains(name))
        .map(|(name, project)| Ok((*name, project(environment)?)));
    made.collect()
}

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
    let chosen = chosen_of(ALL.iter().map(|(name, _)| *name), "service", chosen)?;
    let made = ALL
        .iter()
        .filter(|(name, _)| chosen.contains(name))
        .map(|(_, make)| make(environment, config));
    Ok(made.collect::<ringway_sdk::Result<_>>()?)
}

/// Those of all names that are chosen: by their names, or by the word `all`.
fn chosen_of(
    all: impl Iterator<Item = &'static str>,
    what: &str,
    chosen: &[String],
) -> Result<Vec<&'static str>> {
    let all: Vec<&'static str> = all.collect();
    for name in chosen {
        ensure!(
            name == "all" || all.contains(&name.as_str()),
            "there is no {what} {name}; there are: {}",
            all.join(", ")
        );
    }
    let is_chosen = |name: &&str| chosen.iter().any(|one| one == "all" || one == name);
    Ok(all.into_iter().filter(is_chosen).collect())
}
