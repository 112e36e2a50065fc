//! Whether what is left agrees: with itself, with what customers were told, and with what the payment provider did.

mod documents;
mod money;

use crate::Stage;
use crate::events::{POISON, events, messages, topics};
use crate::load::Told;
use crate::stage::CATALOGUE;
use anyhow::{Context as _, Result};
use cluster::StopMode;
use rdkafka::message::Message as _;
use ringway_sdk::events::Event;
use serde_json::Value;
use shop_contracts::events::{
    Message as _, NotificationRequested, OrderCancelled, OrderConfirmed, OrderDelivered, OrderEvent,
    OrderShipped, PaymentEvent, PaymentRefunded, ShipmentMoved, ShippingEvent, TOPICS,
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Debug;
use std::time::{Duration, Instant};
use tokio::time::sleep;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

/// Between two looks at what is still under way.
const LOOK: Duration = Duration::from_secs(1);

/// Examples of each kind of finding.
const EXAMPLES: usize = 3;

/// Orders, sagas, errands and reservations that have not come to an end.
const UNDER_WAY: [(&str, &str); 5] = [
    (
        "orders that are neither confirmed nor cancelled",
        "SELECT count(*) FROM order_summary WHERE view->>'state' = 'placed'",
    ),
    (
        "sagas under way",
        "SELECT count(*) FROM order_saga WHERE due IS NOT NULL",
    ),
    (
        "errands to the payment provider",
        "SELECT count(*) FROM payment_errand WHERE due IS NOT NULL",
    ),
    (
        "errands to the carrier",
        "SELECT count(*) FROM shipping_errand WHERE due IS NOT NULL",
    ),
    (
        "reservations without an end",
        "SELECT count(*) FROM inventory_hold WHERE state = 'reserved'",
    ),
];

/// What is in the topics of priorities.
const REQUESTED: [&str; 1] = [NotificationRequested::KIND];

/// What customers are told of orders.
const OF_ORDERS: [&str; 4] = [
    OrderConfirmed::KIND,
    OrderCancelled::KIND,
    OrderShipped::KIND,
    OrderDelivered::KIND,
];

type Consumer = (&'static str, &'static str, &'static [&'static str]);

/// Who acts on which topic: the service whose inbox has the event, which is the consumer's name too, the topic, and the kinds.
const CONSUMERS: [Consumer; 8] = [
    ("notification", "notification-low", &REQUESTED),
    ("notification", "notification-normal", &REQUESTED),
    ("notification", "notification-high", &REQUESTED),
    ("notification", "notification-critical", &REQUESTED),
    ("notification", OrderEvent::TOPIC, &OF_ORDERS),
    ("notification", PaymentEvent::TOPIC, &[PaymentRefunded::KIND]),
    ("recommendation", OrderEvent::TOPIC, &[OrderConfirmed::KIND]),
    ("order", ShippingEvent::TOPIC, &[ShipmentMoved::KIND]),
];

/// What was found, and how much was looked at.
#[derive(Debug, Default)]
pub struct Report {
    /// What is not as it should be. None of it: all is well.
    pub findings: Vec<String>,
    /// How much there is of what.
    pub counted: BTreeMap<&'static str, u64>,
    /// When each order was confirmed, in milliseconds since 1970.
    pub confirmed_at: HashMap<Uuid, i64>,
}

impl Report {
    /// Notes what is wrong with each of these, with some examples.
    pub(crate) fn wrong<T: Debug>(&mut self, what: &str, which: impl IntoIterator<Item = T>) {
        let which: Vec<T> = which.into_iter().collect();
        if !which.is_empty() {
            let examples: Vec<String> = which
                .iter()
                .take(EXAMPLES)
                .map(|one| format!("{one:?}"))
                .collect();
            self.findings
                .push(format!("{what}: {} ({}, ...)", which.len(), examples.join(", ")));
        }
    }

    pub(crate) fn count(&mut self, what: &'static str, number: usize) {
        *self.counted.entry(what).or_default() += number as u64;
    }
}

/// An order as its service knows it.
pub(crate) struct Order {
    pub(crate) user_id: Uuid,
    pub(crate) state: String,
    pub(crate) cents: i64,
    lines: Vec<(Uuid, i64)>,
}

impl Order {
    /// Whether it was carried out.
    pub(crate) fn is_sold(&self) -> bool {
        ["confirmed", "shipped", "delivered"].contains(&self.state.as_str())
    }

    fn read(row: &Row) -> Result<(Uuid, Self)> {
        let view: Value = row.get("view");
        let lines = view["lines"].as_array().context("an order without lines")?;
        let line = |line: &Value| {
            let product = line["product_id"].as_str()?.parse().ok()?;
            Some((product, line["quantity"].as_i64()?))
        };
        let order = Self {
            user_id: row.get("user_id"),
            state: view["state"].as_str().unwrap_or_default().to_owned(),
            cents: view["total"]["amount_cents"]
                .as_i64()
                .context("an order without a total")?,
            lines: lines.iter().filter_map(line).collect(),
        };
        Ok((row.get("order_id"), order))
    }
}

/// The rows of all primaries.
pub(crate) async fn rows(primaries: &[Client], sql: &str) -> Result<Vec<Row>> {
    let mut all = Vec::new();
    for primary in primaries {
        all.extend(primary.query(sql, &[]).await.with_context(|| sql.to_owned())?);
    }
    Ok(all)
}

async fn sum(primaries: &[Client], sql: &str) -> Result<i64> {
    Ok(rows(primaries, sql)
        .await?
        .iter()
        .map(|row| row.get::<_, i64>(0))
        .sum())
}

/// Waits until nothing is under way, and compares everything. The partners are ended on the way.
///
/// # Errors
/// A server can't be asked. What is wrong with the data is no error but a finding.
pub async fn check(stage: &Stage, told: &Told, poisons: u32, bound: Duration) -> Result<Report> {
    let mut report = Report::default();
    let primaries = stage.primaries().await?;
    let began = Instant::now();
    let stores = stores(&primaries).await?;
    let looks: Vec<(String, String)> = UNDER_WAY
        .iter()
        .map(|(what, sql)| ((*what).to_owned(), (*sql).to_owned()))
        .collect();
    let outboxes = stores.iter().map(|store| {
        let sql = format!("SELECT count(*) FROM {store}_outbox");
        (format!("events in the outbox of {store}"), sql)
    });
    let looks: Vec<(String, String)> = looks.into_iter().chain(outboxes).collect();
    settle(&primaries, &looks, began, bound).await?;
    act_on_all(stage, &primaries, began, bound).await?;
    // Whatever carriers tell later would go on for ever.
    stage.shop.partners().stop(StopMode::Immediate).await?;
    // Acting on events makes events.
    settle(&primaries, &looks, began, bound).await?;
    act_on_all(stage, &primaries, began, bound).await?;
    for (what, left) in settle(&primaries, &looks, began, bound).await? {
        let after = bound.as_secs();
        report.findings.push(format!("{what}: {left} after {after} s"));
    }

    let orders: BTreeMap<Uuid, Order> = rows(&primaries, "SELECT user_id, order_id, view FROM order_summary")
        .await?
        .iter()
        .map(Order::read)
        .collect::<Result<_>>()?;
    compare_with_customers(told, &orders, &mut report);
    stock(&primaries, &orders, &mut report).await?;
    money::check(stage, &primaries, &orders, &mut report).await?;
    let published = publication(stage, &primaries, &stores, &mut report).await?;
    consumption(&primaries, &published, began, bound, &mut report).await?;
    notifications(&primaries, &published, began, bound, &mut report).await?;
    let analysed = TOPICS.iter().filter_map(|topic| published.get(*topic));
    let ids = analysed
        .flatten()
        .map(|event| (event.id, event.topic.clone()))
        .collect();
    waits(began, "the documents");
    documents::check(stage, &orders, &ids, began, bound, &mut report).await?;
    dead_letters(stage, poisons, &mut report).await?;
    Ok(report)
}

/// Waits until nothing is under way; gives what still is.
async fn settle<'a>(
    primaries: &[Client],
    looks: &'a [(String, String)],
    began: Instant,
    bound: Duration,
) -> Result<Vec<(&'a str, i64)>> {
    let mut unsettled = Vec::new();
    for (what, sql) in looks {
        let mut left = sum(primaries, sql).await?;
        if left > 0 {
            waits(began, &format!("{what}: {left}"));
        }
        while left > 0 && began.elapsed() < bound {
            sleep(LOOK).await;
            left = sum(primaries, sql).await?;
        }
        if left > 0 {
            unsettled.push((what.as_str(), left));
        }
    }
    Ok(unsettled)
}

/// Says what is waited for.
fn waits(began: Instant, what: &str) {
    println!("{:7.1} s  {what}", began.elapsed().as_secs_f64());
}

/// The names of the services that have an outbox.
async fn stores(primaries: &[Client]) -> Result<BTreeSet<String>> {
    const TABLES: &str =
        "SELECT replace(tablename, '_outbox', '') FROM pg_tables WHERE tablename LIKE '%\\_outbox'";
    let tables = rows(primaries, TABLES).await?;
    Ok(tables.iter().map(|row| row.get(0)).collect())
}

fn compare_with_customers(told: &Told, orders: &BTreeMap<Uuid, Order>, report: &mut Report) {
    report.wrong("never answered", &told.unknown);
    report.wrong(
        "accepted and not there",
        told.accepted.keys().filter(|id| !orders.contains_key(id)),
    );
    // A checkout that was never answered may have been done.
    if told.unknown.is_empty() {
        report.wrong(
            "orders that nobody was told of",
            orders.keys().filter(|id| !told.accepted.contains_key(id)),
        );
    }
    report.wrong(
        "orders of somebody else",
        orders
            .iter()
            .filter(|(id, order)| told.accepted.get(id).is_some_and(|user| *user != order.user_id))
            .map(|(id, _)| id),
    );
    report.count("orders", orders.len());
    report.count(
        "orders confirmed",
        orders.values().filter(|order| order.is_sold()).count(),
    );
    let cancelled = orders.values().filter(|order| order.state == "cancelled").count();
    report.count("orders cancelled", cancelled);
}

/// What lies there, and what was sold, is what there was.
async fn stock(primaries: &[Client], orders: &BTreeMap<Uuid, Order>, report: &mut Report) -> Result<()> {
    const LYING: &str = "SELECT product_id, sum(on_hand)::bigint, sum(reserved)::bigint FROM inventory_stock GROUP BY product_id";
    let mut sold: HashMap<Uuid, i64> = HashMap::new();
    for (product, quantity) in orders
        .values()
        .filter(|order| order.is_sold())
        .flat_map(|order| &order.lines)
    {
        *sold.entry(*product).or_default() += quantity;
    }
    report.count(
        "pieces sold",
        usize::try_from(sold.values().sum::<i64>()).unwrap_or_default(),
    );
    let lying = rows(primaries, LYING).await?;
    let differs = lying.iter().filter_map(|row| {
        let (product, on_hand, reserved): (Uuid, i64, i64) = (row.get(0), row.get(1), row.get(2));
        let sold = sold.get(&product).copied().unwrap_or_default();
        (on_hand + sold != i64::from(CATALOGUE.stock) || reserved != 0)
            .then_some((product, on_hand, reserved, sold))
    });
    report.wrong(
        "stock + sold isn't what there was (product, on hand, reserved, sold)",
        differs,
    );
    Ok(())
}

/// The events that a store tells of an aggregate in a topic: topic, store, aggregate.
type Of = (String, String, String);

/// Every event that a service has noted is in its topic, and those of an aggregate in their order. Gives the distinct events by topic.
async fn publication(
    stage: &Stage,
    primaries: &[Client],
    stores: &BTreeSet<String>,
    report: &mut Report,
) -> Result<BTreeMap<String, Vec<Event>>> {
    let mut noted: HashMap<Of, i64> = HashMap::new();
    for store in stores {
        let sql = format!("SELECT topic, aggregate, version FROM {store}_outbox_head");
        for row in rows(primaries, &sql).await? {
            noted.insert((row.get(0), store.clone(), row.get(1)), row.get(2));
        }
    }
    let mut published = BTreeMap::new();
    let mut told: HashMap<Of, i64> = HashMap::new();
    let mut disorder = Vec::new();
    let topics: BTreeSet<String> = noted.keys().map(|(topic, ..)| topic.clone()).collect();
    for topic in topics {
        let (events, _) = events(&stage.bootstrap()?, &topic).await?;
        let (mut seen, mut distinct) = (HashSet::new(), Vec::new());
        for event in events {
            if !seen.insert(event.id) {
                report.count("events published more than once", 1);
                continue;
            }
            let of = (topic.clone(), event.store.clone(), event.aggregate.clone());
            let last = told.entry(of).or_default();
            if event.version != *last + 1 {
                disorder.push((topic.clone(), event.aggregate.clone(), *last, event.version));
            }
            *last = event.version;
            distinct.push(event);
        }
        report.count("events", distinct.len());
        published.insert(topic, distinct);
    }
    let after = "events missing or out of order (topic, aggregate, version before, version)";
    report.wrong(after, disorder);
    let lost = noted
        .iter()
        .filter(|(of, version)| told.get(*of) != Some(version));
    report.wrong("events that were noted and are not in the topic", lost);
    let unknown = told.keys().filter(|of| !noted.contains_key(*of));
    report.wrong("events that nobody has noted", unknown);
    Ok(published)
}

/// Every event is in the inbox of everybody who acts on it.
async fn consumption(
    primaries: &[Client],
    published: &BTreeMap<String, Vec<Event>>,
    began: Instant,
    bound: Duration,
    report: &mut Report,
) -> Result<()> {
    for one in CONSUMERS {
        let (store, topic, _) = one;
        let events = published.get(topic).map(Vec::as_slice).unwrap_or_default();
        let missing = loop {
            let missing = not_acted_on(primaries, one, events).await?;
            if missing.is_empty() || began.elapsed() > bound {
                break missing;
            }
            sleep(LOOK).await;
        };
        report.wrong(
            &format!("events of {topic} that {store} has not acted on"),
            missing,
        );
    }
    Ok(())
}

async fn not_acted_on(
    primaries: &[Client],
    (store, _, kinds): Consumer,
    events: &[Event],
) -> Result<Vec<Uuid>> {
    let sql = format!("SELECT event_id FROM {store}_inbox WHERE consumer = '{store}'");
    let noted: HashSet<Uuid> = rows(primaries, &sql)
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect();
    Ok(events
        .iter()
        .filter(|event| kinds.contains(&&*event.kind) && !noted.contains(&event.id))
        .map(|event| event.id)
        .collect())
}

/// Waits until everybody has acted on what is published; what is missing is found later.
async fn act_on_all(stage: &Stage, primaries: &[Client], began: Instant, bound: Duration) -> Result<()> {
    for one in CONSUMERS {
        while began.elapsed() < bound {
            let (events, _) = events(&stage.bootstrap()?, one.1).await?;
            let left = not_acted_on(primaries, one, &events).await?.len();
            if left == 0 {
                break;
            }
            waits(
                began,
                &format!("events of {} that {} acts on: {left}", one.1, one.0),
            );
            sleep(LOOK).await;
        }
    }
    Ok(())
}

/// Each customer was told once of each confirmation and each cancellation.
async fn notifications(
    primaries: &[Client],
    published: &BTreeMap<String, Vec<Event>>,
    began: Instant,
    bound: Duration,
    report: &mut Report,
) -> Result<()> {
    const TOLD: &str = "SELECT data->>'order_id', category, count(*) FROM notification_item \
         WHERE category IN ('order-confirmed', 'order-cancelled') GROUP BY 1, 2";
    let mut expected: BTreeSet<(String, String)> = BTreeSet::new();
    for event in published.get("order-events").into_iter().flatten() {
        if ["order-confirmed", "order-cancelled"].contains(&event.kind.as_str()) {
            expected.insert((event.aggregate.clone(), event.kind.clone()));
        }
        if event.kind == "order-confirmed"
            && let Ok(order_id) = event.aggregate.parse()
        {
            report.confirmed_at.insert(order_id, event.time_ms);
        }
    }
    let told = loop {
        let found: BTreeMap<(String, String), i64> = rows(primaries, TOLD)
            .await?
            .iter()
            .map(|row| ((row.get(0), row.get(1)), row.get(2)))
            .collect();
        let all = expected.iter().all(|one| found.contains_key(one));
        if all || began.elapsed() > bound {
            break found;
        }
        sleep(LOOK).await;
    };
    report.count("notifications of orders", told.len());
    report.wrong(
        "customers who were not told",
        expected.iter().filter(|one| !told.contains_key(*one)),
    );
    report.wrong(
        "customers who were told more than once",
        told.iter().filter(|(_, times)| **times != 1),
    );
    report.wrong(
        "customers who were told of what didn't happen",
        told.keys().filter(|one| !expected.contains(*one)),
    );
    Ok(())
}

/// Nothing was given up but what the run has put there.
async fn dead_letters(stage: &Stage, poisons: u32, report: &mut Report) -> Result<()> {
    let bootstrap = stage.bootstrap()?;
    let expected: BTreeSet<String> = (0..poisons).map(|number| format!("{POISON} {number}")).collect();
    for topic in topics(&bootstrap).await? {
        if !topic.ends_with(".dead") {
            continue;
        }
        let letters = messages(&bootstrap, &topic).await?;
        let found: BTreeSet<String> = letters
            .iter()
            .map(|letter| String::from_utf8_lossy(letter.payload().unwrap_or_default()).into_owned())
            .collect();
        report.count("dead letters", found.len());
        report.wrong(&format!("given up in {topic}"), found.difference(&expected));
        if topic.starts_with("order-events.") {
            report.wrong(&format!("not given up in {topic}"), expected.difference(&found));
        }
    }
    Ok(())
}
