//! The binary `ringway`.

mod admin;
mod cli;
mod client;
mod control;
mod data;
mod http;
mod metrics;
mod reading;
mod shared;

fn main() {}
