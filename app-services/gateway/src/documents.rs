//! What can be asked: the OpenAPI documents of all services as one, and a page that shows it.

use crate::Gateway;
use axum::Json;
use axum::extract::State;
use axum::response::Html;
use serde_json::{Value, json};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a document that was put together is used.
const FRESH: Duration = Duration::from_secs(30);

/// For one service to tell its own.
const ANSWER_BOUND: Duration = Duration::from_secs(2);

/// The page; it asks for the document itself.
const PAGE: &str = include_str!("docs.html");

/// What is taken over from the documents of services, by key.
const PARTS: [&str; 3] = ["/paths", "/components/schemas", "/components/securitySchemes"];

/// The document that was put together last.
#[derive(Debug, Default)]
pub(crate) struct Documents(Mutex<Option<(Value, Instant)>>);

/// What all services that answer at the moment can be asked.
pub(crate) async fn merged(State(gateway): State<Gateway>) -> Json<Value> {
    let kept = gateway.0.documents.kept().clone();
    if let Some((document, at)) = kept
        && at.elapsed() < FRESH
    {
        return Json(document);
    }
    let mut all = json!({
        "openapi": "3.1.0",
        "info": {"title": "Ringway's shop", "version": env!("CARGO_PKG_VERSION")},
        "paths": {},
        "components": {"schemas": {}, "securitySchemes": {}},
    });
    for (name, behind) in &gateway.0.behind {
        match gateway.document(&behind.url).await {
            Ok(document) => add(&mut all, &document),
            Err(error) => {
                tracing::warn!(service = name, %error, "a service does not tell what it can be asked");
            }
        }
    }
    *gateway.0.documents.kept() = Some((all.clone(), Instant::now()));
    Json(all)
}

/// Adds what the gateway passes on of a service's document.
fn add(all: &mut Value, document: &Value) {
    for part in PARTS {
        let (Some(Value::Object(into)), Some(Value::Object(from))) =
            (all.pointer_mut(part), document.pointer(part))
        else {
            continue;
        };
        let passed_on = |name: &str| part != "/paths" || crate::route::of(name).is_some();
        let added = from.iter().filter(|(name, _)| passed_on(name));
        into.extend(added.map(|(name, value)| (name.clone(), value.clone())));
    }
}

impl Documents {
    fn kept(&self) -> MutexGuard<'_, Option<(Value, Instant)>> {
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
