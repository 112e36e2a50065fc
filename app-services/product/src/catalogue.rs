//! Products by id and by category.
#![allow(unused_qualifications, reason = "made by utoipa's macro")]

use crate::Refusal;
use ringway_sdk::column::Columns;
use ringway_sdk::web::{Json, Path, Query, Reads};
use ringway_sdk::{Invalid, Parameter, Result, Row, check_bounds, from_row};
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

/// A product by its id.
pub(crate) const BY_ID: &str = concat!("SELECT ", columns!(), " FROM product_item WHERE product_id = $1");

/// Whether there is a category.
pub(crate) const CATEGORY: &str = "SELECT 1 FROM product_category WHERE slug = $1";

/// An amount as two columns hold it.
fn money(row: &Row) -> Result<Money> {
    Ok(Money::new(row.get("amount_cents"), row.word("currency")?))
}

impl Product {
    pub(crate) fn read(row: &Row) -> Result<Self> {
        let weight: i32 = row.get("weight_grams");
        Ok(from_row!(row => Self {
            product_id, category, sku, name, brand, description, on_sale, version;
            price: money(row)?, weight_grams: weight.unsigned_abs()
        }))
    }
}

/// A product.
#[utoipa::path(get, path = "/api/v1/products/{product_id}", params(("product_id" = Uuid, Path)), security(()),
    responses((status = 200, body = Product)))]
pub(crate) async fn product(reads: Reads, Path(product_id): Path<Uuid>) -> Result<Json<Product>, Refusal> {
    let row = reads.row(BY_ID, &[&product_id]).await?;
    Ok(Json(Product::read(&row.ok_or(Refusal::NotFound)?)?))
}

/// What a product has cost, the latest price first.
#[utoipa::path(get, path = "/api/v1/products/{product_id}/prices", params(("product_id" = Uuid, Path)), security(()),
    responses((status = 200, body = Vec<Price>)))]
pub(crate) async fn prices(reads: Reads, Path(product_id): Path<Uuid>) -> Result<Json<Vec<Price>>, Refusal> {
    const SQL: &str = "SELECT amount_cents, currency, since FROM product_price WHERE product_id = $1 ORDER BY version DESC LIMIT 100";
    let rows = reads.rows(SQL, &[&product_id]).await?;
    if rows.is_empty() {
        return Err(Refusal::NotFound);
    }
    let price = |row: &Row| Ok(from_row!(row => Price { since; price: money(row)? }));
    rows.iter().map(price).collect::<Result<_, _>>().map(Json)
}

/// All categories.
#[utoipa::path(get, path = "/api/v1/categories", security(()), responses((status = 200, body = Vec<Category>)))]
pub(crate) async fn categories(reads: Reads) -> Result<Json<Vec<Category>>, Refusal> {
    const SQL: &str = "SELECT slug, name FROM product_category ORDER BY name";
    let rows = reads.rows(SQL, &[]).await?;
    let category = |row: &Row| from_row!(row => Category { slug, name });
    Ok(Json(rows.iter().map(category).collect()))
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
pub(crate) fn page_size(limit: Option<u16>) -> Result<u16, Invalid> {
    check_bounds("limit", limit.unwrap_or(PAGE), 1..=MAX_PAGE)
}

/// The products of a category that can be bought, by name.
#[utoipa::path(get, path = "/api/v1/categories/{slug}/products", params(("slug" = String, Path), Paging), security(()),
    responses((status = 200, body = Page)))]
pub(crate) async fn of_category(
    reads: Reads,
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
    let page: &[Parameter<'_>] = &[&slug, &paging.after, &i64::from(limit)];
    let rows = reads.rows(SQL, page).await?;
    if rows.is_empty() && reads.row(CATEGORY, &[&slug]).await?.is_none() {
        return Err(Refusal::NotFound);
    }
    let products: Vec<Product> = rows.iter().map(Product::read).collect::<Result<_, _>>()?;
    let next = products.last().filter(|_| products.len() == usize::from(limit));
    let next = next.map(|last| last.product_id);
    Ok(Json(Page { products, next }))
}
