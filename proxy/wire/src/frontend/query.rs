//! Query of the simple protocol.

use crate::error::WireError;
use crate::read::Reader;
use crate::tag::FrontendTag;
use crate::write::{Buffer, frame, put_cstr};

/// Query: one string of SQL, which may hold several statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query<'a> {
    /// The SQL, in the client's encoding.
    pub sql: &'a [u8],
}

impl<'a> Query<'a> {
    /// Decodes a body.
    ///
    /// # Errors
    /// A body that isn't one string.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("Query", body);
        let sql = reader.cstr()?;
        reader.end()?;
        Ok(Query { sql })
    }

    /// Appends the frame.
    pub fn encode(&self, buf: &mut impl Buffer) {
        frame(buf, FrontendTag::Query.byte(), |buf| put_cstr(buf, self.sql));
    }
}
