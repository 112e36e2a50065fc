//! Folders of a run: where servers live, and how the leftovers of a killed owner are found.
//!
//! Tests keep everything under `/tmp/ringway-tests-UID/`: one folder `PID-START` per test process,
//! in it one folder per server, in it the server's data, log and process record. A folder whose
//! owner no longer runs is swept: its servers are ended and it is removed.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Once, OnceLock};

use rustix::process::geteuid;

use crate::Error;
use crate::launch::{Kind, Manner};
use crate::process::{Identity, end};

/// The machine's boot: process start times of another boot mean nothing.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// In a folder of servers: the boot during which its records were written.
const BOOT_FILE: &str = "boot";

/// The folder of all test runs of this user.
fn tests_root() -> Result<PathBuf, Error> {
    let root = PathBuf::from(format!("/tmp/ringway-tests-{}", geteuid().as_raw()));
    create_folder(&root)?;
    let found = fs::symlink_metadata(&root).map_err(Error::file(&root))?;
    if !found.is_dir() || found.uid() != geteuid().as_raw() {
        return Err(Error::Usage(format!(
            "{} belongs to somebody else",
            root.display()
        )));
    }
    Ok(root)
}

/// A folder that all test processes of this user share.
pub(crate) fn shared_folder(name: &str) -> Result<PathBuf, Error> {
    let folder = tests_root()?.join(name);
    create_folder(&folder)?;
    Ok(folder)
}

/// A fresh folder for one server of this test process. Sweeps, once, what killed runs left.
pub(crate) fn temporary_folder(name: &str) -> Result<PathBuf, Error> {
    static FIRST_USE: Once = Once::new();
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let root = tests_root()?;
    let own = Identity::own().ok_or_else(|| Error::Usage("/proc is not mounted".to_owned()))?;
    let run = root.join(own.name());
    FIRST_USE.call_once(|| {
        sweep_dead_owners(&root);
        start_reaper(&run);
    });
    prepare_run(&run)?;
    let folder = run.join(format!("{}-{name}", COUNT.fetch_add(1, Ordering::Relaxed)));
    create_folder(&folder)?;
    Ok(folder)
}

/// Starts the companion that ends this process's servers as soon as this process is gone, however
/// it ended: destructors don't run for statics, nor after SIGKILL.
fn start_reaper(run: &Path) {
    // The write end of the companion's standard input; the kernel closes it when we end.
    static LIFELINE: OnceLock<Child> = OnceLock::new();
    let reaper = Command::new("setsid")
        .args(["sh", "-c", REAPER, "ringway-reaper"])
        .arg(run)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    // Without it the next run's sweep does the same, only later.
    if let Ok(reaper) = reaper {
        let _ = LIFELINE.set(reaper);
    }
}

/// The companion: `$1` is the run's folder. It believes a record only if the birth time agrees.
const REAPER: &str = include_str!("reaper.sh");

/// Makes a folder that will hold servers, and notes the machine's boot in it.
pub(crate) fn prepare_run(run: &Path) -> Result<(), Error> {
    create_folder(run)?;
    let boot = run.join(BOOT_FILE);
    if !boot.exists() {
        fs::copy(BOOT_ID, &boot).map_err(Error::file(&boot))?;
    }
    Ok(())
}

/// Removes a server's folder, and its run's folder if that was the last.
pub(crate) fn remove_temporary(folder: &Path) {
    // Best effort, in a destructor: the next run sweeps what stays.
    let _ = fs::remove_dir_all(folder);
    if let Some(run) = folder.parent() {
        let last = fs::read_dir(run)
            .is_ok_and(|entries| entries.flatten().all(|entry| entry.file_name() == BOOT_FILE));
        if last {
            let _ = fs::remove_dir_all(run);
        }
    }
}

/// Ends the servers of test processes that no longer run, and removes their folders.
fn sweep_dead_owners(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(owner) = name.to_str().and_then(Identity::from_name) else {
            continue;
        };
        if !owner.alive() {
            end_servers(&entry.path(), Manner::AtOnce);
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// A server that a record names and that still runs.
pub(crate) struct Survivor {
    /// The server's name: that of its folder.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) identity: Identity,
}

/// The servers of a run that are alive, those first that depend on others.
pub(crate) fn survivors(run: &Path) -> Vec<Survivor> {
    let same_boot = fs::read(run.join(BOOT_FILE)).ok() == fs::read(BOOT_ID).ok();
    let Ok(entries) = fs::read_dir(run) else {
        return Vec::new();
    };
    let mut found: Vec<Survivor> = entries
        .flatten()
        .filter(|_| same_boot)
        .flat_map(|entry| Kind::ALL.map(|kind| (entry.path(), kind)))
        .filter_map(|(folder, kind)| {
            let identity = Identity::read(&folder.join(kind.record()))?;
            let name = folder.file_name()?.to_str()?.to_owned();
            identity.alive().then_some(Survivor { name, kind, identity })
        })
        .collect();
    found.sort_by_key(|server| server.kind);
    found
}

/// Ends every server that the records of this run name. Blocks the thread.
pub(crate) fn end_servers(run: &Path, manner: Manner) -> Vec<String> {
    let servers = survivors(run);
    for kind in Kind::ALL {
        // All of a kind together: one slow server must not keep the others waiting.
        let alike: Vec<Identity> = servers
            .iter()
            .filter(|server| server.kind == kind)
            .map(|server| server.identity)
            .collect();
        end(&alike, kind.recipe(manner));
    }
    servers.into_iter().map(|server| server.name).collect()
}

/// Makes a folder (and its parents) that everybody may walk through but only its owner may list.
pub(crate) fn create_folder(folder: &Path) -> Result<(), Error> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(folder)
        .map_err(Error::file(folder))?;
    // Again, because the umask may have taken away what another user needs to pass through.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o711)).map_err(Error::file(folder))
}

/// Writes a file that only its owner may read.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), Error> {
    // Narrowed before the text goes in: it may hold a password.
    fs::write(path, "").map_err(Error::file(path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(Error::file(path))?;
    fs::write(path, text).map_err(Error::file(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::{Daemon, Folder, Launch};
    use crate::{OnDrop, Placement};

    fn sleeper(folder: &Path) -> Daemon {
        let folder = Folder::create(Placement::Folder(folder.to_owned()), "sleeper").unwrap();
        let launch = Launch {
            program: "sleep".into(),
            arguments: vec!["600".to_owned()],
            environment: Vec::new(),
            user: None,
        };
        let mut sleeper = Daemon::new("sleeper", Kind::Redis, folder, launch);
        sleeper.set_on_drop(OnDrop::Leave);
        sleeper
    }

    /// Starts a recorded process in `run`, and waits until it has written its record.
    fn start_recorded(run: &Path) -> Identity {
        prepare_run(run).unwrap();
        let sleeper = sleeper(&run.join("0-sleeper"));
        sleeper.spawn().unwrap();
        let identity = Identity::of(sleeper.pid().unwrap().unsigned_abs()).unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while survivors(run).is_empty() {
            assert!(std::time::Instant::now() < deadline, "no record was written");
            std::thread::yield_now();
        }
        identity
    }

    #[test]
    fn the_leftovers_of_a_dead_owner_are_swept_and_those_of_a_living_one_are_not() {
        let root = tempfile::tempdir().unwrap();
        // This process's id with another birth: an owner that has ended.
        let own = Identity::own().unwrap();
        let (dead, living) = (
            root.path().join(format!("{}-1", own.pid())),
            root.path().join(own.name()),
        );
        let (orphan, kept) = (start_recorded(&dead), start_recorded(&living));
        sweep_dead_owners(root.path());
        assert!(!orphan.alive() && !dead.exists());
        assert!(kept.alive() && living.exists());
        assert_eq!(end_servers(&living, Manner::AtOnce), ["0-sleeper"]);
        assert!(!kept.alive());
    }

    #[test]
    fn records_of_another_boot_mean_nothing() {
        let root = tempfile::tempdir().unwrap();
        let run = root.path().join("run");
        let process = start_recorded(&run);
        fs::write(run.join(BOOT_FILE), "another boot").unwrap();
        assert!(end_servers(&run, Manner::AtOnce).is_empty());
        assert!(process.alive());
        fs::copy(BOOT_ID, run.join(BOOT_FILE)).unwrap();
        end_servers(&run, Manner::AtOnce);
        assert!(!process.alive());
    }
}
