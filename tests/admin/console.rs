//! The servers that the tests share, one test at a time, and what is asked of the admin database.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cluster::{Backing, Region, SHOP};
use tests::{Reply, Session, Shared, Size, Target, World, WorldSpec, shared};
use tokio_postgres::Client;

/// For a condition that the proxy brings about by itself.
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// Between two looks at a condition.
const POLL: Duration = Duration::from_millis(20);

static WORLD: Shared = Mutex::new(std::sync::Weak::new());
static TURN: Mutex<()> = Mutex::new(());

const LIMITS: &str = r#"
[pool]
default_pool_size = 20
reserve_pool_timeout = "1s"

[limits]
max_client_conn = 3000
"#;

/// The servers, while it is this test's turn.
pub(crate) struct Stage {
    world: Arc<World>,
    _turn: MutexGuard<'static, ()>,
}

impl Deref for Stage {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

pub(crate) fn stage() -> Result<Stage> {
    let spec = WorldSpec {
        backing: Backing::Embedded,
        size: Size::Small,
        configuration: LIMITS,
        schema: "",
    };
    let world = shared(&WORLD, &spec)?;
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Stage { world, _turn: turn })
}

/// The rows of an answer as text, by the names of their columns.
pub(crate) type Rows = Vec<Vec<(String, Option<String>)>>;

impl Stage {
    /// Runs `doing` to its end, which must come within `bound`.
    pub(crate) fn within<T>(&self, bound: Duration, doing: impl Future<Output = Result<T>>) -> Result<T> {
        self.wait(async { tokio::time::timeout(bound, doing).await })
            .with_context(|| format!("not within {bound:?}"))?
    }

    /// A client of the shop.
    pub(crate) async fn client(&self) -> Result<Client> {
        Ok(self.ringway(Region::UsEast).connect(SHOP, SHOP).await?)
    }

    /// Where the admin database is.
    pub(crate) fn console(&self) -> Target {
        self.admin(Region::UsEast)
    }

    /// One command, and its tag.
    pub(crate) fn command(&self, sql: &str) -> Result<String> {
        let replies = Session::connect(&self.console())?.simple(sql, None)?;
        for reply in &replies {
            match reply {
                Reply::Complete(tag) => return Ok(tag.clone()),
                Reply::Error(fault) => bail!("{}: {}", fault.code, fault.message),
                _ => {}
            }
        }
        bail!("{sql}: {replies:?}")
    }

    /// What a command is refused with.
    pub(crate) fn refusal(&self, sql: &str) -> Result<String> {
        let replies = Session::connect(&self.console())?.simple(sql, None)?;
        let code = replies.iter().find_map(|reply| match reply {
            Reply::Error(fault) => Some(fault.code.clone()),
            _ => None,
        });
        code.with_context(|| format!("{sql}: {replies:?}"))
    }

    /// The rows of a SHOW.
    pub(crate) fn show(&self, what: &str) -> Result<Rows> {
        rows(&Session::connect(&self.console())?.simple(&format!("SHOW {what}"), None)?)
    }

    /// A value of the row in which these columns have these values.
    pub(crate) fn value(&self, what: &str, of: &[(&str, &str)], column: &str) -> Result<Option<String>> {
        let is =
            |row: &Vec<(String, Option<String>)>| of.iter().all(|(name, text)| get(row, name) == Some(text));
        let rows = self.show(what)?;
        let row = rows.iter().find(|row| is(row));
        Ok(row.and_then(|row| get(row, column)).map(str::to_owned))
    }
}

/// A value of a row.
pub(crate) fn get<'r>(row: &'r [(String, Option<String>)], name: &str) -> Option<&'r str> {
    row.iter().find(|(column, _)| column == name)?.1.as_deref()
}

/// The rows among replies.
pub(crate) fn rows(replies: &[Reply]) -> Result<Rows> {
    let mut names: Vec<String> = Vec::new();
    let mut found = Vec::new();
    for reply in replies {
        match reply {
            Reply::Columns(columns) => names = columns.iter().map(|column| column.name.clone()).collect(),
            Reply::Row(values) => {
                ensure!(
                    values.len() == names.len(),
                    "{} values for {names:?}",
                    values.len()
                );
                let text = |value: &Option<Vec<u8>>| {
                    value
                        .as_ref()
                        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
                };
                found.push(names.iter().cloned().zip(values.iter().map(text)).collect());
            }
            Reply::Error(fault) => bail!("{}: {}", fault.code, fault.message),
            _ => {}
        }
    }
    Ok(found)
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + SOON;
    while !condition()? {
        ensure!(Instant::now() < deadline, "{what}: not within {SOON:?}");
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}
