//! Real PostgreSQL, Redis and Kafka servers for the demo and the tests.
