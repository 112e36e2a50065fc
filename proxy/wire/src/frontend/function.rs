//! FunctionCall (fastpath), as libpq uses it for large objects.

use crate::error::WireError;
use crate::read::Reader;
use crate::values::{FormatCodes, Oid, Values};

/// FunctionCall: calls a function by its object identifier. Handed on as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionCall<'a> {
    /// The function.
    pub function: Oid,
    /// The formats of the arguments.
    pub formats: FormatCodes<'a>,
    /// The arguments.
    pub arguments: Values<'a>,
    /// The code of the format in which the result is wanted.
    pub result_format: i16,
}

impl<'a> FunctionCall<'a> {
    /// Decodes a body.
    ///
    /// # Errors
    /// A body of another layout.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("FunctionCall", body);
        let function = Oid(reader.u32()?);
        let formats = FormatCodes::read(&mut reader)?;
        let arguments = Values::read("FunctionCall", &mut reader)?;
        let result_format = reader.i16()?;
        reader.end()?;
        Ok(FunctionCall {
            function,
            formats,
            arguments,
            result_format,
        })
    }
}
