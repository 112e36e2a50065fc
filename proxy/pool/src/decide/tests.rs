//! The bounds hold for every load, and nobody waits for what will never come.

use super::*;
use proptest::prelude::*;

fn load() -> impl Strategy<Value = Load> {
    (
        0..6_usize,
        0..6_usize,
        0..6_usize,
        0..3_usize,
        0..6_usize,
        0..9_u64,
    )
        .prop_map(|(idle, active, connecting, testing, waiting, wait)| Load {
            idle,
            active,
            connecting,
            testing,
            waiting,
            longest_wait: Duration::from_secs(wait),
        })
}

fn limits() -> impl Strategy<Value = Limits> {
    (1..8_usize, 0..4_usize, 0..6_usize, 0..4_usize, 0..3_usize).prop_map(
        |(max_size, min_size, max_waiting, max_connecting, reserve_size)| Limits {
            max_size,
            min_size: min_size.min(max_size),
            max_waiting,
            max_connecting,
            reserve_size,
            ..Limits::default()
        },
    )
}

fn attempts() -> impl Strategy<Value = Attempts> {
    prop_oneof![
        Just(Attempts::Fine),
        (1..40_u32, 0..200_u64).prop_map(|(failures, at)| Attempts::Failing {
            failures,
            retry_at: Mono(at)
        })
    ]
}

proptest! {
    #[test]
    fn never_more_connections_than_the_limit(load in load(), limits in limits(), attempts in attempts(), now in 0..200_u64) {
        if wants_connection(load, &limits, attempts, Mono(now)) {
            let in_need = load.waiting > 0 && load.longest_wait >= limits.reserve_timeout;
            let reserve = if in_need { limits.reserve_size } else { 0 };
            prop_assert!(load.total() < limits.max_size + reserve);
            prop_assert!(load.connecting < limits.max_connecting.max(1));
            prop_assert!(attempts.allows(Mono(now)));
        }
    }

    #[test]
    fn never_more_waiting_than_the_limit(load in load(), limits in limits(), attempts in attempts(), now in 0..200_u64) {
        if admit(load, &limits, attempts, Mono(now)) == Admission::Wait {
            prop_assert!(load.waiting < limits.max_waiting);
        }
    }

    /// Whoever is let into the queue has a connection that will be returned (lent or being tried), one being opened, or gets one opened at once.
    #[test]
    fn whoever_waits_waits_for_something(load in load(), limits in limits(), attempts in attempts(), now in 0..200_u64) {
        let now = Mono(now);
        if load.idle == 0 && admit(load, &limits, attempts, now) == Admission::Wait {
            let queued = Load { waiting: load.waiting + 1, ..load };
            let comes_back = queued.active + queued.testing + queued.connecting > 0;
            prop_assert!(comes_back || wants_connection(queued, &limits, attempts, now));
        }
    }

    /// A failed attempt never leaves anybody waiting for nothing.
    #[test]
    fn a_failure_with_nothing_open_is_told(load in load()) {
        prop_assert_eq!(refuses_waiting(load), load.open() == 0 && load.connecting == 0);
    }

    #[test]
    fn who_waits_comes_before_rest(load in load(), limits in limits(), age in 0..7200_u64, condemned in any::<bool>()) {
        let load = Load { active: load.active + 1, ..load };
        let now = Mono(0).plus(Duration::from_secs(age));
        match on_return(Returned { opened_at: Mono(0), condemned }, load, &limits, now) {
            Fate::Rest => prop_assert_eq!(load.waiting, 0),
            Fate::HandOver => prop_assert!(load.waiting > 0),
            Fate::Close => prop_assert!(condemned || age >= 3600 || load.total() > limits.max_size),
        }
        if condemned || age >= 3600 {
            prop_assert_eq!(on_return(Returned { opened_at: Mono(0), condemned }, load, &limits, now), Fate::Close);
        }
    }

    #[test]
    fn being_idle_never_shrinks_the_pool_below_its_minimum(load in load(), limits in limits(), idle_for in 0..1200_u64) {
        let load = Load { idle: load.idle + 1, ..load };
        let now = Mono(0).plus(Duration::from_secs(1200));
        let idle_since = now.minus(Duration::from_secs(idle_for));
        if load.total() <= limits.max_size && expires(Mono(0), idle_since, load, &limits, now) {
            prop_assert!(load.open() > limits.min_size);
            prop_assert!(idle_for >= 600);
        }
    }

    #[test]
    fn pauses_grow_to_the_limit(failures in 0..80_u32) {
        let limits = Limits::default();
        let mut attempts = Attempts::Fine;
        let mut last = Duration::ZERO;
        for _ in 0..=failures {
            attempts = attempts.after_failure(&limits, Mono(0));
            let Attempts::Failing { retry_at, .. } = attempts else { return Err(TestCaseError::fail("not failing")) };
            let pause = retry_at.since(Mono(0));
            prop_assert!(pause >= last && pause >= FIRST_PAUSE && pause <= limits.login_retry);
            last = pause;
        }
        if failures > 10 {
            prop_assert_eq!(last, limits.login_retry);
        }
    }
}
