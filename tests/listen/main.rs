//! Where clients connect, and that they stay: a proxy that is replaced while it works refuses no connection and loses nothing
//! that is under way; clients are spread over threads; those that rest cost little.

mod idle;
mod process;
mod takeover;
