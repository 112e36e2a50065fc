//! How long a caller waits, as it travels between services. Reading and writing the header is pure.
//!
//! The header says how much time is *left*, never a time of day: clocks of two machines differ. Its format is that of gRPC's
//! `grpc-timeout`: up to eight digits and a unit (`H`, `M`, `S`, `m`, `u`, `n`).

use crate::error::{Error, Result};
use std::time::{Duration, Instant};

/// The name of the header and of the metadata that carry it.
pub const TIMEOUT_HEADER: &str = "ringway-timeout";

/// gRPC's own name for it, which is honoured too.
pub const GRPC_TIMEOUT_HEADER: &str = "grpc-timeout";

/// The most digits that the header may have.
const MAX_DIGITS: usize = 8;

/// Reads a header's value.
///
/// # Errors
/// The caller's fault: not one to eight digits and a unit.
pub fn parse_timeout(text: &str) -> Result<Duration> {
    let malformed = || Error::caller("the timeout's header is malformed");
    let unit = text.len().checked_sub(1).ok_or_else(malformed)?;
    let (digits, unit) = text.split_at_checked(unit).ok_or_else(malformed)?;
    let plain =
        !digits.is_empty() && digits.len() <= MAX_DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    let number: u64 = digits.parse().map_err(|_| malformed())?;
    let timeout = match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return Err(malformed()),
    };
    if plain { Ok(timeout) } else { Err(malformed()) }
}

/// The header's value: whole milliseconds, rounded down, so that whom we call gives up before we do.
pub fn format_timeout(left: Duration) -> String {
    const MAX_MS: u128 = 99_999_999;
    match left.as_millis() {
        ms @ 0..=MAX_MS => format!("{ms}m"),
        _ => format!("{}S", left.as_secs().min(99_999_999)),
    }
}

/// When a caller stops waiting; none: never.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// Never.
    pub const NONE: Self = Self(None);

    /// From now on in `timeout`.
    pub fn after(timeout: Duration) -> Self {
        Self(Instant::now().checked_add(timeout))
    }

    /// The earlier of both.
    #[must_use]
    pub fn earlier(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(a), Some(b)) => Self(Some(a.min(b))),
            (a, b) => Self(a.or(b)),
        }
    }

    /// When it is.
    pub fn instant(self) -> Option<Instant> {
        self.0
    }

    /// What is left; nothing if it has passed.
    pub fn left(self) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(Instant::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units() {
        for (text, expected) in [
            ("5S", Duration::from_secs(5)),
            ("250m", Duration::from_millis(250)),
            ("2M", Duration::from_secs(120)),
            ("99999999H", Duration::from_secs(99_999_999 * 3_600)),
        ] {
            assert_eq!(parse_timeout(text).unwrap(), expected);
        }
        for text in [
            "",
            "m",
            "123",
            "-1m",
            "1.5S",
            "123456789m",
            "1x",
            "1 m",
            "+1m",
            "١m",
        ] {
            assert!(parse_timeout(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_timeout_never_grows_on_its_way(left_ms in 0..10_000_000_000_u64) {
            let left = Duration::from_millis(left_ms);
            let read = parse_timeout(&format_timeout(left)).unwrap();
            prop_assert!(read <= left && left.saturating_sub(read) < Duration::from_secs(1));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,12}") {
            let _ = parse_timeout(&text);
        }
    }
}
