//! ParameterStatus, BackendKeyData and ReadyForQuery.

use crate::error::{Malformed, WireError};
use crate::read::Reader;
use crate::tag::BackendTag;
use crate::values::{CancelKey, MAX_CANCEL_SECRET, TransactionStatus};
use crate::write::{Buffer, frame, put_cstr};

/// ParameterStatus: the value of a setting that servers report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParameterStatus<'a> {
    /// The setting.
    pub name: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
}

impl<'a> ParameterStatus<'a> {
    /// Decodes a body.
    ///
    /// # Errors
    /// A body that isn't two strings.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("ParameterStatus", body);
        let name = reader.cstr()?;
        let value = reader.cstr()?;
        reader.end()?;
        Ok(ParameterStatus { name, value })
    }

    /// Appends the frame.
    pub fn encode(&self, buf: &mut impl Buffer) {
        frame(buf, BackendTag::ParameterStatus.byte(), |buf| {
            put_cstr(buf, self.name);
            put_cstr(buf, self.value);
        });
    }
}

/// BackendKeyData: what a cancel request must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackendKeyData<'a> {
    /// The process id of the backend.
    pub pid: u32,
    /// The secret: four bytes in protocol 3.0, up to 256 in 3.2.
    pub secret: &'a [u8],
}

impl<'a> BackendKeyData<'a> {
    /// Decodes a body.
    ///
    /// # Errors
    /// A secret shorter than 4 or longer than 256 bytes.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("BackendKeyData", body);
        let pid = reader.u32()?;
        let secret = reader.rest();
        if !(4..=MAX_CANCEL_SECRET).contains(&secret.len()) {
            return Err(reader.fault(Malformed::Range));
        }
        Ok(BackendKeyData { pid, secret })
    }

    /// The same, owned.
    pub fn to_key(self) -> CancelKey {
        CancelKey {
            pid: self.pid,
            secret: self.secret.into(),
        }
    }

    /// Appends the frame.
    pub fn encode(&self, buf: &mut impl Buffer) {
        frame(buf, BackendTag::BackendKeyData.byte(), |buf| {
            buf.put_u32(self.pid);
            buf.put_slice(self.secret);
        });
    }
}

/// ReadyForQuery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadyForQuery {
    /// Whether a transaction block is open.
    pub status: TransactionStatus,
}

impl ReadyForQuery {
    /// Decodes a body.
    ///
    /// # Errors
    /// A body that isn't one of the three status bytes.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("ReadyForQuery", body);
        let status = TransactionStatus::from_byte(reader.u8()?).ok_or(reader.fault(Malformed::Range))?;
        reader.end()?;
        Ok(ReadyForQuery { status })
    }

    /// Appends the frame.
    pub fn encode(&self, buf: &mut impl Buffer) {
        frame(buf, BackendTag::ReadyForQuery.byte(), |buf| {
            buf.put_u8(self.status.byte())
        });
    }
}
