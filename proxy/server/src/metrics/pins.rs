//! Why clients stay on their server connections, counted by reason.

use super::counters::Counter;
use session::state::Pins;

/// How many reasons there are.
pub(crate) const PIN_REASONS: usize = Pins::NAMES.len();

/// Pinned connections of one data thread, by the place of the reason in [`Pins::NAMES`].
#[derive(Debug, Default)]
pub(crate) struct PinCounters {
    held: [Counter; PIN_REASONS],
    taken: [Counter; PIN_REASONS],
}

impl PinCounters {
    /// A client was pinned for the reasons `before`, and is for those of `after`. Only the owning data thread may call this.
    pub(crate) fn change(&self, before: Pins, after: Pins) {
        let reasons = Pins::NAMES.iter().zip(self.held.iter().zip(&self.taken));
        for ((pin, _), (held, taken)) in reasons {
            match (before.intersects(*pin), after.intersects(*pin)) {
                (false, true) => {
                    held.add(1);
                    taken.add(1);
                }
                (true, false) => held.set(held.get().saturating_sub(1)),
                _ => {}
            }
        }
    }

    /// Connections that are pinned for this reason.
    pub(crate) fn held(&self, reason: usize) -> u64 {
        self.held.get(reason).map_or(0, Counter::get)
    }

    /// How often one was.
    pub(crate) fn taken(&self, reason: usize) -> u64 {
        self.taken.get(reason).map_or(0, Counter::get)
    }
}
