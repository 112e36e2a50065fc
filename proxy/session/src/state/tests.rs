//! What is decided of a connection at rest, and what is read from the server's words.

use super::{AtRest, Doubt, Found, Pins, Questions, Traces, at_rest};
use crate::settings::Settings;
use proptest::prelude::*;

fn found(asked: Questions, rows: &[(&str, &str)], pinned: Pins, made: Pins) -> Found {
    let rows = rows.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
    Found::read(asked, rows, "shop", (pinned, made))
}

#[test]
fn what_the_server_tells_stands_for_the_texts() {
    let told = found(
        Questions::Both,
        &[
            ("TimeZone", "CET"),
            ("work_mem", "4096"),
            ("search_path", "a, b"),
            (" role", "none"),
            (" user", "shop"),
            (" advisory_lock", ""),
            (" protocol", "3"),
        ],
        Pins::LISTEN,
        Pins::TEMPORARY,
    );
    assert_eq!(told.pins, Pins::ADVISORY_LOCK);
    assert_eq!(told.protocol_statements, Some(3));
    let settings = Settings::default()
        .with("timezone", "'CET'")
        .with("work_mem", "'4096'")
        .with_value("search_path", "a, b");
    assert_eq!(told.settings, Some(settings));
}

#[test]
fn another_role_and_user_are_settings() {
    let told = found(
        Questions::Settings,
        &[(" role", "a"), (" user", "b")],
        Pins::NONE,
        Pins::NONE,
    );
    let settings = told.settings.unwrap();
    assert_eq!(settings.get("role"), Some("'a'"));
    assert_eq!(settings.get("session_authorization"), Some("'b'"));
}

#[test]
fn a_value_that_is_not_read_keeps_the_client() {
    let rows = [(b"work_mem".as_slice(), b"\xff".as_slice())];
    let told = Found::read(
        Questions::Settings,
        rows.into_iter(),
        "shop",
        (Pins::NONE, Pins::NONE),
    );
    assert_eq!(told.pins, Pins::SETTING);
}

#[test]
fn nothing_asked_is_nothing_lifted() {
    let told = found(Questions::Settings, &[], Pins::LISTEN, Pins::RANDOM_SEED);
    assert_eq!(told.pins, Pins::LISTEN.union(Pins::RANDOM_SEED));
    assert_eq!(told.protocol_statements, None);
}

fn pins() -> impl Strategy<Value = Pins> {
    (0u16..1 << 10).prop_map(Pins)
}

fn traces() -> impl Strategy<Value = Traces> {
    let doubt = prop_oneof![Just(Doubt::None), Just(Doubt::Settings), Just(Doubt::Everything)];
    (0u16..1 << 8, doubt, any::<bool>()).prop_map(|(made, doubt, released)| Traces {
        made: Pins(made),
        doubt,
        released,
        ended: Pins::NONE,
    })
}

fn asked() -> impl Strategy<Value = Questions> {
    prop_oneof![
        Just(Questions::Settings),
        Just(Questions::Pins),
        Just(Questions::Both)
    ]
}

proptest! {
    /// Nobody else gets a connection of which it isn't sure that nothing is on it.
    #[test]
    fn released_only_where_nothing_can_be(pinned in pins(), traces in traces()) {
        if at_rest(pinned, traces) == AtRest::Release {
            prop_assert!(pinned.is_empty());
            prop_assert!(traces.made.is_empty());
            prop_assert_eq!(traces.doubt, Doubt::None);
        }
    }

    /// A pin that was there stays until the server was asked about it.
    #[test]
    fn pins_end_only_by_the_servers_word(pinned in pins(), traces in traces()) {
        match at_rest(pinned, traces) {
            AtRest::Stay(pins) => prop_assert_eq!(pins, pinned.union(traces.made)),
            AtRest::Release => prop_assert!(pinned.is_empty()),
            AtRest::Ask(_) => {}
        }
    }

    /// What the text shows to have been made, or ended, is asked for.
    #[test]
    fn visible_changes_are_asked_for(pinned in pins(), traces in traces()) {
        let decision = at_rest(pinned, traces);
        if traces.made.intersects(Pins::ASKED) || (traces.released && pinned.intersects(Pins::ASKED)) {
            let asks = matches!(decision, AtRest::Ask(questions) if questions.pins());
            prop_assert!(asks);
        }
        if traces.doubt != Doubt::None {
            let asks = matches!(decision, AtRest::Ask(questions) if questions.settings());
            prop_assert!(asks);
        }
    }

    /// A statement without traces asks nothing of a client whose state is known.
    #[test]
    fn no_traces_no_question(pinned in pins()) {
        prop_assume!(!pinned.intersects(Pins::UNKNOWN));
        let expected = if pinned.is_empty() { AtRest::Release } else { AtRest::Stay(pinned) };
        prop_assert_eq!(at_rest(pinned, Traces::default()), expected);
    }

    /// An empty answer lifts all that was asked for, and only that.
    #[test]
    fn an_empty_answer_lifts_what_was_asked(asked in asked(), pinned in pins(), made in pins()) {
        let told = found(asked, &[], pinned, made);
        let before = pinned.union(made);
        prop_assert_eq!(told.pins.intersects(Pins::ASKED), !asked.pins() && before.intersects(Pins::ASKED));
        prop_assert_eq!(told.pins.intersects(Pins::LASTING), before.intersects(Pins::LASTING));
        prop_assert!(!told.pins.intersects(Pins::UNKNOWN));
    }

    /// Rows of any kind neither panic nor take a pin away.
    #[test]
    fn any_rows_only_add(asked in asked(), rows in prop::collection::vec((".{0,12}", ".{0,12}"), 0..8)) {
        let rows: Vec<(&str, &str)> = rows.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let told = found(asked, &rows, Pins::BACKEND, Pins::NONE);
        prop_assert!(told.pins.intersects(Pins::BACKEND));
    }
}
