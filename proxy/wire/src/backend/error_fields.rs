//! The fields of ErrorResponse and NoticeResponse.

use crate::error::WireError;
use crate::read::Reader;
use crate::sqlstate::SqlState;

/// The fields of an ErrorResponse or NoticeResponse, borrowed from its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorFields<'a> {
    raw: &'a [u8],
}

impl<'a> ErrorFields<'a> {
    /// Decodes a body.
    ///
    /// # Errors
    /// A list of fields without its end.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("ErrorResponse", body);
        while reader.u8()? != 0 {
            reader.cstr()?;
        }
        reader.end()?;
        Ok(ErrorFields { raw: body })
    }

    /// Codes and texts in the order sent.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &'a [u8])> + 'a {
        let mut reader = Reader::new("ErrorResponse", self.raw);
        std::iter::from_fn(move || {
            let code = reader.u8().ok().filter(|&code| code != 0)?;
            Some((code, reader.cstr().ok()?))
        })
    }

    /// The text of a field.
    pub fn get(&self, code: u8) -> Option<&'a [u8]> {
        self.iter().find(|&(c, _)| c == code).map(|(_, text)| text)
    }

    /// The SQLSTATE (field C).
    pub fn sqlstate(&self) -> Option<SqlState> {
        self.get(b'C').and_then(SqlState::from_bytes)
    }

    /// The severity that isn't translated (field V, or S from servers before 9.6).
    pub fn severity(&self) -> Option<&'a [u8]> {
        self.get(b'V').or_else(|| self.get(b'S'))
    }

    /// The primary message (field M).
    pub fn message(&self) -> &'a [u8] {
        self.get(b'M').unwrap_or_default()
    }

    /// Whether the server closes the connection after this error.
    pub fn is_fatal(&self) -> bool {
        matches!(self.severity(), Some(b"FATAL" | b"PANIC"))
    }
}
