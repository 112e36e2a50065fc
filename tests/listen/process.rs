//! Processes of Ringway that share one configuration, as an operator would start them one after the other.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cluster::{Backing, CONTROL_ROLE, Cluster, ClusterSpec, Region, SHOP, shop};
use rustix::process::{Pid, Signal, kill_process};
use tests::{Shared, Target};
use tokio::runtime::{Handle, Runtime};
use tokio_postgres::{Client, Config, NoTls};

/// For a condition that a process brings about by itself.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// Between two looks at a condition.
const POLL: Duration = Duration::from_millis(20);
/// Clients that may connect.
const MAX_CLIENTS: usize = 5000;
/// What creates Ringway's objects on a shard.
const INSTALL_SQL: &str = include_str!("../../replication/changes/sql/install.sql");

/// One shard, which the tests share. Dropping it ends its servers.
struct Shard {
    cluster: Cluster,
    runtime: Runtime,
}

static SHARD: Shared<Shard> = Shared::new();

/// The configuration for Ringways one after the other.
pub(crate) struct Place {
    pub(crate) runtime: Handle,
    pub(crate) port: u16,
    shard: Arc<Shard>,
    folder: tempfile::TempDir,
    executable: &'static Path,
}

impl Shard {
    fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let cluster = runtime.block_on(async {
            let spec = ClusterSpec::new(1, Backing::Embedded, INSTALL_SQL)?;
            anyhow::Ok(Box::pin(Cluster::start(spec)).await?)
        })?;
        Ok(Self { cluster, runtime })
    }

    fn shared() -> Result<Arc<Self>> {
        SHARD.get(Self::start)
    }
}

/// A running Ringway. Dropping it ends it.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Result<Self> {
        Self::with_limits("")
    }

    /// With these lines in section `limits`.
    pub(crate) fn with_limits(limits: &str) -> Result<Self> {
        let shard = Shard::shared()?;
        let place = Self {
            runtime: shard.runtime.handle().clone(),
            port: free_port()?,
            shard,
            folder: tempfile::tempdir()?,
            executable: tests::ringway()?,
        };
        place.configure(limits)?;
        Ok(place)
    }

    fn configure(&self, limits: &str) -> Result<()> {
        let lines = self.shard.cluster.config(Region::UsEast);
        let (mut text, sockets) = (String::new(), self.sockets());
        for line in lines.lines() {
            match line.split_once(" = ").map(|(key, _)| key) {
                // The port of the server that is probed is given elsewhere in the same words.
                Some("port") if !text.contains("[[shard.endpoint]]") => {
                    text += &format!(
                        "port = {}\nunix_socket_dir = \"{}\"\n",
                        self.port,
                        sockets.display()
                    );
                }
                Some("http_port") => text += &format!("http_port = {}\n", free_port()?),
                Some("proxy_id") => {
                    text += &format!("proxy_id = \"proxy-{}\"\nworker_threads = 2\n", self.port);
                }
                _ => text = text + line + "\n",
            }
        }
        text += &format!("\n[limits]\nmax_client_conn = {MAX_CLIENTS}\n{limits}");
        fs::create_dir(&sockets)?;
        Ok(fs::write(self.folder.path().join("ringway.toml"), text)?)
    }

    /// Where the unix socket lies.
    pub(crate) fn sockets(&self) -> PathBuf {
        self.folder.path().join("sockets")
    }

    /// The unix socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.sockets().join(format!(".s.PGSQL.{}", self.port))
    }

    /// Starts a process without waiting for anything.
    pub(crate) fn spawn(&self, name: &str, options: &[&str]) -> Result<Process> {
        let log = self.folder.path().join(name);
        let file = File::create(&log)?;
        let child = Command::new(self.executable)
            .args(["serve", "--config"])
            .arg(self.folder.path().join("ringway.toml"))
            .args(options)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()?;
        Ok(Process { child, log })
    }

    /// Starts a process and waits until it serves clients.
    pub(crate) fn start(&self, name: &str, options: &[&str]) -> Result<Process> {
        let mut process = self.spawn(name, options)?;
        process.wait_for("ready ")?;
        Ok(process)
    }

    /// A login by TCP.
    pub(crate) fn target(&self) -> Target {
        Target {
            port: self.port,
            user: SHOP.to_owned(),
            password: self.shard.cluster.secrets().shop.clone(),
            database: SHOP.to_owned(),
        }
    }

    /// A login to the server itself, past Ringway.
    pub(crate) fn straight(&self) -> Target {
        let shards = self.shard.cluster.shards();
        Target {
            port: shards.first().map_or(0, |shard| shard.primary.port()),
            ..self.target()
        }
    }

    /// Creates and fills the shop's tables on the server.
    pub(crate) fn load_shop(&self) -> Result<()> {
        let shard = self.shard.cluster.shards().first().context("no shard")?;
        self.runtime.block_on(async {
            let client = shard.primary.connect(SHOP, SHOP).await?;
            Ok(Box::pin(shop::load(&client, shop::SEED, shop::Scale::SMALL)).await?)
        })
    }

    /// A file of this place's folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A login to the admin database.
    pub(crate) fn admin(&self) -> Target {
        Target {
            user: CONTROL_ROLE.to_owned(),
            password: self.shard.cluster.secrets().control.clone(),
            database: "ringway".to_owned(),
            ..self.target()
        }
    }

    /// A login by TCP, or by the unix socket.
    pub(crate) fn login(&self, unix: bool) -> Config {
        let target = self.target();
        let mut config = Config::new();
        config
            .port(target.port)
            .user(target.user)
            .password(target.password)
            .dbname(target.database)
            .connect_timeout(SOON);
        if unix {
            config.host_path(self.sockets());
        } else {
            config.host("127.0.0.1");
        }
        config
    }

    pub(crate) fn connect(&self, unix: bool) -> Result<Client> {
        self.runtime.block_on(connect(&self.login(unix)))
    }
}

/// Connects; the connection runs on a task of its own and ends with the client.
pub(crate) async fn connect(login: &Config) -> Result<Client> {
    let (client, connection) = login.connect(NoTls).await?;
    // Its error is the client's error too.
    tokio::spawn(connection);
    Ok(client)
}

impl Process {
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until the log holds these words.
    pub(crate) fn wait_for(&mut self, words: &str) -> Result<()> {
        let deadline = Instant::now() + SOON;
        while !self.log().contains(words) {
            if self.child.try_wait()?.is_some() || Instant::now() > deadline {
                bail!("no `{words}` in the log:\n{}", self.log());
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Waits until the process has ended by itself.
    pub(crate) fn wait_for_end(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("it goes on:\n{}", self.log());
            }
            std::thread::sleep(POLL);
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Tells the process to end in good order.
    pub(crate) fn terminate(&self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("no process")?, Signal::TERM)?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
