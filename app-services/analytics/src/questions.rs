//! What staff asks.
#![allow(unused_qualifications, reason = "made by utoipa's macro")]

use crate::facts::day_and_minute;
use axum::Json;
use axum::extract::{Query, State};
use ringway_sdk::projection::ReadModel;
use ringway_sdk::projection::bson::{Bson, Document, doc};
use ringway_sdk::web::Staff;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The minutes of a day, in a few currencies.
const MINUTES: u16 = 5_760;

/// The most carts and orders that are looked at for one answer about carts.
const CARTS: u16 = 20_000;

/// The most orders whose lines are looked at for one answer.
const ORDERS: u16 = 50_000;

/// The most products in an answer.
const MAX_TOP: u16 = 100;

/// A cart that wasn't changed for so long, and not bought, is abandoned.
const ABANDONED_MS: i64 = 30 * 60 * 1_000;

ringway_sdk::refusals! {
    /// What analytics refuse.
    pub(crate) enum Refusal {
        /// There is no MongoDB.
        Off = SERVICE_UNAVAILABLE "analytics-off" "the shop runs without read models",
        /// More orders than are looked at for one answer.
        TooMany = UNPROCESSABLE_ENTITY "too-many-orders" "there are too many orders: ask for one region or category",
    }
}

/// Which part of the shop.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Part {
    /// A day in UTC, as `2026-11-22`.
    date: String,
    /// One region; all of them if absent.
    region: Option<String>,
    /// One category; all of them if absent. Conversion and carts have none.
    category: Option<String>,
    /// How many products; usually 10.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u16>,
}

impl Part {
    /// The documents of this part, by the field that holds the day.
    fn filter(&self, day: &str) -> Result<Document, Refusal> {
        let digits = |at: std::ops::Range<usize>| {
            let part = self.date.get(at).unwrap_or_default();
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit())
        };
        if self.date.len() != 10 || !digits(0..4) || !digits(5..7) || !digits(8..10) {
            return Err(Refusal::Invalid("date: as 2026-11-22".to_owned()));
        }
        let mut filter = doc! { day: &self.date };
        if let Some(region) = &self.region {
            filter.insert("region", region);
        }
        Ok(filter)
    }
}

/// A minute.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, ToSchema)]
struct Minute {
    /// As `2026-11-22T10:15Z`.
    minute: String,
    /// Orders that were placed in it (of a category: order lines).
    placed: i64,
    /// Those that were confirmed in it and not cancelled since.
    paid: i64,
    /// What was paid for these, with shipping (of a category: without), by currency.
    revenue_cents: BTreeMap<String, i64>,
}

/// How far visitors go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, ToSchema)]
struct Conversion {
    /// Who was there.
    visitors: i64,
    /// Who put something into the cart.
    carted: i64,
    /// Who ordered.
    ordered: i64,
}

/// Carts that were left.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, ToSchema)]
struct Abandoned {
    /// Carts that were changed last on this day and have something in them.
    carts: i64,
    /// Those of them that were not bought within 30 minutes.
    abandoned: i64,
    /// What is in these, in cents of whatever currency.
    cents: i64,
}

/// A product.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
struct Top {
    /// Which.
    product_id: String,
    /// Pieces that were paid for.
    quantity: i64,
    /// What was paid for them, in cents.
    cents: i64,
}

pub(crate) fn routes(model: Option<ReadModel>) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(revenue))
        .routes(routes!(conversion))
        .routes(routes!(abandoned))
        .routes(routes!(top))
        .with_state(Answers(model))
}

#[derive(Clone, Debug)]
struct Answers(Option<ReadModel>);

impl Answers {
    fn model(&self) -> Result<&ReadModel, Refusal> {
        self.0.as_ref().ok_or(Refusal::Off)
    }
}

/// Orders and revenue per minute of a day.
#[utoipa::path(get, path = "/api/v1/analytics/revenue", params(Part), responses((status = 200, body = Vec<Minute>)))]
async fn revenue(
    State(answers): State<Answers>,
    _: Staff,
    Query(part): Query<Part>,
) -> Result<Json<Vec<Minute>>, Refusal> {
    let model = answers.model()?;
    let mut minutes: BTreeMap<String, Minute> = BTreeMap::new();
    let placed = part.filter("placed_date")?;
    for group in by_minute(model, &part, placed, "placed_minute").await? {
        minutes.entry(group.minute).or_default().placed += group.count;
    }
    let mut paid = part.filter("paid_date")?;
    paid.insert("paid", true);
    for group in by_minute(model, &part, paid, "paid_minute").await? {
        let minute = minutes.entry(group.minute).or_default();
        minute.paid += group.count;
        *minute.revenue_cents.entry(group.currency).or_default() += group.cents;
    }
    let named = minutes.into_iter().map(|(name, minute)| Minute {
        minute: name,
        ..minute
    });
    Ok(Json(named.collect()))
}

struct Group {
    minute: String,
    currency: String,
    count: i64,
    cents: i64,
}

/// Orders, or their lines of a category, by minute and currency.
async fn by_minute(
    model: &ReadModel,
    part: &Part,
    filter: Document,
    minute: &str,
) -> Result<Vec<Group>, Refusal> {
    if part.category.is_some() {
        return Ok(lines_by_minute(&lines(model, part, filter, minute).await?));
    }
    let pipeline = vec![doc! { "$match": filter }];
    let mut groups = Vec::new();
    for currency in currencies(model, &pipeline).await? {
        let mut of_currency = pipeline.clone();
        of_currency.push(doc! { "$match": { "currency": &currency } });
        let counts = sums(model, &of_currency, &format!("${minute}"), 1.into(), MINUTES).await?;
        let mut cents: BTreeMap<String, i64> = sums(
            model,
            &of_currency,
            &format!("${minute}"),
            "$cents".into(),
            MINUTES,
        )
        .await?
        .into_iter()
        .collect();
        groups.extend(counts.into_iter().map(|(minute, count)| Group {
            cents: cents.remove(&minute).unwrap_or(0),
            currency: currency.clone(),
            minute,
            count,
        }));
    }
    Ok(groups)
}

/// A line of an order, in some minute.
struct Line {
    minute: String,
    currency: String,
    product_id: String,
    quantity: i64,
    cents: i64,
}

/// The lines, of a category if one is asked for, of the orders that a filter finds.
///
/// Taken apart here: FerretDB 1.24's `$unwind` drops all other fields.
async fn lines(
    model: &ReadModel,
    part: &Part,
    mut filter: Document,
    minute: &str,
) -> Result<Vec<Line>, Refusal> {
    if let Some(category) = &part.category {
        filter.insert("lines.category", category);
    }
    let orders = model.find("order", filter, doc! { "_id": 1 }, ORDERS).await?;
    if orders.len() >= usize::from(ORDERS) {
        return Err(Refusal::TooMany);
    }
    let mut lines = Vec::new();
    for order in &orders {
        let of_order = order.get_array("lines").into_iter().flatten();
        for line in of_order.filter_map(Bson::as_document) {
            let word = |from: &Document, field: &str| from.get_str(field).unwrap_or_default().to_owned();
            let wanted = part.category.as_ref();
            if wanted.is_some_and(|wanted| line.get_str("category").ok() != Some(wanted.as_str())) {
                continue;
            }
            lines.push(Line {
                minute: word(order, minute),
                currency: word(order, "currency"),
                product_id: word(line, "product_id"),
                quantity: whole(line, "quantity"),
                cents: whole(line, "cents"),
            });
        }
    }
    Ok(lines)
}

fn lines_by_minute(lines: &[Line]) -> Vec<Group> {
    let mut sums: BTreeMap<(&str, &str), (i64, i64)> = BTreeMap::new();
    for line in lines {
        let (count, cents) = sums.entry((&line.minute, &line.currency)).or_default();
        *count += 1;
        *cents += line.cents;
    }
    let group = |((minute, currency), (count, cents)): ((&str, &str), (i64, i64))| Group {
        minute: minute.to_owned(),
        currency: currency.to_owned(),
        count,
        cents,
    };
    sums.into_iter().map(group).collect()
}

/// The sums of something by the values of a field, the largest first.
///
/// One at a time: FerretDB 1.24 fills only the first accumulator of a `$group`.
async fn sums(
    model: &ReadModel,
    pipeline: &[Document],
    by: &str,
    what: Bson,
    limit: u16,
) -> Result<Vec<(String, i64)>, Refusal> {
    let mut pipeline = pipeline.to_vec();
    pipeline.push(doc! { "$group": { "_id": by, "sum": { "$sum": what } } });
    pipeline.push(doc! { "$sort": { "sum": -1, "_id": 1 } });
    let found = model.aggregate("order", pipeline, limit).await?;
    let sum = |group: &Document| Some((group.get_str("_id").ok()?.to_owned(), whole(group, "sum")));
    Ok(found.iter().filter_map(sum).collect())
}

async fn currencies(model: &ReadModel, pipeline: &[Document]) -> Result<Vec<String>, Refusal> {
    let mut pipeline = pipeline.to_vec();
    pipeline.push(doc! { "$group": { "_id": "$currency" } });
    let found = model.aggregate("order", pipeline, MINUTES).await?;
    let names = found.iter().filter_map(|one| one.get_str("_id").ok());
    Ok(names.map(str::to_owned).collect())
}

/// How many of a day's visitors put something into the cart, and ordered.
#[utoipa::path(get, path = "/api/v1/analytics/conversion", params(Part), responses((status = 200, body = Conversion)))]
async fn conversion(
    State(answers): State<Answers>,
    _: Staff,
    Query(part): Query<Part>,
) -> Result<Json<Conversion>, Refusal> {
    let model = answers.model()?;
    let visits = part.filter("date")?;
    let mut carted = visits.clone();
    carted.insert("carted", doc! { "$gt": 0 });
    let count = || doc! { "$group": { "_id": Bson::Null, "count": { "$sum": 1 } } };
    let by_user = doc! { "$group": { "_id": "$user_id" } };
    let ordered = doc! { "$match": part.filter("placed_date")? };
    let ask = async |collection, pipeline| {
        let found = model.aggregate(collection, pipeline, 1).await?;
        Ok::<i64, Refusal>(found.first().map_or(0, |group| whole(group, "count")))
    };
    Ok(Json(Conversion {
        visitors: ask("visit", vec![doc! { "$match": visits }, count()]).await?,
        carted: ask("visit", vec![doc! { "$match": carted }, count()]).await?,
        ordered: ask("order", vec![ordered, by_user, count()]).await?,
    }))
}

/// Carts that were changed last on a day and not bought.
#[utoipa::path(get, path = "/api/v1/analytics/abandoned-carts", params(Part), responses((status = 200, body = Abandoned)))]
async fn abandoned(
    State(answers): State<Answers>,
    _: Staff,
    Query(part): Query<Part>,
) -> Result<Json<Abandoned>, Refusal> {
    let model = answers.model()?;
    let filter = part.filter("date")?;
    let carts = model.find("cart", filter, doc! { "_id": 1 }, CARTS).await?;
    let Some(from) = carts
        .iter()
        .filter_map(|cart| cart.get_i64("changed_ms").ok())
        .min()
    else {
        return Ok(Json(Abandoned::default()));
    };
    let (day, _) = day_and_minute(from).map_err(|error| Refusal::Invalid(error.0))?;
    let later = doc! { "placed_date": { "$gte": day } };
    let orders = model
        .find("order", later, doc! { "placed_ms": -1 }, CARTS)
        .await?;
    if carts.len().max(orders.len()) >= usize::from(CARTS) {
        return Err(Refusal::TooMany);
    }
    let mut bought: HashMap<&str, i64> = HashMap::new();
    for order in &orders {
        let (Ok(user), Ok(at)) = (order.get_str("user_id"), order.get_i64("placed_ms")) else {
            continue;
        };
        let last = bought.entry(user).or_insert(at);
        *last = (*last).max(at);
    }
    let now = i64::try_from(time::OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000);
    let now = now.unwrap_or(i64::MAX);
    let mut answer = Abandoned::default();
    for cart in &carts {
        let held = cart.get_document("cents").into_iter().flat_map(Document::values);
        let cents: i64 = held.filter_map(Bson::as_i64).sum();
        let changed = cart.get_i64("changed_ms").unwrap_or_default();
        if cents == 0 {
            continue;
        }
        answer.carts += 1;
        let buyer = cart.get_str("_id").unwrap_or_default();
        let is_bought = bought.get(buyer).is_some_and(|at| *at >= changed);
        if !is_bought && now.saturating_sub(changed) > ABANDONED_MS {
            answer.abandoned += 1;
            answer.cents = answer.cents.saturating_add(cents);
        }
    }
    Ok(Json(answer))
}

/// The products of which most was paid for on a day.
#[utoipa::path(get, path = "/api/v1/analytics/top-products", params(Part), responses((status = 200, body = Vec<Top>)))]
async fn top(
    State(answers): State<Answers>,
    _: Staff,
    Query(part): Query<Part>,
) -> Result<Json<Vec<Top>>, Refusal> {
    let limit = part.limit.unwrap_or(10);
    if !(1..=MAX_TOP).contains(&limit) {
        return Err(Refusal::Invalid(format!("limit: 1 to {MAX_TOP}")));
    }
    let mut paid = part.filter("paid_date")?;
    paid.insert("paid", true);
    let lines = lines(answers.model()?, &part, paid, "paid_minute").await?;
    let mut products: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for line in &lines {
        let (quantity, cents) = products.entry(&line.product_id).or_default();
        *quantity += line.quantity;
        *cents += line.cents;
    }
    let mut top: Vec<Top> = products
        .into_iter()
        .map(|(product_id, (quantity, cents))| Top {
            product_id: product_id.to_owned(),
            quantity,
            cents,
        })
        .collect();
    // Of as many pieces, in the order of their ids.
    top.sort_by_key(|product| std::cmp::Reverse(product.quantity));
    top.truncate(limit.into());
    Ok(Json(top))
}

/// A whole number, however it is kept.
fn whole(document: &Document, field: &str) -> i64 {
    match document.get(field) {
        Some(Bson::Int32(number)) => i64::from(*number),
        Some(Bson::Int64(number)) => *number,
        _ => 0,
    }
}
