//! What the kernel and other programs say: CPU time of a process, load, versions, instructions.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cluster::Programs;
use serde::Serialize;
use tokio::process::Command;

/// How long the load of others is sampled.
const REST: Duration = Duration::from_millis(500);

/// CPU time that a process has used so far, user and system, over the threads it has.
///
/// The same that `/proc/PID/stat` tells in hundredths of a second, here in nanoseconds. The processes that are
/// measured keep their threads.
pub(crate) fn cpu_time(pid: i32) -> Result<Duration> {
    let threads = format!("/proc/{pid}/task");
    let mut total = Duration::ZERO;
    for thread in fs::read_dir(&threads).with_context(|| threads.clone())? {
        let path = thread?.path().join("schedstat");
        // A helper thread may have ended since the folder was read.
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        let nanoseconds = text.split(' ').next().and_then(|number| number.parse().ok());
        total += Duration::from_nanos(nanoseconds.with_context(|| path.display().to_string())?);
    }
    if total.is_zero() {
        bail!("{threads}: no thread tells its CPU time (schedstat)");
    }
    Ok(total)
}

/// CPU time that the processes of PostgreSQL servers have used so far, by the servers' own processes.
pub(crate) fn servers_cpu_time(postmasters: &[i32]) -> Result<Duration> {
    let mut total = Duration::ZERO;
    for pid in postmasters {
        let children = format!("/proc/{pid}/task/{pid}/children");
        let pids = fs::read_to_string(&children).with_context(|| children.clone())?;
        // One may have ended since.
        let known = pids
            .split_whitespace()
            .filter_map(|pid| cpu_time(pid.parse().ok()?).ok());
        total += known.sum::<Duration>();
    }
    Ok(total)
}

/// Busy and all time of the machine's CPUs, in ticks.
#[derive(Clone, Copy, Debug)]
struct Ticks {
    busy: u64,
    all: u64,
}

impl Ticks {
    fn read() -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat").context("/proc/stat")?;
        Self::parse(&stat).context("/proc/stat")
    }

    /// From the line of all CPUs: user nice system idle iowait irq softirq steal (guest time is part of user).
    fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let fields: Vec<u64> = line
            .split_whitespace()
            .take(8)
            .map_while(|field| field.parse().ok())
            .collect();
        let all = fields.iter().sum();
        let rest = fields.get(3)? + fields.get(4)?;
        Some(Self {
            busy: all - rest,
            all,
        })
    }
}

/// The share of the machine that is busy while nothing is measured: others, and our servers at rest.
pub(crate) async fn load_at_rest() -> Result<f64> {
    let before = Ticks::read()?;
    tokio::time::sleep(REST).await;
    let after = Ticks::read()?;
    let all = after.all.saturating_sub(before.all).max(1);
    Ok(after.busy.saturating_sub(before.busy) as f64 / all as f64)
}

/// Whether `perf stat` can count the instructions of a process here; many virtual machines can't.
pub(crate) async fn counts_instructions() -> bool {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    instructions(own, Duration::from_millis(10)).await.is_some()
}

/// Instructions that a process executes within this time, in user mode and in the kernel.
pub(crate) async fn instructions(pid: i32, time: Duration) -> Option<u64> {
    let output = Command::new("perf")
        .args([
            "stat",
            "-x",
            ",",
            "-e",
            "instructions",
            "-p",
            &pid.to_string(),
            "sleep",
        ])
        .arg(time.as_secs_f64().to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .ok()?;
    counted(&String::from_utf8_lossy(&output.stderr))
}

/// The sum of the lines that tell a number: a machine with two kinds of cores has a line for each.
fn counted(lines: &str) -> Option<u64> {
    let numbers = lines
        .lines()
        .filter_map(|line| line.split(',').next()?.parse::<u64>().ok());
    numbers.reduce(|sum, number| sum + number)
}

/// The machine and the versions that were measured.
#[derive(Clone, Serialize, Debug)]
pub(crate) struct Machine {
    /// Logical CPUs.
    pub(crate) cores: usize,
    /// The CPU's own name.
    pub(crate) cpu: String,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// PostgreSQL (and pgbench).
    pub(crate) postgres: String,
    /// PgBouncer.
    pub(crate) pgbouncer: String,
    /// Ringway, and how it was built.
    pub(crate) ringway: String,
}

impl Machine {
    /// Asks for all of it.
    pub(crate) async fn describe(ringway: &Path) -> Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let build = ringway.parent().and_then(Path::file_name).unwrap_or_default();
        Ok(Self {
            cores: cores(),
            cpu: model.map_or("unknown", |(_, name)| name).to_owned(),
            kernel: kernel.trim().to_owned(),
            postgres: version(&Programs::postgres()?.join("postgres")).await?,
            pgbouncer: version(&Programs::pgbouncer()?).await?,
            ringway: format!("{} ({})", version(ringway).await?, build.display()),
        })
    }

    /// Whether this PgBouncer keeps the prepared statements of clients apart without being told to (1.24 and later).
    pub(crate) fn pgbouncer_prepares(&self) -> bool {
        let number = self.pgbouncer.split(' ').nth(1).unwrap_or_default();
        let mut parts = number.split('.').map_while(|part| part.parse::<u32>().ok());
        matches!((parts.next(), parts.next()), (Some(major), Some(minor)) if (major, minor) >= (1, 24))
    }
}

/// Logical CPUs that may be used.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The first line of `PROGRAM --version`.
async fn version(program: &Path) -> Result<String> {
    let output = Command::new(program).arg("--version").output().await;
    let output = output.with_context(|| program.display().to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().next().unwrap_or("unknown").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_waiting_for_the_disk_are_rest() {
        let ticks = Ticks::parse("cpu  10 1 20 300 40 2 3 4 5 6\ncpu0 1 2 3\n").unwrap();
        assert_eq!((ticks.busy, ticks.all), (40, 380));
        assert!(Ticks::parse("intr 1").is_none());
    }

    #[test]
    fn what_can_not_be_counted_is_no_number() {
        assert_eq!(counted("<not supported>,,instructions,0,100.00,,\n"), None);
        assert_eq!(
            counted("120,,cpu_core/instructions/,1,100.00,,\n30,,cpu_atom/instructions/,1,1,,\n"),
            Some(150)
        );
    }

    #[test]
    fn cpu_time_grows_with_work() {
        let own = i32::try_from(std::process::id()).unwrap();
        let before = cpu_time(own).unwrap();
        let mut hash = 1_u64;
        let mut after = before;
        for _ in 0..1_000_000 {
            for step in 0..10_000 {
                hash = std::hint::black_box(hash.wrapping_mul(31) ^ step);
            }
            after = cpu_time(own).unwrap();
            if after > before {
                break;
            }
        }
        assert!(after > before);
    }

    #[test]
    fn prepared_statements_need_a_newer_pgbouncer() {
        let machine = |pgbouncer: &str| Machine {
            cores: 1,
            cpu: String::new(),
            kernel: String::new(),
            postgres: String::new(),
            pgbouncer: pgbouncer.to_owned(),
            ringway: String::new(),
        };
        assert!(!machine("PgBouncer 1.18.0").pgbouncer_prepares());
        assert!(machine("PgBouncer 1.24.1").pgbouncer_prepares());
        assert!(!machine("something else").pgbouncer_prepares());
    }
}
