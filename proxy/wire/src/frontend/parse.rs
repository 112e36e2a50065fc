//! Parse.

use crate::error::WireError;
use crate::read::Reader;
use crate::tag::FrontendTag;
use crate::values::Oids;
use crate::write::{Buffer, frame, put_count, put_cstr};

/// Parse: prepares a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parse<'a> {
    /// The statement's name; empty is the unnamed statement.
    pub name: &'a [u8],
    /// The SQL, in the client's encoding.
    pub sql: &'a [u8],
    /// The types of parameters that the client declares; 0 leaves one open, and the list may be shorter than the parameters.
    pub parameter_types: Oids<'a>,
}

impl<'a> Parse<'a> {
    /// Decodes a body.
    ///
    /// # Errors
    /// A body of another layout.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("Parse", body);
        let name = reader.cstr()?;
        let sql = reader.cstr()?;
        let parameter_types = Oids::read(&mut reader)?;
        reader.end()?;
        Ok(Parse {
            name,
            sql,
            parameter_types,
        })
    }

    /// Appends the frame.
    pub fn encode(&self, buf: &mut impl Buffer) {
        frame(buf, FrontendTag::Parse.byte(), |buf| {
            put_cstr(buf, self.name);
            put_cstr(buf, self.sql);
            put_count(buf, self.parameter_types.len());
            buf.put_slice(self.parameter_types.raw());
        });
    }
}
