//! Many busy clients over few server connections: how long the unluckiest of them waits.

use std::path::Path;

use anyhow::{Result, bail};
use comfy_table::{CellAlignment, Table, presets};

use crate::crowd::{Running, Seen};
use crate::plan::Target;
use crate::servers::{POOL_SIZE, Servers};

/// A wait beyond so many times what each client waits if all take turns is starving.
const STARVED: f64 = 10.0;

/// Measures both proxies and gives a table; an error if a client of Ringway starved.
pub(crate) async fn measure(executable: &Path, clients: usize, seconds: u64) -> Result<String> {
    let servers = Box::pin(Servers::start(executable)).await?;
    let mut all = Vec::new();
    for target in [Target::PgBouncer, Target::Ringway] {
        let crowd = Running::start(&servers.address(target)?, clients, seconds).await?;
        let seen = crowd.seen(seconds).await?;
        servers.proxy(target)?;
        all.push((target, seen));
    }
    let text = table(&all, clients, seconds);
    for (target, seen) in &all {
        if *target == Target::Ringway && starved(seen, clients, seconds) {
            bail!("a client starved:\n{text}");
        }
    }
    Ok(text)
}

/// If all take turns, a client is answered once in the time that all need for one answer each.
fn starved(seen: &Seen, clients: usize, seconds: u64) -> bool {
    let turn_ms = seconds as f64 * 1e3 * clients as f64 / seen.answers.max(1) as f64;
    seen.fewest == 0 || seen.max_ms > STARVED * turn_ms
}

fn table(all: &[(Target, Seen)], clients: usize, seconds: u64) -> String {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header([
        "proxy",
        "answers/s",
        "fewest of a client",
        "most of a client",
        "p50 ms",
        "p99 ms",
        "longest wait ms",
    ]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for (target, seen) in all {
        table.add_row([
            target.name().to_owned(),
            format!("{:.0}", seen.answers as f64 / seconds as f64),
            seen.fewest.to_string(),
            seen.most.to_string(),
            format!("{:.1}", seen.p50_ms),
            format!("{:.1}", seen.p99_ms),
            format!("{:.1}", seen.max_ms),
        ]);
    }
    format!("{clients} clients over {POOL_SIZE} connections to each server, for {seconds} s:\n\n{table}\n")
}

#[cfg(test)]
mod tests {
    use super::starved;
    use crate::crowd::Seen;

    #[test]
    fn starving_is_told_from_waiting_for_one_s_turn() {
        let seen = Seen {
            answers: 20_000,
            fewest: 3,
            most: 12,
            p50_ms: 900.0,
            p99_ms: 1200.0,
            max_ms: 1500.0,
        };
        assert!(!starved(&seen, 2000, 10));
        assert!(starved(
            &Seen {
                max_ms: 10_001.0,
                ..seen
            },
            2000,
            10
        ));
        assert!(starved(&Seen { fewest: 0, ..seen }, 2000, 10));
    }
}
