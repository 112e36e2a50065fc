//! Is any answer older than its level allows? Real servers, a proxy in each region, and one thing after another going wrong.
//!
//! Writers raise versions of rows through both proxies and straight at the primaries; readers at every level, in both
//! regions and both protocols, hold each answer against what was acknowledged before. Errors are counted, and wrong where
//! nothing that is needed for the answer was missing.
//!
//! `RINGWAY_FRESHNESS_SECONDS=60` lets the quiet stretches alone last so long, and prints a line for each phase.

mod history;
mod link;
mod mirror;
mod report;
mod scene;
mod schedule;
mod traffic;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use cluster::Region;

use scene::Scene;
use schedule::{Fault, Schedule};
use traffic::Traffic;

/// How long the quiet stretches last together.
const SECONDS: &str = "RINGWAY_FRESHNESS_SECONDS";
const DEFAULT_SECONDS: f64 = 13.5;
/// For all clients to end after the statement under way.
const END_BOUND: Duration = Duration::from_secs(60);
/// What must have happened, or the test has shown nothing.
const MUST_HAPPEN: [&str; 8] = [
    "strong",
    "ryw",
    "bounded",
    "mirror",
    "writes",
    "transactions",
    "tokens",
    "direct",
];

fn stretch() -> Result<Duration> {
    let seconds = match std::env::var(SECONDS) {
        Ok(text) => text.parse::<f64>().with_context(|| format!("{SECONDS}={text}"))?,
        Err(_) => DEFAULT_SECONDS,
    };
    let stretches = u32::try_from(Fault::ALL.len() + 1)?;
    Ok(Duration::try_from_secs_f64(seconds)? / stretches)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_older_than_its_level_allows() -> Result<()> {
    let stretch = stretch()?;
    let scene = Scene::set().await?;
    let traffic = Arc::new(Traffic::new(Arc::clone(&scene)));
    let clients = traffic.start()?;
    let carried_out = carry_out(&traffic, stretch).await;
    traffic.stop();
    traffic.report.end();
    let ended = tokio::time::timeout(END_BOUND, clients.join_all()).await;
    println!("{}", traffic.report.summary());
    let findings = traffic.report.findings();
    if !findings.is_empty() || carried_out.is_err() {
        for region in Region::ALL {
            println!(
                "--- Ringway in {}:\n{}",
                region.name(),
                scene.ringway(region).log_tail(40)
            );
        }
    }
    assert!(findings.is_empty(), "{findings}");
    carried_out?;
    for client in ended.context("a client does not end")? {
        client?;
    }
    for what in MUST_HAPPEN {
        assert!(
            traffic.report.total(what) > 0,
            "no {what} at all: the test has shown nothing"
        );
    }
    assert_eq!(traffic.report.violations(), 0);
    Ok(())
}

async fn carry_out(traffic: &Traffic, stretch: Duration) -> Result<()> {
    let mut schedule = Schedule::new(traffic, stretch)?;
    schedule.warm_up().await?;
    for fault in Fault::ALL {
        schedule.run(fault).await?;
    }
    Ok(())
}
