//! Applying an event once in effect, after all before it.

use super::change::{Change, MAX_CHANGES, Projection, Source, VERSION, What, made, update};
use super::generation::{Documents, Server, bounded, is_known};
use crate::context::{Context, Session};
use crate::database::Database;
use crate::error::{Error, Result};
use crate::event_store::recorded;
use crate::events::Event;
use crate::level::Level;
use mongodb::Collection;
use mongodb::bson::{Document, doc};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The heads that are remembered; then they are read again.
const REMEMBERED_HEADS: usize = 65_536;

/// The events that are filled in at a time.
const PAGE: i64 = 100;

/// What came of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Applied {
    /// It was applied, and so many before it that were missing.
    New(u64),
    /// It had been.
    Known,
}

/// Why an event was not applied.
#[derive(Debug)]
pub(crate) enum NotApplied {
    /// The document store or the shards don't work.
    Outage(Error),
    /// It, or one before it, can't be read; this is why.
    Unreadable(String),
}

impl From<Error> for NotApplied {
    fn from(error: Error) -> Self {
        Self::Outage(error)
    }
}

/// A generation, and what it takes to apply events to it.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    pub(crate) documents: &'a Documents,
    pub(crate) database: &'a Database,
    pub(crate) projection: &'a Projection,
    pub(crate) generation: u32,
    /// Heads that were read or raised. Nobody lowers one, so a remembered head is the true one or an earlier one, after which what was applied is applied
    /// once more, and changes nothing.
    pub(crate) heads: Mutex<HashMap<String, i64>>,
}

impl Target<'_> {
    /// Applies an event, and those before it that were missed.
    pub(crate) async fn apply(&self, source: &Source, event: &Event) -> Result<Applied, NotApplied> {
        let mut head = self.head(event).await?;
        if event.version <= head {
            return Ok(Applied::Known);
        }
        let mut filled = 0;
        if let Source::Journal { store, .. } = source {
            while event.version > head + 1 {
                let found = self.missing(store, event, head).await?;
                let before = head;
                for earlier in found.iter().filter(|earlier| earlier.version < event.version) {
                    self.carry_out(earlier).await?;
                    head = earlier.version;
                    filled += 1;
                }
                if head == before {
                    return Err(NotApplied::Unreadable(format!(
                        "version {} is in no shard",
                        head + 1
                    )));
                }
            }
        }
        self.carry_out(event).await?;
        Ok(Applied::New(filled))
    }

    /// Counts an event as applied that can't be.
    pub(crate) async fn pass_over(&self, event: &Event) -> Result<()> {
        self.raise_head(event).await
    }

    async fn missing(&self, store: &crate::Store, event: &Event, head: i64) -> Result<Vec<Event>> {
        let context = Context::background().with_session(Session::after(event.causality.clone()));
        let of = (&event.shard_key, event.topic.as_str(), event.aggregate.as_str());
        self.database
            .read(&context, Level::Strong, async |reader| {
                recorded(store, &reader, of, head, PAGE).await
            })
            .await
    }

    async fn carry_out(&self, event: &Event) -> Result<(), NotApplied> {
        for change in &self.changes(event)? {
            self.change(change, event).await?;
        }
        Ok(self.raise_head(event).await?)
    }

    /// What an event changes.
    pub(crate) fn changes(&self, event: &Event) -> Result<Vec<Change>, NotApplied> {
        let unreadable = |why: String| NotApplied::Unreadable(why);
        let changes = (self.projection.project)(event).map_err(|error| unreadable(error.0))?;
        if changes.len() > MAX_CHANGES {
            return Err(unreadable(format!(
                "it changes more than {MAX_CHANGES} documents"
            )));
        }
        Ok(changes)
    }

    pub(crate) async fn collection(&self, name: &str) -> Result<Collection<Document>> {
        self.documents
            .collection(self.projection, self.generation, name)
            .await
    }

    pub(crate) async fn change(&self, change: &Change, event: &Event) -> Result<()> {
        let collection = self.collection(change.collection).await?;
        let What::Update { set, inc, push } = &change.what else {
            let removed = collection.delete_one(doc! { "_id": &change.id });
            return bounded(removed.into_future()).await.map(drop);
        };
        let new = made(&change.id, (set, inc, push), event.version);
        if let Some(new) = new.as_ref().filter(|_| change.is_first(event))
            && !is_known(bounded(collection.insert_one(new).into_future()).await)?
        {
            return Ok(());
        }
        let update = update(set, inc, push, event.version);
        match (self.documents.server().await?, new) {
            (Server::FerretDb, new) => {
                // It looks a document up by a filter of its id alone; of two fields it reads the whole collection, which takes 0.25 s of 5,000 documents.
                let id = doc! { "_id": &change.id };
                let there = bounded(collection.find_one(id.clone()).into_future()).await?;
                match (there, new) {
                    (None, Some(new)) => {
                        is_known(bounded(collection.insert_one(new).into_future()).await).map(drop)
                    }
                    (Some(there), _) if there.get_i64(VERSION).unwrap_or(0) >= event.version => Ok(()),
                    (_, _) => {
                        let updated = collection.update_one(id, update).upsert(true);
                        bounded(updated.into_future()).await.map(drop)
                    }
                }
            }
            (Server::MongoDb, _) => {
                // Where the document is there with this version or a later one, the filter doesn't find it, and making it fails.
                let earlier = doc! { "_id": &change.id, VERSION: { "$lt": event.version } };
                let updated = collection.update_one(earlier, update).upsert(true);
                is_known(bounded(updated.into_future()).await).map(drop)
            }
        }
    }

    pub(crate) fn head_id(event: &Event) -> String {
        format!("{}/{}/{}", event.topic, event.store, event.aggregate)
    }

    pub(crate) async fn head(&self, event: &Event) -> Result<i64> {
        let id = Self::head_id(event);
        if let Some(head) = self.remembered(&id) {
            return Ok(head);
        }
        let heads = self.collection("heads").await?;
        let found = bounded(heads.find_one(doc! { "_id": &id }).into_future()).await?;
        let head = found.and_then(|head| head.get_i64(VERSION).ok()).unwrap_or(0);
        self.remember(id, head);
        Ok(head)
    }

    pub(crate) fn remembered(&self, id: &str) -> Option<i64> {
        self.heads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .copied()
    }

    pub(crate) fn remember(&self, id: String, head: i64) {
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        if heads.len() >= REMEMBERED_HEADS {
            heads.clear();
        }
        heads.insert(id, head);
    }

    async fn raise_head(&self, event: &Event) -> Result<()> {
        let id = Self::head_id(event);
        self.raise(&id, event.version).await?;
        self.remember(id, event.version);
        Ok(())
    }

    /// Raises a head, if it is lower.
    pub(crate) async fn raise(&self, id: &str, version: i64) -> Result<()> {
        let heads = self.collection("heads").await?;
        let raised = heads
            .update_one(doc! { "_id": id }, doc! { "$max": { VERSION: version } })
            .upsert(true);
        is_known(bounded(raised.into_future()).await).map(drop)
    }
}
