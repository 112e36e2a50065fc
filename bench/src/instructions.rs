//! Counts the instructions of a statement under valgrind's callgrind: on a noisy machine time is worth little, and a
//! count of the same work hardly moves.
//!
//! Only user mode is counted: the proxies' own code and the libraries they use, not the kernel. Both proxies are run
//! and counted in the same way; of Ringway the data thread counts, and what its other threads did stands beside it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cluster::Programs;
use comfy_table::{CellAlignment, Table, presets};
use tokio::process::Command;

use crate::plan::{Protocol, Scenario, Target, Workload};
use crate::servers::Servers;

/// Transactions of each client before anything is counted: plans are made, connections opened, rows cached.
const WARM_UP: u32 = 400;
/// So many clients at least open all server connections that the pools may have.
const WARM_UP_CLIENTS: u16 = 64;
/// What only the profile of Ringway's data thread has.
const DATA_THREAD: &str = "ringway::data::login";
/// Transactions of each client in the shorter run that is counted.
const SHORT: u32 = 20;
/// In the longer one. The difference of both is transactions only, without logins.
const LONG: u32 = 120;
/// A run of pgbench under callgrind.
const RUN_BOUND: Duration = Duration::from_secs(300);
/// A command to valgrind.
const COMMAND_BOUND: Duration = Duration::from_secs(60);

/// What is counted: the goals' workloads, and the number of clients at which server connections are waited for.
const SCENARIOS: [(Workload, Protocol, u16); 9] = [
    (Workload::SelectOnly, Protocol::Simple, 16),
    (Workload::SelectOnly, Protocol::Extended, 16),
    (Workload::SelectOnly, Protocol::Prepared, 16),
    (Workload::SelectOnly, Protocol::Simple, 64),
    (Workload::SelectOnly, Protocol::Extended, 64),
    (Workload::SelectOnly, Protocol::Prepared, 64),
    (Workload::TpcB, Protocol::Simple, 16),
    (Workload::CachedRead, Protocol::Simple, 16),
    (Workload::CachedRead, Protocol::Extended, 16),
];

/// What was counted of one proxy.
#[derive(Clone, Copy, Default, Debug)]
struct Count {
    /// In the thread that serves clients.
    serving: f64,
    /// In the others.
    others: f64,
}

/// Counts and prints a table; profiles stay in `profiles`.
pub(crate) async fn count(executable: &Path, profiles: &Path, only: Option<&str>) -> Result<String> {
    let _ = fs::remove_dir_all(profiles);
    fs::create_dir_all(profiles).with_context(|| profiles.display().to_string())?;
    // PgBouncer runs as another user.
    fs::set_permissions(profiles, Permissions::from_mode(0o777))?;
    let wrapper = |target: Target, program: &Path| wrap(profiles, target, program);
    let ringway = wrapper(Target::Ringway, executable)?;
    let pgbouncer = wrapper(Target::PgBouncer, &Programs::pgbouncer()?)?;
    eprintln!("starting two shards, PgBouncer and Ringway under callgrind");
    let servers = Box::pin(Servers::start_as(&ringway, Some(&pgbouncer))).await?;
    let counting = Counting {
        servers: &servers,
        profiles,
    };
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header([
        "workload",
        "protocol",
        "clients",
        "pgbouncer",
        "ringway",
        "share",
        "ringway's other threads",
    ]);
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for (workload, protocol, clients) in SCENARIOS {
        let scenario = Scenario {
            workload,
            protocol,
            clients,
        };
        if only.is_some_and(|only| !scenario.label().contains(only)) {
            continue;
        }
        let reference = scenario.reference(false);
        let theirs = counting.transactions(reference, Target::PgBouncer).await?;
        let ours = counting.transactions(scenario, Target::Ringway).await?;
        let mark = if reference.protocol == protocol { "" } else { " *" };
        eprintln!(
            "{}: {:.0} of {:.0}",
            scenario.label(),
            ours.serving,
            theirs.serving
        );
        table.add_row([
            workload.name().to_owned(),
            format!("{}{mark}", protocol.name()),
            clients.to_string(),
            format!("{:.0}", theirs.serving),
            format!("{:.0}", ours.serving),
            format!("{:.2}", ours.serving / theirs.serving),
            format!("{:.0}", ours.others),
        ]);
    }
    Ok(format!(
        "Instructions in user mode per transaction (`*`: beside PgBouncer's extended):\n{table}\nProfiles: callgrind_annotate {}/*\n",
        profiles.display()
    ))
}

/// A program that runs `program` under callgrind.
fn wrap(folder: &Path, target: Target, program: &Path) -> Result<PathBuf> {
    let path = folder.join(format!("run-{}", target.name()));
    let text = format!(
        "#!/bin/sh\nexec valgrind --tool=callgrind --quiet --instr-atstart=no --separate-threads=yes --dump-instr=no \
         --fair-sched=yes --vgdb-prefix='{folder}/vgdb' --callgrind-out-file='{folder}/{name}.%p' '{program}' \"$@\"\n",
        folder = folder.display(),
        name = target.name(),
        program = program.display(),
    );
    fs::write(&path, text)?;
    fs::set_permissions(&path, Permissions::from_mode(0o755))?;
    Ok(path)
}

struct Counting<'a> {
    servers: &'a Servers,
    profiles: &'a Path,
}

impl Counting<'_> {
    /// Instructions per transaction: of a longer run those that a shorter one does not have.
    async fn transactions(&self, scenario: Scenario, target: Target) -> Result<Count> {
        let pid = self.servers.proxy(target)?.context("a proxy")?;
        let all = Scenario {
            clients: scenario.clients.max(WARM_UP_CLIENTS),
            ..scenario
        };
        self.run(all, target, WARM_UP).await?;
        self.tell(pid, &["instrumentation", "on"]).await?;
        self.run(scenario, target, 1).await?;
        self.tell(pid, &["zero"]).await?;
        self.run(scenario, target, SHORT).await?;
        let short = self.dump(pid, target, scenario, "short").await?;
        self.run(scenario, target, LONG).await?;
        let long = self.dump(pid, target, scenario, "long").await?;
        self.tell(pid, &["instrumentation", "off"]).await?;
        let transactions = f64::from(LONG - SHORT) * f64::from(scenario.clients);
        Ok(Count {
            serving: (long.serving - short.serving) / transactions,
            others: (long.others - short.others) / transactions,
        })
    }

    /// Has pgbench do so many transactions with each client.
    async fn run(&self, scenario: Scenario, target: Target, transactions: u32) -> Result<()> {
        let address = self.servers.address(target)?;
        let script = self.profiles.join("script.sql");
        fs::write(&script, scenario.workload.script())?;
        let mut command = Command::new(Programs::postgres()?.join("pgbench"));
        command
            .args([
                "--no-vacuum",
                "--host",
                "127.0.0.1",
                "--protocol",
                scenario.protocol.name(),
            ])
            .arg(format!("--client={}", scenario.clients))
            .arg(format!("--transactions={transactions}"))
            .arg(format!("--port={}", address.port))
            .arg(format!("--username={}", address.user))
            .arg("--file")
            .arg(script)
            .arg(&address.database)
            .env("PGPASSWORD", &address.password)
            .env("LC_ALL", "C");
        finish(command, RUN_BOUND).await
    }

    /// Tells the valgrind that runs `pid` something.
    async fn tell(&self, pid: i32, words: &[&str]) -> Result<()> {
        // It has to be the user that the program runs as.
        let process = fs::metadata(format!("/proc/{pid}"))?;
        let mut command = Command::new("vgdb");
        command
            .uid(process.uid())
            .gid(process.gid())
            .arg(format!("--vgdb-prefix={}/vgdb", self.profiles.display()))
            .arg(format!("--pid={pid}"))
            .args(words);
        finish(command, COMMAND_BOUND).await
    }

    /// Writes what was counted since the last time into profiles, one for each thread, and gives their sums.
    async fn dump(&self, pid: i32, target: Target, scenario: Scenario, length: &str) -> Result<Count> {
        let prefix = format!("{}.{pid}", target.name());
        self.tell(pid, &["dump"]).await?;
        let mut counted = Count::default();
        for entry in fs::read_dir(self.profiles)? {
            let path = entry?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            let Some(thread) = name.strip_prefix(&prefix).and_then(|rest| rest.rsplit_once('-')) else {
                continue;
            };
            let label = scenario.label().replace(' ', "-");
            let kept = format!("{}-{label}-{length}-thread{}", target.name(), thread.1);
            let text = fs::read_to_string(&path)?;
            match total(&text) {
                Some(count) if count > 0 => {
                    fs::rename(&path, self.profiles.join(kept))?;
                    if target == Target::PgBouncer || text.contains(DATA_THREAD) {
                        counted.serving += count as f64;
                    } else {
                        counted.others += count as f64;
                    }
                }
                _ => fs::remove_file(&path)?,
            }
        }
        if counted.serving == 0.0 {
            bail!("callgrind wrote no profile of {}", target.name());
        }
        Ok(counted)
    }
}

/// The instructions that a profile tells in all.
fn total(profile: &str) -> Option<u64> {
    let line = profile.lines().rev().find_map(|line| {
        line.strip_prefix("totals: ")
            .or_else(|| line.strip_prefix("summary: "))
    });
    line?.split_whitespace().next()?.parse().ok()
}

async fn finish(mut command: Command, bound: Duration) -> Result<()> {
    let name = format!("{:?}", command.as_std().get_program());
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(bound, command.output())
        .await
        .with_context(|| format!("{name} does not end"))?
        .with_context(|| name.clone())?;
    if !output.status.success() {
        bail!("{name} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::total;

    #[test]
    fn the_sum_of_a_profile_is_its_last_line() {
        let text = "version: 1\nevents: Ir\nsummary: 12\n\nfn=(1) a\n1 5\n2 7\n\ntotals: 12\n";
        assert_eq!(total(text), Some(12));
        assert_eq!(total("version: 1\n"), None);
    }
}
