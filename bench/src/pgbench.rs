//! One run of pgbench, measured from outside between two moments in its middle.
//!
//! pgbench logs every transaction with its end and its latency. Connecting and the first moments are left out: logging
//! in by SCRAM costs a proxy as much as hundreds of statements.

use std::fs;
use std::path::Path;
use std::pin::pin;
use std::process::{Output, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use cluster::{Programs, Ringway};
use futures_util::future::{self, Either};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

use crate::machine;
use crate::plan::{Scenario, WARM_UP};

/// From pgbench's start until its first transaction: 64 clients log in one after the other.
const CONNECT_BOUND: Duration = Duration::from_secs(30);
/// Between two looks whether it has begun.
const POLL: Duration = Duration::from_millis(5);
/// After it was told to end, for the last transactions to end.
const END_BOUND: Duration = Duration::from_secs(30);
/// pgbench's own limit, in seconds, should nobody tell it to end.
const TIME_MAX: &str = "--time=300";
/// Lines of pgbench's complaints that are kept.
const COMPLAINT_LINES: usize = 5;

/// Where clients connect.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    /// On 127.0.0.1.
    pub(crate) port: u16,
    /// The role.
    pub(crate) user: String,
    /// Its password.
    pub(crate) password: String,
    /// The database.
    pub(crate) database: String,
}

/// What is run, and whom it concerns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<'a> {
    /// The statements, their protocol and the number of clients.
    pub(crate) scenario: Scenario,
    /// Where they are sent: to each by a pgbench of its own, with its part of the clients.
    pub(crate) addresses: &'a [Address],
    /// The proxy there, to be asked for its CPU time; `None` for PostgreSQL itself.
    pub(crate) proxy: Option<i32>,
    /// The PostgreSQL servers.
    pub(crate) servers: &'a [i32],
    /// Ringway, if its cache is to be asked for its hits.
    pub(crate) cache: Option<&'a Ringway>,
    /// How long is measured.
    pub(crate) window: Duration,
    /// Whether instructions can be counted.
    pub(crate) instructions: bool,
}

/// What was measured.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Sample {
    /// Transactions per second.
    pub(crate) tps: f64,
    /// Of a transaction, in milliseconds: the median.
    pub(crate) p50_ms: f64,
    /// 95% are faster.
    pub(crate) p95_ms: f64,
    /// 99% are faster.
    pub(crate) p99_ms: f64,
    /// Microseconds of the proxy's CPU time per transaction.
    pub(crate) cpu_us: Option<f64>,
    /// Microseconds of the PostgreSQL servers' CPU time per transaction.
    pub(crate) servers_us: f64,
    /// Instructions of the proxy per transaction.
    pub(crate) instructions: Option<f64>,
    /// The share of reads that the in-process cache answered.
    pub(crate) hits: Option<f64>,
    /// Transactions that failed, in the whole run, and clients that gave up.
    pub(crate) failed: u64,
    /// What pgbench complained about.
    pub(crate) complaint: Option<String>,
}

/// Two moments and what was counted at them or between them.
#[derive(Debug)]
struct Window {
    from: Duration,
    to: Duration,
    cpu: Option<Duration>,
    servers: Duration,
    instructions: Option<u64>,
    hits: Option<f64>,
}

impl Run<'_> {
    /// Runs pgbench to its end.
    ///
    /// Statements that fail are part of the result. An error means that nothing could be measured.
    pub(crate) async fn measure(self) -> Result<Sample> {
        let label = self.scenario.label();
        let folder = tempfile::tempdir()?;
        let mut children = Vec::new();
        for part in 0..self.addresses.len() {
            children.push(self.command(part, folder.path())?.spawn()?);
        }
        let pids: Vec<Pid> = children
            .iter()
            .filter_map(|child| Pid::from_raw(child.id()?.cast_signed()))
            .collect();
        let ended = children
            .into_iter()
            .map(|child| Box::pin(child.wait_with_output()));
        let first = future::select_all(ended);
        let watched = pin!(self.watch(folder.path()));
        let (outputs, window) = match future::select(watched, first).await {
            Either::Left((window, first)) => {
                for pid in pids {
                    // The signal by which pgbench tells itself that its time is over.
                    kill_process(pid, Signal::ALARM)?;
                }
                let all = async {
                    let (output, _, others) = first.await;
                    let mut outputs = vec![output?];
                    outputs.extend(future::try_join_all(others).await?);
                    anyhow::Ok(outputs)
                };
                let outputs = tokio::time::timeout(END_BOUND, all).await;
                (
                    outputs.with_context(|| format!("{label}: does not end"))??,
                    window?,
                )
            }
            Either::Right(((output, ..), _)) => {
                bail!(
                    "{label}: pgbench ended early: {}",
                    complaint(&output?).unwrap_or_default()
                )
            }
        };
        let log = self.logs(folder.path())?.concat();
        summary(&log, &window, &outputs)
            .with_context(|| format!("{label}: no transaction ended while it was measured"))
    }

    /// The clients of one pgbench.
    fn clients(&self, part: usize) -> u16 {
        let parts = u16::try_from(self.addresses.len()).unwrap_or(1).max(1);
        let all = self.scenario.clients;
        all / parts + u16::from(part < usize::from(all % parts))
    }

    fn command(&self, part: usize, folder: &Path) -> Result<Command> {
        let Scenario {
            workload, protocol, ..
        } = self.scenario;
        let (address, clients) = (
            self.addresses.get(part).context("no such part")?,
            self.clients(part),
        );
        let script = folder.join("script.sql");
        fs::write(&script, workload.script())?;
        // The load shall not take more than half of the machine from what it loads, but for one thread of each part.
        let threads = usize::from(clients).min((machine::cores() / 2 / self.addresses.len()).max(1));
        let mut command = Command::new(Programs::postgres()?.join("pgbench"));
        command
            .args([
                "--no-vacuum",
                "--log",
                "--protocol",
                protocol.name(),
                "--host",
                "127.0.0.1",
            ])
            .arg(format!("--client={clients}"))
            .arg(format!("--jobs={threads}"))
            .arg(TIME_MAX)
            .arg(format!("--port={}", address.port))
            .arg(format!("--username={}", address.user))
            .arg("--log-prefix")
            .arg(folder.join(log_prefix(part)))
            .arg("--file")
            .arg(script)
            .arg(&address.database)
            .env("PGPASSWORD", &address.password)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Ok(command)
    }

    /// Waits for the first transactions and counts between two moments after them.
    async fn watch(&self, folder: &Path) -> Result<Window> {
        let begun = async {
            while self.logs(folder)?.iter().any(String::is_empty) {
                tokio::time::sleep(POLL).await;
            }
            anyhow::Ok(())
        };
        let begun = tokio::time::timeout(CONNECT_BOUND, begun).await;
        begun.with_context(|| format!("{}: no transaction has ended", self.scenario.label()))??;
        tokio::time::sleep(WARM_UP).await;
        let hits_before = self.cache_lookups().await?;
        let (from, cpu_before) = (now(), self.cpu()?);
        let servers_before = machine::servers_cpu_time(self.servers)?;
        let instructions = async {
            match self.proxy {
                Some(pid) if self.instructions => machine::instructions(pid, self.window).await,
                _ => None,
            }
        };
        let ((), instructions) = tokio::join!(tokio::time::sleep(self.window), instructions);
        let (to, cpu_after) = (now(), self.cpu()?);
        let servers_after = machine::servers_cpu_time(self.servers)?;
        let hits_after = self.cache_lookups().await?;
        let hits = hits_before.zip(hits_after).map(|(before, after)| {
            let (hits, all) = (after.0 - before.0, after.1 - before.1);
            if all > 0.0 { hits / all } else { 0.0 }
        });
        let cpu = cpu_before
            .zip(cpu_after)
            .map(|(before, after)| after.saturating_sub(before));
        Ok(Window {
            from,
            to,
            cpu,
            servers: servers_after.saturating_sub(servers_before),
            instructions,
            hits,
        })
    }

    /// What each pgbench has logged.
    fn logs(&self, folder: &Path) -> Result<Vec<String>> {
        let parts = 0..self.addresses.len();
        parts.map(|part| read_logs(folder, &log_prefix(part))).collect()
    }

    fn cpu(&self) -> Result<Option<Duration>> {
        self.proxy.map(machine::cpu_time).transpose()
    }

    /// Reads that the in-process cache answered, and all that a cache could have answered.
    async fn cache_lookups(&self) -> Result<Option<(f64, f64)>> {
        let Some(ringway) = self.cache else {
            return Ok(None);
        };
        let (status, text) = ringway.get("/metrics").await?;
        if status != 200 {
            bail!("/metrics: {status}");
        }
        Ok(Some(lookups(&text)))
    }
}

/// The first part of the names of a pgbench's log files.
fn log_prefix(part: usize) -> String {
    format!("transactions-{part}")
}

/// The lines of all threads' logs.
fn read_logs(folder: &Path, prefix: &str) -> Result<String> {
    let mut all = String::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(&format!("{prefix}.")))
        {
            all.push_str(&fs::read_to_string(path)?);
        }
    }
    Ok(all)
}

/// One line of pgbench's log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Transaction {
    /// `None`: it failed.
    latency_us: Option<u64>,
    ended: Duration,
}

impl Transaction {
    /// client, number, latency or "failed", script, seconds and microseconds of its end since the epoch.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(' ').skip(2);
        let latency = fields.next()?;
        let mut numbers = fields.skip(1).map_while(|field| field.parse::<u64>().ok());
        let ended = Duration::from_secs(numbers.next()?) + Duration::from_micros(numbers.next()?);
        let latency_us = match latency {
            "failed" => None,
            number => Some(number.parse().ok()?),
        };
        Some(Self { latency_us, ended })
    }
}

fn summary(log: &str, window: &Window, outputs: &[Output]) -> Option<Sample> {
    let all: Vec<Transaction> = log.lines().filter_map(Transaction::parse).collect();
    let inside = all
        .iter()
        .filter(|one| window.from <= one.ended && one.ended < window.to);
    let mut latencies: Vec<u64> = inside.filter_map(|one| one.latency_us).collect();
    latencies.sort_unstable();
    let count = latencies.len() as f64;
    let percentile = |percent: usize| {
        let index = (latencies.len() * percent / 100).min(latencies.len().checked_sub(1)?);
        latencies.get(index).map(|&latency| latency as f64 / 1e3)
    };
    let failed = all.iter().filter(|one| one.latency_us.is_none()).count() as u64;
    Some(Sample {
        tps: count / (window.to - window.from).as_secs_f64(),
        p50_ms: percentile(50)?,
        p95_ms: percentile(95)?,
        p99_ms: percentile(99)?,
        cpu_us: window.cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / count),
        servers_us: window.servers.as_secs_f64() * 1e6 / count,
        instructions: window
            .instructions
            .map(|instructions| instructions as f64 / count),
        hits: window.hits,
        failed: failed + outputs.iter().map(gave_up).sum::<u64>(),
        complaint: outputs.iter().find_map(complaint),
    })
}

/// Clients that stopped at an error, which is no transaction in the log; at least one if pgbench failed.
fn gave_up(output: &Output) -> u64 {
    let text = String::from_utf8_lossy(&output.stderr);
    let aborted = text.lines().filter(|line| line.contains(" aborted in ")).count() as u64;
    if output.status.success() {
        aborted
    } else {
        aborted.max(1)
    }
}

/// The first lines that say what went wrong.
fn complaint(output: &Output) -> Option<String> {
    let text = String::from_utf8_lossy(&output.stderr);
    let errors = text
        .lines()
        .filter(|line| line.contains("error") || line.contains("ERROR"));
    let errors: Vec<&str> = errors.take(COMPLAINT_LINES).collect();
    (!errors.is_empty()).then(|| errors.join("\n"))
}

/// Hits of the in-process cache and all lookups, from the text of `/metrics`.
fn lookups(metrics: &str) -> (f64, f64) {
    let counters = metrics.lines().filter_map(|line| {
        let (labels, number) = line
            .strip_prefix("ringway_cache_lookups_total{")?
            .rsplit_once("} ")?;
        Some((labels, number.parse::<f64>().ok()?))
    });
    counters.fold((0.0, 0.0), |(hits, all), (labels, count)| {
        let hit = labels.contains("result=\"memory\"");
        (if hit { hits + count } else { hits }, all + count)
    })
}

/// Since the epoch, as pgbench's log tells it.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    fn ended(code: i32, stderr: &str) -> Output {
        let status = ExitStatus::from_raw(code << 8);
        Output {
            status,
            stdout: Vec::new(),
            stderr: stderr.as_bytes().to_vec(),
        }
    }

    fn window(cpu: Option<Duration>) -> Window {
        let (from, to) = (Duration::from_secs(100), Duration::from_secs(102));
        Window {
            from,
            to,
            cpu,
            servers: Duration::from_millis(5),
            instructions: Some(4000),
            hits: None,
        }
    }

    #[test]
    fn only_what_ended_inside_is_counted() {
        let mut log = String::from("0 1 90000 0 99 999999\n0 2 90000 0 102 0\n1 1 failed 0 103 5\nhalf a li");
        for number in 0..100 {
            log.push_str(&format!("\n3 {number} {} 0 101 {number}", 1000 + number));
        }
        let sample = summary(&log, &window(Some(Duration::from_millis(3))), &[ended(0, "")]).unwrap();
        assert_eq!((sample.tps, sample.failed), (50.0, 1));
        assert_eq!(
            (sample.p50_ms, sample.p95_ms, sample.p99_ms),
            (1.05, 1.095, 1.099)
        );
        assert_eq!((sample.cpu_us, sample.instructions), (Some(30.0), Some(40.0)));
        assert_eq!(sample.servers_us, 50.0);
        assert_eq!(sample.complaint, None);
    }

    #[test]
    fn nothing_inside_is_no_sample() {
        assert_eq!(summary("0 1 9 0 50 0\n", &window(None), &[ended(0, "")]), None);
    }

    #[test]
    fn clients_that_gave_up_count_as_failed() {
        let log = "0 1 500 0 101 0\n";
        let stderr = "pgbench: error: client 3 script 0 aborted in command 1 query 0: ERROR:  no\n\
                      pgbench: error: client 4 script 0 aborted in command 1 query 0: ERROR:  no\n\
                      pgbench: error: Run was aborted; the above results are incomplete.\n";
        let sample = summary(log, &window(None), &[ended(2, stderr)]).unwrap();
        assert_eq!(sample.failed, 2);
        assert!(sample.complaint.unwrap().starts_with("pgbench: error: client 3"));
        assert_eq!(summary(log, &window(None), &[ended(1, "")]).unwrap().failed, 1);
    }

    #[test]
    fn lookups_are_summed_over_their_results() {
        let text = "ringway_cache_lookups_total{database=\"shop\",result=\"memory\"} 90\n\
                    ringway_cache_lookups_total{database=\"shop\",result=\"miss\"} 10\n\
                    ringway_clients 3\n";
        assert_eq!(lookups(text), (90.0, 100.0));
    }
}
