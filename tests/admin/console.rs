//! The servers that the tests share, one test at a time.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster::{Backing, Region, SHOP};
use tests::{Console, Shared, Size, World, WorldSpec, shared};
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

    /// The admin database.
    pub(crate) fn console(&self) -> Console {
        Console::new(self.admin(Region::UsEast))
    }
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
