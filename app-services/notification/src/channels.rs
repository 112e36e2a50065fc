//! Providers of e-mail, push and SMS: outside, slow, and not always there.

use crate::model::Channel;
use futures_util::future::BoxFuture;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;
use uuid::Uuid;

/// For one answer of a provider.
const ANSWER_BOUND: Duration = Duration::from_secs(3);

/// What a provider is to bring to somebody.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Letter {
    /// How.
    pub channel: Channel,
    /// An e-mail address, a number, a device.
    pub to: String,
    /// The title.
    pub title: String,
    /// The text.
    pub body: String,
}

/// Why a provider did not take a letter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Undelivered {
    /// It never will.
    Refused(String),
    /// It may have taken it, or may do later: the same letter under the same key is taken once.
    Failed(String),
}

/// Brings letters to people.
pub trait Provider: Send + Sync + fmt::Debug {
    /// Hands a letter over, once for its key.
    fn send<'a>(&'a self, key: &'a str, letter: &'a Letter) -> BoxFuture<'a, Result<(), Undelivered>>;
}

/// The key that makes a letter the same: it is taken once, however often it is handed over.
pub(crate) fn letter_key(notification_id: Uuid, channel: Channel, place: usize) -> String {
    format!("{notification_id}.{}.{place}", channel.name())
}

/// A provider behind HTTP: `POST URL/v1/messages` with the letter as JSON, `Idempotency-Key` and a bearer key.
#[derive(Clone)]
pub struct HttpProvider {
    client: reqwest::Client,
    url: String,
    key: String,
}

/// Without the key.
impl fmt::Debug for HttpProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpProvider")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl HttpProvider {
    /// The provider at a URL, which knows us by a key.
    pub fn new(url: &str, key: &str) -> Self {
        Self {
            client: reqwest::Client::new(),
            url: format!("{}/v1/messages", url.trim_end_matches('/')),
            key: key.to_owned(),
        }
    }

    async fn hand_over(&self, key: &str, letter: &Letter) -> Result<(), Undelivered> {
        let request = self
            .client
            .post(&self.url)
            .bearer_auth(&self.key)
            .header("idempotency-key", key);
        let answer = request.json(letter).timeout(ANSWER_BOUND).send().await;
        let answer = answer.map_err(|error| {
            let why = if error.is_timeout() {
                "does not answer in time"
            } else {
                "can't be reached"
            };
            Undelivered::Failed(format!("the provider {why}"))
        })?;
        let status = answer.status();
        let told = || format!("the provider answers {}", status.as_u16());
        let passing = [
            StatusCode::UNAUTHORIZED,
            StatusCode::FORBIDDEN,
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::CONFLICT,
            StatusCode::TOO_EARLY,
            StatusCode::TOO_MANY_REQUESTS,
        ];
        match status {
            status if status.is_success() => Ok(()),
            // What is wrong with us, or passes, is no fault of the letter.
            status if status.is_client_error() && !passing.contains(&status) => {
                Err(Undelivered::Refused(told()))
            }
            _ => Err(Undelivered::Failed(told())),
        }
    }
}

impl Provider for HttpProvider {
    fn send<'a>(&'a self, key: &'a str, letter: &'a Letter) -> BoxFuture<'a, Result<(), Undelivered>> {
        Box::pin(self.hand_over(key, letter))
    }
}
