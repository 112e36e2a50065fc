//! Where clients connect, and that they stay: a proxy that is replaced while it works refuses no connection and loses nothing
//! that is under way; clients are spread over threads; those that rest cost little.

#![allow(
    clippy::disallowed_methods,
    reason = "processes are asked again and again until a bound, and rest is measured in time"
)]

mod idle;
mod process;
mod replaced;
mod shutdown;
mod takeover;
