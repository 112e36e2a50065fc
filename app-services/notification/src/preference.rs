//! What a user wants to be told, when, and how.

use crate::model::{Channel, Priority};
use crate::{App, Refusal};
use ringway_sdk::web::{Caller, Json, Reads, State};
use ringway_sdk::{Context, Error, Query, SqlState, Transaction};
use serde::{Deserialize, Serialize};
use time::{PrimitiveDateTime, Time};
use tokio_postgres::Row;
use utoipa::ToSchema;
use uuid::Uuid;

/// Bounds.
const MAX_MUTED: usize = 50;
const MAX_DEVICES: usize = 10;
const MAX_WORD: usize = 200;
const MAX_PER_HOUR: u16 = 1_000;

/// Of somebody who has said nothing.
const PER_HOUR: u16 = 60;
const ZONE: &str = "UTC";

/// What a user wants. Critical notifications come at once and by all channels, whatever stands here.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Preference {
    /// E-mail for this priority and above; none without.
    pub email_from: Option<Priority>,
    /// Push for this priority and above; none without.
    pub push_from: Option<Priority>,
    /// SMS for this priority and above; none without.
    pub sms_from: Option<Priority>,
    /// Categories that come in the app only.
    #[schema(max_items = 50)]
    pub muted: Vec<String>,
    /// The devices for push, as their makers name them.
    #[schema(max_items = 10)]
    pub devices: Vec<String>,
    /// Low and normal ones wait from this time of the day on (`22:00`).
    pub quiet_from: Option<String>,
    /// Until this one.
    pub quiet_until: Option<String>,
    /// In this time zone, as in IANA's list.
    #[schema(max_length = 60)]
    pub time_zone: String,
    /// The most low and normal ones in an hour; more wait.
    #[schema(maximum = 1000)]
    pub per_hour: u16,
}

impl Default for Preference {
    fn default() -> Self {
        Self {
            email_from: Some(Priority::High),
            push_from: Some(Priority::Normal),
            sms_from: None,
            muted: Vec::new(),
            devices: Vec::new(),
            quiet_from: None,
            quiet_until: None,
            time_zone: ZONE.to_owned(),
            per_hour: PER_HOUR,
        }
    }
}

/// The columns of [`Preference`].
const READ: &str = "SELECT email_from, push_from, sms_from, muted, devices, quiet_from, quiet_until, time_zone, per_hour \
    FROM notification_preference WHERE user_id = $1";

fn parse_time(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let digits = [hour, minute]
        .iter()
        .all(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit()));
    digits.then(|| Time::from_hms(hour.parse().ok()?, minute.parse().ok()?, 0).ok())?
}

fn show_time(time: Time) -> String {
    format!("{:02}:{:02}", time.hour(), time.minute())
}

impl Preference {
    fn read(row: &Row) -> Self {
        let priority = |code: Option<i16>| code.map(Priority::of_code);
        let time = |time: Option<Time>| time.map(show_time);
        Self {
            email_from: priority(row.get(0)),
            push_from: priority(row.get(1)),
            sms_from: priority(row.get(2)),
            muted: row.get(3),
            devices: row.get(4),
            quiet_from: time(row.get(5)),
            quiet_until: time(row.get(6)),
            time_zone: row.get(7),
            per_hour: u16::try_from(row.get::<_, i32>(8)).unwrap_or(PER_HOUR),
        }
    }

    /// The quiet hours.
    fn quiet(&self) -> Option<(Time, Time)> {
        let time = |text: &Option<String>| text.as_deref().and_then(parse_time);
        time(&self.quiet_from).zip(time(&self.quiet_until))
    }

    fn check(&self) -> Result<(), Refusal> {
        let refused = |why: String| Err(Refusal::Invalid(why));
        let word = |text: &String| !text.is_empty() && text.len() <= MAX_WORD && !text.contains('\0');
        if self.muted.len() > MAX_MUTED || !self.muted.iter().all(word) {
            return refused(format!("muted has at most {MAX_MUTED} words"));
        }
        if self.devices.len() > MAX_DEVICES || !self.devices.iter().all(word) {
            return refused(format!("devices has at most {MAX_DEVICES} names"));
        }
        if self.per_hour > MAX_PER_HOUR {
            return refused(format!("per_hour is at most {MAX_PER_HOUR}"));
        }
        if !word(&self.time_zone) {
            return refused("time_zone is missing".to_owned());
        }
        let said = self.quiet_from.is_some() || self.quiet_until.is_some();
        if said && self.quiet().is_none() {
            return refused("quiet_from and quiet_until are both times like 22:00".to_owned());
        }
        Ok(())
    }
}

/// What a decision needs.
pub(crate) struct Stored {
    preference: Preference,
    pub(crate) quiet: Option<(Time, Time)>,
    /// What the user's clocks show.
    pub(crate) local_time: PrimitiveDateTime,
    pub(crate) time_zone: String,
    pub(crate) per_hour: i32,
}

impl Stored {
    /// A user's, or what holds for who has said nothing.
    pub(crate) async fn of(tx: &Transaction, user_id: Uuid) -> Result<Self, Error> {
        const SQL: &str = "SELECT email_from, push_from, sms_from, muted, devices, quiet_from, quiet_until, time_zone, per_hour, \
            now() AT TIME ZONE time_zone FROM notification_preference WHERE user_id = $1";
        let row = tx.query_opt(SQL, &[&user_id]).await?;
        let preference = row.as_ref().map_or_else(Preference::default, Preference::read);
        // Without a row there are no quiet hours, so no clock is asked.
        let local_time = row.map_or(PrimitiveDateTime::MIN, |row| row.get(9));
        Ok(Self {
            quiet: preference.quiet(),
            local_time,
            time_zone: preference.time_zone.clone(),
            per_hour: i32::from(preference.per_hour),
            preference,
        })
    }

    /// Whether something of this priority and category is to go by a channel.
    pub(crate) fn wants(&self, channel: Channel, priority: Priority, category: &str) -> bool {
        let preference = &self.preference;
        let from = match channel {
            Channel::Email => preference.email_from,
            Channel::Push => preference.push_from,
            Channel::Sms => preference.sms_from,
        };
        let muted = preference.muted.iter().any(|muted| muted == category);
        priority == Priority::Critical || (!muted && from.is_some_and(|from| from <= priority))
    }
}

/// The devices of a user.
pub(crate) async fn devices(tx: &Transaction, user_id: Uuid) -> Result<Vec<String>, Error> {
    let rows = tx.rows(READ, &[&user_id]).await?;
    Ok(rows.first().map(|row| row.get(4)).unwrap_or_default())
}

/// What the caller wants.
#[utoipa::path(get, path = "/api/v1/notifications/preferences", responses((status = 200, body = Preference)))]
pub(crate) async fn show(reads: Reads, caller: Caller) -> Result<Json<Preference>, Refusal> {
    let row = reads.row(READ, &[&caller.user_id]).await?;
    let preference = row.as_ref().map_or_else(Preference::default, Preference::read);
    Ok(Json(preference))
}

/// Changes all of it.
#[utoipa::path(put, path = "/api/v1/notifications/preferences", responses((status = 200, body = Preference)))]
pub(crate) async fn change(
    State(app): State<App>,
    context: Context,
    caller: Caller,
    Json(preference): Json<Preference>,
) -> Result<Json<Preference>, Refusal> {
    const SQL: &str = "INSERT INTO notification_preference (user_id, email_from, push_from, sms_from, muted, devices, quiet_from, quiet_until, \
        time_zone, per_hour) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (user_id) DO UPDATE SET email_from = excluded.email_from, \
        push_from = excluded.push_from, sms_from = excluded.sms_from, muted = excluded.muted, devices = excluded.devices, \
        quiet_from = excluded.quiet_from, quiet_until = excluded.quiet_until, time_zone = excluded.time_zone, per_hour = excluded.per_hour";
    const ZONE: &str = "SELECT now() AT TIME ZONE time_zone FROM notification_preference WHERE user_id = $1";
    preference.check()?;
    let code = |priority: Option<Priority>| priority.map(Priority::code);
    let (email, push, sms) = (
        code(preference.email_from),
        code(preference.push_from),
        code(preference.sms_from),
    );
    let (from, until) = preference.quiet().unzip();
    let per_hour = i32::from(preference.per_hour);
    let Preference {
        muted,
        devices,
        time_zone,
        ..
    } = &preference;
    let change = app.database.transaction(&context, async |tx| {
        let user_id = caller.user_id;
        tx.execute(
            SQL,
            &[
                &user_id, &email, &push, &sms, muted, devices, &from, &until, time_zone, &per_hour,
            ],
        )
        .await?;
        // The server knows the names of time zones.
        match tx.query_one(ZONE, &[&user_id]).await {
            Err(error) if error.state() == Some(SqlState::INVALID_VALUE) => {
                Err(Refusal::Invalid("time_zone is not known".to_owned()))
            }
            known => known.map(drop).map_err(Refusal::from),
        }
    });
    change.await?;
    Ok(Json(preference))
}
