//! What is sent, and what users see of it: pure.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use time::{OffsetDateTime, PrimitiveDateTime, Time};
use tokio_postgres::Row;
use utoipa::ToSchema;
use uuid::Uuid;

/// Bounds of a notification: a frame of it stays below 16 KiB.
const MAX_CATEGORY: usize = 60;
const MAX_TITLE: usize = 200;
const MAX_BODY: usize = 4_000;
const MAX_DATA: usize = 16;
const MAX_DATA_BYTES: usize = 4_000;

/// How urgent something is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Waits for quiet hours to end, and counts against the user's limit.
    Low,
    /// The same, but tried again sooner.
    Normal,
    /// At once.
    High,
    /// At once, by all channels, whatever the preferences.
    Critical,
}

impl Priority {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Low, Self::Normal, Self::High, Self::Critical];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// Its topic.
    pub fn topic(self) -> &'static str {
        match self {
            Self::Low => "notification-low",
            Self::Normal => "notification-normal",
            Self::High => "notification-high",
            Self::Critical => "notification-critical",
        }
    }

    /// Whether quiet hours and limits hold it back.
    pub(crate) fn is_patient(self) -> bool {
        self <= Self::Normal
    }

    pub(crate) fn code(self) -> i16 {
        match self {
            Self::Low => 0,
            Self::Normal => 1,
            Self::High => 2,
            Self::Critical => 3,
        }
    }

    /// The priority of a code that [`Priority::code`] gave.
    pub(crate) fn of_code(code: i16) -> Self {
        Self::ALL
            .into_iter()
            .find(|priority| priority.code() == code)
            .unwrap_or(Self::Normal)
    }
}

/// A way to a user, beside the app itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// To the address that the user service knows.
    Email,
    /// To the devices of the preferences.
    Push,
    /// To the number that the user service knows.
    Sms,
}

impl Channel {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Email, Self::Push, Self::Sms];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Push => "push",
            Self::Sms => "sms",
        }
    }

    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.name() == name)
    }
}

/// What somebody is to be told.
#[derive(Clone, PartialEq, Debug)]
pub struct Draft {
    /// How urgent it is.
    pub priority: Priority,
    /// What kind it is, in kebab case.
    pub category: String,
    /// The title.
    pub title: String,
    /// The text.
    pub body: String,
    /// For programs.
    pub data: BTreeMap<String, String>,
}

impl Draft {
    /// Whether it is within its bounds; else what isn't.
    pub(crate) fn check(&self) -> Result<(), String> {
        let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if self.category.is_empty() || self.category.len() > MAX_CATEGORY || !self.category.bytes().all(word)
        {
            return Err(format!(
                "category is 1 to {MAX_CATEGORY} characters in kebab case"
            ));
        }
        check_text(&self.title, &self.body)?;
        let bytes: usize = self.data.iter().map(|(key, value)| key.len() + value.len()).sum();
        let zero = |text: &String| text.contains('\0');
        if self.data.len() > MAX_DATA
            || bytes > MAX_DATA_BYTES
            || self.data.iter().any(|(k, v)| zero(k) || zero(v))
        {
            return Err(format!(
                "data has at most {MAX_DATA} entries of {MAX_DATA_BYTES} bytes together"
            ));
        }
        Ok(())
    }
}

/// Whether title and text are within their bounds; else what isn't.
pub(crate) fn check_text(title: &str, body: &str) -> Result<(), String> {
    if title.trim().is_empty() || title.chars().count() > MAX_TITLE || title.contains('\0') {
        return Err(format!("title has 1 to {MAX_TITLE} characters"));
    }
    if body.len() > MAX_BODY || body.contains('\0') {
        return Err(format!("body has at most {MAX_BODY} bytes"));
    }
    Ok(())
}

/// What a user was told.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Notification {
    /// Its id.
    pub notification_id: Uuid,
    /// Its place among the user's: 1, 2, 3 and so on.
    pub sequence: i64,
    /// How urgent it is.
    pub priority: Priority,
    /// What kind it is.
    pub category: String,
    /// The title.
    pub title: String,
    /// The text.
    pub body: String,
    /// For programs.
    pub data: BTreeMap<String, String>,
    /// When it was sent.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Whether one of the user's programs has it.
    pub acknowledged: bool,
    /// Whether the user has read it.
    pub read: bool,
}

/// The columns of a [`Notification`].
macro_rules! columns {
    () => {
        "notification_id, sequence, priority, category, title, body, data, created_at, acknowledged_at IS NOT NULL, read_at IS NOT NULL"
    };
}
pub(crate) use columns;

impl Notification {
    /// Reads a row of `columns!`, which has a sequence.
    pub(crate) fn read(row: &Row) -> Self {
        Self {
            notification_id: row.get(0),
            sequence: row.get(1),
            priority: Priority::of_code(row.get(2)),
            category: row.get(3),
            title: row.get(4),
            body: row.get(5),
            data: data(row.get(6)),
            created_at: row.get(7),
            acknowledged: row.get(8),
            read: row.get(9),
        }
    }
}

/// What all users are told.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Broadcast {
    /// Its place among all broadcasts.
    pub sequence: i64,
    /// The title.
    pub title: String,
    /// The text.
    pub body: String,
    /// For programs.
    pub data: BTreeMap<String, String>,
    /// When it was sent.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

impl Broadcast {
    pub(crate) fn read(row: &Row) -> Self {
        Self {
            sequence: row.get(0),
            title: row.get(1),
            body: row.get(2),
            data: data(row.get(3)),
            created_at: row.get(4),
        }
    }
}

fn data(value: serde_json::Value) -> BTreeMap<String, String> {
    // Written by this service from a map of strings.
    serde_json::from_value(value).unwrap_or_default()
}

/// What a client has: all of the user's notifications, and all broadcasts, up to here. As text `12.3`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cursor {
    /// The last of the user's own.
    pub sequence: i64,
    /// The last of the broadcasts.
    pub broadcast: i64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.sequence, self.broadcast)
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().ok().filter(|number| *number >= 0);
        let read = |(own, all): (&str, &str)| {
            Some(Self {
                sequence: number(own)?,
                broadcast: number(all)?,
            })
        };
        let cursor = text.split_once('.').and_then(read);
        cursor.ok_or_else(|| "a cursor is what was given as one, like 12.3".to_owned())
    }
}

/// What a client is sent: the cursor behind it, and what it has.
pub(crate) fn frame(cursor: Cursor, kind: &str, json: &str) -> String {
    format!("{{\"cursor\":\"{cursor}\",\"{kind}\":{json}}}")
}

/// When the quiet hours end that a local time lies in, if it does.
pub(crate) fn quiet_end(local: PrimitiveDateTime, from: Time, until: Time) -> Option<PrimitiveDateTime> {
    let at = local.time();
    let over_midnight = from > until;
    let quiet = match over_midnight {
        false => from <= at && at < until,
        true => from <= at || at < until,
    };
    if !quiet {
        return None;
    }
    let day = match at < until {
        true => Some(local.date()),
        false => local.date().next_day(),
    };
    day.map(|day| day.with_time(until))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::{Date, Month};

    fn at(minutes: i64) -> PrimitiveDateTime {
        let day = Date::from_calendar_date(2026, Month::March, 3).unwrap();
        day.midnight() + time::Duration::minutes(minutes)
    }

    proptest! {
        #[test]
        fn quiet_hours_end_within_a_day_and_are_over_then(minutes in 0..10_000_i64, from in 0..1440_i64, until in 0..1440_i64) {
            let (from, until) = (at(from).time(), at(until).time());
            let local = at(minutes);
            if let Some(end) = quiet_end(local, from, until) {
                prop_assert!(end > local && end - local <= time::Duration::days(1));
                prop_assert_eq!(end.time(), until);
                prop_assert_eq!(quiet_end(end, from, until), None);
                // Quiet all the way.
                let last = end - time::Duration::minutes(1);
                prop_assert!(quiet_end(last, from, until).is_some());
            }
        }

        #[test]
        fn cursors_are_read_as_they_were_written(sequence in 0..i64::MAX, broadcast in 0..i64::MAX) {
            let cursor = Cursor { sequence, broadcast };
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }

        #[test]
        fn whatever_is_no_cursor_is_refused(text in "\\PC{0,8}") {
            if let Ok(cursor) = text.parse::<Cursor>() {
                prop_assert!(cursor.sequence >= 0 && cursor.broadcast >= 0);
            }
        }
    }

    #[test]
    fn nights_are_quiet_over_midnight() {
        let (from, until) = (
            Time::from_hms(22, 0, 0).unwrap(),
            Time::from_hms(7, 0, 0).unwrap(),
        );
        assert_eq!(quiet_end(at(12 * 60), from, until), None);
        assert_eq!(quiet_end(at(23 * 60), from, until), Some(at(31 * 60)));
        assert_eq!(quiet_end(at(5 * 60), from, until), Some(at(7 * 60)));
        assert_eq!(quiet_end(at(7 * 60), from, until), None);
    }
}
