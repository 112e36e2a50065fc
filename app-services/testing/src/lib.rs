//! Real servers around the shop's services, for their tests.
//!
//! A [`Scene`] is a cluster of two shards in two regions, a Ringway in either, and the services under test in this process, once for each region,
//! each region on a port of its own. A [`Client`] is somebody who has signed in: it speaks HTTP to either region and carries its causal token along.
//!
//! [`Processes`] is the shop as people run it, and [`person`] somebody who uses it.
//!
//! **Invariant:** dropping a scene ends every server that it started.

mod client;
pub mod person;
mod processes;
mod scene;
mod wait;
mod webhooks;

pub use client::{Answer, Client};
pub use cluster::{Backing, Region};
pub use jsonwebtoken;
pub use processes::{Catalogue, Processes};
pub use scene::{SERVICES, Scene};
pub use wait::{BOUND, until};
pub use webhooks::Webhooks;
