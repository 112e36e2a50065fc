//! A database on one shard: what clients see through Ringway is what PostgreSQL says, frame by frame.

mod cases;
mod large;
mod lost;
mod place;
mod random;
mod script;
