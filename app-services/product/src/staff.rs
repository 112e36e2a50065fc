//! What staff does to the catalogue.

use crate::catalogue::{Product, columns};
use crate::{Catalogue, Refusal};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use ringway_sdk::web::{IdempotencyKey, Staff};
use ringway_sdk::{Context, Error, Once, SqlState, Transaction};
use serde::{Deserialize, Serialize};
use shop_contracts::Money;
use shop_contracts::events::{AuditEvent, ProductChanged, Tell as _};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// What staff says of a product.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Draft {
    /// The category's short name.
    pub category: String,
    /// The article number.
    #[schema(min_length = 1, max_length = 60)]
    pub sku: String,
    /// Its name.
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
    /// Who makes it.
    #[schema(min_length = 1, max_length = 100)]
    pub brand: String,
    /// What there is to say.
    #[schema(max_length = 5000)]
    pub description: String,
    /// What it costs.
    pub price: Money,
    /// What it weighs.
    #[schema(maximum = 1000000)]
    pub weight_grams: u32,
    /// Whether it can be bought.
    pub on_sale: bool,
}

/// An edit of the version that was read.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Edit {
    /// The version that was read.
    pub version: i64,
    /// What the product is to be.
    #[serde(flatten)]
    pub draft: Draft,
}

impl Draft {
    fn check(&self) -> Result<(), Refusal> {
        const MAX_WEIGHT: u32 = 1_000_000;
        let bounds = [
            ("sku", &self.sku, 1, 60),
            ("name", &self.name, 1, 200),
            ("brand", &self.brand, 1, 100),
            ("description", &self.description, 0, 5000),
        ];
        for (field, text, least, most) in bounds {
            let length = text.trim().chars().count();
            if length < least || length > most || text.contains('\0') {
                return Err(Refusal::Invalid(format!(
                    "{field} has {least} to {most} characters"
                )));
            }
        }
        if self.price.amount_cents <= 0 {
            return Err(Refusal::Invalid("a price is above zero".to_owned()));
        }
        if self.weight_grams > MAX_WEIGHT {
            return Err(Refusal::Invalid(format!("weight_grams is at most {MAX_WEIGHT}")));
        }
        Ok(())
    }

    fn weight(&self) -> i32 {
        i32::try_from(self.weight_grams).unwrap_or(i32::MAX)
    }
}

/// Adds a product.
#[utoipa::path(post, path = "/api/v1/products", params(IdempotencyKey), request_body = Draft, security(("bearer" = [])),
    responses((status = 201, body = Product)))]
pub(crate) async fn create(
    State(catalogue): State<Catalogue>,
    context: Context,
    Staff(staff): Staff,
    key: IdempotencyKey,
    Json(draft): Json<Draft>,
) -> Result<(StatusCode, Json<Product>), Refusal> {
    draft.check()?;
    // The same key gives the same product, on the same shard.
    let product_id = Uuid::new_v5(&staff.user_id, key.0.as_bytes());
    let once = Once {
        store: &catalogue.store,
        shard_key: &product_id.into(),
        key: &key.0,
        operation: "create",
    };
    let product = catalogue.database.transaction_once(&context, once, async |tx| {
        catalogue.insert(&tx, product_id, &draft, staff.user_id).await
    });
    Ok((StatusCode::CREATED, Json(product.await?.into_inner())))
}

/// Changes a product.
#[utoipa::path(put, path = "/api/v1/products/{product_id}", params(("product_id" = Uuid, Path)), request_body = Edit, security(("bearer" = [])),
    responses((status = 200, body = Product)))]
pub(crate) async fn change(
    State(catalogue): State<Catalogue>,
    context: Context,
    Staff(staff): Staff,
    Path(product_id): Path<Uuid>,
    Json(edit): Json<Edit>,
) -> Result<Json<Product>, Refusal> {
    edit.draft.check()?;
    let product = catalogue.database.transaction(&context, async |tx| {
        catalogue.update(&tx, product_id, &edit, staff.user_id).await
    });
    product.await.map(Json)
}

impl Catalogue {
    /// Adds a product, its first price and its event.
    pub(crate) async fn insert(
        &self,
        tx: &Transaction,
        product_id: Uuid,
        draft: &Draft,
        by: Uuid,
    ) -> Result<Product, Refusal> {
        const SQL: &str = "INSERT INTO product_item (product_id, category, sku, name, brand, description, amount_cents, currency, \
            weight_grams, on_sale, version, added_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1, $11)";
        self.must_know(tx, &draft.category).await?;
        let currency = draft.price.currency.as_str();
        let inserted = tx
            .execute(
                SQL,
                &[
                    &product_id,
                    &draft.category,
                    &draft.sku,
                    &draft.name,
                    &draft.brand,
                    &draft.description,
                    &draft.price.amount_cents,
                    &currency,
                    &draft.weight(),
                    &draft.on_sale,
                    // By our clock: every shard has to be given the same.
                    &OffsetDateTime::now_utc(),
                ],
            )
            .await;
        inserted.map_err(taken)?;
        self.changed(tx, draft.product(product_id, 1), None, by).await
    }

    /// Changes a product, its price if that is another, and writes its event.
    async fn update(
        &self,
        tx: &Transaction,
        product_id: Uuid,
        edit: &Edit,
        by: Uuid,
    ) -> Result<Product, Refusal> {
        // Edits of a product take their turn at its first price, on its own shard: two that met at the reference table could each hold
        // it on one shard and wait for the other's, which no server sees.
        const TURN: &str = "SELECT 1 FROM product_price WHERE product_id = $1 AND version = 1 FOR UPDATE";
        const READ: &str = concat!("SELECT ", columns!(), " FROM product_item WHERE product_id = $1");
        const WRITE: &str = "UPDATE product_item SET category = $2, sku = $3, name = $4, brand = $5, description = $6, \
            amount_cents = $7, currency = $8, weight_grams = $9, on_sale = $10, version = version + 1 WHERE product_id = $1 AND version = $11";
        let Edit { version, draft } = edit;
        tx.query_opt(TURN, &[&product_id])
            .await?
            .ok_or(Refusal::NotFound)?;
        let before = tx
            .query_opt(READ, &[&product_id])
            .await?
            .ok_or(Refusal::NotFound)?;
        let before = Product::read(&before)?;
        self.must_know(tx, &draft.category).await?;
        let currency = draft.price.currency.as_str();
        let written = tx
            .execute(
                WRITE,
                &[
                    &product_id,
                    &draft.category,
                    &draft.sku,
                    &draft.name,
                    &draft.brand,
                    &draft.description,
                    &draft.price.amount_cents,
                    &currency,
                    &draft.weight(),
                    &draft.on_sale,
                    version,
                ],
            )
            .await;
        if written.map_err(taken)? == 0 {
            return Err(Refusal::Changed);
        }
        self.changed(tx, draft.product(product_id, version + 1), Some(before.price), by)
            .await
    }

    async fn must_know(&self, tx: &Transaction, category: &str) -> Result<(), Refusal> {
        let known = tx
            .query_opt("SELECT 1 FROM product_category WHERE slug = $1", &[&category])
            .await?;
        known.map(drop).ok_or(Refusal::NotFound)
    }

    /// What stands beside a changed product: its price in the history, and the event.
    async fn changed(
        &self,
        tx: &Transaction,
        product: Product,
        before: Option<Money>,
        by: Uuid,
    ) -> Result<Product, Refusal> {
        const SQL: &str =
            "INSERT INTO product_price (product_id, version, amount_cents, currency) VALUES ($1, $2, $3, $4)";
        if before != Some(product.price) {
            let Money {
                amount_cents,
                currency,
            } = product.price;
            let currency = currency.as_str();
            tx.execute(
                SQL,
                &[&product.product_id, &product.version, &amount_cents, &currency],
            )
            .await?;
        }
        let event = AuditEvent::ProductChanged(ProductChanged {
            product_id: product.product_id,
            name: product.name.clone(),
            category: product.category.clone(),
            price: product.price,
            on_sale: product.on_sale,
            by,
        });
        tx.tell(&self.store, &product.product_id.into(), &event).await?;
        Ok(product)
    }
}

impl Draft {
    fn product(&self, product_id: Uuid, version: i64) -> Product {
        Product {
            product_id,
            category: self.category.clone(),
            sku: self.sku.clone(),
            name: self.name.clone(),
            brand: self.brand.clone(),
            description: self.description.clone(),
            price: self.price,
            weight_grams: self.weight_grams,
            on_sale: self.on_sale,
            version,
        }
    }
}

/// A violated unique constraint is the article number's.
fn taken(error: Error) -> Refusal {
    if error.state() == Some(SqlState::UNIQUE_VIOLATION) {
        Refusal::SkuTaken
    } else {
        error.into()
    }
}
