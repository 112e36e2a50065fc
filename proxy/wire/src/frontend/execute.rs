//! Execute.

use crate::error::WireError;
use crate::read::Reader;
use crate::tag::FrontendTag;
use crate::write::{Buffer, frame, put_cstr};

/// Execute: runs a portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Execute<'a> {
    /// The portal's name.
    pub portal: &'a [u8],
    /// The most rows to return before PortalSuspended; 0 and below mean all, as in PostgreSQL.
    pub max_rows: i32,
}

impl<'a> Execute<'a> {
    /// Decodes a body.
    ///
    /// # Errors
    /// A body of another layout.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("Execute", body);
        let portal = reader.cstr()?;
        let max_rows = reader.i32()?;
        reader.end()?;
        Ok(Execute { portal, max_rows })
    }

    /// Appends the frame.
    pub fn encode(&self, buf: &mut impl Buffer) {
        frame(buf, FrontendTag::Execute.byte(), |buf| {
            put_cstr(buf, self.portal);
            buf.put_i32(self.max_rows);
        });
    }
}
