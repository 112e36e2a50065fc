//! The invalidation stream: Kafka and in-process.
