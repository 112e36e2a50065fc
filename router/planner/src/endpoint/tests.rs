//! Which server is chosen.

use super::*;
use std::sync::Arc;
use topology::{Endpoint, Lsn, Timeline};

const SECOND: Duration = Duration::from_secs(1);
const NOW: Mono = Mono(100_000_000_000);

fn server(
    id: u16,
    region: &str,
    role: Role,
    replayed: u64,
    age: Duration,
    round_trip_ms: u64,
) -> EndpointState {
    let position = Position::new(Timeline(1), Lsn(replayed));
    EndpointState {
        endpoint: Arc::new(Endpoint {
            id: EndpointId(id),
            shard: ShardId(0),
            region: RegionName::new(region),
            host: "localhost".to_owned(),
            port: 5432,
        }),
        health: Health::Up,
        role: Some(role),
        incarnation: 1,
        timeline: Timeline(1),
        replay: (role == Role::Standby).then_some(ReplaySample {
            position,
            asked_at: NOW.minus(age),
        }),
        fresh_as_of: Some(NOW.minus(age)),
        round_trip: Duration::from_millis(round_trip_ms),
        last_error: None,
    }
}

fn shard(endpoints: Vec<EndpointState>) -> ShardState {
    ShardState {
        id: ShardId(0),
        name: Arc::from("s0"),
        endpoints,
    }
}

fn request(region: &RegionName) -> EndpointRequest<'_> {
    EndpointRequest {
        region,
        access: Access::Read,
        level: Level::Ryw,
        need: SessionNeed::None,
        replica_bound: SECOND,
        now: NOW,
    }
}

fn two() -> ShardState {
    shard(vec![
        server(0, "us-east", Role::Primary, 0, Duration::ZERO, 60),
        server(1, "us-west", Role::Standby, 50, SECOND / 2, 1),
    ])
}

fn known(lsn: u64) -> SessionNeed {
    SessionNeed::Known(Position::new(Timeline(1), Lsn(lsn)))
}

#[test]
fn a_fresh_standby_of_the_own_region_is_nearest() {
    let west = RegionName::new("us-west");
    let choice = choose(&two(), &request(&west));
    assert_eq!(
        (choice.endpoint, choice.reason),
        (Some(EndpointId(1)), Reason::NearestFresh)
    );
    assert!(choice.sample.is_some());
    let east = RegionName::new("us-east");
    let choice = choose(&two(), &request(&east));
    assert_eq!(
        (choice.endpoint, choice.reason),
        (Some(EndpointId(0)), Reason::PrimaryNearest)
    );
}

#[test]
fn writes_strong_reads_and_pending_writes_go_to_the_primary() {
    let west = RegionName::new("us-west");
    let cases = [
        (
            EndpointRequest {
                access: Access::Write,
                ..request(&west)
            },
            Reason::Write,
        ),
        (
            EndpointRequest {
                level: Level::Strong,
                ..request(&west)
            },
            Reason::Strong,
        ),
        (
            EndpointRequest {
                need: SessionNeed::Pending(Timeline(1)),
                ..request(&west)
            },
            Reason::WritePending,
        ),
    ];
    for (request, reason) in cases {
        let choice = choose(&two(), &request);
        assert_eq!((choice.endpoint, choice.reason), (Some(EndpointId(0)), reason));
    }
}

#[test]
fn a_standby_must_have_replayed_what_the_session_wrote() {
    let west = RegionName::new("us-west");
    let at = |need| {
        choose(
            &two(),
            &EndpointRequest {
                need,
                ..request(&west)
            },
        )
    };
    assert_eq!(at(known(50)).endpoint, Some(EndpointId(1)));
    assert_eq!(
        (at(known(51)).endpoint, at(known(51)).reason),
        (Some(EndpointId(0)), Reason::NoStandbyFresh)
    );
    // Level bounded promises nothing of the session's own writes.
    let bounded = EndpointRequest {
        need: known(51),
        level: Level::Bounded(SECOND),
        ..request(&west)
    };
    assert_eq!(choose(&two(), &bounded).endpoint, Some(EndpointId(1)));
}

#[test]
fn a_standby_must_be_fresh_within_the_bound() {
    let west = RegionName::new("us-west");
    let tight = EndpointRequest {
        level: Level::Bounded(SECOND / 4),
        ..request(&west)
    };
    assert_eq!(choose(&two(), &tight).reason, Reason::NoStandbyFresh);
    let tight = EndpointRequest {
        replica_bound: SECOND / 4,
        ..request(&west)
    };
    assert_eq!(choose(&two(), &tight).reason, Reason::NoStandbyFresh);
    let mut unproved = two();
    unproved.endpoints[1].fresh_as_of = None;
    assert_eq!(choose(&unproved, &request(&west)).reason, Reason::NoStandbyFresh);
}

#[test]
fn a_primary_of_an_older_timeline_lost_the_write() {
    let west = RegionName::new("us-west");
    let need = SessionNeed::Pending(Timeline(2));
    let choice = choose(
        &two(),
        &EndpointRequest {
            need,
            ..request(&west)
        },
    );
    assert_eq!((choice.endpoint, choice.reason), (None, Reason::NoPrimary));
}

#[test]
fn servers_that_are_down_answer_nothing() {
    let west = RegionName::new("us-west");
    let mut state = two();
    state.endpoints[1].health = Health::Down;
    assert_eq!(choose(&state, &request(&west)).reason, Reason::NoStandby);
    state.endpoints[0].health = Health::Down;
    assert_eq!(choose(&state, &request(&west)).endpoint, None);
}

#[test]
fn within_a_region_the_round_trip_decides() {
    let west = RegionName::new("us-west");
    let mut state = two();
    state
        .endpoints
        .push(server(2, "us-west", Role::Standby, 50, SECOND / 2, 0));
    assert_eq!(choose(&state, &request(&west)).endpoint, Some(EndpointId(2)));
}
