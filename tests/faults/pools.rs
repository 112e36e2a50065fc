//! Server connections: who holds one, and what those are told who don't get one.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use cluster::SHOP;

use crate::stage::{MAX_CLIENTS, POOL_SIZE, QUERY_WAIT, SOON, Stage, code, embedded, eventually};

/// The number in this column of this row.
fn number(row: &[String], column: usize) -> Result<usize> {
    Ok(row.get(column).context("no such column")?.parse()?)
}

/// Connections that a client holds: `sv_active` of SHOW POOLS, and the rows of SHOW SERVERS that are not idle.
async fn held(stage: &Stage) -> Result<(usize, usize)> {
    const SV_ACTIVE: usize = 6;
    const STATE: usize = 3;
    let mut active = 0;
    for pool in stage.show("POOLS").await? {
        active += number(&pool, SV_ACTIVE)?;
    }
    let servers = stage.show("SERVERS").await?;
    let busy = servers
        .iter()
        .filter(|server| server.get(STATE).is_none_or(|state| state != "idle"));
    Ok((active, busy.count()))
}

#[test]
fn an_idle_client_holds_no_server_connection() -> Result<()> {
    const CLIENTS: usize = 20;
    const STATE: usize = 3;
    let stage = embedded()?;
    stage.within(SOON * 2, async {
        let mut clients = Vec::new();
        for n in 0..CLIENTS {
            let client = stage.client().await?;
            let user = i32::try_from(n + 1)?;
            client
                .query("SELECT user_id FROM users WHERE user_id = $1::int", &[&user])
                .await?;
            client.batch_execute("BEGIN; SELECT 1; COMMIT").await?;
            clients.push(client);
        }
        eventually("idle clients hold nothing", SOON, async || {
            Ok(held(&stage).await? == (0, 0))
        })
        .await?;
        let idle = stage.show("CLIENTS").await?;
        let idle = idle
            .iter()
            .filter(|client| client.get(STATE).is_some_and(|state| state == "idle"));
        ensure!(idle.count() >= CLIENTS, "{:?}", stage.show("CLIENTS").await?);
        // There are fewer connections than clients, and one that is in a transaction is shown.
        ensure!(stage.show("SERVERS").await?.len() <= 2 * 2 * POOL_SIZE);
        let user = stage.users().await?[0];
        clients[0]
            .batch_execute(&format!(
                "BEGIN; UPDATE users SET name = name WHERE user_id = {user}"
            ))
            .await?;
        assert_eq!(held(&stage).await?, (1, 1));
        clients[0].batch_execute("ROLLBACK").await?;
        eventually("given back", SOON, async || Ok(held(&stage).await? == (0, 0))).await
    })
}

#[test]
fn a_client_that_gets_no_server_connection_is_told_within_query_wait_timeout() -> Result<()> {
    let stage = embedded()?;
    stage.within(SOON * 2, async {
        let users = stage
            .direct(0)
            .await?
            .query("SELECT user_id FROM users LIMIT 5", &[])
            .await?;
        let users: Vec<i64> = users.iter().map(|row| row.get(0)).collect();
        let update = |user: i64| format!("BEGIN; UPDATE users SET name = name WHERE user_id = {user}");
        let mut holders = Vec::new();
        for user in users.iter().take(POOL_SIZE) {
            let client = stage.client().await?;
            client.batch_execute(&update(*user)).await?;
            holders.push(client);
        }
        let late = stage.client().await?;
        let statement = format!(
            "UPDATE users SET name = name WHERE user_id = {}",
            users[POOL_SIZE]
        );
        let began = Instant::now();
        assert_eq!(code(late.batch_execute(&statement).await)?, "53300");
        let waited = began.elapsed();
        ensure!(
            waited >= QUERY_WAIT && waited < QUERY_WAIT * 3,
            "told after {waited:?}"
        );
        // The other shard has a pool of its own, and the session goes on when a connection is free.
        let other = format!(
            "UPDATE users SET name = name WHERE user_id = {}",
            stage.users().await?[1]
        );
        late.batch_execute(&other).await.context("another shard")?;
        holders[0].batch_execute("COMMIT").await?;
        late.batch_execute(&statement)
            .await
            .context("after one was given back")?;
        for holder in &holders[1..] {
            holder.batch_execute("ROLLBACK").await?;
        }
        Ok(())
    })
}

#[test]
fn clients_over_max_client_conn_are_refused() -> Result<()> {
    let stage = embedded()?;
    stage.within(SOON * 2, async {
        let mut clients = Vec::new();
        let refused = loop {
            ensure!(
                clients.len() <= MAX_CLIENTS,
                "{} clients were let in",
                clients.len()
            );
            match stage.us_east().connect(SHOP, SHOP).await {
                Ok(client) => clients.push(client),
                Err(error) => break error.to_string(),
            }
        };
        ensure!(
            clients.len() + 2 >= MAX_CLIENTS,
            "refused after {} clients: {refused}",
            clients.len()
        );
        ensure!(refused.contains("53300"), "{refused}");
        // Those that are in are served, and the next one is let in when one has left.
        clients[0].batch_execute("SELECT count(*) FROM users").await?;
        clients.pop();
        eventually("let in", SOON, async || {
            Ok(stage.us_east().connect(SHOP, SHOP).await.is_ok())
        })
        .await
    })
}
