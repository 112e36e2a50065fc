//! Connections: HTTP/1.1 and HTTP/2 on one port, bounded in number and in how slowly they may ask.

use super::tasks::Stop;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt;

/// For the headers of a request to come.
const HEADERS_BOUND: Duration = Duration::from_secs(10);

/// The most headers of a request.
const MAX_HEADERS: usize = 64;

/// The most requests at a time on a connection of HTTP/2.
const MAX_STREAMS: u32 = 512;

/// An HTTP/2 connection that says nothing for so long is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// When the machine has no more sockets.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves connections until `stop`, then has those that are left finish their requests, for `drain` at the most.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    connections: usize,
    stop: Stop,
    drain: Duration,
) {
    let places = Arc::new(Semaphore::new(connections));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = async {
            // A semaphore that is never closed.
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        tokio::select! {
            () = stop.cancelled() => break,
            (place, accepted) = accepted => match accepted {
                Ok((stream, from)) => {
                    tokio::spawn(connection(stream, from, router.clone(), graceful.watcher(), place));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection can't be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("connections are cut: their requests did not end in time");
    }
}

async fn connection(
    stream: TcpStream,
    from: SocketAddr,
    router: Router,
    watcher: Watcher,
    place: Option<OwnedSemaphorePermit>,
) {
    // Without it an answer may wait for the acknowledgement of what went before it; an old socket does without.
    drop(stream.set_nodelay(true));
    let service = router.map_request(move |request: Request<hyper::body::Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(from));
        request
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_BOUND)
        .max_headers(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .max_concurrent_streams(MAX_STREAMS);
    let serving =
        builder.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service));
    if let Err(error) = watcher.watch(serving.into_owned()).await {
        tracing::debug!(error, "a connection broke");
    }
    drop(place);
}
