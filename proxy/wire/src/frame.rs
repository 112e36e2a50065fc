//! Finding frames in a stream of bytes by tag and length, without looking into them.

use crate::error::WireError;

/// The bytes of tag and length before a body.
pub const HEADER_LEN: usize = 5;
/// The longest packet before authentication, as in PostgreSQL (`MAX_STARTUP_PACKET_LENGTH`, which leaves out the length field).
pub const MAX_STARTUP_LEN: usize = 10_000 + 4;
/// The longest message with a password or SASL data, as in PostgreSQL (`PG_MAX_AUTH_TOKEN_LENGTH`; as those below, it leaves
/// out the tag).
pub const MAX_AUTH_LEN: usize = 65_535 + 1;
/// The longest message without a large payload, as in PostgreSQL (`PQ_SMALL_MESSAGE_LIMIT`).
pub const MAX_SMALL_LEN: usize = 10_000 + 1;
/// The longest message of all, as in PostgreSQL (`PQ_LARGE_MESSAGE_LIMIT`).
pub const MAX_LARGE_LEN: usize = 0x3fff_fffe + 1;

/// What stands at the front of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan {
    /// A complete frame.
    Frame {
        /// The tag.
        tag: u8,
        /// The length of the whole frame: tag, length and body.
        len: usize,
    },
    /// The frame isn't complete.
    NeedMore {
        /// How many bytes the buffer must hold before another scan can tell more, counted from the frame's start.
        at_least: usize,
    },
    /// No frame: the stream can't be read any further.
    Malformed(WireError),
}

/// The tag and length of a frame whose body may not have arrived yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The tag.
    pub tag: u8,
    /// The length of the whole frame: tag, length and body.
    pub len: usize,
}

/// Scans the frame at the front of `buf`. A frame longer than `limit` (counted whole) is malformed as soon as its header is there.
#[inline]
pub fn scan(buf: &[u8], limit: usize) -> Scan {
    match header(buf, limit) {
        Err(error) => Scan::Malformed(error),
        Ok(None) => Scan::NeedMore { at_least: HEADER_LEN },
        Ok(Some(Header { len, .. })) if buf.len() < len => Scan::NeedMore { at_least: len },
        Ok(Some(Header { tag, len })) => Scan::Frame { tag, len },
    }
}

/// Reads only tag and length, for frames that are streamed instead of held. `None`: fewer than [`HEADER_LEN`] bytes.
///
/// # Errors
/// A length below 4 or above `limit`.
#[inline]
pub fn header(buf: &[u8], limit: usize) -> Result<Option<Header>, WireError> {
    let Some(&[tag, a, b, c, d]) = buf.first_chunk::<HEADER_LEN>() else {
        return Ok(None);
    };
    let len = i32::from_be_bytes([a, b, c, d]);
    let whole = match usize::try_from(len) {
        Ok(len @ 4..) => len + 1,
        _ => return Err(WireError::InvalidLength { len }),
    };
    if whole > limit {
        Err(WireError::TooLong { len: whole, limit })
    } else {
        Ok(Some(Header { tag, len: whole }))
    }
}

/// What stands at the front of a connection that isn't authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartupScan {
    /// A complete packet.
    Packet {
        /// The length of the whole packet: length field and body.
        len: usize,
    },
    /// The packet isn't complete.
    NeedMore {
        /// How many bytes the buffer must hold before another scan can tell more.
        at_least: usize,
    },
    /// A TLS ClientHello: the client starts TLS at once, without SSLRequest (`sslnegotiation=direct`).
    DirectTls,
    /// No packet.
    Malformed(WireError),
}

/// Scans a packet without tag, as they come before authentication, of at most [`MAX_STARTUP_LEN`] bytes.
pub fn scan_startup(buf: &[u8]) -> StartupScan {
    /// The first byte of a TLS record that holds a handshake message. As a startup packet it would announce 360 MB.
    const TLS_HANDSHAKE: u8 = 0x16;
    if buf.first() == Some(&TLS_HANDSHAKE) {
        return StartupScan::DirectTls;
    }
    let Some(&field) = buf.first_chunk::<4>() else {
        return StartupScan::NeedMore { at_least: 4 };
    };
    let announced = i32::from_be_bytes(field);
    match usize::try_from(announced) {
        Ok(len @ 8..=MAX_STARTUP_LEN) if buf.len() < len => StartupScan::NeedMore { at_least: len },
        Ok(len @ 8..=MAX_STARTUP_LEN) => StartupScan::Packet { len },
        Ok(len) if len > MAX_STARTUP_LEN => StartupScan::Malformed(WireError::TooLong {
            len,
            limit: MAX_STARTUP_LEN,
        }),
        _ => StartupScan::Malformed(WireError::InvalidLength { len: announced }),
    }
}

/// The body of a whole frame, as decoders want it; empty for a slice shorter than a header.
#[inline]
pub fn body(frame: &[u8]) -> &[u8] {
    frame.get(HEADER_LEN..).unwrap_or_default()
}
