//! What a caller is told when it gets no answer: RFC 9457, and the same over gRPC.

use crate::error::{Blame, Error, Retry};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use utoipa::ToSchema;

/// The media type.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// What was wrong, as the caller sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// What happened, as a word that never changes.
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// The same for people.
    pub title: Cow<'static, str>,
    /// The HTTP status.
    pub status: u16,
    /// What it was about in this case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Whether the same request, with the same `Idempotency-Key` if it had one, may succeed later.
    pub retryable: bool,
    /// Where the request stands in its trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// After so many seconds.
    #[serde(skip)]
    pub retry_after: Option<u64>,
}

impl Problem {
    /// A problem that the same request will meet again.
    pub fn new(
        status: StatusCode,
        kind: impl Into<Cow<'static, str>>,
        title: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            kind: kind.into(),
            title: title.into(),
            status: status.as_u16(),
            detail: None,
            retryable: false,
            traceparent: None,
            retry_after: None,
        }
    }

    /// Something in the request has a value that can't be.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid",
            "the request is not valid",
        )
        .about(detail)
    }

    /// Nobody has signed in, or not validly.
    pub fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "sign in first").about(detail)
    }

    /// Our own fault; the log has the cause.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the service failed",
        )
    }

    /// Somebody who is needed can't answer at the moment.
    pub fn unavailable(kind: impl Into<Cow<'static, str>>, title: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, title).retryable()
    }

    /// The time that the caller gave, or that the service gives, is over.
    pub fn deadline() -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "deadline",
            "the time for the request is over",
        )
        .retryable()
    }

    /// What a status says that came without a problem.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        let kind = match status {
            StatusCode::BAD_REQUEST => "malformed",
            StatusCode::NOT_FOUND => "not-found",
            StatusCode::METHOD_NOT_ALLOWED => "method-not-allowed",
            StatusCode::PAYLOAD_TOO_LARGE => "too-large",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported-media-type",
            StatusCode::UNPROCESSABLE_ENTITY => "invalid",
            status if status.is_server_error() => "internal",
            _ => "refused",
        };
        Self::new(status, kind, status.canonical_reason().unwrap_or("refused"))
    }

    /// The same with what it was about.
    #[must_use]
    pub fn about(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The same, but the request may succeed later.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }

    /// The same, and the request may succeed after so many seconds.
    #[must_use]
    pub fn after_seconds(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self.retryable()
    }

    /// The status as a type.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Whether somebody said no, who will say no again; otherwise something failed, and may work later.
    pub fn is_refusal(&self) -> bool {
        !self.retryable && self.status().is_client_error()
    }

    /// What we answer when somebody whom we asked has answered so: that we asked wrongly is our fault, not our caller's.
    #[must_use]
    pub fn of_peer(self) -> Self {
        match self.status() {
            StatusCode::BAD_REQUEST
            | StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_IMPLEMENTED => {
                tracing::error!(problem = %self, "a service refuses what it was asked");
                Self::internal()
            }
            _ => self,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.title)?;
        match &self.detail {
            Some(detail) => write!(f, " ({detail})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

/// What an SDK's error means to whoever made the request.
impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        let class = error
            .state()
            .map(|state| state.as_str().get(..2).unwrap_or_default().to_owned());
        let problem = match (error.blame(), class.as_deref()) {
            (Blame::Caller, None) => Self::new(
                StatusCode::BAD_REQUEST,
                "malformed",
                "the request can't be understood",
            ),
            (Blame::Caller, Some("22")) => {
                Self::new(StatusCode::BAD_REQUEST, "malformed", "a value can't be stored")
            }
            (Blame::Caller, Some("23")) => Self::new(
                StatusCode::CONFLICT,
                "conflict",
                "the request contradicts what is there",
            ),
            (Blame::Caller, Some(_)) => {
                tracing::error!(%error, "a statement is wrong");
                return Self::internal();
            }
            (Blame::Conflict, _) => Self::new(
                StatusCode::CONFLICT,
                "concurrent-change",
                "somebody else was changing the same",
            )
            .retryable(),
            (Blame::Deadline, _) => Self::deadline(),
            (Blame::Overload, _) => Self::unavailable("overloaded", "too much is going on").after_seconds(1),
            (Blame::Database | Blame::Network, _) => {
                Self::unavailable("database-unavailable", "the data can't be reached").after_seconds(1)
            }
        };
        let source = std::error::Error::source(error);
        if error.blame() != Blame::Caller || source.is_some() {
            tracing::warn!(%error, ?source, "a request failed");
        }
        let has_source = source.is_some();
        let own_words = error.blame() == Blame::Caller && error.state().is_none() && !has_source;
        let problem = if own_words {
            problem.about(error.to_string())
        } else {
            problem
        };
        match error.retry() {
            Retry::WithKey => problem.retryable(),
            Retry::Safe | Retry::Never => problem,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (self.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}
