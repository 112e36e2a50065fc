//! Sagas whose steps fail, hang and are refused, while the instances that drive them vanish.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the failure")]

mod support;

use anyhow::Result;
use cluster::{Backing, Region};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ringway_sdk::saga::{Call, Definition, Orchestrator, Outcome, State, Step};
use ringway_sdk::{Context, Database, Error, ShardKey, Transaction};
use serde_json::json;
use std::time::{Duration, Instant};
use support::{BOUND, Refusal, Scene};
use uuid::Uuid;

const SAGAS: i64 = 80;
const USERS: i64 = 20;
const TIMEOUT: Duration = Duration::from_millis(400);

const fn step(action: &'static str, undo: &'static str) -> Step {
    Step {
        action,
        undo: Some(undo),
        timeout: TIMEOUT,
        attempts: 5,
    }
}

const ORDER: Definition = Definition {
    name: "order",
    steps: &[
        step("reserve", "release"),
        step("pay", "refund"),
        step("ship", "recall"),
    ],
};

/// How the services of a test keep their word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Services {
    Sound,
    /// Say that they have undone something, and haven't.
    NeverUndo,
}

fn is_refused(saga: i64) -> bool {
    saga % 5 == 0
}

/// A service: now and then it fails before or after it has acted, or doesn't answer in time.
async fn act(database: Database, services: Services, call: Call) -> Outcome {
    let fate = rand::rng().random_range(0..20);
    if fate == 0 {
        return Outcome::Again("failed before".to_owned());
    }
    if fate == 1 {
        tokio::time::sleep(TIMEOUT * 2).await;
    }
    let acted = carry_out(&database, services, &call).await;
    if fate == 2 {
        return Outcome::Again("failed after".to_owned());
    }
    match acted {
        Ok(()) => Outcome::Done,
        Err(Refusal::No) => Outcome::Refused("no".to_owned()),
        Err(Refusal::Sdk(error)) => Outcome::Again(error.to_string()),
    }
}

async fn carry_out(database: &Database, services: Services, call: &Call) -> Result<(), Refusal> {
    let ShardKey::Int8(user) = call.shard_key else {
        return Err(Refusal::No);
    };
    let saga = call.data["saga"].as_i64().unwrap();
    let done = |action: &str| {
        ORDER
            .steps
            .iter()
            .find(|step| step.undo == Some(action))
            .map(|step| step.action)
    };
    database
        .transaction(&call.context, async |tx| {
            // Tries of one user's actions come one after the other.
            tx.query_one(
                "SELECT balance FROM accounts WHERE user_id = $1 FOR UPDATE",
                &[&user],
            )
            .await?;
            if let Some(undone) = done(call.action) {
                if services == Services::Sound {
                    let sql = "DELETE FROM applied WHERE user_id = $1 AND version = $2 AND consumer = $3";
                    tx.execute(sql, &[&user, &saga, &undone]).await?;
                }
                return note(&tx, user, saga, call.action).await;
            }
            if call.action == "ship" && is_refused(saga) {
                return Err(Refusal::No);
            }
            let undo = ORDER
                .steps
                .iter()
                .find(|step| step.action == call.action)
                .and_then(|step| step.undo);
            if is_noted(&tx, user, saga, undo.unwrap()).await? {
                return Err(Refusal::No);
            }
            note(&tx, user, saga, call.action).await
        })
        .await
}

async fn is_noted(tx: &Transaction, user: i64, saga: i64, action: &str) -> Result<bool, Error> {
    let sql = "SELECT version FROM applied WHERE user_id = $1 AND version = $2 AND consumer = $3";
    Ok(!tx.query(sql, &[&user, &saga, &action]).await?.is_empty())
}

/// Writes down that something took effect, once.
async fn note(tx: &Transaction, user: i64, saga: i64, action: &str) -> Result<(), Refusal> {
    if is_noted(tx, user, saga, action).await? {
        return Ok(());
    }
    let sql = "INSERT INTO applied (user_id, consumer, event_id, version) VALUES ($1, $2, $3, $4)";
    tx.execute(sql, &[&user, &action, &Uuid::now_v7(), &saga]).await?;
    Ok(())
}

async fn start(database: &Database, scene: &Scene, saga: i64) -> Result<(), Error> {
    let (user, id) = (saga % USERS, format!("order-{saga}"));
    database
        .transaction(&Context::background(), async |tx| {
            tx.start_saga(
                &scene.store,
                &ShardKey::Int8(user),
                &id,
                &ORDER,
                &json!({ "saga": saga }),
            )
            .await
        })
        .await
}

/// Runs sagas from `first` on to their ends, while orchestrators vanish.
async fn play(scene: &Scene, services: Services, first: i64, seed: u64) -> Result<()> {
    let mut dice = StdRng::seed_from_u64(seed);
    let databases = [scene.database(Region::UsEast), scene.database(Region::UsWest)];
    for saga in first..first + SAGAS {
        start(&databases[0], scene, saga).await?;
    }
    start(&databases[0], scene, first).await?;
    let orchestrator = |n: usize| {
        let database = databases[n % 2].clone();
        let moving = Orchestrator::new(&database, &scene.store, ORDER, Duration::from_millis(20));
        tokio::spawn(async move { moving.run(|call| act(database.clone(), services, call)).await })
    };
    let mut running: Vec<_> = (0..3).map(orchestrator).collect();
    let began = Instant::now();
    let waiting = "SELECT count(*) FROM app_saga WHERE due IS NOT NULL";
    while scene.sum_at_primaries(waiting).await? > 0 {
        assert!(began.elapsed() < BOUND, "sagas don't end");
        // Rarer as time goes on.
        let calm = u64::try_from(began.elapsed().as_millis())? / 10;
        tokio::time::sleep(Duration::from_millis(dice.random_range(50..400) + calm)).await;
        let n = dice.random_range(0..running.len());
        std::mem::replace(&mut running[n], orchestrator(n)).abort();
    }
    running.iter().for_each(tokio::task::JoinHandle::abort);
    println!("{services:?}: {SAGAS} sagas in {:?}", began.elapsed());
    Ok(())
}

/// What is wrong, and how many sagas are done.
async fn findings(scene: &Scene, first: i64) -> Result<(Vec<String>, i64)> {
    let (mut found, mut all_done) = (Vec::new(), 0);
    let database = scene.database(Region::UsEast);
    let effects = "SELECT count(*) FROM applied WHERE user_id = $1 AND version = $2 AND consumer IN ('reserve', 'pay', 'ship')";
    for saga in first..first + SAGAS {
        let (user, id) = (saga % USERS, format!("order-{saga}"));
        let work = async |tx: Transaction| {
            let state = tx.saga_state(&scene.store, &ShardKey::Int8(user), &id).await?;
            let count: i64 = tx.query_one(effects, &[&user, &saga]).await?.get(0);
            Ok::<_, Error>((state.unwrap(), count))
        };
        match database.transaction(&Context::background(), work).await? {
            (State::Done, 3) if !is_refused(saga) => all_done += 1,
            (State::Undone, 0) => {}
            wrong => found.push(format!("saga {saga}: {wrong:?}")),
        }
    }
    Ok((found, all_done))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_saga_is_done_or_undone() -> Result<()> {
    let seed = support::seed()?;
    let scene = Box::pin(Scene::start(Backing::Embedded)).await?;
    scene.open_accounts(USERS).await?;
    play(&scene, Services::Sound, 0, seed).await?;
    let (found, done) = findings(&scene, 0).await?;
    println!("{done} done");
    assert_eq!(found, Vec::<String>::new());
    assert!(done > SAGAS / 4, "{done} done shows little");

    play(&scene, Services::NeverUndo, SAGAS, seed).await?;
    let (found, _) = findings(&scene, SAGAS).await?;
    assert!(
        !found.is_empty(),
        "the checker sees nothing of services that don't undo"
    );
    Ok(())
}
