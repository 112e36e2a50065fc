//! The demo: a local cluster that outlives the command, loaded with the shop.
//!
//! `up` starts everything or nothing. What it started is recorded in the state folder, so that
//! `down` and the next `up` find it, also when this one was killed half-way.

mod progress;
mod state;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::cluster::{CONTROL_ROLE, Cluster, ClusterSpec, Documents, SHOP, config_name};
use crate::ports::check_free;
use crate::shop::{self, Scale, Table};
use crate::{
    Backing, Error, MongoDb, OnDrop, Placement, PortPlan, PostgresSpec, Programs, Region, Ringway, Secrets,
    Shop, ShopPlan, run,
};
use progress::Progress;
use state::State;

/// For one table to be copied through Ringway: many times what the largest needs.
const COPY_BOUND: Duration = Duration::from_secs(120);
/// For all DDL of the shop.
const SCHEMA_BOUND: Duration = Duration::from_secs(60);
/// The demo's shards.
pub const SHARDS: u16 = 2;

/// Which backing services the demo uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// Redis and Kafka if the machine has them, else PostgreSQL alone.
    WhatIsThere,
    /// PostgreSQL alone.
    Embedded,
}

/// What to start.
#[derive(Debug)]
pub struct Options<'a> {
    /// The folder of the demo's state; `.ringway` by convention.
    pub state_dir: PathBuf,
    /// Backing services.
    pub wanted: Wanted,
    /// The program `ringway`, to run `serve` and `topology init`.
    pub executable: PathBuf,
    /// The text of `replication/changes/sql/install.sql`.
    pub install_sql: &'a str,
    /// Ports; [`PortPlan::documented`] unless a test runs it.
    pub ports: PortPlan,
    /// The size of the shop; [`Scale::DEMO`] unless a test runs it.
    pub scale: Scale,
    /// The shop's services; none leaves them out.
    pub services: Option<Services>,
}

/// The shop's services, and how they are run.
#[derive(Debug)]
pub struct Services {
    /// The program `ringway-shop`.
    pub executable: PathBuf,
    /// Instances and ports; [`ShopPlan::documented`] unless a test runs it.
    pub plan: ShopPlan,
    /// How many products the catalogue is filled with.
    pub products: u32,
}

impl Services {
    /// The documented demo's.
    pub fn new(executable: PathBuf) -> Self {
        Self {
            executable,
            plan: ShopPlan::documented(),
            products: 500,
        }
    }
}

impl<'a> Options<'a> {
    /// The documented demo.
    pub fn new(state_dir: PathBuf, wanted: Wanted, executable: PathBuf, install_sql: &'a str) -> Self {
        let ports = PortPlan::documented(SHARDS);
        Self {
            state_dir,
            wanted,
            executable,
            install_sql,
            ports,
            scale: Scale::DEMO,
            services: None,
        }
    }
}

/// What to tell the user when the demo is up.
#[derive(Clone, PartialEq, Eq)]
pub struct Summary {
    /// The variables of `.ringway/env`, in their order.
    pub variables: Vec<(String, String)>,
    port: u16,
    http: String,
    shop_password: String,
    control_password: String,
    env_file: PathBuf,
    backing: Backing,
    /// The gateways of the shop, by region.
    gateways: Vec<(&'static str, String)>,
}

/// Replaces an earlier demo of this state folder and starts a new one: servers, roles, the
/// database `shop`, two Ringways, and the shop's data loaded through Ringway.
///
/// On failure, Ctrl-C or SIGTERM everything that was started is ended and removed.
pub async fn up(options: Options<'_>) -> Result<Summary, Error> {
    let state = State::open(&options.state_dir)?;
    let progress = Progress::new();
    let replaced = state.clean().await?;
    if !replaced.is_empty() {
        progress.note(&format!("ended an earlier demo ({} servers)", replaced.len()));
    }
    let started = tokio::select! {
        started = Box::pin(bring_up(options, &state, &progress)) => started,
        () = interrupted() => Err(Error::Usage("interrupted".to_owned())),
    };
    if started.is_err() {
        // The handles have ended their servers; the folders are still there.
        state.clean().await?;
    }
    started
}

/// Ends what `up` of this state folder started and removes it; gives the names of the servers that ran.
pub async fn down(state_dir: PathBuf) -> Result<Vec<String>, Error> {
    if !state_dir.exists() {
        return Ok(Vec::new());
    }
    let state = State::open(&state_dir)?;
    let ended = state.clean().await?;
    state.close()?;
    Ok(ended)
}

/// A server of the demo.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerStatus {
    /// Its name, which is also that of its folder.
    pub name: String,
    /// Its process id if it runs.
    pub pid: Option<i32>,
}

/// The servers that `up` of this state folder started; empty if there is no demo.
pub fn status(state_dir: &Path) -> Vec<ServerStatus> {
    state::servers(state_dir)
}

async fn interrupted() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        // Without handlers the signals end the process, and the next run cleans up.
        return std::future::pending().await;
    };
    tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () }
}

async fn bring_up(options: Options<'_>, state: &State, progress: &Progress) -> Result<Summary, Error> {
    let backing = backing(options.wanted, progress);
    let documents = documents(backing, progress);
    let services = services(options.services, backing, progress);
    options.ports.check_free(backing, documents)?;
    if let Some(services) = &services {
        let wanted = services.plan.wanted();
        check_free(wanted.iter().map(|(port, name)| (*port, name.as_str())))?;
    }
    let servers = state.make_server_folder()?;
    let spec = ClusterSpec {
        backing,
        documents,
        ports: options.ports,
        placement: Placement::Folder(servers),
        secrets: Secrets::random(),
        install_sql: options.install_sql.to_owned(),
        postgres_settings: Vec::new(),
    };
    let backing_servers = if backing == Backing::Full { 3 } else { 0 };
    let servers = spec.ports.shards.len() * 2 + backing_servers + usize::from(documents == Documents::On);
    let steps = progress.servers(servers);
    let mut cluster = Cluster::start_with(spec, &|name| steps.ready(name)).await?;
    steps.finish();

    let mut shop = match services {
        Some(Services {
            executable,
            plan,
            products,
        }) => Some((cluster.shop(&executable, plan)?, products)),
        None => None,
    };
    let tables = match &shop {
        Some((shop, _)) => shop.tables().await?,
        None => String::new(),
    };
    let [mut us_east, mut us_west] =
        start_ringways(&cluster, &options.executable, &tables, state, progress).await?;
    load(&us_east, options.scale, progress).await?;
    if let Some((shop, products)) = &shop {
        open_shop(shop, &cluster, *products, progress).await?;
    }
    settle(&cluster).await?;

    let gateways = shop.as_ref().map(|(shop, _)| shop);
    let summary = summarize(&cluster, [&us_east, &us_west], gateways, state, backing);
    state.write_env(&summary.variables)?;
    // From here on they live without us.
    cluster.set_on_drop(OnDrop::Leave);
    us_east.set_on_drop(OnDrop::Leave);
    us_west.set_on_drop(OnDrop::Leave);
    if let Some((shop, _)) = &mut shop {
        shop.set_on_drop(OnDrop::Leave);
    }
    Ok(summary)
}

/// Starts the Ringways of both regions, us-east's first.
async fn start_ringways(
    cluster: &Cluster,
    executable: &Path,
    tables: &str,
    state: &State,
    progress: &Progress,
) -> Result<[Ringway; 2], Error> {
    let steps = progress.servers(Region::ALL.len());
    let start = async |region| {
        let file = state.folder().join(config_name(region));
        run::write_private(&file, &(cluster.config(region) + tables))?;
        let ringway = cluster.start_ringway_from(executable, region, &file).await?;
        steps.ready(&format!("ringway-{}", region.name()));
        Ok::<_, Error>(ringway)
    };
    let started = [start(Region::UsEast).await?, start(Region::UsWest).await?];
    steps.finish();
    Ok(started)
}

/// Makes the services' tables and topics, fills the catalogue, and starts them.
async fn open_shop(shop: &Shop, cluster: &Cluster, products: u32, progress: &Progress) -> Result<(), Error> {
    shop.install().await?;
    shop.run(&["seed", "--products", &products.to_string()]).await?;
    progress.note(&format!("the shop's catalogue: {products} products"));
    cluster.wait_replayed().await?;
    let steps = progress.servers(shop.processes());
    shop.start(&|name| steps.ready(name)).await?;
    steps.finish();
    Ok(())
}

/// Decides on the shop's services, and says why they are left out.
fn services(wanted: Option<Services>, backing: Backing, progress: &Progress) -> Option<Services> {
    let services = wanted?;
    if backing == Backing::Embedded {
        progress.note("THE SHOP'S SERVICES ARE LEFT OUT: they need Kafka");
        return None;
    }
    Some(services)
}

/// Decides on Redis and Kafka, and says why if they are left out.
fn backing(wanted: Wanted, progress: &Progress) -> Backing {
    if wanted == Wanted::Embedded {
        return Backing::Embedded;
    }
    let missing = [
        Programs::redis().err(),
        Programs::java().err(),
        Programs::kafka_libs().err(),
    ];
    match missing.into_iter().flatten().next() {
        None => Backing::Full,
        Some(missing) => {
            progress.note(&format!("PostgreSQL alone, without Redis and Kafka: {missing}"));
            Backing::Embedded
        }
    }
}

/// Decides on the server of MongoDB's protocol, and says what is missing without.
fn documents(backing: Backing, progress: &Progress) -> Documents {
    if backing == Backing::Embedded {
        return Documents::Off;
    }
    match (MongoDb::elsewhere(), Programs::mongodb()) {
        (Some(_), _) | (None, Ok(_)) => Documents::On,
        (None, Err(missing)) => {
            progress.note(&format!(
                "READ MODELS ARE OFF (order histories come from the shards, no analytics): {missing}"
            ));
            Documents::Off
        }
    }
}

/// Creates the tables and loads the data, all through Ringway.
async fn load(ringway: &Ringway, scale: Scale, progress: &Progress) -> Result<(), Error> {
    // Ringway's own last lines say more than the client's error.
    let explain = |error: Error| ringway.trouble(format!("could not load the shop: {error}"));
    let late = |what: &str| ringway.trouble(format!("did not finish in time: {what}"));
    let client = ringway.connect(SHOP, SHOP).await.map_err(explain)?;
    tokio::time::timeout(SCHEMA_BOUND, shop::create(&client))
        .await
        .map_err(|_| late("creating the tables"))?
        .map_err(explain)?;
    for table in Table::ALL {
        let bar = progress.table(table.name());
        let copy = shop::copy(&client, shop::SEED, scale, table, |rows| bar.sent(rows));
        let rows = tokio::time::timeout(COPY_BOUND, copy)
            .await
            .map_err(|_| late(&format!("copying {}", table.name())))?
            .map_err(explain)?;
        bar.finish(rows);
    }
    Ok(())
}

/// Gathers statistics for PostgreSQL's planner, and lets the standbys catch up.
async fn settle(cluster: &Cluster) -> Result<(), Error> {
    for shard in cluster.shards() {
        let client = shard.primary.connect(PostgresSpec::SUPERUSER, SHOP).await?;
        client
            .batch_execute("ANALYZE")
            .await
            .map_err(Error::sql(shard.primary.name(), "ANALYZE"))?;
    }
    cluster.wait_replayed().await
}

fn summarize(
    cluster: &Cluster,
    [us_east, us_west]: [&Ringway; 2],
    shop: Option<&Shop>,
    state: &State,
    backing: Backing,
) -> Summary {
    let mut variables = vec![
        ("RINGWAY_URL".to_owned(), us_east.url(SHOP, SHOP)),
        ("RINGWAY_URL_US_WEST".to_owned(), us_west.url(SHOP, SHOP)),
        (
            "RINGWAY_ADMIN_URL".to_owned(),
            us_east.url(CONTROL_ROLE, "ringway"),
        ),
        ("RINGWAY_HTTP".to_owned(), us_east.http_url()),
    ];
    for (number, shard) in cluster.shards().iter().enumerate() {
        // As the superuser: whoever goes straight to a server wants to look behind the scenes.
        variables.push((
            format!("SHARD_{number}_URL"),
            shard.primary.url(CONTROL_ROLE, SHOP),
        ));
        variables.push((
            format!("SHARD_{number}_REPLICA_URL"),
            shard.standby.url(CONTROL_ROLE, SHOP),
        ));
    }
    // Empty without Kafka and Redis, so that a script under `set -u` can ask.
    variables.push((
        "KAFKA_BOOTSTRAP".to_owned(),
        cluster.kafka().map(|k| k.bootstrap()).unwrap_or_default(),
    ));
    for (name, region) in [
        ("REDIS_URL_US_EAST", Region::UsEast),
        ("REDIS_URL_US_WEST", Region::UsWest),
    ] {
        variables.push((
            name.to_owned(),
            cluster.redis(region).map(|redis| redis.url()).unwrap_or_default(),
        ));
    }
    variables.push((
        "RINGWAY_MONGODB_URI".to_owned(),
        cluster.mongodb().map(MongoDb::uri).unwrap_or_default(),
    ));
    let gateways: Vec<_> = Region::ALL
        .into_iter()
        .filter_map(|region| Some((region.name(), shop?.of(region)?.url())))
        .collect();
    for (name, region) in [
        ("RINGWAY_SHOP_URL", Region::UsEast),
        ("RINGWAY_SHOP_URL_US_WEST", Region::UsWest),
    ] {
        let gateway = gateways.iter().find(|(known, _)| *known == region.name());
        let url = gateway.map(|(_, url)| url.clone()).unwrap_or_default();
        variables.push((name.to_owned(), url));
    }
    variables.push((
        "RINGWAY_SHOP_PAYMENT_URL".to_owned(),
        shop.map(|shop| shop.partners().payment_url()).unwrap_or_default(),
    ));
    Summary {
        variables,
        gateways,
        port: us_east.port(),
        http: us_east.http_url(),
        shop_password: cluster.secrets().shop.clone(),
        control_password: cluster.secrets().control.clone(),
        env_file: state.env_file(),
        backing,
    }
}

impl fmt::Debug for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the passwords.
        f.debug_struct("Summary")
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            port,
            http,
            shop_password,
            control_password,
            ..
        } = self;
        writeln!(
            f,
            "Ringway is up{}.",
            match self.backing {
                Backing::Full => "",
                Backing::Embedded => " (embedded: PostgreSQL alone, no Redis and no Kafka)",
            }
        )?;
        writeln!(f)?;
        writeln!(
            f,
            "  psql     PGPASSWORD={shop_password} psql -h 127.0.0.1 -p {port} -U {SHOP} {SHOP}"
        )?;
        writeln!(
            f,
            "  admin    PGPASSWORD={control_password} psql -h 127.0.0.1 -p {port} -U {CONTROL_ROLE} ringway"
        )?;
        writeln!(f, "  HTTP     {http}  (/readyz?verbose, /metrics)")?;
        writeln!(
            f,
            "  users    {SHOP} / {shop_password} (applications), {CONTROL_ROLE} / {control_password} (admin)"
        )?;
        for (region, url) in &self.gateways {
            writeln!(f, "  shop     {url}  (its services' gateway in {region}; /docs)")?;
        }
        writeln!(f, "  scripts  . {}", self.env_file.display())?;
        writeln!(f)?;
        write!(
            f,
            "A local cluster for trying things out: not for production. `make down` removes it."
        )
    }
}
