//! Applying an event once in effect, after all before it.

use super::change::{Change, MAX_CHANGES, Projection, Source, VERSION, What, made, update};
use super::generation::{Documents, bounded, is_known};
use crate::context::{Context, Session};
use crate::database::Database;
use crate::error::{Error, Result};
use crate::event_store::recorded;
use crate::events::Event;
use crate::level::Level;
use mongodb::bson::doc;

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
        let unreadable = |why: String| NotApplied::Unreadable(why);
        let changes = (self.projection.project)(event).map_err(|error| unreadable(error.0))?;
        if changes.len() > MAX_CHANGES {
            return Err(unreadable(format!(
                "it changes more than {MAX_CHANGES} documents"
            )));
        }
        for change in &changes {
            self.change(change, event.version).await?;
        }
        Ok(self.raise_head(event).await?)
    }

    async fn change(&self, change: &Change, version: i64) -> Result<()> {
        let collection = self
            .documents
            .collection(self.projection, self.generation, change.collection)
            .await?;
        match &change.what {
            What::Remove => {
                let removed = collection.delete_one(doc! { "_id": &change.id });
                bounded(removed.into_future()).await.map(drop)
            }
            What::Update { set, inc, push } => {
                // Most documents are new, and an insertion looks for its key alone: FerretDB reads a whole collection for an upsert that finds nothing.
                if let Some(new) = made(&change.id, (set, inc, push), version)
                    && !is_known(bounded(collection.insert_one(new).into_future()).await)?
                {
                    return Ok(());
                }
                // Where the document is there with this version or a later one, the filter doesn't find it, and making it fails.
                let earlier = doc! { "_id": &change.id, VERSION: { "$lt": version } };
                let update = update(set, inc, push, version);
                let updated = collection.update_one(earlier, update).upsert(true);
                is_known(bounded(updated.into_future()).await).map(drop)
            }
        }
    }

    fn head_id(event: &Event) -> String {
        format!("{}/{}/{}", event.topic, event.store, event.aggregate)
    }

    async fn head(&self, event: &Event) -> Result<i64> {
        let heads = self
            .documents
            .collection(self.projection, self.generation, "heads")
            .await?;
        let found = bounded(heads.find_one(doc! { "_id": Self::head_id(event) }).into_future()).await?;
        Ok(found.and_then(|head| head.get_i64(VERSION).ok()).unwrap_or(0))
    }

    async fn raise_head(&self, event: &Event) -> Result<()> {
        let heads = self
            .documents
            .collection(self.projection, self.generation, "heads")
            .await?;
        let id = Self::head_id(event);
        let first = doc! { "_id": &id, VERSION: event.version };
        if event.version == 1 && !is_known(bounded(heads.insert_one(first).into_future()).await)? {
            return Ok(());
        }
        let earlier = doc! { "_id": id, VERSION: { "$lt": event.version } };
        let raised = heads
            .update_one(earlier, doc! { "$set": { VERSION: event.version } })
            .upsert(true);
        is_known(bounded(raised.into_future()).await).map(drop)
    }
}
