//! The result as tables for eyes, or as JSON.

use std::fmt::Write as _;

use anyhow::Result;
use comfy_table::{CellAlignment, ColumnConstraint, Table, presets};
use serde::Serialize;

use crate::machine::Machine;
use crate::plan::{Plan, Size, Target};
use crate::results::{Row, Spread};
use crate::servers::{ACCOUNTS, POOL_SIZE};

/// All that is told.
#[derive(Serialize, Debug)]
pub(crate) struct Report {
    /// Where it was measured, and what.
    pub(crate) machine: Machine,
    /// How much was measured.
    pub(crate) size: Size,
    /// How often.
    pub(crate) rounds: usize,
    /// How long each run was measured, in seconds.
    pub(crate) window_s: f64,
    /// The share of the machine that was busy between the rounds.
    pub(crate) load_at_rest: Option<Spread>,
    /// Whether PgBouncer was measured with prepared statements.
    pub(crate) pgbouncer_prepares: bool,
    /// The figures.
    pub(crate) rows: Vec<Row>,
    /// Why the command failed; empty if it didn't.
    pub(crate) failures: Vec<String>,
}

impl Report {
    /// Without figures.
    pub(crate) fn new(machine: Machine, plan: &Plan) -> Self {
        Self {
            pgbouncer_prepares: machine.pgbouncer_prepares(),
            machine,
            size: plan.size,
            rounds: 0,
            window_s: plan.window.as_secs_f64(),
            load_at_rest: None,
            rows: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// One JSON document.
    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    /// Tables, in Markdown.
    pub(crate) fn text(&self) -> String {
        let mut text = self.heading();
        text.push_str("\nFigures: median over the rounds (least - greatest)\n");
        text.push_str(&table(&FIGURES, self.rows.iter().map(|row| figures(row).into())));
        text.push_str(
            "\nRingway's share of PgBouncer's figure in the same round: median (least - greatest)\n",
        );
        text.push_str(&table(
            &SHARES,
            self.rows
                .iter()
                .filter_map(|row| self.shares(row).map(Into::into)),
        ));
        self.notes(&mut text);
        text
    }

    // Writing to a String can't fail, hence the ignored results below.

    fn heading(&self) -> String {
        let Machine {
            cores,
            cpu,
            kernel,
            postgres,
            pgbouncer,
            ringway,
        } = &self.machine;
        let mut text = format!("{cores} cores ({cpu}), Linux {kernel}\n{postgres}; {pgbouncer}; {ringway}\n");
        let _ = writeln!(
            text,
            "{} rounds, each run measured for {:.1} s; pools of {POOL_SIZE}, fsync off, {ACCOUNTS} rows read by key",
            self.rounds, self.window_s,
        );
        if let Some(load) = self.load_at_rest {
            let _ = writeln!(
                text,
                "other load on the machine: {:.0}% of its CPU time between the rounds ({:.0} - {:.0}%)",
                load.median * 100.0,
                load.min * 100.0,
                load.max * 100.0,
            );
        }
        text
    }

    fn shares(&self, row: &Row) -> Option<[String; 10]> {
        let shares = row.shares.as_ref()?;
        let share = |spread: Option<Spread>| spread_text(spread, 2);
        let mark = if shares.reference.protocol == row.scenario.protocol {
            ""
        } else {
            " *"
        };
        Some([
            row.scenario.workload.name().to_owned(),
            format!("{}{mark}", row.scenario.protocol.name()),
            row.scenario.clients.to_string(),
            share(shares.tps),
            share(shares.p50),
            share(shares.p95),
            share(shares.p99),
            share(shares.cpu),
            share(shares.instructions),
            share(shares.tps_of_direct),
        ])
    }

    fn notes(&self, text: &mut String) {
        if !self.pgbouncer_prepares {
            text.push_str(
                "* beside extended: this PgBouncer can't share connections with prepared statements\n",
            );
        }
        for row in &self.rows {
            if let Some(hits) = row.hits {
                let label = row.scenario.label();
                let _ = writeln!(
                    text,
                    "{label}: {:.1}% from the in-process cache",
                    hits.median * 100.0
                );
            }
        }
        if self.rows.iter().all(|row| row.instructions.is_none()) {
            text.push_str("instructions: perf can't count them on this machine\n");
        }
        for failure in &self.failures {
            let _ = writeln!(text, "FAILED: {failure}");
        }
        if self.failures.is_empty() {
            text.push_str("no transaction failed\n");
        }
    }
}

const FIGURES: [&str; 11] = [
    "workload",
    "protocol",
    "clients",
    "through",
    "tx/s",
    "p50 ms",
    "p95 ms",
    "p99 ms",
    "proxy CPU us/tx",
    "servers' CPU us/tx",
    "failed",
];

const SHARES: [&str; 10] = [
    "workload",
    "protocol",
    "clients",
    "tx/s",
    "p50",
    "p95",
    "p99",
    "CPU/tx",
    "instructions/tx",
    "tx/s of direct",
];

/// Columns of text; the others are numbers.
const TEXTS: [&str; 3] = ["workload", "protocol", "through"];

fn figures(row: &Row) -> [String; 11] {
    [
        row.scenario.workload.name().to_owned(),
        row.scenario.protocol.name().to_owned(),
        row.scenario.clients.to_string(),
        row.target.name().to_owned(),
        spread_text(row.tps, 0),
        median_text(row.p50_ms),
        median_text(row.p95_ms),
        median_text(row.p99_ms),
        if row.target == Target::Direct {
            String::new()
        } else {
            spread_text(row.cpu_us, 1)
        },
        spread_text(row.servers_us, 1),
        row.failed.to_string(),
    ]
}

fn spread_text(spread: Option<Spread>, decimals: usize) -> String {
    spread.map_or_else(String::new, |Spread { median, min, max }| {
        format!("{median:.decimals$} ({min:.decimals$} - {max:.decimals$})")
    })
}

fn median_text(spread: Option<Spread>) -> String {
    spread.map_or_else(String::new, |spread| format!("{:.2}", spread.median))
}

/// A table without the columns that are empty in every row.
fn table(columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let rows: Vec<Vec<String>> = rows.collect();
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header(columns);
    for (number, (column, name)) in table.column_iter_mut().zip(columns).enumerate() {
        if !TEXTS.contains(name) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        if rows
            .iter()
            .all(|row| row.get(number).is_none_or(String::is_empty))
        {
            column.set_constraint(ColumnConstraint::Hidden);
        }
    }
    table.add_rows(rows);
    format!("{table}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pgbench::Sample;
    use crate::plan::{Protocol, Scenario, Workload};
    use crate::results::{Round, failures};

    fn report(failed: u64) -> Report {
        let machine = Machine {
            cores: 2,
            cpu: "CPU".to_owned(),
            kernel: "6".to_owned(),
            postgres: "postgres 15".to_owned(),
            pgbouncer: "PgBouncer 1.18.0".to_owned(),
            ringway: "ringway (release)".to_owned(),
        };
        let sample = |tps, cpu_us, failed| Sample {
            tps,
            p50_ms: 1.0,
            p95_ms: 2.0,
            p99_ms: 3.0,
            cpu_us,
            servers_us: 25.0,
            instructions: None,
            hits: None,
            failed,
            complaint: None,
        };
        let scenario = |protocol| Scenario {
            workload: Workload::SelectOnly,
            protocol,
            clients: 64,
        };
        let (extended, prepared) = (scenario(Protocol::Extended), scenario(Protocol::Prepared));
        let mut round = Round::default();
        round.add(extended, Target::PgBouncer, sample(20_000.0, Some(12.0), 0));
        round.add(prepared, Target::Ringway, sample(10_000.0, Some(9.0), failed));
        let rounds = [round];
        let mut report = Report::new(machine, &Plan::new(Size::Quick));
        report.rows = vec![
            Row::new(&rounds, extended, Target::PgBouncer, false),
            Row::new(&rounds, prepared, Target::Ringway, false),
        ];
        report.failures = failures(&report.rows);
        report
    }

    #[test]
    fn the_text_tells_figures_shares_and_that_nothing_failed() {
        let text = report(0).text();
        assert!(text.contains("20000 (20000 - 20000)"), "{text}");
        assert!(text.contains("prepared *"), "{text}");
        assert!(text.contains("0.75 (0.75 - 0.75)"), "{text}");
        assert!(
            !text.contains("instructions/tx"),
            "a column without figures is left out: {text}"
        );
        assert!(text.ends_with("no transaction failed\n"), "{text}");
    }

    #[test]
    fn failures_are_told_in_both_forms() {
        let report = report(3);
        assert!(
            report
                .text()
                .contains("FAILED: select-only prepared 64: 3 failed through ringway")
        );
        let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!(json["failures"].as_array().unwrap().len(), 1);
        assert_eq!(json["rows"][1]["workload"], "select-only");
        assert_eq!(json["rows"][1]["target"], "ringway");
        assert_eq!(json["rows"][1]["shares"]["cpu"]["median"], 0.75);
        assert_eq!(json["rows"][1]["shares"]["reference"]["protocol"], "extended");
    }
}
