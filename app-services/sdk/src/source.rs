//! Where answers came from, for callers who want to know: `ringway-report: source` asks, `ringway-source: memory, replica` answers.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The name of the header by which a caller asks what its answer says beside itself.
pub const REPORT_HEADER: &str = "ringway-report";

/// What a caller may ask for in [`REPORT_HEADER`].
pub(crate) const REPORT_SOURCE: &str = "source";

/// The name of the header that says where the reads of a call were answered.
pub const SOURCE_HEADER: &str = "ringway-source";

/// What Ringway is asked behind a read.
pub(crate) const SHOW_SOURCE: &str = "SHOW ringway.source";

/// Where Ringway has a read answered.
const WORDS: [&str; 4] = ["memory", "redis", "replica", "primary"];

/// Where the reads of a call were answered: each place once, in the order of its first. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources(Arc<Mutex<Vec<&'static str>>>);

impl Sources {
    /// Adds places, separated by commas. What isn't one is passed over.
    pub(crate) fn add(&self, text: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for told in text.split(',') {
            let word = WORDS.into_iter().find(|word| *word == told.trim());
            if let Some(word) = word.filter(|word| !known.contains(word)) {
                known.push(word);
            }
        }
    }
}

/// As in [`SOURCE_HEADER`]; empty if there were no reads.
impl fmt::Display for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.lock().unwrap_or_else(PoisonError::into_inner).join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_is_named_once_and_in_order() {
        let sources = Sources::default();
        for text in ["none", "replica", "memory", "replica", "memory, primary,<b>"] {
            sources.add(text);
        }
        assert_eq!(sources.to_string(), "replica, memory, primary");
    }
}
