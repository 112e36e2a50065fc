//! Outside: what sending costs, where a shipment is, and what the carrier tells.
#![allow(unused_qualifications, reason = "made by utoipa's macro")]

use crate::rates::{MAX_GRAMS, rates};
use crate::shipment::{Locked, SHOW};
use crate::{Rate, Refusal, Shipment, Shipments};
use ringway_sdk::Context;
use ringway_sdk::partner::Claimed;
use ringway_sdk::web::{Caller, Json, OpenApiRouter, Path, Problem, Query, Reads, State, StatusCode, routes};
use serde::Deserialize;
use shop_contracts::Currency;
use utoipa::IntoParams;
use uuid::Uuid;

/// What is to be sent where.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// ISO 3166, two letters.
    #[param(pattern = "^[A-Z]{2}$")]
    country: String,
    /// At most 30,000.
    #[param(maximum = 30_000)]
    weight_grams: u32,
    /// The currency of the prices.
    currency: Currency,
}

pub(crate) fn routes(shipments: Shipments) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(quote))
        .routes(routes!(show))
        .routes(routes!(webhook))
        .with_state(shipments)
}

/// What sending costs, the cheapest first; nothing if nothing goes there.
#[utoipa::path(get, path = "/api/v1/shipping/rates", params(Wanted), security(()),
    responses((status = 200, body = Vec<Rate>)))]
async fn quote(Query(wanted): Query<Wanted>) -> Result<Json<Vec<Rate>>, Refusal> {
    let country = wanted.country.as_bytes();
    if country.len() != 2 || !country.iter().all(u8::is_ascii_uppercase) || wanted.weight_grams > MAX_GRAMS {
        return Err(Refusal::Invalid(
            "country: two letters; weight_grams: at most 30,000".to_owned(),
        ));
    }
    Ok(Json(rates(&wanted.country, wanted.weight_grams, wanted.currency)))
}

/// The caller's shipment for an order.
#[utoipa::path(get, path = "/api/v1/shipments/{order_id}", params(("order_id" = Uuid, Path)),
    responses((status = 200, body = Shipment)))]
async fn show(reads: Reads, caller: Caller, Path(order_id): Path<Uuid>) -> Result<Json<Shipment>, Refusal> {
    let row = reads.row(SHOW, &[&caller.user_id, &order_id]).await?;
    let row = row.ok_or(Refusal::UnknownShipment)?;
    Ok(Json(Locked::read(caller.user_id, &row)?.shipment))
}

/// What the carrier tells by itself, signed.
#[utoipa::path(post, path = "/api/v1/shipments/webhook", security(()), request_body = String,
    responses((status = 204)))]
async fn webhook(
    State(shipments): State<Shipments>,
    context: Context,
    claimed: Claimed,
) -> Result<StatusCode, Problem> {
    let webhook = shipments.desk().webhook(&context, &claimed).await?;
    if webhook.operation.is_nil() {
        shipments.moved(&context, &webhook).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}
