//! What lies where.

use crate::{Inventory, Refusal};
use ringway_sdk::{Context, Level, Parameter, Result, Transaction};
use serde::{Deserialize, Serialize};
use shop_contracts::events::{StockSet, Tell};
use utoipa::ToSchema;
use uuid::Uuid;

/// The longest name of a warehouse, in bytes.
const MAX_WAREHOUSE: usize = 60;

const OF_PRODUCT: &str =
    "SELECT warehouse, on_hand, reserved FROM inventory_stock WHERE product_id = $1 ORDER BY warehouse";
const SET: &str = "INSERT INTO inventory_stock (product_id, warehouse, on_hand) VALUES ($1, $2, $3) \
     ON CONFLICT (product_id, warehouse) DO UPDATE SET on_hand = excluded.on_hand RETURNING reserved";

/// A product's stock in a warehouse.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Warehouse {
    /// Its name.
    pub warehouse: String,
    /// How many lie there.
    pub on_hand: u32,
    /// How many of them are kept for orders.
    pub reserved: u32,
}

/// A product's stock.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProductStock {
    /// Which product.
    pub product_id: Uuid,
    /// How many can be had.
    pub available: u32,
    /// How many are kept for orders.
    pub reserved: u32,
    /// Where they are.
    pub warehouses: Vec<Warehouse>,
}

impl ProductStock {
    fn of(product_id: Uuid, warehouses: Vec<Warehouse>) -> Self {
        let free = |at: &Warehouse| at.on_hand.saturating_sub(at.reserved);
        Self {
            product_id,
            available: warehouses.iter().map(free).fold(0, u32::saturating_add),
            reserved: warehouses
                .iter()
                .map(|at| at.reserved)
                .fold(0, u32::saturating_add),
            warehouses,
        }
    }
}

/// A count as the table has it: its CHECK keeps it from being negative.
pub(crate) fn count(stored: i32) -> u32 {
    u32::try_from(stored).unwrap_or_default()
}

/// A count for the table.
pub(crate) fn stored(count: u32) -> Result<i32, Refusal> {
    i32::try_from(count).map_err(|_| Refusal::Invalid("the quantity is too large".to_owned()))
}

impl Inventory {
    /// A product's stock; none if none was ever set.
    ///
    /// # Errors
    /// The SDK's.
    pub async fn stock(&self, context: &Context, product_id: Uuid) -> Result<Option<ProductStock>> {
        let which: &[Parameter<'_>] = &[&product_id];
        let rows = self.database.rows(context, Level::Ryw, OF_PRODUCT, which).await?;
        let warehouses: Vec<_> = rows
            .iter()
            .map(|row| Warehouse {
                warehouse: row.get(0),
                on_hand: count(row.get(1)),
                reserved: count(row.get(2)),
            })
            .collect();
        Ok((!warehouses.is_empty()).then(|| ProductStock::of(product_id, warehouses)))
    }

    /// Staff has counted: so many lie there, with those that are reserved.
    ///
    /// # Errors
    /// More are reserved than that; a name that can't be a warehouse's.
    pub async fn set_stock(
        &self,
        context: &Context,
        key: &str,
        by: Uuid,
        product_id: Uuid,
        (warehouse, on_hand): (&str, u32),
    ) -> Result<Warehouse, Refusal> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if warehouse.is_empty() || warehouse.len() > MAX_WAREHOUSE || !warehouse.bytes().all(plain) {
            return Err(Refusal::Invalid(
                "warehouse: 1 to 60 letters, digits, - and _".to_owned(),
            ));
        }
        let operation = format!("set {warehouse} {on_hand}");
        let once = self.store.once(product_id, key, operation);
        let wanted = stored(on_hand)?;
        let work = async |tx: Transaction| {
            let row = tx.query_one(SET, &[&product_id, &warehouse, &wanted]).await;
            let reserved = count(row.map_err(refused_by_bounds)?.get(0));
            let warehouse = warehouse.to_owned();
            let set = StockSet {
                product_id,
                warehouse: warehouse.clone(),
                on_hand,
                by,
            };
            tx.tell(&self.store, product_id, set).await?;
            Ok::<_, Refusal>(Warehouse {
                warehouse,
                on_hand,
                reserved,
            })
        };
        self.database.transaction_once(context, once, work).await
    }
}

fn refused_by_bounds(error: ringway_sdk::Error) -> Refusal {
    match error.constraint() {
        Some("inventory_stock_bounds") => Refusal::Reserved,
        _ => Refusal::Sdk(error),
    }
}
