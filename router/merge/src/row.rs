//! Bodies of DataRow: columns taken off, bodies made.

use crate::MergeError;
use bytes::{BufMut, Bytes, BytesMut};
use wire::backend::DataRow;

/// The body without its last `hidden` columns.
pub(crate) fn strip(body: Bytes, hidden: usize) -> Result<Bytes, MergeError> {
    if hidden == 0 {
        return Ok(body);
    }
    let values = DataRow::decode(&body)?.values;
    let Some(visible) = values.len().checked_sub(hidden) else {
        return Err(MergeError::Columns {
            needed: hidden,
            found: values.len(),
        });
    };
    let mut stripped = BytesMut::with_capacity(body.len());
    put_values(&mut stripped, visible, values.iter());
    Ok(stripped.freeze())
}

/// A body of these values.
pub(crate) fn of_values(values: &[Option<Bytes>]) -> Bytes {
    let mut body = BytesMut::new();
    put_values(&mut body, values.len(), values.iter().map(Option::as_deref));
    body.freeze()
}

/// Counts came from a row, and lengths from values of rows: both fit the fields that they were read from.
fn put_values<'a>(out: &mut BytesMut, count: usize, values: impl Iterator<Item = Option<&'a [u8]>>) {
    out.put_u16(count as u16);
    for value in values.take(count) {
        match value {
            None => out.put_i32(-1),
            Some(bytes) => {
                out.put_i32(bytes.len() as i32);
                out.put_slice(bytes);
            }
        }
    }
}
