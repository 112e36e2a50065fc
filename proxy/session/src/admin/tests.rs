//! What is read as which command.

use super::{AdminCommand, Courtesy, SHOWS, Show, Shutdown};
use expect_test::{Expect, expect};
use wire::ProxyError;

fn one(sql: &str) -> AdminCommand {
    let mut commands = AdminCommand::parse(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    assert_eq!(commands.len(), 1, "{sql}");
    commands.remove(0)
}

#[test]
fn commands_in_any_case_with_semicolons_and_quotes() {
    let shop = || Some("shop".to_owned());
    for (sql, command) in [
        ("SHOW POOLS;", AdminCommand::Show(Show::Pools)),
        ("  show\n stats_Totals ;; ", AdminCommand::Show(Show::StatsTotals)),
        ("show", AdminCommand::Show(Show::Help)),
        ("Reload", AdminCommand::Reload),
        ("PAUSE", AdminCommand::Pause(None)),
        ("pause shop;", AdminCommand::Pause(shop())),
        ("RESUME \"shop\"", AdminCommand::Resume(shop())),
        (
            "RECONNECT my-db",
            AdminCommand::Reconnect(Some("my-db".to_owned())),
        ),
        ("KILL shop", AdminCommand::Kill(shop())),
        ("KILL", AdminCommand::Kill(None)),
        ("KILL_CLIENT 17", AdminCommand::KillClient(17)),
        ("DISABLE shop", AdminCommand::Disable("shop".to_owned())),
        ("ENABLE shop", AdminCommand::Enable("shop".to_owned())),
        ("SUSPEND", AdminCommand::Suspend),
        ("WAIT_CLOSE", AdminCommand::WaitClose(None)),
        ("SHUTDOWN", AdminCommand::Shutdown(Shutdown::Now)),
        (
            "SHUTDOWN WAIT_FOR_SERVERS;",
            AdminCommand::Shutdown(Shutdown::WaitForServers),
        ),
        (
            "shutdown wait_for_clients",
            AdminCommand::Shutdown(Shutdown::WaitForClients),
        ),
        ("select 1", AdminCommand::Courtesy(Courtesy::One)),
        (
            "SELECT pg_catalog.version()",
            AdminCommand::Courtesy(Courtesy::Version),
        ),
        (
            "SHOW TRANSACTION ISOLATION LEVEL",
            AdminCommand::Courtesy(Courtesy::Isolation),
        ),
        ("BEGIN", AdminCommand::Begin),
    ] {
        assert_eq!(one(sql), command, "{sql}");
    }
    for (name, show, _) in SHOWS {
        assert_eq!(one(&format!("SHOW {name}")), AdminCommand::Show(show));
    }
    for sql in ["", " ; ", ";"] {
        assert_eq!(AdminCommand::parse(sql), Ok(Vec::new()), "{sql:?}");
    }
}

#[test]
fn several_statements_in_their_order() {
    let commands = AdminCommand::parse("SHOW POOLS; RELOAD; SHOW STATS;");
    let expected = vec![
        AdminCommand::Show(Show::Pools),
        AdminCommand::Reload,
        AdminCommand::Show(Show::Stats),
    ];
    assert_eq!(commands, Ok(expected));
    assert!(AdminCommand::parse("PAUSE shop; NONSENSE").is_err());
}

#[test]
fn settings_of_the_proxy_and_of_a_session() {
    let set = |key: &str, value: &str| AdminCommand::Set {
        key: key.to_owned(),
        value: value.to_owned(),
    };
    for (sql, command) in [
        ("SET default_pool_size = 7", set("default_pool_size", "7")),
        (
            "set POOL.default_pool_size to 7",
            set("pool.default_pool_size", "7"),
        ),
        (
            "SET server_check_query = 'select 2'",
            set("server_check_query", "select 2"),
        ),
        ("SET server_check_query = ''", set("server_check_query", "")),
        ("SET admin_users = a, b", set("admin_users", "a,b")),
        ("SET application_name = 'psql'", AdminCommand::Ignored("SET")),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            AdminCommand::Ignored("SET"),
        ),
        ("SET TIME ZONE 'UTC'", AdminCommand::Ignored("SET")),
    ] {
        assert_eq!(one(sql), command, "{sql}");
    }
}

fn told(error: &ProxyError) -> String {
    let mut text = error.to_string();
    for part in [&error.detail, &error.hint].into_iter().flatten() {
        text.push('\n');
        text.push_str(part);
    }
    text
}

fn check(sql: &str, expect: &Expect) {
    expect.assert_eq(&told(&AdminCommand::parse(sql).expect_err("not a command")));
}

#[test]
fn anything_else_is_refused() {
    check(
        "SELECT * FROM pg_class",
        &expect![[r#"
            ERROR: 42601: invalid command "SELECT * FROM pg_class"
            This is Ringway's own database, without tables or SQL.
            SHOW HELP lists the commands."#]],
    );
    check(
        "SHOW POOL",
        &expect![[r#"
            ERROR: 42601: unknown SHOW "POOL"
            SHOW HELP lists the commands."#]],
    );
    check("DISABLE", &expect!["ERROR: 42601: a database is required"]);
    check(
        "KILL_CLIENT x",
        &expect![[r#"
            ERROR: 22P02: invalid client id "x"
            SHOW CLIENTS has it in its column id."#]],
    );
    for sql in [
        "SHOW POOLS STATS",
        "PAUSE a b",
        "RELOAD now",
        "SET",
        "SET a",
        "SET a =",
        "EXPLAIN SELECT 1",
        "SHUTDOWN IMMEDIATE",
        "'SHOW'",
    ] {
        let error = AdminCommand::parse(sql).expect_err(sql);
        assert_eq!(error.sqlstate.to_string(), "42601", "{sql}");
    }
}
