//! What the shop's services say to each other: only data, and how it is written and read.
//!
//! - [`rpc`]: the gRPC services, compiled from `proto/`, and what their messages have in common.
//! - [`events`]: one enum for each topic, a struct for each kind of event, each with a version; `docs/events.md` is made from them.
//! - [`Money`], [`Address`]: as they stand in JSON, in events and in calls alike.
//!
//! **Invariant:** an event that was ever published can be read: every version is a file under `golden/`, which a test decodes.
//! **Invariant:** no behaviour: nothing here asks a clock, a database or a network.

mod address;
pub mod events;
mod money;
pub mod rpc;

pub use address::Address;
pub use money::{Currency, Money};
pub use ringway_sdk::Malformed;
pub use rpc::Operation;
