//! The settings as a list of keys and values: what SHOW CONFIG prints and what two configurations are compared by.

use crate::Secret;
use crate::auth::{AuthRules, PoolOverrides, UserSecret};
use crate::model::{
    ClientTls, IoDriver, LogFormat, PoolMode, ServerTls, Settings, ShardEndpoint, StreamTransport,
};
use crate::units::{format_duration, format_size};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use topology::{CacheLevel, CachePolicy, GateClosed, Sharding, TableConfig};

/// One setting, as operators see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Section and name: `limits.max_client_conn`, `user.shop.password`.
    pub key: String,
    /// Whether a reload can change it.
    pub changeable: bool,
    value: Value,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Value {
    Text(String),
    Secret(Secret),
}

impl Entry {
    /// The value as the configuration would write it; `***` for a secret.
    pub fn value(&self) -> &str {
        match &self.value {
            Value::Text(text) => text,
            Value::Secret(_) => "***",
        }
    }
}

/// Collects entries.
struct Entries(Vec<Entry>);

impl Entries {
    fn fixed(&mut self, key: impl Into<String>, value: impl ToString) {
        self.0.push(Entry {
            key: key.into(),
            changeable: false,
            value: Value::Text(value.to_string()),
        });
    }

    fn changeable(&mut self, key: impl Into<String>, value: impl ToString) {
        self.0.push(Entry {
            key: key.into(),
            changeable: true,
            value: Value::Text(value.to_string()),
        });
    }

    /// Only if there is a value.
    fn given(&mut self, key: String, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.changeable(key, value);
        }
    }

    fn secret(&mut self, key: impl Into<String>, changeable: bool, secret: &Secret) {
        self.0.push(Entry {
            key: key.into(),
            changeable,
            value: Value::Secret(secret.clone()),
        });
    }
}

impl Settings {
    /// Every setting with its value, in the order of the sample.
    pub fn entries(&self) -> Vec<Entry> {
        let mut out = Entries(Vec::new());
        out.fixed("cluster", &self.cluster);
        out.fixed("region", &self.region);
        out.fixed("proxy_id", &self.proxy_id);
        out.fixed("worker_threads", self.worker_threads);
        let io = match self.io {
            IoDriver::Auto => "auto",
            IoDriver::Tokio => "tokio",
            IoDriver::IoUring => "io_uring",
        };
        out.fixed("io", io);
        self.listen_entries(&mut out);
        self.pool_entries(&mut out);
        self.limit_entries(&mut out);
        self.auth_entries(&mut out);
        self.cluster_entries(&mut out);
        for table in &self.tables {
            table_entries(table, &mut out);
        }
        self.service_entries(&mut out);
        out.0
    }

    fn listen_entries(&self, out: &mut Entries) {
        out.fixed("listen.addr", &self.listen.addresses);
        out.fixed("listen.port", self.listen.port);
        self.socket_entries(out);
        out.fixed("listen.http_addr", self.listen.http.ip());
        out.fixed("listen.http_port", self.listen.http.port());
        let (mode, identity) = match &self.listen.client_tls {
            ClientTls::Disable => ("disable", None),
            ClientTls::Allow(identity) => ("allow", Some(identity)),
            ClientTls::Require(identity) => ("require", Some(identity)),
            ClientTls::Verify(identity) => ("verify-ca", Some(identity)),
        };
        out.fixed("listen.client_tls_sslmode", mode);
        out.fixed(
            "listen.client_tls_cert_file",
            identity.map(|i| path(&i.cert_file)).unwrap_or_default(),
        );
        out.fixed(
            "listen.client_tls_key_file",
            identity.map(|i| path(&i.key_file)).unwrap_or_default(),
        );
        out.fixed(
            "listen.client_tls_ca_file",
            identity
                .and_then(|i| i.ca_file.as_deref())
                .map(path)
                .unwrap_or_default(),
        );
    }

    fn socket_entries(&self, out: &mut Entries) {
        let unix = self.listen.unix_socket.as_ref();
        let folder = unix.map_or_else(|| "off".to_owned(), |unix| unix.folder.to_string());
        out.fixed("listen.unix_socket_dir", folder);
        let mode = unix.map(|unix| format!("{:04o}", unix.mode));
        out.fixed("listen.unix_socket_mode", mode.unwrap_or_default());
        let group = unix.and_then(|unix| unix.group.clone());
        out.fixed("listen.unix_socket_group", group.unwrap_or_default());
        out.fixed("listen.listen_backlog", self.listen.backlog);
        let tcp = self.listen.tcp;
        out.fixed("listen.tcp_keepalive", tcp.keepalive.is_some());
        if let Some(keepalive) = tcp.keepalive {
            out.fixed("listen.tcp_keepidle", format_duration(keepalive.idle));
            out.fixed("listen.tcp_keepintvl", format_duration(keepalive.interval));
            out.fixed("listen.tcp_keepcnt", keepalive.count);
        }
        let user_timeout = tcp.user_timeout.map_or_else(|| "off".to_owned(), format_duration);
        out.fixed("listen.tcp_user_timeout", user_timeout);
    }

    fn pool_entries(&self, out: &mut Entries) {
        let pool = &self.pool;
        out.changeable("pool.pool_mode", pool.pool_mode.as_str());
        out.changeable("pool.default_pool_size", pool.default_pool_size);
        out.changeable("pool.min_pool_size", pool.min_pool_size);
        out.changeable("pool.reserve_pool_size", pool.reserve_pool_size);
        out.changeable(
            "pool.reserve_pool_timeout",
            format_duration(pool.reserve_pool_timeout),
        );
        out.changeable("pool.max_prepared_statements", pool.max_prepared_statements);
        out.changeable("pool.max_pinned_connections", pool.max_pinned_connections);
        out.changeable(
            "pool.server_connect_timeout",
            format_duration(pool.server_connect_timeout),
        );
        out.changeable(
            "pool.server_login_retry",
            format_duration(pool.server_login_retry),
        );
        out.changeable("pool.server_idle_timeout", or_off(pool.server_idle_timeout));
        out.changeable("pool.server_lifetime", or_off(pool.server_lifetime));
        out.changeable(
            "pool.server_check_delay",
            format_duration(pool.server_check_delay),
        );
        out.changeable(
            "pool.server_check_query",
            pool.server_check_query.as_deref().unwrap_or_default(),
        );
        out.changeable(
            "pool.server_reset_query",
            pool.server_reset_query.as_deref().unwrap_or_default(),
        );
        out.changeable("pool.server_reset_query_always", pool.server_reset_query_always);
    }

    fn limit_entries(&self, out: &mut Entries) {
        let limits = &self.limits;
        out.changeable("limits.max_client_conn", limits.max_client_conn);
        for (key, most) in [
            ("max_user_client_connections", limits.max_user_client_connections),
            ("max_db_client_connections", limits.max_db_client_connections),
            ("max_user_connections", limits.max_user_connections),
            ("max_db_connections", limits.max_db_connections),
        ] {
            out.changeable(format!("limits.{key}"), most.unwrap_or(0));
        }
        out.changeable(
            "limits.client_login_timeout",
            format_duration(limits.client_login_timeout),
        );
        out.changeable(
            "limits.autodb_idle_timeout",
            format_duration(limits.autodb_idle_timeout),
        );
        out.changeable("limits.query_wait_timeout", or_off(limits.query_wait_timeout));
        out.changeable("limits.query_timeout", or_off(limits.query_timeout));
        out.changeable(
            "limits.idle_transaction_timeout",
            or_off(limits.idle_transaction_timeout),
        );
        out.changeable("limits.transaction_timeout", or_off(limits.transaction_timeout));
        out.changeable("limits.client_idle_timeout", or_off(limits.client_idle_timeout));
        out.changeable("limits.drain_timeout", format_duration(limits.drain_timeout));
        out.changeable("limits.takeover_timeout", or_off(limits.takeover_timeout));
        out.changeable("limits.max_packet_size", size(limits.max_packet_size));
        out.changeable("limits.scatter_max_rows", limits.scatter_max_rows);
        out.changeable("limits.scatter_max_bytes", size(limits.scatter_max_bytes));
    }

    fn auth_entries(&self, out: &mut Entries) {
        let names = |set: &BTreeSet<String>| set.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        out.changeable("auth.admin_users", names(&self.auth.admin_users));
        out.changeable("auth.stats_users", names(&self.auth.stats_users));
        // Probes and replication hold its connections from the start on.
        if let Some(control_user) = &self.auth.control_user {
            out.fixed("control_user.name", &control_user.name);
            if let Some(password) = control_user.password() {
                out.secret("control_user.password", false, password);
            }
        }
        match &self.auth.rules {
            AuthRules::All(method) => out.changeable("auth.auth_type", method),
            AuthRules::Hba(rules) => {
                out.changeable("auth.auth_type", "hba");
                for (number, rule) in rules.iter().enumerate() {
                    out.changeable(format!("hba.{number}"), rule);
                }
            }
        }
        if let Some(query) = &self.auth.query {
            out.changeable("auth.auth_user", &query.user);
            out.changeable("auth.auth_query", &query.sql);
            out.changeable("auth.auth_dbname", query.dbname.as_deref().unwrap_or_default());
        }
        for user in &self.auth.users {
            let key = |name: &str| format!("user.{}.{name}", user.name);
            match &user.secret {
                Some(UserSecret::Password(secret) | UserSecret::Scram(secret) | UserSecret::Md5(secret)) => {
                    out.secret(key("password"), true, secret);
                }
                None => out.changeable(key("password"), ""),
            }
            pool_overrides(&user.pool, &key, out);
            out.given(key("max_user_connections"), user.max_user_connections);
            out.given(
                key("max_user_client_connections"),
                user.max_user_client_connections,
            );
        }
    }

    fn cluster_entries(&self, out: &mut Entries) {
        for database in self.databases.iter().chain(&self.wildcard) {
            out.fixed(format!("database.{}.dbname", database.name), &database.dbname);
            let key = |name: &str| format!("database.{}.{name}", database.name);
            pool_overrides(&database.pool, &key, out);
            out.given(key("max_db_connections"), database.max_db_connections);
            out.given(
                key("max_db_client_connections"),
                database.max_db_client_connections,
            );
            let shard = self
                .shard(database.default_shard)
                .map_or("", |shard| &*shard.name);
            out.fixed(format!("database.{}.default_shard", database.name), shard);
        }
        for shard in &self.shards {
            for (place, ShardEndpoint { endpoint, tls }) in shard.endpoints.iter().enumerate() {
                let key = |name: &str| format!("shard.{}.endpoint.{place}.{name}", shard.name);
                out.fixed(key("region"), &endpoint.region);
                out.fixed(key("host"), &endpoint.host);
                out.fixed(key("port"), endpoint.port);
                let (mode, ca_file) = match tls {
                    ServerTls::Disable => ("disable", None),
                    ServerTls::Prefer => ("prefer", None),
                    ServerTls::Require => ("require", None),
                    ServerTls::VerifyCa { ca_file } => ("verify-ca", Some(ca_file)),
                    ServerTls::VerifyFull { ca_file } => ("verify-full", Some(ca_file)),
                };
                out.fixed(key("server_tls_sslmode"), mode);
                if let Some(ca_file) = ca_file {
                    out.fixed(key("server_tls_ca_file"), path(ca_file));
                }
            }
        }
    }

    fn service_entries(&self, out: &mut Entries) {
        out.fixed("cache.memory_bytes", size(self.cache.memory_bytes));
        if let Some(redis) = &self.cache.redis {
            out.secret("cache.redis_url", false, &redis.url);
        }
        if let Some(key) = &self.cache.key_secret {
            out.secret("cache.key_secret", false, key);
        }
        if let StreamTransport::Kafka { bootstrap, topic } = &self.stream.transport {
            out.fixed("stream.kafka_bootstrap", bootstrap.join(","));
            out.fixed("stream.topic", topic);
        }
        out.fixed("stream.slot_prefix", &self.stream.slot_prefix);
        out.fixed("stream.slot_max_bytes", format_size(self.stream.slot_max_bytes));
        out.fixed(
            "stream.heartbeat_interval",
            format_duration(self.stream.heartbeat_interval),
        );
        out.fixed(
            "health.probe_interval",
            format_duration(self.health.probe_interval),
        );
        out.fixed("health.probe_timeout", format_duration(self.health.probe_timeout));
        out.fixed("health.failures_until_down", self.health.failures_until_down);
        out.fixed("topology.map_file", path(&self.map_file));
        out.changeable("log.level", self.log.level.as_str());
        let format = match self.log.format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        out.fixed("log.format", format);
    }
}

fn pool_overrides(pool: &PoolOverrides, key: &impl Fn(&str) -> String, out: &mut Entries) {
    out.given(key("pool_mode"), pool.pool_mode.map(PoolMode::as_str));
    out.given(key("pool_size"), pool.pool_size);
    out.given(key("min_pool_size"), pool.min_pool_size);
    out.given(key("reserve_pool_size"), pool.reserve_pool_size);
}

/// Where its rows live can't change under a running proxy; what of them may be cached, and how fresh, can.
fn table_entries(table: &TableConfig, out: &mut Entries) {
    let key = |name: &str| format!("table.{}.{name}", table.name);
    match &table.sharding {
        Sharding::Hash { column, colocation } => {
            out.fixed(key("sharding"), "hash");
            out.fixed(key("column"), column);
            out.fixed(key("colocation"), colocation);
        }
        Sharding::Reference => out.fixed(key("sharding"), "reference"),
        Sharding::Single { shard } => {
            out.fixed(key("sharding"), "single");
            out.fixed(key("shard"), shard);
        }
    }
    out.changeable(key("replica_bound"), format_duration(table.replica_bound));
    if let Some(policy) = &table.cache {
        out.changeable(key("cache"), cache(policy));
    }
}

fn cache(policy: &CachePolicy) -> String {
    let level = match policy.level {
        CacheLevel::Ryw => "ryw",
        CacheLevel::Bounded => "bounded",
    };
    let gate = match policy.on_gate_closed {
        GateClosed::Origin => "origin".to_owned(),
        GateClosed::Stale(most) => format!("stale({})", format_duration(most)),
        GateClosed::Error => "error".to_owned(),
    };
    let (bound, ttl) = (format_duration(policy.bound), format_duration(policy.ttl));
    format!(
        "level={level} bound={bound} ttl={ttl} max_bytes={} on_gate_closed={gate}",
        size(policy.max_bytes)
    )
}

fn or_off(span: Option<Duration>) -> String {
    span.map_or_else(|| "off".to_owned(), format_duration)
}

fn size(bytes: usize) -> String {
    format_size(u64::try_from(bytes).unwrap_or(u64::MAX))
}

fn path(path: &Path) -> String {
    path.display().to_string()
}
