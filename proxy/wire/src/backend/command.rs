//! CommandComplete and the answers without a body.

use crate::error::WireError;
use crate::read::Reader;
use crate::tag::BackendTag;
use crate::write::{Buffer, frame, put_cstr};

/// CommandComplete: the statement is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandComplete<'a> {
    /// The command tag, as `INSERT 0 1`.
    pub tag: &'a [u8],
}

impl<'a> CommandComplete<'a> {
    /// Decodes a body.
    ///
    /// # Errors
    /// A body that isn't one string.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("CommandComplete", body);
        let tag = reader.cstr()?;
        reader.end()?;
        Ok(CommandComplete { tag })
    }

    /// Appends the frame.
    pub fn encode(&self, buf: &mut impl Buffer) {
        frame(buf, BackendTag::CommandComplete.byte(), |buf| {
            put_cstr(buf, self.tag)
        });
    }

    /// The number of rows at the tag's end; `None` for commands that count none.
    pub fn rows(&self) -> Option<u64> {
        let digits = self.tag.rsplit(|&c| c == b' ').next()?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    /// The tag without its numbers, as `INSERT` or `CREATE TABLE`.
    pub fn command(&self) -> &'a [u8] {
        let end = self
            .tag
            .windows(2)
            .position(|pair| matches!(pair, [b' ', b'0'..=b'9']));
        end.and_then(|end| self.tag.get(..end)).unwrap_or(self.tag)
    }
}

/// Appends EmptyQueryResponse.
pub fn encode_empty_query_response(buf: &mut impl Buffer) {
    frame(buf, BackendTag::EmptyQueryResponse.byte(), |_| {});
}

/// Appends ParseComplete.
pub fn encode_parse_complete(buf: &mut impl Buffer) {
    frame(buf, BackendTag::ParseComplete.byte(), |_| {});
}

/// Appends BindComplete.
pub fn encode_bind_complete(buf: &mut impl Buffer) {
    frame(buf, BackendTag::BindComplete.byte(), |_| {});
}

/// Appends CloseComplete.
pub fn encode_close_complete(buf: &mut impl Buffer) {
    frame(buf, BackendTag::CloseComplete.byte(), |_| {});
}

/// Appends NoData.
pub fn encode_no_data(buf: &mut impl Buffer) {
    frame(buf, BackendTag::NoData.byte(), |_| {});
}

/// Appends PortalSuspended.
pub fn encode_portal_suspended(buf: &mut impl Buffer) {
    frame(buf, BackendTag::PortalSuspended.byte(), |_| {});
}
