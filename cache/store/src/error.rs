//! What can be wrong with the settings of a store.

/// Why a store can't be set up. That a store doesn't answer is no error: it is a miss.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The settings' fault: the address is not one of a Redis server.
    #[error("not the address of a Redis server: {0}")]
    Address(#[source] redis::RedisError),
    /// The settings' fault: the client refuses its limits.
    #[error("the Redis client can't be set up: {0}")]
    Client(#[source] redis::RedisError),
}
