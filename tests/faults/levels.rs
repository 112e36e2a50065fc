//! What a session asks of its reads ends when it should.

use anyhow::{Context, Result};

use crate::stage::{SOON, code, embedded, rows};

#[test]
fn set_local_ends_with_its_transaction() -> Result<()> {
    let stage = embedded()?;
    stage.within(SOON, async {
        let client = stage.client().await?;
        let level = async || anyhow::Ok(rows(&client, "SHOW ringway.level").await?.concat().concat());
        for (end, why) in [("COMMIT", "committed"), ("ROLLBACK", "rolled back")] {
            client.batch_execute("BEGIN").await?;
            client
                .batch_execute("SET LOCAL ringway.level = 'bounded(60s)'")
                .await?;
            assert_eq!(level().await?, "bounded(60000ms)");
            client.batch_execute(end).await?;
            assert_eq!(level().await?, "ryw", "{why}");
        }
        client.batch_execute("BEGIN").await?;
        client
            .batch_execute("SET LOCAL ringway.level = 'bounded(60s)'")
            .await?;
        assert_eq!(code(client.batch_execute("SELEC").await)?, "42601");
        client
            .batch_execute("COMMIT")
            .await
            .context("COMMIT of a failed block")?;
        assert_eq!(level().await?, "ryw", "failed");
        Ok(())
    })
}
