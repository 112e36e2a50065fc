//! The configuration of an instance. `config/shop.toml` explains each key.

use std::fmt::Write;

use super::{InstancePlan, Limits, ShopPlan};
use crate::cluster::SHOP;
use crate::plan::random_word;
use crate::{Cluster, MongoDb, Region};

const NO_LIMITS: &str = "
[gateway]
address_calls_per_minute = 100000000
user_calls_per_minute = 100000000

[fraud]
review_from = 101
decline_from = 101
closed_from_cents = 1000000000
";

/// What services and partners know each other by.
pub(super) struct Secrets {
    service_key: String,
    seal: String,
    payment: String,
    carrier: String,
    letters: String,
}

impl Secrets {
    pub(super) fn random() -> Self {
        Self {
            service_key: random_word(),
            seal: random_word(),
            payment: random_word(),
            carrier: random_word(),
            letters: random_word(),
        }
    }
}

/// The configuration of one instance.
pub(super) fn instance(
    cluster: &Cluster,
    plan: &ShopPlan,
    instance: &InstancePlan,
    secrets: &Secrets,
) -> String {
    let region = instance.region;
    let (port, _) = cluster.ringway_ports(region);
    let password = &cluster.secrets().shop;
    let mut text = format!(
        r#"# Made by `ringway demo` or a test for a local cluster: not for production. config/shop.toml explains each key.
region = "{region}"
instance = "{name}"
listen = "127.0.0.1:{services}"
public = "127.0.0.1:{public}"
service_key = "{service_key}"
seal = "{seal}"
"#,
        region = region.name(),
        name = instance.name,
        services = instance.services.port(),
        public = instance.public.port(),
        service_key = secrets.service_key,
        seal = secrets.seal,
    );
    stores(cluster, region, &mut text);
    // Writing to a String can't fail.
    let _ = write!(
        text,
        "\n[database]\nurl = \"postgres://{SHOP}:{password}@127.0.0.1:{port}/{SHOP}\"\n"
    );
    if let Some(kafka) = cluster.kafka() {
        let _ = write!(text, "\n[kafka]\nbootstrap = \"{}\"\n", kafka.bootstrap());
    }
    for (number, shard) in cluster.shards().iter().enumerate() {
        let url = shard.primary.url(SHOP, SHOP);
        let _ = write!(text, "\n[[primary]]\nshard = {number}\nurl = \"{url}\"\n");
    }
    // One broker on one machine: many partitions would only make its start long.
    text.push_str("\n[topics]\npartitions = 2\n");
    partners(plan, secrets, &mut text);
    others(plan, instance, &mut text);
    if plan.limits == Limits::Load {
        text.push_str(NO_LIMITS);
    }
    text
}

/// Redis and MongoDB, where they are there.
fn stores(cluster: &Cluster, region: Region, text: &mut String) {
    if let Some(redis) = cluster.redis(region) {
        let _ = writeln!(text, "redis = \"{}\"", redis.url());
    }
    if let Some(mongodb) = cluster.mongodb().map(MongoDb::uri) {
        let _ = writeln!(text, "mongodb = \"{mongodb}\"");
    }
    text.push_str("\n[redis_by_region]\n");
    for region in Region::ALL {
        if let Some(redis) = cluster.redis(region) {
            let _ = writeln!(text, "{} = \"{}\"", region.name(), redis.url());
        }
    }
}

fn partners(plan: &ShopPlan, secrets: &Secrets, text: &mut String) {
    for (section, port, secret) in [
        ("payment", &plan.partners.payment, &secrets.payment),
        ("shipping", &plan.partners.carrier, &secrets.carrier),
        ("notification.email", &plan.partners.letters, &secrets.letters),
        ("notification.push", &plan.partners.letters, &secrets.letters),
        ("notification.sms", &plan.partners.letters, &secrets.letters),
    ] {
        let _ = write!(
            text,
            "\n[{section}]\nurl = \"http://127.0.0.1:{}\"\nsecret = \"{secret}\"\n",
            port.port()
        );
    }
}

/// Where people reach the other regions.
fn others(plan: &ShopPlan, own: &InstancePlan, text: &mut String) {
    text.push_str("\n[regions]\n");
    for region in Region::ALL {
        let gateway = plan.instances.iter().find(|one| one.region == region);
        let gateway = if region == own.region { Some(own) } else { gateway };
        if let Some(gateway) = gateway {
            let _ = writeln!(
                text,
                "{} = \"http://127.0.0.1:{}\"",
                region.name(),
                gateway.public.port()
            );
        }
    }
}
