//! One PostgreSQL with two databases alike: one is used directly, the other one through Ringway and two connections.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cluster::{Postgres, PostgresSpec, Ringway};
use tests::{Session, Target};
use tokio::runtime::Runtime;

/// For a condition that a server or the proxy brings about by itself.
const SOON: Duration = Duration::from_secs(20);
/// Between two looks at a condition.
const POLL: Duration = Duration::from_millis(20);
/// The superuser of all servers.
const ROLE: &str = "postgres";
/// Its password where Ringway asks for one.
const PASSWORD: &str = "state";
/// What both databases have. Roles are the server's.
const SCHEMA: &str = "CREATE SEQUENCE numbers; CREATE TABLE items (id serial, name text); \
    CREATE FUNCTION quiet() RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1'; \
    CREATE FUNCTION sets(text, text) RETURNS void LANGUAGE plpgsql AS \
    $$BEGIN PERFORM set_config($1, $2, false); END$$; \
    CREATE FUNCTION locks(int) RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM pg_advisory_lock($1); END$$; \
    CREATE FUNCTION tables() RETURNS void LANGUAGE plpgsql AS $$BEGIN CREATE TEMP TABLE hidden (a int); END$$; \
    CREATE FUNCTION listens() RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE 'LISTEN quietly'; END$$; \
    CREATE PROCEDURE numbered() LANGUAGE plpgsql AS $$BEGIN PERFORM set_config('work_mem', '5MB', false); END$$";

/// Where a session is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    /// On PostgreSQL.
    Direct,
    /// Through Ringway.
    Pooled,
}

/// The servers. Dropping it ends them.
pub(crate) struct Stage {
    ringway: Ringway,
    postgres: Postgres,
    _runtime: Runtime,
}

impl Stage {
    /// Starts the servers; `pool` is added to the section of that name.
    pub(crate) fn start(pool: &str) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let (postgres, ringway) = runtime.block_on(async {
            let spec = PostgresSpec::new("state")
                .role("shop", PASSWORD, "SUPERUSER")
                .database("direct", "shop")
                .database("pooled", "shop");
            let postgres = Postgres::start(spec).await?;
            for database in ["direct", "pooled"] {
                let client = postgres.connect("shop", database).await?;
                client.batch_execute(SCHEMA).await?;
            }
            let client = postgres.connect("shop", "direct").await?;
            client.batch_execute("CREATE ROLE low; CREATE ROLE lower").await?;
            let port = postgres.port();
            let executable = tests::ringway()?;
            let ringway = Ringway::start_alone("state", executable, |own, http| {
                configuration(own, http, port, pool)
            })
            .await?;
            anyhow::Ok((postgres, ringway))
        })?;
        Ok(Self {
            ringway,
            postgres,
            _runtime: runtime,
        })
    }

    /// A session of the role that owns everything.
    pub(crate) fn session(&self, side: Side) -> Result<Session> {
        let (port, database) = match side {
            Side::Direct => (self.postgres.port(), "direct"),
            Side::Pooled => (self.ringway.port(), "pooled"),
        };
        let target = Target {
            port,
            user: "shop".to_owned(),
            password: PASSWORD.to_owned(),
            database: database.to_owned(),
        };
        Session::connect(&target).with_context(|| self.ringway.log_tail(20))
    }

    /// What keeps clients on their connections, by SHOW CLIENTS.
    pub(crate) fn pinned(&self) -> Result<Vec<String>> {
        let mut admin = Session::connect(&Target {
            port: self.ringway.port(),
            user: "shop".to_owned(),
            password: PASSWORD.to_owned(),
            database: "ringway".to_owned(),
        })?;
        let replies = admin.simple("SHOW CLIENTS", None)?;
        let column = replies
            .iter()
            .find_map(|reply| match reply {
                tests::Reply::Columns(columns) => columns.iter().position(|column| column.name == "pinned"),
                _ => None,
            })
            .context("no column pinned")?;
        let rows = replies.iter().filter_map(|reply| match reply {
            tests::Reply::Row(values) => values.get(column).cloned().flatten(),
            _ => None,
        });
        let pinned = rows.map(|value| String::from_utf8_lossy(&value).into_owned());
        Ok(pinned.filter(|reasons| !reasons.is_empty()).collect())
    }

    /// Waits until clients are kept for these reasons.
    pub(crate) fn wait_pinned(&self, expected: &[&str]) -> Result<()> {
        let started = Instant::now();
        loop {
            let pinned = self.pinned()?;
            if pinned == expected {
                return Ok(());
            }
            if started.elapsed() > SOON {
                bail!("pinned is {pinned:?} and not {expected:?}");
            }
            std::thread::sleep(POLL);
        }
    }

    /// The last lines of Ringway's log.
    pub(crate) fn log(&self) -> String {
        self.ringway.log_tail(30)
    }
}

fn configuration(own: u16, http: u16, port: u16, pool: &str) -> String {
    format!(
        r#"
region = "here"
worker_threads = 1

[listen]
port = {own}
http_port = {http}

[pool]
{pool}

[limits]
query_wait_timeout = "5s"

[auth]
admin_users = ["shop"]

[control_user]
name = "{ROLE}"
password = "{PASSWORD}"

[[user]]
name = "shop"
password = "{PASSWORD}"

[[database]]
name = "pooled"

[[shard]]
name = "only"

[[shard.endpoint]]
region = "here"
host = "127.0.0.1"
port = {port}
"#
    )
}
