//! Cancelling an order.

use crate::order::{OrderView, State as Stands};
use crate::record::json;
use crate::saga::{CANCELLATION, Task, cancellation_id};
use crate::{Orders, Refusal, Routes};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use ringway_sdk::web::{Caller, IdempotencyKey};
use ringway_sdk::{Context, ShardKey, Transaction};
use utoipa_axum::routes;
use uuid::Uuid;

/// Who wants an order cancelled, as it is kept.
pub(crate) const CUSTOMER: &str = "customer";
/// The same.
pub(crate) const STAFF: &str = "staff";

const WANT: &str = "UPDATE order_summary SET cancel = $3 WHERE user_id = $1 AND order_id = $2";

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(cancel))
}

/// Cancels an order. One that is being carried out is undone, one that is confirmed is taken back from the carrier if it is still there; its state says when
/// it is done.
#[utoipa::path(post, path = "/api/v1/orders/{order_id}/cancel", params(IdempotencyKey, ("order_id" = Uuid, Path)),
    responses((status = 202, body = OrderView)))]
async fn cancel(
    State(orders): State<Orders>,
    context: Context,
    caller: Caller,
    key: IdempotencyKey,
    Path(order_id): Path<Uuid>,
) -> Result<(StatusCode, Json<OrderView>), Refusal> {
    let user_id = caller.user_id;
    let (key, operation) = (format!("cancel/{}", key.0), format!("cancel {order_id}"));
    let once = orders.store.once(user_id, key, operation);
    let cancelled = orders.database.transaction_once(&context, once, async |tx| {
        orders.want_cancelled(&tx, (user_id, order_id)).await
    });
    Ok((StatusCode::ACCEPTED, Json(cancelled.await?)))
}

impl Orders {
    async fn want_cancelled(
        &self,
        tx: &Transaction,
        (user_id, order_id): (Uuid, Uuid),
    ) -> Result<OrderView, Refusal> {
        let locked = self.lock(tx, user_id, order_id).await?;
        let view = locked.order.state.view().ok_or(Refusal::UnknownOrder)?;
        match locked.state() {
            Stands::Cancelled => return Ok(view),
            Stands::None => return Err(Refusal::UnknownOrder),
            Stands::Shipped | Stands::Delivered => return Err(Refusal::TooLate),
            Stands::Placed => {}
            Stands::Confirmed => self.undo_confirmed(tx, (user_id, order_id), &view).await?,
        }
        tx.execute(WANT, &[&user_id, &order_id, &CUSTOMER]).await?;
        Ok(view)
    }

    async fn undo_confirmed(
        &self,
        tx: &Transaction,
        (user_id, order_id): (Uuid, Uuid),
        view: &OrderView,
    ) -> Result<(), Refusal> {
        let task = Task {
            user_id,
            order_id,
            lines: view
                .lines
                .iter()
                .map(|line| (line.product_id, line.quantity))
                .collect(),
            total: view.total,
            // Nothing is taken any more.
            address: shop_contracts::Address {
                name: String::new(),
                line1: String::new(),
                line2: String::new(),
                postal_code: String::new(),
                city: String::new(),
                region: String::new(),
                country: String::new(),
            },
            shipping_service: String::new(),
            payment_token: String::new(),
            weight_grams: 0,
        };
        let (key, id) = (ShardKey::Uuid(user_id), cancellation_id(order_id));
        tx.start_saga(&self.store, &key, &id, &CANCELLATION, &json(&task))
            .await?;
        Ok(())
    }
}
