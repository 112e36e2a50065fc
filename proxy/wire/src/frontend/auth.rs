//! Answers to authentication requests. All three share one tag; the exchange under way decides which is meant.

use std::fmt;

use crate::error::WireError;
use crate::read::Reader;
use crate::tag::FrontendTag;
use crate::write::{Buffer, frame, put_cstr, put_value};

/// PasswordMessage: a cleartext password or an md5 digest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Password<'a> {
    /// The password or digest.
    pub password: &'a [u8],
}

impl fmt::Debug for Password<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl<'a> Password<'a> {
    /// Decodes a body.
    ///
    /// # Errors
    /// A body that isn't one string.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("PasswordMessage", body);
        let password = reader.cstr()?;
        reader.end()?;
        Ok(Password { password })
    }

    /// Appends the frame.
    pub fn encode(&self, buf: &mut impl Buffer) {
        frame(buf, FrontendTag::Password.byte(), |buf| {
            put_cstr(buf, self.password)
        });
    }
}

/// SASLInitialResponse: the chosen mechanism and its first data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaslInitialResponse<'a> {
    /// The mechanism's name.
    pub mechanism: &'a [u8],
    /// Its first data, if it has any.
    pub data: Option<&'a [u8]>,
}

impl<'a> SaslInitialResponse<'a> {
    /// Decodes a body.
    ///
    /// # Errors
    /// A body of another layout.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("SASLInitialResponse", body);
        let mechanism = reader.cstr()?;
        let data = reader.value()?;
        reader.end()?;
        Ok(SaslInitialResponse { mechanism, data })
    }

    /// Appends the frame.
    pub fn encode(&self, buf: &mut impl Buffer) {
        frame(buf, FrontendTag::Password.byte(), |buf| {
            put_cstr(buf, self.mechanism);
            put_value(buf, self.data);
        });
    }
}

/// SASLResponse: further data of the mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaslResponse<'a> {
    /// The data.
    pub data: &'a [u8],
}

impl<'a> SaslResponse<'a> {
    /// Takes the body as it is.
    pub fn decode(body: &'a [u8]) -> Self {
        SaslResponse { data: body }
    }

    /// Appends the frame.
    pub fn encode(&self, buf: &mut impl Buffer) {
        frame(buf, FrontendTag::Password.byte(), |buf| buf.put_slice(self.data));
    }
}
