//! One PostgreSQL with two databases alike: one is used directly, the other one through Ringway and two connections.

use anyhow::{Context, Result};
use cluster::{PostgresSpec, Ringway};
use tests::{Console, Ports, Server, Session, Target, eventually, get, only_shard};

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
    // First, because it uses the other: fields are dropped in this order.
    ringway: Ringway,
    server: Server,
}

impl Stage {
    /// Starts the servers; `pool` is added to the section of that name.
    pub(crate) fn start(pool: &str) -> Result<Self> {
        let spec = PostgresSpec::new("state")
            .role("shop", PASSWORD, "SUPERUSER")
            .database("direct", "shop")
            .database("pooled", "shop");
        let server = Server::start(spec)?;
        for database in ["direct", "pooled"] {
            server.run(database, &format!("SET ROLE shop; {SCHEMA}"))?;
        }
        server.run("direct", "CREATE ROLE low; CREATE ROLE lower")?;
        let ringway = server.ringway("state", |ports| configuration(ports, pool))?;
        Ok(Self { ringway, server })
    }

    /// A session of the role that owns everything.
    pub(crate) fn session(&self, side: Side) -> Result<Session> {
        Session::connect(&self.target(side)).with_context(|| self.ringway.log_tail(20))
    }

    fn target(&self, side: Side) -> Target {
        let (port, database) = match side {
            Side::Direct => (self.server.postgres().port(), "direct"),
            Side::Pooled => (self.ringway.port(), "pooled"),
        };
        Target {
            port,
            ..self.server.target("shop", database)
        }
    }

    /// What keeps clients on their connections, by SHOW CLIENTS.
    pub(crate) fn pinned(&self) -> Result<Vec<String>> {
        let admin = Console::new(self.target(Side::Pooled));
        let rows = admin.show("CLIENTS")?;
        let pinned = rows.iter().filter_map(|row| get(row, "pinned"));
        Ok(pinned
            .filter(|reasons| !reasons.is_empty())
            .map(str::to_owned)
            .collect())
    }

    /// Waits until clients are kept for these reasons.
    pub(crate) fn wait_pinned(&self, expected: &[&str]) -> Result<()> {
        eventually(&format!("pinned is {expected:?}"), || {
            Ok(self.pinned()? == expected)
        })
    }

    /// The last lines of Ringway's log.
    pub(crate) fn log(&self) -> String {
        self.ringway.log_tail(30)
    }
}

fn configuration(ports: Ports, pool: &str) -> String {
    let Ports { own, http, server } = ports;
    format!(
        r#"
region = "here"
worker_threads = 1
# Other tests' data threads use io_uring where they may.
io = "tokio"

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
{shard}"#,
        shard = only_shard("127.0.0.1", server),
    )
}
