//! Checking out: pricing the cart, placing the order, starting its saga.

use crate::cart::Cart;
use crate::order::OrderView;
use crate::record::json;
use crate::saga::{CHECKOUT, Task};
use crate::{Orders, Refusal, Routes};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ringway_sdk::event_store::Loaded;
use ringway_sdk::web::{Caller, IdempotencyKey};
use ringway_sdk::{Context, ShardKey, Transaction};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shop_contracts::events::{OrderLine, OrderPlaced};
use shop_contracts::rpc::v1;
use shop_contracts::{Address, Money};
use std::collections::BTreeMap;
use utoipa::ToSchema;
use utoipa_axum::routes;
use uuid::Uuid;

/// The longest token of a payment provider, and the longest name of a way of sending.
const MAX_WORD: usize = 200;

/// How the cart is to be bought.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Checkout {
    /// Where it goes to.
    address: Address,
    /// One of the ways of sending that shipping has quoted.
    #[schema(min_length = 1, max_length = 200)]
    shipping_service: String,
    /// The payment provider's token; never card data.
    #[schema(min_length = 1, max_length = 200)]
    payment_token: String,
    /// What the customer was shown; refused if it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expected_total_cents: Option<i64>,
}

impl Checkout {
    fn check(&self) -> Result<(), Refusal> {
        let word = |text: &str| (1..=MAX_WORD).contains(&text.len());
        if !self.address.is_complete() {
            return Err(Refusal::Invalid("address".to_owned()));
        }
        if !word(&self.shipping_service) || !word(&self.payment_token) {
            return Err(Refusal::Invalid(
                "shipping_service, payment_token: 1 to 200 bytes".to_owned(),
            ));
        }
        Ok(())
    }

    /// The same for the same request, and nothing of what is in it.
    fn operation(&self) -> String {
        format!("checkout {:x}", Sha256::digest(json(self).to_string()))
    }
}

/// A cart with today's prices.
struct Priced {
    cart: Cart,
    lines: Vec<OrderLine>,
    shipping_price: Money,
    total: Money,
    weight_grams: u32,
}

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(check_out))
}

/// Orders what is in the cart. The order is then placed; its state says what becomes of it.
#[utoipa::path(post, path = "/api/v1/orders", request_body = Checkout, params(IdempotencyKey),
    responses((status = 202, body = OrderView)))]
async fn check_out(
    State(orders): State<Orders>,
    context: Context,
    caller: Caller,
    key: IdempotencyKey,
    Json(checkout): Json<Checkout>,
) -> Result<(StatusCode, Json<OrderView>), Refusal> {
    checkout.check()?;
    let cart = orders.cart(&context, caller.user_id).await?;
    let priced = if cart.lines.is_empty() {
        // Either there is nothing to buy, or this very request has emptied it.
        None
    } else {
        Some(orders.price(&context, cart, &checkout).await?)
    };
    let (order_id, user_id) = (Uuid::now_v7(), caller.user_id);
    let key = format!("checkout/{}", key.0);
    let once = orders.store.once(user_id, key, checkout.operation());
    let placed = orders.database.transaction_once(&context, once, async |tx| {
        let priced = priced.as_ref().ok_or(Refusal::EmptyCart)?;
        orders.place(&tx, (user_id, order_id), &checkout, priced).await
    });
    Ok((StatusCode::ACCEPTED, Json(placed.await?)))
}

impl Orders {
    async fn price(&self, context: &Context, cart: Cart, checkout: &Checkout) -> Result<Priced, Refusal> {
        let asked = v1::GetProductsRequest {
            product_ids: cart
                .lines
                .iter()
                .map(|line| line.product_id.to_string())
                .collect(),
        };
        let found = self.calls.product(context).get(asked).await?.into_inner();
        let mut products: BTreeMap<String, v1::ProductInfo> = found
            .products
            .into_iter()
            .map(|product| (product.product_id.clone(), product))
            .collect();
        let (mut lines, mut sum, mut weight_grams) = (Vec::new(), None, 0_u32);
        for line in &cart.lines {
            let product = products
                .remove(&line.product_id.to_string())
                .ok_or(Refusal::UnknownProduct)?;
            if !product.on_sale {
                return Err(Refusal::NotOnSale);
            }
            let unit_price = Money::try_from(product.price.ok_or(Refusal::UnknownProduct)?)?;
            sum = Some(add(sum, unit_price.checked_mul(line.quantity))?);
            weight_grams = weight_grams.saturating_add(product.weight_grams.saturating_mul(line.quantity));
            lines.push(OrderLine {
                product_id: line.product_id,
                name: product.name,
                category: product.category,
                quantity: line.quantity,
                unit_price,
            });
        }
        let sum = sum.ok_or(Refusal::EmptyCart)?;
        let shipping_price = self.shipping_price(context, checkout, weight_grams, sum).await?;
        let total = add(Some(sum), Some(shipping_price))?;
        if checkout
            .expected_total_cents
            .is_some_and(|expected| expected != total.amount_cents)
        {
            return Err(Refusal::PriceChanged);
        }
        Ok(Priced {
            cart,
            lines,
            shipping_price,
            total,
            weight_grams,
        })
    }

    async fn shipping_price(
        &self,
        context: &Context,
        checkout: &Checkout,
        weight_grams: u32,
        sum: Money,
    ) -> Result<Money, Refusal> {
        let asked = v1::QuoteRequest {
            address: Some(checkout.address.clone().into()),
            weight_grams,
            currency: sum.currency.to_string(),
        };
        let quoted = self.calls.shipping(context).quote(asked).await?.into_inner();
        let mut rates = quoted.rates.into_iter();
        let rate = rates.find(|rate| rate.service == checkout.shipping_service);
        let price = rate.and_then(|rate| rate.price).ok_or(Refusal::NoShipping)?;
        Ok(Money::try_from(price)?)
    }

    /// Places an order in one transaction: its first event, its saga, an empty cart.
    async fn place(
        &self,
        tx: &Transaction,
        (user_id, order_id): (Uuid, Uuid),
        checkout: &Checkout,
        priced: &Priced,
    ) -> Result<OrderView, Refusal> {
        if self.lock_cart(tx, user_id).await? != priced.cart {
            return Err(Refusal::CartChanged);
        }
        self.keep_cart(tx, user_id, &Cart::default()).await?;
        let placed = OrderPlaced {
            order_id,
            user_id,
            region: self.region.clone(),
            lines: priced.lines.clone(),
            total: priced.total,
            shipping_price: priced.shipping_price,
            shipping_country: checkout.address.country.clone(),
        };
        let view = self
            .happened(tx, (user_id, order_id), &Loaded::default(), placed.into())
            .await?;
        let task = Task {
            user_id,
            order_id,
            lines: priced
                .lines
                .iter()
                .map(|line| (line.product_id, line.quantity))
                .collect(),
            total: priced.total,
            address: checkout.address.clone(),
            shipping_service: checkout.shipping_service.clone(),
            payment_token: checkout.payment_token.clone(),
            weight_grams: priced.weight_grams,
        };
        let key = ShardKey::Uuid(user_id);
        tx.start_saga(&self.store, &key, &order_id.to_string(), &CHECKOUT, &json(&task))
            .await?;
        Ok(view)
    }
}

fn add(sum: Option<Money>, more: Option<Money>) -> Result<Money, Refusal> {
    let more = more.ok_or_else(|| Refusal::Invalid("the total is beyond what can be counted".to_owned()))?;
    match sum {
        None => Ok(more),
        Some(sum) if sum.currency != more.currency => Err(Refusal::MixedCurrencies),
        Some(sum) => sum
            .checked_add(more)
            .ok_or_else(|| Refusal::Invalid("the total is beyond what can be counted".to_owned())),
    }
}
