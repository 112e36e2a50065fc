//! The servers that are measured: two shards behind Ringway, and PgBouncer beside it.
//!
//! PgBouncer and the direct connections use a database of their own on the first shard's primary, which holds all
//! tables whole: the same server process, settings, standby and log decoding for all three.

use std::path::Path;

use anyhow::{Context, Result};
use bytes::Bytes;
use cluster::{
    Backing, CONTROL_ROLE, Cluster, ClusterSpec, PgBouncer, PgBouncerSpec, Postgres, PostgresSpec, Region,
    Ringway, SHOP,
};
use futures_util::SinkExt;
use tokio_postgres::Client;

use crate::pgbench::Address;
use crate::plan::Target;

/// What creates Ringway's objects on a shard.
const INSTALL_SQL: &str = include_str!("../../replication/changes/sql/install.sql");
/// The tables that Ringway's configuration lists, on every shard.
const SHARDED_SQL: &str = include_str!("../sql/sharded.sql");
/// The tables that it doesn't list, on its default shard.
const TABLES_SQL: &str = include_str!("../sql/tables.sql");
/// The shards behind Ringway.
pub(crate) const SHARDS: u16 = 2;
/// Server connections of both poolers, for each server.
pub(crate) const POOL_SIZE: u16 = 20;
/// Clients that may connect to a proxy, all measurements taken together.
const MAX_CLIENTS: u32 = 20_000;
/// Rows of the tables that are read by key.
pub(crate) const ACCOUNTS: u32 = 10_000;
/// Lines of a proxy's log that are shown when it has ended.
const LOG_LINES: usize = 20;
/// The database of PgBouncer and of the direct connections.
const PLAIN: &str = "plain";

/// All of them. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Servers {
    // Those that use others first: fields are dropped in this order.
    ringway: Ringway,
    pgbouncer: PgBouncer,
    cluster: Cluster,
}

impl Servers {
    /// Starts and fills them.
    pub(crate) async fn start(executable: &Path) -> Result<Self> {
        Self::start_as(executable, None).await
    }

    /// The same with another program in PgBouncer's place.
    pub(crate) async fn start_as(executable: &Path, pgbouncer: Option<&Path>) -> Result<Self> {
        let cluster = ClusterSpec::new(SHARDS, Backing::Embedded, INSTALL_SQL)?;
        let cluster = Box::pin(Cluster::start(cluster)).await?;
        for (number, shard) in cluster.shards().iter().enumerate() {
            let client = shard.primary.connect(SHOP, SHOP).await?;
            client.batch_execute(SHARDED_SQL).await?;
            if number == 0 {
                client.batch_execute(TABLES_SQL).await?;
            }
        }
        for shard in cluster.shards() {
            make_plain(&shard.primary).await?;
        }
        let pgbouncer = start_pgbouncer(&cluster, pgbouncer).await?;
        let config = configuration(&cluster);
        let ringway = cluster
            .start_ringway_with(executable, Region::UsEast, &config)
            .await?;
        fill(&ringway.connect(SHOP, SHOP).await?)
            .await
            .context("filling through Ringway")?;
        for shard in cluster.shards() {
            let client = shard.primary.connect(SHOP, SHOP).await?;
            client.batch_execute("VACUUM ANALYZE").await?;
        }
        cluster.wait_replayed().await?;
        Ok(Self {
            ringway,
            pgbouncer,
            cluster,
        })
    }

    /// Where the clients of a target connect.
    pub(crate) fn address(&self, target: Target) -> Result<Address> {
        self.address_on(target, 0)
    }

    /// Where those connect that use this shard's server, where a target doesn't route by itself.
    pub(crate) fn address_on(&self, target: Target, shard: usize) -> Result<Address> {
        let (port, database) = match target {
            Target::Direct => (self.primary(shard)?.port(), PLAIN.to_owned()),
            Target::PgBouncer => (self.pgbouncer.port(), plain_on(shard)),
            Target::Ringway => (self.ringway.port(), SHOP.to_owned()),
        };
        let password = self.cluster.secrets().shop.clone();
        Ok(Address {
            port,
            user: SHOP.to_owned(),
            password,
            database,
        })
    }

    fn primary(&self, shard: usize) -> Result<&Postgres> {
        let shard = self.cluster.shards().get(shard).context("no such shard")?;
        Ok(&shard.primary)
    }

    /// The process whose CPU time counts; an error with its last words if it has ended.
    pub(crate) fn proxy(&self, target: Target) -> Result<Option<i32>> {
        let (pid, log) = match target {
            Target::Direct => return Ok(None),
            Target::PgBouncer => (self.pgbouncer.pid(), self.pgbouncer.log_tail(LOG_LINES)),
            Target::Ringway => (self.ringway.pid(), self.ringway.log_tail(LOG_LINES)),
        };
        pid.map(Some)
            .with_context(|| format!("{} has ended; its last lines:\n{log}", target.name()))
    }

    /// The PostgreSQL servers, primaries and standbys.
    pub(crate) fn postgres(&self) -> Vec<i32> {
        let shards = self.cluster.shards().iter();
        shards
            .flat_map(|shard| [shard.primary.pid(), shard.standby.pid()])
            .flatten()
            .collect()
    }

    /// Ringway itself.
    pub(crate) fn ringway(&self) -> &Ringway {
        &self.ringway
    }
}

/// What PgBouncer calls the database that a shard's server holds whole.
fn plain_on(shard: usize) -> String {
    match shard {
        0 => PLAIN.to_owned(),
        shard => format!("{PLAIN}_{shard}"),
    }
}

/// A PgBouncer before the primaries of all shards, or another program in its place.
async fn start_pgbouncer(cluster: &Cluster, program: Option<&Path>) -> Result<PgBouncer> {
    let settings = [format!("default_pool_size = {POOL_SIZE}")];
    let (first, others) = cluster.shards().split_first().context("no shard")?;
    let elsewhere: Vec<String> = (1..)
        .zip(others)
        .map(|(number, shard)| {
            let (name, port) = (plain_on(number), shard.primary.port());
            format!("{name} = host=127.0.0.1 port={port} dbname={PLAIN}")
        })
        .collect();
    let spec = PgBouncerSpec {
        program,
        settings: &settings,
        elsewhere: &elsewhere,
        ..PgBouncerSpec::new(SHOP, PLAIN)
    };
    Ok(PgBouncer::start_with(&first.primary, spec).await?)
}

/// The database that holds everything whole.
async fn make_plain(server: &Postgres) -> Result<()> {
    let superuser = server.connect(PostgresSpec::SUPERUSER, "postgres").await?;
    superuser
        .batch_execute(&format!("CREATE DATABASE {PLAIN} OWNER {SHOP}"))
        .await?;
    let client = server.connect(SHOP, PLAIN).await?;
    client.batch_execute(SHARDED_SQL).await?;
    client.batch_execute(TABLES_SQL).await?;
    fill(&client).await?;
    client.batch_execute("VACUUM ANALYZE").await?;
    Ok(())
}

/// Loads the tables that are read by key.
async fn fill(client: &Client) -> Result<()> {
    for table in ["pgbench_accounts", "cached_accounts"] {
        let sink = client.copy_in(&format!("COPY {table} FROM STDIN")).await?;
        let mut sink = std::pin::pin!(sink);
        let rows: String = (1..=ACCOUNTS).map(|aid| format!("{aid}\t1\t0\t\n")).collect();
        sink.send(Bytes::from(rows)).await?;
        sink.finish().await?;
    }
    Ok(())
}

/// Ringway's configuration: the defaults, with the two tables listed.
fn configuration(cluster: &Cluster) -> String {
    let (port, http_port) = cluster.ringway_ports(Region::UsEast);
    let secrets = cluster.secrets();
    let head = format!(
        r#"region = "us-east"
proxy_id = "bench"
worker_threads = 1

[listen]
port = {port}
http_port = {http_port}

[pool]
default_pool_size = {POOL_SIZE}

[limits]
max_client_conn = {MAX_CLIENTS}

[control_user]
name = "{CONTROL_ROLE}"
password = "{control}"

[[user]]
name = "{SHOP}"
password = "{shop}"

[[database]]
name = "{SHOP}"
default_shard = "shard-0"

[[table]]
name = "pgbench_accounts"
sharding = "hash"
column = "aid"

[[table]]
name = "cached_accounts"
sharding = "hash"
column = "aid"
cache = {{ level = "ryw", bound = "2s", ttl = "1h" }}
"#,
        control = secrets.control,
        shop = secrets.shop,
    );
    let shards = cluster.shards().iter().enumerate().map(|(number, shard)| {
        let endpoint = |region: Region, server: &Postgres| {
            let (region, port) = (region.name(), server.port());
            format!("\n[[shard.endpoint]]\nregion = \"{region}\"\nhost = \"127.0.0.1\"\nport = {port}\n")
        };
        let (east, west) = (
            endpoint(Region::UsEast, &shard.primary),
            endpoint(Region::UsWest, &shard.standby),
        );
        format!("\n[[shard]]\nname = \"shard-{number}\"\n{east}{west}")
    });
    head + &shards.collect::<String>()
}
