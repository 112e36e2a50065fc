//! A cluster with Ringways and services.

use crate::client::Client;
use crate::wait::{BOUND, until};
use anyhow::Result;
use cluster::{Backing, Cluster, ClusterSpec, PerRegion, Region, Ringway, SHOP};
use jsonwebtoken::jwk::JwkSet;
use ringway_sdk::events::{KafkaSettings, TopicSettings};
use ringway_sdk::rpc::{Peer, ServiceKey};
use ringway_sdk::service::{Environment, Primary, Server, ServerSettings, Service, install, wait_known};
use ringway_sdk::web::{Caller, Keys, Limits, Metrics, Role, Signer};
use ringway_sdk::{Context, Database, Settings};
use std::time::Duration;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;
use uuid::Uuid;

const INSTALL_SQL: &str = include_str!("../../../replication/changes/sql/install.sql");

/// The names of all services: each region's environment has their addresses, all of them that of the region's one process.
pub const SERVICES: [&str; 11] = [
    "gateway",
    "user",
    "product",
    "order",
    "inventory",
    "payment",
    "shipping",
    "notification",
    "analytics",
    "fraud",
    "recommendation",
];

/// What services know each other by, in tests.
const SERVICE_KEY: &str = "known-to-tests-only";

/// How long the tokens of made-up users are valid.
const TOKEN_LIFETIME: Duration = Duration::from_secs(600);

/// No test waits for a load balancer.
const AT_ONCE: ServerSettings = ServerSettings {
    connections: 4_096,
    unready: Duration::ZERO,
    drain: Duration::from_secs(5),
    tasks: Duration::from_secs(5),
    metrics: true,
};

/// Enough for a test.
const TOPICS: TopicSettings = TopicSettings {
    partitions: 2,
    retry_partitions: 1,
    replication: 1,
    retention: Duration::from_secs(3_600),
};

/// The servers of a test. Dropping it ends them.
#[derive(Debug)]
pub struct Scene {
    servers: PerRegion<Server>,
    environments: PerRegion<Environment>,
    signer: Signer,
    /// The Ringways.
    pub ringways: PerRegion<Ringway>,
    /// PostgreSQL, and with [`Backing::Full`] Kafka and Redis.
    pub cluster: Cluster,
}

impl Scene {
    /// Starts all servers, has the services that `build` makes installed, and runs them in both regions.
    ///
    /// `build` is called once for each region, and may change the environment first.
    ///
    /// # Errors
    /// A server doesn't start, a service can't be made or installed.
    pub async fn start(
        backing: Backing,
        build: impl Fn(&mut Environment) -> Result<Vec<Service>>,
    ) -> Result<Self> {
        tell_what_happens();
        let executable = cluster::build_ringway()?;
        let mut spec = ClusterSpec::new(2, backing, INSTALL_SQL)?;
        // One that can be looked for in what services tell.
        spec.secrets.shop = format!("word-{}", Uuid::now_v7().simple());
        let cluster = Box::pin(Cluster::start(spec)).await?;
        let signer = Signer::generate()?;
        let listen = async || TcpListener::bind(("127.0.0.1", 0)).await;
        let listeners = [listen().await?, listen().await?];
        let [east, west] = &listeners;
        let mut environments = PerRegion {
            us_east: environment(&cluster, Region::UsEast, east, &signer)?,
            us_west: environment(&cluster, Region::UsWest, west, &signer)?,
        };
        let (east, west) = (
            build(&mut environments.us_east)?,
            build(&mut environments.us_west)?,
        );
        let tables: String = east.iter().map(Service::ringway_tables).collect();
        let start = async |region| {
            let config = cluster.bare_config(region) + &tables;
            cluster.start_ringway_with(&executable, region, &config).await
        };
        let ringways = PerRegion {
            us_east: start(Region::UsEast).await?,
            us_west: start(Region::UsWest).await?,
        };
        install(&environments.us_east, &east, TOPICS).await?;
        let known = Context::background().with_timeout(BOUND);
        wait_known(&environments.us_west.database, &known, &west).await?;
        cluster.wait_replayed().await?;
        let [east_listener, west_listener] = listeners;
        let servers = PerRegion {
            us_east: Server::start(east_listener, &environments.us_east, east, AT_ONCE)?,
            us_west: Server::start(west_listener, &environments.us_west, west, AT_ONCE)?,
        };
        Ok(Self {
            servers,
            environments,
            signer,
            ringways,
            cluster,
        })
    }

    /// What the services of a region stand on.
    pub fn environment(&self, region: Region) -> &Environment {
        self.environments.of(region)
    }

    /// A region's Ringway.
    pub fn database(&self, region: Region) -> &Database {
        &self.environment(region).database
    }

    /// A service of a region, to be called by gRPC.
    ///
    /// # Errors
    /// Its name isn't one of [`SERVICES`].
    pub fn peer(&self, region: Region, name: &str) -> Result<Peer> {
        Ok(self.environment(region).peer(name)?)
    }

    /// A signed token of a made-up user.
    ///
    /// # Errors
    /// The key can't sign.
    pub fn bearer(&self, user_id: Uuid, role: Role) -> Result<String> {
        let caller = Caller {
            user_id,
            role,
            region: Region::UsEast.name().to_owned(),
        };
        Ok(self.signer.sign(&caller, TOKEN_LIFETIME)?)
    }

    /// Where the services of a region listen: `http://127.0.0.1:PORT`.
    pub fn url(&self, region: Region) -> String {
        format!("http://{}", self.servers.of(region).address())
    }

    /// Somebody who hasn't signed in.
    pub fn anybody(&self, region: Region) -> Client {
        self.client_of(Region::ALL.map(|region| self.url(region)), region)
    }

    /// Somebody who hasn't signed in and speaks to other addresses, those of us-east and of us-west.
    pub fn client_of(&self, [us_east, us_west]: [String; 2], region: Region) -> Client {
        Client::new(PerRegion { us_east, us_west }, region, None)
    }

    /// A made-up customer who has signed in.
    ///
    /// # Errors
    /// The key can't sign.
    pub fn customer(&self, region: Region, user_id: Uuid) -> Result<Client> {
        let bearer = self.bearer(user_id, Role::Customer)?;
        Ok(self.anybody(region).with_bearer(Some(bearer)))
    }

    /// Somebody made up who works for the shop.
    ///
    /// # Errors
    /// The key can't sign.
    pub fn staff(&self, region: Region) -> Result<Client> {
        let bearer = self.bearer(Uuid::now_v7(), Role::Staff)?;
        Ok(self.anybody(region).with_bearer(Some(bearer)))
    }

    /// Ends the services of both regions in order.
    pub async fn stop_services(self) {
        self.servers.us_east.stop().await;
        self.servers.us_west.stop().await;
    }

    /// Asks every primary, past Ringway, and adds up the first column of the first row.
    ///
    /// # Errors
    /// A primary's.
    pub async fn sum_at_primaries(&self, sql: &str) -> Result<i64> {
        let mut sum = 0;
        for shard in self.cluster.shards() {
            let client = shard.primary.connect(SHOP, SHOP).await?;
            sum += client.query_one(sql, &[]).await?.try_get::<_, i64>(0)?;
        }
        Ok(sum)
    }

    /// Stops replay on every standby, and waits until it has stopped: what us-west reads from copies is old from then on.
    ///
    /// # Errors
    /// A standby's.
    pub async fn pause_replay(&self) -> Result<()> {
        for shard in self.cluster.shards() {
            let client = shard.standby.connect(cluster::CONTROL_ROLE, SHOP).await?;
            client.batch_execute("SELECT pg_wal_replay_pause()").await?;
            until("replay is paused", async || {
                let state = client.query_one("SELECT pg_get_wal_replay_pause_state()", &[]);
                state.await.is_ok_and(|row| row.get::<_, String>(0) == "paused")
            })
            .await?;
        }
        Ok(())
    }

    /// Lets the standbys replay again.
    ///
    /// # Errors
    /// A standby's.
    pub async fn resume_replay(&self) -> Result<()> {
        for shard in self.cluster.shards() {
            let client = shard.standby.connect(cluster::CONTROL_ROLE, SHOP).await?;
            client.batch_execute("SELECT pg_wal_replay_resume()").await?;
        }
        Ok(())
    }
}

/// `RUST_LOG=ringway_sdk=debug` shows the log of the services of a test that fails; warnings are shown by themselves.
fn tell_what_happens() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_test_writer();
    // A scene before this one may have done it.
    drop(log.try_init());
}

fn environment(
    cluster: &Cluster,
    region: Region,
    listener: &TcpListener,
    signer: &Signer,
) -> Result<Environment> {
    let password = &cluster.secrets().shop;
    let (port, _) = cluster.ringway_ports(region);
    let database = format!("postgres://{SHOP}:{password}@127.0.0.1:{port}/{SHOP}");
    let own = format!("http://{}", listener.local_addr()?);
    let primaries = cluster.shards().iter().zip(0..).map(|(shard, number)| Primary {
        shard: number,
        url: shard.primary.url(SHOP, SHOP),
    });
    let keys = JwkSet {
        keys: vec![signer.public().clone()],
    };
    let regions = [Region::UsEast, Region::UsWest].into_iter();
    let redis = regions.filter_map(|region| Some((region.name().to_owned(), cluster.redis(region)?.url())));
    Ok(Environment {
        region: region.name().to_owned(),
        instance: region.name().to_owned(),
        database: Database::new(&database, Settings::default())?,
        kafka: cluster.kafka().map(|kafka| KafkaSettings::new(kafka.bootstrap())),
        primaries: primaries.collect(),
        redis: cluster.redis(region).map(|redis| redis.url()),
        redis_by_region: redis.collect(),
        mongodb: None,
        peers: SERVICES
            .iter()
            .map(|name| ((*name).to_owned(), own.clone()))
            .collect(),
        service_key: ServiceKey::new(SERVICE_KEY)?,
        keys: Keys::fixed(keys),
        limits: Limits::default(),
        metrics: Metrics::default(),
        draining: ringway_sdk::service::Stop::new(),
    })
}
