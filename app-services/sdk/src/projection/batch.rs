//! Many events at once: what is new is inserted with one call for a collection, and a head is raised once.
//!
//! It is the short way for what is usual. Whatever is not (events that are missing or can't be read, documents that are there already, a
//! store that doesn't answer) is an error here, and then the same events are applied one after the other: what a batch has done in part
//! changes nothing when it is done again.

use super::apply::{NotApplied, Target};
use super::change::{Change, Source, What, made};
use super::generation::bounded;
use crate::error::{Error, Result};
use crate::events::Event;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use mongodb::bson::{Document, doc};
use std::collections::{BTreeMap, HashMap};

/// The events that are applied at once.
pub(crate) const BATCH: usize = 128;

/// Aggregates whose documents are changed side by side.
const SIDE_BY_SIDE: usize = 4;

/// What a batch does, after looking at the heads.
#[derive(Debug, Default)]
struct Plan<'a> {
    /// New documents, by collection.
    new: BTreeMap<&'static str, Vec<Document>>,
    /// What is left of the changes, by aggregate, in order.
    later: HashMap<String, Vec<(&'a Event, Change)>>,
    /// The heads as they will be, and as they were.
    heads: HashMap<String, (i64, i64)>,
    /// The events that had been applied.
    known: usize,
}

impl Target<'_> {
    /// Applies all of these; says how many were known. Those of an aggregate must be in order.
    pub(crate) async fn apply_together(&self, events: &[(&Source, Event)]) -> Result<usize> {
        let plan = self.plan(events).await?;
        for (collection, new) in &plan.new {
            let inserted = self.collection(collection).await?;
            bounded(inserted.insert_many(new).ordered(false).into_future()).await?;
        }
        let changing = plan.later.values();
        side_by_side(changing.map(|changes| self.change_in_order(changes).boxed())).await?;
        self.raise_all(&plan.heads).await?;
        Ok(plan.known)
    }

    async fn change_in_order(&self, changes: &[(&Event, Change)]) -> Result<()> {
        for (event, change) in changes {
            self.change(change, event).await?;
        }
        Ok(())
    }

    async fn plan<'a>(&self, events: &'a [(&Source, Event)]) -> Result<Plan<'a>> {
        let mut plan = Plan::default();
        for (source, event) in events {
            let id = Self::head_id(event);
            let head = match plan.heads.get(&id) {
                Some((head, _)) => *head,
                // Most first events are new: the insertions show it if one is not.
                None if event.version == 1 => self.remembered(&id).unwrap_or(0),
                None => self.head(event).await?,
            };
            if event.version <= head {
                plan.known += 1;
                continue;
            }
            if matches!(source, Source::Journal { .. }) && event.version > head + 1 {
                return Err(Error::caller("events are missing"));
            }
            let changes = self.changes(event).map_err(|why| match why {
                NotApplied::Outage(error) => error,
                NotApplied::Unreadable(_) => Error::caller("an event can't be read"),
            })?;
            for change in changes {
                match new(&change, event) {
                    Some(document) => plan.new.entry(change.collection).or_default().push(document),
                    None => plan.later.entry(id.clone()).or_default().push((event, change)),
                }
            }
            plan.heads
                .entry(id)
                .and_modify(|(will_be, _)| *will_be = event.version)
                .or_insert((event.version, head));
        }
        Ok(plan)
    }

    async fn raise_all(&self, heads: &HashMap<String, (i64, i64)>) -> Result<()> {
        let (new, old): (Vec<_>, Vec<_>) = heads.iter().partition(|(_, (_, before))| *before == 0);
        let documents: Vec<Document> = new
            .iter()
            .map(|(id, (version, _))| doc! { "_id": *id, super::change::VERSION: version })
            .collect();
        if !documents.is_empty() {
            let collection = self.collection("heads").await?;
            bounded(collection.insert_many(documents).ordered(false).into_future()).await?;
        }
        let raising = old.into_iter();
        side_by_side(raising.map(|(id, (version, _))| self.raise(id, *version).boxed())).await?;
        for (id, (version, _)) in heads {
            self.remember(id.clone(), *version);
        }
        Ok(())
    }
}

async fn side_by_side<'a>(doing: impl Iterator<Item = BoxFuture<'a, Result<()>>>) -> Result<()> {
    // A list of boxes: the compiler can't prove that a lazy one can be sent to another thread.
    let doing: Vec<_> = doing.collect();
    stream::iter(doing)
        .buffer_unordered(SIDE_BY_SIDE)
        .try_collect()
        .await
}

/// The document that a change makes, if it most likely does.
fn new(change: &Change, event: &Event) -> Option<Document> {
    match &change.what {
        What::Update { set, inc, push } if change.is_first(event) => {
            made(&change.id, (set, inc, push), event.version)
        }
        What::Update { .. } | What::Remove => None,
    }
}
