//! The side that is called.

use super::Status;
use crate::context::Context;
use crate::web::{Edge, Problem, span, until};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderValue};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;
use tracing::Instrument;

/// The name of the metadata that carries the key.
pub const SERVICE_KEY_HEADER: &str = "ringway-service-key";

/// What the services of a shop know, and nobody else.
#[derive(Clone, PartialEq, Eq)]
pub struct ServiceKey(HeaderValue);

impl ServiceKey {
    /// A key: at least 16 printable ASCII characters.
    ///
    /// # Errors
    /// It is shorter, or has others.
    pub fn new(secret: &str) -> crate::Result<Self> {
        const SHORTEST: usize = 16;
        let plain = secret.len() >= SHORTEST && secret.bytes().all(|b| b.is_ascii_graphic());
        let value = HeaderValue::from_str(secret).ok().filter(|_| plain);
        let mut value = value
            .ok_or_else(|| crate::Error::caller("the services' key has at least 16 printable characters"))?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    /// What goes into [`SERVICE_KEY_HEADER`].
    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// In a time that doesn't depend on where they differ.
    pub(crate) fn is_in(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(SERVICE_KEY_HEADER).map(HeaderValue::as_bytes);
        given.is_some_and(|given| {
            aws_lc_rs::constant_time::verify_slices_are_equal(given, self.0.as_bytes()).is_ok()
        })
    }
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceKey")
    }
}

/// What the layer knows.
#[derive(Clone, Debug)]
pub(crate) struct Gate(pub(crate) Edge);

/// The context of a call, and what is asked.
///
/// # Errors
/// The service was served without the runner.
// A Status is what tonic's handlers return.
#[allow(clippy::result_large_err, reason = "tonic's handlers return it")]
pub fn open<T>(request: tonic::Request<T>) -> Result<(Context, T), Status> {
    let context = request.extensions().get::<Context>().cloned();
    let context = context.ok_or_else(|| Status::from(Problem::internal()))?;
    Ok((context, request.into_inner()))
}

/// The layer of gRPC.
pub(crate) async fn through(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    let (began, edge) = (Instant::now(), &gate.0);
    let route = request.uri().path().to_owned();
    if !edge.key.is_in(request.headers()) {
        return Status::from(Problem::unauthenticated("only services of the shop may call")).into_http();
    }
    let response = match edge.context(request.headers()) {
        Err(error) => Status::from(error).into_http(),
        Ok(context) => {
            request.extensions_mut().insert(context.clone());
            let span = span(edge, &route, &context);
            let handled = tokio::time::timeout(until(context.deadline()), next.run(request).instrument(span));
            let mut response = match handled.await {
                Ok(response) => response,
                Err(_) => Status::from(Problem::deadline()).into_http(),
            };
            context.write_answer(response.headers_mut());
            response
        }
    };
    // Ok is not in the headers but in the trailers.
    let code = Status::from_header_map(response.headers()).map_or(0, |status| status.code() as u16);
    // Routes are as many as there are methods: whatever else is asked for has no service and doesn't come here.
    edge.metrics
        .answered(edge.service, "grpc", &route, code, began.elapsed());
    response
}
