//! A service's side of HTTP: what stands around each handler, so that a handler says only what the service does.
//!
//! Every request passes a layer that reads its [`Context`](crate::Context), bounds its time and size, counts it, turns whatever
//! is refused into `application/problem+json` ([`Problem`]), and puts the causal token into the answer. Handlers take what they need as axum
//! extractors: `Context`, [`Caller`] (who has signed in), [`Staff`], [`IdempotencyKey`], and axum's own `Json`, `Path` and `Query`, whose rejections
//! become problems too.
//!
//! What a service refuses is an enum made by [`refusals!`](crate::refusals).
//!
//! **Invariant:** every answer of status 400 and above is a problem, and none of them tells of the inside: SQL, hosts, secrets.
//! **Invariant:** a [`Caller`] was signed with a key that is valid, and has not expired.

mod extract;
mod keys;
mod layer;
mod metrics;
mod openapi;
mod problem;
mod reads;
mod refusal;

pub use extract::{CLIENT_HEADER, ClientAddress, IDEMPOTENCY_HEADER, IdempotencyKey, Staff};
pub use keys::{Caller, ISSUER, Keys, Role, Signer};
pub use layer::Limits;
pub use metrics::Metrics;
pub use problem::Problem;
pub use reads::Reads;

pub use axum::Json;
pub use axum::extract::{Path, Query, State};
pub use http::StatusCode;
pub use utoipa_axum::router::OpenApiRouter;
/// Routes of handlers, with their part of the document. It names `axum` and `utoipa`, so a crate with routes depends on both.
pub use utoipa_axum::routes;

#[doc(hidden)]
pub use axum::response::{IntoResponse, Response};
#[doc(hidden)]
pub use http::StatusCode as status;

pub(crate) use layer::{Edge, not_found, span, through, until, wrong_method};
pub use openapi::Together;
pub(crate) use openapi::{complete, named};
