//! Ways into decoders that nothing but fuzzing needs from outside.

use crate::array;
use crate::catalog::Table;
use crate::error::Error;
use crate::replication::{self, Incoming};
use bytes::Bytes;

/// Reads a message of the replication stream; what it has for the decoder of the output plugin's messages.
///
/// # Errors
/// When it is none.
pub fn incoming(data: Bytes) -> Result<Option<Bytes>, Error> {
    match replication::parse(data)? {
        Incoming::Change(change) => Ok(Some(change)),
        Incoming::Keepalive { .. } => Ok(None),
    }
}

/// Reads the text of an array; `None` if it is none.
pub fn array(text: &str) -> Option<Vec<String>> {
    array::parse(text).ok()
}

/// Reads a row of `ringway.relation`.
///
/// # Errors
/// When it is none.
pub fn relation(values: [&str; 6]) -> Result<(), Error> {
    Table::parse(values).map(drop)
}
