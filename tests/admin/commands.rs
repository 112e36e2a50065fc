//! Control commands: what they do to clients and servers, and what they refuse.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use cluster::SHOP;
use tests::{Reply, Session, Target};

use crate::console::{SOON, eventually, stage};

#[test]
fn pause_waits_for_transactions_and_clients_wait_for_resume() -> Result<()> {
    let stage = stage()?;
    stage.within(SOON * 2, async {
        let busy = stage.client().await?;
        busy.batch_execute("BEGIN; UPDATE users SET name = name WHERE user_id = 1")
            .await?;
        let pause = tokio::task::spawn_blocking({
            let console = stage.console();
            move || console.connect()?.simple("PAUSE shop", None)
        });
        let paused = || {
            Ok(stage
                .console()
                .value("DATABASES", &[("name", SHOP)], "paused")?
                .as_deref()
                == Some("1"))
        };
        eventually("paused", paused).await?;
        ensure!(!pause.is_finished(), "a transaction is open");
        let late = stage.client().await?;
        let late = tokio::spawn(async move { late.query_one("SELECT count(*) FROM users", &[]).await });
        busy.batch_execute("COMMIT").await?;
        let replies = pause.await??;
        ensure!(
            replies.contains(&Reply::Complete("PAUSE".to_owned())),
            "{replies:?}"
        );
        ensure!(
            stage.console().show("SERVERS")?.is_empty(),
            "{:?}",
            stage.console().show("SERVERS")?
        );
        let waits = || {
            Ok(stage
                .console()
                .value("POOLS", &[("database", SHOP)], "cl_waiting")?
                .as_deref()
                == Some("1"))
        };
        eventually("a client waits", waits).await?;
        ensure!(!late.is_finished());
        ensure!(stage.console().command("RESUME shop")? == "RESUME");
        late.await??;
        ensure!(stage.console().refusal("RESUME shop")? == "55000");
        ensure!(stage.console().refusal("RESUME")? == "55000");
        Ok(())
    })
}

#[test]
fn kill_drops_clients_and_servers_and_kill_client_only_one() -> Result<()> {
    let stage = stage()?;
    stage.within(SOON * 2, async {
        let (idle, busy) = (stage.client().await?, stage.client().await?);
        idle.batch_execute("SET application_name = 'the idle one'")
            .await?;
        let id = stage
            .console()
            .value("CLIENTS", &[("application_name", "the idle one")], "id")?
            .context("not there")?;
        ensure!(stage.console().command(&format!("KILL_CLIENT {id}"))? == "KILL_CLIENT");
        let error = idle.batch_execute("SELECT 1").await.expect_err("dropped");
        ensure!(
            error.is_closed() || error.code().is_some_and(|code| code.code() == "57P01"),
            "{error}"
        );
        ensure!(stage.console().refusal(&format!("KILL_CLIENT {id}"))? == "42704");
        busy.batch_execute("SELECT 1").await?;
        let slow = tokio::spawn(async move {
            busy.batch_execute("BEGIN; SELECT pg_sleep(60) FROM users WHERE user_id = 1")
                .await
        });
        let active = || {
            Ok(stage
                .console()
                .value("POOLS", &[("database", SHOP)], "sv_active")?
                .as_deref()
                == Some("1"))
        };
        eventually("a statement runs", active).await?;
        let linked = stage
            .console()
            .value("SERVERS", &[("state", "active")], "link")?
            .context("a row")?;
        ensure!(
            stage
                .console()
                .value("CLIENTS", &[("ptr", &linked)], "state")?
                .as_deref()
                == Some("active")
        );
        let began = Instant::now();
        ensure!(stage.console().command("KILL shop")? == "KILL");
        ensure!(slow.await?.is_err());
        ensure!(began.elapsed() < SOON, "{:?}", began.elapsed());
        ensure!(stage.console().show("SERVERS")?.is_empty());
        ensure!(stage.console().command("RESUME shop")? == "RESUME");
        stage
            .client()
            .await?
            .batch_execute("SELECT count(*) FROM users")
            .await?;
        Ok(())
    })
}

#[test]
fn disabled_databases_take_no_clients_and_suspended_proxies_no_statements() -> Result<()> {
    let stage = stage()?;
    stage.within(SOON * 2, async {
        let there = stage.client().await?;
        ensure!(stage.console().command("DISABLE shop")? == "DISABLE");
        let refused = stage.client().await.err().context("let in")?;
        ensure!(
            format!("{refused:#}").contains("not currently accepting connections"),
            "{refused:#}"
        );
        there.batch_execute("SELECT 1").await?;
        ensure!(stage.console().command("ENABLE shop")? == "ENABLE");
        stage.client().await?;

        ensure!(stage.console().command("SUSPEND")? == "SUSPEND");
        ensure!(
            stage
                .console()
                .value("STATE", &[("key", "suspended")], "value")?
                .as_deref()
                == Some("yes")
        );
        let asked = tokio::spawn(async move { there.batch_execute("SELECT 1").await });
        ensure!(stage.console().refusal("PAUSE")? == "55000");
        ensure!(!asked.is_finished());
        ensure!(stage.console().command("RESUME")? == "RESUME");
        asked.await??;
        Ok(())
    })
}

#[test]
fn reconnect_replaces_what_there_is_and_set_lasts_until_reload() -> Result<()> {
    let stage = stage()?;
    stage.within(SOON * 2, async {
        let client = stage.client().await?;
        let ask = async || {
            client
                .query_one("SELECT pg_backend_pid() FROM users WHERE user_id = 1", &[])
                .await
        };
        let before: i32 = ask().await?.get(0);
        ensure!(stage.console().command("RECONNECT shop")? == "RECONNECT");
        ensure!(stage.console().command("WAIT_CLOSE shop")? == "WAIT_CLOSE");
        let after: i32 = ask().await?.get(0);
        ensure!(before != after);
        let setting = |key: &str| stage.console().value("CONFIG", &[("key", key)], "value");
        ensure!(stage.console().command("SET query_wait_timeout = 7")? == "SET");
        ensure!(setting("query_wait_timeout")?.as_deref() == Some("7"));
        ensure!(setting("limits.query_wait_timeout")?.as_deref() == Some("7s"));
        ensure!(stage.console().command("SET limits.query_wait_timeout = '9s'")? == "SET");
        ensure!(setting("query_wait_timeout")?.as_deref() == Some("9"));
        ensure!(stage.console().command("RELOAD")? == "RELOAD");
        ensure!(setting("query_wait_timeout")?.as_deref() == Some("120"));
        for (sql, code) in [
            ("SET nothing = 1", "42704"),
            ("SET listen_port = 1", "55P02"),
            ("SET default_pool_size = many", "22023"),
            ("KILL_CLIENT x", "22P02"),
            ("PAUSE ringway", "0A000"),
            ("SELECT * FROM users", "42601"),
        ] {
            ensure!(
                stage.console().refusal(sql)? == code,
                "{sql}: {}",
                stage.console().refusal(sql)?
            );
        }
        Ok(())
    })
}

#[test]
fn only_administrators_change_anything_and_several_commands_run_in_their_order() -> Result<()> {
    let stage = stage()?;
    let looker = Target {
        database: "pgbouncer".to_owned(),
        ..stage.shop(cluster::Region::UsEast)
    };
    let mut looker = Session::connect(&looker)?;
    for sql in [
        "PAUSE",
        "SHOW FDS",
        "RELOAD",
        "SHUTDOWN",
        "SET query_timeout = 1",
        "KILL_CLIENT 1",
    ] {
        let replies = looker.simple(sql, None)?;
        let refused = replies
            .iter()
            .any(|reply| matches!(reply, Reply::Error(fault) if fault.code == "42501"));
        ensure!(refused, "{sql}: {replies:?}");
    }
    let tags = |replies: &[Reply]| -> Vec<String> {
        let tag = |reply: &Reply| match reply {
            Reply::Complete(tag) => Some(tag.clone()),
            Reply::Error(fault) => Some(fault.code.clone()),
            _ => None,
        };
        replies.iter().filter_map(tag).collect()
    };
    ensure!(tags(&looker.simple("SHOW POOLS; SHOW STATS", None)?) == ["SHOW", "SHOW"]);
    let mut admin = stage.console().connect()?;
    let replies = admin.simple("SHOW STATE; PAUSE nowhere; RELOAD", None)?;
    ensure!(tags(&replies) == ["SHOW", "3D000"], "{replies:?}");
    let replies = admin.simple("SHOW STATE; NONSENSE", None)?;
    ensure!(tags(&replies) == ["42601"], "{replies:?}");
    let replies = admin.simple(
        "BEGIN; SHOW STATE; COMMIT; SET application_name = 'x'; SELECT 1; ",
        None,
    )?;
    ensure!(
        tags(&replies) == ["BEGIN", "SHOW", "COMMIT", "SET", "SELECT 1"],
        "{replies:?}"
    );
    let replies = admin.simple(" ;", None)?;
    ensure!(replies == [Reply::Empty, Reply::Ready('I')], "{replies:?}");
    Ok(())
}
