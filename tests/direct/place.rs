//! One PostgreSQL, and a Ringway before one of its databases.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cluster::{Postgres, PostgresSpec};
use rustix::process::{Pid, Signal, kill_process};
use tests::{Reply, Session, Shared, Target, Turn, Turns};
use tokio::runtime::Runtime;

/// For a condition that comes about by itself.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// Between two looks at a condition.
const POLL: Duration = Duration::from_millis(20);
/// The role of the tests.
const ROLE: &str = "tester";

/// Server connections of Ringway's.
pub(crate) const CONNECTIONS: usize = 2;

/// The servers of the tests. Dropping it ends them.
pub(crate) struct Place {
    /// The server's process is watched by it.
    _runtime: Runtime,
    postgres: Postgres,
    ringway: Child,
    port: u16,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

static SHARED: Shared<Place> = Shared::new();
static TURNS: Turns = Turns::new();

/// The servers, which all tests use one after the other; they end with the last one.
pub(crate) fn place() -> Result<Turn<Place>> {
    Ok(TURNS.take(SHARED.get(Place::start)?))
}

impl Place {
    fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let spec = PostgresSpec::new("plain")
            .role(ROLE, ROLE, "SUPERUSER")
            .database("straight", ROLE)
            .database("through", ROLE);
        let postgres = runtime.block_on(Box::pin(Postgres::start(spec)))?;
        let (port, http) = (free_port()?, free_port()?);
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("ringway.toml");
        fs::write(&config, configuration(port, http, postgres.port()))?;
        let log = folder.path().join("ringway.log");
        let file = File::create(&log)?;
        let ringway = Command::new(tests::ringway()?)
            .args(["serve", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()?;
        let place = Self {
            _runtime: runtime,
            postgres,
            ringway,
            port,
            log,
            _folder: folder,
        };
        eventually("Ringway is ready", || {
            Ok(fs::read_to_string(&place.log)?.contains("ready "))
        })?;
        Ok(place)
    }

    /// A session on PostgreSQL itself.
    pub(crate) fn straight(&self) -> Result<Session> {
        Session::connect(&target(self.postgres.port(), "straight"))
    }

    /// A session through Ringway.
    pub(crate) fn through(&self) -> Result<Session> {
        let log = || fs::read_to_string(&self.log).unwrap_or_default();
        Session::connect(&target(self.port, "through")).with_context(log)
    }

    /// A session on the database behind Ringway, past it.
    pub(crate) fn behind(&self) -> Result<Session> {
        Session::connect(&target(self.postgres.port(), "through"))
    }

    /// How many clients wait for a server connection.
    pub(crate) fn waiting(&self) -> Result<usize> {
        let mut admin = Session::connect(&target(self.port, "ringway"))?;
        let replies = admin.simple("SHOW POOLS", None)?;
        let column = replies.iter().find_map(|reply| match reply {
            Reply::Columns(columns) => columns.iter().position(|column| column.name == "cl_waiting"),
            _ => None,
        });
        let column = column.context("no column cl_waiting")?;
        let values = replies.iter().filter_map(|reply| match reply {
            Reply::Row(values) => values.get(column).cloned().flatten(),
            _ => None,
        });
        let numbers = values.map(|value| anyhow::Ok(String::from_utf8(value)?.parse::<usize>()?));
        numbers.sum()
    }

    /// The most memory that Ringway has used so far, in bytes.
    pub(crate) fn peak_memory(&self) -> Result<usize> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.ringway.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        Ok(kilobytes.context("no VmHWM")?.trim().parse::<usize>()? * 1024)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.ringway.id()).ok().and_then(Pid::from_raw) {
            // One that has ended by itself needs no telling.
            let _ = kill_process(pid, Signal::TERM);
        }
        let ended = eventually("Ringway ends", || Ok(self.ringway.try_wait()?.is_some()));
        if ended.is_err() {
            let _ = self.ringway.kill();
            let _ = self.ringway.wait();
        }
    }
}

fn target(port: u16, database: &str) -> Target {
    Target {
        port,
        user: ROLE.to_owned(),
        password: ROLE.to_owned(),
        database: database.to_owned(),
    }
}

fn configuration(port: u16, http: u16, server: u16) -> String {
    format!(
        "region = \"here\"\n[listen]\nport = {port}\nhttp_port = {http}\n\
         [auth]\nadmin_users = [\"{ROLE}\"]\n[pool]\ndefault_pool_size = {CONNECTIONS}\n[limits]\ndrain_timeout = \"2s\"\n\
         [control_user]\nname = \"{ROLE}\"\npassword = \"{ROLE}\"\n[[user]]\nname = \"{ROLE}\"\npassword = \"{ROLE}\"\n\
         [[database]]\nname = \"through\"\ndefault_shard = \"only\"\n[[shard]]\nname = \"only\"\n\
         [[shard.endpoint]]\nregion = \"here\"\nhost = \"127.0.0.1\"\nport = {server}\n"
    )
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Waits until `condition` holds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !condition()? {
        if began.elapsed() > SOON {
            bail!("not in time: {what}");
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}
