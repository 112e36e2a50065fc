//! Writes by plain clients, straight to a real server, and the tags that appear for them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use changes::PublisherState;
use cluster::Postgres;
use coherence::TagHash;
use common::{Feed, SOON, Table, config, database, end_of_log, server, table, target};
use std::collections::BTreeSet;
use std::pin::pin;
use topology::TableName;

#[tokio::test]
async fn what_changes_is_tagged() {
    let server = server("tags").await;
    tokio::join!(
        Box::pin(rows(&server)),
        Box::pin(identities(&server)),
        Box::pin(missing_values(&server)),
        Box::pin(transactions(&server)),
        Box::pin(partitions(&server)),
        Box::pin(definitions(&server)),
        Box::pin(renames(&server)),
        Box::pin(bypasses(&server)),
    );
}

async fn rows(server: &Postgres) {
    let client = database(server, "rows").await;
    let t = |name| table("rows", name);
    client
        .batch_execute(
            "CREATE TABLE users (id int PRIMARY KEY, email text UNIQUE, name text);
             CREATE TABLE items (order_id int, line int, sku text, PRIMARY KEY (line, order_id));
             CREATE INDEX ON items (sku)",
        )
        .await
        .unwrap();
    let mut feed = Feed::start(server, "rows").await;
    let users = t("users");
    let row = |id| users.row(&[id]);
    let id = |id| users.column("id", id);
    let email = |email| users.column("email", email);
    let any = users.any();
    feed.check(
        &client,
        "INSERT INTO users VALUES (1, 'a@b', 'A'), (2, NULL, 'B')",
        &[any, row("1"), row("2"), id("1"), id("2"), email("a@b")],
    )
    .await;
    feed.check(
        &client,
        "UPDATE users SET name = 'C' WHERE id = 1",
        &[any, row("1"), id("1"), email("a@b")],
    )
    .await;
    // Without FULL the log doesn't hold the old address: entries by it carry the row's tag, too.
    feed.check(
        &client,
        "UPDATE users SET email = 'c@d' WHERE id = 1",
        &[any, row("1"), id("1"), email("c@d")],
    )
    .await;
    feed.check(
        &client,
        "UPDATE users SET id = 3 WHERE id = 1",
        &[any, row("1"), row("3"), id("1"), id("3"), email("c@d")],
    )
    .await;
    feed.check(
        &client,
        "DELETE FROM users WHERE id = 2",
        &[any, row("2"), id("2")],
    )
    .await;
    feed.check(&client, "UPDATE users SET name = 'nobody' WHERE id = 77", &[])
        .await;
    let items = t("items");
    feed.check(
        &client,
        "INSERT INTO items VALUES (7, 1, 'x')",
        &[
            items.any(),
            items.row(&["1", "7"]),
            items.column("order_id", "7"),
            items.column("line", "1"),
            items.column("sku", "x"),
        ],
    )
    .await;
    feed.check(
        &client,
        "TRUNCATE items, users",
        &[items.any(), items.generation(), users.any(), users.generation()],
    )
    .await;
    let many = "INSERT INTO users SELECT n, n::text, '' FROM generate_series(1, 20000) n";
    feed.check(&client, many, &[any, users.generation()]).await;
}

async fn identities(server: &Postgres) {
    let client = database(server, "identities").await;
    let t = |name| table("identities", name);
    client
        .batch_execute(
            "CREATE TABLE whole (id int PRIMARY KEY, tag text); CREATE INDEX ON whole (tag);
             ALTER TABLE whole REPLICA IDENTITY FULL;
             CREATE TABLE keyless (a int, b text); CREATE INDEX ON keyless (a);
             CREATE TABLE other (id int PRIMARY KEY, code text NOT NULL UNIQUE, n int);
             ALTER TABLE other REPLICA IDENTITY USING INDEX other_code_key;
             CREATE TABLE sharded (id int PRIMARY KEY, owner int)",
        )
        .await
        .unwrap();
    let mut config = config("identities");
    config
        .tagged_columns
        .insert(TableName::new("public", "sharded"), vec!["owner".to_owned()]);
    let mut feed = Feed::start_with(target(server, "identities"), config).await;
    let whole = t("whole");
    client
        .batch_execute("INSERT INTO whole VALUES (1, 'old')")
        .await
        .unwrap();
    feed.until(end_of_log(&client).await).await;
    let both = [
        whole.any(),
        whole.row(&["1"]),
        whole.column("id", "1"),
        whole.column("tag", "old"),
        whole.column("tag", "new"),
    ];
    feed.check(&client, "UPDATE whole SET tag = 'new'", &both).await;
    feed.check(
        &client,
        "DELETE FROM whole",
        &[
            whole.any(),
            whole.row(&["1"]),
            whole.column("id", "1"),
            whole.column("tag", "new"),
        ],
    )
    .await;
    let keyless = t("keyless");
    feed.check(
        &client,
        "INSERT INTO keyless VALUES (1, 'x')",
        &[keyless.any(), keyless.column("a", "1")],
    )
    .await;
    let sql = "UPDATE keyless SET a = 2";
    feed.check(
        &client,
        sql,
        &[keyless.any(), keyless.column("a", "1"), keyless.column("a", "2")],
    )
    .await;
    let other = t("other");
    client
        .batch_execute("INSERT INTO other VALUES (1, 'c', 0)")
        .await
        .unwrap();
    feed.until(end_of_log(&client).await).await;
    // The key changes and the replica identity doesn't: the log doesn't say which row it was.
    feed.check(
        &client,
        "UPDATE other SET id = 2",
        &[
            other.any(),
            other.generation(),
            other.row(&["2"]),
            other.column("id", "2"),
            other.column("code", "c"),
        ],
    )
    .await;
    feed.check(
        &client,
        "DELETE FROM other",
        &[other.any(), other.generation(), other.column("code", "c")],
    )
    .await;
    let sharded = t("sharded");
    feed.check(
        &client,
        "INSERT INTO sharded VALUES (1, 9)",
        &[
            sharded.any(),
            sharded.row(&["1"]),
            sharded.column("id", "1"),
            sharded.column("owner", "9"),
        ],
    )
    .await;
}

/// Values that the log holds only in part: what isn't known is told coarsely.
async fn missing_values(server: &Postgres) {
    let client = database(server, "missing").await;
    let t = |name| table("missing", name);
    client
        .batch_execute(
            "CREATE TABLE wide (id int PRIMARY KEY, doc text, n int); CREATE INDEX ON wide USING hash (doc);
             ALTER TABLE wide ALTER doc SET STORAGE EXTERNAL;
             CREATE TABLE computed (a int, b int GENERATED ALWAYS AS (a + 1) STORED PRIMARY KEY)",
        )
        .await
        .unwrap();
    let mut feed = Feed::start(server, "missing").await;
    let wide = t("wide");
    client
        .batch_execute("INSERT INTO wide VALUES (1, repeat('x', 10000), 0)")
        .await
        .unwrap();
    feed.until(end_of_log(&client).await).await;
    let sql = "UPDATE wide SET n = 1";
    feed.check(
        &client,
        sql,
        &[
            wide.any(),
            wide.generation(),
            wide.row(&["1"]),
            wide.column("id", "1"),
        ],
    )
    .await;
    let computed = t("computed");
    let sql = "INSERT INTO computed VALUES (1)";
    feed.check(&client, sql, &[computed.any(), computed.generation()])
        .await;
}

/// The tags of inserting or removing row `id` of a table whose only index is its key.
fn single(table: &Table, id: &str) -> [TagHash; 3] {
    [table.any(), table.row(&[id]), table.column("id", id)]
}

async fn transactions(server: &Postgres) {
    let client = database(server, "transactions").await;
    client
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY, n int)")
        .await
        .unwrap();
    let mut feed = Feed::start(server, "transactions").await;
    let t = table("transactions", "t");
    let sql = "BEGIN; INSERT INTO t VALUES (1, 0); SAVEPOINT s; INSERT INTO t VALUES (2, 0); ROLLBACK TO s; \
               SAVEPOINT r; INSERT INTO t VALUES (3, 0); RELEASE r; COMMIT";
    feed.check(
        &client,
        sql,
        &[
            t.any(),
            t.row(&["1"]),
            t.row(&["3"]),
            t.column("id", "1"),
            t.column("id", "3"),
        ],
    )
    .await;
    feed.check(&client, "BEGIN; INSERT INTO t VALUES (4, 0); ROLLBACK", &[])
        .await;
    feed.check(
        &client,
        "BEGIN; INSERT INTO t VALUES (5, 0); PREPARE TRANSACTION 'one'",
        &[],
    )
    .await;
    feed.check(&client, "COMMIT PREPARED 'one'", &single(&t, "5"))
        .await;
    feed.check(
        &client,
        "BEGIN; INSERT INTO t VALUES (6, 0); PREPARE TRANSACTION 'two'",
        &[],
    )
    .await;
    feed.check(&client, "ROLLBACK PREPARED 'two'", &[]).await;
    feed.check(
        &client,
        "CREATE TEMP TABLE x (a int); INSERT INTO x VALUES (1); DROP TABLE x",
        &[],
    )
    .await;
    feed.check(
        &client,
        "CREATE UNLOGGED TABLE u (id int)",
        &[table("transactions", "u").generation()],
    )
    .await;
    feed.check(&client, "INSERT INTO u VALUES (1)", &[]).await;
    // In commit order: the one that began first commits last.
    let other = server.connect("postgres", "transactions").await.unwrap();
    client
        .batch_execute("BEGIN; INSERT INTO t VALUES (10, 0)")
        .await
        .unwrap();
    other.batch_execute("INSERT INTO t VALUES (11, 0)").await.unwrap();
    let first = feed.until(end_of_log(&other).await).await;
    assert_eq!(first, BTreeSet::from(single(&t, "11")));
    feed.check(&other, "SELECT 1", &[]).await;
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(
        feed.until(end_of_log(&client).await).await,
        BTreeSet::from(single(&t, "10"))
    );
}

async fn partitions(server: &Postgres) {
    let client = database(server, "parts").await;
    let t = |name| table("parts", name);
    client
        .batch_execute(
            "CREATE TABLE top (id int, region text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
             CREATE TABLE mid PARTITION OF top FOR VALUES IN ('a', 'b') PARTITION BY LIST (region);
             CREATE TABLE leaf PARTITION OF mid FOR VALUES IN ('a');
             CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (extra int, PRIMARY KEY (id)) INHERITS (parent)",
        )
        .await
        .unwrap();
    let mut feed = Feed::start(server, "parts").await;
    let expected: Vec<_> = ["top", "mid", "leaf"]
        .iter()
        .flat_map(|name| {
            [
                t(name).any(),
                t(name).row(&["1", "a"]),
                t(name).column("id", "1"),
                t(name).column("region", "a"),
            ]
        })
        .collect();
    feed.check(&client, "INSERT INTO top VALUES (1, 'a')", &expected)
        .await;
    let expected: Vec<_> = ["top", "mid", "leaf"]
        .iter()
        .flat_map(|name| [t(name).any(), t(name).generation()])
        .collect();
    feed.check(&client, "TRUNCATE top", &expected).await;
    let expected: Vec<_> = ["parent", "child"]
        .iter()
        .flat_map(|name| single(&t(name), "5"))
        .collect();
    feed.check(&client, "INSERT INTO child VALUES (5, 0)", &expected)
        .await;
    // Each row is tagged by what the tables looked like when it changed, though the log is read only afterwards.
    client
        .batch_execute("INSERT INTO top VALUES (2, 'a'); ALTER TABLE mid DETACH PARTITION leaf; INSERT INTO leaf VALUES (3, 'a')")
        .await
        .unwrap();
    let tags = feed.until(end_of_log(&client).await).await;
    assert!(tags.contains(&t("top").row(&["2", "a"])) && tags.contains(&t("leaf").row(&["3", "a"])));
    assert!(!tags.contains(&t("top").row(&["3", "a"])));
    assert!(
        ["top", "mid", "leaf"]
            .iter()
            .all(|name| tags.contains(&t(name).generation()))
    );
}

async fn definitions(server: &Postgres) {
    let client = database(server, "definitions").await;
    let t = |name| table("definitions", name);
    client
        .batch_execute(
            "CREATE TABLE a (id int PRIMARY KEY, n int, owner text); CREATE TABLE b (id int PRIMARY KEY)",
        )
        .await
        .unwrap();
    let mut feed = Feed::start(server, "definitions").await;
    let (a, b) = (t("a"), t("b"));
    feed.check(&client, "ALTER TABLE a ADD COLUMN x int", &[a.generation()])
        .await;
    feed.check(&client, "CREATE INDEX a_n ON a (n)", &[a.generation()])
        .await;
    feed.check(
        &client,
        "INSERT INTO a VALUES (1, 7)",
        &[a.any(), a.row(&["1"]), a.column("id", "1"), a.column("n", "7")],
    )
    .await;
    feed.check(&client, "DROP INDEX a_n", &[a.generation()]).await;
    feed.check(&client, "INSERT INTO a VALUES (2, 8)", &single(&a, "2"))
        .await;
    feed.check(
        &client,
        "ALTER TABLE a ENABLE ROW LEVEL SECURITY",
        &[a.generation()],
    )
    .await;
    feed.check(
        &client,
        "CREATE POLICY p ON a USING (owner = current_user)",
        &[a.generation()],
    )
    .await;
    feed.check(&client, "DROP POLICY p ON a", &[a.generation()]).await;
    feed.check(
        &client,
        "GRANT SELECT ON a TO app",
        &[a.generation(), b.generation()],
    )
    .await;
    feed.check(
        &client,
        "REVOKE SELECT ON a FROM app",
        &[a.generation(), b.generation()],
    )
    .await;
    feed.check(
        &client,
        "CREATE VIEW v AS SELECT * FROM b",
        &[t("v").generation()],
    )
    .await;
    feed.check(&client, "DROP VIEW v", &[t("v").generation()]).await;
    let announced = feed.publisher.status();
    assert_eq!(
        (announced.state, announced.epochs_raised),
        (PublisherState::Publishing, 1),
        "{announced:?}"
    );
    let left = client
        .query_one("SELECT count(*) FROM ringway.ddl", &[])
        .await
        .unwrap()
        .get::<_, i64>(0);
    assert!(
        left <= 1,
        "{left} announcements were published and are still kept"
    );
}

/// Tables under old and new names, in one transaction and in one that rolls back.
async fn renames(server: &Postgres) {
    let client = database(server, "renames").await;
    let t = |name| table("renames", name);
    client
        .batch_execute("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)")
        .await
        .unwrap();
    let mut feed = Feed::start(server, "renames").await;
    let (a, b, renamed) = (t("a"), t("b"), t("renamed"));
    feed.check(
        &client,
        "ALTER TABLE a RENAME TO renamed",
        &[a.generation(), renamed.generation()],
    )
    .await;
    // The old key's name and the new row's: within one transaction the tables change as they are used.
    let sql = "BEGIN; ALTER TABLE renamed RENAME TO a; INSERT INTO a VALUES (3); ALTER TABLE a RENAME id TO k; \
               INSERT INTO a VALUES (4); COMMIT";
    feed.check(
        &client,
        sql,
        &[
            a.generation(),
            renamed.generation(),
            a.any(),
            a.row(&["3"]),
            a.row(&["4"]),
            a.column("id", "3"),
            a.column("k", "4"),
        ],
    )
    .await;
    feed.check(
        &client,
        "SET session_replication_role = replica; ALTER TABLE b ADD y int; INSERT INTO b VALUES (1); \
                         RESET session_replication_role",
        &[b.generation(), b.any(), b.row(&["1"]), b.column("id", "1")],
    )
    .await;
    feed.check(&client, "BEGIN; DROP TABLE b; ROLLBACK", &[]).await;
    feed.check(&client, "DROP TABLE b", &[b.generation()]).await;
}

async fn bypasses(server: &Postgres) {
    let client = database(server, "bypasses").await;
    client
        .batch_execute(
            "CREATE TABLE users (id int PRIMARY KEY); CREATE TABLE log (id serial PRIMARY KEY);
             CREATE TABLE orders (id int PRIMARY KEY, u int REFERENCES users ON DELETE CASCADE ON UPDATE CASCADE);
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log DEFAULT VALUES; RETURN NEW; END $$;
             CREATE TRIGGER note AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION note();
             CREATE FUNCTION wipe(k int) RETURNS void LANGUAGE sql AS 'DELETE FROM orders WHERE id = k'",
        )
        .await
        .unwrap();
    let mut feed = Feed::start(server, "bypasses").await;
    let (users, orders, log) = (
        table("bypasses", "users"),
        table("bypasses", "orders"),
        table("bypasses", "log"),
    );
    let expected = [single(&users, "1"), single(&log, "1")].concat();
    feed.check(&client, "INSERT INTO users VALUES (1)", &expected)
        .await;
    feed.check(
        &client,
        "INSERT INTO orders VALUES (10, 1), (11, 1)",
        &[single(&orders, "10"), single(&orders, "11")].concat(),
    )
    .await;
    let sql = "MERGE INTO orders o USING (VALUES (10), (12)) v (k) ON o.id = v.k \
               WHEN MATCHED THEN UPDATE SET u = NULL WHEN NOT MATCHED THEN INSERT VALUES (k, 1)";
    feed.check(
        &client,
        sql,
        &[single(&orders, "10"), single(&orders, "12")].concat(),
    )
    .await;
    feed.check(&client, "SELECT wipe(10)", &single(&orders, "10"))
        .await;
    let expected = [single(&users, "1"), single(&orders, "11"), single(&orders, "12")].concat();
    feed.check(&client, "DELETE FROM users WHERE id = 1", &expected)
        .await;
    copy(&client, "20\t\\N\n21\t\\N\n").await;
    let tags = feed.until(end_of_log(&client).await).await;
    assert_eq!(
        tags,
        [single(&orders, "20"), single(&orders, "21")]
            .concat()
            .into_iter()
            .collect()
    );
    // An idle stream goes on by heartbeats.
    let end = end_of_log(&client).await;
    feed.wait(|status| status.published_to >= end).await;
}

async fn copy(client: &tokio_postgres::Client, text: &'static str) {
    use futures_util::SinkExt;
    let sink = client.copy_in("COPY orders FROM STDIN").await.unwrap();
    let mut sink = pin!(sink);
    sink.send(bytes::Bytes::from_static(text.as_bytes()))
        .await
        .unwrap();
    tokio::time::timeout(SOON, sink.finish()).await.unwrap().unwrap();
}
