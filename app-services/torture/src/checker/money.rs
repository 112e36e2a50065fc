//! Money: what the provider did, what payments say, and what orders cost.

use super::{Order, Report, rows};
use crate::Stage;
use anyhow::{Context as _, Result};
use serde_json::Value;
use shop_payment::AUDIT;
use std::collections::{BTreeMap, HashMap};
use tokio_postgres::Client;
use uuid::Uuid;

/// What was taken and given back, in cents.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Moved {
    captured: i64,
    refunded: i64,
}

/// What the provider has done for each payment, by its own journal.
fn provider(stage: &Stage) -> Result<HashMap<Uuid, Moved>> {
    let journal = std::fs::read_to_string(stage.shop.partners().payments_journal())?;
    let mut latest: BTreeMap<String, Value> = BTreeMap::new();
    for line in journal.lines() {
        // A line that a kill has cut off was not answered.
        if let Ok(entry) = serde_json::from_str::<Value>(line) {
            latest.insert(entry["id"].as_str().unwrap_or_default().to_owned(), entry);
        }
    }
    let mut moved: HashMap<Uuid, Moved> = HashMap::new();
    for entry in latest
        .values()
        .filter(|entry| entry["told"]["status"] == "succeeded")
    {
        let errand = &entry["errand"];
        let payment = errand["subject"].as_str().unwrap_or_default().parse()?;
        let cents = errand["details"]["amount"]["amount_cents"].as_i64();
        let of = moved.entry(payment).or_default();
        match errand["kind"].as_str() {
            Some("capture") => of.captured += cents.context("a capture without an amount")?,
            Some("refund") => of.refunded += cents.context("a refund without an amount")?,
            _ => {}
        }
    }
    Ok(moved)
}

pub(super) async fn check(
    stage: &Stage,
    primaries: &[Client],
    orders: &BTreeMap<Uuid, Order>,
    report: &mut Report,
) -> Result<()> {
    const PAYMENTS: &str = "SELECT order_id, payment_id, captured_cents, refunded_cents FROM payment_intent";
    let provider = provider(stage)?;
    let mut payments: HashMap<Uuid, Moved> = HashMap::new();
    let (mut otherwise, mut unpaid) = (Vec::new(), Vec::new());
    for row in rows(primaries, PAYMENTS).await? {
        let (order_id, payment_id): (Uuid, Uuid) = (row.get(0), row.get(1));
        let booked = Moved {
            captured: row.get(2),
            refunded: row.get(3),
        };
        let done = provider.get(&payment_id).copied().unwrap_or_default();
        if done != booked {
            otherwise.push((payment_id, done, booked));
        }
        payments.insert(order_id, booked);
    }
    report.count("payments", payments.len());
    let mut captured = 0;
    for (order_id, order) in orders {
        let paid = payments.get(order_id).copied().unwrap_or_default();
        let owed = if order.is_sold() { order.cents } else { 0 };
        captured += paid.captured - paid.refunded;
        if paid.captured - paid.refunded != owed {
            unpaid.push((order_id, &order.state, owed, paid));
        }
    }
    report.wrong("the provider did otherwise (payment, it, we)", otherwise);
    report.wrong("not paid what it costs (order, state, cents, payment)", unpaid);
    report.count("cents captured", usize::try_from(captured).unwrap_or_default());
    for (shard, primary) in primaries.iter().enumerate() {
        let disagreements: i64 = primary.query_one(AUDIT, &[]).await?.get(0);
        if disagreements != 0 {
            report.wrong(
                "the ledger doesn't sum to zero (shard, by how much)",
                [(shard, disagreements)],
            );
        }
    }
    Ok(())
}
