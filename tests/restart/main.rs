//! A proxy that is replaced while it works: no connection is refused, nothing under way is lost.

mod process;
mod takeover;
