//! What a service of Ringway's stands on.
//!
//! In: a URL of a Ringway, and for each call a [`Context`] (who has seen what, how long is there, which trace).
//! Out: reads at a chosen [`Level`] and transactions as closures ([`Database`]), tried again where that is right; errors that say whose
//! fault they are and whether another try is sensible ([`Error`]); [`events`] between services, [`saga`]s over them, an [`event_store`] of
//! aggregates whose state is what happened to them, [`projection`]s of events to documents, and [`counter`]s that are written behind.
//!
//! ```no_run
//! # async fn example() -> ringway_sdk::Result<()> {
//! use ringway_sdk::{Context, Database, Level, Settings};
//! let database = Database::new("postgres://shop:secret@localhost:6432/shop", Settings::default())?;
//! let context = Context::background();
//! database
//!     .transaction(&context, async |tx| -> ringway_sdk::Result<()> {
//!         tx.execute("UPDATE users SET country = $2 WHERE user_id = $1", &[&42_i64, &"PT"]).await?;
//!         Ok(())
//!     })
//!     .await?;
//! // Sees the write, in this service or in whichever is sent `context`'s token, in any region.
//! let row = database
//!     .read(&context, Level::Ryw, async |reader| {
//!         reader.query_one("SELECT country FROM users WHERE user_id = $1", &[&42_i64]).await
//!     })
//!     .await?;
//! # drop(row); Ok(()) }
//! ```
//!
//! **Invariant:** a transaction that may have been committed is never run again without an idempotency key.
//! **Invariant:** a session that was told of a commit is never without its position: it has a token that holds it, or reads at level strong.
//! **Invariant:** events of an aggregate reach Kafka in the order in which their transactions were committed, each at least once,
//! and none that was not committed.
//! **Invariant:** retries are bounded by attempts, deadline and a budget that all calls share.
//! **Invariant:** decisions (retry, breaker, classification, tokens) are pure; only `link`, `database` and the modules above them do I/O.

pub mod breaker;
mod check;
pub mod column;
mod context;
pub mod counter;
mod database;
mod deadline;
mod error;
pub mod event_store;
pub mod events;
mod guard;
mod level;
pub mod limit;
mod link;
mod near;
mod once;
pub mod partner;
pub mod projection;
pub mod purge;
pub mod retry;
pub mod rpc;
pub mod saga;
pub mod service;
mod source;
mod store;
mod token;
mod trace;
pub mod web;

pub use check::{Invalid, Malformed, check_bounds, check_length};
pub use context::{Context, Session};
pub use database::{Database, Isolation, Query, Reader, Settings, Transaction};
pub use deadline::{Deadline, GRPC_TIMEOUT_HEADER, TIMEOUT_HEADER, format_timeout, parse_timeout};
pub use error::{Blame, Error, FromSdk, Phase, Result, Retry, SqlState, classify};
pub use guard::Guard;
pub use level::Level;
pub use link::Parameter;
pub use near::NearRedis;
pub use once::Once;
pub use source::{REPORT_HEADER, SOURCE_HEADER};
pub use store::{KeyType, ShardKey, Store};
pub use token::{Causality, TOKEN_HEADER};
pub use tokio_postgres::Row;
pub use trace::{TRACE_HEADER, TraceParent};
