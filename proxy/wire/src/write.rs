//! Appending frames to a buffer.

use bytes::BufMut;

/// Where encoders append: `Vec<u8>` and `BytesMut`.
pub trait Buffer: BufMut + AsMut<[u8]> {}

impl<B: BufMut + AsMut<[u8]>> Buffer for B {}

/// Appends one frame with `tag` and the body that `body` writes.
pub(crate) fn frame<B: Buffer>(buf: &mut B, tag: u8, body: impl FnOnce(&mut B)) {
    buf.put_u8(tag);
    untagged(buf, body);
}

/// Appends a packet that has no tag: those before authentication.
pub(crate) fn untagged<B: Buffer>(buf: &mut B, body: impl FnOnce(&mut B)) {
    let start = buf.as_mut().len();
    buf.put_u32(0);
    body(buf);
    let written = buf.as_mut();
    // A frame of more than 4 GiB can't be announced; with the largest length the peer refuses it instead of reading on out of step.
    let len = u32::try_from(written.len() - start).unwrap_or(u32::MAX);
    if let Some(field) = written
        .get_mut(start..)
        .and_then(|frame| frame.first_chunk_mut::<4>())
    {
        *field = len.to_be_bytes();
    }
}

/// Appends text and its terminator. A NUL inside becomes `?`, so that text can't end a string early.
pub(crate) fn put_cstr(buf: &mut impl Buffer, text: &[u8]) {
    if memchr::memchr(0, text).is_none() {
        buf.put_slice(text);
    } else {
        for &byte in text {
            buf.put_u8(if byte == 0 { b'?' } else { byte });
        }
    }
    buf.put_u8(0);
}

/// Appends a count of 16 bits. The callers' counts are bounded by the protocol; a larger one is cut so that the peer refuses the frame.
pub(crate) fn put_count(buf: &mut impl Buffer, count: usize) {
    buf.put_u16(u16::try_from(count).unwrap_or(u16::MAX));
}

/// Appends a value with its length before it.
pub(crate) fn put_value(buf: &mut impl Buffer, value: Option<&[u8]>) {
    match value {
        None => buf.put_i32(-1),
        Some(bytes) => {
            buf.put_i32(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
            buf.put_slice(bytes);
        }
    }
}
