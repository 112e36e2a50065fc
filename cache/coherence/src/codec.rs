//! Reading and writing of fixed-width fields, shared by the three encodings of this crate.

use crate::error::Malformed;

/// A cursor over bytes that somebody else wrote.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or(Malformed::Truncated)?;
        self.rest = tail;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    /// A count of items of `width` bytes each: checked against `bound` and against what is left,
    /// so that nothing is reserved for items that never come.
    pub(crate) fn count(&mut self, bound: usize, width: usize) -> Result<usize, Malformed> {
        let count = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        if count > bound {
            return Err(Malformed::TooMany { count, bound });
        }
        if self.rest.len() < count.saturating_mul(width) {
            return Err(Malformed::Truncated);
        }
        Ok(count)
    }

    /// What follows, unread.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Refuses anything that follows.
    pub(crate) fn end(self) -> Result<(), Malformed> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Malformed::Trailing)
        }
    }
}

/// Writes a count that the caller has kept below its bound (all bounds are below `u32::MAX`).
pub(crate) fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
}
