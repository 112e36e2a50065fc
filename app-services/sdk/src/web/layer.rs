//! What stands around every handler.

use super::extract::ClientAddress;
use super::keys::Keys;
use super::metrics::Metrics;
use super::problem::{MEDIA_TYPE, Problem};
use crate::context::Context;
use crate::deadline::Deadline;
use crate::rpc::ServiceKey;
use crate::trace::TraceParent;
use axum::body::to_bytes;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, StatusCode};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::Instrument;

/// The name of the header that says which region has answered.
const REGION_HEADER: &str = "ringway-region";

/// What a handler has after the deadline to say so itself.
const GRACE: Duration = Duration::from_millis(250);

/// The longest text of a rejection that is passed on.
const MAX_REJECTION: usize = 2_000;

/// What a request may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The longest time until its answer begins.
    pub time: Duration,
    /// The longest body, in bytes.
    pub body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(10),
            body: 256 * 1024,
        }
    }
}

/// What the layers know.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    pub(crate) service: &'static str,
    pub(crate) region: HeaderValue,
    pub(crate) keys: Keys,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
    pub(crate) key: ServiceKey,
}

impl Edge {
    /// Reads what a request brings, and begins a trace if there is none.
    pub(crate) fn context(&self, headers: &http::HeaderMap) -> crate::Result<Context> {
        let context = Context::from_headers(headers, self.limits.time)?;
        let trace = context
            .trace()
            .unwrap_or_else(|| TraceParent::root(rand::random(), rand::random()));
        Ok(context.with_trace(Some(trace)))
    }
}

/// How long a handler may run.
pub(crate) fn until(deadline: Deadline) -> Duration {
    deadline
        .left()
        .map_or(Duration::MAX, |left| left.saturating_add(GRACE))
}

/// The span of a request.
pub(crate) fn span(edge: &Edge, route: &str, context: &Context) -> tracing::Span {
    let trace = context.trace().map(TraceParent::trace_id).unwrap_or_default();
    tracing::info_span!(
        "request",
        service = edge.service,
        route,
        trace = format!("{trace:032x}")
    )
}

/// The layer of HTTP.
pub(crate) async fn through(State(edge): State<Arc<Edge>>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = method_name(request.method());
    let path = request.extensions().get::<MatchedPath>().cloned();
    let route = path.as_ref().map_or("none", MatchedPath::as_str);
    let mut response = match edge.context(request.headers()) {
        Err(error) => Problem::from(error).into_response(),
        Ok(context) => {
            request.extensions_mut().insert(context.clone());
            request.extensions_mut().insert(edge.keys.clone());
            let address = ClientAddress::of(&request, &edge.key);
            request.extensions_mut().insert(address);
            let span = span(&edge, route, &context);
            let handled = tokio::time::timeout(until(context.deadline()), next.run(request).instrument(span));
            let response = match handled.await {
                Ok(response) => response,
                Err(_) => Problem::deadline().into_response(),
            };
            let mut response = as_problem(response, context.trace()).await;
            context.write_answer(response.headers_mut());
            response
        }
    };
    response.headers_mut().insert(REGION_HEADER, edge.region.clone());
    let status = response.status().as_u16();
    edge.metrics
        .answered(edge.service, method, route, status, began.elapsed());
    response
}

/// Gives problems their trace, and makes problems of what axum refuses by itself.
async fn as_problem(response: Response, trace: Option<TraceParent>) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let trace = trace.map(|trace| trace.to_string());
    if let Some(problem) = response.extensions().get::<Problem>() {
        let problem = Problem {
            traceparent: trace,
            ..problem.clone()
        };
        return problem.into_response();
    }
    // Another service's, which a gateway passes on.
    let told = response.headers().get(http::header::CONTENT_TYPE);
    if told.is_some_and(|told| told == MEDIA_TYPE) {
        return response;
    }
    let headers = response.headers().clone();
    let text = to_bytes(response.into_body(), MAX_REJECTION)
        .await
        .unwrap_or_default();
    let mut problem = Problem::of_status(status);
    if status.is_client_error() && !text.is_empty() {
        problem = problem.about(without_values(&String::from_utf8_lossy(&text)));
    }
    problem.traceparent = trace;
    let mut answer = problem.into_response();
    if let Some(allow) = headers.get(http::header::ALLOW) {
        answer.headers_mut().insert(http::header::ALLOW, allow.clone());
    }
    answer
}

/// What a rejection says of a value, without the value: it may be a password in the wrong place.
fn without_values(text: &str) -> String {
    const VARIANT: &str = "unknown variant `";
    let quoted = text.find('"').zip(text.rfind('"'));
    let variant = text.find(VARIANT).map(|at| at + VARIANT.len());
    let variant = variant.and_then(|at| Some((at, at + text.get(at..)?.rfind("`, expected")?)));
    // Both are the value's, as far as they reach: in a value there may be quotes too.
    match quoted
        .or(variant)
        .and_then(|(from, to)| text.get(..from).zip(text.get(to..)))
    {
        Some((before, behind)) => format!("{before}...{}", behind.trim_start_matches('"')),
        None => text.to_owned(),
    }
}

/// Names of methods are a label: anything made up is one value.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// The answer where there is no route.
pub(crate) async fn not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no-such-route",
        "there is nothing at this path",
    )
}

/// The answer where a route has no such method.
pub(crate) async fn wrong_method() -> Problem {
    Problem::of_status(StatusCode::METHOD_NOT_ALLOWED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_tells_what_was_wrong_and_not_the_value() {
        for (text, told) in [
            (
                "missing field `email` at line 1 column 2",
                "missing field `email` at line 1 column 2",
            ),
            (
                "password: invalid type: string \"se\\\"cret\", expected a map",
                "password: invalid type: string ..., expected a map",
            ),
            (
                "a: unknown variant `se`cret`, expected `b` or `c`",
                "a: unknown variant `...`, expected `b` or `c`",
            ),
            ("invalid type: string \"", "invalid type: string ..."),
        ] {
            assert_eq!(without_values(text), told);
        }
    }
}
