//! `torture`: the shop under load while its servers are killed, and what is left of it.
//!
//! `cargo run --release -p shop-torture -- --rate 50 --faults 200`; `--faults 0 --looking` measures latencies at a steady load.

use anyhow::{Result, bail};
use clap::Parser;
use cluster::{PerRegion, build_ringway, build_shop};
use shop_torture::load::{BUYING, Customers, LOOKING, Mix, Told, percentiles};
use shop_torture::watch::{self, Watch};
use shop_torture::{checker, events, faults, stage};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// For everything to come to an end after the load.
const SETTLE: Duration = Duration::from_secs(240);

/// So much of an instance's log is shown after a run that went wrong.
const LOG_LINES: usize = 40;

/// The shop under load while its servers are killed, and a checker of what is left
#[derive(Debug, Parser)]
struct Arguments {
    /// Things that customers begin in a second
    #[arg(long, default_value_t = 50)]
    rate: u32,
    /// The load lasts at least so long
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Faults that are made, one after the other
    #[arg(long, default_value_t = 0)]
    faults: u32,
    /// Faults of one kind only
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(faults::KINDS))]
    only: Option<String>,
    /// What the load and the faults are drawn from; another one each time if left out
    #[arg(long)]
    seed: Option<u64>,
    /// Customers, half of them in each region
    #[arg(long, default_value_t = 200)]
    customers: usize,
    /// Customers mostly look (80% of the requests are reads) instead of mostly buying
    #[arg(long)]
    looking: bool,
    /// Messages that are no events, put among the orders' events
    #[arg(long, default_value_t = 5)]
    poisons: u32,
    /// Customers with a socket in each region, who note when they are told of confirmations
    #[arg(long, default_value_t = 20)]
    sockets: usize,
    /// Instances of the shop in us-east
    #[arg(long, default_value_t = 2)]
    east: usize,
    /// Instances of the shop in us-west
    #[arg(long, default_value_t = 1)]
    west: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(rand::random);
    println!("seed {seed}");
    let (ringway, program) = (build_ringway()?, build_shop()?);
    let instances = PerRegion {
        us_east: arguments.east,
        us_west: arguments.west,
    };
    let stage = Box::pin(stage::set(&ringway, &program, instances)).await?;
    let customers = Customers::register(&stage, arguments.customers).await?;
    println!("{} customers have registered", arguments.customers);
    events::poison(&stage.bootstrap()?, "order-events", arguments.poisons).await?;
    let watch = Watch::begin(&stage, &customers, arguments.sockets).await?;
    let before = watch::reads(&stage).await?;
    let mix: Mix = if arguments.looking { LOOKING } else { BUYING };
    let began = Instant::now();
    let (ended, made) = tokio::sync::oneshot::channel();
    let plan = faults::Plan {
        count: arguments.faults,
        seed,
        only: arguments.only.as_deref(),
    };
    let failing = async {
        let tell = |number: u32, what: &str| {
            println!("{:7.1} s  fault {number}: {what}", began.elapsed().as_secs_f64());
        };
        let result = faults::make(&stage, plan, tell).await;
        sleep(Duration::from_secs(arguments.seconds).saturating_sub(began.elapsed())).await;
        // Nobody listens only if the load has ended before.
        let _ = ended.send(());
        result
    };
    let stop = async {
        // An end is an end.
        let _ = made.await;
    };
    let load = customers.use_the_shop(mix, arguments.rate, seed, stop);
    let (failed, ()) = tokio::join!(failing, load);
    failed?;
    let lasted = began.elapsed();
    let told = customers.told();
    show(&told, lasted);
    let after = watch::reads(&stage).await?;
    let reads: BTreeMap<String, u64> = after
        .into_iter()
        .map(|(source, count)| {
            let began = before.get(&source).copied().unwrap_or_default();
            (source, count.saturating_sub(began))
        })
        .collect();
    let all: u64 = reads.values().sum();
    for (source, count) in &reads {
        println!(
            "{count:12}  reads of everybody's from {source} ({:.1}%)",
            *count as f64 * 100.0 / all.max(1) as f64
        );
    }
    let report = checker::check(&stage, &told, arguments.poisons, SETTLE).await?;
    println!(
        "settled and checked after {:.1} s",
        (began.elapsed() - lasted).as_secs_f64()
    );
    for (region, delays) in watch.delays(&report.confirmed_at) {
        show_times(&format!("told in {region}"), &delays);
    }
    for (what, number) in &report.counted {
        println!("{number:12}  {what}");
    }
    for finding in &report.findings {
        println!("WRONG  {finding}");
    }
    if !report.findings.is_empty() {
        for instance in stage.shop.instances() {
            println!("--- {}\n{}", instance.name(), instance.log_tail(LOG_LINES));
        }
        bail!("{} findings, seed {seed}", report.findings.len());
    }
    println!("nothing was lost, nothing was done twice");
    Ok(())
}

fn show(told: &Told, lasted: Duration) {
    let timed: usize = told.took.values().map(Vec::len).sum();
    let good = timed as u64 + told.whence.values().sum::<u64>();
    let rate = good as f64 / lasted.as_secs_f64();
    println!(
        "{good} good answers in {:.1} s ({rate:.1} a second), {} orders accepted ({:.1} a second), {} reads failed, {} not begun",
        lasted.as_secs_f64(),
        told.accepted.len(),
        told.accepted.len() as f64 / lasted.as_secs_f64(),
        told.failed_reads,
        told.skipped
    );
    for (call, took) in &told.took {
        show_times(&format!("{call:?}"), took);
    }
    for ((call, source), number) in &told.whence {
        println!("{number:12}  answers to {call:?} from {source}");
    }
    for (problem, number) in &told.refused {
        println!("{number:12}  refused {problem}");
    }
}

fn show_times(what: &str, took: &[Duration]) {
    if let Some(percentiles) = percentiles(took) {
        let [p50, p95, p99] = percentiles.map(|took| took.as_secs_f64() * 1_000.0);
        println!(
            "{what:>15} {:8}  p50 {p50:7.1} ms  p95 {p95:7.1} ms  p99 {p99:7.1} ms",
            took.len()
        );
    }
}
