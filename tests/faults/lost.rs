//! A server connection killed under a client, and a client gone under a server connection.

use anyhow::{Context, Result, ensure};
use cluster::Region;
use tokio_postgres::Client;

use crate::stage::{SOON, Stage, code, done, embedded, eventually, rows};

/// Ends the backends on a shard whose last statement looks like this; gives how many there were.
async fn terminate(direct: &Client, statement: &str) -> Result<i64> {
    let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
               WHERE query LIKE $1 AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    Ok(direct.query_one(sql, &[&statement]).await?.get(0))
}

async fn name_of(direct: &Client, user: i64) -> Result<String> {
    Ok(direct
        .query_one("SELECT name::text FROM users WHERE user_id = $1", &[&user])
        .await?
        .get(0))
}

/// Sets the name back and gives the user to work on.
async fn prepare(stage: &Stage, direct: &Client) -> Result<i64> {
    let user = stage.users().await?[0];
    direct
        .batch_execute(&format!(
            "UPDATE users SET name = 'before' WHERE user_id = {user}"
        ))
        .await?;
    Ok(user)
}

#[test]
fn a_backend_killed_in_the_middle_of_a_statement() -> Result<()> {
    let stage = embedded()?;
    stage.within(SOON * 2, async {
        let direct = stage.direct(0).await?;
        let user = prepare(&stage, &direct).await?;
        let holder = stage.direct(0).await?;
        holder
            .batch_execute(&format!(
                "BEGIN; SELECT 1 FROM users WHERE user_id = {user} FOR UPDATE"
            ))
            .await?;
        let client = stage.client().await?;
        let statement = format!("UPDATE users SET name = 'killed' WHERE user_id = {user}");
        let killing = eventually("the statement waits and is killed", SOON, async || {
            Ok(terminate(&direct, "UPDATE users SET name = 'killed'%").await? == 1)
        });
        let (answer, killed) = tokio::join!(client.batch_execute(&statement), killing);
        killed?;
        assert_eq!(code(answer)?, "08006");
        holder.batch_execute("ROLLBACK").await?;
        // Outside a transaction block there is nothing to roll back: the session goes on.
        client.batch_execute("SET ringway.level = 'strong'").await?;
        let read = rows(&client, &format!("SELECT name FROM users WHERE user_id = {user}")).await?;
        assert_eq!(read, [["before"]]);
        Ok(())
    })
}

#[test]
fn a_backend_killed_in_a_transaction() -> Result<()> {
    let stage = embedded()?;
    stage.within(SOON * 2, async {
        let direct = stage.direct(0).await?;
        let user = prepare(&stage, &direct).await?;
        let update = format!("UPDATE users SET name = 'in-block' WHERE user_id = {user}");
        let client = stage.client().await?;
        client.batch_execute("BEGIN").await?;
        client.batch_execute(&update).await?;
        ensure!(terminate(&direct, "UPDATE users SET name = 'in-block'%").await? == 1);
        let read = format!("SELECT name FROM users WHERE user_id = {user}");
        assert_eq!(code(client.batch_execute(&read).await)?, "08006");
        assert_eq!(code(client.batch_execute("SELECT 1").await)?, "25P02");
        client.batch_execute("ROLLBACK").await.context("ROLLBACK")?;
        client.batch_execute("SELECT 1").await.context("after ROLLBACK")?;
        assert_eq!(name_of(&direct, user).await?, "before");
        Ok(())
    })
}

#[test]
fn a_commit_without_its_backend_is_not_acknowledged() -> Result<()> {
    let stage = embedded()?;
    stage.within(SOON * 2, async {
        let direct = stage.direct(0).await?;
        let user = prepare(&stage, &direct).await?;
        let client = stage.client().await?;
        client.batch_execute("BEGIN").await?;
        client
            .batch_execute(&format!(
                "UPDATE users SET name = 'unsaved' WHERE user_id = {user}"
            ))
            .await?;
        ensure!(terminate(&direct, "UPDATE users SET name = 'unsaved'%").await? == 1);
        let told = code(client.batch_execute("COMMIT").await)?;
        ensure!(matches!(told.as_str(), "08006" | "08007"), "{told}");
        assert_eq!(name_of(&direct, user).await?, "before");
        Ok(())
    })
}

#[test]
fn one_shard_lost_in_a_transaction_over_two_takes_the_whole_back() -> Result<()> {
    let stage = embedded()?;
    stage.within(SOON * 2, async {
        let users = stage.users().await?;
        let direct = [stage.direct(0).await?, stage.direct(1).await?];
        let client = stage.client().await?;
        let mut before = Vec::new();
        client.batch_execute("BEGIN").await?;
        for (direct, user) in direct.iter().zip(&users) {
            before.push(name_of(direct, *user).await?);
            client
                .batch_execute(&format!("UPDATE users SET name = 'half' WHERE user_id = {user}"))
                .await?;
        }
        ensure!(terminate(&direct[1], "UPDATE users SET name = 'half'%").await? == 1);
        let told = code(client.batch_execute("COMMIT").await)?;
        assert_eq!(told, "08006");
        client
            .batch_execute("SELECT 1")
            .await
            .context("the session goes on")?;
        for ((direct, user), before) in direct.iter().zip(&users).zip(&before) {
            assert_eq!(&name_of(direct, *user).await?, before);
            let prepared = direct
                .query_one("SELECT count(*) FROM pg_prepared_xacts", &[])
                .await?;
            assert_eq!(prepared.get::<_, i64>(0), 0);
        }
        Ok(())
    })
}

#[test]
fn a_client_gone_in_a_transaction_leaves_no_lock() -> Result<()> {
    let stage = embedded()?;
    let user = stage.within(SOON, async {
        let direct = stage.direct(0).await?;
        prepare(&stage, &direct).await
    })?;
    let mut session = stage.connect(Region::UsEast)?;
    done(&mut session, "BEGIN")?;
    done(
        &mut session,
        &format!("UPDATE users SET name = 'gone' WHERE user_id = {user}"),
    )?;
    stage.within(SOON, async {
        let direct = stage.direct(0).await?;
        let lock = format!("SELECT 1 FROM users WHERE user_id = {user} FOR UPDATE NOWAIT");
        assert_eq!(
            code(direct.batch_execute(&lock).await)?,
            "55P03",
            "the client holds the lock"
        );
        // As when the client's process is killed: the socket closes without a word.
        drop(session);
        eventually("the lock is gone", SOON, async || {
            Ok(direct.batch_execute(&lock).await.is_ok())
        })
        .await?;
        assert_eq!(name_of(&direct, user).await?, "before");
        Ok(())
    })
}

#[test]
fn a_client_gone_in_the_middle_of_a_statement_does_not_leave_it_running() -> Result<()> {
    let stage = embedded()?;
    let mut session = stage.connect(Region::UsEast)?;
    stage.within(SOON * 2, async {
        let direct = stage.direct(0).await?;
        let user = prepare(&stage, &direct).await?;
        let holder = stage.direct(0).await?;
        let lock = format!("BEGIN; SELECT 1 FROM users WHERE user_id = {user} FOR UPDATE");
        holder.batch_execute(&lock).await?;
        session.send_simple(&format!(
            "UPDATE users SET name = 'orphan' WHERE user_id = {user}"
        ))?;
        let waiting = "SELECT count(*) FROM pg_stat_activity \
                       WHERE query LIKE 'UPDATE users SET name = ''orphan''%' AND wait_event_type = 'Lock'";
        let waits = async |expected: &str| Ok(rows(&direct, waiting).await? == [[expected]]);
        eventually("the statement waits", SOON, async || waits("1").await).await?;
        drop(session);
        eventually("the statement is given up", SOON, async || waits("0").await).await?;
        holder.batch_execute("ROLLBACK").await?;
        assert_eq!(name_of(&direct, user).await?, "before");
        Ok(())
    })
}
