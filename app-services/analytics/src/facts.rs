//! What an event says, as documents: pure.

use ringway_sdk::event_store::Unreadable;
use ringway_sdk::events::Event;
use ringway_sdk::projection::bson::{Bson, Document, doc};
use ringway_sdk::projection::{Change, Collection, Projection};
use serde_json::Value;
use shop_contracts::events::{AnalyticsEvent, Message, OrderEvent, OrderPlaced};
use time::OffsetDateTime;

/// The documents of the analytics.
pub const ANALYTICS: Projection = Projection {
    name: "analytics",
    collections: &[
        // Every event there is.
        Collection {
            name: "event",
            indexes: &[&["date", "category", "region"]],
        },
        // Every order.
        Collection {
            name: "order",
            indexes: &[&["placed_date", "region"], &["paid_date", "region"]],
        },
        // Every visitor on every day.
        Collection {
            name: "visit",
            indexes: &[&["date", "region"]],
        },
        // Every cart, as it was left.
        Collection {
            name: "cart",
            indexes: &[&["date", "region"]],
        },
    ],
    project,
};

/// The day of an instant (`2026-11-22`) and its minute (`2026-11-22T10:15Z`), both in UTC.
pub(crate) fn day_and_minute(ms: i64) -> Result<(String, String), Unreadable> {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)
        .map_err(|_| Unreadable(format!("{ms} is no time")))?;
    let date = at.date().to_string();
    let minute = format!("{date}T{:02}:{:02}Z", at.hour(), at.minute());
    Ok((date, minute))
}

fn project(event: &Event) -> Result<Vec<Change>, Unreadable> {
    let mut changes = vec![any(event)?];
    let unreadable = |error: shop_contracts::events::Unreadable| Unreadable(error.to_string());
    if event.topic == OrderEvent::TOPIC {
        changes.push(order(event, &OrderEvent::of(event).map_err(unreadable)?)?);
    } else if event.topic == AnalyticsEvent::TOPIC {
        changes.extend(visitor(event, &AnalyticsEvent::of(event).map_err(unreadable)?)?);
    }
    Ok(changes)
}

/// The event itself, whatever it is.
fn any(event: &Event) -> Result<Change, Unreadable> {
    let (date, minute) = day_and_minute(event.time_ms)?;
    let payload: Value = serde_json::from_slice(&event.payload).unwrap_or_default();
    let word = |field: &str| {
        payload
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    Ok(Change::of("event", event.id.to_string())
        .set("date", date)
        .set("minute", minute)
        .set("topic", event.topic.as_str())
        .set("kind", event.kind.as_str())
        .set("category", word("category"))
        .set("region", word("region")))
}

fn order(event: &Event, happened: &OrderEvent) -> Result<Change, Unreadable> {
    let (date, minute) = day_and_minute(event.time_ms)?;
    let change = Change::of("order", happened.aggregate());
    Ok(match happened {
        OrderEvent::Placed(placed) => change
            .set("user_id", placed.user_id.to_string())
            .set("region", placed.region.as_str())
            .set("placed_date", date)
            .set("placed_minute", minute)
            .set("placed_ms", event.time_ms)
            .set("cents", placed.total.amount_cents)
            .set("currency", placed.total.currency.to_string())
            .set("lines", lines(placed))
            .set("paid", false),
        OrderEvent::Confirmed(_) => change
            .set("paid", true)
            .set("paid_date", date)
            .set("paid_minute", minute),
        // What was paid is given back.
        OrderEvent::Cancelled(_) => change.set("paid", false).set("cancelled", true),
        OrderEvent::Shipped(_) => change.set("shipped", true),
        OrderEvent::Delivered(_) => change.set("delivered", true),
    })
}

fn lines(placed: &OrderPlaced) -> Vec<Bson> {
    let line = |line: &shop_contracts::events::OrderLine| {
        let cents = line.unit_price.amount_cents.saturating_mul(line.quantity.into());
        let line: Document = doc! {
            "product_id": line.product_id.to_string(),
            "name": &line.name,
            "category": &line.category,
            "quantity": i64::from(line.quantity),
            "cents": cents,
        };
        Bson::Document(line)
    };
    placed.lines.iter().map(line).collect()
}

/// What a visitor has done on this day, and the cart.
fn visitor(event: &Event, done: &AnalyticsEvent) -> Result<Vec<Change>, Unreadable> {
    let (date, _) = day_and_minute(event.time_ms)?;
    let visitor = done.aggregate();
    let visit = |region: &str, what: &str| {
        Change::of("visit", format!("{visitor}/{date}"))
            .set("date", date.as_str())
            .set("region", region)
            .inc(what, 1)
    };
    Ok(match done {
        AnalyticsEvent::ProductViewed(viewed) => vec![visit(&viewed.region, "viewed")],
        AnalyticsEvent::ProductSearched(searched) => vec![visit(&searched.region, "searched")],
        AnalyticsEvent::CartChanged(changed) => {
            let cents = changed
                .unit_price
                .amount_cents
                .saturating_mul(changed.quantity.into());
            let cart = Change::of("cart", visitor.as_str())
                .set("date", date.as_str())
                .set("region", changed.region.as_str())
                .set("changed_ms", event.time_ms)
                .set(&format!("cents.{}", changed.product_id), cents);
            vec![visit(&changed.region, "carted"), cart]
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_counted_in_its_minute() {
        let midnight = 1_795_305_600_000;
        for (ms, day, minute) in [
            (midnight, "2026-11-22", "2026-11-22T00:00Z"),
            (midnight - 1, "2026-11-21", "2026-11-21T23:59Z"),
            (midnight + 59_999, "2026-11-22", "2026-11-22T00:00Z"),
            (midnight + 60_000, "2026-11-22", "2026-11-22T00:01Z"),
        ] {
            assert_eq!(day_and_minute(ms).unwrap(), (day.to_owned(), minute.to_owned()));
        }
        assert!(day_and_minute(i64::MAX).is_err());
    }
}
