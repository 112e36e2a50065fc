//! Where a session's own writes end, so that it reads them (level ryw).
//!
//! A write costs nothing to remember: its position is *pending since* the moment its acknowledgement arrived. Whatever sample of
//! the primary was asked at or after that moment lies behind the write, so the position becomes known by samples that are
//! taken anyway, and only for sessions that read again before one came.

use crate::shard::ShardView;
use crate::token::Token;
use smallvec::SmallVec;
use topology::{Mono, Position, ShardId, Timeline};

/// What a session's own writes on a shard ask of a copy that is to answer it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WriteNeed {
    /// Nothing: it hasn't written there.
    #[default]
    None,
    /// It wrote, and no sample asked since has arrived: only a primary will do, of this timeline or a newer one.
    Pending {
        /// When the acknowledgement of its last write arrived, by this proxy's clock at full resolution.
        since: Mono,
        /// The newest timeline that it wrote on.
        timeline: Timeline,
    },
    /// A copy that has reached this holds its writes. One on an older timeline than the copy's counts as reached:
    /// what of it survived the promotion is in the newer timeline from its beginning.
    Known(Position),
}

impl WriteNeed {
    /// The oldest timeline of a primary that may answer.
    pub fn timeline(self) -> Timeline {
        match self {
            WriteNeed::None => Timeline::default(),
            WriteNeed::Pending { timeline, .. } => timeline,
            WriteNeed::Known(position) => position.timeline,
        }
    }

    /// Whether a copy that has reached `position` holds the writes.
    pub fn reached_by(self, position: Position) -> bool {
        match self {
            WriteNeed::None => true,
            WriteNeed::Pending { .. } => false,
            WriteNeed::Known(needed) => needed <= position,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct ShardNeed {
    shard: ShardId,
    need: WriteNeed,
}

/// A session's needs on all shards: no allocation while it has written on at most two.
#[derive(Clone, Debug, Default)]
pub struct SessionPositions {
    needs: SmallVec<[ShardNeed; 2]>,
}

impl SessionPositions {
    /// A session that has written nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A write of this session was acknowledged: COMMIT, COMMIT PREPARED, COMMIT AND CHAIN, CALL, or a statement of its own transaction.
    ///
    /// `arrived` is read after the acknowledgement was: a sample asked before it may have overtaken the commit. `timeline` is what the server named on
    /// that connection once it was known to be a primary. Several pending writes keep the latest time and the newest timeline,
    /// and so does a position known before: a superseded primary must not lower the need.
    pub fn wrote(&mut self, shard: ShardId, timeline: Timeline, arrived: Mono) {
        let need = self.slot(shard);
        let (earliest, newest) = match *need {
            WriteNeed::Pending { since, timeline } => (since, timeline),
            WriteNeed::None | WriteNeed::Known(_) => (arrived, need.timeline()),
        };
        *need = WriteNeed::Pending {
            since: arrived.max(earliest),
            timeline: timeline.max(newest),
        };
    }

    /// Whether the session has written nothing and adopted no token.
    pub fn is_empty(&self) -> bool {
        self.needs.is_empty()
    }

    /// What the session needs on `shard`, after `view`'s samples have resolved what they can.
    pub fn need_for(&mut self, shard: ShardId, view: &ShardView) -> WriteNeed {
        let Some(found) = self.needs.iter_mut().find(|need| need.shard == shard) else {
            return WriteNeed::None;
        };
        if let WriteNeed::Pending { since, timeline } = found.need
            && let Some(position) = view.position_since(since, timeline)
        {
            found.need = WriteNeed::Known(position);
        }
        found.need
    }

    /// The shards on which something is pending: a sample must be asked there before a token can be handed over.
    pub fn pending(&self) -> impl Iterator<Item = ShardId> {
        self.needs
            .iter()
            .filter(|need| matches!(need.need, WriteNeed::Pending { .. }))
            .map(|need| need.shard)
    }

    /// The token of this session, to be taken elsewhere. Call [`need_for`](Self::need_for) for what is pending first.
    pub fn token(&self, map_version: u64) -> TokenDecision {
        if let Some(shard) = self.pending().next() {
            return TokenDecision::ResolveFirst(shard);
        }
        let known = self.needs.iter().filter_map(|need| match need.need {
            WriteNeed::Known(position) => Some((need.shard, position)),
            WriteNeed::None | WriteNeed::Pending { .. } => None,
        });
        TokenDecision::Ready(Token::new(map_version, known))
    }

    /// Adds what a token asks for; `now` is read when it was received. What was pending stays so, and is then resolved by a sample asked
    /// after `now`: the token's writes happened before.
    pub fn adopt(&mut self, token: &Token, now: Mono) {
        for (shard, position) in token.positions() {
            let need = self.slot(shard);
            *need = match *need {
                WriteNeed::None => WriteNeed::Known(position),
                WriteNeed::Known(known) => WriteNeed::Known(known.max(position)),
                WriteNeed::Pending { since, timeline } => WriteNeed::Pending {
                    since: since.max(now),
                    timeline: timeline.max(position.timeline),
                },
            };
        }
    }

    fn slot(&mut self, shard: ShardId) -> &mut WriteNeed {
        let index = self
            .needs
            .iter()
            .position(|need| need.shard == shard)
            .unwrap_or_else(|| {
                self.needs.push(ShardNeed {
                    shard,
                    need: WriteNeed::None,
                });
                self.needs.len() - 1
            });
        &mut self.needs[index].need
    }
}

/// Whether a token can be handed over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TokenDecision {
    /// This is it.
    Ready(Token),
    /// A write on this shard is pending: ask its primary for a sample, then again. A token without it would lose the write.
    ResolveFirst(ShardId),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::PrimarySample;
    use crate::shard::ShardCoherence;
    use topology::{EndpointId, Lsn};

    const S: ShardId = ShardId(3);

    fn sampled(shard: &ShardCoherence, asked_at: u64, timeline: u32, lsn: u64) {
        let position = Position::new(Timeline(timeline), Lsn(lsn));
        let sample = PrimarySample {
            server: EndpointId(0),
            asked_at: Mono(asked_at),
            position,
            witness: None,
        };
        shard.record_sample(&sample, Mono(asked_at));
    }

    fn known(timeline: u32, lsn: u64) -> WriteNeed {
        WriteNeed::Known(Position::new(Timeline(timeline), Lsn(lsn)))
    }

    #[test]
    fn a_write_is_resolved_by_a_sample_asked_at_or_after_its_acknowledgement() {
        let shard = ShardCoherence::new(1);
        let mut session = SessionPositions::new();
        assert_eq!(session.need_for(S, &shard.view()), WriteNeed::None);
        session.wrote(S, Timeline(2), Mono(100));
        sampled(&shard, 99, 2, 50);
        let pending = WriteNeed::Pending {
            since: Mono(100),
            timeline: Timeline(2),
        };
        assert_eq!(
            session.need_for(S, &shard.view()),
            pending,
            "it was in flight already"
        );
        sampled(&shard, 100, 1, 70);
        assert_eq!(
            session.need_for(S, &shard.view()),
            pending,
            "a superseded primary says nothing of it"
        );
        sampled(&shard, 120_000_000, 2, 60);
        sampled(&shard, 140_000_000, 2, 65);
        assert_eq!(session.need_for(S, &shard.view()), known(2, 60));
        assert_eq!(session.need_for(ShardId(4), &shard.view()), WriteNeed::None);
    }

    #[test]
    fn several_writes_keep_the_latest_time_and_the_newest_timeline() {
        let mut session = SessionPositions::new();
        let shard = ShardCoherence::new(1);
        session.wrote(S, Timeline(2), Mono(100));
        session.wrote(S, Timeline(1), Mono(200));
        let pending = WriteNeed::Pending {
            since: Mono(200),
            timeline: Timeline(2),
        };
        assert_eq!(session.need_for(S, &shard.view()), pending);
        sampled(&shard, 300, 3, 10);
        assert_eq!(session.need_for(S, &shard.view()), known(3, 10));
        session.wrote(S, Timeline(2), Mono(400));
        assert_eq!(session.need_for(S, &shard.view()).timeline(), Timeline(3));
    }

    #[test]
    fn what_satisfies_a_need() {
        let at = |timeline, lsn| Position::new(Timeline(timeline), Lsn(lsn));
        assert!(
            known(1, 900).reached_by(at(2, 5)),
            "an older timeline counts as reached"
        );
        assert!(known(2, 5).reached_by(at(2, 5)) && !known(2, 6).reached_by(at(2, 5)));
        assert!(!known(3, 1).reached_by(at(2, 900)));
        let pending = WriteNeed::Pending {
            since: Mono(1),
            timeline: Timeline(1),
        };
        assert!(!pending.reached_by(at(9, 9)) && WriteNeed::None.reached_by(at(0, 0)));
    }

    #[test]
    fn a_token_is_never_handed_over_before_it_is_whole() {
        let shard = ShardCoherence::new(1);
        let mut session = SessionPositions::new();
        session.wrote(S, Timeline(1), Mono(100));
        assert_eq!(session.token(7), TokenDecision::ResolveFirst(S));
        sampled(&shard, 150, 1, 60);
        session.need_for(S, &shard.view());
        let TokenDecision::Ready(token) = session.token(7) else {
            panic!("still pending")
        };
        let mut other = SessionPositions::new();
        other.adopt(&token, Mono(9));
        assert_eq!(other.need_for(S, &shard.view()), known(1, 60));
        other.wrote(S, Timeline(1), Mono(120));
        other.adopt(&token, Mono(200));
        let pending = WriteNeed::Pending {
            since: Mono(200),
            timeline: Timeline(1),
        };
        assert_eq!(
            other.need_for(S, &shard.view()),
            pending,
            "the sample of 150 may lie before the token's write"
        );
    }

    #[test]
    fn an_idle_client_is_small() {
        assert!(
            size_of::<SessionPositions>() <= 80,
            "{}",
            size_of::<SessionPositions>()
        );
    }
}
