//! What staff does to the catalogue.

use crate::catalogue::{BY_ID, CATEGORY, Product};
use crate::{Catalogue, Refusal};
use ringway_sdk::column::Word;
use ringway_sdk::web::{IdempotencyKey, Json, Path, Staff, State, StatusCode};
use ringway_sdk::{Context, Error, Parameter, SqlState, Transaction, check_bounds, check_length};
use serde::{Deserialize, Serialize};
use shop_contracts::Money;
use shop_contracts::events::{ProductChanged, Tell as _};
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
        for (field, text, bounds) in [
            ("sku", &self.sku, 1..=60),
            ("name", &self.name, 1..=200),
            ("brand", &self.brand, 1..=100),
            ("description", &self.description, 0..=5000),
        ] {
            check_length(field, text, bounds)?;
        }
        if self.price.amount_cents <= 0 {
            return Err(Refusal::Invalid("a price is above zero".to_owned()));
        }
        check_bounds("weight_grams", self.weight_grams, 0..=MAX_WEIGHT)?;
        Ok(())
    }

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
    let once = catalogue.store.once(product_id, key.0, "create");
    let product = catalogue.database.transaction_once(&context, once, async |tx| {
        catalogue.insert(&tx, product_id, &draft, staff.user_id).await
    });
    Ok((StatusCode::CREATED, Json(product.await?)))
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
        let product = draft.product(product_id, 1);
        // By our clock: every shard has to be given the same.
        let now = OffsetDateTime::now_utc();
        self.write(tx, (SQL, &now), product, (None, by)).await
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
        const WRITE: &str = "UPDATE product_item SET category = $2, sku = $3, name = $4, brand = $5, description = $6, \
            amount_cents = $7, currency = $8, weight_grams = $9, on_sale = $10, version = version + 1 WHERE product_id = $1 AND version = $11";
        let Edit { version, draft } = edit;
        let which: &[Parameter<'_>] = &[&product_id];
        tx.query_opt(TURN, which).await?.ok_or(Refusal::NotFound)?;
        let before = tx.query_opt(BY_ID, which).await?.ok_or(Refusal::NotFound)?;
        let before = Product::read(&before)?.price;
        let product = draft.product(product_id, version + 1);
        self.write(tx, (WRITE, version), product, (Some(before), by))
            .await
    }

    /// Writes a product (its values are $1 to $10, and $11 is the statement's own), its price if that is another than before, and the event.
    async fn write(
        &self,
        tx: &Transaction,
        (sql, own): (&str, Parameter<'_>),
        product: Product,
        (before, by): (Option<Money>, Uuid),
    ) -> Result<Product, Refusal> {
        const PRICE: &str =
            "INSERT INTO product_price (product_id, version, amount_cents, currency) VALUES ($1, $2, $3, $4)";
        let known = tx.query_opt(CATEGORY, &[&product.category]).await?;
        known.ok_or(Refusal::NotFound)?;
        let (cents, currency) = (product.price.amount_cents, Word(product.price.currency));
        let parameters: &[Parameter<'_>] = &[
            &product.product_id,
            &product.category,
            &product.sku,
            &product.name,
            &product.brand,
            &product.description,
            &cents,
            &currency,
            &i32::try_from(product.weight_grams).unwrap_or(i32::MAX),
            &product.on_sale,
            own,
        ];
        if tx.execute(sql, parameters).await.map_err(taken)? == 0 {
            return Err(Refusal::Changed);
        }
        if before != Some(product.price) {
            let parameters: &[Parameter<'_>] = &[&product.product_id, &product.version, &cents, &currency];
            tx.execute(PRICE, parameters).await?;
        }
        let event = ProductChanged {
            product_id: product.product_id,
            name: product.name.clone(),
            category: product.category.clone(),
            price: product.price,
            on_sale: product.on_sale,
            by,
        };
        tx.tell(&self.store, product.product_id, event).await?;
        Ok(product)
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
