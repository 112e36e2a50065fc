//! Describe and Close, which name a statement or a portal.

use crate::error::{Malformed, WireError};
use crate::read::Reader;
use crate::tag::FrontendTag;
use crate::write::{Buffer, frame, put_cstr};

/// What a Describe or Close names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// A prepared statement.
    Statement,
    /// A portal.
    Portal,
}

impl Target {
    fn byte(self) -> u8 {
        match self {
            Target::Statement => b'S',
            Target::Portal => b'P',
        }
    }
}

fn decode<'a>(message: &'static str, body: &'a [u8]) -> Result<(Target, &'a [u8]), WireError> {
    let mut reader = Reader::new(message, body);
    let target = match reader.u8()? {
        b'S' => Target::Statement,
        b'P' => Target::Portal,
        _ => return Err(reader.fault(Malformed::Range)),
    };
    let name = reader.cstr()?;
    reader.end()?;
    Ok((target, name))
}

fn encode(buf: &mut impl Buffer, tag: FrontendTag, target: Target, name: &[u8]) {
    frame(buf, tag.byte(), |buf| {
        buf.put_u8(target.byte());
        put_cstr(buf, name);
    });
}

/// Describe: asks for the parameters and columns of a statement, or the columns of a portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Describe<'a> {
    /// Statement or portal.
    pub target: Target,
    /// Its name.
    pub name: &'a [u8],
}

impl<'a> Describe<'a> {
    /// Decodes a body.
    ///
    /// # Errors
    /// A body of another layout.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        decode("Describe", body).map(|(target, name)| Describe { target, name })
    }

    /// Appends the frame.
    pub fn encode(&self, buf: &mut impl Buffer) {
        encode(buf, FrontendTag::Describe, self.target, self.name);
    }
}

/// Close: forgets a statement or portal. Closing what doesn't exist is no error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close<'a> {
    /// Statement or portal.
    pub target: Target,
    /// Its name.
    pub name: &'a [u8],
}

impl<'a> Close<'a> {
    /// Decodes a body.
    ///
    /// # Errors
    /// A body of another layout.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        decode("Close", body).map(|(target, name)| Close { target, name })
    }

    /// Appends the frame.
    pub fn encode(&self, buf: &mut impl Buffer) {
        encode(buf, FrontendTag::Close, self.target, self.name);
    }
}
