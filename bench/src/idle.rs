//! What clients cost that are logged in and rest: memory, and CPU time of the proxy.
//!
//! Memory is what the kernel has given the process (`Rss` of `/proc/PID/smaps_rollup`); sockets' own buffers in the kernel
//! are the same for every proxy and not in it. The empty process has served a client before, so that what is made once is
//! in it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets};

use crate::crowd::Running;
use crate::machine;
use crate::plan::Target;
use crate::servers::Servers;

/// Before memory is read and rest begins: what a login leaves to be done is done.
const SETTLE: Duration = Duration::from_secs(2);

/// One proxy with no client and with many.
#[derive(Clone, Copy, Debug)]
struct Rest {
    target: Target,
    empty: u64,
    full: u64,
    clients: usize,
    /// CPU time in a second, without and with clients.
    cpu: [Duration; 2],
    /// How often its threads slept and were woken in a second.
    wakeups: [f64; 2],
}

/// Measures both proxies and gives a table.
pub(crate) async fn measure(executable: &Path, clients: usize, rest: Duration) -> Result<String> {
    let servers = Box::pin(Servers::start(executable)).await?;
    let mut rests = Vec::new();
    for target in [Target::PgBouncer, Target::Ringway] {
        rests.push(measure_one(&servers, target, clients, rest).await?);
    }
    Ok(table(&rests, rest))
}

async fn measure_one(servers: &Servers, target: Target, clients: usize, rest: Duration) -> Result<Rest> {
    let address = servers.address(target)?;
    let pid = servers.proxy(target)?.context("no process")?;
    // Two clients that go again.
    drop(Running::start(&address, 2, 0).await?);
    let (empty, cpu_empty, wakeups_empty) = at_rest(pid, rest).await?;
    let crowd = Running::start(&address, clients, 0).await?;
    let (full, cpu_full, wakeups_full) = at_rest(pid, rest).await?;
    drop(crowd);
    Ok(Rest {
        target,
        empty,
        full,
        clients,
        cpu: [cpu_empty, cpu_full],
        wakeups: [wakeups_empty, wakeups_full],
    })
}

async fn at_rest(pid: i32, rest: Duration) -> Result<(u64, Duration, f64)> {
    tokio::time::sleep(SETTLE).await;
    let memory = resident(pid)?;
    let (cpu, woken) = (machine::cpu_time(pid)?, wakeups(pid)?);
    tokio::time::sleep(rest).await;
    let cpu = machine::cpu_time(pid)?
        .saturating_sub(cpu)
        .div_f64(rest.as_secs_f64());
    let woken = wakeups(pid)?.saturating_sub(woken) as f64 / rest.as_secs_f64();
    Ok((memory, cpu, woken))
}

/// Bytes of memory that the process has.
fn resident(pid: i32) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    Ok(number(&text, "Rss:").with_context(|| path)? * 1024)
}

/// How often a thread of the process has gone to sleep by itself.
fn wakeups(pid: i32) -> Result<u64> {
    let mut all = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A helper thread may have ended since the folder was read.
        let Ok(text) = fs::read_to_string(thread?.path().join("status")) else {
            continue;
        };
        all += number(&text, "voluntary_ctxt_switches:").unwrap_or(0);
    }
    Ok(all)
}

fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn table(rests: &[Rest], rest: Duration) -> String {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header([
        "proxy",
        "clients",
        "empty MiB",
        "full MiB",
        "KiB/client",
        "CPU ms/s empty",
        "CPU ms/s full",
        "wake-ups/s empty",
        "wake-ups/s full",
    ]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
    for rest in rests {
        let each = rest.full.saturating_sub(rest.empty) as f64 / 1024.0 / rest.clients as f64;
        let [cpu_empty, cpu_full] = rest.cpu.map(|cpu| format!("{:.2}", cpu.as_secs_f64() * 1e3));
        let [woken_empty, woken_full] = rest.wakeups.map(|woken| format!("{woken:.1}"));
        table.add_row([
            rest.target.name().to_owned(),
            rest.clients.to_string(),
            mib(rest.empty),
            mib(rest.full),
            format!("{each:.2}"),
            cpu_empty,
            cpu_full,
            woken_empty,
            woken_full,
        ]);
    }
    format!("At rest for {} s:\n\n{table}\n", rest.as_secs())
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_found_by_name() {
        let text = "Name:\tx\nRss:               1234 kB\nnonvoluntary_ctxt_switches:\t7\nvoluntary_ctxt_switches:\t5\n";
        assert_eq!(number(text, "Rss:"), Some(1234));
        assert_eq!(number(text, "voluntary_ctxt_switches:"), Some(5));
        assert_eq!(number(text, "Pss:"), None);
    }
}
