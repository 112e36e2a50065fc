//! Samples of a primary: how fresh a position is, by this proxy's own clock alone.
//!
//! A sample says: whatever was committed before `asked_at` lies at or before `position`, because the
//! server named its insert position after it was asked. So anything that has reached `position` (a watermark,
//! a standby's replay) holds everything acknowledged before `asked_at`. No clock of another host takes part.

use std::time::Duration;
use topology::{EndpointId, Epoch, Mono, Position, Timeline};

/// The most samples kept for a shard. At the bound the older half is thinned to every second one, so that
/// a lag of minutes can still be measured, ever more coarsely; a sample left out only makes an answer look older.
pub const MAX_SAMPLES: usize = 128;

/// Samples closer together than this replace each other: 128 of them would otherwise cover few milliseconds
/// of a shard that is asked on behalf of many writers.
pub const SAMPLE_SPACING: Duration = Duration::from_millis(10);

/// What a primary answered when it was asked for its insert position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PrimarySample {
    /// The server that answered; it was a primary at that moment.
    pub server: EndpointId,
    /// This proxy's clock before the question was sent.
    pub asked_at: Mono,
    /// The insert position, on the server's own timeline.
    pub position: Position,
    /// The epoch in the server's unlogged table, asked in the same statement.
    pub witness: Option<Epoch>,
}

/// Until when a primary may be trusted to be the only one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lease {
    /// The failover provider gives none: every server that says it is a primary is believed. A superseded primary
    /// that this proxy alone can still reach then answers reads, and passes for fresh, until the proxy learns of its successor.
    NotProvided,
    /// This server, from then until then: a promotion waits for the end or fences the server first.
    Held {
        /// The primary.
        holder: EndpointId,
        /// Since when it has held the lease without a break in which another server could, by this proxy's clock.
        since: Mono,
        /// The end, by this proxy's clock.
        until: Mono,
    },
}

impl Lease {
    /// Whether `server` was the only primary from `asked` to `arrived`. The end alone wouldn't do: a superseded primary's answer may be
    /// so long under way that its server has meanwhile been rewound and promoted again.
    fn covers(self, server: EndpointId, asked: Mono, arrived: Mono) -> bool {
        match self {
            Lease::NotProvided => true,
            Lease::Held { holder, since, until } => holder == server && since <= asked && arrived <= until,
        }
    }

    /// Whether no other server was promoted before `moment`, as long as `server` is the holder.
    pub(crate) fn reaches(self, server: EndpointId, moment: Mono) -> bool {
        match self {
            Lease::NotProvided => true,
            Lease::Held { holder, until, .. } => holder == server && moment <= until,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    asked_at: Mono,
    position: Position,
    witness: Option<Epoch>,
    /// Answered within the primary's lease: counts as freshness.
    trusted: bool,
}

impl Kept {
    fn like(&self, other: &Kept) -> bool {
        (self.trusted, self.witness, self.position.timeline)
            == (other.trusted, other.witness, other.position.timeline)
    }
}

/// The samples of one shard, in the order they were asked.
#[derive(Clone, Default, Debug)]
pub(crate) struct Samples {
    kept: Vec<Kept>,
}

impl Samples {
    /// These samples and one more, which arrived at `arrived`. One asked before the newest kept is left out.
    pub(crate) fn with(&self, sample: &PrimarySample, lease: Lease, arrived: Mono) -> Self {
        let PrimarySample {
            server,
            asked_at,
            position,
            witness,
        } = *sample;
        let trusted = lease.covers(server, asked_at, arrived);
        let next = Kept {
            asked_at,
            position,
            witness,
            trusted,
        };
        let mut kept = self.kept.clone();
        if kept.last().is_some_and(|last| last.asked_at > asked_at) {
            return Self { kept };
        }
        if let [.., before, last] = kept.as_slice()
            && last.like(&next)
            && last.asked_at.since(before.asked_at) < SAMPLE_SPACING
        {
            kept.pop();
        }
        if kept.len() >= MAX_SAMPLES {
            let mut index = 0;
            kept.retain(|_| {
                index += 1;
                index > MAX_SAMPLES / 2 || index % 2 == 0
            });
        }
        kept.push(next);
        Self { kept }
    }

    /// As of when a copy that has reached `position` is fresh.
    pub(crate) fn freshness_of(&self, position: Position) -> Option<Mono> {
        self.newest(|sample| sample.trusted && reached(sample, position))
    }

    /// The same for a watermark of `epoch`: the witness must name it. Where a crash or a promotion has ended the epoch on the
    /// server, positions there say nothing about what the stream of the old epoch left out.
    pub(crate) fn freshness_within(&self, epoch: Epoch, watermark: Position) -> Option<Mono> {
        self.newest(|sample| sample.trusted && sample.witness == Some(epoch) && reached(sample, watermark))
    }

    fn newest(&self, counts: impl Fn(&Kept) -> bool) -> Option<Mono> {
        self.kept
            .iter()
            .rev()
            .find(|sample| counts(sample))
            .map(|sample| sample.asked_at)
    }

    /// The oldest position known to hold what was acknowledged before `since` on `timeline` or an older one. Needs
    /// neither lease nor witness: a position that lies too far only asks for more.
    pub(crate) fn resolve(&self, since: Mono, timeline: Timeline) -> Option<Position> {
        let first = self.kept.partition_point(|sample| sample.asked_at < since);
        let later = self.kept.get(first..).unwrap_or_default();
        later
            .iter()
            .find(|sample| sample.position.timeline >= timeline)
            .map(|sample| sample.position)
    }
}

fn reached(sample: &Kept, position: Position) -> bool {
    sample.position.timeline == position.timeline && sample.position.lsn <= position.lsn
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use topology::Lsn;

    fn sample(asked_at: u64, lsn: u64) -> PrimarySample {
        let position = Position::new(Timeline(1), Lsn(lsn));
        PrimarySample {
            server: EndpointId(0),
            asked_at: Mono(asked_at),
            position,
            witness: Some(Epoch(7)),
        }
    }

    const OTHERS: Lease = Lease::Held {
        holder: EndpointId(1),
        since: Mono(0),
        until: Mono(u64::MAX),
    };

    #[test]
    fn a_lease_covers_the_whole_way_of_an_answer() {
        let lease = Lease::Held {
            holder: EndpointId(0),
            since: Mono(10),
            until: Mono(20),
        };
        let covers = |asked, arrived| lease.covers(EndpointId(0), Mono(asked), Mono(arrived));
        assert!(covers(10, 20) && !covers(9, 20) && !covers(10, 21));
        assert!(
            !OTHERS.covers(EndpointId(0), Mono(10), Mono(20))
                && Lease::NotProvided.covers(EndpointId(0), Mono(1), Mono(2))
        );
        assert!(lease.reaches(EndpointId(0), Mono(5)) && !lease.reaches(EndpointId(0), Mono(21)));
    }

    proptest! {
        /// Whatever is thinned out, an answer is never fresher than the full record says, nor a position lower.
        #[test]
        fn thinning_only_loses(steps in prop::collection::vec((0..20_000_000u64, 0..5u64), 1..600), at in 0..1500u64, since in any::<u32>()) {
            let (mut samples, mut all, mut t, mut x) = (Samples::default(), Vec::new(), 0, 0);
            for (dt, dx) in steps {
                t += dt;
                x += dx;
                samples = samples.with(&sample(t, x), Lease::NotProvided, Mono(t));
                all.push((t, x));
                prop_assert!(samples.kept.len() <= MAX_SAMPLES);
            }
            let full = all.iter().rev().find(|s| s.1 <= at).map(|s| Mono(s.0));
            let kept = samples.freshness_of(Position::new(Timeline(1), Lsn(at)));
            prop_assert!(kept <= full);
            prop_assert_eq!(samples.freshness_of(Position::new(Timeline(1), Lsn(x))), Some(Mono(t)), "the newest is always kept");
            let since = Mono(u64::from(since));
            let full = all.iter().find(|s| s.0 >= since.0).map(|s| s.1);
            let kept = samples.resolve(since, Timeline(1)).map(|p| p.lsn.0);
            prop_assert_eq!(full.is_some(), kept.is_some());
            prop_assert!(kept >= full);
        }
    }

    #[test]
    fn only_trusted_samples_of_the_epoch_make_a_watermark_fresh() {
        let at = Position::new(Timeline(1), Lsn(100));
        let samples = Samples::default().with(&sample(1, 50), OTHERS, Mono(1));
        assert_eq!(samples.freshness_of(at), None);
        let samples = samples.with(&sample(2, 60), Lease::NotProvided, Mono(2));
        assert_eq!(
            (samples.freshness_of(at), samples.freshness_within(Epoch(7), at)),
            (Some(Mono(2)), Some(Mono(2)))
        );
        assert_eq!(samples.freshness_within(Epoch(8), at), None);
        assert_eq!(samples.freshness_of(Position::new(Timeline(2), Lsn(100))), None);
        assert_eq!(samples.freshness_of(Position::new(Timeline(1), Lsn(59))), None);
        assert_eq!(
            samples.resolve(Mono(1), Timeline(1)).map(|p| p.lsn),
            Some(Lsn(50))
        );
        assert_eq!(samples.resolve(Mono(1), Timeline(2)), None);
        assert_eq!(samples.resolve(Mono(3), Timeline(1)), None);
    }
}
