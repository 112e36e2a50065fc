//! Products by id and by category.
#![allow(unused_qualifications, reason = "made by utoipa's macro")]

use crate::{Catalogue, Refusal};
use axum::Json;
use axum::extract::{Path, Query, State};
use ringway_sdk::web::Problem;
use ringway_sdk::{Context, Level, Row};
use serde::{Deserialize, Serialize};
use shop_contracts::Money;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// The most products of a page.
pub(crate) const MAX_PAGE: u16 = 100;
/// Those of a page if nothing is said.
pub(crate) const PAGE: u16 = 20;

/// A product.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Product {
    /// Its id.
    pub product_id: Uuid,
    /// The category's short name.
    pub category: String,
    /// The article number.
    pub sku: String,
    /// Its name.
    pub name: String,
    /// Who makes it.
    pub brand: String,
    /// What there is to say.
    pub description: String,
    /// What it costs.
    pub price: Money,
    /// What it weighs.
    pub weight_grams: u32,
    /// Whether it can be bought.
    pub on_sale: bool,
    /// Rises with every edit.
    pub version: i64,
}

/// A price and since when it is in force.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Price {
    /// What the product cost.
    pub price: Money,
    /// From then on.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

/// A category.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Category {
    /// Its short name, as it stands in URLs.
    pub slug: String,
    /// Its name.
    pub name: String,
}

/// A page of a category.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Page {
    /// In the order of their names.
    pub products: Vec<Product>,
    /// `after` for the next page, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Uuid>,
}

/// The columns of a [`Product`].
macro_rules! columns {
    () => {
        "product_id, category, sku, name, brand, description, amount_cents, currency, weight_grams, on_sale, version"
    };
}
pub(crate) use columns;

/// An amount as two columns hold it.
pub(crate) fn money(row: &Row) -> Result<Money, Refusal> {
    let currency: &str = row.get("currency");
    let currency = currency.parse().map_err(|_| Refusal::Peer(Problem::internal()))?;
    Ok(Money::new(row.get("amount_cents"), currency))
}

impl Product {
    pub(crate) fn read(row: &Row) -> Result<Self, Refusal> {
        Ok(Self {
            product_id: row.get("product_id"),
            category: row.get("category"),
            sku: row.get("sku"),
            name: row.get("name"),
            brand: row.get("brand"),
            description: row.get("description"),
            price: money(row)?,
            weight_grams: row.get::<_, i32>("weight_grams").unsigned_abs(),
            on_sale: row.get("on_sale"),
            version: row.get("version"),
        })
    }
}

/// A product.
#[utoipa::path(get, path = "/api/v1/products/{product_id}", params(("product_id" = Uuid, Path)), security(()),
    responses((status = 200, body = Product)))]
pub(crate) async fn product(
    State(catalogue): State<Catalogue>,
    context: Context,
    Path(product_id): Path<Uuid>,
) -> Result<Json<Product>, Refusal> {
    const SQL: &str = concat!("SELECT ", columns!(), " FROM product_item WHERE product_id = $1");
    let found = catalogue.database.read(&context, Level::Ryw, async |reader| {
        let row = reader.query_opt(SQL, &[&product_id]).await?;
        Product::read(&row.ok_or(Refusal::NotFound)?)
    });
    found.await.map(Json)
}

/// What a product has cost, the latest price first.
#[utoipa::path(get, path = "/api/v1/products/{product_id}/prices", params(("product_id" = Uuid, Path)), security(()),
    responses((status = 200, body = Vec<Price>)))]
pub(crate) async fn prices(
    State(catalogue): State<Catalogue>,
    context: Context,
    Path(product_id): Path<Uuid>,
) -> Result<Json<Vec<Price>>, Refusal> {
    const SQL: &str = "SELECT amount_cents, currency, since FROM product_price WHERE product_id = $1 ORDER BY version DESC LIMIT 100";
    let found = catalogue.database.read(&context, Level::Ryw, async |reader| {
        let rows = reader.query(SQL, &[&product_id]).await?;
        if rows.is_empty() {
            return Err(Refusal::NotFound);
        }
        let price = |row: &Row| {
            Ok(Price {
                price: money(row)?,
                since: row.get("since"),
            })
        };
        rows.iter().map(price).collect::<Result<_, Refusal>>()
    });
    found.await.map(Json)
}

/// All categories.
#[utoipa::path(get, path = "/api/v1/categories", security(()), responses((status = 200, body = Vec<Category>)))]
pub(crate) async fn categories(
    State(catalogue): State<Catalogue>,
    context: Context,
) -> Result<Json<Vec<Category>>, Refusal> {
    let found = catalogue.database.read(&context, Level::Ryw, async |reader| {
        let rows = reader
            .query("SELECT slug, name FROM product_category ORDER BY name", &[])
            .await?;
        let category = |row: &Row| Category {
            slug: row.get("slug"),
            name: row.get("name"),
        };
        Ok::<_, Refusal>(rows.iter().map(category).collect())
    });
    found.await.map(Json)
}

/// Which page.
#[derive(Clone, Debug, Deserialize, IntoParams)]
pub(crate) struct Paging {
    /// `next` of the page before.
    after: Option<Uuid>,
    /// The most products of the page.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u16>,
}

/// How many rows a page has.
pub(crate) fn page_size(limit: Option<u16>) -> Result<u16, Refusal> {
    let limit = limit.unwrap_or(PAGE);
    if (1..=MAX_PAGE).contains(&limit) {
        Ok(limit)
    } else {
        Err(Refusal::Invalid(format!("limit is from 1 to {MAX_PAGE}")))
    }
}

/// The products of a category that can be bought, by name.
#[utoipa::path(get, path = "/api/v1/categories/{slug}/products", params(("slug" = String, Path), Paging), security(()),
    responses((status = 200, body = Page)))]
pub(crate) async fn of_category(
    State(catalogue): State<Catalogue>,
    context: Context,
    Path(slug): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page>, Refusal> {
    const SQL: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM product_item WHERE category = $1 AND on_sale AND ($2::uuid IS NULL OR (name, product_id) > \
         (SELECT name, product_id FROM product_item WHERE product_id = $2)) ORDER BY name, product_id LIMIT $3"
    );
    let limit = page_size(paging.limit)?;
    let found = catalogue.database.read(&context, Level::Ryw, async |reader| {
        let known = "SELECT 1 FROM product_category WHERE slug = $1";
        let rows = reader
            .query(SQL, &[&slug, &paging.after, &i64::from(limit)])
            .await?;
        if rows.is_empty() && reader.query_opt(known, &[&slug]).await?.is_none() {
            return Err(Refusal::NotFound);
        }
        let products: Vec<Product> = rows.iter().map(Product::read).collect::<Result<_, _>>()?;
        let next = products.last().filter(|_| products.len() == usize::from(limit));
        let next = next.map(|last| last.product_id);
        Ok(Page { products, next })
    });
    found.await.map(Json)
}
