//! A database on one shard: what clients see through Ringway is what PostgreSQL says, frame by frame.

#![allow(
    clippy::disallowed_methods,
    reason = "the proxy is asked again and again until a bound, and pauses of clients are what is tested"
)]
#![allow(clippy::too_many_lines, reason = "a list of scripts is read as one")]

mod cases;
mod large;
mod lost;
mod place;
mod random;
mod script;
mod session;
