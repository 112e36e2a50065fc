//! The sections that stand alone: each with its keys, their bounds and their defaults.

use super::{Files, access};
use crate::context::Reported;
use crate::document::{Choice, Field, Section};
use crate::error::{Place, Problem};
use crate::model::{
    CacheSettings, ClientTls, HealthSettings, Limits, LogFormat, LogLevel, LogSettings, PoolMode,
    PoolSettings, RedisSettings, StreamSettings, StreamTransport, TlsIdentity,
};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// Every time that bounds a wait.
const TIMEOUT: RangeInclusive<Duration> = MS..=DAY;
/// Every time that something may live or lie idle. It is looked at about once a second.
const LIFETIME: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(365 * 24 * 60 * 60);
const PORT: RangeInclusive<u64> = 1..=65535;
const MAX_POOL_SIZE: u64 = 10_000;
const MAX_CLIENTS: u64 = 1_000_000;
const MAX_STATEMENTS: u64 = 100_000;
const MAX_SCATTER_ROWS: u64 = 1_000_000_000;
/// PostgreSQL's own bound of a message (`PQ_LARGE_MESSAGE_LIMIT`).
const MAX_PACKET: u64 = GIB - 1;
/// Shorter keys can be searched for.
const MIN_KEY_SECRET_BYTES: usize = 16;
/// So that a slot's name has room for the database and the proxy.
const MAX_SLOT_PREFIX_BYTES: usize = 16;
/// Kafka's own bound of a topic's name.
const MAX_TOPIC_BYTES: usize = 249;

const POOL_MODES: [Choice<PoolMode>; 3] = [
    ("transaction", Ok(PoolMode::Transaction)),
    ("session", Ok(PoolMode::Session)),
    ("statement", Ok(PoolMode::Statement)),
];

const LOG_LEVELS: [Choice<LogLevel>; 5] = [
    ("error", Ok(LogLevel::Error)),
    ("warn", Ok(LogLevel::Warn)),
    ("info", Ok(LogLevel::Info)),
    ("debug", Ok(LogLevel::Debug)),
    ("trace", Ok(LogLevel::Trace)),
];

const LOG_FORMATS: [Choice<LogFormat>; 2] = [("text", Ok(LogFormat::Text)), ("json", Ok(LogFormat::Json))];

#[derive(Clone, Copy)]
enum ClientTlsMode {
    Disable,
    Allow,
    Require,
    Verify,
}

const CLIENT_TLS_MODES: [Choice<ClientTlsMode>; 6] = [
    ("disable", Ok(ClientTlsMode::Disable)),
    ("allow", Ok(ClientTlsMode::Allow)),
    ("prefer", Ok(ClientTlsMode::Allow)),
    ("require", Ok(ClientTlsMode::Require)),
    ("verify-ca", Ok(ClientTlsMode::Verify)),
    // The same, as in PgBouncer: who a certificate is for is judged by the method `cert`.
    ("verify-full", Ok(ClientTlsMode::Verify)),
];

/// A port under `key`.
pub(super) fn port(section: &Section<'_>, key: &'static str) -> Result<Option<Field<u16>>, Reported> {
    let Some(Field { value, place }) = section.number(key, PORT)? else {
        return Ok(None);
    };
    let value = u16::try_from(value).map_err(|_| section.report(Problem::new(&place, "not a port")))?;
    Ok(Some(Field { value, place }))
}

pub(super) fn client_tls(section: &Section<'_>, files: &Files<'_>) -> Result<ClientTls, Reported> {
    let mode = section.choice("client_tls_sslmode", &CLIENT_TLS_MODES, ClientTlsMode::Disable);
    let cert = section.text("client_tls_cert_file");
    let key = section.text("client_tls_key_file");
    let ca = section.text("client_tls_ca_file");
    let (mode, cert, key, ca) = (mode?, cert?, key?, ca?);
    let identity = match (cert, key) {
        (Some(cert), Some(key)) => Some(TlsIdentity {
            cert_file: files.path(&cert.value),
            key_file: files.path(&key.value),
            ca_file: ca.as_ref().map(|ca| files.path(&ca.value)),
        }),
        (Some(cert), None) => {
            let message = "`client_tls_cert_file` without `client_tls_key_file`";
            return Err(section.report(Problem::new(&cert.place, message)));
        }
        (None, Some(key)) => {
            let message = "`client_tls_key_file` without `client_tls_cert_file`";
            return Err(section.report(Problem::new(&key.place, message)));
        }
        (None, None) => None,
    };
    match (mode, identity) {
        (ClientTlsMode::Disable, _) => Ok(ClientTls::Disable),
        (ClientTlsMode::Allow, Some(identity)) => Ok(ClientTls::Allow(identity)),
        (ClientTlsMode::Require, Some(identity)) => Ok(ClientTls::Require(identity)),
        (ClientTlsMode::Verify, Some(identity)) if identity.ca_file.is_some() => {
            Ok(ClientTls::Verify(identity))
        }
        (ClientTlsMode::Verify, Some(_)) => {
            let message = "certificates of clients can't be checked without `client_tls_ca_file`";
            Err(section.report(Problem::new(&section.place(), message)))
        }
        (ClientTlsMode::Allow | ClientTlsMode::Require | ClientTlsMode::Verify, None) => {
            let message = "TLS needs `client_tls_cert_file` and `client_tls_key_file`";
            Err(section.report(Problem::new(&section.place(), message)))
        }
    }
}

pub(crate) fn pool(section: &Section<'_>) -> Result<PoolSettings, Reported> {
    let pool_mode = section.choice("pool_mode", &POOL_MODES, PoolMode::Transaction);
    let default_pool_size = section.count("default_pool_size", 1..=MAX_POOL_SIZE, 20);
    let min = section.number("min_pool_size", 0..=MAX_POOL_SIZE);
    let reserve_pool_size = section.count("reserve_pool_size", 0..=MAX_POOL_SIZE, 0);
    let reserve_pool_timeout = section.time("reserve_pool_timeout", TIMEOUT, 5 * SECOND);
    let max_prepared_statements = section.count("max_prepared_statements", 1..=MAX_STATEMENTS, 200);
    let max_pinned_connections = section.count("max_pinned_connections", 0..=MAX_POOL_SIZE, 0);
    let server_connect_timeout = section.time("server_connect_timeout", TIMEOUT, 15 * SECOND);
    let server_login_retry = section.time("server_login_retry", TIMEOUT, 15 * SECOND);
    let server_idle_timeout = section.time_or_off("server_idle_timeout", LIFETIME, Some(10 * MINUTE));
    let server_lifetime = section.time_or_off("server_lifetime", LIFETIME, Some(HOUR));
    let server_check_delay = section.time("server_check_delay", Duration::ZERO..=DAY, 30 * SECOND);
    let server_reset_query = section.text_or_none("server_reset_query", Some("DISCARD ALL"));
    let server_reset_query_always = section.flag("server_reset_query_always", false);
    let server_check_query = section.text_or_none("server_check_query", Some("select 1"));
    section.close();
    let default_pool_size = default_pool_size?;
    let min_pool_size = match min? {
        None => 0,
        Some(min) => usize::try_from(min.value)
            .ok()
            .filter(|size| *size <= default_pool_size)
            .ok_or_else(|| {
                let message = format!(
                    "`min_pool_size` {} is above `default_pool_size` {default_pool_size}",
                    min.value
                );
                section.report(Problem::new(&min.place, message))
            })?,
    };
    Ok(PoolSettings {
        pool_mode: pool_mode?,
        default_pool_size,
        min_pool_size,
        reserve_pool_size: reserve_pool_size?,
        reserve_pool_timeout: reserve_pool_timeout?,
        max_prepared_statements: max_prepared_statements?,
        max_pinned_connections: max_pinned_connections?,
        server_connect_timeout: server_connect_timeout?,
        server_login_retry: server_login_retry?,
        server_idle_timeout: server_idle_timeout?,
        server_lifetime: server_lifetime?,
        server_check_delay: server_check_delay?,
        server_check_query: server_check_query?,
        server_reset_query: server_reset_query?,
        server_reset_query_always: server_reset_query_always?,
    })
}

/// A bound of connections under `key`; 0, as in PgBouncer, is no bound of its own.
pub(super) fn limit(section: &Section<'_>, key: &'static str) -> Result<Option<usize>, Reported> {
    let most = section.count(key, 0..=MAX_CLIENTS, 0)?;
    Ok((most > 0).then_some(most))
}

/// A size of a pool under `key`, at least `least`.
pub(super) fn pool_count(
    section: &Section<'_>,
    key: &'static str,
    least: u64,
) -> Result<Option<usize>, Reported> {
    let given = section.number(key, least..=MAX_POOL_SIZE)?;
    Ok(given.and_then(|field| usize::try_from(field.value).ok()))
}

/// The pool mode of a user or a database, if it has its own.
pub(super) fn pool_mode_of(section: &Section<'_>) -> Result<Option<PoolMode>, Reported> {
    let Some(_) = section.text("pool_mode")? else {
        return Ok(None);
    };
    section
        .choice("pool_mode", &POOL_MODES, PoolMode::Transaction)
        .map(Some)
}

pub(crate) fn limits(section: &Section<'_>) -> Result<Limits, Reported> {
    let max_client_conn = section.count("max_client_conn", 1..=MAX_CLIENTS, 1000);
    let max_user_client_connections = limit(section, "max_user_client_connections");
    let max_db_client_connections = limit(section, "max_db_client_connections");
    let max_user_connections = limit(section, "max_user_connections");
    let max_db_connections = limit(section, "max_db_connections");
    let client_login_timeout = section.time("client_login_timeout", TIMEOUT, MINUTE);
    let autodb_idle_timeout = section.time("autodb_idle_timeout", LIFETIME, HOUR);
    let query_wait_timeout = section.time_or_off("query_wait_timeout", TIMEOUT, Some(2 * MINUTE));
    let query_timeout = section.time_or_off("query_timeout", TIMEOUT, None);
    let idle_transaction_timeout = section.time_or_off("idle_transaction_timeout", TIMEOUT, None);
    let transaction_timeout = section.time_or_off("transaction_timeout", TIMEOUT, None);
    let client_idle_timeout = section.time_or_off("client_idle_timeout", LIFETIME, None);
    let drain_timeout = section.time("drain_timeout", TIMEOUT, 30 * SECOND);
    let takeover_timeout = section.time_or_off("takeover_timeout", TIMEOUT, Some(5 * MINUTE));
    let max_packet_size = section.size("max_packet_size", 64 * KIB..=MAX_PACKET, 64 * MIB);
    let scatter_max_rows = section.number("scatter_max_rows", 1..=MAX_SCATTER_ROWS);
    let scatter_max_bytes = section.size("scatter_max_bytes", 64 * KIB..=64 * GIB, 64 * MIB);
    section.close();
    Ok(Limits {
        max_client_conn: max_client_conn?,
        max_user_client_connections: max_user_client_connections?,
        max_db_client_connections: max_db_client_connections?,
        max_user_connections: max_user_connections?,
        max_db_connections: max_db_connections?,
        client_login_timeout: client_login_timeout?,
        autodb_idle_timeout: autodb_idle_timeout?,
        query_wait_timeout: query_wait_timeout?,
        query_timeout: query_timeout?,
        idle_transaction_timeout: idle_transaction_timeout?,
        transaction_timeout: transaction_timeout?,
        client_idle_timeout: client_idle_timeout?,
        drain_timeout: drain_timeout?,
        takeover_timeout: takeover_timeout?,
        max_packet_size: machine_size(section, max_packet_size?)?,
        scatter_max_rows: scatter_max_rows?.map_or(1_000_000, |rows| rows.value),
        scatter_max_bytes: machine_size(section, scatter_max_bytes?)?,
    })
}

/// `bytes` as this machine counts them.
pub(super) fn machine_size(section: &Section<'_>, bytes: u64) -> Result<usize, Reported> {
    usize::try_from(bytes).map_err(|_| {
        let message = format!("a size in {} is too large for this machine", section.label());
        section.report(Problem::new(&section.place(), message))
    })
}

pub(super) fn cache(section: &Section<'_>, files: &Files<'_>) -> Result<CacheSettings, Reported> {
    let memory_bytes = section.size("memory_bytes", 0..=TIB, 64 * MIB);
    let url = access::secret(section, &access::REDIS_URL, files);
    let key = access::secret(section, &access::KEY_SECRET, files);
    section.close();
    let (url, key) = (url?, key?);
    if let Some(Field { value, place }) = &url {
        redis_url(section, value.expose(), place)?;
    }
    if let Some(Field { value, place }) = &key
        && value.expose().len() < MIN_KEY_SECRET_BYTES
    {
        let message = format!("the key secret is shorter than {MIN_KEY_SECRET_BYTES} bytes");
        return Err(section.report(Problem::new(place, message).help("make one: openssl rand -hex 32")));
    }
    if let (Some(url), None) = (&url, &key) {
        let problem = Problem::new(
            &url.place,
            "a shared store needs a key secret, the same in every proxy",
        );
        return Err(
            section.report(problem.help("add key_secret_file, key_secret_env or key_secret to [cache]"))
        );
    }
    Ok(CacheSettings {
        memory_bytes: machine_size(section, memory_bytes?)?,
        redis: url.map(|url| RedisSettings { url: url.value }),
        key_secret: key.map(|key| key.value),
    })
}

/// The URL may hold a password, so no message repeats it.
fn redis_url(section: &Section<'_>, url: &str, place: &Place) -> Result<(), Reported> {
    let problem = if url.starts_with("rediss://") {
        Problem::new(place, "TLS towards Redis is not available yet")
    } else if url.strip_prefix("redis://").is_some_and(|rest| !rest.is_empty()) {
        return Ok(());
    } else {
        Problem::new(
            place,
            "`redis_url` must be redis://[user:password@]host[:port][/database]",
        )
    };
    Err(section.report(problem))
}

pub(super) fn stream(section: &Section<'_>) -> Result<StreamSettings, Reported> {
    let bootstrap = section.texts("kafka_bootstrap");
    let topic = section.text("topic");
    let prefix = section.text("slot_prefix");
    let slot_max_bytes = section.size("slot_max_bytes", 16 * MIB..=TIB, 4 * GIB);
    let heartbeat_interval = section.time("heartbeat_interval", 10 * MS..=MINUTE, 250 * MS);
    section.close();
    let topic = match topic? {
        Some(topic) => name_of(
            section,
            "topic",
            topic,
            MAX_TOPIC_BYTES,
            |b| matches!(b, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-'),
        )?,
        None => "cache-invalidation-events".to_owned(),
    };
    let slot_prefix = match prefix? {
        Some(prefix) => name_of(
            section,
            "slot_prefix",
            prefix,
            MAX_SLOT_PREFIX_BYTES,
            |b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'),
        )?,
        None => "ringway".to_owned(),
    };
    let transport = match bootstrap? {
        None => StreamTransport::InProcess,
        Some(list) => StreamTransport::Kafka {
            bootstrap: brokers(section, &list)?,
            topic,
        },
    };
    Ok(StreamSettings {
        transport,
        slot_prefix,
        slot_max_bytes: slot_max_bytes?,
        heartbeat_interval: heartbeat_interval?,
    })
}

fn name_of(
    section: &Section<'_>,
    key: &str,
    field: Field<String>,
    longest: usize,
    allowed: impl Fn(u8) -> bool,
) -> Result<String, Reported> {
    if field.value.len() <= longest && field.value.bytes().all(allowed) {
        return Ok(field.value);
    }
    let message = format!(
        "`{key}` must be a plain name of at most {longest} characters, not `{}`",
        field.value
    );
    Err(section.report(Problem::new(&field.place, message)))
}

fn brokers(section: &Section<'_>, list: &Field<Vec<Field<String>>>) -> Result<Vec<String>, Reported> {
    if list.value.is_empty() {
        let problem = Problem::new(&list.place, "`kafka_bootstrap` names no broker");
        return Err(section.report(problem.help("leave it out to keep the stream in the process")));
    }
    let mut brokers = Vec::new();
    for Field { value, place } in &list.value {
        let good = value.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains([',', ' ']) && port.parse::<u16>().is_ok_and(|port| port != 0)
        });
        if !good {
            let message = format!("a broker is written host:port, not `{value}`");
            return Err(section.report(Problem::new(place, message)));
        }
        brokers.push(value.clone());
    }
    Ok(brokers)
}

pub(super) fn health(section: &Section<'_>) -> Result<HealthSettings, Reported> {
    let probe_interval = section.time("probe_interval", 10 * MS..=MINUTE, 500 * MS);
    let probe_timeout = section.time("probe_timeout", 10 * MS..=MINUTE, 2 * SECOND);
    let failures = section.number("failures_until_down", 1..=100);
    section.close();
    Ok(HealthSettings {
        probe_interval: probe_interval?,
        probe_timeout: probe_timeout?,
        failures_until_down: failures?.map_or(2, |count| u32::try_from(count.value).unwrap_or(u32::MAX)),
    })
}

pub(crate) fn log(section: &Section<'_>) -> Result<LogSettings, Reported> {
    let level = section.choice("level", &LOG_LEVELS, LogLevel::Info);
    let format = section.choice("format", &LOG_FORMATS, LogFormat::Text);
    section.close();
    Ok(LogSettings {
        level: level?,
        format: format?,
    })
}

pub(super) fn map_file(section: &Section<'_>, files: &Files<'_>) -> Result<PathBuf, Reported> {
    let file = section.text("map_file");
    section.close();
    Ok(files.path(file?.as_ref().map_or("slots.json", |field| &field.value)))
}
