//! What is learnt from confirmed orders.

use crate::heat::heat;
use ringway_sdk::Transaction;
use ringway_sdk::events::{Event, Failure};
use shop_contracts::events::{Message as _, OrderEvent};
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// Of an order's products so many count: pairs grow with their square.
const MAX_PRODUCTS: usize = 20;

/// The sum of warmths ([`crate::heat::sum`]); the smaller one is lost beyond what a double can tell, and power() would fail.
macro_rules! warmed {
    ($table:literal) => {
        concat!(
            "heat = greatest(",
            $table,
            ".heat, excluded.heat) + CASE WHEN abs(",
            $table,
            ".heat - excluded.heat) > 60 THEN 0 \
             ELSE ln(1 + power(2::double precision, -abs(",
            $table,
            ".heat - excluded.heat))) / ln(2::double precision) END"
        )
    };
}

const WARM_PRODUCT: &str = concat!(
    "INSERT INTO recommendation_heat (product_id, region, heat) VALUES ($1, $2, $3) ON CONFLICT (product_id, region) DO UPDATE SET ",
    warmed!("recommendation_heat")
);
const WARM_PAIR: &str = concat!(
    "INSERT INTO recommendation_pair (product_id, other_id, heat) VALUES ($1, $2, $3) ON CONFLICT (product_id, other_id) DO UPDATE SET ",
    warmed!("recommendation_pair")
);

/// Warms an order's products in its region, and each pair of them.
pub(crate) async fn learn(tx: Transaction, event: Arc<Event>) -> Result<(), Failure> {
    let OrderEvent::Confirmed(order) = OrderEvent::of(&event)? else {
        return Ok(());
    };
    let mut quantities: BTreeMap<Uuid, u32> = BTreeMap::new();
    for line in order.lines.iter().take(MAX_PRODUCTS) {
        let quantity = quantities.entry(line.product_id).or_default();
        *quantity = quantity.saturating_add(line.quantity);
    }
    // In one order for all consumers, so that none of them waits for another that waits for it.
    for (product, quantity) in &quantities {
        tx.execute(
            WARM_PRODUCT,
            &[product, &order.region, &heat(*quantity, event.time_ms)],
        )
        .await?;
        for other in quantities.keys().filter(|other| *other != product) {
            tx.execute(WARM_PAIR, &[product, other, &heat(1, event.time_ms)])
                .await?;
        }
    }
    Ok(())
}
