//! The whole local cluster: shards with a primary and a standby, Redis, Kafka, and Ringway on top.

use std::path::{Path, PathBuf};

use futures_util::future::{try_join, try_join_all, try_join4};

use crate::launch::Folder;
use crate::{
    Backing, Error, Kafka, MongoDb, OnDrop, PerRegion, Placement, PortLock, PortPlan, Postgres, PostgresSpec,
    Redis, Region, Ringway, Secrets, config, run,
};

/// The database on every shard, and the role that owns it.
pub const SHOP: &str = "shop";
/// The role that Ringway itself uses on the servers; a superuser here.
pub const CONTROL_ROLE: &str = "ringway";

/// Whether a cluster has a server of MongoDB's protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Documents {
    /// No.
    Off,
    /// One is started; if `RINGWAY_MONGODB_URI` names one, that is used instead.
    On,
}

/// What a cluster consists of.
#[derive(Debug)]
pub struct ClusterSpec {
    /// What stands beside PostgreSQL.
    pub backing: Backing,
    /// Whether there is a server of MongoDB's protocol, for read models.
    pub documents: Documents,
    /// A port for each server; its number of shards is the cluster's.
    pub ports: PortPlan,
    /// Where the servers' folders are made.
    pub placement: Placement,
    /// Passwords.
    pub secrets: Secrets,
    /// The SQL that installs Ringway's objects in the database of each shard.
    pub install_sql: String,
    /// Settings for every PostgreSQL.
    pub postgres_settings: Vec<(String, String)>,
}

impl ClusterSpec {
    /// A cluster for a test: temporary folders, free ports, no waiting for the disk.
    /// `install_sql` is the text of `replication/changes/sql/install.sql`.
    pub fn new(shards: u16, backing: Backing, install_sql: &str) -> Result<Self, Error> {
        Ok(Self {
            backing,
            documents: Documents::Off,
            ports: PortPlan::free(shards)?,
            placement: Placement::Temporary,
            secrets: Secrets::random(),
            install_sql: install_sql.to_owned(),
            postgres_settings: vec![("fsync".to_owned(), "off".to_owned())],
        })
    }
}

/// The servers of one shard.
#[derive(Debug)]
pub struct ShardServers {
    /// In us-east, at the start.
    pub primary: Postgres,
    /// In us-west, streaming from the primary; its `application_name` is `us-west`.
    pub standby: Postgres,
}

/// A running cluster, without Ringway. Dropping it ends its servers.
#[derive(Debug)]
pub struct Cluster {
    // Servers before folders and ports: fields are dropped in this order.
    shards: Vec<ShardServers>,
    redis: Option<PerRegion<Redis>>,
    kafka: Option<Kafka>,
    mongodb: Option<MongoDb>,
    config_folder: Folder,
    placement: Placement,
    ports: PortPlan,
    secrets: Secrets,
}

impl Cluster {
    /// Starts all servers at once, creates roles and the database `shop` on each shard, and
    /// installs Ringway's objects there.
    pub async fn start(spec: ClusterSpec) -> Result<Self, Error> {
        Self::start_with(spec, &|_| ()).await
    }

    /// As [`Cluster::start`]; `started` hears the name of each server that has become ready.
    pub async fn start_with(spec: ClusterSpec, started: &dyn Fn(&str)) -> Result<Self, Error> {
        spec.ports.check_free(spec.backing, spec.documents)?;
        let shards =
            try_join_all((0..spec.ports.shards.len()).map(|number| start_shard(&spec, number, started)));
        let redis = async {
            if spec.backing == Backing::Embedded {
                return Ok(None);
            }
            let one = |region| start_redis(&spec, region, started);
            let (us_east, us_west) = try_join(one(Region::UsEast), one(Region::UsWest)).await?;
            Ok(Some(PerRegion { us_east, us_west }))
        };
        let kafka = start_kafka(&spec, started);
        let mongodb = start_mongodb(&spec, started);
        let (shards, redis, kafka, mongodb) = try_join4(
            Box::pin(shards),
            Box::pin(redis),
            Box::pin(kafka),
            Box::pin(mongodb),
        )
        .await?;
        let config_folder = Folder::create(placed(&spec.placement, "config"), "config")?;
        let ClusterSpec {
            placement,
            ports,
            secrets,
            ..
        } = spec;
        Ok(Self {
            shards,
            redis,
            kafka,
            mongodb,
            config_folder,
            placement,
            ports,
            secrets,
        })
    }

    /// The shards, in the order of their numbers.
    pub fn shards(&self) -> &[ShardServers] {
        &self.shards
    }

    /// The Redis of a region, unless the cluster is embedded.
    pub fn redis(&self, region: Region) -> Option<&Redis> {
        self.redis.as_ref().map(|redis| redis.of(region))
    }

    /// The Kafka broker, unless the cluster is embedded.
    pub fn kafka(&self) -> Option<&Kafka> {
        self.kafka.as_ref()
    }

    /// The server of MongoDB's protocol, if there is one.
    pub fn mongodb(&self) -> Option<&MongoDb> {
        self.mongodb.as_ref()
    }

    /// The passwords.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    pub(crate) fn placement(&self) -> &Placement {
        &self.placement
    }

    /// A region's Ringway ports: PostgreSQL protocol and HTTP.
    pub fn ringway_ports(&self, region: Region) -> (u16, u16) {
        let ports = self.ports.ringway.of(region);
        (ports.postgres.port(), ports.http.port())
    }

    /// The configuration file of a region's Ringway, with the shop's tables.
    pub fn config(&self, region: Region) -> String {
        config::ringway(self, region)
    }

    /// The same without any table, for whoever adds its own.
    pub fn bare_config(&self, region: Region) -> String {
        config::bare(self, region)
    }

    /// Starts a region's Ringway from this executable, with the configuration of
    /// [`Cluster::config`], and waits until it says that it is ready.
    pub async fn start_ringway(&self, executable: &Path, region: Region) -> Result<Ringway, Error> {
        self.start_ringway_with(executable, region, &self.config(region))
            .await
    }

    /// As [`Cluster::start_ringway`], with another configuration; it must keep the region's ports.
    pub async fn start_ringway_with(
        &self,
        executable: &Path,
        region: Region,
        config: &str,
    ) -> Result<Ringway, Error> {
        let file = self.config_folder.path().join(config_name(region));
        run::write_private(&file, config)?;
        self.start_ringway_from(executable, region, &file).await
    }

    /// As [`Cluster::start_ringway`], with a configuration file that exists.
    pub(crate) async fn start_ringway_from(
        &self,
        executable: &Path,
        region: Region,
        file: &Path,
    ) -> Result<Ringway, Error> {
        let name = format!("ringway-{}", region.name());
        let (port, http_port) = self.ringway_ports(region);
        let passwords = vec![
            (SHOP.to_owned(), self.secrets.shop.clone()),
            (CONTROL_ROLE.to_owned(), self.secrets.control.clone()),
        ];
        let placement = placed(&self.placement, &name);
        let server = Ringway::new(&name, executable, file, (port, http_port), passwords, placement)?;
        server.start_again().await?;
        Ok(server)
    }

    /// Waits until every standby has replayed what its primary has written so far.
    pub async fn wait_replayed(&self) -> Result<(), Error> {
        for shard in &self.shards {
            shard.primary.wait_replayed_by(&shard.standby).await?;
        }
        Ok(())
    }

    /// Chooses for all servers what happens when this handle is dropped.
    pub fn set_on_drop(&mut self, on_drop: OnDrop) {
        for shard in &mut self.shards {
            shard.primary.set_on_drop(on_drop);
            shard.standby.set_on_drop(on_drop);
        }
        if let Some(redis) = &mut self.redis {
            redis.us_east.set_on_drop(on_drop);
            redis.us_west.set_on_drop(on_drop);
        }
        if let Some(kafka) = &mut self.kafka {
            kafka.set_on_drop(on_drop);
        }
        if let Some(mongodb) = &mut self.mongodb {
            mongodb.set_on_drop(on_drop);
        }
    }
}

/// The name of a region's configuration file.
pub(crate) fn config_name(region: Region) -> PathBuf {
    PathBuf::from(format!("ringway-{}.toml", region.name()))
}

/// The placement of one server in that of all.
pub(crate) fn placed(placement: &Placement, name: &str) -> Placement {
    match placement {
        Placement::Temporary => Placement::Temporary,
        Placement::Folder(folder) => Placement::Folder(folder.join(name)),
    }
}

async fn start_shard(
    spec: &ClusterSpec,
    number: usize,
    started: &dyn Fn(&str),
) -> Result<ShardServers, Error> {
    let out_of_range = || Error::Usage(format!("there is no shard {number}"));
    let ports = spec.ports.shards.get(number).ok_or_else(out_of_range)?;
    let name = |region: Region| format!("shard-{number}-{}", region.name());
    let primary = PostgresSpec {
        name: name(Region::UsEast),
        port: Some(ports.us_east.port()),
        placement: placed(&spec.placement, &name(Region::UsEast)),
        superuser_password: spec.secrets.superuser.clone(),
        replication_password: spec.secrets.replication.clone(),
        roles: Vec::new(),
        databases: Vec::new(),
        settings: spec.postgres_settings.clone(),
        hba: None,
    };
    let primary = primary
        .role(SHOP, &spec.secrets.shop, "")
        .role(CONTROL_ROLE, &spec.secrets.control, "SUPERUSER REPLICATION")
        .database(SHOP, SHOP);
    let primary = Postgres::start(primary).await?;
    prepare_database(&primary, &spec.install_sql).await?;
    started(primary.name());
    let name = name(Region::UsWest);
    let placement = placed(&spec.placement, &name);
    let standby = primary
        .standby_as(
            &name,
            Region::UsWest.name(),
            Some(ports.us_west.port()),
            placement,
        )
        .await?;
    started(standby.name());
    Ok(ShardServers { primary, standby })
}

/// Installs Ringway's objects, and lets the shop use tables that the control role makes by hand.
async fn prepare_database(primary: &Postgres, install_sql: &str) -> Result<(), Error> {
    let client = primary.connect(CONTROL_ROLE, SHOP).await?;
    client
        .batch_execute(install_sql)
        .await
        .map_err(Error::sql(primary.name(), "installing Ringway's objects"))?;
    for objects in ["TABLES", "SEQUENCES"] {
        let grant =
            format!("ALTER DEFAULT PRIVILEGES FOR ROLE {CONTROL_ROLE} GRANT ALL ON {objects} TO {SHOP}");
        client
            .batch_execute(&grant)
            .await
            .map_err(Error::sql(primary.name(), grant))?;
    }
    Ok(())
}

async fn start_redis(spec: &ClusterSpec, region: Region, started: &dyn Fn(&str)) -> Result<Redis, Error> {
    let name = format!("redis-{}", region.name());
    // The plan holds the lock on the port for as long as the cluster lives.
    let port = PortLock::fixed(spec.ports.redis.of(region).port());
    let redis = Redis::start_at(&name, port, placed(&spec.placement, &name)).await?;
    started(&name);
    Ok(redis)
}

async fn start_kafka(spec: &ClusterSpec, started: &dyn Fn(&str)) -> Result<Option<Kafka>, Error> {
    if spec.backing == Backing::Embedded {
        return Ok(None);
    }
    let broker = PortLock::fixed(spec.ports.kafka.port());
    let controller = PortLock::fixed(spec.ports.kafka_controller.port());
    let kafka = Kafka::start_at("kafka", broker, controller, placed(&spec.placement, "kafka")).await?;
    started("kafka");
    Ok(Some(kafka))
}

async fn start_mongodb(spec: &ClusterSpec, started: &dyn Fn(&str)) -> Result<Option<MongoDb>, Error> {
    if spec.documents == Documents::Off {
        return Ok(None);
    }
    let port = PortLock::fixed(spec.ports.mongodb.port());
    let mongodb = MongoDb::start_at("mongodb", port, placed(&spec.placement, "mongodb")).await?;
    started("mongodb");
    Ok(Some(mongodb))
}
