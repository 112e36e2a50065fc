//! Each refusal by its smallest cause, and how long a decision takes.

use super::*;
use crate::entry::FillTicket;
use crate::message::StreamMessage;
use crate::samples::{Lease, PrimarySample};
use crate::tags::TagHash;
use std::time::Instant;
use topology::{Epoch, Lsn, ShardId};

const S: ShardId = ShardId(0);
const T1: Timeline = Timeline(1);
const EPOCH: Epoch = Epoch(1 << 32);
const PRIMARY: EndpointId = EndpointId(4);
const BOUND: Duration = Duration::from_nanos(1_000);
const RYW: ReadLevel = ReadLevel::Ryw { bound: BOUND };
const BOUNDED: ReadLevel = ReadLevel::Bounded { bound: BOUND };

fn at(lsn: u64) -> Position {
    Position::new(T1, Lsn(lsn))
}

fn sample(shards: &Coherence, asked_at: u64, lsn: u64) {
    let sample = PrimarySample {
        server: PRIMARY,
        asked_at: Mono(asked_at),
        position: at(lsn),
        witness: Some(EPOCH),
    };
    shards
        .shard(S)
        .unwrap()
        .record_sample(&sample, Mono(asked_at + 1));
}

fn apply(shards: &Coherence, epoch: Epoch, from: u64, to: u64, tags: &[u64]) {
    let tags = tags.iter().copied().map(TagHash).collect();
    shards
        .shard(S)
        .unwrap()
        .apply(&StreamMessage::transactions(epoch, Lsn(from), Lsn(to), tags).unwrap());
}

/// A shard told up to 100 and fresh as of 5000, with an entry filled there that depends on tag 1.
fn filled() -> (Coherence, Entry) {
    let shards = Coherence::new(1, 1 << 16);
    apply(&shards, EPOCH, 90, 100, &[]);
    sample(&shards, 5_000, 100);
    let ticket = FillTicket::on_primary(S, &shards.shard(S).unwrap().view(), T1).unwrap();
    let entry = Entry::new([ticket.with_tags([TagHash(1)]).unwrap()], Mono(1_000_000)).unwrap();
    (shards, entry)
}

fn verdict(shards: &Coherence, entry: &Entry, level: ReadLevel, now: u64) -> Result<(), Refusal> {
    check_use(entry, level, &mut SessionPositions::new(), shards, Mono(now))
}

#[test]
fn an_entry_is_used_while_nothing_speaks_against_it() {
    let (shards, entry) = filled();
    assert_eq!(verdict(&shards, &entry, RYW, 6_000), Ok(()));
    apply(&shards, EPOCH, 100, 110, &[2]);
    assert_eq!(
        verdict(&shards, &entry, BOUNDED, 6_000),
        Ok(()),
        "another row changed"
    );
    assert_eq!(verdict(&shards, &entry, RYW, 6_001), Err(Refusal::TooOld));
    assert_eq!(
        verdict(&shards, &entry, ReadLevel::Strong, 5_500),
        Err(Refusal::NeedsPrimary)
    );
    assert_eq!(verdict(&shards, &entry, RYW, 1_000_000), Err(Refusal::Expired));
    apply(&shards, EPOCH, 110, 120, &[1]);
    assert_eq!(verdict(&shards, &entry, RYW, 6_000), Err(Refusal::Changed));
}

#[test]
fn gaps_epochs_and_unknown_streams_refuse() {
    let (shards, entry) = filled();
    apply(&shards, EPOCH, 105, 110, &[]);
    assert_eq!(verdict(&shards, &entry, RYW, 6_000), Err(Refusal::Changed));
    let (shards, entry) = filled();
    let next = Epoch(EPOCH.0 + 1);
    apply(&shards, next, 100, 100, &[]);
    assert_eq!(
        verdict(&shards, &entry, RYW, 6_000),
        Err(Refusal::TooOld),
        "the witness names another epoch"
    );
    assert_eq!(
        unchanged(&entry.parts()[0], &shards.shard(S).unwrap().view()),
        Err(Refusal::OtherEpoch)
    );
    shards.shard(S).unwrap().forget();
    assert_eq!(verdict(&shards, &entry, RYW, 6_000), Err(Refusal::NoStream));
    assert_eq!(
        verdict(&Coherence::new(0, 1), &entry, RYW, 6_000),
        Err(Refusal::NoStream)
    );
}

#[test]
fn a_session_waits_for_its_own_writes() {
    let (shards, entry) = filled();
    let mut session = SessionPositions::new();
    session.wrote(S, T1, Mono(5_100));
    let check =
        |session: &mut SessionPositions, level| check_use(&entry, level, session, &shards, Mono(5_900));
    assert_eq!(check(&mut session, RYW), Err(Refusal::WritePending));
    assert_eq!(check(&mut session, BOUNDED), Ok(()));
    sample(&shards, 5_200, 105);
    assert_eq!(check(&mut session, RYW), Err(Refusal::BehindWrite));
    apply(&shards, EPOCH, 100, 105, &[]);
    assert_eq!(check(&mut session, RYW), Ok(()));
}

#[test]
fn fills_need_the_epochs_timeline_and_a_bound_connection() {
    use crate::entry::NoFill;
    let (shards, _) = filled();
    let view = shards.shard(S).unwrap().view();
    let replay = |timeline, asked_at| ReplaySample {
        position: Position::new(Timeline(timeline), Lsn(95)),
        asked_at: Mono(asked_at),
    };
    assert_eq!(
        FillTicket::on_primary(S, &view, Timeline(2)),
        Err(NoFill::OtherTimeline)
    );
    let standby = |timeline, asked_at| FillTicket::on_standby(S, &view, &replay(timeline, asked_at), Mono(7));
    assert_eq!(standby(2, 9), Err(NoFill::OtherTimeline));
    assert_eq!(standby(1, 7), Err(NoFill::ConnectionTooYoung));
    let part = standby(1, 8).unwrap().with_tags([TagHash(1)]).unwrap();
    assert_eq!((part.fill(), part.epoch(), part.shard()), (Lsn(95), EPOCH, S));
    assert_eq!(
        standby(1, 8).unwrap().with_tags((0..2_000).map(TagHash)),
        Err(NoFill::TooLarge)
    );
    let unknown = Coherence::new(1, 1);
    let view = unknown.shard(S).unwrap().view();
    assert_eq!(FillTicket::on_primary(S, &view, T1), Err(NoFill::NoStream));
}

#[test]
fn standbys_are_proved_by_samples_of_the_primary() {
    let (shards, _) = filled();
    let view = shards.shard(S).unwrap().view();
    let offer = |lsn, opened_at| StandbyOffer {
        sample: ReplaySample {
            position: at(lsn),
            asked_at: Mono(5_500),
        },
        opened_at: Mono(opened_at),
    };
    let check = |level, need, offer| standby_qualifies(&view, level, need, &offer, Mono(6_000));
    assert_eq!(check(RYW, WriteNeed::None, offer(100, 1)), Ok(()));
    assert_eq!(
        check(BOUNDED, WriteNeed::None, offer(100, 5_500)),
        Err(Refusal::ConnectionTooYoung)
    );
    assert_eq!(
        check(BOUNDED, WriteNeed::None, offer(99, 1)),
        Err(Refusal::TooOld)
    );
    assert_eq!(
        check(ReadLevel::Strong, WriteNeed::None, offer(100, 1)),
        Err(Refusal::NeedsPrimary)
    );
    assert_eq!(
        check(RYW, WriteNeed::Known(at(101)), offer(100, 1)),
        Err(Refusal::BehindWrite)
    );
    assert_eq!(check(BOUNDED, WriteNeed::Known(at(101)), offer(100, 1)), Ok(()));
    let pending = WriteNeed::Pending {
        since: Mono(1),
        timeline: T1,
    };
    assert_eq!(check(RYW, pending, offer(100, 1)), Err(Refusal::WritePending));
}

#[test]
fn primaries_answer_within_their_lease_and_on_a_timeline_new_enough() {
    let (shards, _) = filled();
    let shard = shards.shard(S).unwrap();
    let check = |level, need, server, begin| {
        primary_qualifies(&shard.view(), level, need, (EndpointId(server), T1), Mono(begin))
    };
    let pending = |timeline| WriteNeed::Pending {
        since: Mono(1),
        timeline: Timeline(timeline),
    };
    assert_eq!(
        check(ReadLevel::Strong, pending(1), 4, u64::MAX),
        Ok(()),
        "no provider, no lease"
    );
    shard.set_lease(Lease::Held {
        holder: PRIMARY,
        since: Mono(0),
        until: Mono(9_000),
    });
    assert_eq!(check(ReadLevel::Strong, WriteNeed::None, 4, 9_000), Ok(()));
    assert_eq!(
        check(ReadLevel::Strong, WriteNeed::None, 4, 9_001),
        Err(Refusal::LeaseOver)
    );
    assert_eq!(check(RYW, WriteNeed::None, 4, 10_000), Ok(()), "within its bound");
    assert_eq!(check(RYW, WriteNeed::None, 4, 10_001), Err(Refusal::LeaseOver));
    assert_eq!(
        check(BOUNDED, WriteNeed::None, 5, 100_000),
        Err(Refusal::LeaseOver)
    );
    assert_eq!(check(RYW, pending(2), 4, 9_000), Err(Refusal::OlderTimeline));
    let known = WriteNeed::Known(Position::new(Timeline(2), Lsn(1)));
    assert_eq!(
        check(ReadLevel::Strong, known, 4, 9_000),
        Err(Refusal::OlderTimeline)
    );
    assert_eq!(check(BOUNDED, known, 4, 9_000), Ok(()));
    sample(&shards, 9_500, 100);
    assert_eq!(
        shard.view().freshness_of(at(100)),
        Some(Mono(5_000)),
        "answered after the lease"
    );
}

#[test]
fn prints_how_long_a_decision_takes() {
    const ROUNDS: u32 = 100_000;
    let (shards, entry) = filled();
    let mut session = SessionPositions::new();
    let start = Instant::now();
    for _ in 0..ROUNDS {
        assert_eq!(check_use(&entry, RYW, &mut session, &shards, Mono(6_000)), Ok(()));
    }
    println!("check_use: {:?} each", start.elapsed() / ROUNDS);
}
