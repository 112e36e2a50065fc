//! Recovery against two servers.

use super::{Ages, Recovery, RecoveryStats};
use crate::control::recovery::Gid;
use crate::control::testing::{settings, snapshot};
use cluster::{Postgres, PostgresSpec};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_postgres::Client;
use topology::ShardId;

const HOME: ShardId = ShardId(0);
const OTHER: ShardId = ShardId(1);

async fn server(name: &str) -> Postgres {
    let spec = PostgresSpec::new(name)
        .role("control", "control", "SUPERUSER REPLICATION")
        .role("app", "app", "")
        .role("mallory", "mallory", "")
        .database("shop", "app");
    let server = Postgres::start(spec).await.unwrap();
    let admin = server.connect("postgres", "shop").await.unwrap();
    admin
        .batch_execute(&format!("BEGIN; {}; COMMIT", changes::INSTALL_SQL))
        .await
        .unwrap();
    admin
        .batch_execute("CREATE TABLE t (gid text); GRANT ALL ON t TO app, mallory")
        .await
        .unwrap();
    server
}

async fn prepare(client: &Client, gid: &Gid, shard: ShardId) {
    let sql = format!(
        "BEGIN; INSERT INTO t VALUES ('{}'); PREPARE TRANSACTION '{}'",
        gid.decision(),
        gid.on(shard)
    );
    client.batch_execute(&sql).await.unwrap();
}

async fn record(client: &Client, gid: &Gid) {
    client
        .batch_execute(&format!("SELECT ringway.record_commit('{}')", gid.decision()))
        .await
        .unwrap();
}

async fn texts(client: &Client, sql: &str) -> BTreeSet<String> {
    client
        .query(sql, &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect()
}

/// What each test begins with: two shards, and recovery without grace.
struct World {
    servers: [Postgres; 2],
    stats: Arc<RecoveryStats>,
    recovery: Recovery,
}

impl World {
    async fn start() -> Self {
        let servers = [server("home").await, server("other").await];
        let stats = Arc::new(RecoveryStats::default());
        let ages = Ages {
            grace: Duration::ZERO,
            decision: Duration::ZERO,
        };
        let recovery = Recovery::new("shop", Arc::clone(&stats), ages);
        Self {
            servers,
            stats,
            recovery,
        }
    }

    async fn round(&mut self, forget: bool) {
        let ports = [self.servers[0].port(), self.servers[1].port()];
        self.recovery
            .round(&settings(&ports), &snapshot(&ports), forget)
            .await;
    }

    fn counts(&self) -> (u64, u64, u64, u64) {
        let stats = &self.stats;
        let [committed, rolled_back, left, forgotten] = [
            &stats.committed,
            &stats.rolled_back,
            &stats.in_doubt,
            &stats.forgotten,
        ]
        .map(|c| c.load(Ordering::Relaxed));
        (committed, rolled_back, left, forgotten)
    }
}

#[tokio::test]
async fn parts_follow_their_home_shard_and_old_decisions_go() {
    let mut world = World::start().await;
    let home = world.servers[0].connect("app", "shop").await.unwrap();
    let other = world.servers[1].connect("app", "shop").await.unwrap();
    let mallory = world.servers[0].connect("mallory", "shop").await.unwrap();

    let [committed, undecided, forged] = [0; 3].map(|_| Gid::new(HOME));
    record(&home, &committed).await;
    record(&mallory, &forged).await;
    for gid in [&committed, &undecided, &forged] {
        prepare(&other, gid, OTHER).await;
    }
    other
        .batch_execute("BEGIN; INSERT INTO t VALUES ('theirs'); PREPARE TRANSACTION 'ringway:theirs'")
        .await
        .unwrap();

    world.round(false).await;
    assert_eq!(world.counts(), (1, 1, 1, 0));
    home.batch_execute("BEGIN; SELECT ringway.version()")
        .await
        .unwrap();
    let early = Gid::new(HOME);
    record(&mallory, &early).await;
    world.round(true).await;
    assert_eq!(
        world.counts(),
        (1, 1, 1, 2),
        "decisions with a part, or with a transaction from before them, stay"
    );
    home.batch_execute("COMMIT").await.unwrap();
    world.round(true).await;
    assert_eq!(world.counts(), (1, 1, 1, 3));
    assert_eq!(
        texts(&other, "SELECT gid FROM t").await,
        BTreeSet::from([committed.decision()])
    );
    let prepared = BTreeSet::from([forged.on(OTHER), "ringway:theirs".to_owned()]);
    assert_eq!(texts(&other, "SELECT gid FROM pg_prepared_xacts").await, prepared);

    // Whoever comes late to record a commit that was decided against is refused.
    let late = Gid::new(HOME);
    prepare(&other, &late, OTHER).await;
    world.round(false).await;
    let sql = format!("SELECT ringway.record_commit('{}')", late.decision());
    let refused = home.batch_execute(&sql).await.unwrap_err();
    assert_eq!(refused.code().map(|code| code.code()), Some("40000"));
    assert_eq!(world.counts(), (1, 2, 1, 3));
}

#[tokio::test]
async fn nothing_is_decided_without_the_home_shard() {
    let mut world = World::start().await;
    let other = world.servers[1].connect("app", "shop").await.unwrap();
    let gid = Gid::new(HOME);
    prepare(&other, &gid, OTHER).await;
    world.servers[0].stop(cluster::StopMode::Immediate).await.unwrap();
    world.round(true).await;
    assert_eq!(world.counts(), (0, 0, 1, 0));
    assert!(world.stats.failures.load(Ordering::Relaxed) > 0);
    assert_eq!(
        texts(&other, "SELECT gid FROM pg_prepared_xacts").await,
        BTreeSet::from([gid.on(OTHER)])
    );

    world.servers[0].start_again().await.unwrap();
    world.round(false).await;
    assert_eq!(world.counts(), (0, 1, 0, 0));
    assert!(
        texts(&other, "SELECT gid FROM pg_prepared_xacts")
            .await
            .is_empty()
    );
}
