//! What is said to a partner and by it.

use crate::error::{Error, Result};
use futures_util::future::BoxFuture;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, IntoDeserializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// Something that is asked of a partner.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Errand {
    /// Its id: the idempotency key of all tries.
    #[serde(skip)]
    pub id: Uuid,
    /// Whose it is: given back by the partner with everything that it says of the errand.
    pub reference: Uuid,
    /// What is to be done.
    pub kind: String,
    /// What it is done to: the same for all errands of a payment, of a shipment.
    pub subject: Uuid,
    /// The rest.
    pub details: Value,
}

impl Errand {
    /// What is to be done, as the service knows it.
    pub(super) fn kind<T: DeserializeOwned>(&self) -> Result<T> {
        let word: StrDeserializer<'_, serde::de::value::Error> = self.kind.as_str().into_deserializer();
        T::deserialize(word).map_err(|error| unreadable("kind", error))
    }

    /// One of the details.
    ///
    /// # Errors
    /// There is none of this name, or of this type.
    pub fn detail<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let detail = self.details.get(name).unwrap_or(&Value::Null);
        T::deserialize(detail).map_err(|error| unreadable(name, error))
    }
}

fn unreadable(name: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::caller(format!("an errand's {name} can't be read")).with_source(error)
}

/// What a partner has decided.
#[derive(Clone, PartialEq, Debug)]
pub enum Verdict {
    /// It is done; this is what came of it.
    Done(Value),
    /// It isn't, and will not be; a word in kebab case says why.
    Refused(String),
}

/// It isn't known what became of an errand.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the partner has not answered: {0}")]
pub struct NoAnswer(pub String);

/// Somebody outside who does something for us.
pub trait Partner: Send + Sync {
    /// Asks; however often the same errand is asked for, it is done once.
    fn ask<'a>(&'a self, errand: &'a Errand) -> BoxFuture<'a, Result<Verdict, NoAnswer>>;

    /// What became of an errand; none if it was never heard of.
    fn look_up(&self, id: Uuid) -> BoxFuture<'_, Result<Option<Verdict>, NoAnswer>>;
}

/// How far a partner has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It is done.
    Succeeded,
    /// It will not be done.
    Refused,
    /// It will be told by webhook.
    Pending,
}

/// What a partner says of an errand.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Told {
    /// How far it has come.
    pub status: Status,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Told {
    /// The verdict, if there is one.
    pub fn verdict(self) -> Option<Verdict> {
        match self.status {
            Status::Succeeded => Some(Verdict::Done(self.data)),
            Status::Refused => Some(Verdict::Refused(
                self.reason.unwrap_or_else(|| "refused".to_owned()),
            )),
            Status::Pending => None,
        }
    }
}

impl From<Verdict> for Told {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Done(data) => Self {
                status: Status::Succeeded,
                data,
                reason: None,
            },
            Verdict::Refused(reason) => Self {
                status: Status::Refused,
                data: Value::Null,
                reason: Some(reason),
            },
        }
    }
}

/// The body of a webhook: what a partner says by itself.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Webhook {
    /// The errand.
    pub operation: Uuid,
    /// What the errand was about, and whose it is.
    pub reference: Uuid,
    /// What it was done to.
    pub subject: Uuid,
    /// What the partner tells: the errand's kind, or something that nobody asked for.
    pub kind: String,
    /// What became of it.
    #[serde(flatten)]
    pub told: Told,
}
