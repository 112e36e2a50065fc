//! The catalogue: products by id and by category, a search that forgives typing errors, price history, and what staff changes.
//!
//! In: HTTP for everybody (`/api/v1/products`, `/api/v1/categories`) and for staff, gRPC `Product.Get` for the other services.
//! Out: rows of reference tables, which stand whole on every shard, so any one server of the own region answers a search; a product
//! by its id comes from the cache.
//!
//! **Invariant:** a price that was ever in force is in the history, with its time.
//! **Invariant:** of two edits that began from the same version one is refused.
//! **Invariant:** a product changes together with its `product-changed` event.

mod catalogue;
mod rpc;
mod schema;
mod search;
pub mod seed;
mod staff;

pub use staff::Draft;

use ringway_sdk::service::{Environment, Service, Table};
use ringway_sdk::web::{OpenApiRouter, routes};
use ringway_sdk::{Database, KeyType, Result, Store};
use shop_contracts::events::{AuditEvent, Message as _};
use shop_contracts::rpc::v1::product_server::ProductServer;

ringway_sdk::refusals! {
    /// What the catalogue refuses.
    pub enum Refusal {
        /// No product, or no category, of this name.
        NotFound = NOT_FOUND "not-found" "there is no such product or category",
        /// Somebody else was faster.
        Changed = CONFLICT "changed-meanwhile" "the product was changed since it was read",
        /// The article number is another product's.
        SkuTaken = CONFLICT "sku-taken" "another product has this article number",
    }
}

/// What handlers stand on.
#[derive(Clone, Debug)]
pub struct Catalogue {
    database: Database,
    store: Store,
}

impl Catalogue {
    /// The catalogue behind an environment's Ringway.
    ///
    /// # Errors
    /// None but faults of this crate: the store's name is constant.
    pub fn new(environment: &Environment) -> Result<Self> {
        Ok(Self {
            database: environment.database.clone(),
            store: Store::new("product", KeyType::Uuid)?,
        })
    }
}

impl AsRef<Database> for Catalogue {
    fn as_ref(&self) -> &Database {
        &self.database
    }
}

/// The service.
///
/// # Errors
/// None but faults of this crate.
pub fn service(environment: &Environment) -> Result<Service> {
    let catalogue = Catalogue::new(environment)?;
    let routes = OpenApiRouter::new()
        .routes(routes!(search::search))
        .routes(routes!(catalogue::product))
        .routes(routes!(catalogue::prices))
        .routes(routes!(catalogue::categories))
        .routes(routes!(catalogue::of_category))
        .routes(routes!(staff::create))
        .routes(routes!(staff::change))
        .with_state(catalogue.clone());
    Ok(Service::new("product", environment)
        .store(&catalogue.store)
        .schema(&schema::STATEMENTS)
        .table(Table::reference("product_category"))
        .table(Table::reference("product_item").cached())
        .table(Table::sharded("product_price", "product_id"))
        .topic(AuditEvent::TOPIC)
        .http(routes)
        .grpc(ProductServer::new(catalogue)))
}
