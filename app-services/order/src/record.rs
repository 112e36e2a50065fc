//! Writing what happens to an order: the event, and what the events come to.

use crate::order::{Order, OrderView, State};
use crate::{Orders, Refusal};
use ringway_sdk::event_store::Loaded;
use ringway_sdk::{Error, ShardKey, Transaction};
use serde::Serialize;
use serde_json::Value;
use shop_contracts::events::OrderEvent;
use uuid::Uuid;

const LOCK: &str =
    "SELECT cancel, failure, label FROM order_summary WHERE user_id = $1 AND order_id = $2 FOR UPDATE";
const KEEP: &str = "INSERT INTO order_summary (user_id, order_id, view) VALUES ($1, $2, $3) \
     ON CONFLICT (user_id, order_id) DO UPDATE SET view = excluded.view";
const COUNT: &str = "INSERT INTO order_customer AS c (user_id, changes) VALUES ($1, 1) \
     ON CONFLICT (user_id) DO UPDATE SET changes = c.changes + 1";

/// An order that nobody else changes until the transaction ends.
pub(crate) struct Locked {
    pub(crate) order: Loaded<Order>,
    /// Who wants it cancelled.
    pub(crate) cancel: Option<String>,
    /// Why its saga failed.
    pub(crate) failure: Option<String>,
    /// Its shipment's label.
    pub(crate) label: Option<String>,
}

impl Locked {
    /// Where it stands.
    pub(crate) fn state(&self) -> State {
        self.order.state.state
    }
}

/// A value that is kept as JSON.
pub(crate) fn json(value: &impl Serialize) -> Value {
    // Structs of strings, numbers and ids: their serialisation can't fail.
    serde_json::to_value(value).unwrap_or_default()
}

impl Orders {
    /// Locks an order and loads it.
    pub(crate) async fn lock(
        &self,
        tx: &Transaction,
        user_id: Uuid,
        order_id: Uuid,
    ) -> Result<Locked, Refusal> {
        let row = tx.query_opt(LOCK, &[&user_id, &order_id]).await?;
        let row = row.ok_or(Refusal::UnknownOrder)?;
        let key = ShardKey::Uuid(user_id);
        let order = self.journal.load(tx, &key, &order_id.to_string()).await?;
        Ok(Locked {
            order,
            cancel: row.get(0),
            failure: row.get(1),
            label: row.get(2),
        })
    }

    /// Something has happened to an order.
    pub(crate) async fn happened(
        &self,
        tx: &Transaction,
        (user_id, order_id): (Uuid, Uuid),
        seen: &Loaded<Order>,
        event: OrderEvent,
    ) -> Result<OrderView, Refusal> {
        let key = ShardKey::Uuid(user_id);
        let after = self
            .journal
            .append(tx, &key, &order_id.to_string(), seen, &[event])
            .await?;
        let view = after.state.view().ok_or(Refusal::UnknownOrder)?;
        tx.execute(KEEP, &[&user_id, &order_id, &json(&view)]).await?;
        tx.execute(COUNT, &[&user_id]).await?;
        Ok(view)
    }
}

/// Reads a value that was kept as JSON.
pub(crate) fn kept<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, Refusal> {
    serde_json::from_value(value).map_err(|error| {
        tracing::error!(%error, "a row can't be read");
        Refusal::Sdk(Error::from(ringway_sdk::event_store::Unreadable(
            error.to_string(),
        )))
    })
}
