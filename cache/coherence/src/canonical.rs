//! The one text of a value, as logical decoding prints it.
//!
//! A reader's value is a literal or a parameter, written in any of the ways that PostgreSQL accepts. It becomes a tag only
//! in the form that the publisher will find in the log; where that form isn't certain there is none, and the answer isn't kept.

use smallvec::SmallVec;
use std::fmt::{self, Write};
use std::ops::Deref;
use topology::KeyType;

/// The settings of the connection that reads the log: under them alone its text is canonical.
pub const WAL_SETTINGS: [(&str, &str); 4] = [
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO"),
    ("TimeZone", "UTC"),
    ("bytea_output", "hex"),
];

const DAYS_1970_TO_2000: i64 = 10_957;
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// A value in canonical text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Canonical<'a> {
    /// The given bytes are it.
    Given(&'a [u8]),
    /// It was printed anew.
    Printed(SmallVec<[u8; 36]>),
}

impl Deref for Canonical<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Canonical::Given(bytes) => bytes,
            Canonical::Printed(bytes) => bytes,
        }
    }
}

/// The canonical text of a value given as a literal or as a parameter in text format, in UTF-8. `None` if that isn't certain.
pub fn canonical_text(key_type: KeyType, text: &[u8]) -> Option<Canonical<'_>> {
    match key_type {
        KeyType::Int2 => i16::try_from(integer(text)?)
            .ok()
            .map(|n| print(format_args!("{n}"))),
        KeyType::Int4 => i32::try_from(integer(text)?)
            .ok()
            .map(|n| print(format_args!("{n}"))),
        KeyType::Int8 => integer(text).map(|n| print(format_args!("{n}"))),
        KeyType::Text => Some(Canonical::Given(text)),
        KeyType::Uuid => uuid_text(text),
        KeyType::Bytea => bytea_text(text),
        KeyType::Date => canonical_date(text).then_some(Canonical::Given(text)),
        KeyType::TimestampTz => canonical_timestamp(text).then_some(Canonical::Given(text)),
    }
}

/// The canonical text of a parameter in binary format. `None` if it is no value of the type, or its text isn't certain.
pub fn canonical_binary(key_type: KeyType, bytes: &[u8]) -> Option<Canonical<'_>> {
    match key_type {
        KeyType::Int2 => Some(print(format_args!(
            "{}",
            i16::from_be_bytes(bytes.try_into().ok()?)
        ))),
        KeyType::Int4 => Some(print(format_args!(
            "{}",
            i32::from_be_bytes(bytes.try_into().ok()?)
        ))),
        KeyType::Int8 => Some(print(format_args!(
            "{}",
            i64::from_be_bytes(bytes.try_into().ok()?)
        ))),
        KeyType::Text => Some(Canonical::Given(bytes)),
        KeyType::Uuid => (bytes.len() == 16).then(|| print_uuid(bytes)),
        KeyType::Bytea => Some(print_bytea(bytes)),
        KeyType::Date => {
            let (year, month, day) = civil(i64::from(i32::from_be_bytes(bytes.try_into().ok()?)))?;
            Some(print(format_args!("{year:04}-{month:02}-{day:02}")))
        }
        KeyType::TimestampTz => timestamp(i64::from_be_bytes(bytes.try_into().ok()?)),
    }
}

struct Printer(SmallVec<[u8; 36]>);

impl Write for Printer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

fn print(text: fmt::Arguments<'_>) -> Canonical<'static> {
    let mut out = Printer(SmallVec::new());
    // Appending to a vector can't fail.
    let _ = out.write_fmt(text);
    Canonical::Printed(out.0)
}

/// Digits with at most one sign. What else PostgreSQL takes for an integer (blanks; hexadecimal and `_` since 16) is left uncertain.
fn integer(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// 32 hexadecimal digits of any case, with the four usual hyphens or none.
fn uuid_text(text: &[u8]) -> Option<Canonical<'_>> {
    let hyphens = text.len() == 36 && [8, 13, 18, 23].iter().all(|at| text.get(*at) == Some(&b'-'));
    let digits: SmallVec<[u8; 32]> = text.iter().copied().filter(|byte| *byte != b'-').collect();
    if digits.len() != 32 || !(hyphens || text.len() == 32) {
        return None;
    }
    Some(print_uuid(&unhex(&digits)?))
}

fn print_uuid(bytes: &[u8]) -> Canonical<'static> {
    let mut out = SmallVec::new();
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.extend_from_slice(&hex(*byte));
    }
    Canonical::Printed(out)
}

/// The hexadecimal form alone: in the other one a byte has several texts.
fn bytea_text(text: &[u8]) -> Option<Canonical<'_>> {
    Some(print_bytea(&unhex(text.strip_prefix(b"\\x")?)?))
}

fn print_bytea(bytes: &[u8]) -> Canonical<'static> {
    let mut out = SmallVec::from_slice(b"\\x");
    bytes.iter().for_each(|byte| out.extend_from_slice(&hex(*byte)));
    Canonical::Printed(out)
}

fn hex(byte: u8) -> [u8; 2] {
    let digit = |nibble: u8| {
        if nibble < 10 {
            b'0' + nibble
        } else {
            b'a' + nibble - 10
        }
    };
    [digit(byte >> 4), digit(byte & 15)]
}

fn unhex(digits: &[u8]) -> Option<SmallVec<[u8; 32]>> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let (pairs, []) = digits.as_chunks::<2>() else {
        return None;
    };
    pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect()
}

/// `YYYY-MM-DD` of a day that exists.
fn canonical_date(text: &[u8]) -> bool {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else {
        return false;
    };
    let number = |digits: &[u8]| {
        let plain = digits.iter().all(u8::is_ascii_digit);
        plain.then(|| {
            digits
                .iter()
                .fold(0i64, |sum, digit| sum * 10 + i64::from(digit - b'0'))
        })
    };
    let (Some(year), Some(month), Some(day)) = (
        number(&[*y1, *y2, *y3, *y4]),
        number(&[*m1, *m2]),
        number(&[*d1, *d2]),
    ) else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => 0,
    };
    year >= 1 && (1..=length).contains(&day)
}

/// `YYYY-MM-DD HH:MM:SS[.ffffff]+00`, the fraction without trailing zeros: what the log prints, and nothing else.
fn canonical_timestamp(text: &[u8]) -> bool {
    let Some((
        date,
        [
            b' ',
            h1,
            h2,
            b':',
            m1,
            m2,
            b':',
            s1,
            s2,
            fraction @ ..,
            b'+',
            b'0',
            b'0',
        ],
    )) = text.split_at_checked(10)
    else {
        return false;
    };
    let below = |tens: u8, ones: u8, bound: u8| {
        tens.is_ascii_digit() && ones.is_ascii_digit() && (tens - b'0') * 10 + (ones - b'0') < bound
    };
    let fraction_ok = match fraction {
        [] => true,
        [b'.', digits @ ..] => {
            (1..=6).contains(&digits.len())
                && digits.iter().all(u8::is_ascii_digit)
                && digits.last() != Some(&b'0')
        }
        _ => false,
    };
    canonical_date(date) && below(*h1, *h2, 24) && below(*m1, *m2, 60) && below(*s1, *s2, 60) && fraction_ok
}

fn timestamp(micros_since_2000: i64) -> Option<Canonical<'static>> {
    let (days, micros) = (
        micros_since_2000.div_euclid(MICROS_PER_DAY),
        micros_since_2000.rem_euclid(MICROS_PER_DAY),
    );
    let (year, month, day) = civil(days)?;
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let time = format_args!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
    if fraction == 0 {
        return Some(print(format_args!("{time}+00")));
    }
    let (mut digits, mut width) = (fraction, 6);
    while digits % 10 == 0 {
        digits /= 10;
        width -= 1;
    }
    Some(print(format_args!("{time}.{digits:0width$}+00")))
}

/// Year, month and day of a number of days since 2000-01-01, in the proleptic Gregorian calendar; only the years 1 to 9999.
/// The formula counts in eras of 400 years from 0000-03-01, so that a leap day ends its year.
fn civil(days_since_2000: i64) -> Option<(i64, i64, i64)> {
    let days = days_since_2000 + DAYS_1970_TO_2000 + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let (day, month) = (
        day_of_year - (153 * shifted + 2) / 5 + 1,
        if shifted < 10 { shifted + 3 } else { shifted - 9 },
    );
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (1..=9_999).contains(&year).then_some((year, month, day))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(key_type: KeyType, value: &str) -> Option<String> {
        canonical_text(key_type, value.as_bytes()).map(|value| String::from_utf8(value.to_vec()).unwrap())
    }

    fn binary(key_type: KeyType, value: &[u8]) -> Option<String> {
        canonical_binary(key_type, value).map(|value| String::from_utf8(value.to_vec()).unwrap())
    }

    #[test]
    fn integers() {
        assert_eq!(text(KeyType::Int4, "042"), Some("42".into()));
        assert_eq!(text(KeyType::Int8, "+7"), Some("7".into()));
        assert_eq!(text(KeyType::Int8, "-0"), Some("0".into()));
        for bad in ["", " 1", "1.0", "1_0", "0x1", "2147483648"] {
            assert_eq!(text(KeyType::Int4, bad), None, "{bad}");
        }
        assert_eq!(text(KeyType::Int2, "32768"), None);
        assert_eq!(binary(KeyType::Int4, &(-5i32).to_be_bytes()), Some("-5".into()));
        assert_eq!(binary(KeyType::Int4, &[0; 8]), None);
    }

    #[test]
    fn uuid_and_bytea() {
        let canonical = Some("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11".to_owned());
        assert_eq!(
            text(KeyType::Uuid, "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"),
            canonical
        );
        assert_eq!(text(KeyType::Uuid, "a0eebc999c0b4ef8bb6d6bb9bd380a11"), canonical);
        assert_eq!(
            binary(
                KeyType::Uuid,
                &0xa0ee_bc99_9c0b_4ef8_bb6d_6bb9_bd38_0a11_u128.to_be_bytes()
            ),
            canonical
        );
        for bad in [
            "",
            "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
            "a0eebc99-9c0b4ef8-bb6d-6bb9bd380a11",
            "g0eebc999c0b4ef8bb6d6bb9bd380a11",
        ] {
            assert_eq!(text(KeyType::Uuid, bad), None, "{bad}");
        }
        assert_eq!(text(KeyType::Bytea, "\\xDEad"), Some("\\xdead".into()));
        assert_eq!(binary(KeyType::Bytea, &[0, 255]), Some("\\x00ff".into()));
        assert_eq!(
            (text(KeyType::Bytea, "abc"), text(KeyType::Bytea, "\\xabc")),
            (None, None)
        );
    }

    #[test]
    fn dates_and_times() {
        assert_eq!(
            binary(KeyType::Date, &0i32.to_be_bytes()),
            Some("2000-01-01".into())
        );
        assert_eq!(
            binary(KeyType::Date, &59i32.to_be_bytes()),
            Some("2000-02-29".into())
        );
        assert_eq!(
            binary(KeyType::Date, &(-730_119i32).to_be_bytes()),
            Some("0001-01-01".into())
        );
        assert_eq!(
            binary(KeyType::Date, &(-730_120i32).to_be_bytes()),
            None,
            "before our era"
        );
        assert_eq!(binary(KeyType::Date, &i32::MAX.to_be_bytes()), None, "infinity");
        for bad in [
            "2024-2-1",
            "2023-02-29",
            "1900-02-29",
            "2024-13-01",
            "2024-00-10",
            "01/02/2024",
            "0000-01-01",
            "infinity",
        ] {
            assert_eq!(text(KeyType::Date, bad), None, "{bad}");
        }
        assert_eq!(text(KeyType::Date, "2024-02-29"), Some("2024-02-29".into()));
        assert_eq!(
            binary(KeyType::TimestampTz, &1_500_000i64.to_be_bytes()),
            Some("2000-01-01 00:00:01.5+00".into())
        );
        assert_eq!(
            binary(KeyType::TimestampTz, &(-1i64).to_be_bytes()),
            Some("1999-12-31 23:59:59.999999+00".into())
        );
        assert_eq!(binary(KeyType::TimestampTz, &i64::MAX.to_be_bytes()), None);
        for bad in [
            "2024-01-01 00:00:00",
            "2024-01-01 24:00:00+00",
            "2024-01-01 00:00:00.50+00",
            "2024-01-01 00:00:00+01",
            "",
            "é024-01-01 00:00:00+00",
        ] {
            assert_eq!(text(KeyType::TimestampTz, bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_binary_prints_text_takes_unchanged(kind in 0..5usize, raw in any::<i64>(), bytes in any::<[u8; 16]>()) {
            let micros = raw.rem_euclid(200_000_000_000_000_000).to_be_bytes();
            let days = i32::try_from(raw.rem_euclid(2_000_000)).unwrap().to_be_bytes();
            let (key_type, value): (_, &[u8]) = match kind {
                0 => (KeyType::Int8, &raw.to_be_bytes()),
                1 => (KeyType::Uuid, &bytes),
                2 => (KeyType::Bytea, &bytes),
                3 => (KeyType::Date, &days),
                _ => (KeyType::TimestampTz, &micros),
            };
            let printed = canonical_binary(key_type, value).unwrap();
            let again = canonical_text(key_type, &printed);
            prop_assert_eq!(again.as_deref(), Some(&*printed));
        }

        #[test]
        fn no_bytes_panic(kind in 0..8usize, bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let all = [KeyType::Int2, KeyType::Int4, KeyType::Int8, KeyType::Text, KeyType::Uuid, KeyType::Bytea, KeyType::Date, KeyType::TimestampTz];
            let _ = (canonical_text(all[kind], &bytes), canonical_binary(all[kind], &bytes));
        }
    }
}
