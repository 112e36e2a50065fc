//! One row in the text format of COPY.

use std::fmt::{Display, Write};

/// Appends columns to a buffer: separated by tabs, ended by a newline, escaped as COPY wants it.
pub(super) struct Row<'a> {
    buffer: &'a mut String,
    started: bool,
}

impl<'a> Row<'a> {
    pub(super) fn new(buffer: &'a mut String) -> Self {
        Self {
            buffer,
            started: false,
        }
    }

    fn separate(&mut self) {
        if self.started {
            self.buffer.push('\t');
        }
        self.started = true;
    }

    /// A value whose text holds nothing to escape: numbers, dates, identifiers.
    pub(super) fn plain(mut self, value: impl Display) -> Self {
        self.separate();
        // Writing to a String can't fail.
        let _ = write!(self.buffer, "{value}");
        self
    }

    /// Any text.
    pub(super) fn text(mut self, value: &str) -> Self {
        self.separate();
        for c in value.chars() {
            match c {
                '\\' => self.buffer.push_str("\\\\"),
                '\t' => self.buffer.push_str("\\t"),
                '\n' => self.buffer.push_str("\\n"),
                '\r' => self.buffer.push_str("\\r"),
                other => self.buffer.push(other),
            }
        }
        self
    }

    /// A plain value or NULL.
    pub(super) fn maybe(self, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.plain(value),
            None => self.plain("\\N"),
        }
    }

    /// `t` or `f`.
    pub(super) fn flag(self, value: bool) -> Self {
        self.plain(if value { 't' } else { 'f' })
    }

    pub(super) fn end(self) {
        self.buffer.push('\n');
    }
}

/// An amount of money in cents, shown with two decimals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cents(pub(super) u64);

impl Display for Cents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

/// A moment in seconds since 1970, UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Moment(pub(super) u64);

impl Moment {
    pub(super) fn date(self) -> Date {
        Date(self.0 / 86_400)
    }

    pub(super) fn plus(self, seconds: u64) -> Self {
        Self(self.0 + seconds)
    }
}

impl Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let second = self.0 % 86_400;
        write!(
            f,
            "{} {:02}:{:02}:{:02}+00",
            self.date(),
            second / 3600,
            second / 60 % 60,
            second % 60
        )
    }
}

/// A day, as the number of days since 1970-01-01.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Date(pub(super) u64);

impl Display for Date {
    /// Howard Hinnant: "chrono-compatible low-level date algorithms", `civil_from_days`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shifted = self.0 + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        // Months are counted from March, so that the leap day is a year's last.
        let from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 {
            from_march + 3
        } else {
            from_march - 9
        };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_escaped() {
        let mut buffer = String::new();
        Row::new(&mut buffer)
            .plain(1)
            .text("a\tb\\c\nd")
            .maybe(None::<u8>)
            .flag(true)
            .plain(Cents(105))
            .end();
        assert_eq!(buffer, "1\ta\\tb\\\\c\\nd\t\\N\tt\t1.05\n");
    }

    #[test]
    fn days_become_dates() {
        for (days, date) in [
            (0, "1970-01-01"),
            (11_016, "2000-02-29"),
            (19_782, "2024-02-29"),
            (20_454, "2026-01-01"),
        ] {
            assert_eq!(Date(days).to_string(), date);
        }
        assert_eq!(Moment(86_399).to_string(), "1970-01-01 23:59:59+00");
    }
}
