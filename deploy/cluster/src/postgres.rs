//! PostgreSQL: a primary, and standbys that stream from it.

mod spec;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tokio_postgres::{Client, Config, NoTls};

use crate::launch::{Daemon, Folder, Kind, Launch, POLL_INTERVAL};
use crate::programs::{User, hand_over, run_helper};
use crate::{Error, OnDrop, Placement, PortLock, Programs, reserve_port, run};

pub use spec::{PostgresSpec, Role};

/// From the start of the process until it answers; recovery after a crash included.
const START_BOUND: Duration = Duration::from_secs(60);
/// For one attempt to connect.
const CONNECT_BOUND: Duration = Duration::from_secs(5);
/// For a standby to replay what its primary has written.
const REPLAY_BOUND: Duration = Duration::from_secs(60);
/// For a standby to become a primary.
const PROMOTE_BOUND_S: i32 = 60;

/// How a server is stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StopMode {
    /// In order: clients are cut off, data is written (PostgreSQL's fast shutdown).
    Fast,
    /// As in a crash: nothing is written, the next start recovers (PostgreSQL's immediate shutdown).
    Immediate,
}

/// A running (or stopped) PostgreSQL server. Dropping it ends it at once and removes a temporary
/// folder.
#[derive(Debug)]
pub struct Postgres {
    spec: PostgresSpec,
    daemon: Daemon,
    kind: Kind,
    port: PortLock,
    user: Option<User>,
}

impl Postgres {
    /// Makes a new database cluster, starts it, and creates the roles and databases.
    ///
    /// Every cluster has a system identifier of its own. The folder must not hold one already.
    pub async fn start(spec: PostgresSpec) -> Result<Self, Error> {
        let server = Self::lay_out(spec, Kind::Primary)?;
        server.initdb().await?;
        server.write_config(None)?;
        server.start_again().await?;
        let client = server.connect(PostgresSpec::SUPERUSER, "postgres").await?;
        for statement in server.spec.bootstrap_sql() {
            // Only the first words: the rest holds a password.
            let doing = statement.split(' ').take(3).collect::<Vec<_>>().join(" ");
            client
                .batch_execute(&statement)
                .await
                .map_err(Error::sql(server.name(), doing))?;
        }
        Ok(server)
    }

    /// Starts a streaming standby of this server in a temporary folder, on a free port.
    ///
    /// `name` becomes its `application_name` (for `synchronous_standby_names`) and, with other
    /// characters than letters and digits replaced by `_`, the name of its replication slot.
    pub async fn standby(&self, name: &str) -> Result<Self, Error> {
        self.standby_as(name, name, None, Placement::Temporary).await
    }

    /// As [`Postgres::standby`], with a name of its own for the server, this port and this folder.
    pub async fn standby_as(
        &self,
        name: &str,
        application_name: &str,
        port: Option<u16>,
        placement: Placement,
    ) -> Result<Self, Error> {
        let spec = PostgresSpec {
            name: name.to_owned(),
            port,
            placement,
            ..self.spec.clone()
        };
        let standby = Self::lay_out(spec, Kind::Standby)?;
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        };
        let slot: String = application_name.chars().map(plain).collect();
        standby.base_backup(self.port(), &slot).await?;
        standby.write_config(Some((&self.upstream(application_name), &slot)))?;
        let signal = standby.data().join("standby.signal");
        fs::write(&signal, "").map_err(Error::file(&signal))?;
        hand_over(&signal, standby.user)?;
        standby.start_again().await?;
        Ok(standby)
    }

    /// Makes the folder and the handle; nothing is started.
    fn lay_out(mut spec: PostgresSpec, kind: Kind) -> Result<Self, Error> {
        let port = match spec.port {
            Some(port) => PortLock::fixed(port),
            None => reserve_port()?,
        };
        let user = User::for_postgres()?;
        // The folder knows its own placement; a standby made from this one chooses anew.
        let folder = Folder::create(std::mem::take(&mut spec.placement), &spec.name)?;
        hand_over(folder.path(), user)?;
        let launch = Launch {
            program: Programs::postgres()?.join("postgres"),
            arguments: vec!["-D".to_owned(), folder.path().join(DATA).display().to_string()],
            environment: vec![("LC_ALL", "C.UTF-8".to_owned())],
            user,
        };
        Ok(Self {
            daemon: Daemon::new(&spec.name, kind, folder, launch),
            spec,
            kind,
            port,
            user,
        })
    }

    async fn initdb(&self) -> Result<(), Error> {
        let password = self.daemon.folder().join("password");
        run::write_private(&password, &self.spec.superuser_password)?;
        hand_over(&password, self.user)?;
        let mut command = self.helper("initdb")?;
        command
            .args([
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--auth=scram-sha-256",
            ])
            .args(["--username", PostgresSpec::SUPERUSER])
            .arg("--pwfile")
            .arg(&password)
            .arg("-D")
            .arg(self.data());
        let made = run_helper("initdb", self.name(), command).await;
        fs::remove_file(&password).map_err(Error::file(&password))?;
        made
    }

    async fn base_backup(&self, primary_port: u16, slot: &str) -> Result<(), Error> {
        let mut command = self.helper("pg_basebackup")?;
        command
            .args([
                "--host=127.0.0.1",
                "--no-password",
                "--no-sync",
                "--checkpoint=fast",
            ])
            .args(["--wal-method=stream", "--create-slot", "--slot", slot])
            .args(["--username", PostgresSpec::REPLICATOR])
            .arg(format!("--port={primary_port}"))
            .arg("--pgdata")
            .arg(self.data())
            .env("PGPASSWORD", &self.spec.replication_password);
        run_helper("pg_basebackup", self.name(), command).await
    }

    /// One of PostgreSQL's programs, as the user that PostgreSQL runs as.
    fn helper(&self, program: &str) -> Result<Command, Error> {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(Programs::postgres()?.join(program));
        command.env("LC_ALL", "C.UTF-8");
        if let Some(user) = self.user {
            command.uid(user.uid).gid(user.gid);
        }
        Ok(command)
    }

    fn write_config(&self, upstream: Option<(&str, &str)>) -> Result<(), Error> {
        let config = self.spec.config_file(self.port(), self.daemon.folder(), upstream);
        for (name, text) in [
            ("postgresql.conf", config.as_str()),
            ("pg_hba.conf", self.spec.hba.as_deref().unwrap_or(spec::HBA_FILE)),
        ] {
            let path = self.data().join(name);
            run::write_private(&path, text)?;
            hand_over(&path, self.user)?;
        }
        Ok(())
    }

    /// The connection string that a standby of this server streams by.
    fn upstream(&self, application_name: &str) -> String {
        format!(
            "host=127.0.0.1 port={} user={} password='{}' application_name='{application_name}'",
            self.port(),
            PostgresSpec::REPLICATOR,
            self.spec.replication_password,
        )
    }

    /// Starts the server after [`Postgres::stop`], with the same port and data.
    pub async fn start_again(&self) -> Result<(), Error> {
        self.daemon.spawn()?;
        let answers = || async { self.connect(PostgresSpec::SUPERUSER, "postgres").await.is_ok() };
        self.daemon.wait_ready(START_BOUND, answers).await
    }

    /// Stops the server and waits until it has ended.
    pub async fn stop(&self, mode: StopMode) -> Result<(), Error> {
        self.daemon.stop(self.kind.recipe(mode.manner())).await
    }

    /// Adds settings (which win over earlier ones) and has the server reread its configuration.
    /// Settings that need a restart take effect at the next start.
    pub async fn configure(&self, settings: &[(&str, &str)]) -> Result<(), Error> {
        let client = self.connect(PostgresSpec::SUPERUSER, "postgres").await?;
        for (key, value) in settings {
            let statement = format!(
                "ALTER SYSTEM SET {} = {}",
                spec::quote_name(key),
                spec::quote_text(value)
            );
            client
                .batch_execute(&statement)
                .await
                .map_err(Error::sql(self.name(), statement))?;
        }
        let reload = "SELECT pg_reload_conf()";
        client
            .batch_execute(reload)
            .await
            .map_err(Error::sql(self.name(), reload))
    }

    /// Makes this standby a primary and waits until it is one.
    pub async fn promote(&self) -> Result<(), Error> {
        let client = self.connect(PostgresSpec::SUPERUSER, "postgres").await?;
        let promote = "SELECT pg_promote(true, $1)";
        let row = client
            .query_one(promote, &[&PROMOTE_BOUND_S])
            .await
            .map_err(Error::sql(self.name(), promote))?;
        if row.get::<_, bool>(0) {
            Ok(())
        } else {
            Err(self.daemon.trouble("did not become a primary in time"))
        }
    }

    /// Waits until `standby` has replayed everything that this primary has written so far.
    pub async fn wait_replayed_by(&self, standby: &Self) -> Result<(), Error> {
        let here = self.connect(PostgresSpec::SUPERUSER, "postgres").await?;
        let there = standby.connect(PostgresSpec::SUPERUSER, "postgres").await?;
        let position = "SELECT pg_current_wal_insert_lsn()::text";
        let row = here
            .query_one(position, &[])
            .await
            .map_err(Error::sql(self.name(), position))?;
        let target: String = row.get(0);
        let reached = "SELECT COALESCE(pg_last_wal_replay_lsn() >= ($1::text)::pg_lsn, false)";
        let deadline = Instant::now() + REPLAY_BOUND;
        loop {
            let row = there
                .query_one(reached, &[&target])
                .await
                .map_err(Error::sql(standby.name(), reached))?;
            if row.get(0) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(standby
                    .daemon
                    .trouble(format!("has not replayed {target} in time")));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Connects and lets the connection run on a task of its own, which ends with the client.
    pub async fn connect(&self, role: &str, database: &str) -> Result<Client, Error> {
        let mut config = Config::new();
        config
            .host("127.0.0.1")
            .port(self.port())
            .user(role)
            .dbname(database);
        config.connect_timeout(CONNECT_BOUND);
        if let Some(password) = self.spec.password_of(role) {
            config.password(password);
        }
        let doing = format!("connecting as {role} to {database}");
        let (client, connection) = config
            .connect(NoTls)
            .await
            .map_err(Error::sql(self.name(), doing))?;
        // Its error is the client's error too: every call on the client fails with it.
        tokio::spawn(connection);
        Ok(client)
    }

    /// `postgres://ROLE:PASSWORD@127.0.0.1:PORT/DATABASE`, with the password if this handle knows it.
    pub fn url(&self, role: &str, database: &str) -> String {
        let password = self
            .spec
            .password_of(role)
            .map(|password| format!(":{password}"))
            .unwrap_or_default();
        format!("postgres://{role}{password}@127.0.0.1:{}/{database}", self.port())
    }

    /// The password of a role, if this handle knows it.
    pub fn password_of(&self, role: &str) -> Option<&str> {
        self.spec.password_of(role)
    }

    /// The name from the specification.
    pub fn name(&self) -> &str {
        self.daemon.name()
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.port()
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.daemon.folder().join(DATA)
    }

    /// The folder of the server's unix socket (mode 711, owned by the user it runs as).
    pub fn socket_folder(&self) -> &Path {
        self.daemon.folder()
    }

    /// The postmaster's process id while it runs.
    pub fn pid(&self) -> Option<i32> {
        self.daemon.pid()
    }

    /// The last lines of the server's log.
    pub fn log_tail(&self, lines: usize) -> String {
        self.daemon.log_tail(lines)
    }

    /// Chooses what happens when this handle is dropped.
    pub fn set_on_drop(&mut self, on_drop: OnDrop) {
        self.daemon.set_on_drop(on_drop);
    }
}

/// The data directory's name in the server's folder.
const DATA: &str = "data";
