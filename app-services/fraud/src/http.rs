//! Outside: what staff looks at.

use crate::{Case, Fraud, Refusal, Review};
use ringway_sdk::Context;
use ringway_sdk::web::{IdempotencyKey, Json, OpenApiRouter, Path, Staff, State, StatusCode, routes};
use uuid::Uuid;

pub(crate) fn routes(fraud: Fraud) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(open))
        .routes(routes!(review))
        .with_state(fraud)
}

/// The orders that staff is to look at, the oldest first; at most 50.
#[utoipa::path(get, path = "/api/v1/fraud/cases", responses((status = 200, body = Vec<Case>)))]
async fn open(
    State(fraud): State<Fraud>,
    context: Context,
    _staff: Staff,
) -> Result<Json<Vec<Case>>, Refusal> {
    fraud.open_cases(&context).await.map(Json)
}

/// What staff has found.
#[utoipa::path(post, path = "/api/v1/fraud/cases/{user_id}/{order_id}/review", request_body = Review,
    params(IdempotencyKey, ("user_id" = Uuid, Path), ("order_id" = Uuid, Path)), responses((status = 204)))]
async fn review(
    State(fraud): State<Fraud>,
    context: Context,
    Staff(staff): Staff,
    key: IdempotencyKey,
    Path(case): Path<(Uuid, Uuid)>,
    Json(review): Json<Review>,
) -> Result<StatusCode, Refusal> {
    fraud
        .review(&context, (&key.0, staff.user_id), case, review)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
