//! Writing events: into a table on the shard of the data, by the transaction that changes the data.
//!
//! Each (topic, aggregate) has a head row with the version of its last event. Adding an event raises it, so the head stays locked until
//! the transaction ends: transactions that tell of the same aggregate are committed in the order of their versions, whatever the order in
//! which they began.

use crate::database::Transaction;
use crate::error::{Error, Result};
use crate::store::{ShardKey, Store};
use uuid::Uuid;

/// The longest payload, in bytes: below Kafka's usual bound of 1 MB for a message.
pub(crate) const MAX_PAYLOAD: usize = 900_000;

/// An event to be published.
#[derive(Clone, Copy, Debug)]
pub struct NewEvent<'a> {
    /// Where.
    pub topic: &'a str,
    /// What it happened to: the key in Kafka.
    pub aggregate: &'a str,
    /// What happened.
    pub kind: &'a str,
    /// The service's own bytes; at most 900,000.
    pub payload: &'a [u8],
}

/// What an event was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Published {
    /// Its id.
    pub id: Uuid,
    /// Its version: that of its aggregate in its topic.
    pub version: i64,
}

impl Transaction {
    /// Adds an event to the outbox of `store`: it is published if and once the transaction is committed.
    ///
    /// # Errors
    /// As [`Transaction::query`]; a payload that is too long.
    pub async fn publish(
        &self,
        store: &Store,
        shard_key: &ShardKey,
        event: NewEvent<'_>,
    ) -> Result<Published> {
        store.check(shard_key)?;
        if event.payload.len() > MAX_PAYLOAD {
            return Err(Error::caller("the event's payload is above 900,000 bytes"));
        }
        let id = Uuid::now_v7();
        let key = shard_key.parameter();
        // The head is locked before `ord` is drawn, until the transaction ends.
        let head = self
            .query_one(&store.sql.raise_head, &[key, &event.topic, &event.aggregate])
            .await?;
        let version: i64 = head.get(0);
        let published = Published { id, version };
        self.put_in_outbox(store, shard_key, event, published).await?;
        Ok(published)
    }

    /// Adds an event that has its version; the head of its aggregate is locked.
    pub(crate) async fn put_in_outbox(
        &self,
        store: &Store,
        shard_key: &ShardKey,
        event: NewEvent<'_>,
        Published { id, version }: Published,
    ) -> Result<()> {
        let context = self.context();
        let trace = context.trace().map(|trace| trace.to_string());
        let token = context.session().causality().to_string();
        self.execute(
            &store.sql.add_event,
            &[
                shard_key.parameter(),
                &id,
                &event.topic,
                &event.aggregate,
                &version,
                &event.kind,
                &event.payload,
                &trace,
                &token,
            ],
        )
        .await
        .map(drop)
    }
}
