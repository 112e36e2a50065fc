//! An event as it travels in Kafka: the aggregate is the key, the payload the value, the rest stands in headers.

use crate::store::{KeyType, ShardKey};
use crate::token::{Causality, TOKEN_HEADER};
use crate::trace::{TRACE_HEADER, TraceParent};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use uuid::Uuid;

const ID: &str = "ringway-event-id";
const KIND: &str = "ringway-event-kind";
const VERSION: &str = "ringway-event-version";
const SHARD_KEY: &str = "ringway-shard-key";
const KEY_TYPE: &str = "ringway-shard-key-type";
const TIME: &str = "ringway-event-time-ms";
const STORE: &str = "ringway-store";

/// Something that happened to an aggregate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Unique, whatever happens.
    pub id: Uuid,
    /// Where it is published.
    pub topic: String,
    /// What it happened to; events of one aggregate stay in order.
    pub aggregate: String,
    /// The store that noted it: several may tell of one aggregate.
    pub store: String,
    /// 1 for the first event that the store told of the aggregate in this topic, one more for each further.
    pub version: i64,
    /// What happened, by the name that consumers know it by.
    pub kind: String,
    /// The shard key of the rows that it tells of.
    pub shard_key: ShardKey,
    /// The service's own.
    pub payload: Vec<u8>,
    /// The call that it came from.
    pub trace: Option<TraceParent>,
    /// What a consumer has to see to see what it tells of.
    pub causality: Causality,
    /// When its transaction began, in milliseconds since 1970 by the server's clock.
    pub time_ms: i64,
}

/// A message that is no event.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the message has no valid {0}")]
pub struct Malformed(pub &'static str);

impl Event {
    /// The headers that carry all but key and payload.
    pub(crate) fn headers(&self) -> OwnedHeaders {
        let key_type = match self.shard_key.key_type() {
            KeyType::Int8 => "int8",
            KeyType::Text => "text",
            KeyType::Uuid => "uuid",
        };
        let mut headers = OwnedHeaders::new_with_capacity(9);
        let fields = [
            (ID, self.id.to_string()),
            (KIND, self.kind.clone()),
            (STORE, self.store.clone()),
            (VERSION, self.version.to_string()),
            (SHARD_KEY, self.shard_key.to_string()),
            (KEY_TYPE, key_type.to_owned()),
            (TIME, self.time_ms.to_string()),
            (TOKEN_HEADER, self.causality.to_string()),
        ];
        let trace = self.trace.map(|trace| (TRACE_HEADER, trace.to_string()));
        for (key, value) in fields.iter().chain(&trace) {
            headers = headers.insert(Header {
                key,
                value: Some(value),
            });
        }
        headers
    }

    /// Reads a message; `topic` is the one that the event was published to.
    ///
    /// # Errors
    /// What is missing or wrong.
    pub fn read(message: &impl Message, topic: &str) -> Result<Self, Malformed> {
        let header = |name| message.headers().and_then(|headers| text(headers, name));
        let need = |name| header(name).ok_or(Malformed(name));
        let key_type = match need(KEY_TYPE)? {
            "int8" => KeyType::Int8,
            "text" => KeyType::Text,
            "uuid" => KeyType::Uuid,
            _ => return Err(Malformed(KEY_TYPE)),
        };
        let aggregate = message.key().and_then(|key| std::str::from_utf8(key).ok());
        let causality = header(TOKEN_HEADER).map(Causality::parse);
        Ok(Self {
            id: need(ID)?.parse().map_err(|_| Malformed(ID))?,
            topic: topic.to_owned(),
            aggregate: aggregate.ok_or(Malformed("key"))?.to_owned(),
            version: need(VERSION)?.parse().map_err(|_| Malformed(VERSION))?,
            kind: need(KIND)?.to_owned(),
            store: need(STORE)?.to_owned(),
            shard_key: ShardKey::parse(key_type, need(SHARD_KEY)?).map_err(|_| Malformed(SHARD_KEY))?,
            payload: message.payload().unwrap_or_default().to_owned(),
            trace: header(TRACE_HEADER).and_then(TraceParent::parse),
            causality: causality
                .transpose()
                .map_err(|_| Malformed(TOKEN_HEADER))?
                .unwrap_or_default(),
            time_ms: need(TIME)?.parse().map_err(|_| Malformed(TIME))?,
        })
    }
}

/// The last header of this name, as text.
pub(crate) fn text<'a, H: Headers>(headers: &'a H, name: &str) -> Option<&'a str> {
    let found = headers.iter().filter(|header| header.key == name).last()?;
    std::str::from_utf8(found.value?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rdkafka::Timestamp;
    use rdkafka::message::OwnedMessage;

    fn message(event: &Event, headers: OwnedHeaders) -> OwnedMessage {
        OwnedMessage::new(
            Some(event.payload.clone()),
            Some(event.aggregate.clone().into_bytes()),
            event.topic.clone(),
            Timestamp::NotAvailable,
            0,
            0,
            Some(headers),
        )
    }

    fn any_event() -> impl Strategy<Value = Event> {
        let key = prop_oneof![
            any::<i64>().prop_map(ShardKey::Int8),
            "\\PC{0,9}".prop_map(ShardKey::Text),
            any::<u128>().prop_map(|id| ShardKey::Uuid(Uuid::from_u128(id))),
        ];
        let (words, numbers) = (
            ("\\PC{0,9}", "\\PC{0,9}"),
            (any::<u128>(), any::<i64>(), any::<i64>()),
        );
        (words, numbers, key, any::<Vec<u8>>()).prop_map(
            |((aggregate, kind), (id, version, time_ms), shard_key, payload)| Event {
                id: Uuid::from_u128(id),
                topic: "t".to_owned(),
                aggregate,
                store: "s".to_owned(),
                version,
                kind,
                shard_key,
                payload,
                trace: None,
                causality: Causality::Strong,
                time_ms,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_published_is_read_again(event in any_event()) {
            prop_assert_eq!(Event::read(&message(&event, event.headers()), "t"), Ok(event));
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let event = Event {
            id: Uuid::nil(),
            topic: "t".to_owned(),
            aggregate: "a".to_owned(),
            store: "s".to_owned(),
            version: 1,
            kind: "k".to_owned(),
            shard_key: ShardKey::Int8(1),
            payload: Vec::new(),
            trace: None,
            causality: Causality::Nothing,
            time_ms: 0,
        };
        let nothing = message(&event, OwnedHeaders::new());
        assert_eq!(Event::read(&nothing, "t"), Err(Malformed(KEY_TYPE)));
    }
}
