//! The probes against real servers: roles, timelines, freshness, stops, crashes and a promotion.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod fixture;
mod freshness;
mod loss;
mod promotion;
