//! Packets without a tag, from before authentication: StartupMessage, SSLRequest, GSSENCRequest, CancelRequest.

use crate::error::{Malformed, WireError};
use crate::read::Reader;
use crate::values::{CancelKey, MAX_CANCEL_SECRET};
use crate::write::{Buffer, put_cstr, untagged};

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProtocolVersion {
    /// The major version: what it changes can't be negotiated.
    pub major: u16,
    /// The minor version.
    pub minor: u16,
}

impl ProtocolVersion {
    /// 3.0, spoken by every server and client of this century.
    pub const V3_0: ProtocolVersion = ProtocolVersion { major: 3, minor: 0 };
    /// 3.2 (PostgreSQL 18): cancel secrets of variable length.
    pub const V3_2: ProtocolVersion = ProtocolVersion { major: 3, minor: 2 };

    /// The version as one number.
    pub fn code(self) -> u32 {
        u32::from(self.major) << 16 | u32::from(self.minor)
    }
}

/// The major "version" under which the special requests come.
const REQUEST_MAJOR: u16 = 1234;
const CANCEL_MINOR: u16 = 5678;
const SSL_MINOR: u16 = 5679;
const GSSENC_MINOR: u16 = 5680;

/// One packet from before authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartupPacket<'a> {
    /// SSLRequest: may we speak TLS?
    SslRequest,
    /// GSSENCRequest: may we encrypt by GSSAPI?
    GssEncRequest,
    /// CancelRequest.
    Cancel(CancelKey),
    /// StartupMessage of protocol 3.
    Startup(StartupMessage<'a>),
    /// A startup of another major version, its body not looked into.
    Unsupported(ProtocolVersion),
}

impl<'a> StartupPacket<'a> {
    /// Decodes a whole packet, its length field included.
    ///
    /// # Errors
    /// A packet of another layout; PostgreSQL closes such a connection.
    pub fn decode(packet: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("StartupMessage", packet);
        reader.u32()?;
        let version = ProtocolVersion {
            major: reader.u16()?,
            minor: reader.u16()?,
        };
        match version {
            ProtocolVersion {
                major: REQUEST_MAJOR,
                minor: SSL_MINOR,
            } => reader.end().map(|()| StartupPacket::SslRequest),
            ProtocolVersion {
                major: REQUEST_MAJOR,
                minor: GSSENC_MINOR,
            } => reader.end().map(|()| StartupPacket::GssEncRequest),
            ProtocolVersion {
                major: REQUEST_MAJOR,
                minor: CANCEL_MINOR,
            } => {
                let pid = reader.u32()?;
                let secret = reader.rest();
                if !(4..=MAX_CANCEL_SECRET).contains(&secret.len()) {
                    return Err(reader.fault(Malformed::Range));
                }
                Ok(StartupPacket::Cancel(CancelKey {
                    pid,
                    secret: secret.into(),
                }))
            }
            ProtocolVersion { major: 3, .. } => {
                StartupMessage::read(version, reader).map(StartupPacket::Startup)
            }
            other => Ok(StartupPacket::Unsupported(other)),
        }
    }
}

/// StartupMessage: the version and the parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartupMessage<'a> {
    /// The version that the client asks for.
    pub version: ProtocolVersion,
    parameters: &'a [u8],
}

impl<'a> StartupMessage<'a> {
    fn read(version: ProtocolVersion, mut reader: Reader<'a>) -> Result<Self, WireError> {
        let parameters = reader.rest();
        loop {
            // The list ends with an empty name, which must be the packet's last byte.
            if reader.cstr()?.is_empty() {
                reader.end()?;
                return Ok(StartupMessage { version, parameters });
            }
            reader.cstr()?;
        }
    }

    /// Names and values in the order sent, `_pq_.` options among them. A name may come twice: the last one holds.
    pub fn parameters(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + 'a {
        let mut reader = Reader::new("StartupMessage", self.parameters);
        std::iter::from_fn(move || {
            let name = reader.cstr().ok().filter(|name| !name.is_empty())?;
            Some((name, reader.cstr().ok()?))
        })
    }

    /// The last value of a parameter.
    pub fn parameter(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.parameters()
            .filter(|(n, _)| *n == name)
            .last()
            .map(|(_, value)| value)
    }
}

/// Appends a StartupMessage. Names must not be empty: an empty name would end the list.
pub fn encode_startup<'p>(
    buf: &mut impl Buffer,
    version: ProtocolVersion,
    parameters: impl IntoIterator<Item = (&'p [u8], &'p [u8])>,
) {
    untagged(buf, |buf| {
        buf.put_u32(version.code());
        for (name, value) in parameters.into_iter().filter(|(name, _)| !name.is_empty()) {
            put_cstr(buf, name);
            put_cstr(buf, value);
        }
        buf.put_u8(0);
    });
}

/// Appends an SSLRequest.
pub fn encode_ssl_request(buf: &mut impl Buffer) {
    untagged(buf, |buf| {
        buf.put_u32(
            ProtocolVersion {
                major: REQUEST_MAJOR,
                minor: SSL_MINOR,
            }
            .code(),
        );
    });
}

/// Appends a CancelRequest.
pub fn encode_cancel(buf: &mut impl Buffer, key: &CancelKey) {
    untagged(buf, |buf| {
        buf.put_u32(
            ProtocolVersion {
                major: REQUEST_MAJOR,
                minor: CANCEL_MINOR,
            }
            .code(),
        );
        buf.put_u32(key.pid);
        buf.put_slice(&key.secret);
    });
}
