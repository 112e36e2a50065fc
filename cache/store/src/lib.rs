//! Cached values: in-process, Redis, single flight.
