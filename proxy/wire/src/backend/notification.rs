//! NotificationResponse.

use crate::error::WireError;
use crate::read::Reader;
use crate::tag::BackendTag;
use crate::write::{Buffer, frame, put_cstr};

/// NotificationResponse: what a NOTIFY sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotificationResponse<'a> {
    /// The process id of the backend that notified.
    pub pid: u32,
    /// The channel.
    pub channel: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
}

impl<'a> NotificationResponse<'a> {
    /// Decodes a body.
    ///
    /// # Errors
    /// A body of another layout.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("NotificationResponse", body);
        let pid = reader.u32()?;
        let channel = reader.cstr()?;
        let payload = reader.cstr()?;
        reader.end()?;
        Ok(NotificationResponse {
            pid,
            channel,
            payload,
        })
    }

    /// Appends the frame.
    pub fn encode(&self, buf: &mut impl Buffer) {
        frame(buf, BackendTag::NotificationResponse.byte(), |buf| {
            buf.put_u32(self.pid);
            put_cstr(buf, self.channel);
            put_cstr(buf, self.payload);
        });
    }
}
