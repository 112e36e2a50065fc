//! The cart: one row for each user.

use crate::record::{json, kept};
use crate::{Orders, Refusal, Routes};
use axum::Json;
use axum::extract::{Path, State};
use ringway_sdk::web::Caller;
use ringway_sdk::{Context, Level, Parameter, Transaction};
use serde::{Deserialize, Serialize};
use shop_contracts::Money;
use shop_contracts::events::AnalyticsEvent;
use shop_contracts::events::{CartChanged, Tell};
use shop_contracts::rpc::v1;
use utoipa::ToSchema;
use utoipa_axum::routes;
use uuid::Uuid;

/// The most products in a cart.
const MAX_LINES: usize = 50;

/// The most of one product.
const MAX_QUANTITY: u32 = 99;

const SHOW: &str = "SELECT lines FROM order_cart WHERE user_id = $1";
const MAKE: &str =
    "INSERT INTO order_cart (user_id, lines) VALUES ($1, '[]') ON CONFLICT (user_id) DO NOTHING";
const LOCK: &str = "SELECT lines FROM order_cart WHERE user_id = $1 FOR UPDATE";
const KEEP: &str = "UPDATE order_cart SET lines = $2 WHERE user_id = $1";

/// So many of a product, at the price when it was put in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct CartLine {
    pub(crate) product_id: Uuid,
    pub(crate) name: String,
    pub(crate) category: String,
    pub(crate) quantity: u32,
    pub(crate) unit_price: Money,
}

/// What a user wants to buy.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct Cart {
    /// In the order in which they were put in.
    pub(crate) lines: Vec<CartLine>,
}

/// How many.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// From now on; 0 takes it out.
    #[schema(maximum = 99)]
    quantity: u32,
}

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(show)).routes(routes!(put, remove))
}

/// The caller's cart.
#[utoipa::path(get, path = "/api/v1/cart", responses((status = 200, body = Cart)))]
async fn show(State(orders): State<Orders>, context: Context, caller: Caller) -> Result<Json<Cart>, Refusal> {
    orders.cart(&context, caller.user_id).await.map(Json)
}

/// Sets how many of a product are in it.
#[utoipa::path(put, path = "/api/v1/cart/items/{product_id}", request_body = Wanted,
    params(("product_id" = Uuid, Path)), responses((status = 200, body = Cart)))]
async fn put(
    State(orders): State<Orders>,
    context: Context,
    caller: Caller,
    Path(product_id): Path<Uuid>,
    Json(wanted): Json<Wanted>,
) -> Result<Json<Cart>, Refusal> {
    if wanted.quantity > MAX_QUANTITY {
        return Err(Refusal::Invalid(format!("quantity: at most {MAX_QUANTITY}")));
    }
    let line = if wanted.quantity == 0 {
        None
    } else {
        Some(orders.line(&context, product_id, wanted.quantity).await?)
    };
    orders
        .change_cart(&context, caller.user_id, product_id, line)
        .await
        .map(Json)
}

/// Takes a product out.
#[utoipa::path(delete, path = "/api/v1/cart/items/{product_id}",
    params(("product_id" = Uuid, Path)), responses((status = 200, body = Cart)))]
async fn remove(
    State(orders): State<Orders>,
    context: Context,
    caller: Caller,
    Path(product_id): Path<Uuid>,
) -> Result<Json<Cart>, Refusal> {
    orders
        .change_cart(&context, caller.user_id, product_id, None)
        .await
        .map(Json)
}

impl Orders {
    pub(crate) async fn cart(&self, context: &Context, user_id: Uuid) -> Result<Cart, Refusal> {
        let which: &[Parameter<'_>] = &[&user_id];
        let row = self.database.row(context, Level::Ryw, SHOW, which).await?;
        let lines = row.map(|row| kept(row.get(0))).transpose()?;
        Ok(Cart {
            lines: lines.unwrap_or_default(),
        })
    }

    /// A product as it is sold now.
    async fn line(&self, context: &Context, product_id: Uuid, quantity: u32) -> Result<CartLine, Refusal> {
        let asked = v1::GetProductsRequest {
            product_ids: vec![product_id.to_string()],
        };
        let found = self.calls.product(context).get(asked).await?.into_inner();
        let product = found.products.into_iter().next().ok_or(Refusal::UnknownProduct)?;
        if !product.on_sale {
            return Err(Refusal::NotOnSale);
        }
        Ok(CartLine {
            product_id,
            name: product.name,
            category: product.category,
            quantity,
            unit_price: Money::try_from(product.price.ok_or(Refusal::UnknownProduct)?)?,
        })
    }

    async fn change_cart(
        &self,
        context: &Context,
        user_id: Uuid,
        product_id: Uuid,
        line: Option<CartLine>,
    ) -> Result<Cart, Refusal> {
        let work = async |tx: Transaction| {
            let mut cart = self.lock_cart(&tx, user_id).await?;
            let at = cart.lines.iter().position(|line| line.product_id == product_id);
            let changed = match (at, &line) {
                (Some(at), Some(line)) => {
                    if let Some(there) = cart.lines.get_mut(at) {
                        there.clone_from(line);
                    }
                    line.clone()
                }
                (Some(at), None) => CartLine {
                    quantity: 0,
                    ..cart.lines.remove(at)
                },
                (None, Some(_)) if cart.lines.len() >= MAX_LINES => return Err(Refusal::FullCart),
                (None, Some(line)) => {
                    cart.lines.push(line.clone());
                    line.clone()
                }
                (None, None) => return Ok(cart),
            };
            self.keep_cart(&tx, user_id, &cart).await?;
            let told = AnalyticsEvent::CartChanged(CartChanged {
                visitor: user_id.to_string(),
                region: self.region.clone(),
                product_id,
                category: changed.category,
                quantity: changed.quantity,
                unit_price: changed.unit_price,
            });
            tx.tell(&self.store, user_id, told).await?;
            Ok(cart)
        };
        self.database.transaction(context, work).await
    }

    /// The cart, which nobody else changes until the transaction ends.
    pub(crate) async fn lock_cart(&self, tx: &Transaction, user_id: Uuid) -> Result<Cart, Refusal> {
        tx.execute(MAKE, &[&user_id]).await?;
        let lines = kept(tx.query_one(LOCK, &[&user_id]).await?.get(0))?;
        Ok(Cart { lines })
    }

    pub(crate) async fn keep_cart(
        &self,
        tx: &Transaction,
        user_id: Uuid,
        cart: &Cart,
    ) -> Result<(), Refusal> {
        tx.execute(KEEP, &[&user_id, &json(&cart.lines)]).await?;
        Ok(())
    }
}
