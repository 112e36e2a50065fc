//! What a service decides, and what its callers are told.

use super::protocol::{Errand, Verdict};
use crate::column::Word;
use crate::database::Transaction;
use crate::error::{FromSdk, Result};
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use http::HeaderMap;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt::Debug;
use uuid::Uuid;

/// The row that errands are about (a payment, a shipment): locked while it is decided what is to be done, changed by what came of it. One errand at a time is open
/// for it.
pub trait Subject: Sized + Send + Sync {
    /// What can be done to it: an enum of variants without fields.
    type Kind: Serialize + DeserializeOwned + Send;
    /// As callers see it.
    type Shown: Serialize + DeserializeOwned + Send;
    /// What the service refuses.
    type Refusal: FromSdk + Debug + Send;

    /// Locks the row of this id.
    fn lock(
        tx: &Transaction,
        user_id: Uuid,
        id: Uuid,
    ) -> impl Future<Output = Result<Self, Self::Refusal>> + Send;

    /// Writes what has changed, the open errand included.
    fn store(&self, tx: &Transaction) -> impl Future<Output = Result<()>> + Send;

    /// Its id.
    fn id(&self) -> Uuid;

    /// The errand that is open for it.
    fn open_errand(&mut self) -> &mut Option<Uuid>;

    /// As callers see it.
    fn shown(self) -> Self::Shown;

    /// The partner is to do this to it.
    fn ask(
        mut self,
        tx: &Transaction,
        kind: Self::Kind,
        details: Value,
    ) -> impl Future<Output = Result<Begun<Self::Shown>, Self::Refusal>> + Send {
        let kind = Word(kind).text();
        async move {
            let (id, kind) = (Uuid::now_v7(), kind?);
            *self.open_errand() = Some(id);
            self.store(tx).await?;
            let subject = self.id();
            Ok(Begun::Ask(NewErrand {
                id,
                kind,
                subject,
                details,
            }))
        }
    }

    /// Nobody outside has to be asked: it is as it is to be.
    ///
    /// # Errors
    /// None.
    fn settled(self) -> Result<Begun<Self::Shown>, Self::Refusal> {
        Ok(Begun::Settled(Reply::Done(self.shown())))
    }
}

/// What a service does with verdicts.
pub trait Deals: Clone + Send + Sync + 'static {
    /// What its errands are about.
    type Subject: Subject;

    /// Acts on a verdict: once for each errand, in the transaction that closes it. The subject is locked, and written afterwards.
    fn close(
        &self,
        tx: &Transaction,
        subject: &mut Self::Subject,
        errand: &Errand,
        verdict: (KindOf<Self>, &Verdict),
    ) -> impl Future<Output = Result<Reply<()>, RefusalOf<Self>>> + Send;
}

/// What can be asked of a service's partner.
pub type KindOf<D> = <<D as Deals>::Subject as Subject>::Kind;

/// What a service shows of what its errands are about.
pub type ShownOf<D> = <<D as Deals>::Subject as Subject>::Shown;

/// What a service refuses.
pub type RefusalOf<D> = <<D as Deals>::Subject as Subject>::Refusal;

/// An errand to be begun.
#[derive(Clone, PartialEq, Debug)]
pub struct NewErrand {
    /// Its id, drawn for it.
    pub id: Uuid,
    /// What is to be done.
    pub kind: String,
    /// What it is done to.
    pub subject: Uuid,
    /// The rest: what the partner has to know, and nothing that nobody may see.
    pub details: Value,
}

/// What a service's transaction has decided.
#[derive(Clone, PartialEq, Debug)]
pub enum Begun<T> {
    /// Nobody outside has to be asked.
    Settled(Reply<T>),
    /// The partner is asked for this.
    Ask(NewErrand),
    /// It depends on what becomes of this errand. Nothing of the transaction is kept.
    After(Uuid),
}

impl<T> Begun<T> {
    /// The service refuses by itself.
    ///
    /// # Errors
    /// None.
    pub fn refused<E>(reason: &str, detail: &str) -> Result<Self, E> {
        Ok(Self::Settled(Reply::refused(reason, detail)))
    }
}

/// What is kept of a call, and told again to whoever repeats it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Reply<T> {
    /// It is done; this is where things stand.
    Done(T),
    /// It was not done, and will not be.
    Refused {
        /// A word.
        reason: String,
        /// For people.
        detail: String,
    },
}

impl<T> Reply<T> {
    /// A refusal.
    pub fn refused(reason: &str, detail: &str) -> Self {
        Self::Refused {
            reason: reason.to_owned(),
            detail: detail.to_owned(),
        }
    }

    /// With something else where it is done.
    pub fn map<U>(self, then: impl FnOnce(T) -> U) -> Reply<U> {
        match self {
            Self::Done(done) => Reply::Done(then(done)),
            Self::Refused { reason, detail } => Reply::Refused { reason, detail },
        }
    }
}

/// What came of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome<T> {
    /// This.
    Settled(Reply<T>),
    /// The partner hasn't answered; the same call, made again later, finds out.
    Pending(String),
}

impl<T> Outcome<T> {
    /// With something else where it is done.
    pub fn map<U>(self, then: impl FnOnce(T) -> U) -> Outcome<U> {
        match self {
            Self::Settled(reply) => Outcome::Settled(reply.map(then)),
            Self::Pending(why) => Outcome::Pending(why),
        }
    }
}

/// A webhook as it came, to be believed when a [`Desk`](super::Desk) has seen whose it is.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl<S: Send + Sync> FromRequest<S> for Claimed {
    type Rejection = BytesRejection;

    async fn from_request(request: Request, state: &S) -> Result<Self, BytesRejection> {
        let headers = request.headers().clone();
        let body = Bytes::from_request(request, state).await?;
        Ok(Self { headers, body })
    }
}
