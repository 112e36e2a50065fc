//! Where the machine keeps the servers' programs, and the user that PostgreSQL runs as.

use std::env;
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::geteuid;

use crate::Error;
use crate::launch::last_lines;

/// Folder with PostgreSQL's programs, if not Debian's.
const PG_BIN: &str = "RINGWAY_PG_BIN";
/// Folder with Kafka's jars, if not the one that `deploy/install.sh` fills.
const KAFKA_LIBS: &str = "RINGWAY_KAFKA_LIBS";
/// Debian's folders, best first: the version that the design's facts were read from leads.
const DEBIAN_PG: [&str; 4] = [
    "/usr/lib/postgresql/15/bin",
    "/usr/lib/postgresql/16/bin",
    "/usr/lib/postgresql/17/bin",
    "/usr/lib/postgresql/18/bin",
];
/// The MongoDB-protocol server, if not the one that `deploy/install.sh` builds.
const MONGODB: &str = "RINGWAY_MONGODB_SERVER";
/// The version in the cache folder's name; `deploy/install.sh` has the same.
const MONGODB_VERSION: &str = "1.24.0";
/// Kafka's version in the cache folder's name; `deploy/install.sh` has the same.
const KAFKA_VERSION: &str = "4.1.0";

/// Finds programs; nothing is found before it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Programs;

impl Programs {
    /// The folder that holds `initdb`, `postgres` and `pg_basebackup`.
    pub fn postgres() -> Result<PathBuf, Error> {
        let chosen = env::var_os(PG_BIN).map(PathBuf::from);
        let candidates = chosen.into_iter().chain(DEBIAN_PG.map(PathBuf::from));
        candidates
            .chain(path_folders())
            .find(|folder| folder.join("initdb").is_file())
            .ok_or_else(|| Error::ProgramMissing {
                program: "PostgreSQL (initdb)",
                looked_in: format!("{PG_BIN}, /usr/lib/postgresql/*/bin, PATH"),
            })
    }

    /// `redis-server`.
    pub fn redis() -> Result<PathBuf, Error> {
        on_path("redis-server")
    }

    /// `pgbouncer`, which Debian keeps where only root looks.
    pub fn pgbouncer() -> Result<PathBuf, Error> {
        let debian = PathBuf::from("/usr/sbin/pgbouncer");
        if debian.is_file() {
            Ok(debian)
        } else {
            on_path("pgbouncer")
        }
    }

    /// `java`.
    pub fn java() -> Result<PathBuf, Error> {
        on_path("java")
    }

    /// The folder with Kafka's jars.
    pub fn kafka_libs() -> Result<PathBuf, Error> {
        let cache = cache().map(|cache| cache.join(format!("kafka-{KAFKA_VERSION}")));
        let candidates = [env::var_os(KAFKA_LIBS).map(PathBuf::from), cache];
        let found = candidates
            .iter()
            .flatten()
            .find(|folder| has_kafka(folder))
            .cloned();
        found.ok_or_else(|| Error::ProgramMissing {
            program: "Apache Kafka's jars",
            looked_in: format!("{KAFKA_LIBS}, ~/.cache/ringway/kafka-{KAFKA_VERSION}"),
        })
    }

    /// The server of MongoDB's protocol.
    pub fn mongodb() -> Result<PathBuf, Error> {
        let built = cache().map(|cache| cache.join(format!("mongodb-{MONGODB_VERSION}/mongodb")));
        let candidates = [env::var_os(MONGODB).map(PathBuf::from), built];
        let found = candidates.into_iter().flatten().find(|file| file.is_file());
        found.ok_or_else(|| Error::ProgramMissing {
            program: "the MongoDB-protocol server (built where Go 1.22 is there)",
            looked_in: format!("{MONGODB}, ~/.cache/ringway/mongodb-{MONGODB_VERSION}"),
        })
    }
}

/// The folder that `deploy/install.sh` fills.
fn cache() -> Option<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    cache.or_else(home).map(|cache| cache.join("ringway"))
}

/// Whether a folder has the broker's own jar.
fn has_kafka(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with("kafka_2.13-"))
    })
}

fn path_folders() -> Vec<PathBuf> {
    env::var_os("PATH")
        .map(|path| env::split_paths(&path).collect())
        .unwrap_or_default()
}

fn on_path(program: &'static str) -> Result<PathBuf, Error> {
    path_folders()
        .into_iter()
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
        .ok_or(Error::ProgramMissing {
            program,
            looked_in: "PATH".to_owned(),
        })
}

/// A user of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    /// The user that PostgreSQL must run as: none (the caller) unless the caller is root.
    pub(crate) fn for_postgres() -> Result<Option<Self>, Error> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        let missing = || Error::ProgramMissing {
            program: "the user postgres (PostgreSQL refuses to run as root)",
            looked_in: "getent passwd".to_owned(),
        };
        let output = Command::new("getent")
            .args(["passwd", "postgres"])
            .output()
            .map_err(|_| missing())?;
        let line = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut fields = line.split(':').skip(2).map(|field| field.parse::<u32>());
        match (fields.next(), fields.next()) {
            (Some(Ok(uid)), Some(Ok(gid))) => Ok(Some(Self { uid, gid })),
            _ => Err(missing()),
        }
    }
}

/// Hands a file or folder to the user that a server runs as.
pub(crate) fn hand_over(path: &Path, user: Option<User>) -> Result<(), Error> {
    match user {
        Some(user) => chown(path, Some(user.uid), Some(user.gid)).map_err(Error::file(path)),
        None => Ok(()),
    }
}

/// Runs a helper program to its end; its last lines are in the error if it fails.
pub(crate) async fn run_helper(program: &'static str, server: &str, command: Command) -> Result<(), Error> {
    output_of(program, server, command).await.map(drop)
}

/// As [`run_helper`]; gives what the program wrote to its standard output.
pub(crate) async fn output_of(
    program: &'static str,
    server: &str,
    command: Command,
) -> Result<String, Error> {
    /// Enough for the helper's own message.
    const LINES: usize = 15;
    let failed = |output: String| Error::Preparation {
        program,
        server: server.to_owned(),
        output,
    };
    let mut command = tokio::process::Command::from(command);
    // A test that gives up must not leave the helper writing into a folder that is being removed.
    command.kill_on_drop(true).current_dir("/");
    let output = command
        .output()
        .await
        .map_err(|error| failed(error.to_string()))?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Err(failed(last_lines(&text, LINES)))
}
