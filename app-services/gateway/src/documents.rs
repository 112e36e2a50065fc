//! What can be asked: the OpenAPI documents of all services as one, and a page that shows it.

use crate::Gateway;
use axum::Json;
use axum::extract::State;
use axum::response::Html;
use ringway_sdk::web::Together;
use serde_json::Value;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a document that was put together is used.
const FRESH: Duration = Duration::from_secs(30);

/// For one service to tell its own.
const ANSWER_BOUND: Duration = Duration::from_secs(2);

/// The page; it asks for the document itself.
const PAGE: &str = include_str!("docs.html");

/// The document that was put together last.
#[derive(Debug, Default)]
pub(crate) struct Documents(Mutex<Option<(Together, Instant)>>);

/// What all services that answer at the moment can be asked.
pub(crate) async fn merged(State(gateway): State<Gateway>) -> Json<Value> {
    let kept = gateway.0.documents.kept().clone();
    if let Some((document, at)) = kept
        && at.elapsed() < FRESH
    {
        return Json(document.document().clone());
    }
    let mut all = Together::new("Ringway's shop");
    for (name, behind) in &gateway.0.behind {
        match gateway.document(&behind.url).await {
            Ok(document) => all.add(document, |path| crate::route::of(path).is_some()),
            Err(error) => {
                tracing::warn!(service = name, %error, "a service does not tell what it can be asked");
            }
        }
    }
    let document = all.document().clone();
    *gateway.0.documents.kept() = Some((all, Instant::now()));
    Json(document)
}

impl Documents {
    fn kept(&self) -> MutexGuard<'_, Option<(Together, Instant)>> {
        // It is replaced in one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The page for people.
pub(crate) async fn page() -> Html<&'static str> {
    Html(PAGE)
}

impl Gateway {
    async fn document(&self, url: &str) -> Result<Value, reqwest::Error> {
        let request = self
            .0
            .http
            .get(format!("{url}/openapi.json"))
            .timeout(ANSWER_BOUND);
        request.send().await?.error_for_status()?.json().await
    }
}
