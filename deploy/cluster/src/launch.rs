//! Starting, watching and ending one server process.
//!
//! The process writes its own record (a copy of `/proc/self/stat`) before it becomes the server, so
//! that there is no moment in which a server runs and no record names it.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::process::{Identity, Recipe, end};
use crate::programs::User;
use crate::{Error, run};

/// What a server is. The order is the order in which servers are ended: those first that use others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    Shop,
    Partners,
    Ringway,
    PgBouncer,
    Kafka,
    MongoDb,
    Redis,
    Standby,
    Primary,
}

/// How to end a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Manner {
    /// As its operator would: clients are told, data is written.
    Orderly,
    /// Its data is about to be deleted.
    AtOnce,
}

impl Kind {
    pub(crate) const ALL: [Self; 9] = [
        Self::Shop,
        Self::Partners,
        Self::Ringway,
        Self::PgBouncer,
        Self::Kafka,
        Self::MongoDb,
        Self::Redis,
        Self::Standby,
        Self::Primary,
    ];

    /// The name of the process record in the server's folder. `reaper.sh` knows these names.
    pub(crate) fn record(self) -> &'static str {
        match self {
            Self::Shop => "shop.pid",
            Self::Partners => "partners.pid",
            Self::Ringway => "ringway.pid",
            Self::PgBouncer => "pgbouncer.pid",
            Self::Kafka => "kafka.pid",
            Self::MongoDb => "mongodb.pid",
            Self::Redis => "redis.pid",
            Self::Standby => "standby.pid",
            Self::Primary => "primary.pid",
        }
    }

    /// The signals that end such a server.
    pub(crate) fn recipe(self, manner: Manner) -> &'static Recipe {
        const ORDERLY: &Recipe = &[(Signal::TERM, Duration::from_secs(15))];
        const FAST: &Recipe = &[
            (Signal::INT, Duration::from_secs(20)),
            (Signal::QUIT, Duration::from_secs(10)),
        ];
        // SIGKILL would leave PostgreSQL's shared memory behind.
        const IMMEDIATE: &Recipe = &[(Signal::QUIT, Duration::from_secs(10))];
        match (self, manner) {
            (Self::Standby | Self::Primary, Manner::Orderly) => FAST,
            (Self::Standby | Self::Primary, Manner::AtOnce) => IMMEDIATE,
            (_, Manner::Orderly) => ORDERLY,
            (_, Manner::AtOnce) => &[],
        }
    }
}

/// Where a server keeps its data and its log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Placement {
    /// A folder under `/tmp`, removed when the handle is dropped.
    #[default]
    Temporary,
    /// This folder, which stays.
    Folder(PathBuf),
}

/// What happens to a server when its handle is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnDrop {
    /// It is ended at once.
    Stop,
    /// It goes on; its record in its folder still names it.
    Leave,
}

/// A server's folder, removed in the end if it is temporary.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    placement: Placement,
}

impl Folder {
    /// Makes the folder.
    pub(crate) fn create(placement: Placement, name: &str) -> Result<Self, Error> {
        let path = match &placement {
            Placement::Temporary => run::temporary_folder(name)?,
            Placement::Folder(path) => {
                run::create_folder(path)?;
                path.clone()
            }
        };
        Ok(Self { path, placement })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.placement == Placement::Temporary {
            run::remove_temporary(&self.path);
        }
    }
}

/// How to start a server's program.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// Variables to set on top of the caller's environment.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// The user to run as, where that is not the caller.
    pub(crate) user: Option<User>,
}

/// A server's process: started, watched and ended by this handle.
#[derive(Debug)]
pub(crate) struct Daemon {
    name: String,
    kind: Kind,
    launch: Launch,
    state: Mutex<State>,
    on_drop: OnDrop,
    // Last, so that it is removed when the process has ended.
    folder: Folder,
}

#[derive(Debug)]
enum State {
    Stopped,
    Running { child: Child, identity: Identity },
}

/// Between two looks at a condition.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How many lines of a log an error carries.
const TAIL_LINES: usize = 25;
/// How much of a log's end is read to find its last lines.
const TAIL_BYTES: u64 = 32 * 1024;

/// Copies the process's own stat line to `$0`, then becomes the server in a session of its own, so
/// that neither Ctrl-C nor a closed terminal reaches it. The `cd` is there because the server's
/// user may not be able to enter the caller's folder.
const STARTER: &str = r#"cd / && read -r line < /proc/$$/stat && echo "$line" > "$0" && exec setsid "$@""#;

impl Daemon {
    /// A server that has not been started.
    pub(crate) fn new(name: &str, kind: Kind, folder: Folder, launch: Launch) -> Self {
        let state = Mutex::new(State::Stopped);
        Self {
            name: name.to_owned(),
            kind,
            launch,
            state,
            on_drop: OnDrop::Stop,
            folder,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn program(&self) -> &Path {
        &self.launch.program
    }

    pub(crate) fn set_on_drop(&mut self, on_drop: OnDrop) {
        self.on_drop = on_drop;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere can't leave the state half-written: it is replaced as a whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process, while it is running.
    fn running(&self) -> Option<Identity> {
        match &*self.state() {
            State::Stopped => None,
            State::Running { identity, .. } => identity.alive().then_some(*identity),
        }
    }

    /// The running server's process id.
    pub(crate) fn pid(&self) -> Option<i32> {
        self.running().map(Identity::pid)
    }

    /// Starts the process; an error if it runs.
    pub(crate) fn spawn(&self) -> Result<(), Error> {
        let mut state = self.state();
        if let State::Running { child, identity } = &mut *state {
            if identity.alive() {
                return Err(Error::Usage(format!("{} is already running", self.name)));
            }
            // Buried here if it ended by itself.
            let _ = child.wait();
        }
        let log = self.open_log()?;
        let errors = log.try_clone().map_err(Error::file(self.log_path()))?;
        let mut command = Command::new("sh");
        command
            .args(["-c", STARTER])
            .arg(self.folder.path().join(self.kind.record()))
            .arg(&self.launch.program)
            .args(&self.launch.arguments)
            .envs(self.launch.environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        if let Some(user) = self.launch.user {
            command.uid(user.uid).gid(user.gid);
        }
        let child = command.spawn().map_err(Error::file(&self.launch.program))?;
        *state = match Identity::of(child.id()) {
            Some(identity) => State::Running { child, identity },
            // Ended already: the caller's wait will say so, with the log.
            None => State::Stopped,
        };
        Ok(())
    }

    /// Waits until `probe` says that the server answers.
    pub(crate) async fn wait_ready<F, A>(&self, bound: Duration, probe: F) -> Result<(), Error>
    where
        F: Fn() -> A,
        A: Future<Output = bool>,
    {
        let deadline = Instant::now() + bound;
        loop {
            if tokio::time::timeout(bound, probe()).await == Ok(true) {
                return Ok(());
            }
            if self.running().is_none() {
                return Err(self.trouble("ended by itself"));
            }
            if Instant::now() >= deadline {
                return Err(self.trouble(format!("was not ready within {} s", bound.as_secs())));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Sends a signal, if the process runs.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(identity) = self.running() {
            identity.signal(signal);
        }
    }

    /// Ends the process by these signals, and by SIGKILL when they don't help.
    pub(crate) async fn stop(&self, recipe: &'static Recipe) -> Result<(), Error> {
        if let Some(identity) = self.running() {
            // The wait blocks a thread, so not one of the runtime's.
            let ended = tokio::task::spawn_blocking(move || end(&[identity], recipe)).await;
            ended.map_err(|_| Error::Usage("the runtime is shutting down".to_owned()))?;
        }
        self.bury();
        Ok(())
    }

    fn bury(&self) {
        let mut state = self.state();
        if let State::Running { child, .. } = &mut *state {
            let _ = child.wait();
        }
        *state = State::Stopped;
        // The number may be given to somebody else from here on.
        let _ = fs::remove_file(self.folder.path().join(self.kind.record()));
    }

    /// An error about this server that carries its last lines.
    pub(crate) fn trouble(&self, what: impl Into<String>) -> Error {
        Error::Server {
            server: self.name.clone(),
            what: what.into(),
            log: self.log_tail(TAIL_LINES),
        }
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join(LOG)
    }

    fn open_log(&self) -> Result<File, Error> {
        let path = self.log_path();
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(Error::file(path))
    }

    /// The last lines of the server's log.
    pub(crate) fn log_tail(&self, lines: usize) -> String {
        tail(&self.log_path(), lines)
    }
}

/// The log's name in a server's folder.
pub(crate) const LOG: &str = "log";

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.on_drop == OnDrop::Leave {
            return;
        }
        if let Some(identity) = self.running() {
            end(&[identity], self.kind.recipe(Manner::AtOnce));
        }
        self.bury();
    }
}

/// The last lines of a file; empty if it can't be read.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    let Ok(mut file) = File::open(path) else {
        return String::new();
    };
    let length = file.metadata().map_or(0, |data| data.len());
    let mut bytes = Vec::new();
    if file
        .seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))
        .is_err()
        || file.take(TAIL_BYTES).read_to_end(&mut bytes).is_err()
    {
        return String::new();
    }
    last_lines(&String::from_utf8_lossy(&bytes), lines)
}

/// The last lines of a text.
pub(crate) fn last_lines(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all.get(all.len().saturating_sub(lines)..)
        .unwrap_or_default()
        .join("\n")
}
