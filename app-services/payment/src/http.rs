//! Outside: what customers see of their payments, what staff gives back, and what the provider tells.

use crate::{Payment, Payments, Refusal};
use ringway_sdk::Context;
use ringway_sdk::partner::{Claimed, Outcome, Reply};
use ringway_sdk::web::{
    Caller, IdempotencyKey, Json, OpenApiRouter, Path, Problem, Staff, State, StatusCode, routes,
};
use serde::{Deserialize, Serialize};
use shop_contracts::{Money, Operation};
use utoipa::ToSchema;
use uuid::Uuid;

/// What is to be given back.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RefundAsked {
    /// So much; all that is left if it is missing.
    #[serde(default)]
    amount: Option<Money>,
}

pub(crate) fn routes(payments: Payments) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(show))
        .routes(routes!(refund))
        .routes(routes!(webhook))
        .with_state(payments)
}

/// The caller's payment for an order.
#[utoipa::path(get, path = "/api/v1/payments/{order_id}", params(("order_id" = Uuid, Path)),
    responses((status = 200, body = Payment)))]
async fn show(
    State(payments): State<Payments>,
    context: Context,
    caller: Caller,
    Path(order_id): Path<Uuid>,
) -> Result<Json<Payment>, Refusal> {
    payments.show(&context, caller.user_id, order_id).await.map(Json)
}

/// Staff gives back what was taken for a user's order. 202: the provider hasn't answered; the same request finds out.
#[utoipa::path(post, path = "/api/v1/payments/{user_id}/{order_id}/refunds", request_body = RefundAsked,
    params(IdempotencyKey, ("user_id" = Uuid, Path), ("order_id" = Uuid, Path)),
    responses((status = 200, body = Payment), (status = 202, body = Payment)))]
async fn refund(
    State(payments): State<Payments>,
    context: Context,
    _staff: Staff,
    key: IdempotencyKey,
    Path((user_id, order_id)): Path<(Uuid, Uuid)>,
    Json(asked): Json<RefundAsked>,
) -> Result<(StatusCode, Json<Payment>), Problem> {
    // A key of staff's own: it may be the same as one that the order service uses.
    let operation = Operation {
        key: format!("staff/{}", key.0),
        user_id,
        order_id,
    };
    match payments.refund(&context, &operation, asked.amount).await? {
        Outcome::Settled(Reply::Done(payment)) => Ok((StatusCode::OK, Json(payment))),
        Outcome::Settled(Reply::Refused { reason, detail }) => Err(refusal(&reason).about(detail)),
        Outcome::Pending(_) => {
            let payment = payments.show(&context, user_id, order_id).await?;
            Ok((StatusCode::ACCEPTED, Json(payment)))
        }
    }
}

fn refusal(reason: &str) -> Problem {
    match reason {
        "unknown-payment" => Refusal::UnknownPayment,
        "too-much" => Refusal::TooMuch,
        "declined" => Refusal::Declined,
        _ => Refusal::WrongState,
    }
    .into()
}

/// What the provider tells by itself, signed.
#[utoipa::path(post, path = "/api/v1/payments/webhook", security(()), request_body = String,
    responses((status = 204)))]
async fn webhook(
    State(payments): State<Payments>,
    context: Context,
    claimed: Claimed,
) -> Result<StatusCode, Problem> {
    payments.desk().webhook(&context, &claimed).await?;
    Ok(StatusCode::NO_CONTENT)
}
