//! Values of keys, in text and in binary: what the planner hashes and what the cache names.

use anyhow::{Result, ensure};
use coherence::{canonical_binary, canonical_text};
use planner::{KeyValue, slot_of};
use topology::KeyType;

use crate::mutate::Shape;
use crate::target::{Script, Target, Trace};

pub(crate) const TARGETS: &[Target] = &[
    Target::new("key-values", key_values, values)
        .shape(Shape::Text)
        .words(WORDS)
        .weight(16)
        .memory(1024, 32),
    Target::new("dates", dates, values)
        .shape(Shape::Text)
        .words(WORDS)
        .weight(8)
        .memory(512, 8),
];

const WORDS: &[&str] = &[
    "-",
    "+",
    " ",
    ":",
    ".",
    "BC",
    "infinity",
    "-infinity",
    "epoch",
    "now",
    "0x",
    "_",
    "e",
    "\\x",
    "\\000",
    "{",
    "}",
    "2024-02-29",
    "23:59:60",
    "+00",
    "-14:59",
    "4713-01-01 BC",
    "294276-12-31",
    "9223372036854775807",
    "-32768",
    "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "\u{e4}",
];

const TYPES: [KeyType; 8] = [
    KeyType::Int2,
    KeyType::Int4,
    KeyType::Int8,
    KeyType::Text,
    KeyType::Uuid,
    KeyType::Bytea,
    KeyType::Date,
    KeyType::TimestampTz,
];

/// A value that the planner reads has one canonical text, which reads back as the same value; and where the cache is sure
/// of a text, it is that one.
fn key_values(input: &[u8], trace: &mut Trace) -> Result<()> {
    let mut script = Script::new(input);
    let first = script.byte();
    let key_type = TYPES
        .get(usize::from(first) % 8)
        .copied()
        .unwrap_or(KeyType::Text);
    let is_text = first & 8 == 0;
    let bytes = script.rest();
    let (read, canonical) = if is_text {
        (
            KeyValue::from_text(key_type, bytes),
            canonical_text(key_type, bytes),
        )
    } else {
        (
            KeyValue::from_binary(key_type, bytes),
            canonical_binary(key_type, bytes),
        )
    };
    trace.took(u64::from(first & 15), &read);
    trace.saw(u64::from(canonical.is_some()));
    let Ok(value) = read else { return Ok(()) };
    let text = value.canonical_text();
    let again = KeyValue::from_text(key_type, text.as_bytes());
    ensure!(
        again.as_ref() == Ok(&value),
        "{key_type:?} {value:?} is printed as {text:?}, which reads as {again:?}"
    );
    ensure!(again.is_ok_and(|again| slot_of(&again) == slot_of(&value)));
    if let Some(canonical) = canonical {
        ensure!(
            *canonical == *text.as_bytes(),
            "{key_type:?}: {:?} to the cache, {text:?} to the planner",
            String::from_utf8_lossy(&canonical)
        );
    }
    Ok(())
}

/// What is read from a text is printed as a text that reads the same.
fn dates(input: &[u8], trace: &mut Trace) -> Result<()> {
    let days = merge::iso::parse_date(input);
    trace.took(1, &days);
    if let Ok(days) = days.as_ref().copied()
        && merge::iso::is_valid_date(days)
    {
        let mut printed = String::new();
        merge::iso::write_date(&mut printed, days)?;
        ensure!(
            merge::iso::parse_date(printed.as_bytes()) == Ok(days),
            "{days} is printed as {printed}"
        );
    }
    trace.took(2, &merge::iso::parse_timestamp(input));
    let micros = merge::iso::parse_timestamptz(input);
    trace.took(3, &micros);
    if let Ok(micros) = micros.as_ref().copied()
        && merge::iso::is_valid_timestamp(micros)
    {
        let mut printed = String::new();
        merge::iso::write_timestamptz_utc(&mut printed, micros)?;
        ensure!(
            merge::iso::parse_timestamptz(printed.as_bytes()) == Ok(micros),
            "{micros} is printed as {printed}"
        );
    }
    Ok(())
}

fn values() -> Vec<Vec<u8>> {
    let texts: [(u8, &[u8]); 14] = [
        (0, b"-32768"),
        (1, b"2147483647"),
        (2, b"-9223372036854775808"),
        (3, b"na\xc3\xafve"),
        (4, b"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        (5, b"\\xDEADbeef"),
        (5, b"a\\\\b\\001"),
        (6, b"2024-02-29"),
        (6, b"4713-01-01 BC"),
        (7, b"2024-02-29 23:59:59.123456+05:30"),
        (8, b"\x7f\xff"),
        (10, b"\0\0\0\0\0\0\0\x2a"),
        (14, b"\xff\xff\xff\xff"),
        (15, b"\0\x02\x8d\x2f\xe6\x12\x40\0"),
    ];
    let with = |(first, text): (u8, &[u8])| [&[first], text].concat();
    let mut all: Vec<Vec<u8>> = texts.into_iter().map(with).collect();
    all.extend(texts.iter().map(|(_, text)| text.to_vec()));
    all
}
