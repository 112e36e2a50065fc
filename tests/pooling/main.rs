//! Pools as clients and servers see them: modes, sizes, queues, time limits, resets. What PgBouncer has as well is done on a real
//! PgBouncer with the same settings beside it: what happens must be the same, only codes and words of errors may differ.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod limits;
mod modes;
mod own;
mod renewal;
mod sizes;
mod stage;
