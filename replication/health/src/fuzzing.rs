//! Ways into decoders that nothing but fuzzing needs from outside.

use crate::error::ProbeError;
use crate::question::{self, Answer};
use topology::Timeline;

/// Reads what a server said of itself; the timeline that it named.
///
/// # Errors
/// When that is no answer.
pub fn answer(row: &[Option<String>]) -> Result<Option<Timeline>, ProbeError> {
    Answer::read(&row.to_vec()).map(|answer| answer.timeline)
}

/// Reads the answer to IDENTIFY_SYSTEM.
///
/// # Errors
/// When that is none.
pub fn replay_timeline(row: &[Option<String>]) -> Result<Timeline, ProbeError> {
    question::replay_timeline(&row.to_vec())
}
