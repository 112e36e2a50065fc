//! Fuzzing of everything that takes bytes from outside: decoders, and the state machines of a session.
//!
//! `cargo run --profile fuzz -p tests --bin fuzz -- --inputs 10000000 [--target NAME] [--seed N]`. Inputs are made from real ones by
//! changes that know of messages, lengths and words; those that make a target do something new are changed further. An
//! input must not panic, break what its target promises, allocate more than the target's bound, or take long.
//! A seed repeats a run exactly. What was found once is in `regressions.rs`.

mod driver;
mod mutate;
mod random;
mod regressions;
mod target;
mod targets;

use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Parser;

use driver::{Finding, Outcome, RUNNING};
use target::Target;

/// How long the same input may run before the process is given up.
const HANG: Duration = Duration::from_secs(60);

/// Feeds made-up input to every decoder and state machine.
#[derive(Parser)]
#[command(name = "fuzz")]
struct Arguments {
    /// How many inputs to run, over all targets.
    #[arg(long, default_value_t = 1_000_000)]
    inputs: u64,
    /// The targets to run; all of them if none is named.
    #[arg(long)]
    target: Vec<String>,
    /// Where the randomness begins.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Name the targets and leave.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let all = targets::all();
    if arguments.list {
        all.iter().for_each(|target| println!("{}", target.name));
        return ExitCode::SUCCESS;
    }
    let chosen: Vec<Target> = all
        .into_iter()
        .filter(|target| {
            arguments.target.is_empty() || arguments.target.iter().any(|name| name == target.name)
        })
        .collect();
    if chosen.is_empty() {
        eprintln!("no such target; --list names them");
        return ExitCode::FAILURE;
    }
    watch();
    let findings = run(&chosen, arguments.inputs, arguments.seed);
    if findings.is_empty() {
        return ExitCode::SUCCESS;
    }
    findings.iter().for_each(|finding| println!("\n{finding}"));
    ExitCode::FAILURE
}

fn run(targets: &[Target], inputs: u64, seed: u64) -> Vec<Finding> {
    let weights: u64 = targets.iter().map(|target| target.weight).sum();
    let mut findings = Vec::new();
    let mut total = 0;
    println!(
        "{:<18} {:>10} {:>7} {:>7} {:>10} {:>6} {:>11} {:>8} {:>8}",
        "target", "inputs", "kept", "marks", "allocated", "of", "slowest", "seconds", "findings"
    );
    for target in targets {
        let share = inputs * target.weight / weights.max(1);
        findings.extend(driver::with_quiet_panics(|| {
            driver::replay(target, &regressions::of(target.name))
        }));
        let outcome = driver::with_quiet_panics(|| driver::fuzz(target, share, seed));
        show(target, &outcome);
        total += outcome.inputs;
        findings.extend(outcome.findings);
    }
    println!("{:<18} {total:>10}", "all");
    findings
}

fn show(target: &Target, outcome: &Outcome) {
    let (allocated, of) = outcome.most_allocated;
    println!(
        "{:<18} {:>10} {:>7} {:>7} {allocated:>10} {of:>6} {:>11} {:>8.1} {:>8}",
        target.name,
        outcome.inputs,
        outcome.kept,
        outcome.marks,
        format!("{:?}", outcome.slowest),
        outcome.lasted.as_secs_f64(),
        outcome.findings.len()
    );
}

/// Ends the process where an input doesn't come to its end.
fn watch() {
    std::thread::spawn(|| {
        let mut last = RUNNING.load(Ordering::Relaxed);
        loop {
            std::thread::park_timeout(HANG);
            let running = RUNNING.load(Ordering::Relaxed);
            if running == last && running > 0 {
                eprintln!(
                    "input {running} of the target after those above has not come to its end in {HANG:?}"
                );
                std::process::exit(2);
            }
            last = running;
        }
    });
}

#[cfg(test)]
mod tests;
