//! Against a real Redis.

use super::{LeasePolicy, RegionFlight, SharedClient, SharedConfig, SharedStore};
use crate::breaker::{BreakerPolicy, BreakerState};
use crate::kept::Kept;
use crate::kept::tests::entry;
use crate::stats::SharedStats;
use cluster::{Redis, StopMode};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout};
use topology::Mono;

/// For what must happen soon, on a busy machine.
const SOON: Duration = Duration::from_secs(20);
const HASH: u128 = 0xABCD;
const KEY: &[u8] = b"the whole key";

/// Any clock of this host will do here: the wall clock doesn't go back during a test.
fn clock() -> Mono {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Mono(u64::try_from(since.as_nanos()).unwrap())
}

fn config(url: String) -> SharedConfig {
    SharedConfig {
        url,
        namespace: "test".to_owned(),
        // Generous: the tests share their machine.
        response_timeout: Duration::from_millis(500),
        connect_timeout: Duration::from_millis(500),
        max_value_bytes: 64 * 1024,
        breaker: BreakerPolicy {
            failures_to_open: 3,
            open_for: Duration::from_millis(200),
        },
        lease: Some(LeasePolicy {
            ttl: Duration::from_secs(5),
            wait: Duration::from_millis(300),
            poll: Duration::from_millis(5),
        }),
        clock,
    }
}

fn store(config: SharedConfig) -> SharedStore {
    SharedStore::new(config, Arc::new(SharedStats::default())).unwrap()
}

fn kept(rows: &[u8]) -> Kept {
    Kept::new(KEY, entry(&[1, 2], clock().plus(Duration::from_secs(60))), rows)
}

/// Puts until Redis takes it: after a loss, it takes a moment to be found again.
async fn put_at_last(client: &SharedClient, kept: &Kept) {
    let taken = async {
        while !client.put(HASH, kept, None).await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, taken)
        .await
        .expect("Redis takes a value in the end");
}

async fn raw(redis: &Redis) -> redis::aio::MultiplexedConnection {
    redis::Client::open(redis.url())
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap()
}

#[tokio::test]
async fn what_is_put_in_comes_out_until_it_is_flushed() {
    let redis = Redis::start().await.unwrap();
    let store = store(config(redis.url()));
    let (writer, reader) = (store.client().unwrap(), store.client().unwrap());
    assert!(reader.get(HASH, KEY).await.is_none());
    let there = kept(b"rows");
    put_at_last(&writer, &there).await;
    let found = reader.get(HASH, KEY).await.unwrap();
    assert_eq!((found.key(), &found.rows()[..]), (KEY, &b"rows"[..]));
    assert_eq!(found.entry().parts(), there.entry().parts());
    // The deadline travels in whole milliseconds of the wall clock.
    let (a, b) = (found.entry().deadline(), there.entry().deadline());
    assert!(a.since(b).max(b.since(a)) < Duration::from_millis(50));
    assert!(reader.get(HASH, b"another key of this hash").await.is_none());
    let mut raw = raw(&redis).await;
    let ttl: i64 = redis::cmd("PTTL")
        .arg(reader.name('e', HASH))
        .query_async(&mut raw)
        .await
        .unwrap();
    assert!((1..=60_000).contains(&ttl), "{ttl}");

    redis.flush().await.unwrap();
    assert!(reader.get(HASH, KEY).await.is_none());
    put_at_last(&writer, &there).await;
    writer.discard(HASH).await;
    assert!(reader.get(HASH, KEY).await.is_none());
    let stats = store.stats();
    assert_eq!(
        (stats.hits.get(), stats.misses.get(), stats.malformed.get()),
        (1, 4, 0)
    );
    assert_eq!(store.breaker_state(), BreakerState::Closed);
}

#[tokio::test]
async fn garbage_and_oversize_are_misses_and_counted() {
    let redis = Redis::start().await.unwrap();
    let store = store(config(redis.url()));
    let client = store.client().unwrap();
    let mut raw = raw(&redis).await;
    let name = client.name('e', HASH);
    let whole = kept(b"rows").encode(client.clocks());
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for garbage in [
        &b"\0"[..],
        b"RWv1",
        b"not ours at all",
        &whole[..whole.len() - 1],
        &flipped,
    ] {
        redis::cmd("SET")
            .arg(&name)
            .arg(garbage)
            .exec_async(&mut raw)
            .await
            .unwrap();
        assert!(client.get(HASH, KEY).await.is_none());
    }
    assert_eq!(store.stats().malformed.get(), 5);
    redis::cmd("DEL").arg(&name).exec_async(&mut raw).await.unwrap();
    redis::cmd("LPUSH")
        .arg(&name)
        .arg("x")
        .exec_async(&mut raw)
        .await
        .unwrap();
    assert!(client.get(HASH, KEY).await.is_none());
    assert_eq!(
        (store.stats().malformed.get(), store.stats().errors.get()),
        (6, 0)
    );

    redis::cmd("SET")
        .arg(&name)
        .arg(vec![7_u8; 65 * 1024])
        .exec_async(&mut raw)
        .await
        .unwrap();
    assert!(client.get(HASH, KEY).await.is_none());
    assert_eq!(store.stats().oversize.get(), 1);
    assert!(!client.put(HASH, &kept(&vec![0; 64 * 1024]), None).await);
    assert_eq!(
        (store.stats().oversize.get(), store.stats().inserts.get()),
        (2, 0)
    );
    // Nothing of this was the server's fault.
    assert_eq!(store.breaker_state(), BreakerState::Closed);
}

#[tokio::test]
async fn a_lost_redis_is_left_alone_and_found_again() {
    let redis = Redis::start().await.unwrap();
    let store = store(config(redis.url()));
    let client = store.client().unwrap();
    put_at_last(&client, &kept(b"rows")).await;
    redis.stop(StopMode::Immediate).await.unwrap();
    let opened = async {
        while store.breaker_state() == BreakerState::Closed {
            assert!(client.get(HASH, KEY).await.is_none());
        }
    };
    timeout(SOON, opened).await.expect("the breaker opens");
    assert!(store.stats().errors.get() >= 3);

    // A call that isn't let out never waits: 2000 timeouts would take a quarter of an hour.
    let before = Instant::now();
    for _ in 0..1000 {
        assert!(client.get(HASH, KEY).await.is_none());
        assert!(matches!(client.try_lease(HASH).await, RegionFlight::Unleased));
    }
    assert!(
        before.elapsed() < Duration::from_secs(5),
        "{:?}",
        before.elapsed()
    );
    assert!(store.stats().skipped.get() >= 2000);

    redis.start_again().await.unwrap();
    put_at_last(&client, &kept(b"again")).await;
    assert_eq!(&client.get(HASH, KEY).await.unwrap().rows()[..], b"again");
    assert_eq!(store.breaker_state(), BreakerState::Closed);
}

#[tokio::test]
async fn a_redis_that_is_silent_costs_its_timeout_a_few_times_only() {
    // Accepts and never answers.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("redis://127.0.0.1:{}", silent.local_addr().unwrap().port());
    let store = store(SharedConfig {
        response_timeout: Duration::from_millis(100),
        ..config(url)
    });
    let client = store.client().unwrap();
    let before = Instant::now();
    for _ in 0..50 {
        assert!(client.get(HASH, KEY).await.is_none());
    }
    // Three timeouts open it; 50 would take five seconds.
    assert!(
        before.elapsed() < Duration::from_millis(2500),
        "{:?}",
        before.elapsed()
    );
    assert_ne!(store.breaker_state(), BreakerState::Closed);
}

#[tokio::test]
async fn the_region_flies_once() {
    let redis = Redis::start().await.unwrap();
    let store = store(config(redis.url()));
    let (first, second) = (store.client().unwrap(), store.client().unwrap());
    put_at_last(&first, &kept(b"old")).await;
    let RegionFlight::Ours(lease) = first.try_lease(HASH).await else {
        panic!("nobody else flies")
    };
    assert!(matches!(second.try_lease(HASH).await, RegionFlight::Theirs));
    let waiting = second.await_other(HASH, KEY, |kept| &kept.rows()[..] == b"new");
    let flying = async {
        sleep(Duration::from_millis(30)).await;
        assert!(first.put(HASH, &kept(b"new"), Some(lease)).await);
    };
    let (waited, ()) = tokio::join!(waiting, flying);
    assert_eq!(&waited.expect("the other's answer").rows()[..], b"new");

    // The answer ended the lease; a flight without an answer ends it too; a lease that is lost is waited for within the bound.
    let RegionFlight::Ours(lease) = second.try_lease(HASH).await else {
        panic!("released by the answer")
    };
    second.release(lease).await;
    let RegionFlight::Ours(_lost) = first.try_lease(HASH).await else {
        panic!("released")
    };
    let before = Instant::now();
    assert!(second.await_other(HASH, KEY, |_| false).await.is_none());
    assert!(before.elapsed() >= Duration::from_millis(300));
    assert_eq!(store.stats().lease_waits.get(), 1);
}

#[tokio::test]
async fn somebody_elses_lease_is_not_released() {
    let redis = Redis::start().await.unwrap();
    let store = store(config(redis.url()));
    let client = store.client().unwrap();
    put_at_last(&client, &kept(b"x")).await;
    let RegionFlight::Ours(mut lease) = client.try_lease(HASH).await else {
        panic!("free")
    };
    lease.token = lease.token.wrapping_add(1);
    client.release(lease).await;
    assert!(matches!(client.try_lease(HASH).await, RegionFlight::Theirs));
}
