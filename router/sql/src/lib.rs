//! SQL text to facts with PostgreSQL's own grammar; templates.
