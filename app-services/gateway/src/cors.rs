//! Pages of the other regions' gateways may ask this one: whoever is there goes on here.

use crate::Gateway;
use crate::page::origin;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderValue, Method, StatusCode};

/// What a page may send.
const REQUEST_HEADERS: &str = "authorization, content-type, idempotency-key, ringway-report, ringway-timeout, ringway-token, traceparent";

/// What it may read of an answer.
const ANSWER_HEADERS: &str = "ringway-region, ringway-source, ringway-token, retry-after, traceparent";

const METHODS: &str = "GET, POST, PUT, PATCH, DELETE";

/// How long a browser need not ask again, in seconds.
const MAX_AGE: &str = "600";

/// Lets the shop's own pages in other regions ask; answers their browsers' questions whether they may.
pub(crate) async fn through(State(gateway): State<Gateway>, request: Request, next: Next) -> Response {
    let Some(from) = request
        .headers()
        .get(ORIGIN)
        .filter(|from| gateway.is_own(from))
        .cloned()
    else {
        return next.run(request).await;
    };
    let asks_whether =
        request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if asks_whether {
        let allowed = [
            (ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS),
            (ACCESS_CONTROL_ALLOW_METHODS, METHODS),
            (ACCESS_CONTROL_MAX_AGE, MAX_AGE),
        ];
        (StatusCode::NO_CONTENT, allowed).into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, from);
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(ANSWER_HEADERS),
    );
    headers.append(VARY, HeaderValue::from_static("origin"));
    response
}

impl Gateway {
    fn is_own(&self, from: &HeaderValue) -> bool {
        let mut gateways = self.0.regions.gateways.values();
        gateways.any(|gateway| *from == origin(gateway))
    }
}
