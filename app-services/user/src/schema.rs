//! The tables.

use ringway_sdk::service::Table;

pub(crate) const TABLES: [Table; 6] = [
    Table::sharded("user_login", "login").cached(),
    Table::sharded("user_credential", "user_id"),
    Table::sharded("user_profile", "user_id").cached(),
    Table::sharded("user_address", "user_id").cached(),
    Table::sharded("user_session", "user_id"),
    Table::reference("user_signing_key"),
];

pub(crate) const SCHEMA: [&str; 6] = [
    // `request` is a digest of the idempotency key by which it was registered.
    "CREATE TABLE IF NOT EXISTS user_login (login text PRIMARY KEY, user_id uuid NOT NULL, request bytea NOT NULL)",
    "CREATE TABLE IF NOT EXISTS user_credential (user_id uuid PRIMARY KEY, password text NOT NULL, role text NOT NULL)",
    "CREATE TABLE IF NOT EXISTS user_profile (user_id uuid PRIMARY KEY, email text, name text, phone text, \
     country text NOT NULL, locale text, time_zone text, home_region text NOT NULL, \
     registered_at timestamptz NOT NULL DEFAULT now(), deleted_at timestamptz)",
    "CREATE TABLE IF NOT EXISTS user_address (user_id uuid NOT NULL, address_id uuid NOT NULL, address jsonb NOT NULL, \
     PRIMARY KEY (user_id, address_id))",
    // `secret` and `previous` are digests.
    "CREATE TABLE IF NOT EXISTS user_session (user_id uuid NOT NULL, session_id uuid NOT NULL, secret bytea NOT NULL, \
     previous bytea, rotated_at timestamptz NOT NULL DEFAULT now(), expires_at timestamptz NOT NULL, \
     PRIMARY KEY (user_id, session_id))",
    "CREATE TABLE IF NOT EXISTS user_signing_key (key_id uuid PRIMARY KEY, sealed bytea NOT NULL, made_at timestamptz NOT NULL)",
];
