//! Flights with many callers.

use super::{Boarding, FlightPolicy, Flights, Leader, Waiter};
use crate::stats::FlightStats;
use std::sync::Arc;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(10);

fn flights(max_waiters: usize, max_flights: usize) -> Arc<Flights<u32>> {
    Flights::new(
        FlightPolicy {
            max_waiters,
            max_flights,
        },
        Arc::new(FlightStats::default()),
    )
}

fn lead(flights: &Arc<Flights<u32>>, hash: u128, key: &[u8]) -> Leader<u32> {
    match flights.join(hash, key) {
        Boarding::Lead(leader) => leader,
        other => panic!("not the leader: {other:?}"),
    }
}

fn waiter(flights: &Arc<Flights<u32>>, hash: u128, key: &[u8]) -> Waiter<u32> {
    match flights.join(hash, key) {
        Boarding::Wait(waiter) => waiter,
        other => panic!("not a waiter: {other:?}"),
    }
}

#[tokio::test]
async fn all_share_one_answer() {
    let flights = flights(8, 64);
    let leader = lead(&flights, 1, b"k");
    let waiters: Vec<_> = (0..8).map(|_| waiter(&flights, 1, b"k")).collect();
    leader.land(42);
    for waiter in waiters {
        assert_eq!(waiter.wait(LONG, |_| true).await, Some(42));
    }
    assert_eq!((flights.stats.led.get(), flights.stats.shared.get()), (1, 8));
    assert_eq!(flights.under_way(), 0);
}

#[tokio::test]
async fn an_answer_that_is_not_valid_any_more_is_not_used() {
    let flights = flights(8, 64);
    let leader = lead(&flights, 1, b"k");
    let waiter = waiter(&flights, 1, b"k");
    leader.land(42);
    assert_eq!(waiter.wait(LONG, |_| false).await, None);
    assert_eq!(flights.stats.given_up.get(), 1);
}

#[tokio::test]
async fn a_lost_leader_sends_its_waiters_on_at_once() {
    let flights = flights(8, 64);
    let leader = lead(&flights, 1, b"k");
    let waiter = waiter(&flights, 1, b"k");
    drop(leader);
    assert_eq!(waiter.wait(LONG, |_| true).await, None);
    // The next one leads anew.
    lead(&flights, 1, b"k").land(1);
}

#[tokio::test]
async fn a_slow_leader_is_waited_for_within_the_bound() {
    let flights = flights(8, 64);
    let _leader = lead(&flights, 1, b"k");
    let before = tokio::time::Instant::now();
    assert_eq!(
        waiter(&flights, 1, b"k")
            .wait(Duration::from_millis(20), |_| true)
            .await,
        None
    );
    assert!(before.elapsed() < LONG / 2);
}

#[tokio::test]
async fn bounds_hold_and_room_comes_back() {
    let flights = flights(1, super::PARTS);
    let leader = lead(&flights, 1, b"k");
    let first = waiter(&flights, 1, b"k");
    assert!(matches!(flights.join(1, b"k"), Boarding::Full));
    drop(first);
    drop(waiter(&flights, 1, b"k"));
    // Another flight in the same part of the table finds no room; in another part it does.
    assert!(matches!(
        flights.join(1 + super::PARTS as u128, b"x"),
        Boarding::Full
    ));
    drop(lead(&flights, 2, b"y"));
    drop(leader);
    drop(lead(&flights, 1 + super::PARTS as u128, b"x"));
    assert_eq!(flights.under_way(), 0);
}

#[tokio::test]
async fn equal_hashes_of_different_keys_are_not_confused() {
    let flights = flights(8, 64);
    let _leader = lead(&flights, 1, b"mine");
    assert!(matches!(flights.join(1, b"other"), Boarding::Full));
}

#[test]
fn threads_meet_in_one_flight() {
    let flights = flights(64, 64);
    let leader = lead(&flights, 7, b"k");
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let flights = Arc::clone(&flights);
            let (ready, joined) = std::sync::mpsc::channel();
            let thread = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build()
                    .unwrap();
                let waiter = waiter(&flights, 7, b"k");
                ready.send(()).unwrap();
                runtime.block_on(waiter.wait(LONG, |_| true))
            });
            joined.recv().unwrap();
            thread
        })
        .collect();
    leader.land(9);
    for thread in threads {
        assert_eq!(thread.join().unwrap(), Some(9));
    }
}
