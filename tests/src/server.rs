//! One PostgreSQL for the tests of a binary, and Ringways before it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster::{Postgres, PostgresSpec, Ringway};
use tokio::runtime::Runtime;

use crate::{Reply, Session, Shared, Target, executable};

/// For a condition that a server or the proxy brings about by itself.
pub const SOON: Duration = Duration::from_secs(20);
/// Between two looks at a condition.
const POLL: Duration = Duration::from_millis(10);

/// Waits until `condition` holds.
///
/// # Errors
/// It doesn't hold in time, or can't be looked at.
pub fn eventually(what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + SOON;
    while !condition()? {
        ensure!(Instant::now() < deadline, "{what}: not within {SOON:?}");
        #[allow(
            clippy::disallowed_methods,
            reason = "it is asked again and again until a bound"
        )]
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// One PostgreSQL. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    // First, because it needs the other: fields are dropped in this order.
    postgres: Postgres,
    runtime: Runtime,
}

/// The ports that a configuration names.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// For clients of Ringway.
    pub own: u16,
    /// For HTTP.
    pub http: u16,
    /// PostgreSQL's.
    pub server: u16,
}

/// The end of a configuration with one server and no other: what follows is about that endpoint.
pub fn only_shard(host: &str, port: u16) -> String {
    format!(
        r#"
[[shard]]
name = "only"

[[shard.endpoint]]
region = "here"
host = "{host}"
port = {port}
"#
    )
}

impl Server {
    /// Starts it.
    ///
    /// # Errors
    /// It could not be started.
    pub fn start(spec: PostgresSpec) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let postgres = runtime.block_on(Box::pin(Postgres::start(spec)))?;
        Ok(Self { postgres, runtime })
    }

    /// The one that the tests of a binary share, started unless it runs. It ends with the last test that holds it.
    ///
    /// # Errors
    /// It could not be started.
    pub fn shared(place: &Shared<Self>, spec: impl FnOnce() -> PostgresSpec) -> Result<Arc<Self>> {
        place.get(|| Self::start(spec()))
    }

    /// The server.
    pub fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// Runs something asynchronous.
    pub fn wait<T>(&self, doing: impl Future<Output = T>) -> T {
        self.runtime.block_on(doing)
    }

    /// Where a role logs in past every pooler.
    pub fn target(&self, role: &str, database: &str) -> Target {
        Target {
            port: self.postgres.port(),
            user: role.to_owned(),
            password: self.postgres.password_of(role).unwrap_or_default().to_owned(),
            database: database.to_owned(),
        }
    }

    /// Runs SQL as the superuser, past every pooler.
    ///
    /// # Errors
    /// The server refuses it.
    pub fn run(&self, database: &str, sql: &str) -> Result<Vec<Reply>> {
        let replies = Session::connect(&self.target(PostgresSpec::SUPERUSER, database))?.simple(sql, None)?;
        if let Some(fault) = Reply::fault(&replies) {
            anyhow::bail!("{sql}: {fault}");
        }
        Ok(replies)
    }

    /// The first value that such SQL gives.
    ///
    /// # Errors
    /// The server refuses it, or it gives none.
    pub fn ask(&self, database: &str, sql: &str) -> Result<String> {
        let value = Reply::value(&self.run(database, sql)?);
        value.with_context(|| format!("{sql} gives nothing"))
    }

    /// Starts a Ringway. It has to end before this server does.
    ///
    /// # Errors
    /// It could not be built or started.
    pub fn ringway(&self, name: &str, configure: impl FnOnce(Ports) -> String) -> Result<Ringway> {
        let server = self.postgres.port();
        let configure = |own, http| configure(Ports { own, http, server });
        let started = Ringway::start_alone(name, executable::ringway()?, configure);
        Ok(self.wait(Box::pin(started))?)
    }
}
