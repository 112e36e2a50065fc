//! Outside: what there is, and how staff sets it.

use crate::{Inventory, ProductStock, Refusal, Warehouse};
use ringway_sdk::Context;
use ringway_sdk::web::{IdempotencyKey, Json, OpenApiRouter, Path, Staff, State, routes};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// What was counted.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Counted {
    /// So many lie there, with those that are reserved.
    #[schema(maximum = 1_000_000_000)]
    on_hand: u32,
}

/// Nobody has more of anything.
const MOST: u32 = 1_000_000_000;

pub(crate) fn routes(inventory: Inventory) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(show))
        .routes(routes!(set))
        .with_state(inventory)
}

/// What there is of a product.
#[utoipa::path(get, path = "/api/v1/stock/{product_id}", params(("product_id" = Uuid, Path)), security(()),
    responses((status = 200, body = ProductStock)))]
async fn show(
    State(inventory): State<Inventory>,
    context: Context,
    Path(product_id): Path<Uuid>,
) -> Result<Json<ProductStock>, Refusal> {
    let stock = inventory.stock(&context, product_id).await?;
    stock.map(Json).ok_or(Refusal::UnknownProduct)
}

/// Staff has counted what lies in a warehouse.
#[utoipa::path(put, path = "/api/v1/stock/{product_id}/{warehouse}", request_body = Counted,
    params(IdempotencyKey, ("product_id" = Uuid, Path), ("warehouse" = String, Path)),
    responses((status = 200, body = Warehouse)))]
async fn set(
    State(inventory): State<Inventory>,
    context: Context,
    Staff(staff): Staff,
    key: IdempotencyKey,
    Path((product_id, warehouse)): Path<(Uuid, String)>,
    Json(Counted { on_hand }): Json<Counted>,
) -> Result<Json<Warehouse>, Refusal> {
    if on_hand > MOST {
        return Err(Refusal::Invalid("on_hand: at most 1,000,000,000".to_owned()));
    }
    let counted = (warehouse.as_str(), on_hand);
    let set = inventory.set_stock(&context, &key.0, staff.user_id, product_id, counted);
    set.await.map(Json)
}
