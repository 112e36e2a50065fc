//! The configuration: raw, as it stands in the file, and what services stand on, made of it.

use crate::partners::local_port;
use anyhow::{Context as _, Result};
use ringway_sdk::events::{KafkaSettings, TopicSettings};
use ringway_sdk::limit::Rate;
use ringway_sdk::partner::PartnerSettings;
use ringway_sdk::rpc::ServiceKey;
use ringway_sdk::service::{Environment, Primary, Stop};
use ringway_sdk::web::{Keys, Limits, Metrics};
use ringway_sdk::{Database, Settings};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use shop_notification::{Channel, HttpProvider};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A secret: the text itself, `env:NAME`, or `file:PATH`.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Secret(SecretString);

impl TryFrom<String> for Secret {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let secret = if let Some(name) = text.strip_prefix("env:") {
            std::env::var(name).map_err(|_| format!("the environment has no {name}"))?
        } else if let Some(path) = text.strip_prefix("file:") {
            let read = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
            read.trim_end().to_owned()
        } else {
            text
        };
        Ok(Self(secret.into()))
    }
}

impl Secret {
    fn text(&self) -> &str {
        self.0.expose_secret()
    }

    pub(crate) fn secret(&self) -> &SecretString {
        &self.0
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    region: String,
    instance: String,
    /// Where the services listen, for each other and the gateways.
    pub(crate) listen: SocketAddr,
    /// Where the gateway listens, for everybody.
    pub(crate) public: SocketAddr,
    /// What services know each other by.
    service_key: Secret,
    /// What signing keys are sealed with.
    pub(crate) seal: Secret,
    database: DatabaseSection,
    kafka: Option<KafkaSection>,
    redis: Option<Secret>,
    /// The Redis of every region, by its name.
    #[serde(default)]
    redis_by_region: BTreeMap<String, Secret>,
    mongodb: Option<Secret>,
    #[serde(default, rename = "primary")]
    primaries: Vec<PrimarySection>,
    /// Addresses of services that run elsewhere.
    #[serde(default)]
    peers: BTreeMap<String, String>,
    /// The payment service's provider.
    pub(crate) payment: Option<PartnerSettings>,
    /// The shipping service's carrier.
    pub(crate) shipping: Option<PartnerSettings>,
    /// Who brings the notification service's letters.
    #[serde(default)]
    notification: NotificationSection,
    #[serde(default)]
    gateway: GatewaySection,
    /// What is suspicious.
    #[serde(default)]
    pub(crate) fraud: shop_fraud::Settings,
    /// How reservations end.
    #[serde(default)]
    pub(crate) inventory: shop_inventory::Settings,
    /// The gateways of all regions, as people reach them.
    #[serde(default)]
    regions: BTreeMap<String, String>,
    #[serde(default)]
    limits: LimitsSection,
    #[serde(default)]
    topics: TopicsSection,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DatabaseSection {
    url: Secret,
    #[serde(default = "connections")]
    connections: usize,
}

fn connections() -> usize {
    Settings::default().connections
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KafkaSection {
    bootstrap: String,
    #[serde(default)]
    properties: BTreeMap<String, Secret>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PrimarySection {
    shard: u16,
    url: Secret,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct NotificationSection {
    /// Where other processes reach this one's services.
    address: Option<String>,
    email: Option<ProviderSection>,
    push: Option<ProviderSection>,
    sms: Option<ProviderSection>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProviderSection {
    /// Its address.
    pub(crate) url: String,
    /// What it knows us by.
    secret: Secret,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct GatewaySection {
    address_calls_per_minute: u32,
    user_calls_per_minute: u32,
    card_tokens: Option<String>,
}

impl Default for GatewaySection {
    fn default() -> Self {
        let settings = shop_gateway::Settings::default();
        Self {
            address_calls_per_minute: settings.by_address.calls,
            user_calls_per_minute: settings.by_user.calls,
            card_tokens: None,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LimitsSection {
    request_time_ms: u64,
    request_body_bytes: usize,
}

impl Default for LimitsSection {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            request_time_ms: u64::try_from(limits.time.as_millis()).unwrap_or(u64::MAX),
            request_body_bytes: limits.body,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TopicsSection {
    partitions: i32,
    retry_partitions: i32,
    replication: i32,
    retention_hours: u64,
}

impl Default for TopicsSection {
    fn default() -> Self {
        Self {
            partitions: 8,
            retry_partitions: 1,
            replication: 1,
            retention_hours: 168,
        }
    }
}

impl Config {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        toml::from_str(&text).with_context(|| path.display().to_string())
    }

    /// How the notification service is run.
    pub(crate) fn notification(&self) -> shop_notification::Settings {
        let section = &self.notification;
        let here = || format!("http://{}", reached(self.listen));
        let mut settings = shop_notification::Settings::new(&section.address.clone().unwrap_or_else(here));
        for (channel, provider) in [
            (Channel::Email, &section.email),
            (Channel::Push, &section.push),
            (Channel::Sms, &section.sms),
        ] {
            if let Some(ProviderSection { url, secret }) = provider {
                let provider = HttpProvider::new(url, secret.text());
                settings.providers.insert(channel, Arc::new(provider));
            }
        }
        settings
    }

    /// Where e-mails are handed over.
    pub(crate) fn letters(&self) -> Option<&ProviderSection> {
        self.notification.email.as_ref()
    }

    /// How the gateway is run.
    pub(crate) fn gateway(&self) -> shop_gateway::Settings {
        let rate = |calls| Rate {
            calls,
            per: Duration::from_secs(60),
        };
        shop_gateway::Settings {
            by_address: rate(self.gateway.address_calls_per_minute),
            by_user: rate(self.gateway.user_calls_per_minute),
            regions: self.regions.clone(),
            card_tokens: self.gateway.card_tokens.clone().or_else(|| self.local_cards()),
            ..shop_gateway::Settings::default()
        }
    }

    /// Where the local payment provider takes cards, if it is the one.
    fn local_cards(&self) -> Option<String> {
        let url = self.payment.as_ref()?.url.trim_end_matches('/');
        local_port(url).is_ok().then(|| format!("{url}/v1/tokens"))
    }

    /// How topics are made.
    pub(crate) fn topics(&self) -> TopicSettings {
        let topics = &self.topics;
        TopicSettings {
            partitions: topics.partitions,
            retry_partitions: topics.retry_partitions,
            replication: topics.replication,
            retention: Duration::from_secs(topics.retention_hours.saturating_mul(3_600)),
        }
    }

    /// What services stand on. Services whose addresses aren't given are those of this process.
    pub(crate) fn environment(&self, all: &[&str]) -> Result<Environment> {
        let settings = Settings {
            connections: self.database.connections,
            ..Settings::default()
        };
        let here = format!("http://{}", reached(self.listen));
        let mut peers: BTreeMap<String, String> = all
            .iter()
            .map(|name| ((*name).to_owned(), here.clone()))
            .collect();
        peers.extend(self.peers.clone());
        let user = peers.get("user").context("there is no user service")?;
        let keys = Keys::remote(format!("{user}/.well-known/jwks.json"));
        let kafka = self.kafka.as_ref().map(|section| {
            let properties = section.properties.iter();
            let properties = properties.map(|(name, value)| (name.clone(), value.text().to_owned()));
            KafkaSettings::new(&section.bootstrap).with_properties(properties.collect())
        });
        let primaries = self.primaries.iter().map(|primary| Primary {
            shard: primary.shard,
            url: primary.url.text().to_owned(),
        });
        Ok(Environment {
            region: self.region.clone(),
            instance: self.instance.clone(),
            database: Database::new(self.database.url.text(), settings)?,
            kafka,
            primaries: primaries.collect(),
            redis: self.redis.as_ref().map(|url| url.text().to_owned()),
            redis_by_region: self
                .redis_by_region
                .iter()
                .map(|(region, url)| (region.clone(), url.text().to_owned()))
                .collect(),
            mongodb: self.mongodb.as_ref().map(|uri| uri.text().to_owned()),
            peers,
            service_key: ServiceKey::new(self.service_key.text())?,
            keys,
            limits: Limits {
                time: Duration::from_millis(self.limits.request_time_ms),
                body: self.limits.request_body_bytes,
            },
            metrics: Metrics::default(),
            draining: Stop::new(),
        })
    }
}

/// Where a listener is reached from its own process.
fn reached(listen: SocketAddr) -> SocketAddr {
    let mut reached = listen;
    if listen.ip().is_unspecified() {
        let local: std::net::IpAddr = match listen {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        reached.set_ip(local);
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPLAINED: &str = include_str!("../../../config/shop.toml");

    #[test]
    fn the_explained_configuration_is_one() {
        let config: Config = toml::from_str(EXPLAINED).unwrap();
        let environment = config.environment(&["user", "order"]).unwrap();
        assert_eq!(environment.peers["order"], "http://127.0.0.1:8090");
        assert_eq!(environment.primaries.len(), 2);
    }

    #[test]
    fn secrets_are_not_shown_and_slips_are_refused() {
        let config: Config = toml::from_str(EXPLAINED).unwrap();
        assert!(!format!("{config:?}").contains("change-me"));
        let slip = EXPLAINED.replace("region =", "regoin =");
        assert!(toml::from_str::<Config>(&slip).is_err());
    }
}
