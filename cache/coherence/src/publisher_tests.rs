//! The publisher's rules one by one; the simulation tries them together.

use super::*;

const T1: Timeline = Timeline(1);

fn facts(timeline: u32, stored: Option<Epoch>, witness: Option<Epoch>, slot: SlotState) -> StartFacts {
    StartFacts {
        timeline: Timeline(timeline),
        stored,
        witness,
        slot,
    }
}

fn commit(xid: u64, end: u64) -> DecodedTransaction {
    DecodedTransaction {
        xid: Xid(xid),
        commit_end: Lsn(end),
        tags: vec![TagHash(xid)],
    }
}

fn all_below(xmax: u64) -> XidSnapshot {
    XidSnapshot::new(Xid(xmax), Vec::new())
}

fn open(from: u64) -> Publisher {
    let mut publisher = Publisher::new(Epoch::new(T1, 3), Lsn(from), Xid(10));
    assert!(publisher.poll(&all_below(10)).unwrap().is_some());
    publisher
}

#[test]
fn an_epoch_goes_on_only_with_witness_slot_and_timeline() {
    let kept = SlotState::Resumable { confirmed: Lsn(7) };
    let epoch = Epoch::new(T1, 3);
    let next = |timeline| Epoch::new(Timeline(timeline), 4);
    let raise = |epoch, slot, reason| StartDecision::Raise {
        expected: Some(Epoch::new(T1, 3)),
        epoch,
        slot,
        reason,
    };
    let cases = [
        (
            facts(1, Some(epoch), Some(epoch), kept),
            StartDecision::Resume { epoch, from: Lsn(7) },
        ),
        (
            facts(1, Some(epoch), None, kept),
            raise(next(1), SlotAction::Keep(Lsn(7)), RaiseReason::Crash),
        ),
        (
            facts(1, Some(epoch), Some(Epoch::new(T1, 2)), kept),
            raise(next(1), SlotAction::Keep(Lsn(7)), RaiseReason::Crash),
        ),
        (
            facts(1, Some(epoch), Some(epoch), SlotState::Missing),
            raise(next(1), SlotAction::Recreate, RaiseReason::SlotLost),
        ),
        (
            facts(2, Some(epoch), Some(epoch), kept),
            raise(next(2), SlotAction::Recreate, RaiseReason::Promotion),
        ),
    ];
    for (facts, decision) in cases {
        assert_eq!(on_start(&facts), Ok(decision), "{facts:?}");
    }
    let first = on_start(&facts(1, None, None, SlotState::Missing));
    assert!(matches!(
        first,
        Ok(StartDecision::Raise {
            expected: None,
            reason: RaiseReason::First,
            ..
        })
    ));
    let stored = Some(Epoch::new(Timeline(2), 1));
    assert!(matches!(
        on_start(&facts(1, stored, stored, kept)),
        Err(Error::TimelineWentBack { .. })
    ));
    let last = Some(Epoch::new(T1, u32::MAX));
    assert_eq!(on_start(&facts(1, last, None, kept)), Err(Error::EpochsExhausted));
}

#[test]
fn a_commit_above_xmax_is_not_visible_though_no_list_names_it() {
    let snapshot: XidSnapshot = "10:20:10,14".parse().unwrap();
    let seen: Vec<u64> = (8..22).filter(|xid| snapshot.sees(Xid(*xid))).collect();
    assert_eq!(seen, [8, 9, 11, 12, 13, 15, 16, 17, 18, 19]);
    assert_eq!("5:5:".parse(), Ok(all_below(5)));
    for text in ["", "1", "1:2", "3:2:", "1:5:7", "1:5:3,2", "1:5:x", "1:5:0"] {
        assert!(text.parse::<XidSnapshot>().is_err(), "{text}");
    }
}

#[test]
fn nothing_is_sent_before_what_was_recorded_at_the_start_is_visible() {
    let mut publisher = Publisher::new(Epoch::new(T1, 3), Lsn(100), Xid(12));
    publisher.decoded(commit(12, 110)).unwrap();
    publisher.ask_heartbeat(Lsn(100));
    assert_eq!(
        publisher.poll(&XidSnapshot::new(Xid(13), vec![Xid(9)])),
        Ok(None),
        "9 is still running"
    );
    assert_eq!(
        publisher.poll(&all_below(11)),
        Ok(None),
        "11 has an id and is in no list"
    );
    let opening = publisher.poll(&all_below(12)).unwrap().unwrap();
    assert_eq!((opening.from(), opening.to()), (Lsn(100), Lsn(100)));
}

#[test]
fn what_is_decoded_after_the_start_needs_no_wait_but_still_visibility() {
    let mut publisher = Publisher::new(Epoch::new(T1, 3), Lsn(100), Xid(12));
    publisher.decoded(commit(9, 110)).unwrap();
    let held = XidSnapshot::new(Xid(13), vec![Xid(9)]);
    assert!(publisher.poll(&held).unwrap().is_some());
    assert_eq!(publisher.poll(&held), Ok(None));
    assert_eq!(
        publisher.poll(&all_below(13)).unwrap().unwrap().tags(),
        [TagHash(9)]
    );
}

#[test]
fn a_batch_ends_before_the_first_invisible_commit() {
    let mut publisher = open(100);
    for (xid, end) in [(11, 110), (13, 120), (12, 130), (14, 140)] {
        publisher.decoded(commit(xid, end)).unwrap();
    }
    let held = XidSnapshot::new(Xid(15), vec![Xid(12)]);
    let batch = publisher.poll(&held).unwrap().unwrap();
    assert_eq!(
        (batch.from(), batch.to(), batch.tags().len()),
        (Lsn(100), Lsn(120), 2)
    );
    assert_eq!(publisher.poll(&held), Ok(None));
    let rest = publisher.poll(&all_below(15)).unwrap().unwrap();
    assert_eq!((rest.from(), rest.to()), (Lsn(120), Lsn(140)));
}

#[test]
fn a_heartbeat_waits_for_decoding_and_visibility() {
    let mut publisher = open(100);
    publisher.ask_heartbeat(Lsn(130));
    publisher.ask_heartbeat(Lsn(150));
    assert!(publisher.needs_nudge());
    assert_eq!(publisher.poll(&all_below(20)), Ok(None), "not decoded");
    publisher.decoded(commit(12, 120)).unwrap();
    publisher.decoded_past(Lsn(140));
    assert_eq!(publisher.poll(&all_below(12)), Ok(None), "not visible");
    assert_eq!(publisher.poll(&all_below(13)).unwrap().unwrap().to(), Lsn(120));
    let beat = publisher.poll(&all_below(13)).unwrap().unwrap();
    assert_eq!(
        (beat.from(), beat.to()),
        (Lsn(120), Lsn(130)),
        "the first question is answered"
    );
    assert!(!publisher.needs_nudge() && publisher.poll(&all_below(13)).unwrap().is_none());
}

#[test]
fn a_heartbeat_behind_what_was_told_does_not_go_back() {
    let mut publisher = open(100);
    publisher.ask_heartbeat(Lsn(105));
    publisher.decoded(commit(11, 120)).unwrap();
    assert_eq!(publisher.poll(&all_below(12)).unwrap().unwrap().to(), Lsn(120));
    assert_eq!(publisher.poll(&all_below(12)).unwrap().unwrap().to(), Lsn(120));
}

#[test]
fn only_what_the_stream_stored_is_confirmed() {
    let mut publisher = open(100);
    publisher.decoded(commit(11, 110)).unwrap();
    publisher.poll(&all_below(12)).unwrap().unwrap();
    assert_eq!((publisher.confirmable(), publisher.in_flight()), (Lsn(100), 2));
    assert_eq!(
        publisher.acknowledged(Lsn(110)),
        Err(Error::AcknowledgedOutOfOrder)
    );
    publisher.acknowledged(Lsn(100)).unwrap();
    publisher.acknowledged(Lsn(110)).unwrap();
    assert_eq!(publisher.confirmable(), Lsn(110));
}

#[test]
fn bounds_and_order_of_the_decoder_are_held() {
    let mut publisher = open(100);
    publisher.decoded(commit(11, 110)).unwrap();
    let tags = vec![TagHash(0); MAX_TRANSACTION_TAGS + 1];
    assert!(
        publisher
            .decoded(DecodedTransaction {
                xid: Xid(11),
                commit_end: Lsn(110),
                tags
            })
            .is_err()
    );
    assert_eq!(publisher.decoded(commit(11, 110)), Err(Error::DecodedOutOfOrder));
    assert_eq!(publisher.decoded(commit(12, 105)), Err(Error::DecodedOutOfOrder));
    for n in 1..MAX_PENDING_TRANSACTIONS as u64 {
        assert!(publisher.has_room());
        publisher.decoded(commit(11 + n, 110 + n)).unwrap();
    }
    assert!(!publisher.has_room());
}

#[test]
fn a_batch_keeps_the_bound_of_tags() {
    let mut publisher = open(100);
    for n in 0..5 {
        let tags = (0..MAX_TRANSACTION_TAGS as u64)
            .map(|tag| TagHash(n << 32 | tag))
            .collect();
        publisher
            .decoded(DecodedTransaction {
                xid: Xid(11 + n),
                commit_end: Lsn(110 + n),
                tags,
            })
            .unwrap();
    }
    let sizes: Vec<usize> = std::iter::from_fn(|| publisher.poll(&all_below(20)).unwrap())
        .map(|batch| batch.tags().len())
        .collect();
    assert_eq!(sizes, [MAX_TAGS, MAX_TRANSACTION_TAGS]);
}

#[test]
fn what_waits_is_bounded_by_tags_and_messages_too() {
    let mut publisher = open(100);
    let mut at = 110;
    while publisher.has_room() {
        let tags = vec![TagHash(0); MAX_TRANSACTION_TAGS];
        publisher
            .decoded(DecodedTransaction {
                xid: Xid(at),
                commit_end: Lsn(at),
                tags,
            })
            .unwrap();
        at += 1;
    }
    assert_eq!((at - 110) as usize, MAX_PENDING_TAGS / MAX_TRANSACTION_TAGS);
    while publisher.poll(&all_below(at)).unwrap().is_some() {}
    assert!(publisher.has_room());
    while publisher.in_flight() < MAX_IN_FLIGHT {
        publisher.ask_heartbeat(Lsn(100));
        publisher.poll(&all_below(at)).unwrap().unwrap();
    }
    publisher.ask_heartbeat(Lsn(100));
    assert_eq!(publisher.poll(&all_below(at)), Ok(None));
    publisher.acknowledged(Lsn(100)).unwrap();
    assert!(publisher.poll(&all_below(at)).unwrap().is_some());
}
