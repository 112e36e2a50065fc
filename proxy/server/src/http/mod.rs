//! Health, metrics and status over HTTP.
//!
//! In: a [`Source`] that the control plane implements. Out: a router with `/livez` (this process, never the servers), `/readyz`
//! (`?verbose` with reasons), `/metrics` (OpenMetrics) and `/api/v1/status` (JSON).
//!
//! **Invariant:** nothing here changes the proxy; a request has a bound in time, whatever the control plane does.

mod readiness;
mod status;

pub(crate) use readiness::{Check, CheckState, Phase, Readiness, SharedStore};

use crate::admin::AdminView;
use crate::metrics::{CONTENT_TYPE, Totals, exposition};
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// How long a request waits for the control plane to collect what it shows.
const COLLECT_TIMEOUT: Duration = Duration::from_secs(2);

/// What the control plane tells.
pub(crate) trait Source: Send + Sync + 'static {
    /// Whether statements can be answered: from what is known, without asking any server.
    fn readiness(&self) -> Readiness;

    /// The counters of all data threads.
    fn totals(&self) -> Totals;

    /// What SHOW shows, collected from the data threads.
    fn view(&self) -> Pin<Box<dyn Future<Output = AdminView> + Send + '_>>;
}

type Shared = State<Arc<dyn Source>>;

/// The routes over `source`.
pub(crate) fn router(source: Arc<dyn Source>) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/api/v1/status", get(api_status))
        .with_state(source)
}

#[derive(Deserialize)]
struct ReadyQuery {
    verbose: Option<String>,
}

async fn readyz(State(source): Shared, Query(query): Query<ReadyQuery>) -> Response {
    let readiness = source.readiness();
    let code = if readiness.is_ready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let text = if query.verbose.is_some() {
        readiness.verbose()
    } else {
        readiness.brief()
    };
    (code, text).into_response()
}

async fn metrics(State(source): Shared) -> Response {
    let Some(view) = collected(&*source).await else {
        return too_slow();
    };
    match exposition(source.totals(), view) {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "metrics could not be written as text\n",
        )
            .into_response(),
    }
}

async fn api_status(State(source): Shared) -> Response {
    let Some(view) = collected(&*source).await else {
        return too_slow();
    };
    Json(status::Status::of(&source.readiness(), &source.totals(), &view)).into_response()
}

async fn collected(source: &dyn Source) -> Option<AdminView> {
    tokio::time::timeout(COLLECT_TIMEOUT, source.view()).await.ok()
}

fn too_slow() -> Response {
    (
        StatusCode::SERVICE_UNAVAILABLE,
        "the data threads did not answer in time\n",
    )
        .into_response()
}

#[cfg(test)]
mod tests;
