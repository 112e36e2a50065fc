//! Many who append to the same aggregates at once, in both regions; and what is read again afterwards.

mod support;

use anyhow::Result;
use cluster::{Backing, Region, SHOP};
use ringway_sdk::event_store::{
    Aggregate, AppendError, Conflict, Encoded, Journal, Loaded, Publication, Scan, Unreadable,
};
use ringway_sdk::{Context, Database, Level, Reader, ShardKey};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use support::Scene;
use tokio_postgres::NoTls;

const USERS: i64 = 4;
const APPENDERS: i64 = 8;
const EACH: i64 = 12;

/// Amounts in their order: what is left out, repeated or swapped shows. `EVERY` is its bound of snapshots.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Purse<const EVERY: u32> {
    amounts: Vec<i64>,
}

impl<const EVERY: u32> Aggregate for Purse<EVERY> {
    type Event = i64;
    const TOPIC: &'static str = "purse-events";
    const SNAPSHOT_EVERY: u32 = EVERY;
    const FORM: i32 = 1;

    fn encode(event: &i64) -> Result<Encoded, Unreadable> {
        Ok(Encoded {
            kind: "put".into(),
            payload: event.to_string().into_bytes(),
        })
    }

    fn decode(_: &str, payload: &[u8]) -> Result<i64, Unreadable> {
        let text = String::from_utf8_lossy(payload);
        text.parse()
            .map_err(|_| Unreadable(format!("{text} is no amount")))
    }

    fn apply(&mut self, event: &i64) {
        self.amounts.push(*event);
    }
}

type Snapped = Purse<5>;
type Plain = Purse<0>;

fn aggregate(user: i64) -> String {
    format!("purse-{user}")
}

async fn load<const EVERY: u32>(
    database: &Database,
    journal: &Journal<Purse<EVERY>>,
    user: i64,
) -> Result<Loaded<Purse<EVERY>>> {
    let (key, id) = (ShardKey::Int8(user), aggregate(user));
    let work = async |reader: Reader| journal.load(&reader, &key, &id).await;
    Ok(database.read(&Context::background(), Level::Strong, work).await?)
}

/// Puts `EACH` amounts into purses, each after what was seen, again where somebody was faster; counts how often.
async fn append(database: Database, journal: Journal<Snapped>, number: i64) -> Result<u32> {
    let mut conflicts = 0;
    for n in 0..EACH {
        let user = (number + n) % USERS;
        let (key, id) = (ShardKey::Int8(user), aggregate(user));
        let amount = number * 1_000 + n;
        loop {
            let seen = load(&database, &journal, user).await?;
            let appended = database
                .transaction(&Context::background(), async |tx| {
                    journal.append(&tx, &key, &id, &seen, &[amount, -amount]).await
                })
                .await;
            match appended {
                Ok(after) => {
                    assert_eq!(after.version, seen.version + 2);
                    break;
                }
                Err(AppendError::Conflict(_)) => conflicts += 1,
                Err(AppendError::Sdk(error)) => return Err(error.into()),
            }
        }
    }
    Ok(conflicts)
}

/// The events of a table at all primaries, by aggregate, in the order of `order`.
async fn rows(
    scene: &Scene,
    table: &str,
    order: &str,
) -> Result<BTreeMap<String, Vec<(i64, String, Vec<u8>)>>> {
    let mut all: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for shard in scene.cluster.shards() {
        let client = shard.primary.connect(SHOP, SHOP).await?;
        let sql = format!("SELECT aggregate, version, id::text, payload FROM {table} ORDER BY {order}");
        for row in client.query(&sql, &[]).await? {
            let aggregate = all.entry(row.get(0)).or_default();
            aggregate.push((row.get(1), row.get(2), row.get(3)));
        }
    }
    Ok(all)
}

async fn scanned(scene: &Scene) -> Result<BTreeMap<String, Vec<(i64, String, Vec<u8>)>>> {
    let mut all: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for shard in scene.cluster.shards() {
        let url = shard.primary.url(SHOP, SHOP);
        let mut scan = Scan::begin(&scene.store, Snapped::TOPIC, &url, NoTls).await?;
        loop {
            let events = scan.next().await?;
            if events.is_empty() {
                break;
            }
            for event in events {
                let of = all.entry(event.aggregate).or_default();
                of.push((event.version, event.id.to_string(), event.payload));
            }
        }
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appenders_at_once_lose_nothing_and_skip_nothing() -> Result<()> {
    let scene = Box::pin(Scene::start(Backing::Embedded)).await?;
    let journal = Journal::<Snapped>::new(&scene.store, Publication::Outbox);
    let databases = [scene.database(Region::UsEast), scene.database(Region::UsWest)];
    let appenders = (0..APPENDERS).map(|number| {
        let database = databases[usize::try_from(number).unwrap() % 2].clone();
        tokio::spawn(append(database, journal.clone(), number))
    });
    let mut conflicts = 0;
    for appender in appenders.collect::<Vec<_>>() {
        conflicts += appender.await??;
    }
    println!("{conflicts} conflicts");
    assert!(conflicts > 0, "nobody ever met anybody: this shows little");

    let plain = Journal::<Plain>::new(&scene.store, Publication::None);
    let mut amounts = Vec::new();
    for user in 0..USERS {
        let snapped = load(&databases[0], &journal, user).await?;
        let whole = load(&databases[1], &plain, user).await?;
        assert_eq!(
            (&snapped.state.amounts, snapped.version),
            (&whole.state.amounts, whole.version)
        );
        for pair in whole.state.amounts.chunks(2) {
            assert_eq!(pair[0], -pair[1], "an append is not torn apart");
            amounts.push(pair[0]);
        }
    }
    amounts.sort_unstable();
    let expected: Vec<i64> = (0..APPENDERS)
        .flat_map(|a| (0..EACH).map(move |n| a * 1_000 + n))
        .collect();
    assert_eq!(amounts, expected);
    assert!(
        scene
            .sum_at_primaries("SELECT count(*) FROM app_snapshot")
            .await?
            == USERS
    );

    let recorded = rows(&scene, "app_event", "aggregate, version").await?;
    assert_eq!(
        rows(&scene, "app_outbox", "ord").await?,
        recorded,
        "in the outbox in order"
    );
    assert_eq!(scanned(&scene).await?, recorded);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_not_seen_the_last_event_is_refused() -> Result<()> {
    let scene = Box::pin(Scene::start(Backing::Embedded)).await?;
    let database = scene.database(Region::UsEast);
    let journal = Journal::<Snapped>::new(&scene.store, Publication::None);
    let (key, id) = (ShardKey::Int8(1), aggregate(1));
    let append = async |seen: &Loaded<Snapped>, events: &[i64]| {
        database
            .transaction(&Context::background(), async |tx| {
                journal.append(&tx, &key, &id, seen, events).await
            })
            .await
    };
    let nothing = Loaded::default();
    let three = append(&nothing, &[1, 2, 3]).await?;
    assert_eq!(three.version, 3);
    for (seen, expected) in [
        (&nothing, 0),
        (
            &Loaded {
                version: 2,
                ..three.clone()
            },
            2,
        ),
    ] {
        let refused = append(seen, &[4]).await;
        let Err(AppendError::Conflict(conflict)) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(conflict, Conflict { expected, found: 3 });
    }
    let ahead = append(
        &Loaded {
            version: 9,
            ..three.clone()
        },
        &[4],
    )
    .await;
    assert!(matches!(
        ahead,
        Err(AppendError::Conflict(Conflict {
            expected: 9,
            found: 3
        }))
    ));
    let four = append(&three, &[4]).await?;
    assert_eq!(load(&database, &journal, 1).await?, four);
    assert_eq!(scene.sum_at_primaries("SELECT count(*) FROM app_event").await?, 4);
    assert_eq!(
        scene.sum_at_primaries("SELECT count(*) FROM app_outbox").await?,
        0
    );
    Ok(())
}
