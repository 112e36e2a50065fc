//! The region's Redis.

use crate::error::{Blame, Error, Result, Retry};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{FromRedisValue, Pipeline, RedisError};
use std::fmt;
use std::time::Duration;

/// A connection to a Redis that is near: made when it is first used and again when it is lost. Clones share it.
#[derive(Clone)]
pub struct NearRedis {
    connection: ConnectionManager,
    bound: Duration,
}

impl fmt::Debug for NearRedis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NearRedis")
    }
}

impl NearRedis {
    /// The Redis at a URL, of which nothing may take longer than `bound`.
    ///
    /// # Errors
    /// The URL is malformed.
    pub fn new(url: &str, bound: Duration) -> Result<Self> {
        let connection = connect(url, bound)?;
        Ok(Self { connection, bound })
    }

    /// What it answers, with the time for connecting in the bound.
    ///
    /// # Errors
    /// It doesn't answer in time, or refuses.
    pub async fn ask<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T> {
        let failed = |message: String| Error::new(Blame::Network, Retry::Safe, message);
        let mut connection = self.connection.clone();
        let asked = tokio::time::timeout(self.bound, commands.query_async(&mut connection)).await;
        let answered = asked.map_err(|_| failed("Redis doesn't answer in time".to_owned()))?;
        answered.map_err(|error: RedisError| failed(format!("Redis: {error}")).with_source(error))
    }
}

/// A connection whose answers take no longer than `bound` each.
pub(crate) fn connect(url: &str, bound: Duration) -> Result<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(bound))
        .set_response_timeout(Some(bound))
        .set_number_of_retries(1);
    redis::Client::open(url)
        .and_then(|client| ConnectionManager::new_lazy_with_config(client, config))
        .map_err(|error| Error::caller("the URL of Redis is malformed").with_source(error))
}
