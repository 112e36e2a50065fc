//! Messages without a body.

use crate::tag::FrontendTag;
use crate::write::{Buffer, frame};

/// Appends Sync.
pub fn encode_sync(buf: &mut impl Buffer) {
    frame(buf, FrontendTag::Sync.byte(), |_| {});
}

/// Appends Flush.
pub fn encode_flush(buf: &mut impl Buffer) {
    frame(buf, FrontendTag::Flush.byte(), |_| {});
}

/// Appends Terminate.
pub fn encode_terminate(buf: &mut impl Buffer) {
    frame(buf, FrontendTag::Terminate.byte(), |_| {});
}
