//! Dates and timestamps in the ISO style of `DateStyle`: the only one that reads the same under every setting.
//!
//! A four-digit year in front is read as year, month, day whatever `DateStyle` and `TimeZone` say, so both what a
//! server prints under `DateStyle = ISO` and what a client sends in that form can be taken without knowing the
//! session. Everything else is [`IsoError::NotIso`], never guessed.

use std::fmt;

/// `date 'infinity'`, in days.
pub const DATE_INFINITY: i32 = i32::MAX;
/// `date '-infinity'`, in days.
pub const DATE_MINUS_INFINITY: i32 = i32::MIN;
/// `timestamp 'infinity'`, in microseconds.
pub const TIMESTAMP_INFINITY: i64 = i64::MAX;
/// `timestamp '-infinity'`, in microseconds.
pub const TIMESTAMP_MINUS_INFINITY: i64 = i64::MIN;

/// First day that PostgreSQL holds (4714-11-24 BC), in days since 2000-01-01 (`DATETIME_MIN_JULIAN`).
const FIRST_DAY: i64 = -2_451_545;
/// First day after those of `date` (`DATE_END_JULIAN`).
const DATE_END: i64 = 2_145_031_949;
/// First microsecond of `timestamp` (`MIN_TIMESTAMP`).
const FIRST_MICROSECOND: i64 = -211_813_488_000_000_000;
/// First microsecond after those of `timestamp` (`END_TIMESTAMP`).
const TIMESTAMP_END: i64 = 9_223_371_331_200_000_000;

/// Days from 0000-03-01 to 2000-01-01 in the proleptic Gregorian calendar.
const EPOCH_DAYS: i64 = 730_425;
const DAYS_PER_ERA: i64 = 146_097;
const SECONDS_PER_DAY: i64 = 86_400;
const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = SECONDS_PER_DAY * MICROS_PER_SECOND;
/// No year that PostgreSQL holds has more digits (5874897).
const MAX_YEAR_DIGITS: usize = 7;
/// PostgreSQL's bound on the hours of a zone offset (`MAX_TZDISP_HOUR`).
const MAX_ZONE_HOUR: i64 = 15;

/// Why a text is not taken as a date or timestamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IsoError {
    /// Not in the ISO form: PostgreSQL may or may not read it, and as what depends on the session.
    #[error("not a date or time in the ISO style")]
    NotIso,
    /// In the ISO form, but no such day or time, or one that PostgreSQL does not hold.
    #[error("date or time out of range")]
    OutOfRange,
}

/// Days since 2000-01-01 of an ISO date: `2024-02-29`, `0044-03-15 BC`, `infinity`, `-infinity`.
///
/// # Errors
/// [`IsoError`] when it is in another form or out of range.
pub fn parse_date(text: &[u8]) -> Result<i32, IsoError> {
    match text {
        b"infinity" => return Ok(DATE_INFINITY),
        b"-infinity" => return Ok(DATE_MINUS_INFINITY),
        _ => {}
    }
    let (text, era) = strip_era(text);
    let mut scanner = Scanner(text);
    let days = scanner.date(era)?;
    scanner.end()?;
    if !(FIRST_DAY..DATE_END).contains(&days) {
        return Err(IsoError::OutOfRange);
    }
    i32::try_from(days).map_err(|_| IsoError::OutOfRange)
}

/// Microseconds since 2000-01-01 of an ISO timestamp without time zone: `2024-02-29 12:00:00.5`.
///
/// # Errors
/// [`IsoError`] when it is in another form (one with a zone too) or out of range.
pub fn parse_timestamp(text: &[u8]) -> Result<i64, IsoError> {
    parse_instant(text, |_| Ok(0))
}

/// Microseconds since 2000-01-01 00:00 UTC of an ISO timestamp with its zone: `2024-02-29 12:00:00.5+05:30`.
///
/// # Errors
/// [`IsoError`] when it is in another form (one without a zone too: it depends on `TimeZone`) or out of range.
pub fn parse_timestamptz(text: &[u8]) -> Result<i64, IsoError> {
    parse_instant(text, |scanner| scanner.zone())
}

/// Whether PostgreSQL holds this `date`, given in days since 2000-01-01.
pub fn is_valid_date(days: i32) -> bool {
    matches!(days, DATE_INFINITY | DATE_MINUS_INFINITY) || (FIRST_DAY..DATE_END).contains(&i64::from(days))
}

/// Whether PostgreSQL holds this `timestamp`, given in microseconds since 2000-01-01.
pub fn is_valid_timestamp(micros: i64) -> bool {
    matches!(micros, TIMESTAMP_INFINITY | TIMESTAMP_MINUS_INFINITY)
        || (FIRST_MICROSECOND..TIMESTAMP_END).contains(&micros)
}

/// Writes a `date` as PostgreSQL prints it under `DateStyle = ISO`.
///
/// # Errors
/// Those of `out`.
pub fn write_date(out: &mut dyn fmt::Write, days: i32) -> fmt::Result {
    match days {
        DATE_INFINITY => out.write_str("infinity"),
        DATE_MINUS_INFINITY => out.write_str("-infinity"),
        _ => {
            let bc = write_day(out, i64::from(days))?;
            out.write_str(bc)
        }
    }
}

/// Writes a `timestamptz` as PostgreSQL prints it under `DateStyle = ISO` and `TimeZone = UTC`.
///
/// # Errors
/// Those of `out`.
pub fn write_timestamptz_utc(out: &mut dyn fmt::Write, micros: i64) -> fmt::Result {
    match micros {
        TIMESTAMP_INFINITY => return out.write_str("infinity"),
        TIMESTAMP_MINUS_INFINITY => return out.write_str("-infinity"),
        _ => {}
    }
    let bc = write_day(out, micros.div_euclid(MICROS_PER_DAY))?;
    let of_day = micros.rem_euclid(MICROS_PER_DAY);
    let (seconds, mut fraction) = (of_day / MICROS_PER_SECOND, of_day % MICROS_PER_SECOND);
    write!(
        out,
        " {:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )?;
    if fraction != 0 {
        let mut digits = 6;
        while fraction % 10 == 0 {
            fraction /= 10;
            digits -= 1;
        }
        write!(out, ".{fraction:0digits$}")?;
    }
    write!(out, "+00{bc}")
}

fn parse_instant(text: &[u8], zone: fn(&mut Scanner<'_>) -> Result<i64, IsoError>) -> Result<i64, IsoError> {
    match text {
        b"infinity" => return Ok(TIMESTAMP_INFINITY),
        b"-infinity" => return Ok(TIMESTAMP_MINUS_INFINITY),
        _ => {}
    }
    let (text, era) = strip_era(text);
    let mut scanner = Scanner(text);
    let days = scanner.date(era)?;
    if !scanner.skip(b' ') && !scanner.skip(b'T') {
        return Err(IsoError::NotIso);
    }
    let time = scanner.time()?;
    let offset_seconds = zone(&mut scanner)?;
    scanner.end()?;
    // Seven digits of year are some 2^31 days: the sum stays inside i128 and is checked on the way out.
    let micros = i128::from(days) * i128::from(MICROS_PER_DAY) + i128::from(time)
        - i128::from(offset_seconds) * i128::from(MICROS_PER_SECOND);
    match i64::try_from(micros) {
        Ok(micros) if (FIRST_MICROSECOND..TIMESTAMP_END).contains(&micros) => Ok(micros),
        _ => Err(IsoError::OutOfRange),
    }
}

#[derive(Clone, Copy)]
enum Era {
    Common,
    BeforeChrist,
}

fn strip_era(text: &[u8]) -> (&[u8], Era) {
    match text.strip_suffix(b" BC") {
        Some(rest) => (rest, Era::BeforeChrist),
        None => (text, Era::Common),
    }
}

/// What is left of the text.
struct Scanner<'a>(&'a [u8]);

impl Scanner<'_> {
    fn date(&mut self, era: Era) -> Result<i64, IsoError> {
        let year = self.number(4, MAX_YEAR_DIGITS)?;
        self.expect(b'-')?;
        let month = self.number(2, 2)?;
        self.expect(b'-')?;
        let day = self.number(2, 2)?;
        if year == 0 {
            return Err(IsoError::OutOfRange);
        }
        let astronomical = match era {
            Era::Common => year,
            Era::BeforeChrist => 1 - year,
        };
        days_from_civil(astronomical, month, day).ok_or(IsoError::OutOfRange)
    }

    /// Microseconds since midnight. 24:00:00 and second 60 are PostgreSQL's to round: not taken.
    fn time(&mut self) -> Result<i64, IsoError> {
        let hour = self.number(2, 2)?;
        self.expect(b':')?;
        let minute = self.number(2, 2)?;
        self.expect(b':')?;
        let second = self.number(2, 2)?;
        if hour > 23 || minute > 59 || second > 59 {
            return Err(IsoError::NotIso);
        }
        let mut micros = 0;
        if self.skip(b'.') {
            let before = self.0.len();
            micros = self.number(1, 6)?;
            for _ in before - self.0.len()..6 {
                micros *= 10;
            }
        }
        Ok(((hour * 60 + minute) * 60 + second) * MICROS_PER_SECOND + micros)
    }

    /// Seconds east of UTC: `Z`, `+05`, `-03:30`, `+00:19:32`.
    fn zone(&mut self) -> Result<i64, IsoError> {
        if self.skip(b'Z') {
            return Ok(0);
        }
        let sign = match (self.skip(b'+'), self.skip(b'-')) {
            (true, false) => 1,
            (false, true) => -1,
            _ => return Err(IsoError::NotIso),
        };
        let hour = self.number(2, 2)?;
        let minute = if self.skip(b':') { self.number(2, 2)? } else { 0 };
        let second = if self.skip(b':') { self.number(2, 2)? } else { 0 };
        if hour > MAX_ZONE_HOUR || minute > 59 || second > 59 {
            return Err(IsoError::NotIso);
        }
        Ok(sign * ((hour * 60 + minute) * 60 + second))
    }

    /// All digits here, if there are `min` to `max` of them.
    fn number(&mut self, min: usize, max: usize) -> Result<i64, IsoError> {
        let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits < min || digits > max {
            return Err(IsoError::NotIso);
        }
        let (number, rest) = self.0.split_at(digits);
        self.0 = rest;
        Ok(number
            .iter()
            .fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
    }

    fn skip(&mut self, byte: u8) -> bool {
        match self.0.split_first() {
            Some((first, rest)) if *first == byte => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), IsoError> {
        if self.skip(byte) {
            Ok(())
        } else {
            Err(IsoError::NotIso)
        }
    }

    fn end(&self) -> Result<(), IsoError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(IsoError::NotIso)
        }
    }
}

/// Days since 2000-01-01 of a day of the proleptic Gregorian calendar, years counted with a year 0.
///
/// Counted in eras of 400 years from 0000-03-01, so that the leap day is the last of a year
/// (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * DAYS_PER_ERA + day_of_era - EPOCH_DAYS)
}

/// The inverse of [`days_from_civil`]: year, month, day.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_DAYS;
    let era = days.div_euclid(DAYS_PER_ERA);
    let day_of_era = days.rem_euclid(DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Writes the day and gives the era's suffix, which comes after the time.
fn write_day(out: &mut dyn fmt::Write, days: i64) -> Result<&'static str, fmt::Error> {
    let (year, month, day) = civil_from_days(days);
    let (year, suffix) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    write!(out, "{year:04}-{month:02}-{day:02}")?;
    Ok(suffix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn date_text(days: i32) -> String {
        let mut out = String::new();
        write_date(&mut out, days).unwrap();
        out
    }

    fn timestamptz_text(micros: i64) -> String {
        let mut out = String::new();
        write_timestamptz_utc(&mut out, micros).unwrap();
        out
    }

    #[test]
    fn the_epoch_is_the_first_day_of_2000() {
        assert_eq!(parse_date(b"2000-01-01"), Ok(0));
        assert_eq!(parse_date(b"1999-12-31"), Ok(-1));
        assert_eq!(parse_date(b"2000-02-29"), Ok(59));
        assert_eq!(parse_timestamptz(b"2000-01-01 00:00:00+00"), Ok(0));
        assert_eq!(parse_timestamptz(b"2000-01-01T05:30:00.5+05:30"), Ok(500_000));
        assert_eq!(parse_timestamptz(b"1999-12-31 20:29:59.999999-03:30"), Ok(-1));
    }

    #[test]
    fn the_ends_of_the_ranges() {
        assert_eq!(parse_date(b"4714-11-24 BC"), Ok(-2_451_545));
        assert_eq!(parse_date(b"4714-11-23 BC"), Err(IsoError::OutOfRange));
        assert_eq!(parse_date(b"5874897-12-31"), Ok(2_145_031_948));
        assert_eq!(parse_date(b"5874898-01-01"), Err(IsoError::OutOfRange));
        assert_eq!(parse_timestamp(b"4714-11-24 00:00:00 BC"), Ok(FIRST_MICROSECOND));
        assert_eq!(
            parse_timestamp(b"294276-12-31 23:59:59.999999"),
            Ok(TIMESTAMP_END - 1)
        );
        assert_eq!(
            parse_timestamp(b"294277-01-01 00:00:00"),
            Err(IsoError::OutOfRange)
        );
    }

    #[test]
    fn what_depends_on_the_session_is_not_taken() {
        for text in [
            "",
            "today",
            "now",
            "epoch",
            "01/02/2024",
            "02.01.2024",
            "2024-1-2",
            "24-01-02",
            "20240102",
        ] {
            assert_eq!(parse_date(text.as_bytes()), Err(IsoError::NotIso), "{text}");
        }
        for text in [
            "2024-01-02",
            "2024-01-02 03:04:05",
            "2024-01-02 03:04:05 CET",
            "2024-01-02 24:00:00+00",
        ] {
            assert_eq!(
                parse_timestamptz(text.as_bytes()),
                Err(IsoError::NotIso),
                "{text}"
            );
        }
        assert_eq!(parse_timestamp(b"2024-01-02 03:04:05+00"), Err(IsoError::NotIso));
        assert_eq!(parse_date(b"2023-02-29"), Err(IsoError::OutOfRange));
    }

    proptest! {
        #[test]
        fn dates_come_back(days in -2_451_545_i32..2_145_031_949) {
            prop_assert_eq!(parse_date(date_text(days).as_bytes()), Ok(days));
        }

        #[test]
        fn timestamps_come_back(micros in FIRST_MICROSECOND..TIMESTAMP_END) {
            prop_assert_eq!(parse_timestamptz(timestamptz_text(micros).as_bytes()), Ok(micros));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse_date(&bytes);
            let _ = parse_timestamp(&bytes);
            let _ = parse_timestamptz(&bytes);
        }

        #[test]
        fn almost_timestamps_are_read_or_refused(text in "[0-9]{3,8}-[0-9]{2}-[0-9]{2}[ T][0-9:.]{5,16}([+-][0-9:]{1,8})?( BC)?") {
            let _ = parse_date(text.as_bytes());
            let _ = parse_timestamp(text.as_bytes());
            let _ = parse_timestamptz(text.as_bytes());
        }
    }
}
