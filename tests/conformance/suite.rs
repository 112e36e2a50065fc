//! One suite: prepared once, run on both sides, compared.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cluster::{PostgresSpec, Programs};

use crate::expected::Expected;
use crate::outcomes::Outcomes;
use crate::stage::{Side, Stage};

/// To fetch and build what a suite needs.
const PREPARE_BOUND: Duration = Duration::from_secs(1200);
/// From the first signal to a suite that took too long until the last one.
const GRACE_S: u32 = 10;
/// The lines of a log that a failure shows.
const LOG_LINES: usize = 30;
/// What a client reads from the environment; a suite sees only what it is given.
const CLIENT_VARIABLES: [&str; 12] = [
    "PGDATABASE",
    "PGHOSTADDR",
    "PGOPTIONS",
    "PGPASSFILE",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGSSLMODE",
    "PGSSLCERT",
    "PGSSLKEY",
    "PGSSLROOTCERT",
    "PGCLIENTENCODING",
    "PGAPPNAME",
];

/// One at a time: they are measured against each other's absence, and the machine may be small.
static TURN: Mutex<()> = Mutex::new(());

/// A part of a suite under a name of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variant {
    /// The name of the folder with its results, and in docs/conformance.md.
    pub(crate) name: &'static str,
    /// The tests, as the suite's script takes them.
    pub(crate) only: &'static str,
}

/// A suite.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suite {
    script: &'static str,
    bound: Duration,
    variant: Variant,
}

/// Folders of a run. The work folder is removed in the end.
struct Folders {
    work: PathBuf,
    results: PathBuf,
    cache: PathBuf,
}

impl Suite {
    /// The suite of this script, and how long a run of it may take.
    pub(crate) fn new(script: &'static str, bound: Duration) -> Self {
        let all = Variant {
            name: script,
            only: "",
        };
        Self {
            script,
            bound,
            variant: all,
        }
    }

    /// Only a part of it.
    pub(crate) fn variant(self, variant: Variant) -> Self {
        Self { variant, ..self }
    }

    /// Runs the suite on both sides and compares.
    ///
    /// # Errors
    /// A difference that docs/conformance.md doesn't explain, one that it explains and that isn't there, or a suite that
    /// can't be run.
    pub(crate) fn check(self) -> Result<()> {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folders = Folders::make(self.variant.name)?;
        let expected = Expected::read(self.variant.name)?;
        let log = folders.results.join("prepare.log");
        let mut prepare = self.command(&folders, PREPARE_BOUND, "prepare")?;
        run_logged(&mut prepare, &log)?;
        let runtime = tokio::runtime::Runtime::new()?;
        let mut both = Vec::new();
        for side in Side::BOTH {
            let started = Instant::now();
            let outcomes = runtime.block_on(self.run(&folders, side))?;
            println!(
                "{} {side}: {} tests in {} s: {}",
                self.variant.name,
                outcomes.len(),
                started.elapsed().as_secs(),
                outcomes.summary()
            );
            both.push(outcomes);
        }
        let [direct, through] = both.as_slice() else {
            bail!("a side is missing");
        };
        let found = direct.differences(through);
        let lines: Vec<String> = found.iter().map(|found| format!("{found}\n")).collect();
        fs::write(folders.results.join("differences"), lines.concat())?;
        println!("{}: {} tests differ", self.variant.name, found.len());
        let wrong = expected.judge(&found);
        let place = folders.results.display();
        ensure!(wrong.is_empty(), "see {place}\n{}", wrong.join("\n"));
        Ok(())
    }

    async fn run(&self, folders: &Folders, side: Side) -> Result<Outcomes> {
        let stage = Box::pin(Stage::start(side)).await?;
        let out = folders.results.join(side.name());
        fs::create_dir_all(&out)?;
        folders.empty_work()?;
        let mut command = self.command(folders, self.bound, "run")?;
        command
            .env("SUITE_OUT", &out)
            .env("SUITE_WORK", &folders.work)
            .env("SUITE_ONLY", self.variant.only)
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", stage.port().to_string())
            .env("PGUSER", PostgresSpec::SUPERUSER)
            .env("PGPASSWORD", "postgres")
            .env("PGDATABASE", "postgres");
        let ran = run_logged(&mut command, &out.join("run.log"));
        ran.with_context(|| stage.log_tail(LOG_LINES))?;
        let outcomes = Outcomes::read(&out.join("outcomes"))?;
        ensure!(outcomes.len() > 0, "{} ran no test on {side}", self.script);
        Ok(outcomes)
    }

    /// The script, under a guard that ends it and its children at the bound.
    fn command(&self, folders: &Folders, bound: Duration, verb: &str) -> Result<Command> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("conformance/suites")
            .join(format!("{}.sh", self.script));
        ensure!(script.is_file(), "no {}", script.display());
        let mut command = Command::new("timeout");
        command
            .arg(format!("--kill-after={GRACE_S}"))
            .arg(bound.as_secs().to_string())
            .arg(script)
            .arg(verb)
            .env("SUITE_CACHE", &folders.cache)
            .env("PATH", path()?)
            .stdin(Stdio::null());
        for variable in CLIENT_VARIABLES {
            command.env_remove(variable);
        }
        Ok(command)
    }
}

impl Folders {
    fn make(name: &str) -> Result<Self> {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .parent()
            .context("no target folder")?;
        let results = target.join("conformance").join(name);
        if results.exists() {
            fs::remove_dir_all(&results)?;
        }
        fs::create_dir_all(&results)?;
        let cache = std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
            .context("neither XDG_CACHE_HOME nor HOME is set")?
            .join("ringway/conformance");
        fs::create_dir_all(&cache)?;
        // Not under target: the server's user has to get there. The same for both sides: it shows in outputs.
        let work = std::env::temp_dir().join(format!("ringway-conformance-{}", std::process::id()));
        Ok(Self { work, results, cache })
    }

    fn empty_work(&self) -> Result<()> {
        if self.work.exists() {
            fs::remove_dir_all(&self.work)?;
        }
        Ok(fs::create_dir_all(&self.work)?)
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        // What stays is in the folder for temporary files.
        let _ = fs::remove_dir_all(&self.work);
    }
}

/// The search path for programs, those of the PostgreSQL that is tested first.
fn path() -> Result<OsString> {
    let usual = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(Programs::postgres()?).chain(std::env::split_paths(&usual));
    Ok(std::env::join_paths(folders)?)
}

/// Runs a command to its end with its output in a file; the last lines of that are in the error.
fn run_logged(command: &mut Command, log: &Path) -> Result<()> {
    let file = File::create(log)?;
    let status = command
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()
        .with_context(|| format!("{command:?}"))?;
    if status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&fs::read(log)?).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines
        .get(lines.len().saturating_sub(LOG_LINES)..)
        .unwrap_or_default();
    bail!("{status} ({})\n{}", log.display(), tail.join("\n"))
}
