//! What a reload changes, and the list of all settings.

use crate::decode::tests::{SAMPLE, parse};
use expect_test::{Expect, expect};

/// Reloads the sample with `from` replaced by `to`.
fn check(edits: &[(&str, &str)], expect: &Expect) {
    let running = parse(SAMPLE, &[]).expect("the sample");
    let mut text = SAMPLE.to_owned();
    for (from, to) in edits {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let new = parse(&text, &[("NEW_PASSWORD", "n3w")]).expect("still valid");
    let reload = running.reload(&new);
    expect.assert_eq(&reload.to_string());
    // Reading the same file once more changes nothing else.
    let again = reload.settings.reload(&new);
    assert_eq!((again.settings, again.applied), (reload.settings, Vec::new()));
    assert_eq!(again.needs_restart, reload.needs_restart);
}

#[test]
fn a_reload_says_what_it_changes_and_what_it_cannot() {
    check(&[], &expect!["nothing changed"]);
    check(
        &[
            ("# default_pool_size = 20", "default_pool_size = 30"),
            ("# level = \"info\"", "level = \"debug\""),
        ],
        &expect![[r#"
            changed pool.default_pool_size: 20 -> 30
            changed log.level: info -> debug"#]],
    );
    check(
        &[
            ("# port = 6432", "port = 7432"),
            ("# query_timeout = \"off\"", "query_timeout = \"5s\""),
        ],
        &expect![[r#"
            changed limits.query_timeout: off -> 5s
            needs a restart, not changed: proxy_id: us-east-6432 -> us-east-7432
            needs a restart, not changed: listen.port: 6432 -> 7432"#]],
    );
    check(
        &[(
            "password_env = \"RINGWAY_SHOP_PASSWORD\"",
            "password_env = \"NEW_PASSWORD\"",
        )],
        &expect!["changed user.shop.password: *** -> ***"],
    );
    check(
        &[
            ("port = 15435", "port = 15499"),
            ("max_bytes = \"16KiB\"", "max_bytes = \"32KiB\""),
        ],
        &expect![[r#"
            changed table.public.orders.cache: level=ryw bound=2s ttl=5m max_bytes=16KiB on_gate_closed=origin -> level=ryw bound=2s ttl=5m max_bytes=32KiB on_gate_closed=origin
            needs a restart, not changed: shard.shard-1.endpoint.1.port: 15435 -> 15499"#]],
    );
    check(
        &[(
            "name = \"inventory\"\nsharding = \"hash\"\ncolumn = \"product_id\"",
            "name = \"inventory\"\nsharding = \"reference\"",
        )],
        &expect![[r#"
            needs a restart, not changed: table.public.inventory.sharding: hash -> reference
            needs a restart, not changed: table.public.inventory.column: product_id -> (none)
            needs a restart, not changed: table.public.inventory.colocation: product_id -> (none)"#]],
    );
    check(
        &[("replica_bound = \"5s\"", "")],
        &expect!["changed table.public.orders.replica_bound: 5s -> 10s"],
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "one listing of every setting")]
fn every_value_is_listed_without_secrets() {
    let entries = parse(SAMPLE, &[]).expect("the sample").entries();
    let shown: Vec<String> = entries
        .iter()
        .map(|entry| {
            format!(
                "{}{} = {}",
                if entry.changeable { "  " } else { "! " },
                entry.key,
                entry.value()
            )
        })
        .collect();
    expect![[r#"
        ! cluster = ringway
        ! region = us-east
        ! proxy_id = us-east-6432
        ! worker_threads = 1
        ! io = auto
        ! listen.addr = 127.0.0.1
        ! listen.port = 6432
        ! listen.unix_socket_dir = off
        ! listen.unix_socket_mode = 
        ! listen.unix_socket_group = 
        ! listen.listen_backlog = 1024
        ! listen.tcp_keepalive = true
        ! listen.tcp_keepidle = 30s
        ! listen.tcp_keepintvl = 30s
        ! listen.tcp_keepcnt = 4
        ! listen.tcp_user_timeout = off
        ! listen.http_addr = 127.0.0.1
        ! listen.http_port = 8432
        ! listen.client_tls_sslmode = disable
        ! listen.client_tls_cert_file = 
        ! listen.client_tls_key_file = 
        ! listen.client_tls_ca_file = 
          pool.pool_mode = transaction
          pool.default_pool_size = 20
          pool.min_pool_size = 0
          pool.reserve_pool_size = 0
          pool.reserve_pool_timeout = 5s
          pool.max_prepared_statements = 200
          pool.max_pinned_connections = 0
          pool.server_connect_timeout = 15s
          pool.server_login_retry = 15s
          pool.server_idle_timeout = 10m
          pool.server_lifetime = 1h
          pool.server_check_delay = 30s
          pool.server_check_query = select 1
          pool.server_reset_query = DISCARD ALL
          pool.server_reset_query_always = false
          limits.max_client_conn = 1000
          limits.max_user_client_connections = 0
          limits.max_db_client_connections = 0
          limits.max_user_connections = 0
          limits.max_db_connections = 0
          limits.client_login_timeout = 1m
          limits.autodb_idle_timeout = 1h
          limits.query_wait_timeout = 2m
          limits.query_timeout = off
          limits.idle_transaction_timeout = off
          limits.transaction_timeout = off
          limits.client_idle_timeout = off
          limits.drain_timeout = 30s
          limits.takeover_timeout = 5m
          limits.max_packet_size = 64MiB
          limits.scatter_max_rows = 1000000
          limits.scatter_max_bytes = 64MiB
          auth.admin_users = ringway
          auth.stats_users = 
        ! control_user.name = ringway
        ! control_user.password = ***
          auth.auth_type = scram-sha-256
          user.shop.password = ***
          user.ringway.password = ***
        ! database.shop.dbname = shop
        ! database.shop.default_shard = shard-0
        ! shard.shard-0.endpoint.0.region = us-east
        ! shard.shard-0.endpoint.0.host = 127.0.0.1
        ! shard.shard-0.endpoint.0.port = 15432
        ! shard.shard-0.endpoint.0.server_tls_sslmode = disable
        ! shard.shard-0.endpoint.1.region = us-west
        ! shard.shard-0.endpoint.1.host = 127.0.0.1
        ! shard.shard-0.endpoint.1.port = 15433
        ! shard.shard-0.endpoint.1.server_tls_sslmode = disable
        ! shard.shard-1.endpoint.0.region = us-east
        ! shard.shard-1.endpoint.0.host = 127.0.0.1
        ! shard.shard-1.endpoint.0.port = 15434
        ! shard.shard-1.endpoint.0.server_tls_sslmode = disable
        ! shard.shard-1.endpoint.1.region = us-west
        ! shard.shard-1.endpoint.1.host = 127.0.0.1
        ! shard.shard-1.endpoint.1.port = 15435
        ! shard.shard-1.endpoint.1.server_tls_sslmode = disable
        ! table.public.users.sharding = hash
        ! table.public.users.column = user_id
        ! table.public.users.colocation = user_id
          table.public.users.replica_bound = 10s
          table.public.users.cache = level=ryw bound=2s ttl=5m max_bytes=64KiB on_gate_closed=origin
        ! table.public.orders.sharding = hash
        ! table.public.orders.column = user_id
        ! table.public.orders.colocation = user_id
          table.public.orders.replica_bound = 5s
          table.public.orders.cache = level=ryw bound=2s ttl=5m max_bytes=16KiB on_gate_closed=origin
        ! table.public.order_items.sharding = hash
        ! table.public.order_items.column = user_id
        ! table.public.order_items.colocation = user_id
          table.public.order_items.replica_bound = 10s
        ! table.public.inventory.sharding = hash
        ! table.public.inventory.column = product_id
        ! table.public.inventory.colocation = product_id
          table.public.inventory.replica_bound = 10s
        ! table.public.products.sharding = reference
          table.public.products.replica_bound = 10s
          table.public.products.cache = level=bounded bound=2s ttl=5m max_bytes=64KiB on_gate_closed=origin
        ! table.audit.log.sharding = single
        ! table.audit.log.shard = 1
          table.audit.log.replica_bound = 10s
        ! cache.memory_bytes = 64MiB
        ! stream.slot_prefix = ringway
        ! stream.slot_max_bytes = 4GiB
        ! stream.heartbeat_interval = 250ms
        ! health.probe_interval = 500ms
        ! health.probe_timeout = 2s
        ! health.failures_until_down = 2
        ! topology.map_file = /etc/ringway/slots.json
          log.level = info
        ! log.format = text"#]]
    .assert_eq(&shown.join("\n"));
}
