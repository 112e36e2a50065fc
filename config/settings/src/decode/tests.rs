//! The sample must be read, with the defaults it states; every kind of mistake has its exact text.

use super::Input;
use crate::{Settings, SettingsError};
use expect_test::{Expect, expect};
use proptest::prelude::*;
use std::ffi::OsString;
use std::io;
use std::path::Path;

mod access;

pub(crate) const SAMPLE: &str = include_str!("../../../ringway.toml");
const ENVIRONMENT: [(&str, &str); 3] = [
    ("RINGWAY_CONTROL_PASSWORD", "qu1ltzy"),
    ("RINGWAY_SHOP_PASSWORD", "hunter2"),
    ("PATH", "/bin"),
];

pub(crate) fn parse(text: &str, extra: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let environment = ENVIRONMENT.iter().chain(extra);
    let environment = environment.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let read_file = |path: &Path| match path.to_str() {
        Some("/etc/ringway/secret") => Ok("from-a-file\n".to_owned()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    Settings::parse(
        Input {
            path: Path::new("/etc/ringway/ringway.toml"),
            text,
            read_file: &read_file,
        },
        environment,
    )
}

/// The smallest configuration that is valid.
pub(crate) const SMALL: &str = r#"region = "us-east"
[control_user]
name = "ringway"
password = "qu1ltzy"
[[user]]
name = "shop"
password = "hunter2"
[[database]]
name = "shop"
[[shard]]
name = "shard-0"
[[shard.endpoint]]
region = "us-east"
host = "127.0.0.1"
port = 15432
"#;

/// `SMALL` with `from` replaced by `to`; its mistakes, one line each.
pub(crate) fn check(from: &str, to: &str, expect: &Expect) {
    assert!(SMALL.contains(from), "{from}");
    check_env(&SMALL.replace(from, to), &[], expect);
}

fn check_env(text: &str, extra: &[(&str, &str)], expect: &Expect) {
    let error = parse(text, extra).expect_err("a mistake");
    let shown = format!("{error}\n{}\n{error:?}", error.render(false));
    assert!(
        !shown.contains("hunter2") && !shown.contains("qu1ltzy"),
        "{shown}"
    );
    expect.assert_eq(&error.to_string());
}

#[test]
fn the_sample_is_valid() {
    let settings = parse(SAMPLE, &[]).expect("the sample");
    assert_eq!(settings.proxy_id.as_str(), "us-east-6432");
    assert_eq!(
        settings.endpoints().map(|e| e.endpoint.id.0).collect::<Vec<_>>(),
        [0, 1, 2, 3]
    );
    assert_eq!(
        settings
            .auth
            .user("shop")
            .and_then(|user| user.password())
            .map(crate::Secret::expose),
        Some("hunter2")
    );
    assert_eq!(settings.map_file, Path::new("/etc/ringway/slots.json"));
    let shown = format!("{settings:?}");
    assert!(
        !shown.contains("hunter2") && !shown.contains("qu1ltzy"),
        "{shown}"
    );
}

#[test]
fn the_sample_states_the_defaults() {
    let with_defaults: String = SAMPLE.lines().map(uncommented).collect();
    assert!(
        with_defaults.contains("\nio = ") && with_defaults.contains("\nslot_max_bytes = "),
        "{with_defaults}"
    );
    assert_eq!(
        parse(&with_defaults, &[]).expect("defaults"),
        parse(SAMPLE, &[]).expect("the sample")
    );
}

/// A commented key without its `# `; other comments and keys without a default left out.
fn uncommented(line: &str) -> String {
    let without_default = [
        "proxy_id",
        "redis_url",
        "key_secret",
        "kafka_bootstrap",
        "client_tls_c",
        "client_tls_key",
        "server_tls_ca",
        "auth_user",
        "auth_query",
        "auth_dbname",
        "pool_size",
    ];
    let line = match line.strip_prefix("# ") {
        Some(rest) if rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) => rest,
        Some(_) => "",
        None => line,
    };
    if without_default.iter().any(|key| line.starts_with(key)) {
        String::new()
    } else {
        format!("{line}\n")
    }
}

#[test]
fn every_optional_key_of_the_sample_is_known() {
    let all: String = SAMPLE
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) => {
                format!("{rest}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    let settings = parse(&all, &[("RINGWAY_CACHE_KEY", "0123456789abcdef")]).expect("all keys");
    assert!(settings.cache.redis.is_some() && settings.cache.key_secret.is_some());
}

#[test]
fn unknown_keys_name_the_nearest() {
    check(
        "[control_user]",
        "[listen]\nprot = 1\n[control_user]",
        &expect!["/etc/ringway/ringway.toml:3:1: unknown key `prot` in [listen] (did you mean `port`?)"],
    );
    check(
        "[control_user]",
        "[listen]\ndefault_pool_size = 1\n[control_user]",
        &expect![
            "/etc/ringway/ringway.toml:3:1: unknown key `default_pool_size` in [listen] (it belongs in [pool])"
        ],
    );
    check(
        "[control_user]",
        "[listne]\nport = 1\n[control_user]",
        &expect![
            "/etc/ringway/ringway.toml:2:2: unknown key `listne` at the top, above the sections (did you mean `listen`?)"
        ],
    );
    check(
        "host = ",
        "hots = ",
        &expect![[r#"
        /etc/ringway/ringway.toml:12:1: [[shard.endpoint]] has no `host`
        /etc/ringway/ringway.toml:14:1: unknown key `hots` in [[shard.endpoint]] (did you mean `host`?)"#]],
    );
    check(
        "[control_user]",
        "[log]\nauth_query = 1\n[control_user]",
        &expect!["/etc/ringway/ringway.toml:3:1: unknown key `auth_query` in [log] (it belongs in [auth])"],
    );
    check(
        "region = \"us-east\"\n[c",
        "region = \"us-east\"\nport = 1\n[c",
        &expect![
            "/etc/ringway/ringway.toml:2:1: unknown key `port` at the top, above the sections (it belongs in [listen])"
        ],
    );
}

#[test]
fn bad_values() {
    check(
        "port = 15432",
        "port = 99999",
        &expect![
            "/etc/ringway/ringway.toml:15:8: `port` must be a whole number from 1 to 65535, not `99999`"
        ],
    );
    check(
        "port = 15432",
        "port = \"x\"",
        &expect!["/etc/ringway/ringway.toml:15:8: `port` must be a whole number from 1 to 65535, not `x`"],
    );
    check(
        "[control_user]",
        "[limits]\nquery_timeout = 30\n[control_user]",
        &expect![[
            r#"/etc/ringway/ringway.toml:3:17: `query_timeout` must be a time from 1ms to 1d or "off", such as "500ms" or "2s", not `30`"#
        ]],
    );
    check(
        "[control_user]",
        "[limits]\nquery_wait_timeout = \"2 weeks\"\n[control_user]",
        &expect![[
            r#"/etc/ringway/ringway.toml:3:22: `query_wait_timeout` must be a time from 1ms to 1d or "off", such as "500ms" or "2s", not `2 weeks`"#
        ]],
    );
    check(
        "[control_user]",
        "[limits]\nmax_packet_size = \"2GiB\"\n[control_user]",
        &expect![[
            r#"/etc/ringway/ringway.toml:3:19: `max_packet_size` must be a size from 64KiB to 1073741823, such as 65536 or "64KiB", not `2GiB`"#
        ]],
    );
    check(
        "[control_user]",
        "[pool]\npool_mode = \"transactoin\"\n[control_user]",
        &expect![
            "/etc/ringway/ringway.toml:3:13: `pool_mode` must be one of transaction, session, statement, not `transactoin` (did you mean `transaction`?)"
        ],
    );
    check(
        "[control_user]",
        "[pool]\nmin_pool_size = 21\n[control_user]",
        &expect!["/etc/ringway/ringway.toml:3:17: `min_pool_size` 21 is above `default_pool_size` 20"],
    );
    check(
        "region = \"us-east\"\n[c",
        "region = \"us-east\"\nio = \"uring\"\n[c",
        &expect!["/etc/ringway/ringway.toml:2:6: `io` must be one of auto, tokio, io_uring, not `uring`"],
    );
    check(
        "region = \"us-east\"\n[c",
        "region = \"us-east\"\nworker_threads = 0\n[c",
        &expect![
            "/etc/ringway/ringway.toml:2:18: `worker_threads` must be a whole number from 1 to 256, not `0`"
        ],
    );
    check(
        "region = \"us-east\"\n[c",
        "region = \"us-east\"\nproxy_id = \"A B\"\n[c",
        &expect![
            "/etc/ringway/ringway.toml:2:12: `proxy_id` must be at most 40 lower-case letters, digits, - and _, not `A B`"
        ],
    );
}

#[test]
fn bad_addresses_and_names() {
    check(
        "region = \"us-east\"\n[c",
        "region = \"us-east\"\ncluster = \"a/b\"\n[c",
        &expect![
            "/etc/ringway/ringway.toml:2:11: `cluster` must be at most 63 letters, digits, - and _, not `a/b`"
        ],
    );
    check(
        "[control_user]",
        "[listen]\naddr = \"localhost\"\n[control_user]",
        &expect![
            "/etc/ringway/ringway.toml:3:8: `addr` must be an IP address, not `localhost` (several are separated by commas; `*`: every address of this machine, `off`: none)"
        ],
    );
    check(
        "[control_user]",
        "[listen]\nhttp_port = 6432\n[control_user]",
        &expect!["/etc/ringway/ringway.toml:3:13: PostgreSQL and HTTP can't both listen on 127.0.0.1:6432"],
    );
    check(
        "[control_user]",
        "[listen]\nclient_tls_sslmode = \"require\"\n[control_user]",
        &expect!["/etc/ringway/ringway.toml:2:1: TLS needs `client_tls_cert_file` and `client_tls_key_file`"],
    );
    check(
        "[control_user]",
        "[listen]\nclient_tls_cert_file = \"a\"\n[control_user]",
        &expect!["/etc/ringway/ringway.toml:3:24: `client_tls_cert_file` without `client_tls_key_file`"],
    );
    check(
        "[control_user]",
        "[stream]\nkafka_bootstrap = [\"kafka\"]\n[control_user]",
        &expect!["/etc/ringway/ringway.toml:3:20: a broker is written host:port, not `kafka`"],
    );
    check(
        "[control_user]",
        "[stream]\nkafka_bootstrap = []\n[control_user]",
        &expect![
            "/etc/ringway/ringway.toml:3:19: `kafka_bootstrap` names no broker (leave it out to keep the stream in the process)"
        ],
    );
    check(
        "[control_user]",
        "[stream]\nslot_prefix = \"Ringway!\"\n[control_user]",
        &expect![
            "/etc/ringway/ringway.toml:3:15: `slot_prefix` must be a plain name of at most 16 characters, not `Ringway!`"
        ],
    );
    check(
        "[[user]]",
        "[user]",
        &expect![[r#"
        /etc/ringway/ringway.toml:1:1: the configuration has no [[user]]: nobody could log in
        /etc/ringway/ringway.toml:5:1: `user` must be a list of tables, written [[user]], not a table"#]],
    );
    check(
        "[control_user]",
        "[log]\nlevel = 3\n[control_user]",
        &expect!["/etc/ringway/ringway.toml:3:9: `level` must be a string, not `3`"],
    );
    check(
        "[control_user]",
        "log = 3\n[control_user]",
        &expect!["/etc/ringway/ringway.toml:2:7: `log` must be a table, not an integer"],
    );
}

#[test]
fn clusters() {
    check(
        "[[shard.endpoint]]\nregion = \"us-east\"\nhost = \"127.0.0.1\"\nport = 15432\n",
        "",
        &expect!["/etc/ringway/ringway.toml:11:8: shard `shard-0` has no [[shard.endpoint]]"],
    );
    check(
        "region = \"us-east\"\nhost",
        "region = \"eu\"\nhost",
        &expect![
            "/etc/ringway/ringway.toml:1:10: unknown region `us-east`: no endpoint is there (endpoints are in eu)"
        ],
    );
    check(
        "region = \"us-east\"\n[c",
        "region = \"us-esat\"\n[c",
        &expect![
            "/etc/ringway/ringway.toml:1:10: unknown region `us-esat`: no endpoint is there (did you mean `us-east`?)"
        ],
    );
    check(
        "region = \"us-east\"\n[c",
        "region = \"us-east\"\nregions = [\"us-west\", \"us-easy\"]\n[c",
        &expect!["/etc/ringway/ringway.toml:14:10: unknown region `us-east` (did you mean `us-easy`?)"],
    );
    check(
        "region = \"us-east\"\n[c",
        "[c",
        &expect!["/etc/ringway/ringway.toml:1:1: the configuration has no `region`"],
    );
    check(
        "name = \"shard-0\"",
        "",
        &expect!["/etc/ringway/ringway.toml:10:1: [[shard]] has no `name`"],
    );
    check(
        "port = 15432\n",
        "port = 15432\nserver_tls_sslmode = \"verify-full\"\n",
        &expect![
            "/etc/ringway/ringway.toml:12:1: checking the server's certificate needs `server_tls_ca_file`"
        ],
    );
    check(
        "port = 15432\n",
        "port = 15432\n[[shard]]\nname = \"shard-0\"\nendpoint = [{ region = \"us-east\", host = \"127.0.0.1\", port = 15432 }]\n",
        &expect!["/etc/ringway/ringway.toml:17:8: shard `shard-0` is configured twice"],
    );
    check(
        "port = 15432\n",
        "port = 15432\n[[shard]]\nname = \"shard-1\"\nendpoint = [{ region = \"us-east\", host = \"127.0.0.1\", port = 15432 }]\n",
        &expect!["/etc/ringway/ringway.toml:18:62: the server `127.0.0.1:15432` is configured twice"],
    );
    check(
        "[[database]]\nname = \"shop\"",
        "[[database]]\nname = \"shop\"\ndefault_shard = \"shrad-0\"",
        &expect![
            "/etc/ringway/ringway.toml:10:17: no [[shard]] is called `shrad-0` (did you mean `shard-0`?)"
        ],
    );
    check(
        "[[database]]\nname = \"shop\"",
        "[[database]]\nname = \"pgbouncer\"",
        &expect![
            "/etc/ringway/ringway.toml:9:8: `pgbouncer` is the admin database (give the database another name)"
        ],
    );
    check(
        "[[database]]\nname = \"shop\"",
        "[[database]]\nname = \"a-b\"\n[[database]]\nname=\"a_b\"",
        &expect![
            "/etc/ringway/ringway.toml:1:1: databases `a-b` and `a_b` would share the replication slot `ringway_a_b_us_east_6432`"
        ],
    );
    check(
        "[[database]]\nname = \"shop\"\n",
        "",
        &expect!["/etc/ringway/ringway.toml:1:1: the configuration has no [[database]]"],
    );
}

/// `SMALL` with a table section.
fn check_table(lines: &str, expect: &Expect) {
    check_env(&format!("{SMALL}[[table]]\n{lines}\n"), &[], expect);
}

#[test]
fn tables() {
    check_table(
        "name = \"orders\"\nsharding = \"hash\"",
        &expect![[
            r#"/etc/ringway/ringway.toml:16:1: a table with sharding = "hash" needs `column`, its shard key"#
        ]],
    );
    check_table(
        "name = \"orders\"\nsharding = \"hsah\"\ncolumn = \"user_id\"",
        &expect![
            "/etc/ringway/ringway.toml:18:12: `sharding` must be one of hash, reference, single, not `hsah` (did you mean `hash`?)"
        ],
    );
    check_table(
        "name = \"orders\"\nsharding = \"range\"\ncolumn = \"user_id\"",
        &expect![[
            r#"/etc/ringway/ringway.toml:18:12: `sharding = "range"`: sharding by range is not available yet (available: hash, reference, single)"#
        ]],
    );
    check_table(
        "name = \"orders\"",
        &expect!["/etc/ringway/ringway.toml:16:1: [[table]] has no `sharding`"],
    );
    check_table(
        "name = \"orders\"\nsharding = \"reference\"\ncolumn = \"user_id\"",
        &expect![[r#"/etc/ringway/ringway.toml:19:10: `column` is for tables with sharding = "hash""#]],
    );
    check_table(
        "name = \"orders\"\nsharding = \"single\"\nshard = \"shard-1\"",
        &expect![
            "/etc/ringway/ringway.toml:19:9: no [[shard]] is called `shard-1` (did you mean `shard-0`?)"
        ],
    );
    check_table(
        "name = \"a.b.c\"\nsharding = \"reference\"",
        &expect![[
            r#"/etc/ringway/ringway.toml:17:8: a table is written "table" or "schema.table", not `a.b.c` (as the catalog holds it, without quotes)"#
        ]],
    );
    check_table(
        "name = \"orders\"\nsharding = \"reference\"\n[[table]]\nname = \"public.orders\"\nsharding = \"single\"",
        &expect!["/etc/ringway/ringway.toml:20:8: table `public.orders` is configured twice"],
    );
    check_table(
        "name = \"o\"\nsharding = \"reference\"\ncache = { levl = \"ryw\" }",
        &expect![
            "/etc/ringway/ringway.toml:19:11: unknown key `levl` in cache of [[table]] (did you mean `level`?)"
        ],
    );
    check_table(
        "name = \"o\"\nsharding = \"reference\"\ncache = { level = \"strong\" }",
        &expect![[
            r#"/etc/ringway/ringway.toml:19:19: `level = "strong"`: reads at this level are never answered from the cache (available: ryw, bounded)"#
        ]],
    );
    check_table(
        "name = \"o\"\nsharding = \"reference\"\ncache = { bound = \"0s\" }",
        &expect![[
            r#"/etc/ringway/ringway.toml:19:19: `bound` must be a time from 1ms to 1d, such as "500ms" or "2s", not `0s`"#
        ]],
    );
    check_table(
        "name = \"o\"\nsharding = \"reference\"\ncache = { on_gate_closed = \"stale\" }",
        &expect![
            "/etc/ringway/ringway.toml:19:28: `on_gate_closed` must be one of origin, error, stale(TIME) such as stale(10s), not `stale`"
        ],
    );
    check_table(
        "name = \"o\"\nsharding = \"reference\"\ncache = true",
        &expect!["/etc/ringway/ringway.toml:19:9: `cache` must be a table, not a boolean"],
    );
}

#[test]
fn secrets() {
    check(
        "password = \"hunter2\"",
        "",
        &expect![
            "/etc/ringway/ringway.toml:6:8: user `shop` has no password (add password_file, password_env or password)"
        ],
    );
    check(
        "password = \"hunter2\"",
        "password = 42",
        &expect!["/etc/ringway/ringway.toml:7:12: `password` must be a string, not an integer"],
    );
    check(
        "password = \"hunter2\"",
        "password = \"hunter2",
        &expect![[r#"/etc/ringway/ringway.toml:7:20: not TOML: invalid basic string, expected `"`"#]],
    );
    check(
        "password = \"hunter2\"",
        "password = \"hunter2\"\npassword_env = \"X\"",
        &expect!["/etc/ringway/ringway.toml:8:16: only one of `password`, `password_file`, `password_env`"],
    );
    check(
        "password = \"hunter2\"",
        "password_env = \"UNSET\"",
        &expect!["/etc/ringway/ringway.toml:7:16: environment variable UNSET is not set"],
    );
    check(
        "password = \"hunter2\"",
        "password_file = \"nowhere\"",
        &expect![
            "/etc/ringway/ringway.toml:7:17: `password_file`: cannot read /etc/ringway/nowhere: entity not found"
        ],
    );
    check(
        "password = \"hunter2\"",
        "password = \"SCRAM-SHA-256$4096:x\"",
        &expect!["/etc/ringway/ringway.toml:7:12: the password begins as a SCRAM verifier and isn't one"],
    );
    check(
        "password = \"qu1ltzy\"",
        "password = \"SCRAM-SHA-256$4096:x\"",
        &expect![
            "/etc/ringway/ringway.toml:4:12: the password of `ringway` is a verifier (the password itself is needed to log in to the servers)"
        ],
    );
    check(
        "[control_user]\nname = \"ringway\"\npassword = \"qu1ltzy\"\n",
        "[[table]]\nname = \"t\"\nsharding = \"reference\"\ncache = { level = \"ryw\" }\n",
        &expect![
            "/etc/ringway/ringway.toml:1:1: the configuration has no [control_user], which database `shop` needs (the role that the proxy itself uses on the servers: name and password_env)"
        ],
    );
    check(
        "[control_user]",
        "[auth]\nadmin_users = [\"shp\"]\n[control_user]",
        &expect![
            "/etc/ringway/ringway.toml:3:16: `admin_users`: no [[user]] is called `shp` (did you mean `shop`?)"
        ],
    );
    check(
        "[control_user]",
        "[cache]\nredis_url = \"redis://:hunter2@h\"\n[control_user]",
        &expect![
            "/etc/ringway/ringway.toml:3:13: a shared store needs a key secret, the same in every proxy (add key_secret_file, key_secret_env or key_secret to [cache])"
        ],
    );
    check(
        "[control_user]",
        "[cache]\nredis_url = \"rediss://:hunter2@h\"\n[control_user]",
        &expect!["/etc/ringway/ringway.toml:3:13: TLS towards Redis is not available yet"],
    );
    check(
        "[control_user]",
        "[cache]\nkey_secret = \"hunter2\"\n[control_user]",
        &expect![
            "/etc/ringway/ringway.toml:3:14: the key secret is shorter than 16 bytes (make one: openssl rand -hex 32)"
        ],
    );
    check(
        "password = \"hunter2\"",
        "pas}ord = \"hunter2\"",
        &expect!["/etc/ringway/ringway.toml:7:4: not TOML: key with no value, expected `=`"],
    );
    check(
        "password = \"hunter2\"",
        "pas.word = \"hunter2\"",
        &expect![[r#"
            /etc/ringway/ringway.toml:6:8: user `shop` has no password (add password_file, password_env or password)
            /etc/ringway/ringway.toml:7:1: unknown key `pas` in [[user]] (known here: max_user_client_connections, max_user_connections, min_pool_size, name, password, password_env, password_file, pool_mode, pool_size, reserve_pool_size)"#]],
    );
    let settings = parse(
        &SMALL.replace("password = \"hunter2\"", "password_file = \"secret\""),
        &[],
    )
    .expect("a file");
    assert_eq!(
        settings.auth.users[0].password().map(crate::Secret::expose),
        Some("from-a-file")
    );
}

#[test]
fn the_environment_overrides() {
    let set = [
        ("RINGWAY__LISTEN__PORT", "7432"),
        ("RINGWAY__PROXY_ID", "p1"),
        ("RINGWAY__LIMITS__QUERY_TIMEOUT", "5s"),
        ("RINGWAY__LIMITS__QUERY_WAIT_TIMEOUT", "off"),
        ("RINGWAY__STREAM__KAFKA_BOOTSTRAP", "a:1, b:2"),
        ("RINGWAY__CONTROL_USER__PASSWORD", "other"),
    ];
    let settings = parse(SMALL, &set).expect("overrides");
    assert_eq!(settings.listen.port, 7432);
    assert_eq!(
        settings.limits.query_timeout,
        Some(std::time::Duration::from_secs(5))
    );
    assert_eq!(settings.limits.query_wait_timeout, None);
    let control_user = settings.auth.control_user.as_ref().expect("a control user");
    assert_eq!(control_user.password().map(crate::Secret::expose), Some("other"));
    assert_eq!(settings.slot_name(&settings.databases[0]), "ringway_shop");

    check_env(
        SMALL,
        &[("RINGWAY__LISTEN__PRT", "1")],
        &expect![
            "/etc/ringway/ringway.toml: environment variable RINGWAY__LISTEN__PRT: overrides no setting (did you mean `LISTEN__PORT`?)"
        ],
    );
    check_env(
        SMALL,
        &[("RINGWAY__LISTEN__PORT", "x")],
        &expect![
            "/etc/ringway/ringway.toml: environment variable RINGWAY__LISTEN__PORT: `port` must be a whole number from 1 to 65535, not `x`"
        ],
    );
    check_env(
        SMALL,
        &[("RINGWAY__USER__NAME", "x")],
        &expect![
            "/etc/ringway/ringway.toml: environment variable RINGWAY__USER__NAME: overrides no setting (the form is RINGWAY__SECTION__KEY; entries of lists can't be overridden)"
        ],
    );
    check_env(
        SMALL,
        &[("RINGWAY__REGION", "us-wst")],
        &expect![
            "/etc/ringway/ringway.toml: environment variable RINGWAY__REGION: unknown region `us-wst`: no endpoint is there (did you mean `us-east`?)"
        ],
    );
}

#[test]
fn several_mistakes_are_shown_at_once_with_their_lines() {
    let text = SMALL
        .replace("[control_user]", "[listen]\nprot = 1\n[control_user]")
        .replace("port = 15432", "port = 0")
        .replace("name = \"shop\"\npassword", "nmae = \"shop\"\npassword");
    let error = parse(&text, &[]).expect_err("mistakes");
    assert_eq!(error.count(), 4);
    expect![[r#"
        4 mistakes in /etc/ringway/ringway.toml
          × unknown key `prot` in [listen]
           ╭─[/etc/ringway/ringway.toml:3:1]
         2 │ [listen]
         3 │ prot = *
           · ────
         4 │ [control_user]
           ╰────
          help: did you mean `port`?
          × [[user]] has no `name`
           ╭─[/etc/ringway/ringway.toml:7:1]
         6 │ password = *********
         7 │ [[user]]
           · ────────
         8 │ nmae = ******
           ╰────
          × unknown key `nmae` in [[user]]
           ╭─[/etc/ringway/ringway.toml:8:1]
         7 │ [[user]]
         8 │ nmae = ******
           · ────
         9 │ password = *********
           ╰────
          help: did you mean `name`?
          × `port` must be a whole number from 1 to 65535, not `0`
            ╭─[/etc/ringway/ringway.toml:17:8]
         16 │ host = "127.0.0.1"
         17 │ port = 0
            ·        ─
            ╰────
    "#]]
    .assert_eq(&error.render(false));
}

#[test]
fn two_places_are_shown_for_a_table_configured_twice() {
    let text = format!(
        "{SMALL}[[table]]\nname = \"orders\"\nsharding = \"reference\"\n[[table]]\nname = \"public.orders\"\nsharding = \"reference\"\n"
    );
    expect![[r#"
        1 mistake in /etc/ringway/ringway.toml
          × table `public.orders` is configured twice
            ╭─[/etc/ringway/ringway.toml:20:8]
         16 │ [[table]]
         17 │ name = "orders"
            ·        ────┬───
            ·            ╰── first here
         18 │ sharding = "reference"
         19 │ [[table]]
         20 │ name = "public.orders"
            ·        ───────────────
         21 │ sharding = "reference"
            ╰────
    "#]]
    .assert_eq(&parse(&text, &[]).expect_err("twice").render(false));
}

/// A slip of the pen: characters deleted, or others put in their place.
fn slip(text: &str, at: usize, deleted: usize, inserted: &str) -> String {
    let at = at % text.len();
    let end = (at + deleted).min(text.len());
    format!("{}{inserted}{}", &text[..at], &text[end..])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn no_slip_of_the_pen_shows_a_secret(at in 0..10_000usize, deleted in 0..3usize, inserted in "[a-z=\\[\\]\"'#. \n{}0-9]{0,2}") {
        let text = slip(SMALL, at, deleted, &inserted);
        if let Err(error) = parse(&text, &[]) {
            let shown = format!("{error}\n{}\n{error:?}", error.render(false));
            // A slip inside the secret leaves a part of it, so look for either half. No slip makes one of them of a key.
            let halves = ["hunt", "ter2", "qu1l", "tzy\""];
            prop_assert!(halves.iter().all(|half| !shown.contains(half)), "{}", shown);
        }
    }

    #[test]
    fn no_text_panics(at in 0..10_000usize, deleted in 0..200usize, inserted in "\\PC{0,20}") {
        let _ = parse(&slip(SMALL, at, deleted, &inserted), &[]);
    }
}
