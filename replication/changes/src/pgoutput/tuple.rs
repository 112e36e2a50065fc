//! Rows.

use super::cursor::Cursor;
use super::{MAX_COLUMNS, Malformed};

/// What a row holds in one column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// Null.
    Null,
    /// A value stored out of line that the change didn't touch: the log doesn't hold it.
    Unchanged,
    /// The value as text.
    Text(&'a [u8]),
}

/// The values of a row, in the order of the relation's columns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tuple<'a> {
    values: Vec<Value<'a>>,
}

impl<'a> Tuple<'a> {
    /// A row of these values.
    pub fn new(values: Vec<Value<'a>>) -> Self {
        Self { values }
    }

    /// The value in column number `index`; `None` if the row has fewer columns.
    pub fn value(&self, index: usize) -> Option<Value<'a>> {
        self.values.get(index).copied()
    }

    /// How many columns it has.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether it has no columns.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self, Malformed> {
        let count = usize::from(cursor.u16()?);
        if count > MAX_COLUMNS {
            return Err(Malformed::Columns(count));
        }
        // Each value takes at least a byte.
        let mut values = Vec::with_capacity(count.min(cursor.left()));
        for _ in 0..count {
            values.push(match cursor.u8()? {
                b'n' => Value::Null,
                b'u' => Value::Unchanged,
                b't' => Value::Text(cursor.counted()?),
                other => return Err(Malformed::Tag(other)),
            });
        }
        Ok(Self { values })
    }
}
