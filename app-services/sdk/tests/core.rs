//! Sessions, retries, deadlines and the breaker against a real Ringway over two shards in two regions.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the failure")]

mod support;

use anyhow::Result;
use cluster::{Backing, Region, StopMode};
use http::HeaderMap;
use ringway_sdk::breaker::{BreakerSettings, State};
use ringway_sdk::{Blame, Context, Database, Error, Isolation, Level, Retry, Settings};
use std::time::{Duration, Instant};
use support::cut::Cut;
use support::{BOUND, Refusal, Scene, until};

const USERS: i64 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_core_keeps_its_promises() -> Result<()> {
    let scene = Box::pin(Scene::start(Backing::Embedded)).await?;
    let database = scene.database(Region::UsEast);
    scene.open_accounts(USERS).await?;
    println!("a session's writes are seen in the other region");
    sessions_travel(&scene, &database).await?;
    println!("a pooled connection keeps nothing of whom it served before");
    sessions_do_not_mix(&scene, &database).await?;
    println!("conflicts are tried again");
    conflicts_are_tried_again(&database).await?;
    println!("a service's own refusal rolls back and is handed on");
    refusals_roll_back(&database).await?;
    println!("a passed-over error does not commit");
    passed_over_errors_roll_back(&database).await?;
    println!("deadlines end statements");
    deadlines_end_statements(&scene, &database).await?;
    println!("an unknown outcome is found out under a key");
    unknown_outcomes(&scene).await?;
    println!("backends killed in transactions");
    killed_backends(&scene, &database).await?;
    println!("the breaker");
    breaker_opens_and_closes(&scene).await?;
    Ok(())
}

async fn add(database: &Database, context: &Context, user: i64, amount: i64) -> Result<i64, Error> {
    database
        .transaction(context, async |tx| {
            let sql = "UPDATE accounts SET balance = balance + $2 WHERE user_id = $1 RETURNING balance";
            Ok(tx.query_one(sql, &[&user, &amount]).await?.get(0))
        })
        .await
}

async fn balance(database: &Database, context: &Context, level: Level, user: i64) -> Result<i64, Error> {
    database
        .read(context, level, async |reader| {
            let sql = "SELECT balance FROM accounts WHERE user_id = $1";
            Ok(reader.query_one(sql, &[&user]).await?.get(0))
        })
        .await
}

/// What another service makes of the answer of the first.
fn handed_over(context: &Context) -> Context {
    let mut headers = HeaderMap::new();
    context.write_answer(&mut headers);
    Context::from_headers(&headers, BOUND).unwrap()
}

async fn sessions_travel(scene: &Scene, east: &Database) -> Result<()> {
    let west = scene.database(Region::UsWest);
    scene.pause_replay().await?;
    for user in 0..4 {
        let context = Context::background();
        let old = balance(&west, &context, Level::Bounded(BOUND), user).await?;
        let new = add(east, &context, user, 7).await?;
        // As soon as Ringway has a connection to it that is older than what it knows of it.
        until("without the token the paused standby answers", async || {
            let context = Context::background();
            let read = balance(&west, &context, Level::Bounded(BOUND), user);
            read.await.unwrap() == old
        })
        .await;
        let seen = balance(&west, &handed_over(&context), Level::Ryw, user).await?;
        assert_eq!(seen, new, "with the token");
        let strong = balance(&west, &Context::background(), Level::Strong, user).await?;
        assert_eq!(strong, new, "at level strong");
    }
    scene.at_standbys("SELECT pg_wal_replay_resume()").await?;
    Ok(())
}

async fn sessions_do_not_mix(scene: &Scene, east: &Database) -> Result<()> {
    let one = Settings {
        connections: 1,
        ..Settings::default()
    };
    let narrow = Database::new(&scene.url(Region::UsEast), one)?;
    let (first, second) = (Context::background(), Context::background());
    // Two users whose rows lie on different shards.
    let mut shards = Vec::new();
    for user in 0..USERS {
        let context = Context::background();
        add(&narrow, &context, user, 0).await?;
        let token = context.session().causality().to_string();
        let fields: Vec<&str> = token.split('/').skip(2).collect();
        assert_eq!(
            fields.len(),
            1,
            "one write, one shard, whatever went before: {token}"
        );
        shards.push(fields[0].split(':').next().unwrap().to_owned());
    }
    let other = shards.iter().position(|shard| *shard != shards[0]).unwrap();
    add(&narrow, &first, 0, 1).await?;
    add(&narrow, &second, i64::try_from(other)?, 1).await?;
    let joined = first.clone();
    joined.session().add(&second.session().causality());
    assert_eq!(joined.session().causality().to_string().split('/').count(), 4);
    assert!(balance(east, &joined, Level::Ryw, 0).await? > 0);
    Ok(())
}

async fn conflicts_are_tried_again(database: &Database) -> Result<()> {
    const TASKS: i64 = 8;
    const EACH: i64 = 5;
    let context = Context::background();
    let before = balance(database, &context, Level::Strong, 1).await?;
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let database = database.clone();
            tokio::spawn(async move {
                let mut done = 0;
                while done < EACH {
                    let added = increment(&database).await;
                    match added {
                        Ok(()) => done += 1,
                        // The attempts of one call are bounded; the service would tell its caller to come again.
                        Err(error) => assert_eq!(error.blame(), Blame::Conflict, "{error}"),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await?;
    }
    let after = balance(database, &context, Level::Strong, 1).await?;
    assert_eq!(after - before, TASKS * EACH);
    Ok(())
}

/// Reads and writes apart, which only conflicts make safe.
async fn increment(database: &Database) -> Result<(), Error> {
    let context = Context::background();
    database
        .transaction_with(&context, Isolation::RepeatableRead, async |tx| {
            let row = tx
                .query_one("SELECT balance FROM accounts WHERE user_id = $1", &[&1_i64])
                .await?;
            let new = row.get::<_, i64>(0) + 1;
            tx.execute(
                "UPDATE accounts SET balance = $2 WHERE user_id = $1",
                &[&1_i64, &new],
            )
            .await?;
            Ok(())
        })
        .await
}

async fn refusals_roll_back(database: &Database) -> Result<()> {
    let context = Context::background();
    let before = balance(database, &context, Level::Strong, 2).await?;
    let refused: Result<(), Refusal> = database
        .transaction(&context, async |tx| {
            tx.execute(
                "UPDATE accounts SET balance = balance - 5 WHERE user_id = $1",
                &[&2_i64],
            )
            .await?;
            Err(Refusal::No)
        })
        .await;
    assert!(matches!(refused, Err(Refusal::No)), "{refused:?}");
    assert_eq!(balance(database, &context, Level::Strong, 2).await?, before);
    let twice: Result<u64, Error> = database
        .transaction(&context, async |tx| {
            tx.execute("INSERT INTO accounts VALUES ($1, 0)", &[&2_i64]).await
        })
        .await;
    let twice = twice.unwrap_err();
    assert_eq!((twice.blame(), twice.retry()), (Blame::Caller, Retry::Never));
    assert_eq!(twice.constraint(), Some("accounts_pkey"));
    Ok(())
}

async fn passed_over_errors_roll_back(database: &Database) -> Result<()> {
    let context = Context::background();
    let before = balance(database, &context, Level::Strong, 3).await?;
    let done: Result<(), Error> = database
        .transaction(&context, async |tx| {
            tx.execute(
                "UPDATE accounts SET balance = balance + 5 WHERE user_id = $1",
                &[&3_i64],
            )
            .await?;
            let _ = tx.execute("INSERT INTO accounts VALUES ($1, 0)", &[&3_i64]).await;
            Ok(())
        })
        .await;
    assert_eq!(done.unwrap_err().blame(), Blame::Caller);
    assert_eq!(balance(database, &context, Level::Strong, 3).await?, before);
    Ok(())
}

async fn deadlines_end_statements(scene: &Scene, database: &Database) -> Result<()> {
    let context = Context::background().with_timeout(Duration::from_millis(300));
    let began = Instant::now();
    let slow: Result<u64, Error> = database
        .transaction(&context, async |tx| {
            tx.execute(
                "UPDATE accounts SET balance = balance + 1000 WHERE user_id = $1",
                &[&4_i64],
            )
            .await?;
            tx.execute(
                "UPDATE accounts SET balance = balance + length(pg_sleep(20)::text) WHERE user_id = $1",
                &[&4_i64],
            )
            .await
        })
        .await;
    let error = slow.unwrap_err();
    assert_eq!(
        (error.blame(), error.retry()),
        (Blame::Deadline, Retry::Never),
        "{error}"
    );
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    until("the statement is cancelled at its server", async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle' AND query LIKE '%pg_sleep(20)%' AND pid <> pg_backend_pid()";
        scene.sum_at_primaries(sql).await.unwrap() == 0
    })
    .await;
    assert!(balance(database, &Context::background(), Level::Strong, 4).await? < 1000);
    Ok(())
}

async fn unknown_outcomes(scene: &Scene) -> Result<()> {
    let cut = Cut::before(scene.ringways.of(Region::UsEast).port()).await?;
    let url = scene.url(Region::UsEast);
    let own = format!(":{}/", scene.ringways.of(Region::UsEast).port());
    let database = Database::new(
        &url.replace(&own, &format!(":{}/", cut.port)),
        Settings::default(),
    )?;
    let context = Context::background();
    let before = balance(&database, &context, Level::Strong, 5).await?;

    cut.cut_next(1);
    let error = add(&database, &context, 5, 1).await.unwrap_err();
    assert!(error.is_outcome_unknown() && cut.left() == 0, "{error}");
    let after = balance(&database, &context, Level::Strong, 5).await?;
    assert_eq!(after, before + 1, "it was committed, and not done again");

    cut.cut_next(2);
    let once = |operation: &'static str| scene.store.once(5, "request-1", operation);
    let work = async |tx: ringway_sdk::Transaction| -> Result<i64, Error> {
        let sql = "UPDATE accounts SET balance = balance + 1 WHERE user_id = $1 RETURNING balance";
        Ok(tx.query_one(sql, &[&5_i64]).await?.get(0))
    };
    let answer = database.transaction_once(&context, once("add"), work).await?;
    assert_eq!(answer, before + 2, "the first attempt had been committed");
    assert_eq!(cut.left(), 0);
    let again = database.transaction_once(&context, once("add"), work).await?;
    assert_eq!(again, before + 2);
    let other = database.transaction_once(&context, once("subtract"), work).await;
    assert_eq!(other.unwrap_err().blame(), Blame::Caller);
    assert_eq!(balance(&database, &context, Level::Strong, 5).await?, before + 2);
    Ok(())
}

async fn killed_backends(scene: &Scene, database: &Database) -> Result<()> {
    const TASKS: usize = 4;
    const EACH: usize = 60;
    let sum = "SELECT coalesce(sum(balance), 0)::bigint FROM accounts";
    let before = scene.sum_at_primaries(sum).await?;
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (database, store) = (database.clone(), scene.store.clone());
            tokio::spawn(async move {
                let context = Context::background();
                for n in 0..EACH {
                    let user = i64::try_from((task * 7 + n) % 20).unwrap();
                    let once = store.once(user, format!("kill-{task}-{n}"), "add");
                    let began = Instant::now();
                    let work = async |tx: ringway_sdk::Transaction| -> Result<(), Error> {
                        tx.execute(
                            "UPDATE accounts SET balance = balance + 1 WHERE user_id = $1",
                            &[&user],
                        )
                        .await?;
                        Ok(())
                    };
                    while let Err(error) = database.transaction_once(&context, once.clone(), work).await {
                        assert_ne!(error.blame(), Blame::Caller, "{error:?}");
                        assert!(began.elapsed() < BOUND, "{error}");
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            })
        })
        .collect();
    let mut killed = 0;
    while !tasks.iter().all(tokio::task::JoinHandle::is_finished) {
        let kill = "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity WHERE usename = 'shop' AND pid <> pg_backend_pid() AND random() < 0.3) s";
        for shard in scene.cluster.shards() {
            let client = shard
                .primary
                .connect(cluster::CONTROL_ROLE, cluster::SHOP)
                .await?;
            killed += client.query_one(kill, &[]).await?.get::<_, i64>(0);
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    for task in tasks {
        task.await?;
    }
    println!("  {killed} backends killed");
    assert!(killed > 5, "too few to show anything");
    let after = scene.sum_at_primaries(sum).await?;
    assert_eq!(after - before, i64::try_from(TASKS * EACH)?);
    Ok(())
}

async fn breaker_opens_and_closes(scene: &Scene) -> Result<()> {
    let breaker = BreakerSettings {
        min_calls: 5,
        open_for: Duration::from_millis(500),
        ..BreakerSettings::default()
    };
    let database = Database::new(
        &scene.url(Region::UsWest),
        Settings {
            breaker,
            ..Settings::default()
        },
    )?;
    let context = Context::background();
    balance(&database, &context, Level::Ryw, 1).await?;
    let ringway = scene.ringways.of(Region::UsWest);
    ringway.stop(StopMode::Immediate).await?;
    until("it opens", async || {
        let error = balance(&database, &context, Level::Ryw, 1).await.unwrap_err();
        assert!(
            matches!(error.blame(), Blame::Network | Blame::Overload),
            "{error:?}"
        );
        database.breaker_state() == State::Open
    })
    .await;
    let began = Instant::now();
    let refused = balance(&database, &context, Level::Ryw, 1).await.unwrap_err();
    assert_eq!(refused.blame(), Blame::Overload);
    assert!(began.elapsed() < Duration::from_millis(50), "at once");
    ringway.start_again().await?;
    until("it closes", async || {
        let _ = balance(&database, &context, Level::Ryw, 1).await;
        database.breaker_state() == State::Closed
    })
    .await;
    Ok(())
}
