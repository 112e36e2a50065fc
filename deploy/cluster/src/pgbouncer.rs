//! PgBouncer, to be measured beside Ringway: transaction pooling in front of one PostgreSQL server.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use tokio_postgres::{Config, NoTls};

use crate::launch::{Daemon, Folder, Kind, Launch};
use crate::programs::{User, hand_over};
use crate::{Error, Placement, PortLock, Postgres, Programs, StopMode, reserve_port, run};

/// From the start of the process until it answers.
const START_BOUND: Duration = Duration::from_secs(30);
/// For one attempt to connect.
const CONNECT_BOUND: Duration = Duration::from_secs(5);

/// A running (or stopped) PgBouncer. Dropping it ends the process and removes its folder.
pub struct PgBouncer {
    daemon: Daemon,
    port: PortLock,
    role: String,
    password: String,
    database: String,
}

impl PgBouncer {
    /// Starts a PgBouncer on a free port, which serves one role and one database of `server` with
    /// `pool_size` server connections.
    pub async fn start(server: &Postgres, role: &str, database: &str, pool_size: u16) -> Result<Self, Error> {
        Self::start_as(None, server, role, database, pool_size).await
    }

    /// The same by another program that becomes PgBouncer, such as a profiler.
    pub async fn start_as(
        program: Option<&Path>,
        server: &Postgres,
        role: &str,
        database: &str,
        pool_size: u16,
    ) -> Result<Self, Error> {
        let unknown = || Error::Usage(format!("{} does not know the password of {role}", server.name()));
        let password = server.password_of(role).ok_or_else(unknown)?.to_owned();
        let port = reserve_port()?;
        let folder = Folder::create(Placement::Temporary, "pgbouncer")?;
        // It refuses to run as root, like PostgreSQL.
        let user = User::for_postgres()?;
        hand_over(folder.path(), user)?;
        let (config, users) = (
            folder.path().join("pgbouncer.ini"),
            folder.path().join("users.txt"),
        );
        let files = [
            (
                &config,
                config_file(server.port(), port.port(), role, &users, pool_size),
            ),
            (&users, format!("\"{role}\" \"{password}\"\n")),
        ];
        for (path, text) in files {
            run::write_private(path, &text)?;
            hand_over(path, user)?;
        }
        let arguments = vec![config.display().to_string()];
        let launch = Launch {
            program: program.map_or_else(Programs::pgbouncer, |program| Ok(program.to_owned()))?,
            arguments,
            environment: Vec::new(),
            user,
        };
        let daemon = Daemon::new("pgbouncer", Kind::PgBouncer, folder, launch);
        let pooler = Self {
            daemon,
            port,
            role: role.to_owned(),
            password,
            database: database.to_owned(),
        };
        pooler.daemon.spawn()?;
        pooler.daemon.wait_ready(START_BOUND, || pooler.answers()).await?;
        Ok(pooler)
    }

    async fn answers(&self) -> bool {
        let mut config = Config::new();
        config
            .host("127.0.0.1")
            .port(self.port())
            .user(&self.role)
            .dbname(&self.database);
        config.password(&self.password).connect_timeout(CONNECT_BOUND);
        config.connect(NoTls).await.is_ok()
    }

    /// Ends the process.
    pub async fn stop(&self, mode: StopMode) -> Result<(), Error> {
        self.daemon.stop(Kind::PgBouncer.recipe(mode.manner())).await
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.port()
    }

    /// The process id while it runs, to ask the kernel for its CPU time.
    pub fn pid(&self) -> Option<i32> {
        self.daemon.pid()
    }

    /// `postgres://ROLE:PASSWORD@127.0.0.1:PORT/DATABASE`.
    pub fn url(&self) -> String {
        let Self {
            role,
            password,
            database,
            ..
        } = self;
        format!(
            "postgres://{role}:{password}@127.0.0.1:{}/{database}",
            self.port()
        )
    }

    /// The last lines of the log.
    pub fn log_tail(&self, lines: usize) -> String {
        self.daemon.log_tail(lines)
    }
}

impl fmt::Debug for PgBouncer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the password.
        f.debug_struct("PgBouncer")
            .field("daemon", &self.daemon)
            .finish_non_exhaustive()
    }
}

/// PgBouncer's defaults, but for what a fair measurement needs.
fn config_file(server_port: u16, port: u16, role: &str, users: &Path, pool_size: u16) -> String {
    format!(
        "[databases]
* = host=127.0.0.1 port={server_port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
admin_users = {role}
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 20000
ignore_startup_parameters = extra_float_digits
log_connections = 0
log_disconnections = 0
",
        users = users.display(),
    )
}
