//! Events: a topic is an enum, a kind a struct with a version.
//!
//! The payload is JSON: the fields of the struct and `version`. A field that may be missing can be added; anything else makes a new version,
//! and reading one that was published before stays possible. A version that is newer than this code is [`Unreadable::Newer`]: the consumer is
//! older than who published, so the event has to wait.

mod topics;

pub use topics::*;

use ringway_sdk::events::{Event, Failure, NewEvent, Published};
use ringway_sdk::{ShardKey, Store, Transaction};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::PartialSchema;

/// Why an event can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Its kind is none of the topic's.
    #[error("the kind {0} is unknown")]
    Kind(String),
    /// Its version is newer than this code.
    #[error("version {version} of {kind} is newer than {known}")]
    Newer {
        /// The kind.
        kind: &'static str,
        /// The event's version.
        version: u16,
        /// The newest that is known.
        known: u16,
    },
    /// It isn't what its kind says.
    #[error("{kind} can't be read: {source}")]
    Malformed {
        /// The kind.
        kind: &'static str,
        /// Why.
        source: serde_json::Error,
    },
}

impl From<Unreadable> for Failure {
    fn from(why: Unreadable) -> Self {
        match why {
            Unreadable::Kind(_) | Unreadable::Newer { .. } => Self::Later(why.to_string()),
            Unreadable::Malformed { .. } => Self::Never(why.to_string()),
        }
    }
}

/// The events of a topic.
pub trait Message: Sized {
    /// The topic.
    const TOPIC: &'static str;

    /// The kind, as it stands in the event's headers.
    fn kind(&self) -> &'static str;

    /// What it happened to.
    fn aggregate(&self) -> String;

    /// The payload.
    fn payload(&self) -> Vec<u8>;

    /// Reads a payload.
    ///
    /// # Errors
    /// Another topic's kind, a newer version, or not what was agreed on.
    fn read(kind: &str, payload: &[u8]) -> Result<Self, Unreadable>;

    /// Reads an event.
    ///
    /// # Errors
    /// As [`Message::read`].
    fn of(event: &Event) -> Result<Self, Unreadable> {
        Self::read(&event.kind, &event.payload)
    }

    /// What is known of the topic's kinds.
    fn kinds() -> Vec<Kind>;
}

/// Publishing what was agreed on.
pub trait Tell {
    /// Adds an event to the outbox of `store`, as [`Transaction::publish`] does.
    fn tell<E: Told + Send>(
        &self,
        store: &Store,
        shard_key: impl Into<ShardKey> + Send,
        event: E,
    ) -> impl Future<Output = ringway_sdk::Result<Published>> + Send;
}

impl Tell for Transaction {
    async fn tell<E: Told + Send>(
        &self,
        store: &Store,
        shard_key: impl Into<ShardKey> + Send,
        event: E,
    ) -> ringway_sdk::Result<Published> {
        let message: E::Topic = event.into();
        let (aggregate, payload) = (message.aggregate(), message.payload());
        let event = NewEvent {
            topic: E::Topic::TOPIC,
            aggregate: &aggregate,
            kind: message.kind(),
            payload: &payload,
        };
        self.publish(store, &shard_key.into(), event).await
    }
}

/// What can be told of: an event of some topic, or any of a topic's.
pub trait Told: Into<Self::Topic> {
    /// Where it is told.
    type Topic: Message + Send + Sync;
}

/// A kind of event, as it is documented.
#[derive(Clone, Debug)]
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// Its newest version.
    pub version: u16,
    /// The name of the field that is the aggregate.
    pub aggregate: &'static str,
    /// Its fields, as a schema of OpenAPI.
    pub schema: serde_json::Value,
}

/// What is written: the fields and the version.
#[derive(Serialize)]
struct Written<'a, T> {
    version: u16,
    #[serde(flatten)]
    body: &'a T,
}

/// What is read first.
#[derive(Deserialize)]
struct Versioned {
    version: u16,
}

fn write<T: Serialize>(version: u16, body: &T) -> Vec<u8> {
    // Structs of strings, numbers, ids and times: their serialisation can't fail. A payload that isn't JSON is refused by every reader.
    serde_json::to_vec(&Written { version, body }).unwrap_or_default()
}

fn read<T: DeserializeOwned>(kind: &'static str, known: u16, payload: &[u8]) -> Result<T, Unreadable> {
    let malformed = |source| Unreadable::Malformed { kind, source };
    let Versioned { version } = serde_json::from_slice(payload).map_err(malformed)?;
    if version > known {
        return Err(Unreadable::Newer { kind, version, known });
    }
    serde_json::from_slice(payload).map_err(malformed)
}

fn kind<T: PartialSchema>(name: &'static str, version: u16, aggregate: &'static str) -> Kind {
    Kind {
        name,
        version,
        aggregate,
        // A schema is strings and lists: its serialisation can't fail.
        schema: serde_json::to_value(T::schema()).unwrap_or_default(),
    }
}

/// Declares a topic: `Variant(Struct) = "kind", version, aggregate field;`.
macro_rules! topic {
    ($(#[$doc:meta])* $name:ident = $topic:literal { $($variant:ident($body:ident) = $kind:literal, $version:literal, $aggregate:ident;)+ }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Debug)]
        pub enum $name {
            $(#[doc = concat!("`", $kind, "`, version ", $version, ".")] $variant($body),)+
        }

        impl $crate::events::Message for $name {
            const TOPIC: &'static str = $topic;

            fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => $kind,)+ }
            }

            fn aggregate(&self) -> String {
                match self { $(Self::$variant(body) => body.$aggregate.to_string(),)+ }
            }

            fn payload(&self) -> Vec<u8> {
                match self { $(Self::$variant(body) => $crate::events::write($version, body),)+ }
            }

            fn read(kind: &str, payload: &[u8]) -> Result<Self, $crate::events::Unreadable> {
                match kind {
                    $($kind => $crate::events::read($kind, $version, payload).map(Self::$variant),)+
                    _ => Err($crate::events::Unreadable::Kind(kind.to_owned())),
                }
            }

            fn kinds() -> Vec<$crate::events::Kind> {
                vec![$($crate::events::kind::<$body>($kind, $version, stringify!($aggregate)),)+]
            }
        }

        $(impl $body {
            #[doc = concat!("`", $kind, "`.")]
            pub const KIND: &'static str = $kind;
        })+

        impl $crate::events::Told for $name {
            type Topic = Self;
        }

        $(impl $crate::events::Told for $body {
            type Topic = $name;
        })+

        $(impl From<$body> for $name {
            fn from(body: $body) -> Self {
                Self::$variant(body)
            }
        })+
    };
}
use topic;
