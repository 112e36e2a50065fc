//! What the publisher of a shard's stream may say, and when: a pure state machine.
//!
//! One publisher reads one logical slot on the primary. Whoever runs it asks the server for facts,
//! hands them in, and does what comes out:
//!
//! 1. [`on_start`]: which epoch, from where. Then `N = pg_current_xact_id()` and [`Publisher::new`].
//! 2. [`Publisher::decoded`] for each commit that the slot yields, in its order; [`Publisher::decoded_past`] for keepalives.
//! 3. [`Publisher::poll`] with a fresh `pg_current_snapshot()`, until it has no more to send.
//! 4. [`Publisher::acknowledged`] when the stream has stored a message; [`Publisher::confirmable`] goes back to the slot.
//! 5. Now and then [`Publisher::ask_heartbeat`] with the insert position, and [`Publisher::owns`] with the witness.
//!
//! Anything that fails (the stream, the connection, the process) ends this value; the next starts at 1 from what the slot
//! confirmed. What was already sent is then sent again, which readers ignore.

use crate::error::{Error, Malformed};
use crate::message::{MAX_TAGS, StreamMessage};
use crate::tags::TagHash;
use std::collections::VecDeque;
use std::str::FromStr;
use topology::{Epoch, Lsn, Timeline};

/// The most tags of one transaction. Beyond it the decoder reports the generation tags of the tables it touched instead.
pub const MAX_TRANSACTION_TAGS: usize = 16_384;

/// The most decoded transactions that wait to become visible. At the bound the slot is not read on, so
/// watermarks stop, gates close and the origin answers.
pub const MAX_PENDING_TRANSACTIONS: usize = 8_192;

/// The most tags of decoded transactions that wait to become visible (8 MiB of them); the same happens at the bound.
pub const MAX_PENDING_TAGS: usize = 1_048_576;

/// The most messages that wait to be stored by the stream; no more are made before one is.
pub const MAX_IN_FLIGHT: usize = 1_024;

/// A top-level transaction id with its epoch, as `xid8`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Xid(pub u64);

/// What `pg_current_snapshot()` said: which transactions had finished at that moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct XidSnapshot {
    xmin: Xid,
    xmax: Xid,
    running: Vec<Xid>,
}

impl XidSnapshot {
    /// The snapshot in which everything before `xmax` is finished, but for `running`.
    pub fn new(xmax: Xid, mut running: Vec<Xid>) -> Self {
        running.retain(|xid| *xid < xmax);
        running.sort_unstable();
        Self {
            xmin: running.first().copied().unwrap_or(xmax),
            xmax,
            running,
        }
    }

    /// What `pg_visible_in_snapshot` says: finished, committed or aborted, before this snapshot.
    ///
    /// Absence from the list of running transactions is not enough: a commit that waits for a synchronous standby
    /// may lie at or above `xmax` and be in no list.
    pub fn sees(&self, xid: Xid) -> bool {
        xid < self.xmin || (xid < self.xmax && self.running.binary_search(&xid).is_err())
    }

    /// The transactions below `horizon` that hadn't finished.
    fn unfinished_below(&self, horizon: Xid) -> impl Iterator<Item = Xid> {
        let unlisted = (self.xmax.0..horizon.0).map(Xid);
        self.running
            .iter()
            .copied()
            .filter(move |xid| *xid < horizon)
            .chain(unlisted)
    }
}

impl FromStr for XidSnapshot {
    type Err = Malformed;

    /// Reads the text of a `pg_snapshot`: `xmin:xmax:xip,xip`.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        let number = |field: &str| field.parse().map(Xid).map_err(|_| Malformed::Field);
        let mut fields = text.splitn(3, ':');
        let mut next = || fields.next().ok_or(Malformed::Truncated);
        let (xmin, xmax, list) = (number(next()?)?, number(next()?)?, next()?);
        let running = list
            .split(',')
            .filter(|item| !item.is_empty())
            .map(number)
            .collect::<Result<Vec<_>, _>>()?;
        if xmin > xmax || !running.is_sorted() || running.iter().any(|xid| *xid < xmin || *xid >= xmax) {
            return Err(Malformed::NotAscending);
        }
        Ok(Self { xmin, xmax, running })
    }
}

/// The logical slot as the server shows it at a start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlotState {
    /// There is none, or the server has invalidated it.
    Missing,
    /// It can be read on from here (`confirmed_flush_lsn`).
    Resumable {
        /// The position that was confirmed last.
        confirmed: Lsn,
    },
}

/// What the publisher reads from the primary before it starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StartFacts {
    /// The primary's timeline.
    pub timeline: Timeline,
    /// The epoch in the logged table; `None` before the first start ever.
    pub stored: Option<Epoch>,
    /// The epoch in the unlogged table: gone after a crash and on a promoted standby.
    pub witness: Option<Epoch>,
    /// The slot.
    pub slot: SlotState,
}

/// Why an epoch ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RaiseReason {
    /// There was none yet.
    First,
    /// Another server took over: what the old one still showed may be lost.
    Promotion,
    /// The primary crashed: what it showed before its log was flushed may be lost, and no tag says so.
    Crash,
    /// The slot is gone: nobody tells what committed since it was read last.
    SlotLost,
}

/// What to do with the slot before the epoch is raised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlotAction {
    /// Read on from here.
    Keep(Lsn),
    /// Drop it if there is one, and make it anew; the stream starts at its consistent point.
    Recreate,
}

/// How a publisher starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartDecision {
    /// The epoch goes on, from the slot's confirmed position.
    Resume {
        /// The epoch.
        epoch: Epoch,
        /// Where the slot continues.
        from: Lsn,
    },
    /// First `slot`; then, in one transaction, set the logged epoch to `epoch` where it still is `expected` and the
    /// witness to `epoch`. Did another publisher change it meanwhile: gather the facts anew.
    ///
    /// A publisher that dies between the two leaves a fresh slot under the old epoch. That is safe: its first message
    /// begins behind every watermark, which readers treat as a gap.
    Raise {
        /// The epoch to replace.
        expected: Option<Epoch>,
        /// The epoch to begin.
        epoch: Epoch,
        /// What to do with the slot.
        slot: SlotAction,
        /// Why.
        reason: RaiseReason,
    },
}

/// Decides how a publisher starts.
///
/// An epoch promises that nothing which a reader may have seen under it was lost, and that every change since its
/// beginning is told. The witness proves the first (it is lost exactly when visible but unflushed commits may be), the slot
/// the second.
///
/// # Errors
/// [`Error::TimelineWentBack`] if the server is on an older timeline than its own epoch names; [`Error::EpochsExhausted`].
pub fn on_start(facts: &StartFacts) -> Result<StartDecision, Error> {
    let raise = |reason, slot| {
        let counter = facts
            .stored
            .map_or(Some(0), |stored| stored.counter().checked_add(1));
        let epoch = Epoch::new(facts.timeline, counter.ok_or(Error::EpochsExhausted)?);
        Ok(StartDecision::Raise {
            expected: facts.stored,
            epoch,
            slot,
            reason,
        })
    };
    let Some(stored) = facts.stored else {
        return raise(RaiseReason::First, SlotAction::Recreate);
    };
    if facts.timeline < stored.timeline() {
        return Err(Error::TimelineWentBack {
            stored: stored.timeline(),
            server: facts.timeline,
        });
    }
    if facts.timeline > stored.timeline() {
        return raise(RaiseReason::Promotion, SlotAction::Recreate);
    }
    match facts.slot {
        SlotState::Missing => raise(RaiseReason::SlotLost, SlotAction::Recreate),
        SlotState::Resumable { confirmed } if facts.witness != Some(stored) => {
            raise(RaiseReason::Crash, SlotAction::Keep(confirmed))
        }
        SlotState::Resumable { confirmed } => Ok(StartDecision::Resume {
            epoch: stored,
            from: confirmed,
        }),
    }
}

/// A committed transaction as the slot yielded it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DecodedTransaction {
    /// Its top-level id.
    pub xid: Xid,
    /// The end of its commit record.
    pub commit_end: Lsn,
    /// What it changed; at most [`MAX_TRANSACTION_TAGS`].
    pub tags: Vec<TagHash>,
}

#[derive(Debug)]
enum Start {
    /// Nothing may be sent until everything below `horizon` has finished or was decoded here.
    Waiting { horizon: Xid },
    /// The wait is over and the message that opens the stream was made.
    Open,
}

/// A running publisher: from commits to messages.
#[derive(Debug)]
pub struct Publisher {
    epoch: Epoch,
    start: Start,
    told_to: Lsn,
    decoded_to: Lsn,
    pending: VecDeque<DecodedTransaction>,
    pending_tags: usize,
    heartbeat: Option<Lsn>,
    in_flight: VecDeque<Lsn>,
    confirmable: Lsn,
}

impl Publisher {
    /// A publisher that reads its slot from `from`; `horizon` is `pg_current_xact_id()` asked after the slot was opened.
    ///
    /// The horizon is for commits that were recorded before `from` but weren't visible yet: the slot never yields them, and an
    /// answer that lacks one must not be filled at a position behind it. So nothing is sent before they have become visible.
    pub fn new(epoch: Epoch, from: Lsn, horizon: Xid) -> Self {
        Self {
            epoch,
            start: Start::Waiting { horizon },
            told_to: from,
            decoded_to: from,
            pending: VecDeque::new(),
            pending_tags: 0,
            heartbeat: None,
            in_flight: VecDeque::new(),
            confirmable: from,
        }
    }

    /// The epoch that it publishes.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether the slot may be read on: false at [`MAX_PENDING_TRANSACTIONS`] or [`MAX_PENDING_TAGS`].
    pub fn has_room(&self) -> bool {
        self.pending.len() < MAX_PENDING_TRANSACTIONS && self.pending_tags < MAX_PENDING_TAGS
    }

    /// Whether a fresh snapshot could let [`poll`](Self::poll) send something.
    pub fn wants_snapshot(&self) -> bool {
        matches!(self.start, Start::Waiting { .. }) || !self.pending.is_empty() || self.heartbeat.is_some()
    }

    /// Whether the witness still names this publisher's epoch. If not, the epoch was raised by another publisher: start anew.
    pub fn owns(&self, witness: Option<Epoch>) -> bool {
        witness == Some(self.epoch)
    }

    /// Takes the next commit that the slot yielded.
    ///
    /// # Errors
    /// [`Error::Publish`] above [`MAX_TRANSACTION_TAGS`]; [`Error::DecodedOutOfOrder`] if the log was said to be decoded past it.
    pub fn decoded(&mut self, transaction: DecodedTransaction) -> Result<(), Error> {
        let count = transaction.tags.len();
        if count > MAX_TRANSACTION_TAGS {
            return Err(Error::Publish(Malformed::TooMany {
                count,
                bound: MAX_TRANSACTION_TAGS,
            }));
        }
        if transaction.commit_end <= self.decoded_to {
            return Err(Error::DecodedOutOfOrder);
        }
        self.decoded_to = transaction.commit_end;
        self.pending_tags += count;
        self.pending.push_back(transaction);
        Ok(())
    }

    /// The server says (keepalive) that it has decoded everything up to here, and sent it before it said so. A commit that it
    /// sends afterwards and that lies before is an error, not a repetition: it may not be passed over.
    pub fn decoded_past(&mut self, lsn: Lsn) {
        self.decoded_to = self.decoded_to.max(lsn);
    }

    /// Asks for a heartbeat at `insert`, the primary's insert position. One at a time: an older question is answered first.
    pub fn ask_heartbeat(&mut self, insert: Lsn) {
        self.heartbeat.get_or_insert(insert);
    }

    /// Whether a heartbeat waits for the log to be decoded past it: on an idle shard that needs a tiny
    /// transactional message in the log.
    pub fn needs_nudge(&self) -> bool {
        self.heartbeat.is_some_and(|insert| insert > self.decoded_to)
    }

    /// The next message that may be sent, given what is visible; call it until there is none.
    ///
    /// A commit can be decoded before it is visible, and stays so while it waits for a synchronous standby. Told too
    /// early, a reader could read the old rows afterwards and hold them for newer than the change. So a batch is the longest run
    /// of visible transactions, in commit order.
    ///
    /// # Errors
    /// [`Error::Publish`] never happens: the bounds are kept here.
    pub fn poll(&mut self, snapshot: &XidSnapshot) -> Result<Option<StreamMessage>, Error> {
        if self.in_flight.len() >= MAX_IN_FLIGHT {
            return Ok(None);
        }
        if let Start::Waiting { horizon } = self.start {
            if !self.start_is_over(horizon, snapshot) {
                return Ok(None);
            }
            self.start = Start::Open;
            return self
                .send(StreamMessage::heartbeat(self.epoch, self.told_to, self.told_to))
                .map(Some);
        }
        if let Some((to, tags)) = self.take_visible(snapshot) {
            return self
                .send(StreamMessage::transactions(self.epoch, self.told_to, to, tags))
                .map(Some);
        }
        match self.heartbeat {
            Some(insert) if self.is_told(insert) => {
                self.heartbeat = None;
                self.send(StreamMessage::heartbeat(
                    self.epoch,
                    self.told_to,
                    insert.max(self.told_to),
                ))
                .map(Some)
            }
            Some(_) | None => Ok(None),
        }
    }

    /// The stream has stored the oldest message in flight, which ended at `to`.
    ///
    /// # Errors
    /// [`Error::AcknowledgedOutOfOrder`] if another one is the oldest: the publisher must start anew.
    pub fn acknowledged(&mut self, to: Lsn) -> Result<(), Error> {
        if self.in_flight.front() != Some(&to) {
            return Err(Error::AcknowledgedOutOfOrder);
        }
        self.in_flight.pop_front();
        self.confirmable = to;
        Ok(())
    }

    /// What may be confirmed to the slot: what the stream has stored (only visible commits are sent). A commit confirmed
    /// earlier would never be told if this process died.
    pub fn confirmable(&self) -> Lsn {
        self.confirmable
    }

    /// How many messages wait for their acknowledgement; at most [`MAX_IN_FLIGHT`].
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    fn start_is_over(&self, horizon: Xid, snapshot: &XidSnapshot) -> bool {
        let decoded = |xid| self.pending.iter().any(|transaction| transaction.xid == xid);
        snapshot.unfinished_below(horizon).all(decoded)
    }

    fn take_visible(&mut self, snapshot: &XidSnapshot) -> Option<(Lsn, Vec<TagHash>)> {
        let (mut to, mut tags) = (None, Vec::new());
        let fits = |next: &mut DecodedTransaction, taken: usize| {
            snapshot.sees(next.xid) && taken.saturating_add(next.tags.len()) <= MAX_TAGS
        };
        while let Some(next) = self.pending.pop_front_if(|next| fits(next, tags.len())) {
            to = Some(next.commit_end);
            self.pending_tags -= next.tags.len();
            tags.extend(next.tags);
        }
        to.map(|to| (to, tags))
    }

    /// Whether everything up to `insert` is decoded and nothing of it waits to become visible.
    fn is_told(&self, insert: Lsn) -> bool {
        insert <= self.decoded_to && self.pending.front().is_none_or(|next| next.commit_end > insert)
    }

    fn send(&mut self, message: Result<StreamMessage, Error>) -> Result<StreamMessage, Error> {
        let message = message?;
        self.told_to = message.to();
        self.in_flight.push_back(message.to());
        Ok(message)
    }
}

#[cfg(test)]
#[path = "publisher_tests.rs"]
mod tests;
