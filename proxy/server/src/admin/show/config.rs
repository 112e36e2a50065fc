//! SHOW CONFIG: PgBouncer's settings under its names and in its units, then every setting as the configuration names it.

use super::{Columns, Rows};
use crate::admin::table::Cell;
use crate::admin::table::ColumnType::Text;
use crate::admin::view::AdminView;
use settings::{Entry, Settings};
use std::collections::BTreeMap;

pub(super) const CONFIG: Columns = &[
    ("key", Text),
    ("value", Text),
    ("default", Text),
    ("changeable", Text),
];

/// How PgBouncer writes a value that the configuration writes otherwise.
#[derive(Clone, Copy)]
enum Unit {
    /// As it is.
    Plain,
    /// Seconds, 0 for never.
    Seconds,
    /// Bytes.
    Bytes,
    /// 1 or 0.
    Flag,
}

/// PgBouncer's settings that there are here: its name, ours, its unit and its own default.
const PGBOUNCER: [(&str, &str, Unit, &str); 45] = [
    ("admin_users", "auth.admin_users", Unit::Plain, ""),
    ("auth_query", "auth.auth_query", Unit::Plain, ""),
    ("auth_type", "auth.auth_type", Unit::Plain, "md5"),
    ("auth_user", "auth.auth_user", Unit::Plain, ""),
    (
        "client_idle_timeout",
        "limits.client_idle_timeout",
        Unit::Seconds,
        "0",
    ),
    (
        "client_login_timeout",
        "limits.client_login_timeout",
        Unit::Seconds,
        "60",
    ),
    ("client_tls_ca_file", "listen.client_tls_ca_file", Unit::Plain, ""),
    (
        "client_tls_cert_file",
        "listen.client_tls_cert_file",
        Unit::Plain,
        "",
    ),
    (
        "client_tls_key_file",
        "listen.client_tls_key_file",
        Unit::Plain,
        "",
    ),
    (
        "client_tls_sslmode",
        "listen.client_tls_sslmode",
        Unit::Plain,
        "disable",
    ),
    ("default_pool_size", "pool.default_pool_size", Unit::Plain, "20"),
    (
        "idle_transaction_timeout",
        "limits.idle_transaction_timeout",
        Unit::Seconds,
        "0",
    ),
    ("listen_addr", "listen.addr", Unit::Plain, ""),
    ("listen_backlog", "listen.listen_backlog", Unit::Plain, "128"),
    ("listen_port", "listen.port", Unit::Plain, "6432"),
    ("max_client_conn", "limits.max_client_conn", Unit::Plain, "100"),
    (
        "max_db_client_connections",
        "limits.max_db_client_connections",
        Unit::Plain,
        "0",
    ),
    (
        "max_db_connections",
        "limits.max_db_connections",
        Unit::Plain,
        "0",
    ),
    (
        "max_packet_size",
        "limits.max_packet_size",
        Unit::Bytes,
        "2147483647",
    ),
    (
        "max_prepared_statements",
        "pool.max_prepared_statements",
        Unit::Plain,
        "200",
    ),
    (
        "max_user_client_connections",
        "limits.max_user_client_connections",
        Unit::Plain,
        "0",
    ),
    (
        "max_user_connections",
        "limits.max_user_connections",
        Unit::Plain,
        "0",
    ),
    ("min_pool_size", "pool.min_pool_size", Unit::Plain, "0"),
    ("pool_mode", "pool.pool_mode", Unit::Plain, "session"),
    ("query_timeout", "limits.query_timeout", Unit::Seconds, "0"),
    (
        "query_wait_timeout",
        "limits.query_wait_timeout",
        Unit::Seconds,
        "120",
    ),
    ("reserve_pool_size", "pool.reserve_pool_size", Unit::Plain, "0"),
    (
        "reserve_pool_timeout",
        "pool.reserve_pool_timeout",
        Unit::Seconds,
        "5",
    ),
    (
        "server_check_delay",
        "pool.server_check_delay",
        Unit::Seconds,
        "30",
    ),
    (
        "server_check_query",
        "pool.server_check_query",
        Unit::Plain,
        "select 1",
    ),
    (
        "server_connect_timeout",
        "pool.server_connect_timeout",
        Unit::Seconds,
        "15",
    ),
    (
        "server_idle_timeout",
        "pool.server_idle_timeout",
        Unit::Seconds,
        "600",
    ),
    ("server_lifetime", "pool.server_lifetime", Unit::Seconds, "3600"),
    (
        "server_login_retry",
        "pool.server_login_retry",
        Unit::Seconds,
        "15",
    ),
    (
        "server_reset_query",
        "pool.server_reset_query",
        Unit::Plain,
        "DISCARD ALL",
    ),
    (
        "server_reset_query_always",
        "pool.server_reset_query_always",
        Unit::Flag,
        "0",
    ),
    ("stats_users", "auth.stats_users", Unit::Plain, ""),
    ("tcp_keepalive", "listen.tcp_keepalive", Unit::Flag, "1"),
    ("tcp_keepcnt", "listen.tcp_keepcnt", Unit::Plain, "0"),
    ("tcp_keepidle", "listen.tcp_keepidle", Unit::Seconds, "0"),
    ("tcp_keepintvl", "listen.tcp_keepintvl", Unit::Seconds, "0"),
    ("tcp_user_timeout", "listen.tcp_user_timeout", Unit::Seconds, "0"),
    (
        "transaction_timeout",
        "limits.transaction_timeout",
        Unit::Seconds,
        "0",
    ),
    ("unix_socket_dir", "listen.unix_socket_dir", Unit::Plain, "/tmp"),
    ("unix_socket_mode", "listen.unix_socket_mode", Unit::Plain, "0777"),
];

/// Our name of a setting that PgBouncer, or the configuration itself without its section, calls `name`.
pub(crate) fn full_key(settings: &Settings, name: &str) -> Option<String> {
    let known = PGBOUNCER.iter().find(|(theirs, ..)| *theirs == name);
    let ours = known.map_or(name, |(_, ours, ..)| ours);
    let entries = settings.entries();
    let exact = entries.iter().find(|entry| entry.key == ours);
    let in_section = |entry: &&Entry| entry.key.split_once('.').is_some_and(|(_, key)| key == ours);
    let found = exact.or_else(|| entries.iter().find(in_section))?;
    Some(found.key.clone())
}

/// A value as the configuration writes it, of one that may be in PgBouncer's unit.
pub(crate) fn in_our_unit(key: &str, value: &str) -> String {
    let unit = PGBOUNCER
        .iter()
        .find(|(_, ours, ..)| *ours == key)
        .map_or(Unit::Plain, |(_, _, unit, _)| *unit);
    let number = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    match unit {
        Unit::Seconds if number && value.bytes().all(|b| b == b'0') => "off".to_owned(),
        Unit::Seconds if number => format!("{value}s"),
        Unit::Seconds | Unit::Plain | Unit::Bytes | Unit::Flag => value.to_owned(),
    }
}

pub(super) fn config(view: &AdminView) -> Rows {
    let entries = view.settings.entries();
    let by_key: BTreeMap<&str, &Entry> = entries.iter().map(|entry| (entry.key.as_str(), entry)).collect();
    let theirs = PGBOUNCER.iter().filter_map(|(name, ours, unit, default)| {
        let entry = by_key.get(ours)?;
        let value = in_their_unit(entry, *unit);
        Some(row(*name, value, Cell::text(*default), entry.changeable))
    });
    let own = entries.iter().map(|entry| {
        row(
            entry.key.clone(),
            entry.value().to_owned(),
            Cell::Null,
            entry.changeable,
        )
    });
    theirs.chain(own).collect()
}

fn row(
    key: impl Into<std::borrow::Cow<'static, str>>,
    value: String,
    default: Cell,
    changeable: bool,
) -> Vec<Cell> {
    let changeable = if changeable { "yes" } else { "no" };
    vec![
        Cell::text(key),
        Cell::text(value),
        default,
        Cell::text(changeable),
    ]
}

fn in_their_unit(entry: &Entry, unit: Unit) -> String {
    let value = entry.value();
    match unit {
        Unit::Plain => value.to_owned(),
        Unit::Flag => String::from(if value == "true" { "1" } else { "0" }),
        Unit::Bytes => settings::parse_size(value).map_or_else(|| value.to_owned(), |n| n.to_string()),
        Unit::Seconds if value == "off" => "0".to_owned(),
        Unit::Seconds => {
            let seconds = |time: std::time::Duration| match time.subsec_millis() {
                0 => time.as_secs().to_string(),
                _ => time.as_secs_f64().to_string(),
            };
            settings::parse_duration(value).map_or_else(|| value.to_owned(), seconds)
        }
    }
}
