//! Looking at orders: one by its row, many by the read model where it has all that the shard has.
#![allow(unused_qualifications, reason = "made by utoipa's macro")]

use crate::order::{OrderView, State as Stands};
use crate::record::kept;
use crate::{Orders, Refusal, Routes};
use ringway_sdk::event_store::Unreadable;
use ringway_sdk::events::Event;
use ringway_sdk::projection::bson::{Bson, DateTime, Document, doc};
use ringway_sdk::projection::{Change, Collection, Projection, ReadModel};
use ringway_sdk::web::{Caller, Json, Path, Query, Reads, State, routes};
use ringway_sdk::{Context, Level, Parameter, check_bounds};
use serde::{Deserialize, Serialize};
use shop_contracts::events::{Message, OrderEvent};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// The most orders in one answer.
const MAX_PAGE: u16 = 100;

/// The usual number.
const PAGE: u16 = 20;

const ONE: &str = "SELECT view, placed_at FROM order_summary WHERE user_id = $1 AND order_id = $2";
const CHANGES: &str = "SELECT changes FROM order_customer WHERE user_id = $1";
const MANY: &str = "SELECT view, placed_at FROM order_summary WHERE user_id = $1 AND order_id < $2 \
     ORDER BY order_id DESC LIMIT $3";

/// The orders of users, a document each, by user and time of creation (which an order's id begins with).
pub const HISTORY: Projection = Projection {
    name: "order_history",
    collections: &[Collection {
        name: "order",
        indexes: &[&["user_id", "-created_at"], &["user_id", "-_id"]],
    }],
    project,
};

fn project(event: &Event) -> Result<Vec<Change>, Unreadable> {
    let happened = OrderEvent::of(event).map_err(|error| Unreadable(error.to_string()))?;
    let change = Change::of("order", happened.aggregate());
    Ok(vec![match happened {
        OrderEvent::Placed(placed) => change
            .set("user_id", placed.user_id.to_string())
            .set("created_at", DateTime::from_millis(event.time_ms))
            .set("region", placed.region)
            .set("state", word(Stands::Placed))
            .set("lines", text(&placed.lines)?)
            .set("total", text(&placed.total)?)
            .set("shipping_price", text(&placed.shipping_price)?),
        OrderEvent::Confirmed(confirmed) => change
            .set("state", word(Stands::Confirmed))
            .set("label", confirmed.label),
        OrderEvent::Cancelled(cancelled) => change
            .set("state", word(Stands::Cancelled))
            .set("reason", cancelled.reason),
        OrderEvent::Shipped(shipped) => change
            .set("state", word(Stands::Shipped))
            .set("label", shipped.label),
        OrderEvent::Delivered(_) => change.set("state", word(Stands::Delivered)),
    }])
}

/// A state's own word.
fn word(state: Stands) -> String {
    match crate::record::json(&state) {
        serde_json::Value::String(word) => word,
        other => other.to_string(),
    }
}

/// A value as JSON in text, which comes back as it was.
fn text(value: &impl Serialize) -> Result<String, Unreadable> {
    serde_json::to_string(value).map_err(|error| Unreadable(error.to_string()))
}

/// Where an answer came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum Source {
    /// The documents.
    ReadModel,
    /// The user's shard: there are no documents, or they are behind.
    Shards,
}

/// An order in a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
struct Listed {
    #[serde(flatten)]
    order: OrderView,
    /// When it was placed.
    #[serde(with = "time::serde::rfc3339")]
    placed_at: OffsetDateTime,
}

/// Orders, the latest first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
struct History {
    orders: Vec<Listed>,
    /// What to give as `before` for the next ones; none if these are the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Uuid>,
    source: Source,
}

/// Which orders.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Paging {
    /// Those before this one.
    before: Option<Uuid>,
    /// How many at the most, up to 100; usually 20.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u16>,
}

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list)).routes(routes!(show))
}

/// One of the caller's orders.
#[utoipa::path(get, path = "/api/v1/orders/{order_id}", params(("order_id" = Uuid, Path)),
    responses((status = 200, body = Listed)))]
async fn show(reads: Reads, caller: Caller, Path(order_id): Path<Uuid>) -> Result<Json<Listed>, Refusal> {
    let row = reads.row(ONE, &[&caller.user_id, &order_id]).await?;
    let row = row.ok_or(Refusal::UnknownOrder)?;
    Ok(Json(Listed {
        order: kept(row.get(0))?,
        placed_at: row.get(1),
    }))
}

/// The caller's orders.
#[utoipa::path(get, path = "/api/v1/orders", params(Paging), responses((status = 200, body = History)))]
async fn list(
    State(orders): State<Orders>,
    context: Context,
    caller: Caller,
    Query(page): Query<Paging>,
) -> Result<Json<History>, Refusal> {
    let limit = check_bounds("limit", page.limit.unwrap_or(PAGE), 1..=MAX_PAGE)?;
    let before = page.before.unwrap_or(Uuid::max());
    let documents = orders
        .ask_documents(&context, caller.user_id, before, limit)
        .await?;
    let (listed, source) = match documents {
        Some(listed) => (listed, Source::ReadModel),
        None => {
            let listed = orders.ask_shards(&context, caller.user_id, before, limit).await?;
            (listed, Source::Shards)
        }
    };
    let next = listed.last().filter(|_| listed.len() == usize::from(limit));
    Ok(Json(History {
        next: next.map(|last| last.order.order_id),
        orders: listed,
        source,
    }))
}

impl Orders {
    async fn ask_shards(
        &self,
        context: &Context,
        user_id: Uuid,
        before: Uuid,
        limit: u16,
    ) -> Result<Vec<Listed>, Refusal> {
        let limit = i64::from(limit);
        let which: &[Parameter<'_>] = &[&user_id, &before, &limit];
        let rows = self.database.rows(context, Level::Ryw, MANY, which).await?;
        let listed = rows.iter().map(|row| {
            Ok(Listed {
                order: kept(row.get(0))?,
                placed_at: row.get(1),
            })
        });
        listed.collect()
    }

    /// What the documents say; nothing if they don't have all that the caller's shard has (as the caller must see it), or don't answer.
    ///
    /// Each event changes the document of its order and leaves its version there, so a user's versions add up to the number of events.
    async fn ask_documents(
        &self,
        context: &Context,
        user_id: Uuid,
        before: Uuid,
        limit: u16,
    ) -> Result<Option<Vec<Listed>>, Refusal> {
        let Some(history) = &self.history else {
            return Ok(None);
        };
        let which: &[Parameter<'_>] = &[&user_id];
        let row = self.database.row(context, Level::Ryw, CHANGES, which).await?;
        let changes = row.map_or(0, |row| row.get::<_, i64>(0));
        match documents(history, user_id, before, limit).await {
            Ok((known, listed)) if known >= changes => Ok(Some(listed)),
            Ok((known, _)) => {
                tracing::debug!(known, changes, "the order history is behind");
                Ok(None)
            }
            Err(error) => {
                tracing::warn!(%error, "the order history does not answer; the shards do");
                Ok(None)
            }
        }
    }
}

/// How many events of a user's the documents have, and the orders asked for.
async fn documents(
    history: &ReadModel,
    user_id: Uuid,
    before: Uuid,
    limit: u16,
) -> ringway_sdk::Result<(i64, Vec<Listed>)> {
    let user = user_id.to_string();
    let sum = vec![
        doc! { "$match": { "user_id": &user } },
        doc! { "$group": { "_id": Bson::Null, "known": { "$sum": "$_version" } } },
    ];
    let known = history.aggregate("order", sum, 1).await?;
    let known = known.first().and_then(|sum| whole(sum.get("known")));
    let filter = doc! { "user_id": &user, "_id": { "$lt": before.to_string() } };
    let found = history.find("order", filter, doc! { "_id": -1 }, limit).await?;
    let listed = found.iter().map(|document| {
        listed(document).ok_or_else(|| Unreadable(format!("the document of an order of {user}")).into())
    });
    Ok((known.unwrap_or(0), listed.collect::<ringway_sdk::Result<_>>()?))
}

fn whole(number: Option<&Bson>) -> Option<i64> {
    match number? {
        Bson::Int32(number) => Some(i64::from(*number)),
        Bson::Int64(number) => Some(*number),
        _ => None,
    }
}

fn listed(document: &Document) -> Option<Listed> {
    let text = |field: &str| document.get_str(field).ok();
    let created_ms = document.get_datetime("created_at").ok()?.timestamp_millis();
    Some(Listed {
        order: OrderView {
            order_id: text("_id")?.parse().ok()?,
            state: serde_json::from_value(text("state")?.into()).ok()?,
            lines: serde_json::from_str(text("lines")?).ok()?,
            total: serde_json::from_str(text("total")?).ok()?,
            shipping_price: serde_json::from_str(text("shipping_price")?).ok()?,
            label: text("label").map(str::to_owned),
            reason: text("reason").map(str::to_owned),
        },
        placed_at: OffsetDateTime::from_unix_timestamp_nanos(i128::from(created_ms) * 1_000_000).ok()?,
    })
}
