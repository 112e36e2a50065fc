//! What can go wrong while rows are merged or split, and who is at fault.

use crate::ColumnType;
use wire::WireError;

/// Why a merge can't go on. The answer is wrong or unknown from here: it must end in an error, not early.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MergeError {
    /// The backend's: no DataRow.
    #[error(transparent)]
    Row(#[from] WireError),
    /// The backend's: a row with fewer columns than the merge needs.
    #[error("a row of {found} columns where at least {needed} are merged")]
    Columns {
        /// How many columns the merge reads.
        needed: usize,
        /// How many columns the row has.
        found: usize,
    },
    /// The backend's: a value that is none of its type.
    #[error("column {column} holds no value of type {column_type:?}")]
    Value {
        /// The column, from 0.
        column: usize,
        /// The type that was announced.
        column_type: ColumnType,
    },
    /// The session's: dates are printed in another style than ISO, so that their order can't be told.
    #[error("column {column} is not printed in the ISO date style")]
    DateStyle {
        /// The column, from 0.
        column: usize,
    },
    /// The statement's, as PostgreSQL says it too (22003): the merged sum does not fit its type.
    #[error("the merged value of column {column} is out of range")]
    OutOfRange {
        /// The column, from 0.
        column: usize,
    },
    /// The backend's: an aggregate answer of no row or of several.
    #[error("shard stream {stream} did not answer with exactly one row of aggregates")]
    AggregateRows {
        /// The stream.
        stream: usize,
    },
    /// Ours: this sum does not come out the same in every order of adding.
    #[error("sums of type {0:?} can't be merged exactly")]
    InexactSum(ColumnType),
    /// Ours: a row for a stream that has no room, that has ended, or that there is not.
    #[error("shard stream {stream} can't take a row")]
    Unexpected {
        /// The stream.
        stream: usize,
    },
}

/// Why a COPY stream can't be split into rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CopyError {
    /// The client's: a row longer than [`MAX_ROW_BYTES`](crate::copy::MAX_ROW_BYTES) (54000).
    #[error("a COPY row exceeds {limit} bytes")]
    RowTooLong {
        /// The bound.
        limit: usize,
    },
    /// The client's: `\\.` that is not alone on its line (22P04).
    #[error("end-of-copy marker corrupt")]
    CorruptEndMarker,
    /// The client's: a carriage return or newline that is not how lines end in this data (22P04).
    #[error("{how} {found} found in data")]
    MixedLineEnds {
        /// `literal` in text, `unquoted` in CSV.
        how: &'static str,
        /// The character.
        found: &'static str,
    },
    /// The statement's: PostgreSQL may take these options, but rows can't be told apart under them (0A000).
    #[error("COPY with {0} can't be split over several shards")]
    Unsupported(&'static str),
}
