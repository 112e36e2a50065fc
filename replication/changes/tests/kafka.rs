//! From a real server through a real broker: the broker stops, the server goes on, nothing is lost.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use changes::PublisherState;
use cluster::{Kafka, StopMode};
use common::{Feed, config, database, end_of_log, server, table, target};
use events::{EventSink, EventSource, KafkaConfig, KafkaSink, KafkaSource, StreamId};

#[tokio::test]
async fn a_stopped_broker_loses_nothing() {
    let (server, kafka) = tokio::join!(Box::pin(server("kafka")), Box::pin(Kafka::start()));
    let kafka = kafka.unwrap();
    let client = database(&server, "shop").await;
    client
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY)")
        .await
        .unwrap();
    let carrier = KafkaConfig {
        bootstrap: kafka.bootstrap(),
        topic: events::DEFAULT_TOPIC.to_owned(),
        stream: StreamId::new("test", "shop").unwrap(),
        shards: 2,
        properties: Vec::new(),
    };
    let sink = EventSink::Kafka(KafkaSink::new(carrier.clone()));
    let source = EventSource::Kafka(KafkaSource::new(carrier));
    let mut feed = Feed::over(target(&server, "shop"), config("shop"), sink, source);
    let t = table("shop", "t");
    feed.wait(|status| status.state == PublisherState::Publishing)
        .await;
    // The reader begins at the end, wherever that is by now.
    feed.next().await;
    let sql = "INSERT INTO t VALUES (1)";
    feed.check(&client, sql, &[t.any(), t.row(&["1"]), t.column("id", "1")])
        .await;
    let before = feed.publisher.status();
    kafka.stop(StopMode::Fast).await.unwrap();
    for id in 2..200 {
        client
            .batch_execute(&format!("INSERT INTO t VALUES ({id})"))
            .await
            .unwrap();
    }
    let end = end_of_log(&client).await;
    let down = feed.wait(|status| status.state == PublisherState::SinkDown).await;
    assert!(down.published_to < end && down.lag_bytes > 0);
    kafka.start_again().await.unwrap();
    let tags = feed.until(end).await;
    for id in 2..200 {
        assert!(tags.contains(&t.row(&[&id.to_string()])), "{id} was lost");
    }
    let after = feed.wait(|status| status.published_to >= end).await;
    assert_eq!(
        (after.epoch, after.epochs_raised),
        (before.epoch, before.epochs_raised)
    );
    feed.publisher.stop().await;
}
