//! The tables that the SDK keeps beside a service's own: names, DDL, and how Ringway is to spread them. Pure.
//!
//! All of them are sharded by `shard_key`, of the type by which the service's own tables are sharded, so that a row of theirs lies on the shard of
//! the row that it is about and is written in the same one-shard transaction.

use crate::error::{Error, Result};
use crate::link::Parameter;
use std::fmt::{self, Write as _};
use uuid::Uuid;

/// The type of the column by which a service's tables are sharded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum KeyType {
    /// `bigint`
    Int8,
    /// `text`
    Text,
    /// `uuid`
    Uuid,
}

impl KeyType {
    fn sql(self) -> &'static str {
        match self {
            Self::Int8 => "bigint",
            Self::Text => "text",
            Self::Uuid => "uuid",
        }
    }
}

/// A value of that column.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ShardKey {
    /// Of [`KeyType::Int8`].
    Int8(i64),
    /// Of [`KeyType::Text`].
    Text(String),
    /// Of [`KeyType::Uuid`].
    Uuid(Uuid),
}

impl ShardKey {
    /// Reads what [`Display`](fmt::Display) wrote.
    ///
    /// # Errors
    /// Not a value of that type.
    pub fn parse(key_type: KeyType, text: &str) -> Result<Self> {
        let malformed = || Error::caller(format!("not a shard key of type {}", key_type.sql()));
        match key_type {
            KeyType::Int8 => text.parse().map(Self::Int8).map_err(|_| malformed()),
            KeyType::Text => Ok(Self::Text(text.to_owned())),
            KeyType::Uuid => text.parse().map(Self::Uuid).map_err(|_| malformed()),
        }
    }

    /// Its type.
    pub fn key_type(&self) -> KeyType {
        match self {
            Self::Int8(_) => KeyType::Int8,
            Self::Text(_) => KeyType::Text,
            Self::Uuid(_) => KeyType::Uuid,
        }
    }

    pub(crate) fn parameter(&self) -> Parameter<'_> {
        match self {
            Self::Int8(key) => key,
            Self::Text(key) => key,
            Self::Uuid(key) => key,
        }
    }
}

impl fmt::Display for ShardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int8(key) => key.fmt(f),
            Self::Text(key) => key.fmt(f),
            Self::Uuid(key) => key.fmt(f),
        }
    }
}

impl From<&Self> for ShardKey {
    fn from(key: &Self) -> Self {
        key.clone()
    }
}

impl From<i64> for ShardKey {
    fn from(key: i64) -> Self {
        Self::Int8(key)
    }
}

impl From<&str> for ShardKey {
    fn from(key: &str) -> Self {
        Self::Text(key.to_owned())
    }
}

impl From<Uuid> for ShardKey {
    fn from(key: Uuid) -> Self {
        Self::Uuid(key)
    }
}

/// The longest name of a store.
const MAX_NAME: usize = 40;

/// The SDK's tables of one service: `NAME_idempotency`, `NAME_outbox`, `NAME_outbox_head`, `NAME_inbox`, `NAME_parked`,
/// `NAME_saga`, `NAME_event`, `NAME_snapshot` and `NAME_counter`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Store {
    name: String,
    key_type: KeyType,
    pub(crate) sql: Statements,
}

/// The statements over the tables, with their names filled in once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Statements {
    pub(crate) claim_key: String,
    pub(crate) keep_answer: String,
    pub(crate) kept_answer: String,
    pub(crate) raise_head: String,
    pub(crate) add_event: String,
    pub(crate) waiting_events: String,
    pub(crate) forget_events: String,
    pub(crate) record_event: String,
    pub(crate) parked: String,
    pub(crate) park: String,
    pub(crate) unpark: String,
    pub(crate) start_saga: String,
    pub(crate) saga_state: String,
    pub(crate) due_sagas: String,
    pub(crate) take_saga: String,
    pub(crate) move_saga: String,
    pub(crate) begin_stream: String,
    pub(crate) lengthen_stream: String,
    pub(crate) stream_version: String,
    pub(crate) record: String,
    pub(crate) recorded: String,
    pub(crate) scan: String,
    pub(crate) scan_on: String,
    pub(crate) snapshot: String,
    pub(crate) keep_snapshot: String,
    pub(crate) count: String,
    pub(crate) counter: String,
    pub(crate) purge_inbox: String,
    pub(crate) purge_idempotency: String,
}

/// The tables of a store: what follows its name, and the columns after `shard_key`.
const TABLES: [(&str, &str); 9] = [
    (
        "idempotency",
        "key text NOT NULL, operation text NOT NULL, answer jsonb, at timestamptz NOT NULL DEFAULT now(), \
         PRIMARY KEY (shard_key, key)",
    ),
    (
        "outbox_head",
        "topic text NOT NULL, aggregate text NOT NULL, version bigint NOT NULL, \
         PRIMARY KEY (shard_key, topic, aggregate)",
    ),
    (
        "outbox",
        "id uuid NOT NULL, topic text NOT NULL, aggregate text NOT NULL, version bigint NOT NULL, \
         kind text NOT NULL, payload bytea NOT NULL, trace text, token text NOT NULL, \
         at timestamptz NOT NULL DEFAULT now(), ord bigint NOT NULL GENERATED ALWAYS AS IDENTITY, \
         PRIMARY KEY (shard_key, id)",
    ),
    (
        "inbox",
        "consumer text NOT NULL, event_id uuid NOT NULL, at timestamptz NOT NULL DEFAULT now(), \
         PRIMARY KEY (shard_key, consumer, event_id)",
    ),
    (
        "parked",
        "consumer text NOT NULL, topic text NOT NULL, aggregate text NOT NULL, version bigint NOT NULL, \
         PRIMARY KEY (shard_key, consumer, topic, aggregate, version)",
    ),
    (
        "saga",
        "id text NOT NULL, definition text NOT NULL, state text NOT NULL, step int NOT NULL, tries int NOT NULL, \
         lease bigint NOT NULL, due timestamptz, reason text, data jsonb NOT NULL, token text NOT NULL, \
         PRIMARY KEY (shard_key, id)",
    ),
    (
        "event",
        "topic text NOT NULL, aggregate text NOT NULL, version bigint NOT NULL, id uuid NOT NULL, kind text NOT NULL, \
         payload bytea NOT NULL, trace text, at timestamptz NOT NULL DEFAULT now(), \
         PRIMARY KEY (shard_key, topic, aggregate, version)",
    ),
    (
        "snapshot",
        "topic text NOT NULL, aggregate text NOT NULL, version bigint NOT NULL, form int NOT NULL, state jsonb NOT NULL, \
         PRIMARY KEY (shard_key, topic, aggregate)",
    ),
    (
        "counter",
        "counter text NOT NULL, value bigint NOT NULL, PRIMARY KEY (shard_key, counter)",
    ),
];

/// The columns of an event that was recorded.
const RECORDED: &str = "shard_key::text, id, topic, aggregate, version, kind, payload, trace, (extract(epoch FROM at) * 1000)::bigint";

impl Store {
    /// The tables whose names begin with `name` and an underscore: lower-case letters, digits and underscores, beginning with a letter.
    ///
    /// # Errors
    /// Another name.
    pub fn new(name: &str, key_type: KeyType) -> Result<Self> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if name.len() > MAX_NAME
            || !name.starts_with(|c: char| c.is_ascii_lowercase())
            || !name.bytes().all(plain)
        {
            return Err(Error::caller(format!("{name:?} can't be the name of a store")));
        }
        Ok(Self {
            name: name.to_owned(),
            key_type,
            sql: Statements::of(name),
        })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type of its shard keys.
    pub fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// The DDL, one statement after the other; each may be run again.
    pub fn schema(&self) -> Vec<String> {
        let (name, key) = (&self.name, self.key_type.sql());
        let table = |(table, columns): &(&str, &str)| {
            format!("CREATE TABLE IF NOT EXISTS {name}_{table} (shard_key {key} NOT NULL, {columns})")
        };
        let index = format!("CREATE INDEX IF NOT EXISTS {name}_outbox_ord ON {name}_outbox (ord)");
        let due = format!("CREATE INDEX IF NOT EXISTS {name}_saga_due ON {name}_saga (definition, due)");
        let at = |table: &str| format!("CREATE INDEX IF NOT EXISTS {name}_{table}_at ON {name}_{table} (at)");
        let aged = ["inbox", "idempotency"].map(at);
        TABLES.iter().map(table).chain([index, due]).chain(aged).collect()
    }

    /// The tables' names.
    pub fn table_names(&self) -> impl Iterator<Item = String> {
        TABLES.iter().map(|(table, _)| format!("{}_{table}", self.name))
    }

    /// The `[[table]]` sections for Ringway's configuration.
    pub fn ringway_tables(&self) -> String {
        let mut text = String::new();
        for (table, _) in &TABLES {
            // Writing to a String can't fail.
            let _ = write!(
                text,
                "\n[[table]]\nname = \"{}_{table}\"\nsharding = \"hash\"\ncolumn = \"shard_key\"\n",
                self.name
            );
        }
        text
    }

    pub(crate) fn check(&self, key: &ShardKey) -> Result<()> {
        if key.key_type() == self.key_type {
            return Ok(());
        }
        Err(Error::caller(format!(
            "the store {} is sharded by {}",
            self.name,
            self.key_type.sql()
        )))
    }
}

/// Removes some of the rows that are older than so many seconds, the oldest first. Run on a shard itself.
fn purge(name: &str, table: &str) -> String {
    format!(
        "DELETE FROM {name}_{table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {name}_{table} \
         WHERE at < now() - $1 * interval '1 s' ORDER BY at LIMIT $2))"
    )
}

impl Statements {
    fn of(name: &str) -> Self {
        Self {
            claim_key: format!(
                "INSERT INTO {name}_idempotency (shard_key, key, operation) VALUES ($1, $2, $3) ON CONFLICT (shard_key, key) DO NOTHING"
            ),
            keep_answer: format!(
                "UPDATE {name}_idempotency SET answer = $3 WHERE shard_key = $1 AND key = $2"
            ),
            kept_answer: format!(
                "SELECT operation, answer FROM {name}_idempotency WHERE shard_key = $1 AND key = $2"
            ),
            raise_head: format!(
                "INSERT INTO {name}_outbox_head AS h (shard_key, topic, aggregate, version) VALUES ($1, $2, $3, 1) \
                 ON CONFLICT (shard_key, topic, aggregate) DO UPDATE SET version = h.version + 1 RETURNING version"
            ),
            add_event: format!(
                "INSERT INTO {name}_outbox (shard_key, id, topic, aggregate, version, kind, payload, trace, token) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
            ),
            waiting_events: format!(
                "SELECT shard_key::text, id, topic, aggregate, version, kind, payload, trace, token, \
                 (extract(epoch FROM at) * 1000)::bigint, ord FROM {name}_outbox ORDER BY ord LIMIT $1"
            ),
            forget_events: format!("DELETE FROM {name}_outbox WHERE ord = ANY ($1)"),
            record_event: format!(
                "INSERT INTO {name}_inbox (shard_key, consumer, event_id) VALUES ($1, $2, $3) \
                 ON CONFLICT (shard_key, consumer, event_id) DO NOTHING"
            ),
            parked: format!(
                "SELECT version FROM {name}_parked WHERE shard_key = $1 AND consumer = $2 AND topic = $3 \
                 AND aggregate = $4 AND version <= $5"
            ),
            park: format!(
                "INSERT INTO {name}_parked (shard_key, consumer, topic, aggregate, version) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (shard_key, consumer, topic, aggregate, version) DO NOTHING"
            ),
            unpark: format!(
                "DELETE FROM {name}_parked WHERE shard_key = $1 AND consumer = $2 AND topic = $3 AND aggregate = $4 \
                 AND version = $5"
            ),
            start_saga: format!(
                "INSERT INTO {name}_saga (shard_key, id, definition, state, step, tries, lease, due, data, token) \
                 VALUES ($1, $2, $3, 'doing', 0, 0, 0, now(), $4, $5) ON CONFLICT (shard_key, id) DO NOTHING"
            ),
            saga_state: format!("SELECT state, step FROM {name}_saga WHERE shard_key = $1 AND id = $2"),
            due_sagas: format!(
                "SELECT shard_key::text, id FROM {name}_saga WHERE definition = $1 AND due <= now() ORDER BY due LIMIT 32"
            ),
            take_saga: format!(
                "UPDATE {name}_saga SET lease = lease + 1, tries = tries + 1, due = now() + $3 * interval '1 ms' \
                 WHERE shard_key = $1 AND id = $2 AND due <= now() RETURNING state, step, tries, lease, data, token"
            ),
            move_saga: format!(
                "UPDATE {name}_saga SET state = $4, step = $5, tries = $6, due = now() + $7 * interval '1 ms', reason = coalesce($8, reason) \
                 WHERE shard_key = $1 AND id = $2 AND lease = $3"
            ),
            begin_stream: format!(
                "INSERT INTO {name}_outbox_head (shard_key, topic, aggregate, version) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (shard_key, topic, aggregate) DO NOTHING"
            ),
            lengthen_stream: format!(
                "UPDATE {name}_outbox_head SET version = version + $4 \
                 WHERE shard_key = $1 AND topic = $2 AND aggregate = $3 AND version = $5"
            ),
            stream_version: format!(
                "SELECT version FROM {name}_outbox_head WHERE shard_key = $1 AND topic = $2 AND aggregate = $3"
            ),
            record: format!(
                "INSERT INTO {name}_event (shard_key, topic, aggregate, version, id, kind, payload, trace) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
            ),
            recorded: format!(
                "SELECT {RECORDED} FROM {name}_event WHERE shard_key = $1 AND topic = $2 AND aggregate = $3 \
                 AND version > $4 ORDER BY version LIMIT $5"
            ),
            scan: format!(
                "SELECT {RECORDED} FROM {name}_event WHERE topic = $1 ORDER BY shard_key, aggregate, version LIMIT $2"
            ),
            scan_on: format!(
                "SELECT {RECORDED} FROM {name}_event WHERE topic = $1 AND (shard_key, aggregate, version) > ($3, $4, $5) \
                 ORDER BY shard_key, aggregate, version LIMIT $2"
            ),
            snapshot: format!(
                "SELECT version, form, state FROM {name}_snapshot WHERE shard_key = $1 AND topic = $2 AND aggregate = $3"
            ),
            keep_snapshot: format!(
                "INSERT INTO {name}_snapshot AS s (shard_key, topic, aggregate, version, form, state) \
                 VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (shard_key, topic, aggregate) DO UPDATE \
                 SET version = excluded.version, form = excluded.form, state = excluded.state \
                 WHERE s.version < excluded.version OR s.form <> excluded.form"
            ),
            count: format!(
                "INSERT INTO {name}_counter AS c (shard_key, counter, value) VALUES ($1, $2, $3) \
                 ON CONFLICT (shard_key, counter) DO UPDATE SET value = c.value + excluded.value"
            ),
            counter: format!("SELECT value FROM {name}_counter WHERE shard_key = $1 AND counter = $2"),
            purge_inbox: purge(name, "inbox"),
            purge_idempotency: purge(name, "idempotency"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_would_need_quotes_are_refused() {
        for name in ["", "1st", "Orders", "a-b", "a b", "a\"b", &"x".repeat(41)] {
            assert!(Store::new(name, KeyType::Int8).is_err(), "{name}");
        }
        assert!(Store::new("orders_2", KeyType::Int8).is_ok());
    }

    proptest! {
        #[test]
        fn keys_are_read_as_they_were_written(int: i64, text: String, uuid: u128) {
            for key in [ShardKey::Int8(int), ShardKey::Text(text), ShardKey::Uuid(Uuid::from_u128(uuid))] {
                prop_assert_eq!(ShardKey::parse(key.key_type(), &key.to_string()).unwrap(), key);
            }
        }
    }
}
