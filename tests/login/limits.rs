//! Bounds of clients by user.

use anyhow::Result;
use tokio_postgres::{Config, NoTls};

use crate::stage::{LONELY, SOON, stage};

#[test]
fn a_user_has_no_more_clients_than_it_may() -> Result<()> {
    let stage = stage()?;
    let mut config = Config::new();
    config
        .host("127.0.0.1")
        .port(stage.ringway().port())
        .user(LONELY)
        .password("lonelypw")
        .dbname("one");
    let connect = || async { tokio::time::timeout(SOON, config.connect(NoTls)).await };
    stage.wait(async {
        let (first, connection) = connect().await??;
        let driven = tokio::spawn(connection);
        let Err(refused) = connect().await? else {
            anyhow::bail!("a second client was let in");
        };
        let refused = refused
            .as_db_error()
            .map(|error| (error.code().code().to_owned(), error.message().to_owned()));
        let expected = format!("too many connections for role \"{LONELY}\"");
        assert_eq!(refused, Some(("53300".to_owned(), expected)));
        drop(first);
        // It says goodbye; the proxy notices a moment later.
        driven.await??;
        let deadline = tokio::time::Instant::now() + SOON;
        while let Err(error) = connect().await? {
            anyhow::ensure!(tokio::time::Instant::now() < deadline, "{error}");
        }
        Ok(())
    })
}
