//! The admin database beside PgBouncer's: the same columns, and commands that do what they say.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod alone;
mod beside;
mod commands;
mod console;
mod control;
mod limits;
mod pooling;
