//! Times and sizes as the configuration writes them.

use std::time::Duration;

const NANOS_PER_MS: u128 = 1_000_000;
/// Units of time, smallest first, in milliseconds.
const TIME_UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1000),
    ("m", 60 * 1000),
    ("h", 3600 * 1000),
    ("d", 24 * 3600 * 1000),
];
/// Units of size, smallest first, in bytes.
const SIZE_UNITS: [(&str, u64); 5] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Text such as `500ms`, `2s`, `5m`, `1h`, `1d`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    scaled(text, &TIME_UNITS).map(Duration::from_millis)
}

/// Text such as `64KiB`; a bare number is bytes.
pub fn parse_size(text: &str) -> Option<u64> {
    match text.parse() {
        Ok(bytes) if !text.starts_with('+') => Some(bytes),
        _ => scaled(text, &SIZE_UNITS),
    }
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let factor = units
        .iter()
        .find(|(name, _)| *name == unit.trim_start())
        .map(|(_, factor)| *factor)?;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// `span` in the largest unit that divides it, to the millisecond.
pub(crate) fn format_duration(span: Duration) -> String {
    format_scaled(
        u64::try_from(span.as_nanos() / NANOS_PER_MS).unwrap_or(u64::MAX),
        &TIME_UNITS,
    )
}

/// `bytes` in the largest unit that divides it.
pub(crate) fn format_size(bytes: u64) -> String {
    match format_scaled(bytes, &SIZE_UNITS) {
        text if text.ends_with("iB") => text,
        _ => bytes.to_string(),
    }
}

fn format_scaled(number: u64, units: &[(&str, u64)]) -> String {
    let fitting = units
        .iter()
        .rev()
        .find(|(_, factor)| number != 0 && number.is_multiple_of(*factor));
    let (name, factor) = fitting.or(units.first()).copied().unwrap_or(("", 1));
    format!("{}{name}", number / factor)
}

#[cfg(test)]
mod tests {
    use super::{format_duration, format_size, parse_duration, parse_size};
    use proptest::prelude::*;
    use std::time::Duration;

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(ms in any::<u32>(), bytes in any::<u64>()) {
            let span = Duration::from_millis(u64::from(ms));
            prop_assert_eq!(parse_duration(&format_duration(span)), Some(span));
            prop_assert_eq!(parse_size(&format_size(bytes)), Some(bytes));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,12}") {
            let _ = (parse_duration(&text), parse_size(&text));
        }
    }

    #[test]
    fn times_need_a_unit() {
        assert_eq!(parse_duration("2s"), Some(Duration::from_secs(2)));
        assert_eq!(parse_duration("500 ms"), Some(Duration::from_millis(500)));
        for text in [
            "",
            "2",
            "s",
            "-1s",
            "1.5s",
            "2S",
            "2 s s",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_binary() {
        assert_eq!(parse_size("64KiB"), Some(65536));
        assert_eq!(parse_size("7"), Some(7));
        for text in ["", "64KB", "k", "-1", "+1", "1.5MiB", "99999999TiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
        assert_eq!(format_size(1000), "1000");
        assert_eq!(format_size(0), "0");
    }
}
