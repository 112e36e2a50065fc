//! Real PostgreSQL, Redis, Kafka and MongoDB-protocol servers, Ringways and the shop's services for the demo, the tests and the benchmarks.
//!
//! In: what is wanted ([`PostgresSpec`], [`ClusterSpec`], [`demo::Options`]).
//! Out: running servers, each with its own port, data folder and process, and their addresses.
//!
//! A test starts servers and drops them; the demo starts servers that outlive the command and
//! finds them again by its state folder. Both use the same records, so that what a killed owner
//! left behind is found and removed by the next run.
//!
//! ```no_run
//! # async fn example() -> Result<(), cluster::Error> {
//! use cluster::{Postgres, PostgresSpec, StopMode};
//! let server = Postgres::start(PostgresSpec::new("one").role("app", "secret", "").database("app", "app")).await?;
//! let standby = server.standby("us-west").await?;
//! server.connect("app", "app").await?.batch_execute("CREATE TABLE t (a int)").await.expect("DDL");
//! server.wait_replayed_by(&standby).await?;
//! server.stop(StopMode::Immediate).await?;
//! server.start_again().await?;
//! # Ok(()) }
//! ```
//!
//! **Invariant:** ends only processes that it started itself: each is known by its process id *and*
//! the time at which it began, recorded before the server's first instruction.
//! **Invariant:** touches no cluster, service or configuration of the machine: every server has a
//! folder made here, and listens on 127.0.0.1 alone.
//! **Invariant:** knows nothing about the insides of Ringway and of the shop's services: they are executables and
//! configuration files.
//! **Invariant:** every wait has a named bound, and at the bound the error carries the last lines
//! of the server's own log.

mod cluster;
mod config;
pub mod demo;
mod error;
mod executable;
mod http;
mod kafka;
mod launch;
mod mongodb;
mod pgbouncer;
mod plan;
mod ports;
mod postgres;
mod process;
mod programs;
mod redis;
mod ringway;
mod run;
mod services;
pub mod shop;

pub use cluster::{CONTROL_ROLE, Cluster, ClusterSpec, Documents, SHOP, ShardServers};
pub use error::Error;
pub use executable::{build_ringway, build_shop};
pub use kafka::Kafka;
pub use launch::{OnDrop, Placement};
pub use mongodb::MongoDb;
pub use pgbouncer::{PgBouncer, PgBouncerSpec};
pub use plan::{Backing, PerRegion, PortPlan, Region, Secrets};
pub use ports::{PortLock, reserve_port};
pub use postgres::{Postgres, PostgresSpec, Role, StopMode};
pub use programs::Programs;
pub use redis::Redis;
pub use ringway::Ringway;
pub use services::{Partners, Shop, ShopInstance, ShopPlan};
