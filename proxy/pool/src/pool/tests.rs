//! The pool over real sockets with nobody behind them.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::UnixStream;
use tokio::task::LocalSet;
use topology::Mono;

use super::{Pool, PoolConfig};
use crate::connection::{BackendConnection, ServerParameters};
use crate::decide::Limits;
use crate::error::{CheckoutError, ConnectError};
use crate::stream::Stream;

/// The servers' side: what was opened, and whether opening works.
#[derive(Default)]
struct Servers {
    ends: RefCell<Vec<UnixStream>>,
    refusing: Cell<bool>,
    attempts: Cell<usize>,
}

fn limits(max_size: usize) -> Limits {
    Limits {
        max_size,
        wait_timeout: Some(Duration::from_secs(5)),
        ..Limits::default()
    }
}

/// The state that the pool's user keeps: how often the connection was used.
fn pool(limits: Limits) -> (Pool<u32>, Rc<Servers>) {
    let servers = Rc::new(Servers::default());
    let start = Instant::now();
    let clock = Rc::new(move || Mono(u64::try_from(start.elapsed().as_nanos()).unwrap()));
    let connect = {
        let (servers, clock) = (Rc::clone(&servers), Rc::clone(&clock));
        Rc::new(move || {
            let (servers, clock) = (Rc::clone(&servers), Rc::clone(&clock));
            let opening: std::pin::Pin<Box<dyn Future<Output = _>>> = Box::pin(async move {
                tokio::task::yield_now().await;
                servers.attempts.set(servers.attempts.get() + 1);
                if servers.refusing.get() {
                    return Err(ConnectError::Unreachable(io::ErrorKind::ConnectionRefused.into()));
                }
                let (ours, theirs) = UnixStream::pair().map_err(ConnectError::Unreachable)?;
                servers.ends.borrow_mut().push(theirs);
                let parameters = ServerParameters::default();
                Ok(BackendConnection {
                    stream: Stream::Unix(ours),
                    parameters,
                    key: None,
                    opened_at: clock(),
                })
            });
            opening
        })
    };
    (
        Pool::new(PoolConfig {
            limits,
            connect,
            new_state: Rc::new(|_| 0),
            clock,
            quotas: Arc::new([]),
        }),
        servers,
    )
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let bounded = async {
        tokio::time::timeout(Duration::from_secs(20), test)
            .await
            .expect("hangs")
    };
    LocalSet::new().block_on(&runtime, bounded);
}

#[test]
fn the_connection_returned_last_is_lent_first_with_its_state() {
    run(async {
        let (pool, _servers) = pool(limits(2));
        assert!(pool.try_checkout().is_none(), "nothing is open");
        let (mut a, b) = (pool.checkout().await.unwrap(), pool.checkout().await.unwrap());
        assert!(pool.try_checkout().is_none());
        a.state = 7;
        let id = a.info().id;
        b.release();
        a.release();
        let again = pool.try_checkout().unwrap();
        assert_eq!((again.info().id, again.state), (id, 7));
        assert_eq!((pool.stats().idle, pool.stats().active), (1, 1));
    });
}

#[test]
fn never_more_than_max_size_and_everybody_is_served() {
    run(async {
        let (pool, servers) = pool(limits(3));
        let (now, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let tasks: Vec<_> = (0..60)
            .map(|i| {
                let (pool, now, most) = (pool.clone(), Rc::clone(&now), Rc::clone(&most));
                tokio::task::spawn_local(async move {
                    for round in 0..5 {
                        let mut lease = pool.checkout().await.unwrap();
                        now.set(now.get() + 1);
                        most.set(most.get().max(now.get()));
                        lease.state += 1;
                        tokio::task::yield_now().await;
                        now.set(now.get() - 1);
                        // Some die with their connection.
                        if (i + round) % 7 == 0 {
                            drop(lease)
                        } else {
                            lease.release()
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let stats = pool.stats();
        assert_eq!(most.get(), 3);
        assert!(
            stats.idle <= 3 && stats.active == 0 && stats.waiting == 0,
            "{stats:?}"
        );
        assert_eq!(stats.checkouts_total, 300);
        assert_eq!(stats.opened_total, u64::try_from(servers.attempts.get()).unwrap());
        assert_eq!(
            stats.opened_total - stats.closed_total,
            u64::try_from(stats.idle).unwrap()
        );
    });
}

#[test]
fn who_waits_longest_is_served_first_and_nobody_overtakes() {
    run(async {
        let (pool, _servers) = pool(limits(1));
        let held = pool.checkout().await.unwrap();
        let order = Rc::new(RefCell::new(Vec::new()));
        let tasks: Vec<_> = (0..5)
            .map(|i| {
                let (pool, order) = (pool.clone(), Rc::clone(&order));
                tokio::task::spawn_local(async move {
                    let lease = pool.checkout().await.unwrap();
                    order.borrow_mut().push(i);
                    lease.release();
                })
            })
            .collect();
        while pool.stats().waiting < 5 {
            tokio::task::yield_now().await;
        }
        held.release();
        assert!(pool.try_checkout().is_none(), "the queue comes first");
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.borrow(), [0, 1, 2, 3, 4]);
    });
}

#[test]
fn a_dropped_lease_closes_its_connection_and_the_next_one_waits_for_a_fresh_one() {
    run(async {
        let (pool, servers) = pool(limits(1));
        let first = pool.checkout().await.unwrap();
        let id = first.info().id;
        let waiting = tokio::task::spawn_local({
            let pool = pool.clone();
            async move { pool.checkout().await.unwrap().info().id }
        });
        while pool.stats().waiting == 0 {
            tokio::task::yield_now().await;
        }
        drop(first);
        assert_ne!(waiting.await.unwrap(), id);
        let end = servers.ends.borrow_mut().remove(0);
        end.readable().await.unwrap();
        assert_eq!(end.try_read(&mut [0; 8]).unwrap(), 0, "closed without a word");
    });
}

#[test]
fn the_queue_is_bounded_in_length_and_in_time() {
    run(async {
        let wait_timeout = Some(Duration::from_millis(30));
        let (pool, _servers) = pool(Limits {
            max_waiting: 1,
            wait_timeout,
            ..limits(1)
        });
        let _held = pool.checkout().await.unwrap();
        let waiting = tokio::task::spawn_local({
            let pool = pool.clone();
            async move { pool.checkout().await.map(|_| ()) }
        });
        while pool.stats().waiting == 0 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(pool.checkout().await, Err(CheckoutError::QueueFull)));
        while pool.stats().waiting > 0 {
            assert_eq!(pool.stats().timeouts_total, 0);
            pool.maintain();
            tokio::task::yield_now().await;
        }
        assert!(matches!(waiting.await.unwrap(), Err(CheckoutError::WaitTimeout)));
        let stats = pool.stats();
        assert_eq!((stats.waiting, stats.timeouts_total), (0, 1));
        assert!(stats.wait_time_total >= Duration::from_millis(30));
    });
}

#[test]
fn the_reserve_is_for_those_who_have_waited() {
    run(async {
        let (pool, _servers) = pool(Limits {
            reserve_size: 1,
            reserve_timeout: Duration::from_millis(20),
            ..limits(1)
        });
        let held = pool.checkout().await.unwrap();
        let waiting = tokio::task::spawn_local({
            let pool = pool.clone();
            async move { pool.checkout().await.unwrap() }
        });
        while pool.stats().max_wait < Duration::from_millis(20) {
            assert_eq!(pool.stats().connecting, 0);
            tokio::task::yield_now().await;
        }
        pool.maintain();
        let from_reserve = waiting.await.unwrap();
        assert_eq!(pool.stats().active, 2);
        from_reserve.release();
        held.release();
        assert_eq!(pool.stats().idle, 1, "the reserve is closed when nobody waits");
    });
}

#[test]
fn a_checkout_that_is_given_up_loses_no_connection() {
    run(async {
        let (pool, _servers) = pool(limits(1));
        let held = pool.checkout().await.unwrap();
        let mut given_up = Box::pin(pool.checkout());
        let pending = tokio::time::timeout(Duration::from_millis(5), &mut given_up).await;
        assert!(pending.is_err());
        // The connection is on its way to it when it is dropped.
        held.release();
        drop(given_up);
        let stats = pool.stats();
        assert_eq!((stats.idle, stats.waiting, stats.closed_total), (1, 0, 0));
        assert!(pool.try_checkout().is_some());
    });
}

#[test]
fn when_nothing_can_be_opened_it_is_told_at_once_and_recovers() {
    run(async {
        let (pool, servers) = pool(limits(2));
        servers.refusing.set(true);
        assert!(matches!(pool.checkout().await, Err(CheckoutError::Connect(_))));
        assert!(matches!(pool.checkout().await, Err(CheckoutError::Connect(_))));
        assert_eq!(
            servers.attempts.get(),
            1,
            "the second one is refused without an attempt"
        );
        servers.refusing.set(false);
        loop {
            match pool.checkout().await {
                Ok(lease) => break lease.release(),
                Err(_) => tokio::task::yield_now().await,
            }
        }
        assert_eq!(pool.stats().connect_failures_total, 1);
    });
}

#[test]
fn a_failure_while_others_are_lent_leaves_the_queue_waiting_for_them() {
    run(async {
        let (pool, servers) = pool(limits(2));
        let held = pool.checkout().await.unwrap();
        servers.refusing.set(true);
        let waiting = tokio::task::spawn_local({
            let pool = pool.clone();
            async move { pool.checkout().await.map(|lease| lease.info().id) }
        });
        while pool.stats().connect_failures_total == 0 {
            tokio::task::yield_now().await;
        }
        let id = held.info().id;
        held.release();
        assert_eq!(waiting.await.unwrap().unwrap(), id);
    });
}

#[test]
fn after_a_failure_the_queue_gets_another_attempt_by_itself() {
    run(async {
        let (pool, servers) = pool(limits(2));
        let _held = pool.checkout().await.unwrap();
        servers.refusing.set(true);
        let waiting = tokio::task::spawn_local({
            let pool = pool.clone();
            async move { pool.checkout().await.map(|_| ()) }
        });
        while pool.stats().connect_failures_total == 0 {
            tokio::task::yield_now().await;
        }
        servers.refusing.set(false);
        assert!(waiting.await.unwrap().is_ok());
    });
}

#[test]
fn a_connection_that_the_server_closed_or_spoke_on_is_not_lent() {
    run(async {
        let (pool, servers) = pool(limits(2));
        let (a, b) = (pool.checkout().await.unwrap(), pool.checkout().await.unwrap());
        let old = [a.info().id, b.info().id];
        a.release();
        b.release();
        let end = servers.ends.borrow_mut().remove(0);
        end.writable().await.unwrap();
        end.try_write(b"E").unwrap();
        drop(servers.ends.borrow_mut().pop());
        // An event that comes after these: when it is seen, so are they.
        let (later, other) = UnixStream::pair().unwrap();
        drop(other);
        later.readable().await.unwrap();
        let lease = pool.checkout().await.unwrap();
        assert!(!old.contains(&lease.info().id));
        assert_eq!(pool.stats().closed_total, 2);
    });
}

#[test]
fn maintenance_opens_to_the_minimum_and_closes_what_has_rested_or_lived_too_long() {
    run(async {
        let (pool, _servers) = pool(Limits {
            min_size: 2,
            ..limits(4)
        });
        pool.maintain();
        while pool.stats().idle < 2 {
            tokio::task::yield_now().await;
        }
        let leases = [
            pool.checkout().await.unwrap(),
            pool.checkout().await.unwrap(),
            pool.checkout().await.unwrap(),
        ];
        leases.into_iter().for_each(super::Lease::release);
        assert_eq!(pool.stats().idle, 3);
        pool.set_limits(Limits {
            min_size: 2,
            idle_timeout: Some(Duration::ZERO),
            ..limits(4)
        });
        assert_eq!(pool.stats().idle, 2, "idleness stops at the minimum");
        pool.set_limits(Limits {
            lifetime: Some(Duration::ZERO),
            ..limits(4)
        });
        assert_eq!(pool.stats().idle, 0);
    });
}

#[test]
fn condemned_connections_end_when_they_come_to_rest() {
    run(async {
        let (pool, _servers) = pool(limits(3));
        let (a, b) = (pool.checkout().await.unwrap(), pool.checkout().await.unwrap());
        let id = a.info().id;
        pool.close_where(|info| info.id == id);
        a.release();
        b.release();
        assert_eq!(pool.stats().idle, 1);
        pool.reconnect();
        assert_eq!(pool.stats().idle, 0);
        let mut opening = Box::pin(pool.checkout());
        assert!(poll_once(&mut opening).await.is_none());
        tokio::task::yield_now().await;
        pool.reconnect();
        opening.await.unwrap().release();
        let mut ids = Vec::new();
        pool.for_each_server(|info| ids.push(info.id));
        assert_eq!(ids.len(), 1);
    });
}

#[test]
fn draining_refuses_all_and_ends_with_the_last_lease() {
    run(async {
        let (pool, _servers) = pool(limits(1));
        let held = pool.checkout().await.unwrap();
        let waiting = tokio::task::spawn_local({
            let pool = pool.clone();
            async move { pool.checkout().await.map(|_| ()) }
        });
        while pool.stats().waiting == 0 {
            tokio::task::yield_now().await;
        }
        pool.drain();
        assert!(matches!(waiting.await.unwrap(), Err(CheckoutError::Draining)));
        assert!(matches!(pool.checkout().await, Err(CheckoutError::Draining)));
        held.release();
        assert_eq!((pool.stats().idle, pool.stats().active), (0, 0));
    });
}

async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}
