//! COPY FROM: the stream split into rows, each with the value of its key column.
//!
//! In: CopyData bodies, cut anywhere. Out: every row's bytes as they came, line end included, to be sent to the shard
//! of the key. The line logic is that of the server's `CopyReadLineText` and `CopyReadAttributes*`
//! (`commands/copyfromparse.c`), so that both see the same rows.
//!
//! **Invariant:** what only the server can judge (column counts, values, encodings) is left to it.
//! **Invariant:** the client's encoding uses ASCII bytes for ASCII alone (UTF-8 and all server encodings do).

mod fields;
mod options;
mod splitter;

pub use options::{CopyFormat, CopyOptions, CsvEndMarker, CsvOptions, Header, KeyNull};
pub use splitter::{CopyRow, MAX_ROW_BYTES, RowKey, RowSplitter};

#[cfg(test)]
mod tests;
