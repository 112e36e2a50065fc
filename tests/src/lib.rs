//! Fixtures of the end-to-end tests: real servers, a real `ringway` beside them, and clients that hide nothing.
//!
//! In: nothing but the sources. Out: a running [`World`] (a cluster behind Ringway and one plain PostgreSQL with the same
//! schema and rows), [`Session`]s that show every message of the protocol, and `psql`.
//!
//! **Invariant:** a world ends its servers when the last test that uses it ends.
//! **Invariant:** every wait has a bound.

mod client;
mod console;
mod executable;
mod psql;
mod reply;
mod server;
mod shared;
mod world;

pub use client::{Bound, Canceller, Extended, Session, Target, run};
pub use console::{Console, Row, get, rows};
pub use executable::ringway;
pub use psql::{Printed, Psql, Terminal};
pub use reply::{Column, Fault, Reply};
pub use server::{Ports, SOON, Server, eventually, only_shard};
pub use shared::{Shared, Turn, Turns};
pub use world::{Size, World, WorldSpec, shared};
