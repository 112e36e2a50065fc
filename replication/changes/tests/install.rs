//! What the install script promises: rights, decisions, and a true picture of the tables.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use changes::INSTALL_SQL;
use cluster::Postgres;
use common::{Feed, SOON, bare_database, database, end_of_log, server, table};
use std::collections::BTreeSet;
use tokio::time::timeout;
use tokio_postgres::Client;

#[tokio::test]
async fn what_the_script_promises() {
    let server = server("install").await;
    tokio::join!(
        Box::pin(again(&server)),
        Box::pin(decisions(&server)),
        Box::pin(rights(&server)),
        Box::pin(relations(&server)),
        Box::pin(switched_off(&server)),
        Box::pin(published(&server)),
        Box::pin(published_between_writers(&server)),
    );
}

async fn value(client: &Client, sql: &str) -> String {
    client
        .query_one(sql, &[])
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
        .get(0)
}

async fn sqlstate(client: &Client, sql: &str) -> String {
    let error = client.batch_execute(sql).await.expect_err(sql);
    error
        .code()
        .unwrap_or_else(|| panic!("{sql}: {error:?}"))
        .code()
        .to_owned()
}

/// A second run changes and announces nothing.
async fn again(server: &Postgres) {
    let client = database(server, "again").await;
    client
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY, n int)")
        .await
        .unwrap();
    let picture = "SELECT (SELECT count(*) FROM ringway.ddl)::text || (SELECT string_agg(r::text, ',') FROM ringway.relation r) \
                   || (SELECT epoch FROM ringway.epoch)";
    let before = value(&client, picture).await;
    for _ in 0..2 {
        client
            .batch_execute(&format!("BEGIN; {INSTALL_SQL}; COMMIT"))
            .await
            .unwrap();
    }
    assert_eq!(value(&client, picture).await, before);
    let mode = "SELECT string_agg(evtenabled::text, '') FROM pg_event_trigger WHERE evtname LIKE 'ringway%'";
    assert_eq!(value(&client, mode).await, "AA");
}

async fn decisions(server: &Postgres) {
    let client = database(server, "decisions").await;
    let home = server.connect("app", "decisions").await.unwrap();
    let recovery = server.connect("control", "decisions").await.unwrap();
    // Decided by the transaction itself: recovery, which asks meanwhile, waits for its end.
    home.batch_execute("BEGIN; SELECT ringway.record_commit('one')")
        .await
        .unwrap();
    let asked = tokio::spawn(async move {
        (
            value(&recovery, "SELECT ringway.decide_abort('one')").await,
            recovery,
        )
    });
    let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = 'decisions' AND wait_event_type = 'Lock')::text";
    timeout(SOON, async { while value(&client, waits).await != "true" {} })
        .await
        .unwrap();
    home.batch_execute("COMMIT").await.unwrap();
    let (answer, recovery) = timeout(SOON, asked).await.unwrap().unwrap();
    assert_eq!(answer, "committed");
    // Aborted first: the transaction can't commit any more.
    assert_eq!(
        value(&recovery, "SELECT ringway.decide_abort('two')").await,
        "aborted"
    );
    assert_eq!(
        value(&recovery, "SELECT ringway.decide_abort('two')").await,
        "aborted"
    );
    assert_eq!(
        sqlstate(&home, "BEGIN; SELECT ringway.record_commit('two')").await,
        "40000"
    );
    home.batch_execute("ROLLBACK").await.unwrap();
    // The row shares the fate of the transaction.
    home.batch_execute("BEGIN; SELECT ringway.record_commit('three'); ROLLBACK")
        .await
        .unwrap();
    assert_eq!(
        value(&recovery, "SELECT ringway.decide_abort('three')").await,
        "aborted"
    );
    let by = "SELECT string_agg(gid || ':' || recorded_by || ':' || outcome, ' ' ORDER BY gid) FROM ringway.decision";
    assert_eq!(
        value(&recovery, by).await,
        "one:app:committed three:control:aborted two:control:aborted"
    );
    assert_eq!(
        value(
            &recovery,
            "SELECT ringway.forget_decisions(ARRAY['one', 'none'])::text"
        )
        .await,
        "1"
    );
}

async fn rights(server: &Postgres) {
    let client = database(server, "rights").await;
    client
        .batch_execute("GRANT CREATE ON SCHEMA public TO app")
        .await
        .unwrap();
    let app = server.connect("app", "rights").await.unwrap();
    for refused in [
        "SELECT * FROM ringway.decision",
        "SELECT * FROM ringway.epoch",
        "SELECT * FROM ringway.relation",
        "INSERT INTO ringway.decision VALUES ('x', 'committed', 'app')",
        "UPDATE ringway.epoch SET epoch = 1",
        "DELETE FROM ringway.ddl",
        "SELECT ringway.decide_abort('x')",
        "SELECT ringway.forget_decisions('{}')",
        "SELECT ringway.announce('{}', true)",
        "SELECT ringway.settle_identity('{}')",
        "SELECT ringway.sync_relations()",
        "SELECT ringway.settle_relations()",
        "SELECT ringway.check_relations()",
        "SELECT ringway.publish('public', 'x')",
        "SELECT ringway.publish_relation(0)",
        "SELECT ringway.publish_made()",
    ] {
        assert_eq!(sqlstate(&app, refused).await, "42501", "{refused}");
    }
    let control = server.connect("control", "rights").await.unwrap();
    for refused in [
        "INSERT INTO ringway.decision VALUES ('x', 'committed', 'app')",
        "DELETE FROM ringway.relation",
    ] {
        assert_eq!(sqlstate(&control, refused).await, "42501", "{refused}");
    }
    // DDL by someone who may do nothing of ours, and changes of a table without a key.
    let sql = "CREATE TABLE mine (a int); INSERT INTO mine VALUES (1); UPDATE mine SET a = 2; DELETE FROM mine; \
               ALTER TABLE mine ADD COLUMN b int; CREATE INDEX ON mine (b); DROP TABLE mine; SELECT ringway.record_commit('y')";
    app.batch_execute(sql).await.unwrap();
}

/// The picture of the tables follows the catalog, also when two change one table at once.
async fn relations(server: &Postgres) {
    let client = database(server, "relations").await;
    client
        .batch_execute("CREATE TABLE t (id int, a int, b int)")
        .await
        .unwrap();
    let identity = "SELECT relreplident::text FROM pg_class WHERE relname = 't'";
    assert_eq!(value(&client, identity).await, "f");
    client
        .batch_execute("ALTER TABLE t ADD PRIMARY KEY (id)")
        .await
        .unwrap();
    assert_eq!(value(&client, identity).await, "d");
    client
        .batch_execute("ALTER TABLE t DROP CONSTRAINT t_pkey")
        .await
        .unwrap();
    assert_eq!(value(&client, identity).await, "f");
    client
        .batch_execute("ALTER TABLE t REPLICA IDENTITY NOTHING; ALTER TABLE t ADD PRIMARY KEY (id)")
        .await
        .unwrap();
    assert_eq!(
        value(&client, identity).await,
        "n",
        "what an operator chose is left alone"
    );
    let other = server.connect("postgres", "relations").await.unwrap();
    client
        .batch_execute("BEGIN; CREATE INDEX ON t (a)")
        .await
        .unwrap();
    let second = tokio::spawn(async move { other.batch_execute("CREATE INDEX ON t (b)").await });
    let watcher = server.connect("postgres", "relations").await.unwrap();
    let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = 'relations' AND wait_event_type = 'Lock')::text";
    timeout(SOON, async { while value(&watcher, waits).await != "true" {} })
        .await
        .unwrap();
    client.batch_execute("COMMIT").await.unwrap();
    timeout(SOON, second).await.unwrap().unwrap().unwrap();
    let seen = "SELECT indexed_columns::text FROM ringway.relation WHERE table_name = 't'";
    assert_eq!(value(&client, seen).await, "{a,b,id}");
}

/// Event triggers that someone switched off: a publisher that starts heals the picture and begins a new epoch.
async fn switched_off(server: &Postgres) {
    let client = database(server, "switched").await;
    client
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY)")
        .await
        .unwrap();
    let feed = Feed::start(server, "switched").await;
    let before = feed.publisher.status().epoch;
    feed.publisher.stop().await;
    client
        .batch_execute(
            "ALTER EVENT TRIGGER ringway_ddl_command_end DISABLE; ALTER TABLE t RENAME TO u; INSERT INTO u VALUES (1); \
             ALTER EVENT TRIGGER ringway_ddl_command_end ENABLE ALWAYS",
        )
        .await
        .unwrap();
    let end = end_of_log(&client).await;
    let mut feed = Feed::start(server, "switched").await;
    assert!(feed.publisher.status().epoch > before);
    assert!(feed.next().await.from() >= end);
    let u = table("switched", "u");
    let tags = feed.tags(&client, "INSERT INTO u VALUES (2)").await;
    assert_eq!(
        tags,
        BTreeSet::from([u.any(), u.row(&["2"]), u.column("id", "2")])
    );
}

/// Which tables the publication has.
async fn members(client: &Client) -> String {
    let sql = "SELECT coalesce(string_agg(tablename, ' ' ORDER BY tablename), '') FROM pg_publication_tables \
               WHERE pubname = 'ringway' AND schemaname = 'public'";
    value(client, sql).await
}

/// Only what is listed is published, and left as it is otherwise; whatever comes under it is published from its first row on.
async fn published(server: &Postgres) {
    let client = bare_database(server, "published").await;
    let control = server.connect("control", "published").await.unwrap();
    let identity = "SELECT string_agg(relname::text || relreplident::text, ' ' ORDER BY relname) FROM pg_class WHERE relname IN ('a', 'b', 'c')";
    client
        .batch_execute("CREATE TABLE a (n int); CREATE TABLE b (n int)")
        .await
        .unwrap();
    assert_eq!(members(&client).await, "");
    assert_eq!(value(&client, identity).await, "ad bd");
    let publish = "SELECT ringway.publish('public', 'a'), ringway.publish('public', 'c'), ringway.publish('public', 'parts')";
    for _ in 0..2 {
        control.batch_execute(publish).await.unwrap();
        assert_eq!(members(&client).await, "a");
    }
    assert_eq!(value(&client, identity).await, "af bd");
    // Made later, renamed to it, inherited from it.
    client
        .batch_execute("CREATE TABLE x (n int); ALTER TABLE x RENAME TO c; CREATE TABLE heir () INHERITS (a)")
        .await
        .unwrap();
    assert_eq!(members(&client).await, "a c heir");
    assert_eq!(value(&client, identity).await, "af bd cf");
    client
        .batch_execute(
            "CREATE TABLE parts (k int PRIMARY KEY) PARTITION BY LIST (k); CREATE TABLE one PARTITION OF parts FOR VALUES IN (1);
             CREATE TABLE two (k int PRIMARY KEY); ALTER TABLE parts ATTACH PARTITION two FOR VALUES IN (2)",
        )
        .await
        .unwrap();
    assert_eq!(members(&client).await, "a c heir one two");
    client
        .batch_execute("ALTER TABLE parts DETACH PARTITION two; DROP TABLE c; ALTER TABLE b INHERIT a")
        .await
        .unwrap();
    assert_eq!(members(&client).await, "a b heir one");
}

/// A change whose place in the log is before the addition is never decoded, so the addition waits for whoever made one, and not
/// for long; the next attempt finds them gone.
async fn published_between_writers(server: &Postgres) {
    let client = bare_database(server, "writers").await;
    client
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY)")
        .await
        .unwrap();
    let mut feed = Feed::start(server, "writers").await;
    let control = server.connect("control", "writers").await.unwrap();
    client
        .batch_execute("BEGIN; INSERT INTO t VALUES (1)")
        .await
        .unwrap();
    let publish = "SELECT ringway.publish('public', 't')";
    assert_eq!(sqlstate(&control, publish).await, "55P03");
    assert_eq!(members(&control).await, "");
    client.batch_execute("COMMIT").await.unwrap();
    control.batch_execute(publish).await.unwrap();
    let t = table("writers", "t");
    let told = feed.until(end_of_log(&control).await).await;
    assert!(
        told.contains(&t.generation()),
        "what was kept before is worthless"
    );
    feed.check(
        &client,
        "INSERT INTO t VALUES (2)",
        &[t.any(), t.row(&["2"]), t.column("id", "2")],
    )
    .await;
}
