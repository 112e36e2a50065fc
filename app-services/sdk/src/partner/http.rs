//! A partner over HTTP: `POST /v1/operations` with an `Idempotency-Key`, `GET /v1/operations/{id}`.

use super::protocol::{Errand, NoAnswer, Partner, Told, Verdict};
use crate::web::IDEMPOTENCY_HEADER;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::StatusCode;
use serde::Deserialize;
use std::fmt;
use std::time::Duration;
use uuid::Uuid;

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// Something that nobody may see.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// A secret.
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// What it is.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A partner that is reached over HTTP.
#[derive(Clone, Debug)]
pub struct HttpPartner {
    http: reqwest::Client,
    base: String,
    secret: Secret,
    bound: Duration,
}

impl HttpPartner {
    /// The partner at a URL, whose answers are waited for so long. It knows us by the secret.
    pub fn new(base: &str, secret: Secret, bound: Duration) -> Self {
        Self {
            http: reqwest::Client::new(),
            base: base.trim_end_matches('/').to_owned(),
            secret,
            bound,
        }
    }

    async fn answered(&self, request: reqwest::RequestBuilder) -> Result<Option<Verdict>, NoAnswer> {
        let failed = |error: reqwest::Error| NoAnswer(error.without_url().to_string());
        let sent = request
            .bearer_auth(self.secret.reveal())
            .timeout(self.bound)
            .send();
        let mut answer = sent.await.map_err(failed)?;
        let status = answer.status();
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !status.is_success() {
            return Err(NoAnswer(format!("status {status}")));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(NoAnswer("the answer is too long".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        let told: Told = serde_json::from_slice(&body).map_err(|error| NoAnswer(error.to_string()))?;
        told.verdict()
            .map(Some)
            .ok_or_else(|| NoAnswer("it will be told".to_owned()))
    }
}

impl Partner for HttpPartner {
    fn ask<'a>(&'a self, errand: &'a Errand) -> BoxFuture<'a, Result<Verdict, NoAnswer>> {
        let request = self
            .http
            .post(format!("{}/v1/operations", self.base))
            .header(IDEMPOTENCY_HEADER, errand.id.to_string())
            .json(errand);
        async move {
            let verdict = self.answered(request).await?;
            verdict.ok_or_else(|| NoAnswer("nobody is there".to_owned()))
        }
        .boxed()
    }

    fn look_up(&self, id: Uuid) -> BoxFuture<'_, Result<Option<Verdict>, NoAnswer>> {
        let request = self.http.get(format!("{}/v1/operations/{id}", self.base));
        self.answered(request).boxed()
    }
}
