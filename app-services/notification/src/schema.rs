//! The tables. All but the broadcasts are sharded by user.

/// How long notifications are kept.
pub(crate) const KEPT: std::time::Duration = std::time::Duration::from_secs(90 * 86_400);

/// DDL, one statement after the other.
pub(crate) const STATEMENTS: [&str; 7] = [
    // `sequence` is empty as long as the notification is held back. It is drawn under the lock of the user's mailbox, so it rises in the order of commits:
    // who has seen 7 has seen all below.
    "CREATE TABLE IF NOT EXISTS notification_item (
        user_id         uuid NOT NULL,
        notification_id uuid NOT NULL,
        sequence        bigint,
        priority        smallint NOT NULL,
        category        text NOT NULL,
        title           text NOT NULL,
        body            text NOT NULL,
        data            jsonb NOT NULL,
        created_at      timestamptz NOT NULL DEFAULT now(),
        not_before      timestamptz,
        acknowledged_at timestamptz,
        read_at         timestamptz,
        PRIMARY KEY (user_id, notification_id)
    )",
    "CREATE UNIQUE INDEX IF NOT EXISTS notification_item_sequence ON notification_item (user_id, sequence)",
    "CREATE INDEX IF NOT EXISTS notification_item_held ON notification_item (not_before) WHERE sequence IS NULL",
    "CREATE INDEX IF NOT EXISTS notification_item_created ON notification_item (created_at)",
    "CREATE TABLE IF NOT EXISTS notification_mailbox (
        user_id        uuid PRIMARY KEY,
        last_sequence  bigint NOT NULL DEFAULT 0,
        broadcast_read bigint NOT NULL DEFAULT 0,
        hour_began     timestamptz NOT NULL DEFAULT now(),
        hour_count     integer NOT NULL DEFAULT 0
    )",
    "CREATE TABLE IF NOT EXISTS notification_preference (
        user_id     uuid PRIMARY KEY,
        email_from  smallint,
        push_from   smallint,
        sms_from    smallint,
        muted       text[] NOT NULL,
        devices     text[] NOT NULL,
        quiet_from  time,
        quiet_until time,
        time_zone   text NOT NULL,
        per_hour    integer NOT NULL
    )",
    "CREATE TABLE IF NOT EXISTS notification_broadcast (
        sequence   bigint PRIMARY KEY,
        title      text NOT NULL,
        body       text NOT NULL,
        data       jsonb NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now()
    )",
];
