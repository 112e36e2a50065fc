//! One Ringway process, from an executable and a configuration file.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio_postgres::{Client, Config, NoTls};

use rustix::process::Signal;

use crate::launch::{Daemon, Folder, Kind, Launch};
use crate::process::Identity;
use crate::programs::run_helper;
use crate::{Error, OnDrop, Placement, PortLock, StopMode, http, reserve_port, run};

/// From the start of the process until `/readyz` says yes.
const START_BOUND: Duration = Duration::from_secs(60);
/// For one attempt to connect.
const CONNECT_BOUND: Duration = Duration::from_secs(5);
/// The slot map's default name, beside the configuration file.
pub(crate) const SLOT_MAP: &str = "slots.json";

/// A running (or stopped) Ringway. Dropping it ends the process.
pub struct Ringway {
    daemon: Daemon,
    config: PathBuf,
    port: u16,
    http_port: u16,
    /// Roles and their passwords.
    passwords: Vec<(String, String)>,
    /// What only a Ringway outside a cluster keeps for itself.
    own: Option<Own>,
}

/// The configuration's folder and the ports of a Ringway that belongs to no [`Cluster`](crate::Cluster).
struct Own {
    _config_folder: Folder,
    _ports: [PortLock; 2],
}

impl Ringway {
    /// A Ringway that has not been started.
    pub(crate) fn new(
        name: &str,
        executable: &Path,
        config: &Path,
        (port, http_port): (u16, u16),
        passwords: Vec<(String, String)>,
        placement: Placement,
    ) -> Result<Self, Error> {
        let folder = Folder::create(placement, name)?;
        let launch = Launch {
            program: executable.to_owned(),
            arguments: vec![
                "serve".to_owned(),
                "--config".to_owned(),
                config.display().to_string(),
            ],
            environment: Vec::new(),
            user: None,
        };
        let daemon = Daemon::new(name, Kind::Ringway, folder, launch);
        Ok(Self {
            daemon,
            config: config.to_owned(),
            port,
            http_port,
            passwords,
            own: None,
        })
    }

    /// Starts a Ringway that belongs to no cluster, on free ports in a temporary folder, and waits until it is ready.
    ///
    /// `config` makes the configuration from the port for clients and the port for HTTP.
    pub async fn start_alone(
        name: &str,
        executable: &Path,
        config: impl FnOnce(u16, u16) -> String,
    ) -> Result<Self, Error> {
        let ports = [reserve_port()?, reserve_port()?];
        let [port, http_port] = ports.each_ref().map(PortLock::port);
        let config_folder = Folder::create(Placement::Temporary, &format!("{name}-config"))?;
        let file = config_folder.path().join("ringway.toml");
        run::write_private(&file, &config(port, http_port))?;
        let both = (port, http_port);
        let mut server = Self::new(name, executable, &file, both, Vec::new(), Placement::Temporary)?;
        server.own = Some(Own {
            _config_folder: config_folder,
            _ports: ports,
        });
        server.start_again().await?;
        Ok(server)
    }

    /// Starts the process and waits until it is ready. Makes the slot map if there is none.
    pub async fn start_again(&self) -> Result<(), Error> {
        self.make_slot_map().await?;
        self.daemon.spawn()?;
        let ready = || http::is_ready(self.http_port);
        self.daemon.wait_ready(START_BOUND, ready).await
    }

    /// Runs `ringway topology init` unless the map is there: the Ringways of a cluster share it.
    async fn make_slot_map(&self) -> Result<(), Error> {
        let map = self.config.with_file_name(SLOT_MAP);
        if map.exists() {
            return Ok(());
        }
        let mut init = Command::new(self.daemon.program());
        init.args(["topology", "init", "--config"]).arg(&self.config);
        match run_helper("ringway topology init", self.daemon.name(), init).await {
            // Another Ringway of the cluster was faster; the command replaces no file.
            Err(_) if map.exists() => Ok(()),
            made => made,
        }
    }

    /// Ends the process: with SIGTERM (it drains), or abruptly with SIGKILL.
    pub async fn stop(&self, mode: StopMode) -> Result<(), Error> {
        self.daemon.stop(Kind::Ringway.recipe(mode.manner())).await
    }

    /// Tells the process to read its configuration again (SIGHUP).
    pub fn reload(&self) {
        let running = self.pid().and_then(|pid| Identity::of(pid.unsigned_abs()));
        if let Some(process) = running {
            process.signal(Signal::HUP);
        }
    }

    /// Asks over HTTP; gives the status and the body.
    pub async fn get(&self, path: &str) -> Result<(u16, String), Error> {
        let answer = http::get(self.http_port, path).await;
        answer.map_err(|error| self.daemon.trouble(format!("GET {path}: {error}")))
    }

    /// Connects and lets the connection run on a task of its own, which ends with the client.
    pub async fn connect(&self, role: &str, database: &str) -> Result<Client, Error> {
        let mut config = Config::new();
        config
            .host("127.0.0.1")
            .port(self.port)
            .user(role)
            .dbname(database)
            .connect_timeout(CONNECT_BOUND);
        if let Some(password) = self.password_of(role) {
            config.password(password);
        }
        let doing = format!("connecting as {role} to {database}");
        let (client, connection) = config
            .connect(NoTls)
            .await
            .map_err(Error::sql(self.daemon.name(), doing))?;
        // Its error is the client's error too: every call on the client fails with it.
        tokio::spawn(connection);
        Ok(client)
    }

    fn password_of(&self, role: &str) -> Option<&str> {
        self.passwords
            .iter()
            .find(|(known, _)| known == role)
            .map(|(_, password)| password.as_str())
    }

    /// `postgres://ROLE:PASSWORD@127.0.0.1:PORT/DATABASE`.
    pub fn url(&self, role: &str, database: &str) -> String {
        let password = self
            .password_of(role)
            .map(|password| format!(":{password}"))
            .unwrap_or_default();
        format!("postgres://{role}{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// `http://127.0.0.1:PORT`.
    pub fn http_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http_port)
    }

    /// The port for clients of PostgreSQL.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id while it runs.
    pub fn pid(&self) -> Option<i32> {
        self.daemon.pid()
    }

    /// The configuration file, to be changed before [`Ringway::reload`].
    pub fn config_file(&self) -> &Path {
        &self.config
    }

    /// The last lines of the log.
    pub fn log_tail(&self, lines: usize) -> String {
        self.daemon.log_tail(lines)
    }

    /// An error about this Ringway that carries the last lines of its log.
    pub(crate) fn trouble(&self, what: impl Into<String>) -> Error {
        self.daemon.trouble(what)
    }

    /// Chooses what happens when this handle is dropped.
    pub fn set_on_drop(&mut self, on_drop: OnDrop) {
        self.daemon.set_on_drop(on_drop);
    }
}

impl fmt::Debug for Ringway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the passwords.
        f.debug_struct("Ringway")
            .field("daemon", &self.daemon)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}
