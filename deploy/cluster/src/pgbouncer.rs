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

/// What kind of PgBouncer is wanted.
#[derive(Clone, Debug)]
pub struct PgBouncerSpec<'a> {
    /// Who may log in, to the admin database as well.
    pub role: &'a str,
    /// Who else may log in.
    pub roles: &'a [&'a str],
    /// The database that is asked to find out whether it runs.
    pub database: &'a str,
    /// Another program that becomes PgBouncer, such as a profiler.
    pub program: Option<&'a Path>,
    /// Lines for section `[databases]`: `name = key=value ...`, with the server's address left out.
    pub databases: &'a [String],
    /// Lines for section `[databases]` of databases on other servers.
    pub elsewhere: &'a [String],
    /// Lines for section `[pgbouncer]`, which count more than what is there anyhow.
    pub settings: &'a [String],
    /// Lines for section `[users]`.
    pub users: &'a [String],
}

impl<'a> PgBouncerSpec<'a> {
    /// Transaction pooling for one role and all databases.
    pub fn new(role: &'a str, database: &'a str) -> Self {
        Self {
            role,
            roles: &[],
            database,
            program: None,
            databases: &[],
            elsewhere: &[],
            settings: &[],
            users: &[],
        }
    }
}

impl PgBouncer {
    /// Starts a PgBouncer on a free port, which serves one role and one database of `server` with
    /// `pool_size` server connections.
    pub async fn start(server: &Postgres, role: &str, database: &str, pool_size: u16) -> Result<Self, Error> {
        let settings = [format!("default_pool_size = {pool_size}")];
        let spec = PgBouncerSpec {
            settings: &settings,
            ..PgBouncerSpec::new(role, database)
        };
        Self::start_with(server, spec).await
    }

    /// Starts a PgBouncer of this kind on a free port before `server`.
    pub async fn start_with(server: &Postgres, spec: PgBouncerSpec<'_>) -> Result<Self, Error> {
        let password_of = |role: &str| {
            let unknown = || Error::Usage(format!("{} does not know the password of {role}", server.name()));
            server.password_of(role).ok_or_else(unknown).map(str::to_owned)
        };
        let password = password_of(spec.role)?;
        let mut secrets = String::new();
        for role in std::iter::once(&spec.role).chain(spec.roles) {
            secrets += &format!("\"{role}\" \"{}\"\n", password_of(role)?);
        }
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
            (&config, config_file(server.port(), port.port(), &users, &spec)),
            (&users, secrets),
        ];
        for (path, text) in files {
            run::write_private(path, &text)?;
            hand_over(path, user)?;
        }
        let arguments = vec![config.display().to_string()];
        let launch = Launch {
            program: spec
                .program
                .map_or_else(Programs::pgbouncer, |program| Ok(program.to_owned()))?,
            arguments,
            environment: Vec::new(),
            user,
        };
        let daemon = Daemon::new("pgbouncer", Kind::PgBouncer, folder, launch);
        let pooler = Self {
            daemon,
            port,
            role: spec.role.to_owned(),
            password,
            database: spec.database.to_owned(),
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
fn config_file(server_port: u16, port: u16, users: &Path, spec: &PgBouncerSpec<'_>) -> String {
    let address = format!("host=127.0.0.1 port={server_port}");
    let databases: String = spec
        .databases
        .iter()
        .map(|line| format!("{line} {address}\n"))
        .chain(spec.elsewhere.iter().map(|line| format!("{line}\n")))
        .collect();
    format!(
        "[databases]
{databases}* = {address}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {file}
admin_users = {role}
pool_mode = transaction
max_client_conn = 20000
ignore_startup_parameters = extra_float_digits
log_connections = 0
log_disconnections = 0
{settings}

[users]
{users}
",
        file = users.display(),
        role = spec.role,
        settings = spec.settings.join("\n"),
        users = spec.users.join("\n"),
    )
}
