//! Small types that several messages share.

use std::fmt;

use crate::error::{Malformed, WireError};
use crate::read::Reader;

/// The object identifier of a type, table or function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Oid(pub u32);

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// The type's text representation.
    Text,
    /// The type's binary representation.
    Binary,
}

impl Format {
    /// The code on the wire.
    pub fn code(self) -> i16 {
        match self {
            Format::Text => 0,
            Format::Binary => 1,
        }
    }

    /// The format of a code; `None` for a code that PostgreSQL refuses as unsupported (SQLSTATE 22023).
    pub fn from_code(code: i16) -> Option<Format> {
        match code {
            0 => Some(Format::Text),
            1 => Some(Format::Binary),
            _ => None,
        }
    }
}

/// The transaction status in ReadyForQuery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransactionStatus {
    /// No transaction block.
    Idle,
    /// In a transaction block.
    InTransaction,
    /// In a failed transaction block: only its end is accepted.
    Failed,
}

impl TransactionStatus {
    /// The byte on the wire.
    pub fn byte(self) -> u8 {
        match self {
            TransactionStatus::Idle => b'I',
            TransactionStatus::InTransaction => b'T',
            TransactionStatus::Failed => b'E',
        }
    }

    /// The status of a byte.
    pub fn from_byte(byte: u8) -> Option<TransactionStatus> {
        match byte {
            b'I' => Some(TransactionStatus::Idle),
            b'T' => Some(TransactionStatus::InTransaction),
            b'E' => Some(TransactionStatus::Failed),
            _ => None,
        }
    }
}

/// The longest secret of a cancel key (protocol 3.2).
pub const MAX_CANCEL_SECRET: usize = 256;

/// What a cancel request must show: owned, because it outlives the message that brought it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CancelKey {
    /// The process id of the backend.
    pub pid: u32,
    /// The secret: four bytes in protocol 3.0, up to [`MAX_CANCEL_SECRET`] in 3.2.
    pub secret: Box<[u8]>,
}

impl fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelKey")
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
}

/// A list of format codes, borrowed from its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormatCodes<'a> {
    raw: &'a [u8],
}

impl<'a> FormatCodes<'a> {
    /// Every value in text: a list of no codes.
    pub const TEXT: FormatCodes<'static> = FormatCodes { raw: &[] };
    /// Every value in binary: a list of one code.
    pub const BINARY: FormatCodes<'static> = FormatCodes { raw: &[0, 1] };

    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let count = reader.count()?;
        Ok(FormatCodes {
            raw: reader.bytes(count * 2)?,
        })
    }

    /// A list from its bytes, two for each code; `None` for an odd number of bytes.
    pub fn from_raw(raw: &'a [u8]) -> Option<Self> {
        raw.len().is_multiple_of(2).then_some(FormatCodes { raw })
    }

    pub(crate) fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// How many codes the list has: 0 (all text), 1 (for all values), or one per value.
    pub fn len(&self) -> usize {
        self.raw.len() / 2
    }

    /// Whether the list has no codes: all values are text.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// The code that applies to the value at `index`.
    pub fn code(&self, index: usize) -> i16 {
        let (codes, _) = self.raw.as_chunks::<2>();
        match codes {
            [] => 0,
            [all] => i16::from_be_bytes(*all),
            each => each.get(index).map_or(0, |code| i16::from_be_bytes(*code)),
        }
    }

    /// The format of the value at `index`; `None` if its code is unsupported.
    pub fn format(&self, index: usize) -> Option<Format> {
        Format::from_code(self.code(index))
    }

    /// The codes as they stand in the message.
    pub fn iter(&self) -> impl Iterator<Item = i16> + 'a {
        self.raw
            .as_chunks::<2>()
            .0
            .iter()
            .map(|code| i16::from_be_bytes(*code))
    }
}

/// A list of object identifiers, borrowed from its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Oids<'a> {
    raw: &'a [u8],
}

impl<'a> Oids<'a> {
    /// No identifiers.
    pub const NONE: Oids<'static> = Oids { raw: &[] };

    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let count = reader.count()?;
        Ok(Oids {
            raw: reader.bytes(count * 4)?,
        })
    }

    /// The identifiers as they stand in the message, big-endian.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// A list from big-endian bytes; `None` unless they are whole identifiers.
    pub fn from_raw(raw: &'a [u8]) -> Option<Self> {
        raw.len().is_multiple_of(4).then_some(Oids { raw })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.raw.len() / 4
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// The identifier at `index`.
    pub fn get(&self, index: usize) -> Option<Oid> {
        self.raw
            .as_chunks::<4>()
            .0
            .get(index)
            .map(|oid| Oid(u32::from_be_bytes(*oid)))
    }

    /// All of them in order.
    pub fn iter(&self) -> impl Iterator<Item = Oid> + 'a {
        self.raw
            .as_chunks::<4>()
            .0
            .iter()
            .map(|oid| Oid(u32::from_be_bytes(*oid)))
    }
}

/// The values of a Bind or DataRow, borrowed from the message: `None` is NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Values<'a> {
    message: &'static str,
    count: usize,
    raw: &'a [u8],
}

impl<'a> Values<'a> {
    /// Reads a count and that many values. Every length is checked here, so iterating can't fail later.
    pub(crate) fn read(message: &'static str, reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let count = reader.count()?;
        let all = reader.rest();
        for _ in 0..count {
            reader.value()?;
        }
        let used = all.len() - reader.rest().len();
        let raw = all.get(..used).ok_or(reader.fault(Malformed::Short))?;
        Ok(Values { message, count, raw })
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The values in order.
    pub fn iter(&self) -> impl Iterator<Item = Option<&'a [u8]>> + Clone + 'a {
        let mut reader = Reader::new(self.message, self.raw);
        (0..self.count).map_while(move |_| reader.value().ok())
    }

    /// The value at `index`: outer `None` when there is no such value. Walks from the first.
    pub fn get(&self, index: usize) -> Option<Option<&'a [u8]>> {
        self.iter().nth(index)
    }
}
