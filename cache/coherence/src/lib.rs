//! When a cached answer may be used: decided in memory, against the shards' own commit log.

mod codec;
mod error;
mod message;
mod tags;

pub use error::{Error, Malformed};
pub use message::{MAX_TAGS, MessageKind, StreamMessage};
pub use tags::{TableTags, TagHash};
