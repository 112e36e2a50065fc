//! The torture run in short, and that its checker sees what it is there for. By hand: `cargo test -p shop-torture -- --ignored --nocapture`.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the failure")]

use cluster::{PerRegion, build_ringway, build_shop};
use shop_torture::checker::{Report, check};
use shop_torture::load::{BUYING, Customers};
use shop_torture::mutant::Mutant;
use shop_torture::{events, faults, stage};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// A run that hangs fails.
const BOUND: Duration = Duration::from_secs(360);

/// For everything to come to an end after the load.
const SETTLE: Duration = Duration::from_secs(180);

/// So much of an instance's log is shown when something was found.
const LOG_LINES: usize = 100;

const POISONS: u32 = 2;
const RATE: u32 = 8;
const CUSTOMERS: usize = 10;

async fn run(instances: PerRegion<usize>, fault_count: u32, mutants: &[Mutant], settle: Duration) -> Report {
    let (ringway, program) = (build_ringway().unwrap(), build_shop().unwrap());
    let seed = rand::random();
    println!("seed {seed}");
    let story = async {
        let stage = Box::pin(stage::set(&ringway, &program, instances)).await?;
        for mutant in mutants {
            mutant.begin(&stage).await?;
        }
        let customers = Customers::register(&stage, CUSTOMERS).await?;
        events::poison(&stage.bootstrap()?, "order-events", POISONS).await?;
        let (ended, made) = tokio::sync::oneshot::channel::<()>();
        let plan = faults::Plan {
            count: fault_count,
            seed,
            only: None,
        };
        let failing = async {
            let tell = |number, what: &str| println!("fault {number}: {what}");
            let made = faults::make(&stage, plan, tell).await;
            sleep(Duration::from_secs(8)).await;
            drop(ended);
            made
        };
        let stop = async {
            let _ = made.await;
        };
        let load = customers.use_the_shop(BUYING, RATE, seed, stop);
        let (failed, ()) = tokio::join!(failing, load);
        failed?;
        for mutant in mutants {
            mutant.end(&stage).await?;
        }
        let told = customers.told();
        println!("{} orders, refused {:?}", told.accepted.len(), told.refused);
        assert!(told.accepted.len() > 5, "there was no load");
        let report = check(&stage, &told, POISONS, settle).await?;
        if !report.findings.is_empty() {
            for instance in stage.shop.instances() {
                println!("--- {}\n{}", instance.name(), instance.log_tail(LOG_LINES));
            }
        }
        anyhow::Ok(report)
    };
    let report = timeout(BOUND, story).await.unwrap().unwrap();
    println!("{:?}", report.counted);
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes three minutes of the whole machine; README, Not yet, says what was seen"]
async fn nothing_is_lost_and_nothing_is_done_twice_while_servers_are_killed() {
    let report = Box::pin(run(
        PerRegion {
            us_east: 1,
            us_west: 1,
        },
        8,
        &[],
        SETTLE,
    ))
    .await;
    assert_eq!(report.findings, [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes three minutes of the whole machine; README, Not yet, says what was seen"]
async fn the_checker_sees_an_outbox_that_is_bypassed_and_an_inbox_that_is_not_asked() {
    let mutants = [Mutant::OutboxBypassed, Mutant::InboxUnchecked];
    let instances = PerRegion {
        us_east: 1,
        us_west: 1,
    };
    // What was dropped never comes: there is no use in waiting long.
    let report = Box::pin(run(instances, 0, &mutants, Duration::from_secs(60))).await;
    let sees = |what: &str| report.findings.iter().any(|finding| finding.starts_with(what));
    assert!(
        sees("events that were noted and are not in the topic"),
        "{:?}",
        report.findings
    );
    assert!(
        sees("customers who were told more than once"),
        "{:?}",
        report.findings
    );
}
