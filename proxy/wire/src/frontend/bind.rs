//! Bind.

use crate::error::{Malformed, WireError};
use crate::read::Reader;
use crate::tag::FrontendTag;
use crate::values::{FormatCodes, Values};
use crate::write::{Buffer, frame, put_count, put_cstr, put_value};

/// Bind: a portal from a statement and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bind<'a> {
    /// The portal's name; empty is the unnamed portal.
    pub portal: &'a [u8],
    /// The statement's name; empty is the unnamed statement.
    pub statement: &'a [u8],
    /// The formats of the values.
    pub formats: FormatCodes<'a>,
    /// The values.
    pub values: Values<'a>,
    /// The formats in which the result is wanted.
    pub result_formats: FormatCodes<'a>,
}

impl<'a> Bind<'a> {
    /// Decodes a body.
    ///
    /// # Errors
    /// A body of another layout, or format codes that fit the values neither as none, nor one, nor one each.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("Bind", body);
        let portal = reader.cstr()?;
        let statement = reader.cstr()?;
        let formats = FormatCodes::read(&mut reader)?;
        let values = Values::read("Bind", &mut reader)?;
        let result_formats = FormatCodes::read(&mut reader)?;
        if formats.len() > 1 && formats.len() != values.len() {
            return Err(reader.fault(Malformed::FormatCount));
        }
        reader.end()?;
        Ok(Bind {
            portal,
            statement,
            formats,
            values,
            result_formats,
        })
    }

    /// Appends a Bind made from parts. `formats` must be none, one for all, or one per value.
    pub fn encode(
        buf: &mut impl Buffer,
        portal: &[u8],
        statement: &[u8],
        formats: FormatCodes<'_>,
        values: &[Option<&[u8]>],
        result_formats: FormatCodes<'_>,
    ) {
        frame(buf, FrontendTag::Bind.byte(), |buf| {
            put_cstr(buf, portal);
            put_cstr(buf, statement);
            put_count(buf, formats.len());
            buf.put_slice(formats.raw());
            put_count(buf, values.len());
            for value in values {
                put_value(buf, *value);
            }
            put_count(buf, result_formats.len());
            buf.put_slice(result_formats.raw());
        });
    }
}

/// The names in a Bind and all that follows them, not looked into: for handing a Bind on under another statement name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindNames<'a> {
    /// The portal's name.
    pub portal: &'a [u8],
    /// The statement's name.
    pub statement: &'a [u8],
    /// Formats, values and result formats as they came.
    pub tail: &'a [u8],
}

impl<'a> BindNames<'a> {
    /// Decodes the names at the front of a body.
    ///
    /// # Errors
    /// A body without two strings at its front.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("Bind", body);
        Ok(BindNames {
            portal: reader.cstr()?,
            statement: reader.cstr()?,
            tail: reader.rest(),
        })
    }

    /// Appends the frame.
    pub fn encode(&self, buf: &mut impl Buffer) {
        frame(buf, FrontendTag::Bind.byte(), |buf| {
            put_cstr(buf, self.portal);
            put_cstr(buf, self.statement);
            buf.put_slice(self.tail);
        });
    }
}
