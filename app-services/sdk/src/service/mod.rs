//! What a service is, and how services are run.
//!
//! A [`Service`] is a value: its tables, its routes, what it does by itself. A [`Server`] runs any number of them in one process, on one port for
//! HTTP and gRPC, and ends them in order. What they stand on is an [`Environment`].
//!
//! ```no_run
//! # use ringway_sdk::{Result, service::{Environment, Service, Table}, Store, KeyType};
//! # fn router() -> utoipa_axum::router::OpenApiRouter { todo!() }
//! pub fn service(environment: &Environment) -> Result<Service> {
//!     let store = Store::new("account", KeyType::Uuid)?;
//!     Ok(Service::new("account", environment)
//!         .store(&store)
//!         .schema(&["CREATE TABLE IF NOT EXISTS account_balance (user_id uuid PRIMARY KEY, cents bigint NOT NULL)"])
//!         .table(Table::sharded("account_balance", "user_id").cached())
//!         .http(router()))
//! }
//! ```
//!
//! **Invariant:** a process that is told to end says that it isn't ready before it stops to listen, finishes the requests that it has, and then
//! ends its tasks, each within a bound.
//! **Invariant:** a task that fails, or panics, begins again.

mod environment;
mod listener;
mod server;
mod table;
mod tasks;
mod unit;

pub use environment::{Environment, Primary};
pub use server::{Server, ServerSettings};
pub use table::Table;
pub use tasks::Stop;
pub use unit::{Service, install, wait_known};
