//! How fresh a read must be.

use std::fmt;
use std::time::Duration;

/// The level of a read, by Ringway's own names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Level {
    /// The primary, never a copy.
    Strong,
    /// The session's own writes, and whatever is older than the table's bound.
    #[default]
    Ryw,
    /// Everything acknowledged more than this ago; not necessarily the session's own writes.
    Bounded(Duration),
}

/// The value of `ringway.level`.
impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Strong => f.write_str("strong"),
            Self::Ryw => f.write_str("ryw"),
            Self::Bounded(bound) => write!(f, "bounded({}ms)", bound.as_millis()),
        }
    }
}
