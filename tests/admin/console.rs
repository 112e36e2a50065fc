//! The servers that the tests share, one test at a time.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cluster::Backing;
use tests::{Shared, Size, Turn, Turns, World, WorldSpec, shared};

/// For a condition that the proxy brings about by itself.
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// Between two looks at a condition.
const POLL: Duration = Duration::from_millis(20);

static WORLD: Shared<World> = Shared::new();
static TURNS: Turns = Turns::new();

const LIMITS: &str = r#"
[pool]
default_pool_size = 20
reserve_pool_timeout = "1s"

[limits]
max_client_conn = 3000
"#;

/// The servers, while it is this test's turn.
pub(crate) type Stage = Turn<World>;

pub(crate) fn stage() -> Result<Stage> {
    let spec = WorldSpec {
        backing: Backing::Embedded,
        size: Size::Small,
        configuration: LIMITS,
        schema: "",
    };
    Ok(TURNS.take(shared(&WORLD, &spec)?))
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
