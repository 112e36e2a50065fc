//! NegotiateProtocolVersion.

use crate::error::{Malformed, WireError};
use crate::read::Reader;
use crate::startup::ProtocolVersion;
use crate::tag::BackendTag;
use crate::write::{Buffer, frame, put_cstr};

/// NegotiateProtocolVersion: the newest version that the server speaks, and the `_pq_.` options that it doesn't know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NegotiateProtocolVersion<'a> {
    /// The newest version that the server speaks, of the major version asked for.
    pub version: ProtocolVersion,
    /// The options that it doesn't know.
    pub unknown_options: Vec<&'a [u8]>,
}

impl<'a> NegotiateProtocolVersion<'a> {
    /// Decodes a body. PostgreSQL before 18 sends only the minor number, so a major of 0 is read as 3.
    ///
    /// # Errors
    /// A body of another layout.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("NegotiateProtocolVersion", body);
        let (major, minor) = (reader.u16()?, reader.u16()?);
        let version = ProtocolVersion {
            major: if major == 0 { 3 } else { major },
            minor,
        };
        let count = usize::try_from(reader.i32()?).map_err(|_| reader.fault(Malformed::Range))?;
        // The list isn't reserved by its announced count: each entry takes a byte at least.
        let mut unknown_options = Vec::new();
        for _ in 0..count {
            unknown_options.push(reader.cstr()?);
        }
        reader.end()?;
        Ok(NegotiateProtocolVersion {
            version,
            unknown_options,
        })
    }

    /// Appends the frame.
    pub fn encode(&self, buf: &mut impl Buffer) {
        frame(buf, BackendTag::NegotiateProtocolVersion.byte(), |buf| {
            buf.put_u32(self.version.code());
            buf.put_u32(u32::try_from(self.unknown_options.len()).unwrap_or(u32::MAX));
            for option in &self.unknown_options {
                put_cstr(buf, option);
            }
        });
    }
}
