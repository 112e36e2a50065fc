//! What programs with sqlx do; prints what came out of each thing, a line each.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPool, PgPoolOptions, PgQueryResult, PgRow};
use sqlx::{Acquire, ConnectOptions, Connection, Executor, Row};

type Result<T> = std::result::Result<T, sqlx::Error>;

async fn show<T: Debug>(name: &str, doing: impl Future<Output = Result<T>>) {
    let text = match tokio::time::timeout(Duration::from_secs(30), doing).await {
        Ok(Ok(value)) => format!("{value:?}"),
        Ok(Err(sqlx::Error::Database(error))) => format!("{:?} {}", error.code(), error.message()),
        Ok(Err(error)) => format!("{error:?}"),
        Err(_) => "no answer".to_owned(),
    };
    println!("{name}: {}", text.replace(['\n', ':'], " "));
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let url = std::env::var("DATABASE_URL").expect("DATABASE_URL");
    let pool = PgPoolOptions::new().max_connections(4).connect(&url).await?;
    pool.execute("CREATE TABLE items (id bigserial PRIMARY KEY, name text UNIQUE, data jsonb, tags text[])")
        .await?;
    show("insert", insert(&pool)).await;
    show("many binds", many_binds(&pool)).await;
    show("types", types(&pool)).await;
    show("unique violation", violate(&pool)).await;
    show("after an error", scalar(&pool, "SELECT count(*) FROM items")).await;
    show("commit", transact(&pool, true)).await;
    show("rollback", transact(&pool, false)).await;
    show("savepoints", nested(&pool)).await;
    show("dropped transaction", dropped_transaction(&pool)).await;
    show("dropped stream", dropped_stream(&pool)).await;
    show("several statements", several(&pool)).await;
    show("error in several", several_wrong(&pool)).await;
    show("copy", copy(&pool)).await;
    show("settings", settings(&url)).await;
    show("search path option", search_path(&url)).await;
    show("statement cache", statement_cache(&url)).await;
    show("changed table", changed_table(&pool)).await;
    show("concurrent", concurrent(&pool)).await;
    show("listen", listen(&pool)).await;
    show("advisory lock", advisory(&url)).await;
    show("temporary table", temporary(&url)).await;
    show("describe", describe(&pool)).await;
    show("unknown type", unknown_type(&pool)).await;
    show("timeout", statement_timeout(&url)).await;
    show("serializable", serializable(&pool)).await;
    show("cursor", cursor(&pool)).await;
    pool.close().await;
    Ok(())
}

async fn scalar(pool: &PgPool, sql: &str) -> Result<i64> {
    sqlx::query_scalar(sql).fetch_one(pool).await
}

async fn insert(pool: &PgPool) -> Result<Vec<i64>> {
    let mut ids = Vec::new();
    for n in 0..5 {
        let id = sqlx::query_scalar("INSERT INTO items (name, data, tags) VALUES ($1, $2, $3) RETURNING id")
            .bind(format!("item {n}"))
            .bind(sqlx::types::Json(vec![n, n + 1]))
            .bind(vec!["a".to_owned(), format!("b{n}")])
            .fetch_one(pool)
            .await?;
        ids.push(id);
    }
    Ok(ids)
}

async fn many_binds(pool: &PgPool) -> Result<i64> {
    let places: Vec<String> = (1..=2000).map(|n| format!("${n}::bigint")).collect();
    let sql = format!("SELECT sum(x)::bigint FROM unnest(ARRAY[{}]) x", places.join(","));
    let mut query = sqlx::query_scalar(&sql);
    for n in 1..=2000_i64 {
        query = query.bind(n);
    }
    query.fetch_one(pool).await
}

async fn types(pool: &PgPool) -> Result<(bool, i16, f64, String, Vec<u8>, sqlx::types::Uuid, Option<i32>)> {
    sqlx::query_as("SELECT $1, $2, $3, $4, $5, $6, $7")
        .bind(true)
        .bind(-7_i16)
        .bind(1.25_f64)
        .bind("grüße")
        .bind(vec![0_u8, 255, 7])
        .bind(sqlx::types::Uuid::from_u128(42))
        .bind(None::<i32>)
        .fetch_one(pool)
        .await
}

async fn violate(pool: &PgPool) -> Result<PgQueryResult> {
    sqlx::query("INSERT INTO items (name) VALUES ($1)").bind("item 1").execute(pool).await
}

async fn transact(pool: &PgPool, commit: bool) -> Result<i64> {
    let mut transaction = pool.begin().await?;
    sqlx::query("INSERT INTO items (name) VALUES ($1)")
        .bind(format!("transacted {commit}"))
        .execute(&mut *transaction)
        .await?;
    if commit { transaction.commit().await? } else { transaction.rollback().await? }
    scalar(pool, "SELECT count(*) FROM items WHERE name LIKE 'transacted%'").await
}

async fn nested(pool: &PgPool) -> Result<i64> {
    let mut outer = pool.begin().await?;
    outer.execute("INSERT INTO items (name) VALUES ('outer')").await?;
    let mut inner = outer.begin().await?;
    inner.execute("INSERT INTO items (name) VALUES ('inner')").await?;
    let failed = inner.execute("INSERT INTO items (name) VALUES ('outer')").await.is_err();
    inner.rollback().await?;
    outer.execute("INSERT INTO items (name) VALUES ('after')").await?;
    outer.commit().await?;
    let there = scalar(pool, "SELECT count(*) FROM items WHERE name IN ('outer', 'inner', 'after')").await?;
    Ok(there * 10 + i64::from(failed))
}

async fn dropped_transaction(pool: &PgPool) -> Result<i64> {
    let mut transaction = pool.begin().await?;
    transaction.execute("INSERT INTO items (name) VALUES ('dropped')").await?;
    drop(transaction);
    scalar(pool, "SELECT count(*) FROM items WHERE name = 'dropped'").await
}

async fn dropped_stream(pool: &PgPool) -> Result<(Option<i32>, i64)> {
    let mut connection = pool.acquire().await?;
    let first = {
        let mut rows = sqlx::query_scalar("SELECT n FROM generate_series(1, 100000) n").fetch(&mut *connection);
        rows.try_next().await?
    };
    let next = sqlx::query_scalar("SELECT 7::bigint").fetch_one(&mut *connection).await?;
    Ok((first, next))
}

async fn several(pool: &PgPool) -> Result<Vec<i32>> {
    let rows: Vec<PgRow> = pool.fetch_all("SELECT 1; SELECT 2 UNION ALL SELECT 3; SELECT 4").await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn several_wrong(pool: &PgPool) -> Result<Vec<i32>> {
    let rows: Vec<PgRow> = pool.fetch_all("INSERT INTO items (name) VALUES ('lost'); SELECT 1/0").await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn copy(pool: &PgPool) -> Result<(u64, usize, bool)> {
    let mut connection = pool.acquire().await?;
    connection.execute("CREATE TABLE copied (a int, b text)").await?;
    let mut sink = connection.copy_in_raw("COPY copied FROM STDIN").await?;
    sink.send(&b"1\tone\n2\ttwo\n"[..]).await?;
    sink.send(&b"3\tthree\n"[..]).await?;
    let rows = sink.finish().await?;
    let mut out = connection.copy_out_raw("COPY copied TO STDOUT").await?;
    let mut bytes = 0;
    while let Some(piece) = out.try_next().await? {
        bytes += piece.len();
    }
    drop(out);
    let sink = connection.copy_in_raw("COPY copied FROM STDIN").await?;
    let aborted = sink.abort("changed my mind").await.is_ok();
    Ok((rows, bytes, aborted))
}

async fn options(url: &str) -> Result<PgConnectOptions> {
    url.parse()
}

async fn settings(url: &str) -> Result<(String, String, String)> {
    let mut connection = PgConnection::connect(url).await?;
    connection.execute("SET work_mem = '5MB'").await?;
    connection.execute("SET TIME ZONE 'Europe/Berlin'").await?;
    let shown = sqlx::query_as("SELECT current_setting('work_mem'), current_setting('timezone'), now()::date::text")
        .fetch_one(&mut connection)
        .await
        .map(|(mem, zone, _): (String, String, String)| (mem, zone))?;
    connection.execute("RESET ALL").await?;
    let after = sqlx::query_scalar("SHOW work_mem").fetch_one(&mut connection).await?;
    Ok((shown.0, shown.1, after))
}

async fn search_path(url: &str) -> Result<(String, String)> {
    let with = options(url).await?.options([("search_path", "pg_catalog,public"), ("statement_timeout", "5s")]);
    let mut connection = with.connect().await?;
    sqlx::query_as("SELECT current_setting('search_path'), current_setting('statement_timeout')")
        .fetch_one(&mut connection)
        .await
}

async fn statement_cache(url: &str) -> Result<i32> {
    let with = options(url).await?.statement_cache_capacity(3);
    let mut connection = with.connect().await?;
    let mut sum = 0;
    for round in 0..3 {
        for n in 0..10 {
            let sql = format!("SELECT $1::int + {n}");
            sum += sqlx::query_scalar::<_, i32>(&sql).bind(round).fetch_one(&mut connection).await?;
        }
    }
    connection.clear_cached_statements().await?;
    Ok(sum)
}

async fn changed_table(pool: &PgPool) -> Result<usize> {
    let mut connection = pool.acquire().await?;
    connection.execute("CREATE TABLE changing (a int)").await?;
    connection.execute("INSERT INTO changing VALUES (1)").await?;
    let first = sqlx::query("SELECT * FROM changing").fetch_one(&mut *connection).await?.len();
    connection.execute("ALTER TABLE changing ADD b int").await?;
    // PostgreSQL says that the cached plan's result has changed.
    sqlx::query("SELECT * FROM changing")
        .fetch_one(&mut *connection)
        .await
        .map(|row| row.len() * 10 + first)
}

async fn concurrent(pool: &PgPool) -> Result<i64> {
    let tasks: Vec<_> = (0..8)
        .map(|n| {
            let pool = pool.clone();
            tokio::spawn(async move {
                for m in 0..25_i64 {
                    let sum: i64 = sqlx::query_scalar("SELECT $1::bigint + $2").bind(n).bind(m).fetch_one(&pool).await?;
                    assert_eq!(sum, n + m);
                }
                Ok::<_, sqlx::Error>(n)
            })
        })
        .collect();
    let mut sum = 0;
    for task in tasks {
        sum += task.await.expect("a task")?;
    }
    Ok(sum)
}

async fn listen(pool: &PgPool) -> Result<Vec<String>> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen("sqlx_channel").await?;
    let mut heard = Vec::new();
    for n in 0..3 {
        sqlx::query("SELECT pg_notify('sqlx_channel', $1)").bind(format!("n{n}")).execute(pool).await?;
        heard.push(listener.recv().await?.payload().to_owned());
    }
    listener.unlisten_all().await?;
    Ok(heard)
}

async fn advisory(url: &str) -> Result<(bool, bool, bool)> {
    let mut one = PgConnection::connect(url).await?;
    let mut two = PgConnection::connect(url).await?;
    one.execute("SELECT pg_advisory_lock(77)").await?;
    let held = sqlx::query_scalar("SELECT pg_try_advisory_lock(77)").fetch_one(&mut two).await?;
    let unlocked = sqlx::query_scalar("SELECT pg_advisory_unlock(77)").fetch_one(&mut one).await?;
    let free = sqlx::query_scalar("SELECT pg_try_advisory_lock(77)").fetch_one(&mut two).await?;
    Ok((held, unlocked, free))
}

async fn temporary(url: &str) -> Result<i64> {
    let mut connection = PgConnection::connect(url).await?;
    connection.execute("CREATE TEMP TABLE only_mine (a int)").await?;
    for n in 0..3 {
        sqlx::query("INSERT INTO only_mine VALUES ($1)").bind(n).execute(&mut connection).await?;
    }
    sqlx::query_scalar("SELECT count(*) FROM only_mine").fetch_one(&mut connection).await
}

async fn describe(pool: &PgPool) -> Result<String> {
    let described = pool.describe("SELECT id, name, data FROM items WHERE id = $1").await?;
    Ok(format!("{:?} {:?}", described.columns, described.nullable))
}

async fn unknown_type(pool: &PgPool) -> Result<String> {
    pool.execute("CREATE TYPE colour AS ENUM ('red', 'green')").await?;
    sqlx::query_scalar("SELECT ('red'::colour)::text").fetch_one(pool).await
}

async fn statement_timeout(url: &str) -> Result<i32> {
    let mut connection = PgConnection::connect(url).await?;
    connection.execute("SET statement_timeout = '100ms'").await?;
    sqlx::query("SELECT pg_sleep(20)").execute(&mut connection).await?;
    Ok(0)
}

async fn serializable(pool: &PgPool) -> Result<String> {
    let mut transaction = pool.begin_with("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY").await?;
    let level = sqlx::query_scalar("SHOW transaction_isolation").fetch_one(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(level)
}

async fn cursor(pool: &PgPool) -> Result<Vec<i32>> {
    let mut transaction = pool.begin().await?;
    transaction.execute("DECLARE c CURSOR FOR SELECT n FROM generate_series(1, 5) n").await?;
    let rows = transaction.fetch_all("FETCH 3 FROM c").await?;
    transaction.commit().await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
