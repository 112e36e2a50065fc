//! Key values as PostgreSQL reads and prints them.

use super::*;
use proptest::prelude::*;

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

fn text(key_type: KeyType, text: &str) -> Result<KeyValue<'_>, KeyError> {
    KeyValue::from_text(key_type, text.as_bytes())
}

#[test]
fn integers_as_int8in_reads_them() {
    assert_eq!(text(KeyType::Int8, " \t+42\n"), Ok(KeyValue::Int(42)));
    assert_eq!(
        text(KeyType::Int8, "-9223372036854775808"),
        Ok(KeyValue::Int(i64::MIN))
    );
    assert_eq!(
        text(KeyType::Int8, "9223372036854775808"),
        Err(KeyError::OutOfRange(KeyType::Int8))
    );
    assert_eq!(
        text(KeyType::Int2, "32768"),
        Err(KeyError::OutOfRange(KeyType::Int2))
    );
    for bad in ["", " ", "-", "1.0", "4 2", "1e3", "--1"] {
        assert_eq!(
            text(KeyType::Int4, bad),
            Err(KeyError::Malformed(KeyType::Int4)),
            "{bad:?}"
        );
    }
    for unsure in ["0x10", "-0b1", "1_000"] {
        assert_eq!(
            text(KeyType::Int4, unsure),
            Err(KeyError::Unsure(KeyType::Int4)),
            "{unsure:?}"
        );
    }
}

#[test]
fn uuids_as_uuid_in_reads_them() {
    let same = [
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
        "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
        "a0eebc999c0b4ef8bb6d6bb9bd380a11",
        "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
        "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}",
    ];
    for form in same {
        assert_eq!(text(KeyType::Uuid, form).unwrap().to_string(), same[0]);
    }
    for bad in [
        "",
        "a0eebc99",
        "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "a-0eebc999c0b4ef8bb6d6bb9bd380a11",
    ] {
        assert_eq!(
            text(KeyType::Uuid, bad),
            Err(KeyError::Malformed(KeyType::Uuid)),
            "{bad:?}"
        );
    }
}

#[test]
fn bytea_in_both_forms() {
    for (form, bytes) in [
        ("\\x", &b""[..]),
        ("\\xDEad be EF", &[0xde, 0xad, 0xbe, 0xef]),
        ("abc", b"abc"),
        ("a\\\\b\\000", b"a\\b\0"),
    ] {
        assert_eq!(
            text(KeyType::Bytea, form),
            Ok(KeyValue::Bytea(Cow::Borrowed(bytes))),
            "{form:?}"
        );
    }
    for bad in ["\\xd", "\\xd d", "\\xzz", "\\", "\\400", "\\9"] {
        assert_eq!(
            text(KeyType::Bytea, bad),
            Err(KeyError::Malformed(KeyType::Bytea)),
            "{bad:?}"
        );
    }
    assert_eq!(
        text(KeyType::Bytea, "a\\001").unwrap().canonical_text(),
        "\\x6101"
    );
}

#[test]
fn dates_and_times_only_in_iso() {
    assert_eq!(
        text(KeyType::Date, "2024-02-29").unwrap().to_string(),
        "2024-02-29"
    );
    assert_eq!(
        text(KeyType::Date, "02/29/2024"),
        Err(KeyError::Unsure(KeyType::Date))
    );
    assert_eq!(
        text(KeyType::TimestampTz, "2024-02-29 12:00:00.120+05:30")
            .unwrap()
            .to_string(),
        "2024-02-29 06:30:00.12+00"
    );
    assert_eq!(
        text(KeyType::TimestampTz, "2024-02-29 12:00:00"),
        Err(KeyError::Unsure(KeyType::TimestampTz))
    );
    assert_eq!(
        KeyValue::from_binary(KeyType::TimestampTz, &i64::MIN.to_be_bytes())
            .unwrap()
            .to_string(),
        "-infinity"
    );
    assert_eq!(
        KeyValue::from_binary(KeyType::Date, &(i32::MAX - 1).to_be_bytes()),
        Err(KeyError::OutOfRange(KeyType::Date))
    );
}

#[test]
fn text_is_utf8_without_nul() {
    assert_eq!(text(KeyType::Text, "größe"), Ok(KeyValue::Text("größe".into())));
    for bad in [&b"\xff"[..], b"a\0"] {
        assert_eq!(
            KeyValue::from_text(KeyType::Text, bad),
            Err(KeyError::Malformed(KeyType::Text))
        );
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        for key_type in TYPES {
            let _ = KeyValue::from_text(key_type, &bytes);
            let _ = KeyValue::from_binary(key_type, &bytes);
        }
    }

    #[test]
    fn canonical_text_reads_back(bytes in prop::collection::vec(any::<u8>(), 0..32)) {
        for key_type in TYPES {
            if let Ok(value) = KeyValue::from_binary(key_type, &bytes) {
                let canonical = value.canonical_text().into_owned();
                prop_assert_eq!(KeyValue::from_text(key_type, canonical.as_bytes()), Ok(value.clone()));
            }
        }
    }

    #[test]
    fn integers_read_alike_in_both_formats(number in any::<i64>()) {
        let printed = number.to_string();
        let from_text = KeyValue::from_text(KeyType::Int8, printed.as_bytes());
        let bytes = number.to_be_bytes();
        prop_assert_eq!(&from_text, &KeyValue::from_binary(KeyType::Int8, &bytes));
        prop_assert_eq!(from_text, Ok(KeyValue::Int(number)));
    }
}
