//! Calls between services: gRPC.
//!
//! A call carries the caller's [`Context`](crate::Context) in its metadata (token, time left, trace) and brings the token back; what
//! the other service refuses comes back as the [`Problem`](crate::web::Problem) that it is over HTTP. Who calls is another service that knows the
//! shop's [`ServiceKey`]; nobody else is answered.
//!
//! A handler begins with [`open`], and a call is `ScoreClient::new(peer.call(&context)).score(request).await?`.
//!
//! **Invariant:** a call takes no longer than its context allows, and what it wrote is seen afterwards in the same context.
//! **Invariant:** a service that is down is left alone (by a breaker for each).

mod client;
mod server;
mod status;

pub use client::{Call, Peer};
pub use server::{SERVICE_KEY_HEADER, ServiceKey, open};
pub use tonic::{Request, Response, Status};

pub(crate) use server::{Gate, through};
