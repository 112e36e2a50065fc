//! Somebody who uses the shop.

use anyhow::{Context as _, Result};
use cluster::{PerRegion, Region};
use reqwest::{Method, StatusCode};
use ringway_sdk::web::IDEMPOTENCY_HEADER;
use ringway_sdk::{REPORT_HEADER, SOURCE_HEADER, TOKEN_HEADER};
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};

/// A user of the shop, in a region. Clones share the causal token.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    bases: PerRegion<String>,
    region: Region,
    bearer: Option<String>,
    seen: Arc<Mutex<Option<String>>>,
    report: Option<&'static str>,
}

/// What came back.
#[derive(Clone, PartialEq, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body, if it is JSON.
    pub body: Value,
}

impl Answer {
    /// The word of a problem.
    pub fn problem(&self) -> &str {
        self.body["type"].as_str().unwrap_or_default()
    }

    /// Where its reads were answered, for somebody who asks; nothing if there were none.
    pub fn source(&self) -> Option<&str> {
        self.headers.get(SOURCE_HEADER)?.to_str().ok()
    }

    /// The body, if the status says that all is well.
    ///
    /// # Errors
    /// Another status.
    pub fn ok(self) -> Result<Value> {
        let well = StatusCode::from_u16(self.status).is_ok_and(|status| status.is_success());
        anyhow::ensure!(well, "status {}: {}", self.status, self.body);
        Ok(self.body)
    }
}

impl Client {
    pub(crate) fn new(bases: PerRegion<String>, region: Region, bearer: Option<String>) -> Self {
        Self {
            http: reqwest::Client::new(),
            bases,
            region,
            bearer,
            seen: Arc::default(),
            report: None,
        }
    }

    /// The same user, who asks where each answer came from.
    #[must_use]
    pub fn reporting(&self) -> Self {
        Self {
            report: Some("source"),
            ..self.clone()
        }
    }

    /// The same user, with all that it has seen, in another region.
    #[must_use]
    pub fn moved_to(&self, region: Region) -> Self {
        Self {
            region,
            ..self.clone()
        }
    }

    /// The same user, with all that it has seen, at other gateways.
    #[must_use]
    pub fn at(&self, bases: PerRegion<String>, region: Region) -> Self {
        Self {
            bases,
            region,
            ..self.clone()
        }
    }

    /// Somebody who has seen nothing, with this bearer token.
    #[must_use]
    pub fn with_bearer(&self, bearer: Option<String>) -> Self {
        Self {
            bearer,
            seen: Arc::default(),
            ..self.clone()
        }
    }

    /// The same user, with another bearer token from now on.
    pub fn renew(&mut self, bearer: String) {
        self.bearer = Some(bearer);
    }

    /// The causal token, if there is one.
    pub fn token(&self) -> Option<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// GET.
    ///
    /// # Errors
    /// No answer.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, None, None).await
    }

    /// POST without an idempotency key.
    ///
    /// # Errors
    /// No answer.
    pub async fn post(&self, path: &str, body: Value) -> Result<Answer> {
        self.send(Method::POST, path, None, Some(body)).await
    }

    /// POST with an idempotency key.
    ///
    /// # Errors
    /// No answer.
    pub async fn post_once(&self, path: &str, key: &str, body: Value) -> Result<Answer> {
        self.send(Method::POST, path, Some(key), Some(body)).await
    }

    /// PUT.
    ///
    /// # Errors
    /// No answer.
    pub async fn put(&self, path: &str, body: Value) -> Result<Answer> {
        self.send(Method::PUT, path, None, Some(body)).await
    }

    /// DELETE.
    ///
    /// # Errors
    /// No answer.
    pub async fn delete(&self, path: &str) -> Result<Answer> {
        self.send(Method::DELETE, path, None, None).await
    }

    /// Any request.
    ///
    /// # Errors
    /// No answer.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Option<Value>,
    ) -> Result<Answer> {
        let url = format!("{}{path}", self.bases.of(self.region));
        let mut request = self.http.request(method, url);
        if let Some(bearer) = &self.bearer {
            request = request.bearer_auth(bearer);
        }
        if let Some(token) = self.token() {
            request = request.header(TOKEN_HEADER, token);
        }
        if let Some(report) = self.report {
            request = request.header(REPORT_HEADER, report);
        }
        if let Some(key) = key {
            request = request.header(IDEMPOTENCY_HEADER, key);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.context("no answer")?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        if let Some(token) = headers.get(TOKEN_HEADER) {
            let token = token.to_str()?.to_owned();
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
        }
        let body = response.bytes().await?;
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Ok(Answer {
            status,
            headers,
            body,
        })
    }
}
