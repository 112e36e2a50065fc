//! Rows over several shards: streams merged on the way out, COPY rows split on the way in.
//!
//! In: a [`MergeSpec`] and the bodies of the shards' DataRows; out, from [`Merger`], those of one answer. In: the bytes
//! of a COPY FROM; out, from [`copy::RowSplitter`], its rows with the value of the key column.
//!
//! **Invariant:** knows nothing about sockets, catalogs or shards: streams and columns are numbers.
//! **Invariant:** exact or an error. What can't be compared or added as PostgreSQL does it is never approximated.
//! **Invariant:** what is held is bounded: [`MAX_ROWS_HELD`] and [`MAX_BYTES_HELD`] per stream,
//! [`copy::MAX_ROW_BYTES`] per COPY row; nothing is reserved for a length that was only announced.
//! **Invariant:** the caller made sure that text compared by bytes is in the server's encoding (UTF-8), and floats in
//! text are printed with `extra_float_digits` of 1 or more: the bytes alone don't show either.

mod aggregate;
pub mod copy;
mod error;
pub mod iso;
mod merger;
mod numeric;
mod row;
mod spec;
mod value;

pub use error::{CopyError, MergeError};
pub use merger::{MAX_BYTES_HELD, MAX_ROWS_HELD, MergeStep, Merger};
pub use spec::{Aggregate, ColumnType, MergeKind, MergeSpec, OrderKey};
