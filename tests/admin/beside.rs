//! SHOW beside a real PgBouncer, and what its exporter for Prometheus asks.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use cluster::{PgBouncer, SHOP, StopMode};
use tests::{Bound, Column, Extended, Reply, Row, Session, Target, get, rows};

use crate::console::{SOON, stage};

/// What PgBouncer 1.18 shows. SHOW HELP is a notice there.
const SHOWS: [&str; 17] = [
    "ACTIVE_SOCKETS",
    "CLIENTS",
    "CONFIG",
    "DATABASES",
    "DNS_HOSTS",
    "DNS_ZONES",
    "FDS",
    "LISTS",
    "MEM",
    "POOLS",
    "SERVERS",
    "SOCKETS",
    "STATS",
    "STATS_AVERAGES",
    "STATS_TOTALS",
    "TOTALS",
    "USERS",
];

fn columns(session: &mut Session, show: &str) -> Result<Vec<Column>> {
    let replies = session.simple(&format!("SHOW {show}"), None)?;
    ensure!(
        replies.contains(&Reply::Complete("SHOW".to_owned())),
        "SHOW {show}: {replies:?}"
    );
    let columns = replies.into_iter().find_map(|reply| match reply {
        Reply::Columns(columns) => Some(columns),
        _ => None,
    });
    columns.with_context(|| format!("SHOW {show} has no columns"))
}

#[test]
fn every_show_begins_with_the_columns_of_pgbouncer() -> Result<()> {
    let stage = stage()?;
    let bouncer = stage.within(SOON, async {
        Ok(PgBouncer::start(stage.plain(), SHOP, SHOP, 2).await?)
    })?;
    let there = Target {
        port: bouncer.port(),
        database: "pgbouncer".to_owned(),
        ..stage.straight()
    };
    let (mut there, mut here) = (Session::connect(&there)?, stage.console().connect()?);
    for show in SHOWS {
        let (theirs, ours) = (columns(&mut there, show)?, columns(&mut here, show)?);
        ensure!(
            ours.starts_with(&theirs),
            "SHOW {show}\n theirs: {theirs:#?}\n ours: {ours:#?}"
        );
    }
    // The same names in the rows where they are what is looked for.
    for show in ["LISTS", "TOTALS"] {
        let names = |rows: Vec<Row>| -> Vec<String> {
            let first = |row: &Row| row.first().and_then(|(_, value)| value.clone());
            rows.iter().filter_map(first).collect()
        };
        let ask = format!("SHOW {show}");
        let theirs = names(rows(&there.simple(&ask, None)?)?);
        let ours = names(rows(&here.simple(&ask, None)?)?);
        ensure!(ours.starts_with(&theirs), "SHOW {show}: {theirs:?}, {ours:?}");
    }
    let version = columns(&mut here, "VERSION")?;
    ensure!(version == columns(&mut there, "VERSION")?);
    stage.within(SOON, async { Ok(bouncer.stop(StopMode::Fast).await?) })
}

/// The exporter knows a row by its labels, and refuses a scrape in which two rows have the same.
#[test]
fn what_the_prometheus_exporter_asks_is_answered_as_it_expects() -> Result<()> {
    let stage = stage()?;
    stage.within(SOON, async {
        let client = stage.client().await?;
        client.batch_execute("SELECT count(*) FROM users").await?;
        Ok(())
    })?;
    for (show, labels) in [
        ("STATS", &["database"][..]),
        ("STATS_TOTALS", &["database"]),
        ("POOLS", &["database", "user"]),
        (
            "DATABASES",
            &["name", "host", "port", "database", "force_user", "pool_mode"],
        ),
    ] {
        let mut seen = BTreeSet::new();
        for row in stage.console().show(show)? {
            let key: Vec<_> = labels
                .iter()
                .map(|label| get(&row, label).map(str::to_owned))
                .collect();
            ensure!(seen.insert(key.clone()), "SHOW {show} has {key:?} twice");
            for (column, value) in &row {
                let text = [
                    "database",
                    "user",
                    "name",
                    "host",
                    "force_user",
                    "pool_mode",
                    "load_balance_hosts",
                    "default_shard",
                ];
                if let (false, Some(value)) = (text.contains(&column.as_str()), value) {
                    value
                        .parse::<f64>()
                        .with_context(|| format!("SHOW {show}: {column} = {value}"))?;
                }
            }
        }
        ensure!(
            seen.iter()
                .any(|key| key.first().is_some_and(|name| name.as_deref() == Some(SHOP)))
        );
    }
    let config = stage.console().show("CONFIG")?;
    for key in ["max_client_conn", "max_user_connections"] {
        let row = config.iter().find(|row| get(row, "key") == Some(key));
        let Some(row) = row else { continue };
        ensure!(row.len() == 4, "{row:?}");
        get(row, "value").context("no value")?.parse::<f64>()?;
    }
    for row in stage.console().show("LISTS")? {
        ensure!(row.len() == 2, "{row:?}");
        get(&row, "items").context("no number")?.parse::<f64>()?;
    }
    let stats = stage
        .console()
        .value("STATS_TOTALS", &[("database", SHOP)], "query_count")?;
    ensure!(stats.context("no row")?.parse::<u64>()? > 0);
    Ok(())
}

#[test]
fn drivers_ask_by_the_extended_protocol_in_text_and_in_binary() -> Result<()> {
    let stage = stage()?;
    let mut session = stage.console().connect()?;
    let nothing = [Bound { values: Vec::new() }];
    let run = |sql, binary, max_rows| Extended {
        name: "",
        sql,
        types: &[],
        bounds: &nothing,
        binary,
        max_rows,
        copy: None,
    };
    let values = |replies: &[Reply]| -> Vec<Vec<Option<Vec<u8>>>> {
        let row = |reply: &Reply| match reply {
            Reply::Row(values) => Some(values.clone()),
            _ => None,
        };
        replies.iter().filter_map(row).collect()
    };
    let text = session.extended(&run("SHOW LISTS", false, 0))?;
    let binary = session.extended(&run("SHOW LISTS", true, 0))?;
    let portions = session.extended(&run("SHOW LISTS", false, 3))?;
    ensure!(text.contains(&Reply::Parameters(Vec::new())), "{text:?}");
    ensure!(text.contains(&Reply::Complete("SHOW".to_owned())), "{text:?}");
    ensure!(portions.contains(&Reply::Suspended), "{portions:?}");
    ensure!(values(&text) == values(&portions), "{portions:?}");
    for (a, b) in values(&text).iter().zip(values(&binary)) {
        let number: i32 = std::str::from_utf8(a[1].as_deref().unwrap_or_default())?.parse()?;
        ensure!(a[0] == b[0] && b[1].as_deref() == Some(&number.to_be_bytes()[..]));
    }
    // numeric: no digits are zero.
    let totals = session.extended(&run("SHOW TOTALS", true, 0))?;
    ensure!(
        values(&totals)
            .iter()
            .all(|row| row[1].as_ref().is_some_and(|v| v.len() >= 8))
    );
    let done = session.extended(&run("RELOAD", false, 0))?;
    ensure!(done.contains(&Reply::NoData) && done.contains(&Reply::Complete("RELOAD".to_owned())));
    for (sql, code) in [
        ("SHOW NOTHING", "42601"),
        ("SHOW POOLS; RELOAD", "42601"),
        ("PAUSE nowhere", "3D000"),
    ] {
        let refused = session.extended(&run(sql, false, 0))?;
        let codes: Vec<_> = refused
            .iter()
            .filter_map(|reply| match reply {
                Reply::Error(fault) => Some(fault.code.as_str()),
                _ => None,
            })
            .collect();
        ensure!(
            codes == [code] && refused.last() == Some(&Reply::Ready('I')),
            "{sql}: {refused:?}"
        );
    }
    // A driver that knows nothing of all this.
    stage.within(SOON, async {
        let admin = stage
            .ringway(cluster::Region::UsEast)
            .connect(cluster::CONTROL_ROLE, "ringway")
            .await?;
        let pools = admin.query("SHOW POOLS", &[]).await?;
        let names: Vec<String> = pools.iter().map(|row| row.get("database")).collect();
        ensure!(names.contains(&"pgbouncer".to_owned()), "{names:?}");
        let waits: Vec<i32> = pools.iter().map(|row| row.get("maxwait")).collect();
        ensure!(waits.iter().all(|wait| *wait >= 0));
        Ok(())
    })
}
