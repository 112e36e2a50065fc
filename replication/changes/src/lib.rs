//! A shard's WAL decoded to tags and watermarks.
