//! Each method by psql: with the right secret, the wrong one, and none; refusals in PostgreSQL's words.

use anyhow::Result;

use crate::stage::stage;

const WHO: &str = "SELECT current_user, current_database()";

#[test]
fn each_method_lets_in_who_knows_the_secret() -> Result<()> {
    let stage = stage()?;
    for (user, password) in [
        // Secrets that auth_query finds, of every kind that PostgreSQL keeps.
        ("scram", "scrampw"),
        ("md5er", "md5pw"),
        // A verifier in the configuration, and nothing more: the client's proof opens the server.
        ("verified", "verifiedpw"),
        ("postgres", "postgres"),
        // Nobody asks.
        ("trusted", ""),
    ] {
        let ran = stage.psql(user, password, "one", "sslmode=disable", WHO)?;
        assert_eq!((ran.out, ran.err), (format!("{user}|one"), String::new()));
    }
    for (user, password) in [("clear", "clearpw"), ("bound", "boundpw"), ("scram", "scrampw")] {
        let ran = stage.psql(user, password, "one", "sslmode=require", WHO)?;
        assert_eq!((ran.out, ran.err), (format!("{user}|one"), String::new()));
    }
    Ok(())
}

#[test]
fn wrong_secrets_and_strangers_are_refused_as_by_postgres() -> Result<()> {
    let stage = stage()?;
    for (user, password, database) in [
        ("scram", "wrong", "one"),
        ("md5er", "wrong", "one"),
        ("nobody", "x", "one"),
        ("nologin", "nologinpw", "one"),
        ("rejected", "unused", "one"),
        ("scram", "scrampw", "norule"),
        ("trusted", "", "unknown"),
    ] {
        let ours = stage.psql(user, password, database, "sslmode=disable", WHO)?;
        let theirs = stage.straight(user, password, database, WHO)?;
        assert_eq!(ours.out, "", "{user}");
        let expected = if user == "nologin" {
            // auth_query finds nobody; PostgreSQL tells those who know the password that they may not log in.
            assert!(
                theirs.err.contains("role \"nologin\" is not permitted to log in"),
                "{theirs:?}"
            );
            "psql: error: failed: FATAL:  password authentication failed for user \"nologin\"".to_owned()
        } else {
            theirs.err
        };
        assert_eq!(ours.err, expected, "{user} to {database}");
    }
    for user in ["verified", "postgres"] {
        let ran = stage.psql(user, "wrong", "one", "sslmode=disable", WHO)?;
        let expected =
            format!("psql: error: failed: FATAL:  password authentication failed for user \"{user}\"");
        assert_eq!((ran.out, ran.err), (String::new(), expected));
    }
    Ok(())
}

#[test]
fn passwords_in_clear_and_channel_binding_need_tls() -> Result<()> {
    let stage = stage()?;
    let ran = stage.psql("clear", "clearpw", "one", "sslmode=disable", WHO)?;
    assert!(
        ran.err
            .contains("FATAL:  passwords in clear are taken over TLS only"),
        "{ran:?}"
    );
    let ran = stage.psql("clear", "wrong", "one", "sslmode=require", WHO)?;
    assert!(
        ran.err
            .contains("FATAL:  password authentication failed for user \"clear\""),
        "{ran:?}"
    );
    // The rule is for TLS, so without it the last one counts, which asks for SCRAM alone.
    let ran = stage.psql("bound", "boundpw", "one", "sslmode=disable", WHO)?;
    assert_eq!(ran.out, "bound|one");
    let ran = stage.psql(
        "bound",
        "boundpw",
        "one",
        "sslmode=require channel_binding=disable",
        WHO,
    )?;
    assert!(
        ran.err
            .contains("none of the server's SASL authentication mechanisms are supported"),
        "{ran:?}"
    );
    Ok(())
}

#[test]
fn a_role_made_on_the_server_may_log_in_and_its_new_password_counts() -> Result<()> {
    let stage = stage()?;
    stage.on_server("CREATE ROLE newcomer LOGIN PASSWORD 'first'")?;
    let log_in = |password: &str| stage.psql("newcomer", password, "one", "", WHO);
    assert_eq!(log_in("first")?.out, "newcomer|one");
    stage.on_server("ALTER ROLE newcomer PASSWORD 'second'")?;
    // The first refusal makes the proxy ask again.
    let refused = log_in("second")?;
    let second = if refused.out.is_empty() {
        log_in("second")?
    } else {
        refused
    };
    assert_eq!(second.out, "newcomer|one");
    assert_eq!(log_in("first")?.out, "");
    stage.on_server("DROP ROLE newcomer")
}

#[test]
fn the_admin_database_has_rules_as_well() -> Result<()> {
    let stage = stage()?;
    let ran = stage.psql("postgres", "postgres", "ringway", "", "SHOW VERSION")?;
    assert!(ran.out.contains("ingway"), "{ran:?}");
    let ran = stage.psql("scram", "scrampw", "ringway", "", "SHOW VERSION")?;
    assert!(ran.out.is_empty() && ran.err.contains("FATAL"), "{ran:?}");
    Ok(())
}
