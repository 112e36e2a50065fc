//! A read model while projectors vanish, the document store crashes, Kafka forgets, and everything is built anew under its readers.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the failure")]

mod support;

use anyhow::Result;
use cluster::{Backing, MongoDb, Programs, Region, SHOP, StopMode};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use ringway_sdk::event_store::{Aggregate, AppendError, Encoded, Journal, Loaded, Publication, Unreadable};
use ringway_sdk::events::{Event, KafkaSettings, Relay, RelaySettings, TopicSettings, ensure_topics};
use ringway_sdk::projection::bson::{Document, doc};
use ringway_sdk::projection::{
    Change, Collection, DocumentSettings, Documents, Projection, Projector, ProjectorSettings, ReadModel,
    Source,
};
use ringway_sdk::{Context, Database, Level, Reader, ShardKey};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;
use support::{Scene, until};
use tokio_postgres::NoTls;
use uuid::Uuid;

const USERS: i64 = 6;
const EVENTS: i64 = 150;
const PARTITIONS: i32 = 3;

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Purse {
    amounts: Vec<i64>,
}

fn amount(payload: &[u8]) -> Result<i64, Unreadable> {
    let text = String::from_utf8_lossy(payload);
    text.parse()
        .map_err(|_| Unreadable(format!("{text} is no amount")))
}

impl Aggregate for Purse {
    type Event = i64;
    const TOPIC: &'static str = "purse-events";
    const SNAPSHOT_EVERY: u32 = 0;
    const FORM: i32 = 1;

    fn encode(event: &i64) -> Result<Encoded, Unreadable> {
        Ok(Encoded {
            kind: "put".into(),
            payload: event.to_string().into_bytes(),
        })
    }

    fn decode(_: &str, payload: &[u8]) -> Result<i64, Unreadable> {
        amount(payload)
    }

    fn apply(&mut self, event: &i64) {
        self.amounts.push(*event);
    }
}

/// One document for a purse, in which every way of changing shows what is left out or repeated; and one that comes and goes.
const PURSES: Projection = Projection {
    name: "purses",
    collections: &[
        Collection {
            name: "purse",
            indexes: &[&["owner", "-sum"]],
        },
        Collection {
            name: "odd",
            indexes: &[],
        },
    ],
    project: |event: &Event| {
        let amount = amount(&event.payload)?;
        let id = event.aggregate.as_str();
        let odd = if event.version % 2 == 1 {
            Change::of("odd", id).set("at", event.version)
        } else {
            Change::remove("odd", id)
        };
        let purse = Change::of("purse", id)
            .set("owner", event.shard_key.to_string())
            .set("last", amount)
            .inc("sum", amount)
            .push("amounts", amount);
        Ok(vec![purse, odd])
    },
};

async fn put(database: &Database, journal: &Journal<Purse>, user: i64, amount: i64) -> Result<()> {
    let (key, id) = (ShardKey::Int8(user), format!("purse-{user}"));
    loop {
        let appended = database
            .transaction(&Context::background(), async |tx| {
                let seen: Loaded<Purse> = journal.load(&tx, &key, &id).await?;
                journal.append(&tx, &key, &id, &seen, &[amount]).await
            })
            .await;
        match appended {
            Ok(_) => return Ok(()),
            Err(AppendError::Conflict(_)) => {}
            Err(AppendError::Sdk(error)) => return Err(error.into()),
        }
    }
}

/// What is wrong with a document, if it is to hold the amounts of a purse up to some moment.
fn finding(document: &Document, whole: &[i64]) -> Option<String> {
    let amounts: Vec<i64> = document
        .get_array("amounts")
        .unwrap()
        .iter()
        .map(|amount| amount.as_i64().unwrap())
        .collect();
    let sum: i64 = amounts.iter().sum();
    let right = whole.starts_with(&amounts)
        && document.get_i64("sum").ok() == Some(sum)
        && document.get_i64("last").ok() == amounts.last().copied();
    (!right).then(|| format!("{document} of {whole:?}"))
}

struct Play {
    scene: Scene,
    mongodb: MongoDb,
    kafka: KafkaSettings,
    documents: Documents,
    journal: Journal<Purse>,
}

impl Play {
    async fn start() -> Result<Self> {
        let scene = Box::pin(Scene::start(Backing::Full)).await?;
        let mongodb = MongoDb::start().await?;
        let kafka = KafkaSettings::new(scene.cluster.kafka().unwrap().bootstrap());
        let topic = TopicSettings {
            partitions: PARTITIONS,
            retry_partitions: 1,
            replication: 1,
            retention: Duration::from_secs(3_600),
        };
        ensure_topics(&kafka, &[Purse::TOPIC], topic).await?;
        for (number, shard) in (0..).zip(scene.cluster.shards()) {
            let settings = RelaySettings::new(shard.primary.url(SHOP, SHOP), number, kafka.clone());
            let relay = Relay::new(&scene.store, settings, NoTls)?;
            tokio::spawn(async move { relay.run(std::future::pending()).await });
        }
        let documents = Documents::new(DocumentSettings {
            uri: mongodb.uri(),
            database: format!("test_{}", Uuid::now_v7().simple()),
        });
        let journal = Journal::new(&scene.store, Publication::Outbox);
        Ok(Self {
            scene,
            mongodb,
            kafka,
            documents,
            journal,
        })
    }

    fn projector(&self) -> Arc<Projector> {
        let settings = ProjectorSettings {
            kafka: self.kafka.clone(),
            sources: vec![Source::Journal {
                topic: Purse::TOPIC.to_owned(),
                store: self.scene.store.clone(),
            }],
            shards: self
                .scene
                .cluster
                .shards()
                .iter()
                .map(|shard| shard.primary.url(SHOP, SHOP))
                .collect(),
        };
        let database = self.scene.database(Region::UsEast);
        Arc::new(Projector::new(&self.documents, &database, PURSES, settings).unwrap())
    }

    async fn whole(&self, database: &Database, user: i64) -> Result<Vec<i64>> {
        let (key, id) = (ShardKey::Int8(user), format!("purse-{user}"));
        let work = async |reader: Reader| self.journal.load(&reader, &key, &id).await;
        let loaded = database.read(&Context::background(), Level::Strong, work).await?;
        Ok(loaded.state.amounts)
    }

    /// Has Kafka forget all that it has.
    async fn forget(&self) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", &self.kafka.bootstrap)
            .create()?;
        let mut all = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            all.add_partition_offset(Purse::TOPIC, partition, Offset::End)?;
        }
        admin.delete_records(&all, &AdminOptions::new()).await?;
        Ok(())
    }

    /// What is wrong with the read model now that nothing happens any more; none once it has caught up.
    async fn findings(&self, model: &ReadModel) -> Result<Vec<String>> {
        let database = self.scene.database(Region::UsEast);
        let mut found = Vec::new();
        for user in 0..USERS {
            let whole = self.whole(&database, user).await?;
            let filter = doc! { "owner": user.to_string() };
            let documents = model.find("purse", filter, doc! { "_id": 1 }, 2).await?;
            let [document] = documents.as_slice() else {
                found.push(format!("{} documents of {user}", documents.len()));
                continue;
            };
            found.extend(finding(document, &whole));
            if document.get_array("amounts").unwrap().len() != whole.len() {
                found.push(format!("{user} is behind"));
            }
            let odd = model
                .find(
                    "odd",
                    doc! { "_id": format!("purse-{user}") },
                    doc! { "_id": 1 },
                    2,
                )
                .await?;
            if odd.len() != whole.len() % 2 {
                found.push(format!("{user} has {} odd documents", odd.len()));
            }
        }
        Ok(found)
    }
}

/// Reads all the time: every document is right, and none is missing.
async fn watch(model: ReadModel, stop: Arc<AtomicBool>, reads: Arc<AtomicI64>) {
    while !stop.load(Ordering::Relaxed) {
        if let Ok(documents) = model.find("purse", doc! {}, doc! { "_id": 1 }, 100).await {
            assert_eq!(
                i64::try_from(documents.len()).unwrap(),
                USERS,
                "half a read model"
            );
            for document in documents {
                let amounts = document.get_array("amounts").unwrap();
                let sum: i64 = amounts.iter().map(|amount| amount.as_i64().unwrap()).sum();
                assert_eq!(document.get_i64("sum").ok(), Some(sum), "{document}");
            }
            reads.fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_model_is_right_whatever_happens_and_is_built_anew_under_its_readers() -> Result<()> {
    if let (None, Err(missing)) = (MongoDb::elsewhere(), Programs::mongodb()) {
        println!("NOT TESTED: {missing}");
        return Ok(());
    }
    let play = Box::pin(Play::start()).await?;
    let databases = [
        play.scene.database(Region::UsEast),
        play.scene.database(Region::UsWest),
    ];
    for user in 0..USERS {
        put(&databases[0], &play.journal, user, user + 1).await?;
    }
    let start = || {
        let projector = play.projector();
        tokio::spawn(async move { projector.run().await })
    };
    let mut projectors = vec![start(), start()];
    let model = ReadModel::new(&play.documents, PURSES);
    until("a first generation is served", async || {
        model.collection("purse").await.is_ok()
    })
    .await;

    let (stop, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
    let watcher = tokio::spawn(watch(model.clone(), Arc::clone(&stop), Arc::clone(&reads)));
    let (database, journal) = (databases[1].clone(), play.journal.clone());
    let writer = tokio::spawn(async move {
        for n in 0..EVENTS {
            put(&database, &journal, n % USERS, n + 100).await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    });
    for round in 0..3 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        projectors.swap_remove(0).abort();
        projectors.push(start());
        if round == 1 && play.mongodb.pid().is_some() {
            play.mongodb.stop(StopMode::Immediate).await?;
            play.mongodb.start_again().await?;
        }
    }
    play.forget().await?;
    let rebuilt = play.projector().rebuild().await?;
    println!("{rebuilt:?}");
    assert!(rebuilt.from_shards > 0, "Kafka has forgotten what was first");
    writer.await??;
    let again = play.projector().rebuild().await?;
    println!("{again:?}");
    assert!(again.generation > rebuilt.generation);
    assert!(again.from_shards >= u64::try_from(USERS + EVENTS)?);
    until(
        "the read model has caught up",
        async || matches!(play.findings(&model).await, Ok(found) if found.is_empty()),
    )
    .await;
    // What is committed from here on comes by Kafka to the new generation.
    put(&databases[0], &play.journal, 0, 5).await?;
    until(
        "the read model goes on",
        async || matches!(play.findings(&model).await, Ok(found) if found.is_empty()),
    )
    .await;
    stop.store(true, Ordering::Relaxed);
    watcher.await?;
    println!("{} reads", reads.load(Ordering::Relaxed));
    assert!(reads.load(Ordering::Relaxed) > 20, "hardly anybody looked");
    projectors.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(())
}
