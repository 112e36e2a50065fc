//! The servers that the tests share, one test at a time, and what every test asks of them.

use std::ops::Deref;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cluster::{Backing, CONTROL_ROLE, Region, Ringway, SHOP};
use tests::{Fault, Reply, Session, Shared, Size, Turn, Turns, World, WorldSpec, shared};
use tokio_postgres::{Client, SimpleQueryMessage};

/// For a condition that the proxy or a server brings about by itself.
pub(crate) const SOON: Duration = Duration::from_secs(10);
/// Between two looks at a condition.
const POLL: Duration = Duration::from_millis(20);

/// Small bounds, so that tests reach them quickly.
pub(crate) const POOL_SIZE: usize = 4;
pub(crate) const MAX_CLIENTS: usize = 40;
pub(crate) const QUERY_WAIT: Duration = Duration::from_secs(1);
pub(crate) const LOGIN_WAIT: Duration = Duration::from_secs(2);
pub(crate) const DRAIN: Duration = Duration::from_secs(3);

const LIMITS: &str = r#"
[pool]
default_pool_size = 4
server_login_retry = "1s"

[limits]
max_client_conn = 40
query_wait_timeout = "1s"
client_login_timeout = "2s"
drain_timeout = "3s"
max_packet_size = "1MiB"
"#;

static EMBEDDED: Shared<World> = Shared::new();
static FULL: Shared<World> = Shared::new();
static TURNS: Turns = Turns::new();

/// The servers, while it is this test's turn.
pub(crate) struct Stage(Turn<World>);

impl Deref for Stage {
    type Target = World;

    fn deref(&self) -> &World {
        &self.0
    }
}

/// PostgreSQL and Ringway alone.
pub(crate) fn embedded() -> Result<Stage> {
    stage(&EMBEDDED, Backing::Embedded)
}

/// With Redis and Kafka.
pub(crate) fn full() -> Result<Stage> {
    stage(&FULL, Backing::Full)
}

fn stage(place: &Shared<World>, backing: Backing) -> Result<Stage> {
    let spec = WorldSpec {
        backing,
        size: Size::Small,
        configuration: LIMITS,
        schema: "",
    };
    Ok(Stage(TURNS.take(shared(place, &spec)?)))
}

impl Stage {
    pub(crate) fn us_east(&self) -> &Ringway {
        self.ringway(Region::UsEast)
    }

    /// A superuser's client straight to the primary of a shard.
    pub(crate) async fn direct(&self, shard: usize) -> Result<Client> {
        let shard = self.cluster().shards().get(shard).context("no such shard")?;
        Ok(shard.primary.connect(CONTROL_ROLE, SHOP).await?)
    }

    /// A user of the shop for each shard, in the order of the shards.
    pub(crate) async fn users(&self) -> Result<Vec<i64>> {
        let mut users = Vec::new();
        for shard in 0..self.cluster().shards().len() {
            let row = self
                .direct(shard)
                .await?
                .query_one("SELECT min(user_id) FROM users", &[])
                .await?;
            users.push(row.get::<_, Option<i64>>(0).context("a shard without users")?);
        }
        Ok(users)
    }

    /// What a SHOW of the admin database in us-east answers, as text.
    pub(crate) async fn show(&self, what: &str) -> Result<Vec<Vec<String>>> {
        self.show_in(Region::UsEast, what).await
    }

    /// What a SHOW of a region's admin database answers, as text.
    pub(crate) async fn show_in(&self, region: Region, what: &str) -> Result<Vec<Vec<String>>> {
        let admin = self.ringway(region).connect(CONTROL_ROLE, "ringway").await?;
        rows(&admin, &format!("SHOW {what}")).await
    }

    /// A new client is served, the process is the same as before, and it has not panicked.
    pub(crate) async fn assert_well(&self, pid: Option<i32>) -> Result<()> {
        let client = self.client().await.context("a new client after the test")?;
        let found = rows(&client, "SELECT count(*) FROM users").await?;
        ensure!(found == [["200"]], "a new client reads {found:?}");
        ensure!(self.us_east().pid() == pid, "the process is another one");
        let log = self.us_east().log_tail(200);
        ensure!(!log.contains("panicked"), "the proxy has panicked:\n{log}");
        Ok(())
    }
}

/// The rows of a simple query, as text.
pub(crate) async fn rows(client: &Client, sql: &str) -> Result<Vec<Vec<String>>> {
    let answer = client.simple_query(sql).await.with_context(|| sql.to_owned())?;
    let row = |message: SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => Some(
            (0..row.len())
                .map(|column| row.get(column).unwrap_or_default().to_owned())
                .collect(),
        ),
        _ => None,
    };
    Ok(answer.into_iter().filter_map(row).collect())
}

/// The SQLSTATE and the message of an error that a server told.
pub(crate) fn told<T: std::fmt::Debug>(result: Result<T, tokio_postgres::Error>) -> Result<(String, String)> {
    match result {
        Ok(answer) => bail!("an answer instead of an error: {answer:?}"),
        Err(error) => match error.as_db_error() {
            Some(told) => Ok((told.code().code().to_owned(), told.message().to_owned())),
            None => bail!("no error was told: {error}"),
        },
    }
}

/// The SQLSTATE of an error that a server told.
pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, tokio_postgres::Error>) -> Result<String> {
    Ok(told(result)?.0)
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(
    what: &str,
    bound: Duration,
    mut condition: impl AsyncFnMut() -> Result<bool>,
) -> Result<()> {
    let began = Instant::now();
    loop {
        if condition().await.with_context(|| what.to_owned())? {
            return Ok(());
        }
        ensure!(began.elapsed() < bound, "not within {bound:?}: {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// The first error among the replies.
pub(crate) fn first_error(replies: &[Reply]) -> Option<&Fault> {
    replies.iter().find_map(Reply::error)
}

/// Runs a statement that must succeed.
pub(crate) fn done(session: &mut Session, sql: &str) -> Result<()> {
    let replies = session.simple(sql, None)?;
    match first_error(&replies) {
        Some(fault) => bail!("{sql}: {fault}"),
        None => Ok(()),
    }
}
