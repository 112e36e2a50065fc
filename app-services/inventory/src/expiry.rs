//! Reservations whose time is over.

use crate::{Inventory, Refusal};
use ringway_sdk::service::Stop;
use ringway_sdk::{Context, Level};
use shop_contracts::Operation;
use std::time::Duration;
use uuid::Uuid;

/// How many are released before the next look.
const DUE: &str = "SELECT product_id, order_id, user_id FROM inventory_hold \
     WHERE state = 'reserved' AND expires_at <= now() ORDER BY expires_at LIMIT 100";

/// For one of them, and for the look.
const BOUND: Duration = Duration::from_secs(10);

impl Inventory {
    /// Looks for them, and releases them, until it is to stop. Several may do so at once.
    pub(crate) async fn expire_until(self, stop: Stop, poll: Duration) {
        loop {
            if let Err(refusal) = self.expire_due().await {
                tracing::warn!(?refusal, "reservations can't be released");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(poll) => {}
            }
        }
    }

    async fn expire_due(&self) -> Result<(), Refusal> {
        let context = Context::background().with_timeout(BOUND);
        for row in self.database.rows(&context, Level::Strong, DUE, &[]).await? {
            let product_id: Uuid = row.get(0);
            let operation = Operation {
                key: String::new(),
                order_id: row.get(1),
                user_id: row.get(2),
            };
            let context = Context::background().with_timeout(BOUND);
            self.expire(&context, &operation, product_id).await?;
        }
        Ok(())
    }
}
