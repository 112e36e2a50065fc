//! Servers behind relays, a Ringway before them, and what must be so once everything is over.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cluster::{Postgres, PostgresSpec, Ringway};
use tests::{Fault, Reply, Session, Shared, Target, Turns};
use tokio::runtime::Runtime;
use tokio_postgres::Client;

use crate::relay::Relay;

/// For a condition that the proxy or a server brings about by itself.
pub(crate) const SOON: Duration = Duration::from_secs(10);
/// For the recovery of transactions in two phases: its grace, and a few rounds.
const RECOVERED: Duration = Duration::from_secs(45);
/// The longest that a client may wait for an answer or a close, whatever was cut.
pub(crate) const ANSWERED: Duration = Duration::from_secs(8);
const POLL: Duration = Duration::from_millis(5);
const USER: &str = "shop";
const CONTROL: &str = "control";
const DATABASE: &str = "shop";
const INSTALL_SQL: &str = include_str!("../../replication/changes/sql/install.sql");
/// Server connections for the clients of a shard.
pub(crate) const POOL: usize = 3;

/// How a database lies on its servers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Layout {
    /// On one server: Ringway hands everything on.
    Direct,
    /// Spread over two servers: Ringway plans each statement.
    Routed,
}

impl Layout {
    pub(crate) const BOTH: [Self; 2] = [Self::Direct, Self::Routed];

    fn shards(self) -> usize {
        match self {
            Self::Direct => 1,
            Self::Routed => 2,
        }
    }
}

/// One layout's servers. Dropping it ends them.
pub(crate) struct Scene {
    ringway: Ringway,
    relays: Vec<Relay>,
    shards: Vec<Postgres>,
    watchers: Vec<Client>,
    admin: Mutex<Session>,
    runtime: Runtime,
}

static DIRECT: Shared<Scene> = Shared::new();
static ROUTED: Shared<Scene> = Shared::new();
/// Each test breaks something.
static TURNS: Turns = Turns::new();

/// Runs a test on a layout's servers, which are started unless they run.
pub(crate) fn played(layout: Layout, story: impl FnOnce(&Scene) -> Result<()>) -> Result<()> {
    let place = match layout {
        Layout::Direct => &DIRECT,
        Layout::Routed => &ROUTED,
    };
    let scene = TURNS.take(place.get(|| Scene::start(layout))?);
    let pid = scene.ringway.pid();
    let outcome = story(&scene).with_context(|| format!("{layout:?}: {}", scene.ringway.log_tail(15)));
    for relay in &scene.relays {
        relay.relent();
    }
    outcome?;
    ensure!(scene.ringway.pid() == pid, "the process is another one");
    let log = scene.ringway.log_tail(2000);
    ensure!(!log.contains("panicked"), "Ringway has panicked:\n{log}");
    scene
        .at_rest()
        .with_context(|| format!("{layout:?}, after the test"))
}

impl Scene {
    fn start(layout: Layout) -> Result<Self> {
        let executable = tests::ringway()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let mut shards = Vec::new();
        let mut relays = Vec::new();
        let mut watchers = Vec::new();
        for number in 0..layout.shards() {
            let spec = PostgresSpec::new(&format!("cuts-{number}"))
                .role(USER, USER, "")
                .role(CONTROL, CONTROL, "SUPERUSER REPLICATION")
                .database(DATABASE, USER);
            let server = runtime.block_on(Box::pin(Postgres::start(spec)))?;
            let watcher = runtime.block_on(server.connect(CONTROL, DATABASE))?;
            runtime.block_on(watcher.batch_execute(INSTALL_SQL))?;
            let schema = format!("SET ROLE {USER}; {}; RESET ROLE", schema(number));
            runtime.block_on(watcher.batch_execute(&schema))?;
            relays.push(Relay::start(server.port(), Some(USER))?);
            watchers.push(watcher);
            shards.push(server);
        }
        Relay::introduce(&relays);
        let ports: Vec<u16> = relays.iter().map(Relay::port).collect();
        let configuration = |port, http_port| configuration(port, http_port, &ports);
        let started = Ringway::start_alone("ringway-cuts", executable, configuration);
        let ringway = runtime.block_on(Box::pin(started))?;
        let admin = Session::connect(&target(ringway.port(), CONTROL, "ringway"))?;
        Ok(Self {
            ringway,
            relays,
            shards,
            watchers,
            admin: Mutex::new(admin),
            runtime,
        })
    }

    /// The relay before a shard.
    pub(crate) fn relay(&self, shard: usize) -> Result<&Relay> {
        self.relays.get(shard).context("no such shard")
    }

    /// Every relay.
    pub(crate) fn relays(&self) -> &[Relay] {
        &self.relays
    }

    /// Through Ringway.
    pub(crate) fn target(&self) -> Target {
        target(self.ringway.port(), USER, DATABASE)
    }

    /// Straight to a shard.
    pub(crate) fn straight(&self, shard: usize) -> Result<Target> {
        let server = self.shards.get(shard).context("no such shard")?;
        Ok(target(server.port(), USER, DATABASE))
    }

    /// A client of Ringway.
    pub(crate) fn connect(&self) -> Result<Session> {
        Session::connect(&self.target())
    }

    /// The process id of Ringway.
    pub(crate) fn pid(&self) -> Result<i32> {
        self.ringway.pid().context("Ringway does not run")
    }

    /// Asks a shard past Ringway; the first column of the first row as text.
    pub(crate) fn ask(&self, shard: usize, sql: &str) -> Result<String> {
        use tokio_postgres::SimpleQueryMessage as Message;
        let watcher = self.watchers.get(shard).context("no such shard")?;
        let asked = async { tokio::time::timeout(SOON, watcher.simple_query(sql)).await };
        let answer = self.runtime.block_on(asked).with_context(|| sql.to_owned())??;
        let value = answer.iter().find_map(|message| match message {
            Message::Row(row) => row.get(0),
            _ => None,
        });
        Ok(value.unwrap_or_default().to_owned())
    }

    /// What a SHOW of the admin database answers.
    pub(crate) fn show(&self, what: &str) -> Result<Vec<Vec<String>>> {
        let mut admin = self.admin.lock().unwrap_or_else(PoisonError::into_inner);
        rows(&admin.simple(&format!("SHOW {what}"), None)?)
    }

    /// The column of this name in a SHOW.
    fn column(&self, what: &str, name: &str) -> Result<Vec<String>> {
        let mut admin = self.admin.lock().unwrap_or_else(PoisonError::into_inner);
        let replies = admin.simple(&format!("SHOW {what}"), None)?;
        let place = replies.iter().find_map(|reply| match reply {
            Reply::Columns(columns) => columns.iter().position(|column| column.name == name),
            _ => None,
        });
        let place = place.with_context(|| format!("SHOW {what} has no column {name}: {replies:?}"))?;
        let rows = rows(&replies)?;
        Ok(rows
            .into_iter()
            .filter_map(|row| row.into_iter().nth(place))
            .collect())
    }

    /// Nothing is left of any client: no transaction, no lock, nothing prepared, no server connection that somebody holds,
    /// not more connections than the pool has.
    pub(crate) fn at_rest(&self) -> Result<()> {
        eventually("at rest", || {
            let mut left = Vec::new();
            for shard in 0..self.shards.len() {
                left.extend(self.leftovers(shard)?);
            }
            for name in ["sv_active", "cl_waiting"] {
                let held: u64 = self
                    .column("POOLS", name)?
                    .iter()
                    .filter_map(|n| n.parse::<u64>().ok())
                    .sum();
                if held > 0 {
                    left.push(format!("{name} {held}"));
                }
            }
            let servers = self.column("SERVERS", "state")?;
            if servers.iter().any(|state| state != "idle" && state != "new") {
                left.push(format!("servers {servers:?}"));
            }
            Ok(left)
        })
    }

    /// Nothing is prepared any more. What a proxy can't finish at once is finished by its recovery, some time later.
    pub(crate) fn recovered(&self) -> Result<()> {
        eventually_within(RECOVERED, "recovered", || {
            let mut left = Vec::new();
            for shard in 0..self.shards.len() {
                let gids = self.ask(shard, "SELECT string_agg(gid, ' ') FROM pg_prepared_xacts")?;
                left.extend(Some(gids).filter(|gids| !gids.is_empty()));
            }
            Ok(left)
        })
    }

    fn leftovers(&self, shard: usize) -> Result<Vec<String>> {
        let clients = format!("usename = '{USER}' AND backend_type = 'client backend'");
        let mut left = Vec::new();
        for (what, sql) in [
            (
                "transactions",
                format!("SELECT count(*) FROM pg_stat_activity WHERE {clients} AND state <> 'idle'"),
            ),
            (
                "locks",
                format!(
                    "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE {clients} AND state = 'idle'"
                ),
            ),
            ("prepared", "SELECT count(*) FROM pg_prepared_xacts".to_owned()),
            (
                "connections",
                format!("SELECT greatest(count(*) - {POOL}, 0) FROM pg_stat_activity WHERE {clients}"),
            ),
        ] {
            let count = self.ask(shard, &sql)?;
            if count != "0" {
                left.push(format!("{what} on shard {shard}: {count}"));
            }
        }
        Ok(left)
    }
}

/// A table whose rows say what they are, the same on each shard but for where its rows live.
fn schema(_shard: usize) -> String {
    "CREATE TABLE kept (id bigint PRIMARY KEY, v text NOT NULL); \
     CREATE TABLE scratch (id bigint PRIMARY KEY, v text NOT NULL)"
        .to_owned()
}

fn configuration(port: u16, http_port: u16, relays: &[u16]) -> String {
    let mut text = format!(
        r#"region = "here"
[listen]
port = {port}
http_port = {http_port}
[auth]
admin_users = ["{CONTROL}"]
[control_user]
name = "{CONTROL}"
password = "{CONTROL}"
[[user]]
name = "{USER}"
password = "{USER}"
[[user]]
name = "{CONTROL}"
password = "{CONTROL}"
[pool]
default_pool_size = {POOL}
server_login_retry = "1s"
server_connect_timeout = "2s"
[limits]
query_wait_timeout = "3s"
client_login_timeout = "2s"
max_packet_size = "1MiB"
[[database]]
name = "{DATABASE}"
default_shard = "shard-0"
"#
    );
    for (number, relay) in relays.iter().enumerate() {
        text.push_str(&format!(
            "[[shard]]\nname = \"shard-{number}\"\n[[shard.endpoint]]\nregion = \"here\"\nhost = \"127.0.0.1\"\nport = {relay}\n"
        ));
    }
    if relays.len() > 1 {
        for table in ["kept", "scratch"] {
            text.push_str(&format!(
                "[[table]]\nname = \"{table}\"\nsharding = \"hash\"\ncolumn = \"id\"\n"
            ));
        }
    }
    text
}

/// A login by a password that is the user's name.
pub(crate) fn target(port: u16, user: &str, database: &str) -> Target {
    Target {
        port,
        user: user.to_owned(),
        password: user.to_owned(),
        database: database.to_owned(),
    }
}

/// The rows of an answer, as text.
pub(crate) fn rows(replies: &[Reply]) -> Result<Vec<Vec<String>>> {
    if let Some(fault) = first_error(replies) {
        bail!("{fault}");
    }
    let text = |value: &Option<Vec<u8>>| {
        value
            .as_ref()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .unwrap_or_default()
    };
    Ok(replies
        .iter()
        .filter_map(|reply| match reply {
            Reply::Row(row) => Some(row.iter().map(text).collect()),
            _ => None,
        })
        .collect())
}

/// The first error among the replies.
pub(crate) fn first_error(replies: &[Reply]) -> Option<&Fault> {
    replies.iter().find_map(Reply::error)
}

/// Waits until `left` gives nothing any more.
pub(crate) fn eventually(what: &str, left: impl FnMut() -> Result<Vec<String>>) -> Result<()> {
    eventually_within(SOON, what, left)
}

fn eventually_within(
    bound: Duration,
    what: &str,
    mut left: impl FnMut() -> Result<Vec<String>>,
) -> Result<()> {
    let began = Instant::now();
    loop {
        let found = left().with_context(|| what.to_owned())?;
        if found.is_empty() {
            return Ok(());
        }
        ensure!(began.elapsed() < bound, "not {what} within {bound:?}: {found:?}");
        std::thread::park_timeout(POLL);
    }
}
