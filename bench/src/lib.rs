//! Load benchmarks beside PgBouncer and direct PostgreSQL.
