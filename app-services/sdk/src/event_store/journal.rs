//! Appending to and loading one aggregate.
//!
//! The head row of the aggregate, the one that [`Transaction::publish`] raises too, is raised only from the version that the caller has seen, and stays
//! locked until the transaction ends: so appends to one aggregate are committed in the order of their versions.

use super::fold::{Aggregate, Loaded, Unreadable, fold, is_due};
use crate::database::{Query, Transaction};
use crate::error::{Blame, Error, FromSdk, Result, Retry};
use crate::events::{Event, MAX_PAYLOAD, NewEvent, Published};
use crate::store::{ShardKey, Store};
use crate::token::Causality;
use crate::trace::TraceParent;
use std::marker::PhantomData;
use tokio_postgres::Row;
use uuid::Uuid;

/// The most events in one append.
const MAX_EVENTS: usize = 100;

/// The events that are asked for at a time.
const PAGE: i64 = 500;

/// Whether what is appended is also published.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Publication {
    /// By the outbox of the store.
    Outbox,
    /// No.
    None,
}

/// Something has happened to the aggregate that the caller hadn't seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("version {expected} was expected, and {found} found")]
pub struct Conflict {
    /// What the caller had seen.
    pub expected: i64,
    /// What is there.
    pub found: i64,
}

/// Why nothing was appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Load the aggregate again, and decide anew.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The SDK's error.
    #[error(transparent)]
    Sdk(#[from] Error),
}

impl FromSdk for AppendError {
    fn as_sdk(&self) -> Option<&Error> {
        match self {
            Self::Conflict(_) => None,
            Self::Sdk(error) => Some(error),
        }
    }
}

impl From<Unreadable> for Error {
    fn from(unreadable: Unreadable) -> Self {
        Self::new(Blame::Caller, Retry::Never, unreadable.0)
    }
}

/// The events of one kind of aggregates.
#[derive(Clone, Debug)]
pub struct Journal<A> {
    store: Store,
    publication: Publication,
    kind: PhantomData<fn() -> A>,
}

impl<A: Aggregate> Journal<A> {
    /// A journal in the tables of `store`. If it publishes, nothing else is published about its aggregates in its topic: a
    /// [`Transaction::publish`] would take versions away from it.
    pub fn new(store: &Store, publication: Publication) -> Self {
        Self {
            store: store.clone(),
            publication,
            kind: PhantomData,
        }
    }

    /// An aggregate as it is, by a transaction or by reads: by what it was at its last snapshot, and what has happened since.
    ///
    /// # Errors
    /// As [`Query::rows`]; an event that can't be read.
    pub async fn load(&self, from: &impl Query, key: &ShardKey, aggregate: &str) -> Result<Loaded<A>> {
        self.store.check(key)?;
        let mut loaded = self.snapshot(from, key, aggregate).await?;
        loop {
            let events = recorded(
                &self.store,
                from,
                (key, A::TOPIC, aggregate),
                loaded.version,
                PAGE,
            )
            .await?;
            let more = i64::try_from(events.len()).is_ok_and(|count| count == PAGE);
            let further = events
                .iter()
                .map(|event| (event.version, event.kind.as_str(), event.payload.as_slice()));
            loaded = fold(loaded, further)?;
            if !more {
                return Ok(loaded);
            }
        }
    }

    /// What has happened to an aggregate after a version: at most 500 events, oldest first.
    ///
    /// # Errors
    /// As [`Query::rows`].
    pub async fn replay(
        &self,
        from: &impl Query,
        key: &ShardKey,
        aggregate: &str,
        after: i64,
    ) -> Result<Vec<Event>> {
        recorded(&self.store, from, (key, A::TOPIC, aggregate), after, PAGE).await
    }

    async fn snapshot(&self, from: &impl Query, key: &ShardKey, aggregate: &str) -> Result<Loaded<A>> {
        if A::SNAPSHOT_EVERY == 0 {
            return Ok(Loaded::default());
        }
        let parameters: &[crate::Parameter<'_>] = &[key.parameter(), &A::TOPIC, &aggregate];
        let rows = from.rows(&self.store.sql.snapshot, parameters).await?;
        let kept = rows.first().filter(|row| row.get::<_, i32>(1) == A::FORM);
        let state = kept.map(|row| serde_json::from_value(row.get(2)));
        match (kept, state) {
            (Some(row), Some(Ok(state))) => Ok(Loaded {
                state,
                version: row.get(0),
            }),
            (_, Some(Err(error))) => {
                // It saves time and nothing else: the events say the same.
                tracing::warn!(%error, aggregate, topic = A::TOPIC, "a snapshot can't be read");
                Ok(Loaded::default())
            }
            (..) => Ok(Loaded::default()),
        }
    }

    /// Appends what has happened to an aggregate since it was `seen`; gives what it is then.
    ///
    /// # Errors
    /// [`AppendError::Conflict`] if something else has happened to it; more than 100 events; as [`Transaction::query`].
    pub async fn append(
        &self,
        tx: &Transaction,
        key: &ShardKey,
        aggregate: &str,
        seen: &Loaded<A>,
        events: &[A::Event],
    ) -> Result<Loaded<A>, AppendError> {
        self.store.check(key)?;
        if events.is_empty() {
            return Ok(seen.clone());
        }
        if events.len() > MAX_EVENTS {
            return Err(Error::caller("more than 100 events are to be appended at once").into());
        }
        self.lengthen(tx, (key, aggregate), seen.version, events.len())
            .await?;
        let mut after = seen.clone();
        for event in events {
            after.version = after.version.saturating_add(1);
            after.state.apply(event);
            self.record(tx, (key, aggregate), after.version, event).await?;
        }
        if is_due(A::SNAPSHOT_EVERY, seen.version, after.version) {
            let state = serde_json::to_value(&after.state)
                .map_err(|error| Error::caller("the state can't be kept as JSON").with_source(error))?;
            let parameters: &[crate::Parameter<'_>] = &[
                key.parameter(),
                &A::TOPIC,
                &aggregate,
                &after.version,
                &A::FORM,
                &state,
            ];
            tx.execute(&self.store.sql.keep_snapshot, parameters).await?;
        }
        Ok(after)
    }

    /// Raises the head from the version that was seen, or refuses.
    async fn lengthen(
        &self,
        tx: &Transaction,
        (key, aggregate): (&ShardKey, &str),
        expected: i64,
        count: usize,
    ) -> Result<(), AppendError> {
        let sql = &self.store.sql;
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let key = key.parameter();
        let raised = if expected == 0 {
            tx.execute(&sql.begin_stream, &[key, &A::TOPIC, &aggregate, &count])
                .await?
        } else {
            tx.execute(
                &sql.lengthen_stream,
                &[key, &A::TOPIC, &aggregate, &count, &expected],
            )
            .await?
        };
        if raised == 1 {
            return Ok(());
        }
        let row = tx
            .query_opt(&sql.stream_version, &[key, &A::TOPIC, &aggregate])
            .await?;
        let found = row.map_or(0, |row| row.get(0));
        Err(Conflict { expected, found }.into())
    }

    async fn record(
        &self,
        tx: &Transaction,
        (key, aggregate): (&ShardKey, &str),
        version: i64,
        event: &A::Event,
    ) -> Result<()> {
        let encoded = A::encode(event).map_err(Error::from)?;
        if encoded.payload.len() > MAX_PAYLOAD {
            return Err(Error::caller("the event's payload is above 900,000 bytes"));
        }
        let id = Uuid::now_v7();
        let trace = tx.context().trace().map(|trace| trace.to_string());
        let parameters: &[crate::Parameter<'_>] = &[
            key.parameter(),
            &A::TOPIC,
            &aggregate,
            &version,
            &id,
            &encoded.kind.as_ref(),
            &encoded.payload,
            &trace,
        ];
        tx.execute(&self.store.sql.record, parameters).await?;
        if self.publication == Publication::None {
            return Ok(());
        }
        let new = NewEvent {
            topic: A::TOPIC,
            aggregate,
            kind: &encoded.kind,
            payload: &encoded.payload,
        };
        tx.put_in_outbox(&self.store, key, new, Published { id, version })
            .await
    }
}

/// Events of an aggregate after a version.
pub(crate) async fn recorded(
    store: &Store,
    from: &impl Query,
    (key, topic, aggregate): (&ShardKey, &str, &str),
    after: i64,
    limit: i64,
) -> Result<Vec<Event>> {
    store.check(key)?;
    let parameters: &[crate::Parameter<'_>] = &[key.parameter(), &topic, &aggregate, &after, &limit];
    let rows = from.rows(&store.sql.recorded, parameters).await?;
    rows.iter().map(|row| event(store, row)).collect()
}

/// Reads a row of the table of events.
pub(crate) fn event(store: &Store, row: &Row) -> Result<Event> {
    let trace: Option<&str> = row.get(7);
    Ok(Event {
        shard_key: ShardKey::parse(store.key_type(), row.get(0))?,
        id: row.get(1),
        topic: row.get(2),
        aggregate: row.get(3),
        store: store.name().to_owned(),
        version: row.get(4),
        kind: row.get(5),
        payload: row.get(6),
        trace: trace.and_then(TraceParent::parse),
        causality: Causality::Nothing,
        time_ms: row.get(8),
    })
}
