//! What a pool knows of clients that stay on its connections, and the counting of them.

use crate::metrics::ThreadStats;
use session::state::Pins;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use topology::Mono;

/// Facts of a pool that its connections share.
#[derive(Debug)]
pub(crate) struct PoolNotes {
    stats: Arc<ThreadStats>,
    /// Connections to which a client is pinned.
    pinned: Cell<usize>,
    /// A client has asked for `currval` or `lastval`.
    sequences_are_read: Cell<bool>,
    /// When the code in the database was read last, and whether some of it makes up names of settings.
    code: Cell<Option<(Mono, bool)>>,
}

/// How long what was read of the code in a database is good for.
const CODE_LIFE: Duration = Duration::from_secs(60);

impl PoolNotes {
    /// Of a pool without connections.
    pub(crate) fn new(stats: Arc<ThreadStats>) -> Self {
        Self {
            stats,
            pinned: Cell::new(0),
            sequences_are_read: Cell::new(false),
            code: Cell::new(None),
        }
    }

    /// Connections to which a client is pinned.
    pub(crate) fn pinned(&self) -> usize {
        self.pinned.get()
    }

    /// Whether the code in the database should be read again.
    pub(crate) fn code_is_old(&self, now: Mono) -> bool {
        self.code.get().is_none_or(|(at, _)| now.since(at) >= CODE_LIFE)
    }

    /// The code in the database was read; `dynamic`: some of it makes up names of settings.
    pub(crate) fn note_code(&self, now: Mono, dynamic: bool) {
        self.code.set(Some((now, dynamic)));
    }

    /// Whether code in the database makes up names of settings.
    pub(crate) fn code_is_dynamic(&self) -> bool {
        self.code.get().is_some_and(|(_, dynamic)| dynamic)
    }

    /// Whether a client has asked for `currval` or `lastval`: then whoever uses a sequence may do so.
    pub(crate) fn sequences_are_read(&self) -> bool {
        self.sequences_are_read.get()
    }

    /// A client asks for `currval` or `lastval`.
    pub(crate) fn note_sequence_read(&self) {
        self.sequences_are_read.set(true);
    }
}

/// A client stays on a connection, counted for as long as this lives.
#[derive(Debug)]
pub(crate) struct Hold {
    notes: Rc<PoolNotes>,
    pins: Pins,
}

impl Hold {
    /// The client stays for these reasons.
    pub(crate) fn new(notes: &Rc<PoolNotes>, pins: Pins) -> Self {
        notes.pinned.set(notes.pinned.get() + 1);
        notes.stats.pins().change(Pins::NONE, pins);
        Self {
            notes: Rc::clone(notes),
            pins,
        }
    }

    /// Why.
    pub(crate) fn pins(&self) -> Pins {
        self.pins
    }

    /// For other reasons from here on.
    pub(crate) fn change(&mut self, pins: Pins) {
        self.notes.stats.pins().change(self.pins, pins);
        self.pins = pins;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.notes.pinned.set(self.notes.pinned.get().saturating_sub(1));
        self.notes.stats.pins().change(self.pins, Pins::NONE);
    }
}

#[cfg(test)]
mod tests {
    use super::{Hold, PoolNotes};
    use crate::metrics::ThreadStats;
    use session::state::Pins;
    use std::rc::Rc;
    use std::sync::Arc;

    #[test]
    fn pinned_connections_are_counted_while_they_are_held() {
        let stats = Arc::new(ThreadStats::new(1, 1));
        let notes = Rc::new(PoolNotes::new(Arc::clone(&stats)));
        let mut hold = Hold::new(&notes, Pins::LISTEN);
        let other = Hold::new(&notes, Pins::LISTEN.union(Pins::TEMPORARY));
        assert_eq!(notes.pinned(), 2);
        assert_eq!((stats.pins().held(0), stats.pins().taken(0)), (2, 2));
        hold.change(Pins::TEMPORARY);
        assert_eq!((stats.pins().held(0), stats.pins().held(1)), (1, 2));
        drop((hold, other));
        assert_eq!(notes.pinned(), 0);
        assert_eq!((stats.pins().held(0), stats.pins().held(1)), (0, 0));
        assert_eq!((stats.pins().taken(0), stats.pins().taken(1)), (2, 2));
    }
}
