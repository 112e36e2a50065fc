//! What services stand on.

use super::tasks::Stop;
use crate::database::Database;
use crate::error::{Error, Result};
use crate::events::KafkaSettings;
use crate::projection::{DocumentSettings, Documents, Projection, Projector, ProjectorSettings, Source};
use crate::rpc::{Peer, ServiceKey};
use crate::web::{Keys, Limits, Metrics};
use std::collections::BTreeMap;

/// The database of the read models.
const DOCUMENTS: &str = "services";

/// A shard's primary, as relays reach it.
#[derive(Clone, PartialEq, Eq)]
pub struct Primary {
    /// The shard's number in Ringway.
    pub shard: u16,
    /// Its URL, as a role that may read and delete from outboxes. It may name several hosts with `target_session_attrs=read-write`.
    pub url: String,
}

/// Without the URL: it has a password.
impl std::fmt::Debug for Primary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Primary")
            .field("shard", &self.shard)
            .finish_non_exhaustive()
    }
}

/// What services of a process stand on. Clones share it.
#[derive(Clone)]
pub struct Environment {
    /// Where the process runs.
    pub region: String,
    /// The name of this process, unique among those that run at a time.
    pub instance: String,
    /// The region's Ringway.
    pub database: Database,
    /// Without a Kafka there are neither relays nor consumers.
    pub kafka: Option<KafkaSettings>,
    /// The primaries of all shards.
    pub primaries: Vec<Primary>,
    /// The region's Redis.
    pub redis: Option<String>,
    /// The Redis of every region, by its name: for what has to be found from everywhere.
    pub redis_by_region: BTreeMap<String, String>,
    /// MongoDB, or what speaks its protocol. Without, the read models are off.
    pub mongodb: Option<String>,
    /// The other services' addresses, by name.
    pub peers: BTreeMap<String, String>,
    /// What services know each other by.
    pub service_key: ServiceKey,
    /// What tokens are verified by.
    pub keys: Keys,
    /// What a request may take.
    pub limits: Limits,
    /// The process's metrics.
    pub metrics: Metrics,
    /// Cancelled when the process begins to end: who holds connections open tells them to go elsewhere.
    pub draining: Stop,
}

/// Without URLs: they have passwords.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment")
            .field("region", &self.region)
            .field("instance", &self.instance)
            .field("peers", &self.peers)
            .finish_non_exhaustive()
    }
}

impl Environment {
    /// Where read models are kept, if there is a MongoDB.
    pub fn documents(&self) -> Option<Documents> {
        let settings = |uri: &String| DocumentSettings {
            uri: uri.clone(),
            database: DOCUMENTS.to_owned(),
        };
        self.mongodb.as_ref().map(|uri| Documents::new(settings(uri)))
    }

    /// What keeps a read model up to date and builds it anew, if there are a MongoDB and a Kafka.
    ///
    /// # Errors
    /// Settings that librdkafka refuses.
    pub fn projector(&self, projection: Projection, sources: Vec<Source>) -> Result<Option<Projector>> {
        let (Some(documents), Some(kafka)) = (self.documents(), self.kafka.clone()) else {
            return Ok(None);
        };
        let settings = ProjectorSettings {
            kafka,
            sources,
            shards: self.primaries.iter().map(|primary| primary.url.clone()).collect(),
        };
        Projector::new(&documents, &self.database, projection, settings).map(Some)
    }

    /// Another service.
    ///
    /// # Errors
    /// Its address isn't known, or malformed.
    pub fn peer(&self, name: &str) -> Result<Peer> {
        let url = self.peers.get(name);
        let url =
            url.ok_or_else(|| Error::caller(format!("the address of the service {name} is not known")))?;
        Peer::new(name, url, self.service_key.clone())
    }
}
