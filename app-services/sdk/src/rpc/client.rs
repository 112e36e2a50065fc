//! The side that calls.

use super::{SERVICE_KEY_HEADER, ServiceKey, Status};
use crate::breaker::{BreakerSettings, Outcome};
use crate::context::Context;
use crate::deadline::{GRPC_TIMEOUT_HEADER, format_timeout};
use crate::error::Error;
use crate::guard::Guard;
use crate::web::Problem;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::transport::{Channel, Endpoint};
use tower::ServiceExt;

/// The longest that any call takes.
const LONGEST: Duration = Duration::from_secs(30);

/// For making a connection.
const CONNECT_BOUND: Duration = Duration::from_secs(2);

/// A connection on which nothing comes back is closed after this and as long again.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// The most calls at a time to one service.
const MAX_CALLS: usize = 512;

/// A call without an answer for so long counts against the service when its deadline passes.
const SLOW: Duration = Duration::from_secs(1);

/// Another service. Clones share the connection and the breaker.
#[derive(Clone, Debug)]
pub struct Peer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    name: String,
    channel: Channel,
    key: ServiceKey,
    guard: Guard,
}

impl Peer {
    /// The service at a URL (`http://payment:8080`). Connects when it is first called.
    ///
    /// # Errors
    /// The URL is malformed.
    pub fn new(name: &str, url: &str, key: ServiceKey) -> crate::Result<Self> {
        let malformed = |error: tonic::transport::Error| {
            Error::caller(format!("the address of {name} is malformed")).with_source(error)
        };
        let endpoint = Endpoint::from_shared(url.to_owned()).map_err(malformed)?;
        let channel = endpoint
            .connect_timeout(CONNECT_BOUND)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .concurrency_limit(MAX_CALLS)
            .tcp_nodelay(true)
            .connect_lazy();
        Ok(Self(Arc::new(Shared {
            name: name.to_owned(),
            channel,
            key,
            guard: Guard::new(BreakerSettings::default()),
        })))
    }

    /// What a generated client is made of, for calls in this context.
    pub fn call(&self, context: &Context) -> Call {
        Call {
            peer: self.clone(),
            context: context.clone(),
        }
    }
}

/// Calls of another service in one context.
#[derive(Clone, Debug)]
pub struct Call {
    peer: Peer,
    context: Context,
}

impl Service<Request<Body>> for Call {
    type Response = Response<Body>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Response<Body>, Status>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let call = self.clone();
        Box::pin(call.made(request))
    }
}

impl Call {
    async fn made(self, mut request: Request<Body>) -> Result<Response<Body>, Status> {
        let shared = &self.peer.0;
        let left = self.context.deadline().left().unwrap_or(LONGEST).min(LONGEST);
        if left.is_zero() {
            return Err(Problem::deadline().into());
        }
        let headers = request.headers_mut();
        self.context.write_request(headers);
        headers.insert(SERVICE_KEY_HEADER, shared.key.header());
        if let Ok(timeout) = HeaderValue::from_str(&format_timeout(left)) {
            headers.insert(GRPC_TIMEOUT_HEADER, timeout);
        }
        let permit = shared.guard.ask().map_err(|_| shared.unavailable())?;
        let began = Instant::now();
        let answer = tokio::time::timeout(left, shared.channel.clone().oneshot(request)).await;
        match answer {
            Ok(Ok(response)) => {
                // Whatever it says, it is up: that one of its shards isn't is no reason to keep calls from the others.
                shared.guard.tell(permit, Outcome::Success);
                self.context.read_answer(response.headers())?;
                Ok(response)
            }
            Ok(Err(error)) => {
                shared.guard.tell(permit, Outcome::Failure);
                tracing::warn!(%error, peer = shared.name, "a service can't be reached");
                Err(shared.unavailable().into())
            }
            Err(_) => {
                let slow = began.elapsed() >= SLOW;
                shared
                    .guard
                    .tell(permit, if slow { Outcome::Failure } else { Outcome::Unknown });
                Err(Problem::deadline().into())
            }
        }
    }
}

impl Shared {
    fn unavailable(&self) -> Problem {
        Problem::unavailable("peer-unavailable", format!("{} does not answer", self.name)).after_seconds(1)
    }
}
