//! A Ringway of a test's own before one PostgreSQL: what a command does to it is nobody else's matter.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use cluster::{PostgresSpec, Ringway};
use tests::{Console, Ports, Reply, Server, Session, Shared, Target, eventually, only_shard};

/// May do everything in the admin database.
pub(crate) const CHIEF: &str = "chief";
/// May look.
pub(crate) const LOOKER: &str = "looker";
/// May not even log in there.
pub(crate) const STRANGER: &str = "stranger";
/// The database that the configuration lists.
pub(crate) const LISTED: &str = "listed";
/// Databases that it doesn't.
pub(crate) const UNLISTED: [&str; 2] = ["unlisted_a", "unlisted_b"];

/// A Ringway. Dropping it ends it.
pub(crate) struct Alone {
    // First, because it uses the other: fields are dropped in this order.
    ringway: Ringway,
    server: Arc<Server>,
}

static SERVER: Shared<Server> = Shared::new();

fn server() -> Result<Arc<Server>> {
    Server::shared(&SERVER, || {
        let spec = PostgresSpec::new("admin");
        let roles = [CHIEF, LOOKER, STRANGER];
        let spec = roles.iter().fold(spec, |spec, role| spec.role(role, role, ""));
        let databases = std::iter::once(&LISTED).chain(&UNLISTED);
        databases.fold(spec, |spec, name| spec.database(name, CHIEF))
    })
}

impl Alone {
    /// With two threads, as their commands go to each of them.
    pub(crate) fn start() -> Result<Self> {
        Self::start_with(2, "")
    }

    /// With these lines in section `pool`.
    pub(crate) fn start_with(threads: usize, pool: &str) -> Result<Self> {
        let server = server()?;
        let ringway = server.ringway("admin", |ports| configuration(ports, threads, pool))?;
        Ok(Self { ringway, server })
    }

    /// Replaces a line of its file.
    pub(crate) fn rewrite(&self, from: &str, to: &str) -> Result<()> {
        let file = self.ringway.config_file();
        let text = std::fs::read_to_string(file)?;
        ensure!(text.contains(from));
        Ok(std::fs::write(file, text.replace(from, to))?)
    }

    pub(crate) fn target(&self, role: &str, database: &str) -> Target {
        Target {
            port: self.ringway.port(),
            ..self.server.target(role, database)
        }
    }

    pub(crate) fn client(&self, database: &str) -> Result<Session> {
        Session::connect(&self.target(CHIEF, database)).with_context(|| self.ringway.log_tail(20))
    }

    pub(crate) fn console(&self) -> Console {
        Console::new(self.target(CHIEF, LISTED))
    }

    /// Carries out a command that answers with its own name.
    pub(crate) fn order(&self, sql: &str) -> Result<()> {
        let tag = self.console().command(sql)?;
        ensure!(Some(tag.as_str()) == sql.split(' ').next(), "{sql}: {tag}");
        Ok(())
    }

    /// Waits until a client of the database waits for a connection.
    pub(crate) fn until_waiting(&self, database: &str) -> Result<()> {
        let console = self.console();
        eventually("a client waits", || {
            let waiting = console.value("POOLS", &[("database", database)], "cl_waiting")?;
            Ok(waiting.as_deref() == Some("1"))
        })
    }
}

/// The process that serves a client.
pub(crate) fn pid(client: &mut Session) -> Result<String> {
    let replies = client.simple("SELECT pg_backend_pid()", None)?;
    Reply::value(&replies).with_context(|| format!("{replies:?}"))
}

fn configuration(ports: Ports, threads: usize, pool: &str) -> String {
    let Ports { own, http, server } = ports;
    let users: String = [CHIEF, LOOKER, STRANGER]
        .iter()
        .map(|name| format!("[[user]]\nname = \"{name}\"\npassword = \"{name}\"\n\n"))
        .collect();
    format!(
        r#"
region = "here"
worker_threads = {threads}

[listen]
port = {own}
http_port = {http}

[pool]
{pool}

[auth]
admin_users = ["{CHIEF}"]
stats_users = ["{LOOKER}"]

{users}
[[database]]
name = "{LISTED}"

[[database]]
name = "*"
{shard}"#,
        shard = only_shard("127.0.0.1", server),
    )
}
