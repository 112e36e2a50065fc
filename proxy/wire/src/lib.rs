//! PostgreSQL v3 frames and messages, both directions.
