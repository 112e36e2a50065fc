//! Waiting for a condition, bounded.

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// Nothing in a test takes longer, unless it hangs.
pub const BOUND: Duration = Duration::from_secs(30);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits until a condition holds.
///
/// # Errors
/// It doesn't within [`BOUND`].
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) -> Result<()> {
    let began = Instant::now();
    while !condition().await {
        if began.elapsed() > BOUND {
            bail!("{what}: not within {BOUND:?}");
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
