//! One run of a publisher: from connecting to the first error.

use crate::catalog::Catalog;
use crate::config::PublisherConfig;
use crate::control::{Control, Found};
use crate::decoder::{Committed, Decoder};
use crate::error::Error;
use crate::replication::{Incoming, SlotStream};
use coherence::{
    DecodedTransaction, Publisher, SlotAction, StartDecision, StreamMessage, Xid, XidSnapshot, on_start,
};
use pool::BackendTarget;
use std::collections::VecDeque;
use topology::{Epoch, Lsn};

/// The most tags of decoded transactions that the carrier doesn't hold yet (8 bytes each). At the bound the slot is not read on.
const MAX_WAITING_TAGS: usize = 1 << 20;

/// Whether the epoch must be raised although the slot and the witness are in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Force {
    /// No.
    No,
    /// Something was committed that only a rise can tell.
    Raise,
}

/// A running session. Its methods are small steps; `publisher` orders them.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) control: Control,
    pub(crate) stream: SlotStream,
    decoder: Decoder,
    pub(crate) rules: Publisher,
    /// Nothing that was committed up to here is told: the epoch begins here.
    floor: Lsn,
    /// Where to find the upper half of transaction ids.
    newest: Xid,
    /// What the carrier doesn't hold yet, in commit order.
    waiting: VecDeque<Waiting>,
    waiting_tags: usize,
}

#[derive(Debug)]
struct Waiting {
    end: Lsn,
    tags: usize,
    ddl: Vec<i64>,
}

/// How a session began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Begun {
    /// With the epoch that was there.
    Resumed,
    /// With a new one.
    Raised,
}

/// Where and with what a session begins.
struct Beginning {
    epoch: Epoch,
    /// Where the slot is read from.
    read_from: Lsn,
    /// Where the stream begins.
    floor: Lsn,
    catalog: Catalog,
    begun: Begun,
}

impl Session {
    /// Connects, decides the epoch, and begins to read the slot.
    pub(crate) async fn open(
        target: &BackendTarget,
        config: &PublisherConfig,
        force: Force,
    ) -> Result<(Self, Begun), Error> {
        let mut control = Control::open(target).await?;
        control.lock(&config.slot).await?;
        let found = control.look_around(&config.slot).await?;
        let beginning = begin(&mut control, config, found, force).await?;
        let stream = SlotStream::start(target, &config.slot, beginning.read_from).await?;
        // Asked once the slot is read, as the rules want it.
        let horizon = control.next_xid().await?;
        let session = Self {
            control,
            stream,
            decoder: Decoder::new(&config.database, config.tagged_columns.clone(), beginning.catalog),
            rules: Publisher::new(beginning.epoch, beginning.floor, horizon),
            floor: beginning.floor,
            newest: horizon,
            waiting: VecDeque::new(),
            waiting_tags: 0,
        };
        Ok((session, beginning.begun))
    }

    /// Whether the slot may be read on.
    pub(crate) fn has_room(&self) -> bool {
        self.rules.has_room() && self.waiting_tags < MAX_WAITING_TAGS
    }

    /// Takes what the server sent; true if a transaction was completed.
    pub(crate) async fn take(&mut self, incoming: Incoming) -> Result<bool, Error> {
        match incoming {
            Incoming::Change(bytes) => match self.decoder.apply(&bytes)? {
                Some(committed) => self.committed(committed).map(|()| true),
                None => Ok(false),
            },
            Incoming::Keepalive { decoded, wants_reply } => {
                self.rules.decoded_past(decoded);
                if wants_reply {
                    self.stream.confirm(self.rules.confirmable(), false).await?;
                }
                Ok(false)
            }
        }
    }

    fn committed(&mut self, committed: Committed) -> Result<(), Error> {
        let Committed { xid, end, tags, ddl } = committed;
        if end <= self.floor {
            // The epoch begins behind it. Of its DDL the decoder has taken note.
            if !ddl.is_empty() {
                self.waiting.push_back(Waiting { end, tags: 0, ddl });
            }
            return Ok(());
        }
        let tags = tags.ok_or(Error::TooManyTables)?;
        self.waiting_tags += tags.len();
        self.waiting.push_back(Waiting {
            end,
            tags: tags.len(),
            ddl,
        });
        let xid = extend(xid, self.newest);
        self.rules.decoded(DecodedTransaction {
            xid,
            commit_end: end,
            tags,
        })?;
        Ok(())
    }

    /// The next message that may be sent, with a fresh snapshot.
    pub(crate) async fn next_message(&mut self) -> Result<Option<StreamMessage>, Error> {
        let snapshot = self.look().await?;
        Ok(self.rules.poll(&snapshot)?)
    }

    async fn look(&mut self) -> Result<XidSnapshot, Error> {
        let look = self.control.look().await?;
        if !self.rules.owns(look.witness) {
            return Err(Error::EpochMoved);
        }
        self.newest = look.newest;
        Ok(look.snapshot)
    }

    /// The carrier holds the message that ended at `to`.
    pub(crate) async fn acknowledged(&mut self, to: Lsn) -> Result<(), Error> {
        self.rules.acknowledged(to)?;
        let confirmed = self.rules.confirmable();
        let (mut ddl, mut last) = (Vec::new(), None);
        while let Some(told) = self.waiting.pop_front_if(|told| told.end <= confirmed) {
            self.waiting_tags -= told.tags;
            if !told.ddl.is_empty() {
                ddl.extend(told.ddl);
                last = Some(told.end);
            }
        }
        if let Some(last) = last {
            self.stream.confirm(confirmed, false).await?;
            self.control.forget_ddl(&ddl, last).await?;
        }
        Ok(())
    }
}

/// Carries out what the rules decide about the epoch and the slot.
async fn begin(
    control: &mut Control,
    config: &PublisherConfig,
    found: Found,
    force: Force,
) -> Result<Beginning, Error> {
    let mut facts = found.facts;
    if found.catalog_is_ahead || force == Force::Raise {
        // As after a crash: the slot goes on, but what it still has to tell can't be told.
        facts.witness = None;
    }
    match on_start(&facts)? {
        StartDecision::Resume { epoch, from } => Ok(Beginning {
            epoch,
            read_from: from,
            floor: from,
            catalog: found.catalog,
            begun: Begun::Resumed,
        }),
        StartDecision::Raise {
            expected,
            epoch,
            slot,
            reason,
        } => {
            let read_from = match slot {
                SlotAction::Keep(confirmed) => confirmed,
                SlotAction::Recreate => control.recreate_slot(&config.slot).await?,
            };
            control.raise(expected, epoch).await?;
            tracing::info!(
                shard = %config.shard, database = config.database, %epoch, ?reason,
                forced = facts.witness != found.facts.witness, "a new epoch of the invalidation stream"
            );
            // A commit that is recorded but not yet visible may be DDL that the catalog would lack.
            control.wait_for_visibility().await?;
            let fresh = control.catalog().await?;
            if !fresh.ddl.is_empty() {
                control.forget_ddl(&fresh.ddl, fresh.floor).await?;
            }
            let floor = fresh.floor.max(read_from);
            Ok(Beginning {
                epoch,
                read_from,
                floor,
                catalog: fresh.catalog,
                begun: Begun::Raised,
            })
        }
    }
}

/// The whole of a transaction id of which the log holds the lower half: the one nearest to `newest`.
fn extend(low: u32, newest: Xid) -> Xid {
    let half = 1_u64 << 31;
    let base = newest.0.saturating_sub(half);
    // The only number with this lower half in the window of 2^32 that begins at `base`.
    let ahead = low.wrapping_sub(u32::try_from(base & 0xFFFF_FFFF).unwrap_or(0));
    Xid(base + u64::from(ahead))
}

#[cfg(test)]
mod tests {
    use super::extend;
    use coherence::Xid;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_nearest_id_is_found(newest in 0..1_u64 << 40, distance in -2_147_483_648_i64..2_147_483_647) {
            let Some(full) = newest.checked_add_signed(distance) else { return Ok(()) };
            // Below 2^31 the window is cut at zero: ids there have no upper half yet.
            prop_assume!(full < newest.saturating_sub(1 << 31) + (1 << 32));
            let low = u32::try_from(full & 0xFFFF_FFFF).unwrap();
            prop_assert_eq!(extend(low, Xid(newest)), Xid(full));
        }
    }
}
