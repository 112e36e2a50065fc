//! What can go wrong, by whose fault.

use topology::{ShardId, Timeline};

/// An error of this crate. Each variant names the party whose bytes or calls were at fault.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// The invalidation stream carried bytes that are no message: a publisher of another version, or corruption.
    #[error("the invalidation stream carried a malformed message: {0}")]
    Stream(Malformed),
    /// The value store returned bytes that are no entry header: another version, or corruption.
    #[error("the value store returned a malformed entry: {0}")]
    Store(Malformed),
    /// The client set a token that is none.
    #[error("the token is malformed: {0}")]
    Token(Malformed),
    /// The client's token was made under a newer slot map than this proxy has.
    #[error("the token needs slot map {needs}, this proxy has {has}")]
    TokenNeedsNewerMap {
        /// The map version that the token names.
        needs: u64,
        /// The map version that this proxy routes by.
        has: u64,
    },
    /// The client's token names a shard that this cluster doesn't have.
    #[error("the token names shard {0}, which doesn't exist")]
    TokenUnknownShard(ShardId),
    /// We built a message that would break the stream's rules.
    #[error("a message to publish breaks the stream's rules: {0}")]
    Publish(Malformed),
    /// We reported acknowledgements of the stream out of order.
    #[error("the stream acknowledged a message that was not the oldest in flight")]
    AcknowledgedOutOfOrder,
    /// The primary is on an older timeline than the epoch that its own table names: it is not the server it claims to be.
    #[error("the primary is on timeline {server}, but its epoch names timeline {stored}")]
    TimelineWentBack {
        /// What the epoch names.
        stored: Timeline,
        /// What the server says.
        server: Timeline,
    },
    /// The counter of epochs has no successor.
    #[error("the counter of stream epochs is exhausted")]
    EpochsExhausted,
    /// The decoder reported changes out of commit order.
    #[error("logical decoding went back in the log")]
    DecodedOutOfOrder,
}

/// Why bytes were refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// The bytes end too early.
    #[error("it ends too early")]
    Truncated,
    /// Bytes follow the end.
    #[error("bytes follow its end")]
    Trailing,
    /// A version that this build doesn't know.
    #[error("unknown version {0}")]
    Version(u8),
    /// A kind that this build doesn't know.
    #[error("unknown kind {0}")]
    Kind(u8),
    /// `to` lies before `from`.
    #[error("its end lies before its beginning")]
    Backwards,
    /// A heartbeat with tags.
    #[error("a heartbeat carries tags")]
    HeartbeatWithTags,
    /// A count above its bound.
    #[error("{count} items where at most {bound} are allowed")]
    TooMany {
        /// What was announced.
        count: usize,
        /// The bound.
        bound: usize,
    },
    /// Items that must ascend strictly don't.
    #[error("its items are not in ascending order")]
    NotAscending,
    /// Text that is no number, or the wrong number of fields.
    #[error("a field is not what it should be")]
    Field,
}
