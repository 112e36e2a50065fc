//! The tables. Those of the catalogue stand on every shard; price history and the SDK's tables are sharded by product.

/// DDL, one statement after the other.
pub(crate) const STATEMENTS: [&str; 8] = [
    "CREATE EXTENSION IF NOT EXISTS pg_trgm",
    "CREATE TABLE IF NOT EXISTS product_category (
        category_id uuid PRIMARY KEY,
        slug        text NOT NULL UNIQUE,
        name        text NOT NULL
    )",
    "CREATE TABLE IF NOT EXISTS product_item (
        product_id   uuid PRIMARY KEY,
        category     text NOT NULL REFERENCES product_category (slug),
        sku          text NOT NULL UNIQUE,
        name         text NOT NULL,
        brand        text NOT NULL,
        description  text NOT NULL,
        amount_cents bigint NOT NULL CHECK (amount_cents > 0),
        currency     text NOT NULL,
        weight_grams integer NOT NULL CHECK (weight_grams >= 0),
        on_sale      boolean NOT NULL,
        version      bigint NOT NULL,
        added_at     timestamptz NOT NULL,
        words        tsvector NOT NULL GENERATED ALWAYS AS (
            setweight(to_tsvector('english', name || ' ' || brand), 'A') || setweight(to_tsvector('english', description), 'C')
        ) STORED
    )",
    "CREATE INDEX IF NOT EXISTS product_item_words ON product_item USING gin (words)",
    "CREATE INDEX IF NOT EXISTS product_item_name ON product_item USING gin (name gin_trgm_ops)",
    "CREATE INDEX IF NOT EXISTS product_item_category ON product_item (category, name, product_id)",
    "CREATE INDEX IF NOT EXISTS product_item_added ON product_item (added_at, product_id) WHERE on_sale",
    "CREATE TABLE IF NOT EXISTS product_price (
        product_id   uuid NOT NULL,
        version      bigint NOT NULL,
        amount_cents bigint NOT NULL,
        currency     text NOT NULL,
        since        timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (product_id, version)
    )",
];
