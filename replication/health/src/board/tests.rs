//! What the board makes of observations.

use super::{Board, Change};
use crate::observation::{Life, Observation, Place};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;
use topology::{
    Endpoint, EndpointId, Health, Lsn, Mono, RegionName, Role, SLOT_COUNT, ShardId, SlotMap, Snapshot,
    Timeline,
};

const SHARD: ShardId = ShardId(0);
const A: EndpointId = EndpointId(0);
const B: EndpointId = EndpointId(1);
const C: EndpointId = EndpointId(2);

fn board() -> Board {
    let endpoint = |id: EndpointId| Endpoint {
        id,
        shard: SHARD,
        region: RegionName::new("us-east"),
        host: "localhost".to_owned(),
        port: 5432 + id.0,
    };
    let map = SlotMap::new(1, vec![SHARD; usize::from(SLOT_COUNT)]).unwrap();
    let servers = [A, B, C].map(endpoint).to_vec();
    Board::new(
        RegionName::new("us-east"),
        Arc::new(map),
        [(Arc::from("zero"), servers)],
    )
}

fn seen(place: Place, timeline: u32, connection: u64) -> Observation {
    Observation {
        life: Life {
            system_identifier: 7,
            started_at_us: 1,
            connection,
        },
        timeline: Timeline(timeline),
        place,
        asked_at: Mono(5),
        round_trip: Duration::from_micros(800),
    }
}

fn primary(timeline: u32) -> Observation {
    seen(
        Place::Insert {
            lsn: Lsn(100),
            witness: None,
        },
        timeline,
        1,
    )
}

fn standby(timeline: u32) -> Observation {
    seen(Place::Replay { lsn: Lsn(90) }, timeline, 1)
}

fn snapshot(board: &mut Board) -> Snapshot {
    board.publish(|_, _| Some(Mono(3)))
}

fn primary_of(board: &mut Board) -> Option<EndpointId> {
    snapshot(board)
        .shard(SHARD)
        .unwrap()
        .primary()
        .map(|p| p.endpoint.id)
}

#[test]
fn nobody_is_up_before_it_answered() {
    let mut board = board();
    let snapshot = snapshot(&mut board);
    let shard = snapshot.shard(SHARD).unwrap();
    assert!(
        shard
            .endpoints
            .iter()
            .all(|e| e.health == Health::Unknown && e.role.is_none())
    );
    assert_eq!(shard.primary(), None);
    assert_eq!(board.trusted(SHARD), None);
}

#[test]
fn a_standby_carries_its_replay_and_its_freshness() {
    let mut board = board();
    assert_eq!(board.answered(SHARD, A, &primary(1)), Change::Structure);
    assert_eq!(board.answered(SHARD, B, &standby(1)), Change::Structure);
    assert_eq!(board.answered(SHARD, B, &standby(1)), Change::Progress);
    let snapshot = snapshot(&mut board);
    let [a, b, _] = snapshot.shard(SHARD).unwrap().endpoints.as_slice() else {
        panic!("three servers")
    };
    assert_eq!(
        (a.role, a.replay, a.fresh_as_of),
        (Some(Role::Primary), None, None)
    );
    assert_eq!(b.replay.unwrap().position.lsn, Lsn(90));
    assert_eq!(b.replay.unwrap().asked_at, Mono(5));
    assert_eq!(b.fresh_as_of, Some(Mono(3)));
    assert_eq!(b.round_trip, Duration::from_micros(800));
}

#[test]
fn after_a_promotion_the_old_primary_is_not_one() {
    let mut board = board();
    board.answered(SHARD, A, &primary(1));
    board.answered(SHARD, B, &standby(1));
    assert_eq!(primary_of(&mut board), Some(A));
    board.answered(SHARD, B, &primary(2));
    assert_eq!(primary_of(&mut board), Some(B));
    // It goes on saying that it is the primary, and it does even when the new one is lost.
    board.answered(SHARD, A, &primary(1));
    assert_eq!(primary_of(&mut board), Some(B));
    board.failed(SHARD, B, "refused");
    assert_eq!(primary_of(&mut board), None);
    let snapshot = snapshot(&mut board);
    let old = &snapshot.shard(SHARD).unwrap().endpoints[0];
    assert_eq!((old.health, old.role), (Health::Down, Some(Role::Primary)));
    assert!(old.last_error.as_deref().unwrap().contains("old primary"));
}

#[test]
fn a_standby_on_a_newer_timeline_is_enough_to_distrust_the_old_primary() {
    let mut board = board();
    board.answered(SHARD, A, &primary(1));
    board.answered(SHARD, C, &standby(2));
    assert_eq!(primary_of(&mut board), None);
}

#[test]
fn of_two_primaries_on_one_timeline_the_first_stays_while_it_answers() {
    let mut board = board();
    board.answered(SHARD, B, &primary(2));
    board.answered(SHARD, A, &primary(2));
    assert_eq!(primary_of(&mut board), Some(B));
    board.failed(SHARD, B, "gone");
    assert_eq!(primary_of(&mut board), Some(A));
}

#[test]
fn a_stranger_is_down_and_its_timeline_does_not_count() {
    let mut board = board();
    board.answered(SHARD, A, &primary(1));
    let mut other = primary(9);
    other.life.system_identifier = 8;
    board.answered(SHARD, B, &other);
    assert_eq!(primary_of(&mut board), Some(A));
    let snapshot = snapshot(&mut board);
    let stranger = &snapshot.shard(SHARD).unwrap().endpoints[1];
    assert_eq!(stranger.health, Health::Down);
    assert!(
        stranger
            .last_error
            .as_deref()
            .unwrap()
            .contains("system identifier")
    );
}

#[test]
fn each_life_raises_the_incarnation_once() {
    let mut board = board();
    let incarnation = |board: &mut Board| snapshot(board).shard(SHARD).unwrap().endpoints[1].incarnation;
    board.answered(SHARD, B, &standby(1));
    board.answered(SHARD, B, &standby(1));
    assert_eq!(incarnation(&mut board), 1);
    assert_eq!(board.failed(SHARD, B, "refused"), Change::Structure);
    assert_eq!(board.failed(SHARD, B, "refused"), Change::Progress);
    let down = snapshot(&mut board).shard(SHARD).unwrap().endpoints[1].clone();
    assert_eq!((down.health, down.replay), (Health::Down, None));
    board.answered(SHARD, B, &seen(Place::Replay { lsn: Lsn(10) }, 1, 2));
    assert_eq!(incarnation(&mut board), 2);
}

#[test]
fn versions_rise_with_every_publication() {
    let mut board = board();
    let first = snapshot(&mut board).version;
    assert!(snapshot(&mut board).version > first);
}

proptest! {
    /// Whatever the servers say in whatever order, a primary that is published stands on the newest
    /// timeline that was ever seen, and it is the one whose samples count.
    #[test]
    fn the_published_primary_is_the_trusted_one(
        steps in proptest::collection::vec((0u16..3, 0u8..3, 1u32..5), 0..60),
    ) {
        let mut board = board();
        let mut newest = 0;
        for (endpoint, what, timeline) in steps {
            let endpoint = EndpointId(endpoint);
            match what {
                0 => { board.answered(SHARD, endpoint, &primary(timeline)); newest = newest.max(timeline); }
                1 => { board.answered(SHARD, endpoint, &standby(timeline)); newest = newest.max(timeline); }
                _ => { board.failed(SHARD, endpoint, "gone"); }
            }
            let snapshot = snapshot(&mut board);
            let shard = snapshot.shard(SHARD).unwrap();
            prop_assert_eq!(shard.primary().map(|p| p.endpoint.id), board.trusted(SHARD));
            prop_assert!(shard.primary().is_none_or(|p| p.timeline == Timeline(newest)));
            let up = |e: &&topology::EndpointState| e.health == Health::Up && e.role == Some(Role::Primary);
            prop_assert!(shard.endpoints.iter().filter(up).count() <= 1);
        }
    }
}

#[test]
fn a_primary_may_be_taken_at_the_configurations_word() {
    let mut board = board();
    board.believe();
    let snapshot = board.publish(|_, _| None);
    let primary = snapshot.shard(SHARD).and_then(topology::ShardState::primary);
    assert_eq!(primary.map(|p| p.endpoint.id), Some(A));
    let others = [B, C].map(|id| snapshot.endpoint(SHARD, id).map(|e| e.health));
    assert_eq!(others, [Some(Health::Unknown); 2]);
}
