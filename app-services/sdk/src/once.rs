//! Transactions that take effect once, however often they are asked for.
//!
//! The key is recorded by the transaction itself, on the same shard, together with the answer. Asked for again, because a
//! caller repeats its request or because an answer to COMMIT was lost, the transaction finds the key and gives the answer that was kept.
//! Two at once wait for each other at the key's row.

use crate::context::Context;
use crate::database::{Database, Isolation, Key, Transaction};
use crate::error::{Error, FromSdk, Result};
use crate::store::{ShardKey, Store};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Cow;

/// The longest key, in bytes.
const MAX_KEY: usize = 200;

/// What makes a transaction the same one.
#[derive(Clone, Debug)]
pub struct Once<'a> {
    store: &'a Store,
    shard_key: ShardKey,
    key: Cow<'a, str>,
    operation: Cow<'a, str>,
}

impl Store {
    /// Once for the caller's `key`, which is unique for the shard key of the rows that the transaction is about and has 1 to 200 bytes. `operation` is what
    /// is asked for: the same key for something else is the caller's error. This store's table remembers it.
    pub fn once<'a>(
        &'a self,
        shard_key: impl Into<ShardKey>,
        key: impl Into<Cow<'a, str>>,
        operation: impl Into<Cow<'a, str>>,
    ) -> Once<'a> {
        Once {
            store: self,
            shard_key: shard_key.into(),
            key: key.into(),
            operation: operation.into(),
        }
    }
}

impl Database {
    /// Runs a transaction as [`Database::transaction`] does, but once for its key, and gives the answer of whichever call has carried it out; so it is also
    /// tried again where the outcome of a COMMIT is unknown. Keys are remembered until the service deletes them.
    ///
    /// # Errors
    /// As [`Database::transaction`]; a key that was used for another operation.
    pub async fn transaction_once<T, E, F, Fut>(
        &self,
        context: &Context,
        once: Once<'_>,
        work: F,
    ) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned,
        E: FromSdk,
        F: Fn(Transaction) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        once.store.check(&once.shard_key)?;
        if once.key.is_empty() || once.key.len() > MAX_KEY {
            return Err(Error::caller("an idempotency key has 1 to 200 bytes").into());
        }
        self.transaction_tried(context, Isolation::default(), Key::Given, async |tx| {
            if let Some(kept) = claim(&tx, &once).await? {
                return Ok(kept);
            }
            let answer = work(tx.clone()).await?;
            keep(&tx, &once, &answer).await?;
            Ok(answer)
        })
        .await
    }
}

/// Takes the key, or gives what was answered under it.
async fn claim<T: DeserializeOwned>(tx: &Transaction, once: &Once<'_>) -> Result<Option<T>> {
    let (sql, shard_key) = (&once.store.sql, once.shard_key.parameter());
    let taken = tx
        .execute(&sql.claim_key, &[shard_key, &&*once.key, &&*once.operation])
        .await?;
    if taken == 1 {
        return Ok(None);
    }
    let row = tx.query_one(&sql.kept_answer, &[shard_key, &&*once.key]).await?;
    let (operation, answer): (String, serde_json::Value) = (row.get(0), row.get(1));
    if operation != once.operation {
        return Err(Error::caller(format!(
            "the idempotency key was used for {operation}"
        )));
    }
    let answer = serde_json::from_value(answer)
        .map_err(|error| Error::caller("the kept answer is of another type").with_source(error))?;
    Ok(Some(answer))
}

async fn keep<T: Serialize>(tx: &Transaction, once: &Once<'_>, answer: &T) -> Result<()> {
    let answer = serde_json::to_value(answer)
        .map_err(|error| Error::caller("the answer can't be kept as JSON").with_source(error))?;
    tx.execute(
        &once.store.sql.keep_answer,
        &[once.shard_key.parameter(), &&*once.key, &answer],
    )
    .await
    .map(drop)
}
