//! What a projection is: pure.

use crate::event_store::Unreadable;
use crate::events::Event;
use crate::store::Store;
use mongodb::bson::{Bson, Document, doc};

/// The most documents that one event may change.
pub(crate) const MAX_CHANGES: usize = 64;

/// The field of a document that holds the version of the event that changed it last.
pub(crate) const VERSION: &str = "_version";

/// The documents that are made of events.
#[derive(Clone, Copy, Debug)]
pub struct Projection {
    /// What its collections and its consumer group are named after: lower-case letters, digits and underscores.
    pub name: &'static str,
    /// Its collections.
    pub collections: &'static [Collection],
    /// What an event changes: at most 64 documents, each of which belongs to the event's aggregate alone. It depends on the event and nothing else.
    pub project: fn(&Event) -> Result<Vec<Change>, Unreadable>,
}

/// A collection of a projection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Collection {
    /// Its name, as [`Change`]s and readers have it.
    pub name: &'static str,
    /// Its indexes, each by its fields; a field that begins with a minus is descending.
    pub indexes: &'static [&'static [&'static str]],
}

/// Where a projection's events come from.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "there are as many as topics")]
pub enum Source {
    /// A topic whose events are all in an event store.
    Journal {
        /// The topic.
        topic: String,
        /// The tables.
        store: Store,
    },
    /// A topic of which Kafka keeps what it keeps.
    Kafka {
        /// The topic.
        topic: String,
    },
}

impl Source {
    /// The topic.
    pub fn topic(&self) -> &str {
        match self {
            Self::Journal { topic, .. } | Self::Kafka { topic } => topic,
        }
    }
}

/// What an event changes in one document.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    pub(crate) collection: &'static str,
    pub(crate) id: String,
    pub(crate) what: What,
}

#[derive(Clone, PartialEq, Debug)]
#[expect(clippy::large_enum_variant, reason = "removals are few")]
pub(crate) enum What {
    Update {
        set: Document,
        inc: Document,
        push: Document,
    },
    Remove,
}

impl Change {
    /// A change of the document of this id; it is made if it is missing.
    pub fn of(collection: &'static str, id: impl Into<String>) -> Self {
        Self {
            collection,
            id: id.into(),
            what: What::Update {
                set: Document::new(),
                inc: Document::new(),
                push: Document::new(),
            },
        }
    }

    /// Whether the document is most likely made by this event: it is the aggregate's first, or the document is its own.
    pub(crate) fn is_first(&self, event: &Event) -> bool {
        event.version == 1 || self.id == event.id.to_string()
    }

    /// Removes a document.
    pub fn remove(collection: &'static str, id: impl Into<String>) -> Self {
        Self {
            what: What::Remove,
            ..Self::of(collection, id)
        }
    }

    /// Sets a field. A change that removes stays one.
    #[must_use]
    pub fn set(mut self, field: &str, value: impl Into<Bson>) -> Self {
        if let What::Update { set, .. } = &mut self.what {
            set.insert(field, value);
        }
        self
    }

    /// Adds to a field; one that is missing counts as nothing.
    #[must_use]
    pub fn inc(mut self, field: &str, by: i64) -> Self {
        if let What::Update { inc, .. } = &mut self.what {
            inc.insert(field, by);
        }
        self
    }

    /// Appends to a list. The list grows with the aggregate's events: the projection sees to it that these are few.
    #[must_use]
    pub fn push(mut self, field: &str, value: impl Into<Bson>) -> Self {
        if let What::Update { push, .. } = &mut self.what {
            push.insert(field, value);
        }
        self
    }
}

/// The update of a document by the event of a version, for one that was changed by an earlier version or not at all.
pub(crate) fn update(set: &Document, inc: &Document, push: &Document, version: i64) -> Document {
    let mut set = set.clone();
    set.insert(VERSION, version);
    let mut update = doc! { "$set": set };
    for (operator, fields) in [("$inc", inc), ("$push", push)] {
        if !fields.is_empty() {
            update.insert(operator, fields.clone());
        }
    }
    update
}

/// The document that the event of a version makes where there is none; none if a field is a path, which only an update understands.
pub(crate) fn made(
    id: &str,
    (set, inc, push): (&Document, &Document, &Document),
    version: i64,
) -> Option<Document> {
    let mut fields = set.keys().chain(inc.keys()).chain(push.keys());
    if fields.any(|field| field.contains('.')) {
        return None;
    }
    let mut document = doc! { "_id": id };
    document.extend(set.clone());
    document.extend(inc.clone());
    let lists = push
        .iter()
        .map(|(field, value)| (field.clone(), Bson::Array(vec![value.clone()])));
    document.extend(lists);
    document.insert(VERSION, version);
    Some(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_one_update_that_says_by_which_version() {
        let change = Change::of("orders", "a")
            .set("state", "paid")
            .inc("tries", 2)
            .push("steps", "pay");
        let What::Update { set, inc, push } = &change.what else {
            panic!("{change:?}");
        };
        let expected = doc! {
            "$set": { "state": "paid", "_version": 7_i64 },
            "$inc": { "tries": 2_i64 },
            "$push": { "steps": "pay" },
        };
        assert_eq!(update(set, inc, push, 7), expected);
        let bare = update(&Document::new(), &Document::new(), &Document::new(), 1);
        assert_eq!(bare, doc! { "$set": { "_version": 1_i64 } });
    }

    #[test]
    fn a_document_that_is_made_is_what_the_update_would_make() {
        let (set, inc, push) = (
            doc! { "state": "paid" },
            doc! { "tries": 2_i64 },
            doc! { "steps": "pay" },
        );
        let expected =
            doc! { "_id": "a", "state": "paid", "tries": 2_i64, "steps": ["pay"], "_version": 7_i64 };
        assert_eq!(made("a", (&set, &inc, &push), 7), Some(expected));
        let path = doc! { "lines.0": 1 };
        assert_eq!(made("a", (&set, &path, &push), 7), None);
    }

    #[test]
    fn what_is_removed_stays_removed() {
        let change = Change::remove("orders", "a").set("state", "paid").inc("n", 1);
        assert_eq!(change, Change::remove("orders", "a"));
    }
}
