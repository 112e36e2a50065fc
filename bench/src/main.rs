//! Load benchmarks: direct PostgreSQL, PgBouncer and Ringway in turn, in interleaved rounds.
//!
//! In: `--quick` or `--full`. Out: tables or JSON of transactions per second, latencies, failed transactions and the
//! proxy's CPU time per transaction, and the same as shares of PgBouncer's. README.md says how to read them.
//!
//! **Invariant:** a failed transaction makes the command fail, a speed never does.
//! **Invariant:** everything it started is stopped when it ends, also when it is interrupted.
//! **Invariant:** bounded in time: no round begins that would likely end after the plan's budget.
//! **Invariant:** knows nothing about Ringway's insides: an executable, a configuration, `/metrics`.

mod crowd;
mod fairness;
mod idle;
mod instructions;
mod machine;
mod pgbench;
mod plan;
mod report;
mod results;
mod servers;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use crate::machine::Machine;
use crate::pgbench::{Run, Sample};
use crate::plan::{Plan, Scenario, Size, Target, Workload};
use crate::report::Report;
use crate::results::{Round, Row, Spread, failures};
use crate::servers::{SHARDS, Servers};

/// Measure Ringway beside direct PostgreSQL and PgBouncer.
#[derive(Parser, Debug)]
#[command(name = "bench", version, max_term_width = 100)]
struct Cli {
    /// A part of it, in under three minutes. The default.
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// All of it: about a quarter of an hour.
    #[arg(long)]
    full: bool,
    /// Only what has this in its name, as in "select-only simple 16", and what that is compared with.
    #[arg(long, value_name = "PART")]
    only: Option<String>,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t = OutputFormat::Table)]
    output: OutputFormat,
    /// Measure this executable instead of the one that is built from these sources.
    #[arg(long, value_name = "FILE")]
    ringway: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What else it can do.
#[derive(Subcommand, Debug)]
enum Command {
    /// Count the instructions of a transaction under callgrind, for Ringway and PgBouncer.
    Instructions {
        /// Only what has this in its name, as in "select-only simple 16".
        only: Option<String>,
        /// Where the profiles are left.
        #[arg(long, value_name = "FOLDER", default_value = "/tmp/ringway-instructions")]
        profiles: PathBuf,
    },
    /// What resting clients cost: memory for each, and CPU time.
    Idle {
        /// So many of them.
        #[arg(long, default_value_t = 10_000)]
        clients: usize,
        /// How long the proxies are watched at rest.
        #[arg(long, value_name = "SECONDS", default_value_t = 30)]
        rest: u64,
    },
    /// How long the unluckiest of many busy clients waits.
    Fairness {
        /// So many of them.
        #[arg(long, default_value_t = 2_000)]
        clients: usize,
        /// How long they are busy.
        #[arg(long, value_name = "SECONDS", default_value_t = 10)]
        seconds: u64,
    },
    /// Be the clients of a measurement.
    #[command(hide = true)]
    Crowd(crowd::Crowd),
}

/// How the result is printed.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum OutputFormat {
    /// Tables in Markdown.
    Table,
    /// One JSON document.
    Json,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(failures) if failures.is_empty() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Does it and prints the result; gives what failed.
fn run(cli: &Cli) -> Result<Vec<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    if let Some(Command::Crowd(crowd)) = &cli.command {
        runtime.block_on(crowd::be(crowd))?;
        return Ok(Vec::new());
    }
    let executable = match &cli.ringway {
        Some(path) => path.canonicalize()?,
        None => cluster::build_ringway()?,
    };
    if let Some(command) = &cli.command {
        print!(
            "{}",
            runtime.block_on(until_interrupted(other(command, &executable)))?
        );
        return Ok(Vec::new());
    }
    let mut plan = Plan::new(if cli.full { Size::Full } else { Size::Quick });
    if let Some(part) = &cli.only {
        plan = plan.only(part);
        ensure!(!plan.scenarios.is_empty(), "nothing is named like '{part}'");
    }
    let report = runtime.block_on(until_interrupted(Box::pin(measure(&executable, &plan))))?;
    match cli.output {
        OutputFormat::Table => print!("{}", report.text()),
        OutputFormat::Json => println!("{}", report.json()?),
    }
    Ok(report.failures)
}

/// What isn't a measurement in rounds; gives what is printed.
async fn other(command: &Command, executable: &Path) -> Result<String> {
    match command {
        Command::Instructions { only, profiles } => {
            Box::pin(instructions::count(executable, profiles, only.as_deref())).await
        }
        Command::Idle { clients, rest } => {
            Box::pin(idle::measure(executable, *clients, Duration::from_secs(*rest))).await
        }
        Command::Fairness { clients, seconds } => {
            Box::pin(fairness::measure(executable, *clients, *seconds)).await
        }
        Command::Crowd(crowd) => crowd::be(crowd).await.map(|()| String::new()),
    }
}

/// The servers end with the future that owns them.
async fn until_interrupted<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        done = work => done,
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("terminated"),
    }
}

/// Starts the servers, measures, and stops them.
async fn measure(executable: &Path, plan: &Plan) -> Result<Report> {
    let mut report = Report::new(Machine::describe(executable).await?, plan);
    let began = Instant::now();
    eprintln!("starting two shards, PgBouncer and Ringway");
    let servers = Servers::start(executable).await?;
    let bench = Bench {
        servers: &servers,
        plan,
        instructions: machine::counts_instructions().await,
        pgbouncer_prepares: report.pgbouncer_prepares,
    };
    let mut rounds = Vec::new();
    let mut loads = Vec::new();
    bench.fill_cache().await?;
    for number in 1..=plan.rounds {
        loads.push(machine::load_at_rest().await?);
        let round_began = Instant::now();
        rounds.push(bench.round(number, &mut report.failures).await?);
        if began.elapsed() + round_began.elapsed() > plan.budget {
            break;
        }
    }
    report.rounds = rounds.len();
    report.load_at_rest = Spread::of(loads.into_iter());
    for &scenario in &plan.scenarios {
        let targets = scenario
            .targets()
            .iter()
            .filter(|&&target| bench.can_answer(scenario, target));
        let rows = targets.map(|&target| Row::new(&rounds, scenario, target, bench.pgbouncer_prepares));
        report.rows.extend(rows);
    }
    report.failures.extend(failures(&report.rows));
    Ok(report)
}

/// What all runs have in common.
struct Bench<'a> {
    servers: &'a Servers,
    plan: &'a Plan,
    instructions: bool,
    pgbouncer_prepares: bool,
}

impl Bench<'_> {
    fn can_answer(&self, scenario: Scenario, target: Target) -> bool {
        target != Target::PgBouncer
            || scenario.reference(self.pgbouncer_prepares).protocol == scenario.protocol
    }

    /// Reads every row often enough that most later reads find it in the cache.
    async fn fill_cache(&self) -> Result<()> {
        for &scenario in &self.plan.scenarios {
            if scenario.workload == Workload::CachedRead {
                self.sample(scenario, Target::Ringway).await?;
            }
        }
        Ok(())
    }

    /// Measures everything once; each round begins with another target. An error if a proxy has ended.
    async fn round(&self, number: usize, failures: &mut Vec<String>) -> Result<Round> {
        let mut round = Round::default();
        for &scenario in &self.plan.scenarios {
            let mut line = format!("round {number} of {}: {}:", self.plan.rounds, scenario.label());
            let targets = scenario.targets();
            let order = targets
                .iter()
                .cycle()
                .skip(number % targets.len())
                .take(targets.len());
            for &target in order.filter(|&&target| self.can_answer(scenario, target)) {
                match self.sample(scenario, target).await {
                    Ok(sample) => {
                        line.push_str(&format!(" {} {:.0}/s", target.name(), sample.tps));
                        round.add(scenario, target, sample);
                    }
                    Err(error) => {
                        self.servers.proxy(target)?;
                        line.push_str(&format!(" {} failed", target.name()));
                        failures.push(format!("{}: {error:#}", target.name()));
                    }
                }
            }
            eprintln!("{line}");
        }
        Ok(round)
    }

    async fn sample(&self, scenario: Scenario, target: Target) -> Result<Sample> {
        let cached = scenario.workload == Workload::CachedRead;
        let parts = if scenario.workload.is_spread() {
            SHARDS.min(scenario.clients)
        } else {
            1
        };
        let addresses = (0..parts).map(|shard| self.servers.address_on(target, shard.into()));
        let run = Run {
            scenario,
            addresses: &addresses.collect::<Result<Vec<_>>>()?,
            proxy: self.servers.proxy(target)?,
            servers: &self.servers.postgres(),
            cache: cached.then(|| self.servers.ringway()),
            window: self.plan.window,
            instructions: self.instructions,
        };
        run.measure().await
    }
}
