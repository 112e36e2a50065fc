//! What happens to the stream when something breaks or stops, on a real server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use changes::{PublisherState, PublisherStatus, SlotName};
use cluster::{Postgres, StopMode};
use common::{Feed, SOON, config, database, end_of_log, server, table, target};
use events::{EventSink, EventSource, LocalBus};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::Client;
use topology::{Epoch, Lsn, Timeline};

/// Whether nobody reads the slot any more.
const FREE: &str = "SELECT NOT active FROM pg_replication_slots WHERE slot_name = 'ringway_shop'";

/// How many rounds of the publisher's pulse something that must not happen is given to happen.
const ROUNDS: u64 = 6;

#[tokio::test]
async fn the_stream_survives_what_happens_to_it() {
    let server = server("faults").await;
    let client = database(&server, "shop").await;
    client
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY)")
        .await
        .unwrap();
    client
        .batch_execute("CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id)")
        .await
        .unwrap();
    client
        .batch_execute("CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9)")
        .await
        .unwrap();
    Box::pin(held_commit(&server, &client)).await;
    Box::pin(stopped_and_started(&server, &client)).await;
    Box::pin(one_at_a_time(&server, &client)).await;
    Box::pin(definitions_while_stopped(&server, &client)).await;
    Box::pin(slot_lost(&server, &client)).await;
    Box::pin(slot_made_behind_a_held_commit(&server, &client)).await;
    Box::pin(retention(&server, &client)).await;
    Box::pin(private_slots(&server)).await;
    drop(client);
    Box::pin(restarts(&server)).await;
    Box::pin(promotion(server)).await;
}

fn rows(ids: std::ops::RangeInclusive<u32>) -> BTreeSet<coherence::TagHash> {
    let t = table("shop", "t");
    let of_row = |id: u32| [t.row(&[&id.to_string()]), t.column("id", &id.to_string())];
    ids.flat_map(of_row).chain([t.any()]).collect()
}

/// A commit that waits for a synchronous standby is decoded, and not told before it is visible.
async fn held_commit(server: &Postgres, client: &Client) {
    let mut feed = Feed::start(server, "shop").await;
    let writer = server.connect("postgres", "shop").await.unwrap();
    hold_commits(server, client).await;
    let before = feed.publisher.status();
    let commit = tokio::spawn(async move { writer.batch_execute("INSERT INTO t VALUES (1)").await });
    let decoded = feed
        .wait(|status| status.transactions > before.transactions && is_behind(status))
        .await;
    let end = end_of_log(client).await;
    assert!(decoded.published_to < end);
    stays_untold(&feed, end).await;
    let row = client.query_one("SELECT count(*) FROM t", &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 0, "it was visible after all");
    // Neither does a publisher that starts meanwhile.
    feed.publisher.stop().await;
    let mut feed = quiet(server);
    feed.wait(|status| status.state == PublisherState::Starting || status.transactions > 0)
        .await;
    feed.wait(|status| status.transactions > 0).await;
    stays_untold(&feed, end).await;
    server
        .configure(&[("synchronous_standby_names", "")])
        .await
        .unwrap();
    timeout(SOON, commit).await.unwrap().unwrap().unwrap();
    assert!(feed.until(end).await.is_superset(&rows(1..=1)));
    feed.publisher.stop().await;
}

/// From here on commits wait for a standby that isn't there.
///
/// What a backend takes its setting for is not enough: whether commits wait at all is a flag in shared memory that the
/// checkpointer sets when it has read the configuration, which it does before it begins the next checkpoint.
async fn hold_commits(server: &Postgres, client: &Client) {
    server
        .configure(&[("synchronous_standby_names", "absent")])
        .await
        .unwrap();
    wait_for(
        client,
        "SELECT current_setting('synchronous_standby_names') = 'absent'",
    )
    .await;
    for _ in 0..2 {
        client.batch_execute("CHECKPOINT").await.unwrap();
    }
}

/// Each pulse asks for the end of the log, and shows that the stream doesn't reach `end`.
async fn stays_untold(feed: &Feed, end: Lsn) {
    let mut watch = feed.publisher.watch();
    for _ in 0..ROUNDS {
        watch.mark_unchanged();
        timeout(SOON, watch.changed()).await.unwrap().unwrap();
        assert!(watch.borrow().published_to < end, "told before it was visible");
    }
}

fn is_behind(status: &PublisherStatus) -> bool {
    status.lag_bytes > 0
}

/// A publisher that need not come to publish.
fn quiet(server: &Postgres) -> Feed {
    let bus = LocalBus::default();
    Feed::over(
        target(server, "shop"),
        config("shop"),
        EventSink::Local(bus.sink()),
        EventSource::Local(bus.source()),
    )
}

/// What was committed while nobody published is told afterwards, under the same epoch.
async fn stopped_and_started(server: &Postgres, client: &Client) {
    let feed = Feed::start(server, "shop").await;
    let epoch = epoch(&feed);
    // Dropped, not stopped: the process ends in the middle of whatever it does.
    drop(feed);
    client
        .batch_execute("INSERT INTO t VALUES (10); INSERT INTO t VALUES (11)")
        .await
        .unwrap();
    let mut feed = Feed::start(server, "shop").await;
    // What was told but not yet confirmed is told again.
    assert!(
        feed.until(end_of_log(client).await)
            .await
            .is_superset(&rows(10..=11))
    );
    assert_eq!(
        (epoch, feed.publisher.status().epochs_raised),
        (self::epoch(&feed), 0)
    );
    feed.publisher.stop().await;
}

/// A second publisher waits, and takes over when the first ends.
async fn one_at_a_time(server: &Postgres, client: &Client) {
    let first = Feed::start(server, "shop").await;
    let mut second = quiet(server);
    second
        .wait(|status| status.state == PublisherState::Elsewhere && status.retries > 2)
        .await;
    first.publisher.stop().await;
    client.batch_execute("INSERT INTO t VALUES (12)").await.unwrap();
    second
        .wait(|status| status.state == PublisherState::Publishing)
        .await;
    assert!(
        second
            .until(end_of_log(client).await)
            .await
            .is_superset(&rows(12..=12))
    );
    assert_eq!(second.publisher.status().epochs_raised, 0);
    second.publisher.stop().await;
}

/// Where the stream stays in the process each proxy has a slot of its own, and all share one epoch.
async fn private_slots(server: &Postgres) {
    let client = database(server, "pair").await;
    client
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY)")
        .await
        .unwrap();
    let own = |proxy| {
        let mut own = config("pair");
        own.slot = SlotName::private("pair", proxy).unwrap();
        own
    };
    let mut one = Feed::start_with(target(server, "pair"), own("east-1")).await;
    let mut two = Feed::start_with(target(server, "pair"), own("west-1")).await;
    let shared = epoch(&two);
    one.wait(|status| status.state == PublisherState::Publishing && status.epoch == Some(shared))
        .await;
    let t = table("pair", "t");
    let expected = [t.any(), t.row(&["1"]), t.column("id", "1")];
    one.check(&client, "INSERT INTO t VALUES (1)", &expected).await;
    assert_eq!(
        two.until(end_of_log(&client).await).await,
        BTreeSet::from(expected)
    );
    one.publisher.stop().await;
    two.publisher.stop().await;
}

/// Rows changed before DDL that nobody has read can't be tagged by what the tables look like afterwards.
async fn definitions_while_stopped(server: &Postgres, client: &Client) {
    let feed = Feed::start(server, "shop").await;
    let before = epoch(&feed);
    feed.publisher.stop().await;
    client
        .batch_execute("INSERT INTO p VALUES (1); ALTER TABLE p DETACH PARTITION p1")
        .await
        .unwrap();
    let end = end_of_log(client).await;
    let mut feed = Feed::start(server, "shop").await;
    assert!(epoch(&feed) > before);
    let first = feed.next().await;
    assert!(first.from() >= end && first.tags().is_empty(), "{first:?}");
    let p1 = table("shop", "p1");
    feed.check(
        client,
        "INSERT INTO p1 VALUES (2)",
        &[p1.any(), p1.row(&["2"]), p1.column("id", "2")],
    )
    .await;
    let raised = epoch(&feed);
    feed.publisher.stop().await;
    let feed = Feed::start(server, "shop").await;
    assert_eq!(epoch(&feed), raised, "the same DDL raised the epoch twice");
    feed.publisher.stop().await;
}

/// Without its slot nobody knows what was committed: the epoch rises.
async fn slot_lost(server: &Postgres, client: &Client) {
    let feed = Feed::start(server, "shop").await;
    let before = epoch(&feed);
    feed.publisher.stop().await;
    wait_for(client, FREE).await;
    client
        .batch_execute("INSERT INTO t VALUES (20); SELECT pg_drop_replication_slot('ringway_shop')")
        .await
        .unwrap();
    let end = end_of_log(client).await;
    let mut feed = Feed::start(server, "shop").await;
    assert!(epoch(&feed) > before);
    assert!(feed.next().await.from() >= end);
    feed.publisher.stop().await;
}

/// A slot that is made while a commit is recorded but not visible never yields it: nothing is told before it is visible.
async fn slot_made_behind_a_held_commit(server: &Postgres, client: &Client) {
    wait_for(client, FREE).await;
    client
        .batch_execute("SELECT pg_drop_replication_slot('ringway_shop')")
        .await
        .unwrap();
    let writer = server.connect("postgres", "shop").await.unwrap();
    hold_commits(server, client).await;
    let commit = tokio::spawn(async move { writer.batch_execute("INSERT INTO t VALUES (21)").await });
    wait_for(
        client,
        "SELECT true FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
    )
    .await;
    let mut feed = quiet(server);
    wait_for(client, "SELECT true FROM pg_stat_activity WHERE application_name = 'ringway publisher' AND wait_event_type = 'Lock'").await;
    assert_eq!(feed.publisher.status().messages, 0);
    server
        .configure(&[("synchronous_standby_names", "")])
        .await
        .unwrap();
    timeout(SOON, commit).await.unwrap().unwrap().unwrap();
    let end = end_of_log(client).await;
    assert!(feed.until(end).await.is_empty());
    feed.publisher.stop().await;
}

/// A slot that holds back too much is dropped, and the stream begins anew.
async fn retention(server: &Postgres, client: &Client) {
    let mut config = config("shop");
    config.max_retained_bytes = 8 << 20;
    let mut feed = Feed::start_with(target(server, "shop"), config).await;
    let before = feed.publisher.status();
    let filler = "SELECT pg_logical_emit_message(false, 'x', repeat('x', 12 << 20))";
    client.batch_execute(filler).await.unwrap();
    let after = feed
        .wait(|status| status.epochs_raised > before.epochs_raised)
        .await;
    assert!(after.epoch > before.epoch);
    assert!(after.last_error.unwrap().contains("was dropped"));
    feed.wait(|status| status.state == PublisherState::Publishing && status.retained_bytes < 8 << 20)
        .await;
    feed.publisher.stop().await;
}

/// A clean restart keeps the epoch, a crash raises it; the publisher comes back by itself.
async fn restarts(server: &Postgres) {
    let mut feed = Feed::start(server, "shop").await;
    let first = epoch(&feed);
    server.stop(StopMode::Fast).await.unwrap();
    feed.wait(|status| status.state == PublisherState::Connecting && status.retries > 0)
        .await;
    server.start_again().await.unwrap();
    feed.wait(|status| status.state == PublisherState::Publishing)
        .await;
    assert_eq!(epoch(&feed), first);
    let client = server.connect("postgres", "shop").await.unwrap();
    client.batch_execute("INSERT INTO t VALUES (30)").await.unwrap();
    let end = end_of_log(&client).await;
    // PostgreSQL may take the slot back to an older confirmed position: told twice is fine, not told is not.
    assert!(feed.until(end).await.is_superset(&rows(30..=30)));
    server.stop(StopMode::Immediate).await.unwrap();
    server.start_again().await.unwrap();
    feed.wait(|status| status.epoch.is_some_and(|epoch| epoch > first))
        .await;
    feed.wait(|status| status.state == PublisherState::Publishing)
        .await;
    let client = server.connect("postgres", "shop").await.unwrap();
    client.batch_execute("INSERT INTO t VALUES (31)").await.unwrap();
    let tags = until_epoch_and(&mut feed, first, end_of_log(&client).await).await;
    assert_eq!(tags, rows(31..=31));
    feed.publisher.stop().await;
}

/// The tags told after the epoch rose above `old`, up to `lsn`.
async fn until_epoch_and(feed: &mut Feed, old: Epoch, lsn: Lsn) -> BTreeSet<coherence::TagHash> {
    let mut tags = BTreeSet::new();
    loop {
        let message = feed.next().await;
        if message.epoch() > old {
            tags.extend(message.tags());
            if message.to() >= lsn {
                return tags;
            }
        }
    }
}

/// A standby is refused; once promoted, the stream goes on there, on its timeline.
async fn promotion(server: Postgres) {
    let standby = server.standby("next").await.unwrap();
    let mut feed = Feed::start(&server, "shop").await;
    let before = epoch(&feed);
    server.wait_replayed_by(&standby).await.unwrap();
    feed.primary.send_replace(Some(target(&standby, "shop")));
    let refused = feed
        .wait(|status| {
            status
                .last_error
                .as_ref()
                .is_some_and(|error| error.contains("in recovery"))
        })
        .await;
    assert_eq!(refused.state, PublisherState::Connecting);
    server.stop(StopMode::Immediate).await.unwrap();
    standby.promote().await.unwrap();
    feed.wait(|status| status.state == PublisherState::Publishing)
        .await;
    assert!(epoch(&feed) > before && epoch(&feed).timeline() == Timeline(2));
    let client = standby.connect("postgres", "shop").await.unwrap();
    client.batch_execute("INSERT INTO t VALUES (40)").await.unwrap();
    let tags = until_epoch_and(&mut feed, before, end_of_log(&client).await).await;
    assert_eq!(tags, rows(40..=40));
    feed.primary.send_replace(None);
    feed.wait(|status| status.state == PublisherState::NoPrimary)
        .await;
    feed.publisher.stop().await;
}

fn epoch(feed: &Feed) -> Epoch {
    feed.publisher.status().epoch.unwrap()
}

/// Waits until a question is answered by true.
async fn wait_for(client: &Client, question: &str) {
    let answered = timeout(SOON, async {
        while !client
            .query_opt(question, &[])
            .await
            .unwrap()
            .is_some_and(|row| row.get(0))
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    answered
        .await
        .unwrap_or_else(|_| panic!("never true: {question}"));
}
