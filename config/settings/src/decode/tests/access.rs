//! Who may log in: methods, rules, secrets, the question for secrets, databases under every name.

use super::{SMALL, check, check_env, parse};
use crate::{AuthMethod, AuthQuery, AuthRules, LoginAttempt, Settings, UserSecret};
use expect_test::expect;

const VERIFIER: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

/// `SMALL` with this at its end.
fn with(rest: &str) -> Settings {
    parse(&format!("{SMALL}{rest}"), &[]).unwrap_or_else(|error| panic!("{error}"))
}

fn method(settings: &Settings, address: Option<&str>, tls: bool) -> Option<AuthMethod> {
    settings.auth.rules.method(&LoginAttempt {
        address: address.map(|address| address.parse().unwrap()),
        tls,
        user: "shop",
        database: "shop",
    })
}

#[test]
fn methods() {
    assert_eq!(with("").auth.rules, AuthRules::All(AuthMethod::ScramSha256));
    let all = with("[auth]\nauth_type = \"md5\"\n");
    assert_eq!(method(&all, Some("::1"), false), Some(AuthMethod::Md5));
    let rules = with(
        "[[hba]]\ntype = \"hostssl\"\nuser = [\"shop\", \"x\"]\naddress = \"10.0.0.0/8\"\nmethod = \"scram-sha-256-plus\"\n\
         [[hba]]\ntype = \"local\"\nmethod = \"peer\"\n[auth]\nauth_type = \"hba\"\n",
    );
    assert_eq!(
        method(&rules, Some("10.1.1.1"), true),
        Some(AuthMethod::ScramSha256Plus)
    );
    assert_eq!(method(&rules, Some("10.1.1.1"), false), None);
    assert_eq!(method(&rules, None, false), Some(AuthMethod::Peer));
    let shown: Vec<_> = rules
        .entries()
        .into_iter()
        .filter(|entry| entry.key.starts_with("hba."))
        .map(|entry| entry.value().to_owned())
        .collect();
    assert_eq!(
        shown,
        [
            "hostssl all \"shop\",\"x\" 10.0.0.0/8 scram-sha-256-plus",
            "local all all peer"
        ]
    );
}

#[test]
fn rules_that_make_no_sense() {
    let tail = "port = 15432\n";
    let with = |rest: &str| format!("{tail}{rest}");
    check(
        tail,
        &with("[auth]\nauth_type = \"hba\"\n"),
        &expect![[
            r#"/etc/ringway/ringway.toml:17:13: `auth_type = "hba"` without rules (add `auth_hba_file`, or [[hba]] tables)"#
        ]],
    );
    check(
        tail,
        &with("[auth]\nauth_type = \"md5\"\n[[hba]]\ntype = \"host\"\nmethod = \"md5\"\n"),
        &expect![[
            r#"/etc/ringway/ringway.toml:18:1: rules beside `auth_type = "md5"` (leave `auth_type` out, or set it to "hba")"#
        ]],
    );
    check(
        tail,
        &with("[[hba]]\ntype = \"host\"\nmethod = \"pam\"\n"),
        &expect![
            "/etc/ringway/ringway.toml:18:10: the method must be one of trust, reject, scram-sha-256, scram-sha-256-plus, md5, password, cert, peer, not `pam`"
        ],
    );
    check(
        tail,
        &with("[[hba]]\ntype = \"local\"\naddress = \"::1\"\nmethod = \"peer\"\n"),
        &expect!["/etc/ringway/ringway.toml:18:11: a rule of type `local` has no `address`"],
    );
    check(
        tail,
        &with("[[hba]]\ntype = \"hostssl\"\nmethod = \"cert\"\n"),
        &expect![
            "/etc/ringway/ringway.toml:1:1: the method `cert` needs certificates of clients to be checked (set client_tls_sslmode and client_tls_ca_file in [listen])"
        ],
    );
    check(
        tail,
        &with("[auth]\nauth_hba_file = \"nowhere\"\n"),
        &expect![
            "/etc/ringway/ringway.toml:17:17: `auth_hba_file`: cannot read /etc/ringway/nowhere: entity not found"
        ],
    );
    check(
        tail,
        &with("[auth]\nauth_hba_file = \"secret\"\n"),
        &expect![
            "/etc/ringway/ringway.toml:17:17: `auth_hba_file`: /etc/ringway/secret line 1: the type must be local, host, hostssl or hostnossl, not `from-a-file`"
        ],
    );
}

#[test]
fn verifiers_and_digests() {
    let secret = |text: &str| {
        let text = SMALL.replace("hunter2", text);
        parse(&text, &[])
            .unwrap()
            .auth
            .user("shop")
            .unwrap()
            .secret
            .clone()
            .unwrap()
    };
    assert!(matches!(secret(VERIFIER), UserSecret::Scram(_)));
    assert!(matches!(
        secret("md500112233445566778899aabbccddeeff"),
        UserSecret::Md5(_)
    ));
    for password in ["md5", "md500112233445566778899aabbccddeefg", "SCRAM"] {
        assert!(matches!(secret(password), UserSecret::Password(_)), "{password}");
    }
}

#[test]
fn users_that_the_servers_know() {
    let settings = with(
        "[auth]\nauth_user = \"shop\"\nauth_query = \"SELECT a, b FROM c($1)\"\nadmin_users = [\"dba\"]\n",
    );
    assert_eq!(
        settings.auth.query,
        Some(AuthQuery {
            user: "shop".to_owned(),
            sql: "SELECT a, b FROM c($1)".to_owned(),
            dbname: None
        })
    );
    check(
        "port = 15432\n",
        "port = 15432\n[auth]\nauth_query = \"SELECT 1\"\n",
        &expect![
            "/etc/ringway/ringway.toml:17:14: a question for secrets and nobody who asks it (add `auth_user`)"
        ],
    );
    check(
        "port = 15432\n",
        "port = 15432\n[auth]\nauth_user = \"shopp\"\n",
        &expect![
            "/etc/ringway/ringway.toml:17:13: `auth_user`: no [[user]] is called `shopp` (did you mean `shop`?)"
        ],
    );
    // Nobody needs to be listed where nobody is asked.
    let trusting = SMALL.replace(
        "[[user]]\nname = \"shop\"\npassword = \"hunter2\"\n",
        "[auth]\nauth_type = \"trust\"\n",
    );
    assert!(parse(&trusting, &[]).unwrap().auth.users.is_empty());
}

#[test]
fn databases_under_every_name() {
    let any = SMALL.replace(
        "name = \"shop\"\n[[shard]]",
        "name = \"*\"\nmax_db_client_connections = 7\n[[shard]]",
    );
    let settings = parse(&any, &[]).unwrap();
    assert!(settings.databases.is_empty());
    assert_eq!(settings.wildcard.unwrap().max_db_client_connections, Some(7));
    // None of what needs a control user.
    let alone = any.replace("[control_user]\nname = \"ringway\"\npassword = \"qu1ltzy\"\n", "");
    assert_eq!(parse(&alone, &[]).unwrap().auth.control_user, None);
    check_env(
        &any.replace("name = \"*\"", "name = \"*\"\ndbname = \"x\""),
        &[],
        &expect![
            "/etc/ringway/ringway.toml:10:10: a database under every name can't have one `dbname` on the servers"
        ],
    );
    check_env(
        &format!("{any}[[shard.endpoint]]\nregion = \"us-east\"\nhost = \"127.0.0.1\"\nport = 15433\n"),
        &[],
        &expect![
            "/etc/ringway/ringway.toml:1:1: a [[database]] called `*` needs all its tables on one shard, on one server, and none of them cached (list the databases by their names)"
        ],
    );
}

#[test]
fn limits_of_users_and_databases() {
    let text = SMALL
        .replace("password = \"hunter2\"", "password = \"hunter2\"\npool_size = 3\nmax_user_connections = 9\nmax_user_client_connections = 0")
        .replace("name = \"shop\"\n[[shard]]", "name = \"shop\"\nreserve_pool_size = 2\npool_mode = \"transaction\"\nmax_db_connections = 11\n[[shard]]");
    let settings = parse(&text, &[]).unwrap();
    let user = settings.auth.user("shop").unwrap();
    assert_eq!(
        (user.pool.pool_size, user.max_user_connections),
        (Some(3), Some(9))
    );
    assert_eq!(
        (user.pool.min_pool_size, user.max_user_client_connections),
        (None, None)
    );
    let database = settings.database("shop").unwrap();
    assert_eq!(
        (database.pool.reserve_pool_size, database.max_db_connections),
        (Some(2), Some(11))
    );
    assert!(database.pool.pool_mode.is_some());
    // A reload changes them.
    let reload = settings.reload(
        &parse(
            &text.replace("reserve_pool_size = 2", "reserve_pool_size = 4"),
            &[],
        )
        .unwrap(),
    );
    assert_eq!(
        reload.to_string(),
        "changed database.shop.reserve_pool_size: 2 -> 4"
    );
}
