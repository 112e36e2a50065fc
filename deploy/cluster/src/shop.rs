//! The shop of the demo: its schema, its seeded data, and how they are loaded.
//!
//! users and everything a user owns are sharded by `user_id` and colocated; inventory is sharded by
//! `product_id`; products and categories are reference tables.

mod generate;
mod random;
mod row;
mod words;

use std::pin::pin;

use futures_util::SinkExt;
use tokio_postgres::Client;

use crate::Error;
use generate::Generator;

/// The seed of the documented data set.
pub const SEED: u64 = 42;

/// The DDL, ready for any PostgreSQL.
const SCHEMA: &str = include_str!("shop/schema.sql");

/// How much of COPY's text is gathered before it is sent; also the bound of what is held.
const CHUNK_BYTES: usize = 64 * 1024;

/// How big the shop is. There are three times as many order items as orders if these are a multiple of ten.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scale {
    /// Users, with ids from 1.
    pub users: u64,
    /// Products, with ids from 1; as many rows of inventory.
    pub products: u64,
    /// Orders, with ids from 1; at most one payment and shipment each.
    pub orders: u64,
}

impl Scale {
    /// 10,000 users, 2,000 products, 100,000 orders, 300,000 items.
    pub const DEMO: Self = Self {
        users: 10_000,
        products: 2_000,
        orders: 100_000,
    };
    /// Enough for a test: 200 users, 50 products, 1,000 orders, 3,000 items.
    pub const SMALL: Self = Self {
        users: 200,
        products: 50,
        orders: 1_000,
    };
}

/// A table of the shop; the order is one in which they can be created and filled.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Table {
    /// Reference table.
    Categories,
    /// Reference table.
    Products,
    /// Sharded by `product_id`.
    Inventory,
    /// Sharded by `user_id`.
    Users,
    /// Sharded by `user_id`.
    Orders,
    /// Sharded by `user_id`.
    OrderItems,
    /// Sharded by `user_id`.
    Payments,
    /// Sharded by `user_id`.
    Shipments,
    /// Sharded by `user_id`.
    Reviews,
}

impl Table {
    /// All tables, those first that others refer to.
    pub const ALL: [Self; 9] = [
        Self::Categories,
        Self::Products,
        Self::Inventory,
        Self::Users,
        Self::Orders,
        Self::OrderItems,
        Self::Payments,
        Self::Shipments,
        Self::Reviews,
    ];

    /// The table's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Categories => "categories",
            Self::Products => "products",
            Self::Inventory => "inventory",
            Self::Users => "users",
            Self::Orders => "orders",
            Self::OrderItems => "order_items",
            Self::Payments => "payments",
            Self::Shipments => "shipments",
            Self::Reviews => "reviews",
        }
    }

    /// The column whose value decides the shard; none for a reference table.
    pub fn shard_column(self) -> Option<&'static str> {
        match self {
            Self::Categories | Self::Products => None,
            Self::Inventory => Some("product_id"),
            Self::Users
            | Self::Orders
            | Self::OrderItems
            | Self::Payments
            | Self::Shipments
            | Self::Reviews => Some("user_id"),
        }
    }

    /// How many things of the shop this table's rows are made from.
    fn units(self, scale: Scale) -> u64 {
        match self {
            Self::Categories => generate::category_count(),
            Self::Products | Self::Inventory => scale.products,
            Self::Users => scale.users,
            Self::Orders | Self::OrderItems | Self::Payments | Self::Shipments | Self::Reviews => {
                scale.orders
            }
        }
    }
}

/// The statements that create the shop's tables, one by one.
pub fn schema() -> impl Iterator<Item = String> {
    let code: Vec<&str> = SCHEMA.lines().filter(|line| !line.starts_with("--")).collect();
    let statements = code.join("\n");
    let statements: Vec<String> = statements
        .split(";\n")
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
        .collect();
    statements.into_iter()
}

/// The rows of one table as COPY text, in chunks of about 64 KiB that end at a row's end.
pub fn rows(seed: u64, scale: Scale, table: Table) -> impl Iterator<Item = String> {
    let generator = Generator::new(seed, scale);
    let units = table.units(scale);
    let mut next = 0;
    std::iter::from_fn(move || {
        let mut chunk = String::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 8);
        while next < units && chunk.len() < CHUNK_BYTES {
            generator.write(table, next, &mut chunk);
            next += 1;
        }
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// Runs the DDL over this connection.
pub async fn create(client: &Client) -> Result<(), Error> {
    for statement in schema() {
        let doing = statement.lines().next().unwrap_or_default().to_owned();
        client
            .batch_execute(&statement)
            .await
            .map_err(Error::sql("schema", doing))?;
    }
    Ok(())
}

/// Fills one table by COPY over this connection and returns its number of rows.
/// `progress` hears the number of rows sent so far, after each chunk.
pub async fn copy(
    client: &Client,
    seed: u64,
    scale: Scale,
    table: Table,
    mut progress: impl FnMut(u64),
) -> Result<u64, Error> {
    let statement = format!("COPY {} FROM STDIN", table.name());
    let failed = || Error::sql("seed data", statement.clone());
    let mut sink = pin!(client.copy_in(&statement).await.map_err(failed())?);
    let mut sent = 0;
    for chunk in rows(seed, scale, table) {
        sent += chunk.bytes().filter(|byte| *byte == b'\n').count() as u64;
        // Returns when the chunk is on its way: what is held is bounded by the socket's buffer.
        sink.send(bytes::Bytes::from(chunk)).await.map_err(failed())?;
        progress(sent);
    }
    let stored = sink.as_mut().finish().await.map_err(failed())?;
    if stored == sent {
        return Ok(stored);
    }
    Err(Error::Usage(format!(
        "{statement} stored {stored} of {sent} rows"
    )))
}

/// Creates the tables and fills them all, for tests.
pub async fn load(client: &Client, seed: u64, scale: Scale) -> Result<(), Error> {
    create(client).await?;
    for table in Table::ALL {
        copy(client, seed, scale, table, |_| ()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seed: u64, table: Table) -> String {
        rows(seed, Scale::SMALL, table).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_rows_and_another_seed_others() {
        for table in Table::ALL {
            assert_eq!(text(SEED, table), text(SEED, table));
        }
        assert_ne!(text(1, Table::Orders), text(2, Table::Orders));
    }

    #[test]
    fn there_are_as_many_rows_as_the_scale_says() {
        let count = |table| text(SEED, table).lines().count();
        assert_eq!(count(Table::Users), 200);
        assert_eq!(count(Table::Products), 50);
        assert_eq!(count(Table::Inventory), 50);
        assert_eq!(count(Table::Orders), 1_000);
        assert_eq!(count(Table::OrderItems), 3_000);
    }

    #[test]
    fn chunks_are_bounded() {
        let longest = rows(SEED, Scale::DEMO, Table::Users)
            .map(|chunk| chunk.len())
            .max()
            .unwrap();
        assert!(longest < CHUNK_BYTES + 4096, "{longest}");
    }

    #[test]
    fn a_few_users_order_much() {
        let orders = text(SEED, Table::Orders);
        let mut per_user = std::collections::HashMap::new();
        for line in orders.lines() {
            *per_user.entry(line.split('\t').next().unwrap()).or_insert(0_u32) += 1;
        }
        let mut counts: Vec<u32> = per_user.into_values().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let top: u32 = counts.iter().take(20).sum();
        assert!(
            top > 200,
            "the first tenth of the users placed {top} of 1,000 orders"
        );
    }
}
