//! The routes over a socket, against a source that answers at once, and one that never does.

use super::{Phase, Readiness, SharedStore, Source, router};
use crate::admin::{AdminView, tests::view};
use crate::metrics::{ThreadStats, Totals};
use expect_test::{Expect, expect};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Bound of one request in these tests.
const PATIENCE: Duration = Duration::from_secs(20);

enum Threads {
    Answering,
    Silent,
}

struct Fixed {
    phase: Phase,
    store: SharedStore,
    threads: Threads,
}

impl Source for Fixed {
    fn readiness(&self) -> Readiness {
        let mut snapshot = (*view().snapshot).clone();
        if self.phase == Phase::Serving {
            // The other shard of the sample has no primary.
            snapshot.shards.truncate(1);
        }
        Readiness::of(self.phase, &snapshot, [(0, "shop", false)], self.store)
    }

    fn totals(&self) -> Totals {
        let thread = ThreadStats::new(1, 3);
        thread.set_clients(1);
        Totals::of([&thread])
    }

    fn view(&self) -> Pin<Box<dyn Future<Output = AdminView> + Send + '_>> {
        match self.threads {
            Threads::Answering => Box::pin(async { view() }),
            Threads::Silent => Box::pin(std::future::pending()),
        }
    }
}

/// The whole response to `GET path`.
async fn get(source: Fixed, path: &str) -> (u16, String, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let server = tokio::spawn(axum::serve(listener, router(Arc::new(source))).into_future());
    let exchange = async {
        let mut socket = TcpStream::connect(address).await.expect("connected");
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.expect("sent");
        let mut text = String::new();
        socket.read_to_string(&mut text).await.expect("received");
        text
    };
    let text = tokio::time::timeout(PATIENCE, exchange).await.expect("in time");
    server.abort();
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let code = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .expect("a status");
    (code, head.to_ascii_lowercase(), body.to_owned())
}

fn serving() -> Fixed {
    Fixed {
        phase: Phase::Serving,
        store: SharedStore::Absent,
        threads: Threads::Answering,
    }
}

async fn check(source: Fixed, path: &str, code: u16, expect: &Expect) {
    let (got, _, body) = get(source, path).await;
    assert_eq!(got, code, "{body}");
    expect.assert_eq(&body);
}

#[tokio::test]
async fn live_whatever_the_servers_do() {
    check(
        Fixed {
            phase: Phase::Draining,
            threads: Threads::Silent,
            ..serving()
        },
        "/livez",
        200,
        &expect![[r#"
        ok
    "#]],
    )
    .await;
}

#[tokio::test]
async fn ready_while_only_what_can_be_spared_is_lost() {
    check(
        serving(),
        "/readyz",
        200,
        &expect![[r#"
        ready
    "#]],
    )
    .await;
    check(
        Fixed {
            store: SharedStore::Down,
            ..serving()
        },
        "/readyz?verbose",
        200,
        &expect![[r#"
        [+] process ok
        [+] shard shard-0 ok
        [+] endpoint shard-0 us-east 10.0.0.1:5432 ok
        [+] endpoint shard-0 us-west 10.1.0.1:5432 ok
        [!] stream shard-0 shop degraded: not followed: cache unused
        [!] redis degraded: does not answer: values stay in the process
        ready
    "#]],
    )
    .await;
}

#[tokio::test]
async fn not_ready_while_draining_or_without_a_primary() {
    check(
        Fixed {
            phase: Phase::Draining,
            ..serving()
        },
        "/readyz",
        503,
        &expect![[r#"
        not ready: process: draining; shard shard-1: no primary
    "#]],
    )
    .await;
    let starting = Fixed {
        phase: Phase::Starting,
        store: SharedStore::Up,
        ..serving()
    };
    check(
        starting,
        "/readyz?verbose=1",
        503,
        &expect![[r#"
        [-] process failed: starting
        [+] shard shard-0 ok
        [+] endpoint shard-0 us-east 10.0.0.1:5432 ok
        [+] endpoint shard-0 us-west 10.1.0.1:5432 ok
        [-] shard shard-1 failed: no primary
        [!] endpoint shard-1 us-east /run/pg:5433 degraded: connection refused
        [!] stream shard-0 shop degraded: not followed: cache unused
        [+] redis ok
        not ready
    "#]],
    )
    .await;
}

#[tokio::test]
async fn metrics_are_openmetrics() {
    let (code, head, body) = get(serving(), "/metrics").await;
    assert_eq!(code, 200);
    assert!(
        head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
        "{head}"
    );
    assert!(
        body.contains("\nringway_clients 1\n") && body.ends_with("# EOF\n"),
        "{body}"
    );
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one document")]
async fn the_status_is_json() {
    let (code, head, body) = get(serving(), "/api/v1/status").await;
    assert_eq!(code, 200);
    assert!(head.contains("content-type: application/json"), "{head}");
    let value: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    expect![[r#"
        {
          "checks": [
            {
              "name": "process",
              "state": "ok"
            },
            {
              "name": "shard shard-0",
              "state": "ok"
            },
            {
              "name": "endpoint shard-0 us-east 10.0.0.1:5432",
              "state": "ok"
            },
            {
              "name": "endpoint shard-0 us-west 10.1.0.1:5432",
              "state": "ok"
            },
            {
              "name": "stream shard-0 shop",
              "reason": "not followed: cache unused",
              "state": "degraded"
            }
          ],
          "clients": 1,
          "clients_waiting": 1,
          "cluster": "ringway",
          "databases": [
            {
              "name": "shop",
              "queries_total": 20,
              "query_seconds_total": 0.0045,
              "received_bytes_total": 300,
              "sent_bytes_total": 4000,
              "transactions_total": 10,
              "wait_seconds_total": 1e-6
            }
          ],
          "map_version": 4,
          "phase": "serving",
          "proxy_id": "us-east-6432",
          "ready": true,
          "region": "us-east",
          "server_connections": {
            "active": 4,
            "idle": 6,
            "opening": 0
          },
          "shards": [
            {
              "endpoints": [
                {
                  "host": "10.0.0.1",
                  "lag_seconds": null,
                  "port": 5432,
                  "region": "us-east",
                  "replay_lsn": null,
                  "role": "primary",
                  "round_trip_seconds": 0.00024,
                  "state": "up",
                  "timeline": 3
                },
                {
                  "host": "10.1.0.1",
                  "lag_seconds": 0.035,
                  "port": 5432,
                  "region": "us-west",
                  "replay_lsn": "1/2A00",
                  "role": "standby",
                  "round_trip_seconds": 0.00024,
                  "state": "up",
                  "timeline": 3
                }
              ],
              "name": "shard-0",
              "primary": "10.0.0.1:5432",
              "slots": 8192
            },
            {
              "endpoints": [
                {
                  "host": "/run/pg",
                  "lag_seconds": null,
                  "port": 5433,
                  "region": "us-east",
                  "replay_lsn": null,
                  "role": null,
                  "round_trip_seconds": 0.00024,
                  "state": "down",
                  "timeline": null
                }
              ],
              "name": "shard-1",
              "primary": null,
              "slots": 8192
            }
          ],
          "streams": [
            {
              "database": "shop",
              "epoch": "3.2",
              "lag_seconds": 0.012,
              "shard": "shard-0",
              "state": "following",
              "watermark": "3@1/2B00"
            },
            {
              "database": "shop",
              "epoch": null,
              "lag_seconds": null,
              "shard": "shard-1",
              "state": "unknown",
              "watermark": null
            }
          ],
          "version": "0.1.0"
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&value).expect("text"));
}

#[tokio::test]
async fn threads_that_do_not_answer_are_not_waited_for() {
    let (code, _, body) = get(
        Fixed {
            threads: Threads::Silent,
            ..serving()
        },
        "/metrics",
    )
    .await;
    assert_eq!(
        (code, body.as_str()),
        (503, "the data threads did not answer in time\n")
    );
}
