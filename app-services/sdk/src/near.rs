//! The region's Redis.

use crate::error::{Error, Result};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use std::time::Duration;

/// A connection to the Redis at a URL, made when it is first used and again when it is lost; nothing takes longer than `bound`.
///
/// # Errors
/// The URL is malformed.
pub fn near_redis(url: &str, bound: Duration) -> Result<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(bound))
        .set_response_timeout(Some(bound))
        .set_number_of_retries(1);
    redis::Client::open(url)
        .and_then(|client| ConnectionManager::new_lazy_with_config(client, config))
        .map_err(|error| Error::caller("the URL of Redis is malformed").with_source(error))
}
