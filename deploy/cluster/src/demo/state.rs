//! The demo's state folder: what belongs to it, how it is made and removed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::cluster::config_name;
use crate::demo::ServerStatus;
use crate::launch::{Kind, Manner, POLL_INTERVAL};
use crate::plan::random_word;
use crate::process::Identity;
use crate::programs::User;
use crate::ringway::SLOT_MAP;
use crate::{Error, Region, run};

/// Names the folder that holds the servers. Written before that folder is made.
const POINTER: &str = "servers";
/// The variables for scripts.
const ENV: &str = "env";
/// Held while `up` or `down` works.
const LOCK: &str = "lock";
/// The folder of the servers inside the state folder, where PostgreSQL's user can reach it.
const INSIDE: &str = "data";
/// Else it is made with this prefix.
const OUTSIDE: &str = "/var/tmp/ringway-demo-";
/// For the servers' folder to be removed.
const REMOVE_BOUND: Duration = Duration::from_secs(10);

/// The state folder, locked against another `up` or `down`.
pub(super) struct State {
    folder: PathBuf,
    /// The lock ends with this process at the latest.
    _lock: File,
}

impl State {
    /// Makes the folder if need be, and locks it.
    pub(super) fn open(folder: &Path) -> Result<Self, Error> {
        run::create_folder(folder)?;
        // Absolute: servers are started from another working folder.
        let folder = fs::canonicalize(folder).map_err(Error::file(folder))?;
        let path = folder.join(LOCK);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(Error::file(&path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::Usage(format!(
                "another `ringway demo` is at work in {}",
                folder.display()
            ))),
            Err(TryLockError::Error(error)) => Err(Error::file(path)(error)),
        }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn env_file(&self) -> PathBuf {
        self.folder.join(ENV)
    }

    /// Ends the servers of an earlier run, orderly, and removes everything but the lock.
    pub(super) async fn clean(&self) -> Result<Vec<String>, Error> {
        let mut ended = Vec::new();
        if let Some(servers) = server_folder(&self.folder)? {
            let run = servers.clone();
            let ending = tokio::task::spawn_blocking(move || run::end_servers(&run, Manner::Orderly));
            ended = ending
                .await
                .map_err(|_| Error::Usage("interrupted while ending servers".to_owned()))?;
            remove_folder(&servers).await?;
        }
        let configs = Region::ALL.map(config_name);
        let files = [ENV, SLOT_MAP, POINTER].map(PathBuf::from);
        // The pointer last: until then a killed `down` can be repeated.
        for name in configs.iter().chain(&files) {
            remove_file_if_there(&self.folder.join(name))?;
        }
        Ok(ended)
    }

    /// Removes the lock, and the folder unless the user keeps something there.
    pub(super) fn close(self) -> Result<(), Error> {
        remove_file_if_there(&self.folder.join(LOCK))?;
        // Fails if something else is in it, which is then none of ours.
        let _ = fs::remove_dir(&self.folder);
        Ok(())
    }

    /// Makes the folder of the servers, at a place that PostgreSQL's user can reach.
    pub(super) fn make_server_folder(&self) -> Result<PathBuf, Error> {
        let servers = match User::for_postgres()? {
            Some(user) if !can_enter(user, &self.folder) => {
                PathBuf::from(format!("{OUTSIDE}{}", random_word()))
            }
            _ => self.folder.join(INSIDE),
        };
        run::write_private(&self.folder.join(POINTER), &servers.display().to_string())?;
        run::prepare_run(&servers)?;
        Ok(servers)
    }

    /// Writes the variables so that a shell can source them; only the owner may read them.
    pub(super) fn write_env(&self, variables: &[(String, String)]) -> Result<(), Error> {
        let text: String = variables
            .iter()
            .map(|(name, value)| format!("export {name}='{value}'\n"))
            .collect();
        run::write_private(&self.env_file(), &text)
    }
}

/// The servers that a run of this state folder started.
pub(super) fn servers(state_dir: &Path) -> Vec<ServerStatus> {
    let Some(run) = fs::canonicalize(state_dir)
        .ok()
        .and_then(|folder| server_folder(&folder).ok().flatten())
    else {
        return Vec::new();
    };
    let Ok(entries) = fs::read_dir(&run) else {
        return Vec::new();
    };
    let alive = run::survivors(&run);
    let is_server = |folder: &Path| Kind::ALL.iter().any(|kind| folder.join(kind.record()).exists());
    let mut found: Vec<ServerStatus> = entries
        .flatten()
        .filter(|entry| is_server(&entry.path()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .map(|name| {
            let process = alive
                .iter()
                .find(|server| server.name == name)
                .map(|server| server.identity);
            ServerStatus {
                name,
                pid: process.map(Identity::pid),
            }
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// The folder of the servers that the state folder names, if it names one.
fn server_folder(state: &Path) -> Result<Option<PathBuf>, Error> {
    let Ok(named) = fs::read_to_string(state.join(POINTER)) else {
        return Ok(None);
    };
    let servers = PathBuf::from(named);
    // It will be removed with all that is in it: believe only names that we could have written.
    let outside = servers.parent() == Path::new(OUTSIDE).parent() && named_by_us(&servers);
    if servers == state.join(INSIDE) || outside {
        return Ok(Some(servers));
    }
    // Cut off by a kill before anything was made, or written by somebody else.
    if servers.as_os_str().is_empty() {
        return Ok(None);
    }
    let (file, named) = (state.join(POINTER), servers.display().to_string());
    Err(Error::Usage(format!(
        "{} names {named}, which is no folder of this demo",
        file.display()
    )))
}

fn named_by_us(servers: &Path) -> bool {
    let prefix = Path::new(OUTSIDE).file_name().and_then(|name| name.to_str());
    let name = servers.file_name().and_then(|name| name.to_str());
    matches!((name, prefix), (Some(name), Some(prefix)) if name.starts_with(prefix))
}

fn remove_file_if_there(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file(path)(error)),
        _ => Ok(()),
    }
}

/// Removes the servers' folder. A helper of a killed `up` (initdb, pg_basebackup) may go on writing
/// into it for a moment.
async fn remove_folder(servers: &Path) -> Result<(), Error> {
    let deadline = Instant::now() + REMOVE_BOUND;
    loop {
        match fs::remove_dir_all(servers) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) if Instant::now() >= deadline => return Err(Error::file(servers)(error)),
            Err(_) => tokio::time::sleep(POLL_INTERVAL).await,
        }
    }
}

/// Whether a user can pass through a folder and all above it.
fn can_enter(user: User, folder: &Path) -> bool {
    // The shell asks as that user; permissions, lists and mounts are the kernel's business.
    Command::new("sh")
        .args(["-c", "cd -- \"$1\" 2>/dev/null", "sh"])
        .arg(folder)
        .current_dir("/")
        .uid(user.uid)
        .gid(user.gid)
        .status()
        .is_ok_and(|status| status.success())
}
