//! The stream over a real broker.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use cluster::{Kafka, StopMode};
use coherence::{StreamMessage, TagHash};
use events::{Error, EventSink, EventSource, KafkaConfig, KafkaSink, KafkaSource, StreamId};
use std::time::Duration;
use tokio::time::timeout;
use topology::{Epoch, Lsn, ShardId};

/// For anything that should happen soon, on a busy machine.
const SOON: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_stream_over_a_real_broker() {
    let kafka = Kafka::start().await.unwrap();
    Box::pin(in_order_and_apart(&kafka)).await;
    Box::pin(too_few_partitions(&kafka)).await;
    Box::pin(stopped_and_started(&kafka)).await;
}

fn config(kafka: &Kafka, topic: &str, database: &str, shards: u16) -> KafkaConfig {
    KafkaConfig {
        bootstrap: kafka.bootstrap(),
        topic: topic.to_owned(),
        stream: StreamId::new("test", database).unwrap(),
        shards,
        properties: Vec::new(),
    }
}

fn ends(config: KafkaConfig) -> (EventSink, EventSource) {
    (
        EventSink::Kafka(KafkaSink::new(config.clone())),
        EventSource::Kafka(KafkaSource::new(config)),
    )
}

fn message(number: u64) -> StreamMessage {
    StreamMessage::transactions(Epoch(1), Lsn(number), Lsn(number + 1), vec![TagHash(number)]).unwrap()
}

/// Publishes until the reader, which begins at the end, has joined: gives the number of the message that it got first.
async fn join(sink: &EventSink, source: &mut EventSource, shard: ShardId) -> u64 {
    let mut number = 0;
    timeout(SOON, async {
        loop {
            sink.publish(shard, &message(number)).await.unwrap();
            let got = timeout(Duration::from_millis(300), source.next()).await;
            if let Ok(event) = got {
                return event.unwrap().message.from().0;
            }
            number += 1;
        }
    })
    .await
    .unwrap()
}

/// The next number of `shard`, which must be `expected`; repetitions of earlier ones are passed over.
async fn expect(source: &mut EventSource, shard: ShardId, expected: u64) {
    loop {
        let event = match timeout(SOON, source.next()).await.unwrap() {
            Ok(event) => event,
            Err(error) if error.is_retryable() => continue,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(event.shard, shard);
        let number = event.message.from().0;
        assert!(number <= expected, "{expected} is missing: got {number}");
        if number == expected {
            assert_eq!(event.message, message(expected));
            return;
        }
    }
}

async fn in_order_and_apart(kafka: &Kafka) {
    let (shop, mut from_shop) = ends(config(kafka, "shared", "shop", 2));
    let (crm, mut from_crm) = ends(config(kafka, "shared", "crm", 2));
    join(&shop, &mut from_shop, ShardId(1)).await;
    join(&crm, &mut from_crm, ShardId(1)).await;
    for number in 100..150 {
        shop.publish(ShardId(1), &message(number)).await.unwrap();
        crm.publish(ShardId(1), &message(number + 1000)).await.unwrap();
    }
    for number in 100..150 {
        expect(&mut from_shop, ShardId(1), number).await;
        expect(&mut from_crm, ShardId(1), number + 1000).await;
    }
    shop.publish(ShardId(0), &message(7)).await.unwrap();
    expect(&mut from_shop, ShardId(0), 7).await;
    // A late join begins at the end: nothing of the above comes.
    let (_, mut late) = ends(config(kafka, "shared", "shop", 2));
    let first = join(&shop, &mut late, ShardId(0)).await;
    assert!(first < 50);
}

async fn too_few_partitions(kafka: &Kafka) {
    let (sink, mut source) = ends(config(kafka, "shared", "shop", 3));
    let refused = sink.publish(ShardId(2), &message(1)).await.unwrap_err();
    assert!(
        matches!(refused, Error::TooFewPartitions { has: 2, needs: 3, .. }),
        "{refused}"
    );
    assert!(!refused.is_retryable());
    assert!(refused.to_string().contains("add partitions"));
    assert!(matches!(source.next().await, Err(Error::TooFewPartitions { .. })));
}

async fn stopped_and_started(kafka: &Kafka) {
    let (sink, mut source) = ends(config(kafka, "paused", "shop", 1));
    join(&sink, &mut source, ShardId(0)).await;
    sink.publish(ShardId(0), &message(500)).await.unwrap();
    expect(&mut source, ShardId(0), 500).await;
    kafka.stop(StopMode::Fast).await.unwrap();
    let publishing = tokio::spawn(async move {
        let mut failures = 0_u32;
        for number in 501..505 {
            while let Err(error) = sink.publish(ShardId(0), &message(number)).await {
                assert!(error.is_retryable(), "{error}");
                failures += 1;
            }
        }
        failures
    });
    // A sink that is made while the broker is down says so, and says that it may pass.
    let (late, _) = ends(config(kafka, "paused", "shop", 1));
    let (nothing, again) = (message(1), async {
        kafka.start_again().await.unwrap();
    });
    let (refused, ()) = tokio::join!(late.publish(ShardId(0), &nothing), again);
    // It may also have come just in time.
    assert!(
        refused.as_ref().err().is_none_or(Error::is_retryable),
        "{refused:?}"
    );
    for number in 501..505 {
        expect(&mut source, ShardId(0), number).await;
    }
    timeout(SOON, publishing).await.unwrap().unwrap();
}
