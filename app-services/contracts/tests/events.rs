//! Every version of an event that was ever published can be read, and `docs/events.md` says what is in it.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the failure")]

mod samples;

use ringway_sdk::events::Failure;
use serde_json::Value;
use shop_contracts::events::{
    AnalyticsEvent, AuditEvent, FraudEvent, InventoryEvent, Kind, Message, NotificationEvent, OrderEvent,
    PaymentEvent, RecommendationEvent, ShippingEvent, TOPICS, Unreadable,
};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Set, files that are missing are written; those that were published are never changed.
fn is_writing() -> bool {
    std::env::var_os("RINGWAY_WRITE_GOLDEN").is_some()
}

fn golden(kind: &str, version: u16) -> PathBuf {
    folder("golden").join(format!("{kind}.{version}.json"))
}

/// Holds the samples of a topic to their files, and every file of the topic to the code.
fn check<M: Message + PartialEq + std::fmt::Debug>(samples: &[M]) {
    let kinds = M::kinds();
    let sampled: BTreeSet<_> = samples.iter().map(Message::kind).collect();
    assert_eq!(sampled.len(), kinds.len(), "{}: a kind has no sample", M::TOPIC);
    for sample in samples {
        let kind = kinds.iter().find(|kind| kind.name == sample.kind()).unwrap();
        let (file, payload) = (golden(kind.name, kind.version), sample.payload());
        if is_writing() && !file.exists() {
            let value: Value = serde_json::from_slice(&payload).unwrap();
            fs::write(&file, serde_json::to_string_pretty(&value).unwrap() + "\n").unwrap();
        }
        let published: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let written: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(
            written,
            published,
            "{} is written otherwise than it was",
            file.display()
        );
        assert_eq!(&M::read(kind.name, &payload).unwrap(), sample);
        let aggregate = &written[kind.aggregate];
        assert_eq!(aggregate.as_str(), Some(sample.aggregate().as_str()));
        for version in 1..=kind.version {
            let file = golden(kind.name, version);
            M::read(kind.name, &fs::read(&file).unwrap()).unwrap();
        }
    }
}

#[test]
fn whatever_was_published_can_be_read() {
    check(&samples::orders());
    check(&samples::payments());
    check(&samples::inventory());
    check(&samples::shipping());
    check(&samples::fraud());
    check(&samples::notifications());
    check(&samples::analytics());
    check(&samples::recommendations());
    check(&samples::audit());
}

fn all_kinds() -> Vec<(&'static str, Vec<Kind>)> {
    let mut all = vec![
        (OrderEvent::TOPIC, OrderEvent::kinds()),
        (PaymentEvent::TOPIC, PaymentEvent::kinds()),
        (InventoryEvent::TOPIC, InventoryEvent::kinds()),
        (ShippingEvent::TOPIC, ShippingEvent::kinds()),
        (FraudEvent::TOPIC, FraudEvent::kinds()),
        (NotificationEvent::TOPIC, NotificationEvent::kinds()),
        (AnalyticsEvent::TOPIC, AnalyticsEvent::kinds()),
        (RecommendationEvent::TOPIC, RecommendationEvent::kinds()),
        (AuditEvent::TOPIC, AuditEvent::kinds()),
    ];
    all.sort_unstable_by_key(|(topic, _)| *topic);
    all
}

#[test]
fn no_file_is_of_a_kind_that_is_gone() {
    let known: BTreeSet<String> = all_kinds()
        .into_iter()
        .flat_map(|(_, kinds)| kinds)
        .flat_map(|kind| (1..=kind.version).map(move |version| format!("{}.{version}.json", kind.name)))
        .collect();
    let files = fs::read_dir(folder("golden")).unwrap();
    let there: BTreeSet<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(there, known);
}

#[test]
fn more_fields_are_passed_over_and_newer_versions_wait() {
    let user = "01890000-0000-7000-8000-000000000001";
    let more = format!(r#"{{"version":1,"user_id":"{user}","of_tomorrow":[1]}}"#);
    let read = AuditEvent::read("user-deleted", more.as_bytes()).unwrap();
    assert_eq!(read.aggregate(), user);
    let newer = more.replace(":1,", ":2,");
    let error = AuditEvent::read("user-deleted", newer.as_bytes()).unwrap_err();
    assert!(
        matches!(
            error,
            Unreadable::Newer {
                version: 2,
                known: 1,
                ..
            }
        ),
        "{error}"
    );
    assert!(matches!(Failure::from(error), Failure::Later(_)));
    let error = AuditEvent::read("user-deleted", br#"{"version":1}"#).unwrap_err();
    assert!(matches!(Failure::from(error), Failure::Never(_)));
    let error = AuditEvent::read("order-placed", more.as_bytes()).unwrap_err();
    assert!(matches!(error, Unreadable::Kind(_)));
}

/// A property's type, as it reads in the table.
fn type_of(schema: &Value) -> String {
    let named = |text: &Value| {
        text.as_str()
            .map(|path| path.rsplit('/').next().unwrap().to_owned())
    };
    if let Some(name) = named(&schema["$ref"]) {
        return name;
    }
    if let Some(items) = schema.get("items") {
        return format!("list of {}", type_of(items));
    }
    if let Some(any) = schema["oneOf"].as_array().or(schema["allOf"].as_array()) {
        let known = any.iter().find(|one| one["type"] != "null").unwrap();
        return type_of(known);
    }
    let word = match &schema["type"] {
        Value::Array(words) => words
            .iter()
            .find_map(|word| word.as_str().filter(|word| *word != "null")),
        word => word.as_str(),
    };
    schema["format"].as_str().or(word).unwrap().to_owned()
}

fn page() -> String {
    let mut page = String::from(
        "# Events of the shop\n\n\
         Made from `app-services/contracts` by its test `docs_are_true`; change it there.\n\n\
         Payloads are JSON with a `version`. The kind, the aggregate's version, trace and causal token are headers of the message. A field that may be missing\n\
         can be added to a version; whatever else changes makes a new one. `app-services/contracts/golden` has an example of every version.\n",
    );
    for (topic, kinds) in all_kinds() {
        write!(page, "\n## {topic}\n").unwrap();
        for kind in kinds {
            let (name, version, aggregate) = (kind.name, kind.version, kind.aggregate);
            let what = kind.schema["description"].as_str().unwrap();
            write!(
                page,
                "\n### {name}, version {version}\n\n{what} Key: `{aggregate}`.\n\n"
            )
            .unwrap();
            page.push_str("| field | type | |\n|---|---|---|\n");
            let required = kind.schema["required"].as_array().unwrap();
            for (field, schema) in kind.schema["properties"].as_object().unwrap() {
                let optional = if required.iter().any(|name| name == field) {
                    ""
                } else {
                    ", may be missing"
                };
                let what = schema["description"].as_str().unwrap_or_default();
                writeln!(page, "| `{field}` | {}{optional} | {what} |", type_of(schema)).unwrap();
            }
        }
    }
    page
}

#[test]
fn docs_are_true() {
    let (file, page) = (folder("../../docs/events.md"), page());
    if is_writing() {
        fs::write(&file, &page).unwrap();
    }
    let there = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        there == page,
        "docs/events.md is not what the code says: RINGWAY_WRITE_GOLDEN=1 writes it"
    );
}

#[test]
fn topics_are_all_there() {
    let all: Vec<_> = all_kinds().into_iter().map(|(topic, _)| topic).collect();
    assert_eq!(all, TOPICS);
}
