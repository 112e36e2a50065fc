//! Protocol state machines of clients and backends, free of I/O.
