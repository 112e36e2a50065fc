//! COPY, in both directions: the responses that open it, the data, its end.

use crate::error::{Malformed, WireError};
use crate::read::Reader;
use crate::tag::{BackendTag, FrontendTag};
use crate::values::{Format, FormatCodes};
use crate::write::{Buffer, frame, put_count, put_cstr};

/// CopyInResponse, CopyOutResponse or CopyBothResponse: the tag tells which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyResponse<'a> {
    /// The overall format: [`Format::Text`] has rows separated by newlines (text, CSV).
    pub format: Format,
    /// The formats of the columns.
    pub columns: FormatCodes<'a>,
}

impl<'a> CopyResponse<'a> {
    /// Decodes the body of any of the three.
    ///
    /// # Errors
    /// A body of another layout, or an overall format other than 0 and 1.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("CopyResponse", body);
        let format = Format::from_code(i16::from(reader.u8()?)).ok_or(reader.fault(Malformed::Range))?;
        let columns = FormatCodes::read(&mut reader)?;
        reader.end()?;
        Ok(CopyResponse { format, columns })
    }
}

/// Appends a CopyInResponse that asks for `columns` columns, all in `format`.
pub fn encode_copy_in_response(buf: &mut impl Buffer, format: Format, columns: usize) {
    encode_response(buf, BackendTag::CopyInResponse, format, columns);
}

/// Appends a CopyOutResponse that announces `columns` columns, all in `format`.
pub fn encode_copy_out_response(buf: &mut impl Buffer, format: Format, columns: usize) {
    encode_response(buf, BackendTag::CopyOutResponse, format, columns);
}

fn encode_response(buf: &mut impl Buffer, tag: BackendTag, format: Format, columns: usize) {
    frame(buf, tag.byte(), |buf| {
        buf.put_u8(u8::from(format == Format::Binary));
        put_count(buf, columns);
        for _ in 0..columns {
            buf.put_i16(format.code());
        }
    });
}

/// CopyData. Its body is the data: rows need not end where messages do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyData<'a> {
    /// The data.
    pub data: &'a [u8],
}

impl<'a> CopyData<'a> {
    /// Takes the body as it is.
    pub fn decode(body: &'a [u8]) -> Self {
        CopyData { data: body }
    }

    /// Appends the frame.
    pub fn encode(&self, buf: &mut impl Buffer) {
        frame(buf, FrontendTag::CopyData.byte(), |buf| buf.put_slice(self.data));
    }
}

/// CopyFail: the client gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyFail<'a> {
    /// Why; the server's error quotes it.
    pub reason: &'a [u8],
}

impl<'a> CopyFail<'a> {
    /// Decodes a body.
    ///
    /// # Errors
    /// A body that isn't one string.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("CopyFail", body);
        let reason = reader.cstr()?;
        reader.end()?;
        Ok(CopyFail { reason })
    }

    /// Appends the frame.
    pub fn encode(&self, buf: &mut impl Buffer) {
        frame(buf, FrontendTag::CopyFail.byte(), |buf| {
            put_cstr(buf, self.reason)
        });
    }
}

/// Appends CopyDone.
pub fn encode_copy_done(buf: &mut impl Buffer) {
    frame(buf, FrontendTag::CopyDone.byte(), |_| {});
}
