//! Putting notifications into mailboxes.

use crate::App;
use crate::model::{Channel, Draft, Priority, quiet_end};
use crate::preference::Stored;
use ringway_sdk::events::NewEvent;
use ringway_sdk::{Error, Transaction};
use shop_contracts::events::{Message as _, NotificationEvent, NotificationRequested};
use time::{OffsetDateTime, PrimitiveDateTime};
use uuid::Uuid;

/// When something may be sent.
enum Verdict {
    /// Now, as the user's next.
    Next(i64),
    /// Not before the local time in the zone, or the moment.
    Quiet(PrimitiveDateTime, String),
    /// Not before the user's hour is over.
    AboveLimit(OffsetDateTime),
}

/// Stores a notification, and sends it on its way or holds it back.
pub(crate) async fn put(app: &App, tx: &Transaction, user_id: Uuid, draft: &Draft) -> Result<Uuid, Error> {
    const SQL: &str = "INSERT INTO notification_item (user_id, notification_id, sequence, priority, category, title, body, data, not_before) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, coalesce($9::timestamp AT TIME ZONE $10, $11::timestamptz))";
    let notification_id = Uuid::now_v7();
    let preference = Stored::of(tx, user_id).await?;
    let (mut sequence, mut quiet, mut zone, mut later) = (None, None, None, None);
    match judge(tx, user_id, draft.priority, &preference).await? {
        Verdict::Next(next) => sequence = Some(next),
        Verdict::Quiet(end, name) => (quiet, zone) = (Some(end), Some(name)),
        Verdict::AboveLimit(end) => later = Some(end),
    }
    let (priority, data) = (draft.priority.code(), serde_json::json!(draft.data));
    let Draft {
        category,
        title,
        body,
        ..
    } = draft;
    tx.execute(
        SQL,
        &[
            &user_id,
            &notification_id,
            &sequence,
            &priority,
            category,
            title,
            body,
            &data,
            &quiet,
            &zone,
            &later,
        ],
    )
    .await?;
    if sequence.is_some() {
        announce(
            app,
            tx,
            (user_id, notification_id),
            draft.priority,
            category,
            &preference,
        )
        .await?;
    }
    Ok(notification_id)
}

/// Sends on its way what was held back, or holds it back further.
pub(crate) async fn release(
    app: &App,
    tx: &Transaction,
    user_id: Uuid,
    notification_id: Uuid,
) -> Result<(), Error> {
    const TAKE: &str = "SELECT priority, category FROM notification_item WHERE user_id = $1 AND notification_id = $2 \
        AND sequence IS NULL AND not_before <= now() FOR UPDATE";
    const HOLD: &str = "UPDATE notification_item SET not_before = coalesce($3::timestamp AT TIME ZONE $4, $5::timestamptz) \
        WHERE user_id = $1 AND notification_id = $2";
    const GO: &str = "UPDATE notification_item SET sequence = $3 WHERE user_id = $1 AND notification_id = $2";
    let Some(row) = tx.query_opt(TAKE, &[&user_id, &notification_id]).await? else {
        return Ok(());
    };
    let (priority, category) = (Priority::of_code(row.get(0)), row.get::<_, String>(1));
    let preference = Stored::of(tx, user_id).await?;
    let (mut quiet, mut zone, mut later) = (None, None, None);
    match judge(tx, user_id, priority, &preference).await? {
        Verdict::Next(sequence) => {
            tx.execute(GO, &[&user_id, &notification_id, &sequence]).await?;
            return announce(
                app,
                tx,
                (user_id, notification_id),
                priority,
                &category,
                &preference,
            )
            .await;
        }
        Verdict::Quiet(end, name) => (quiet, zone) = (Some(end), Some(name)),
        Verdict::AboveLimit(end) => later = Some(end),
    }
    tx.execute(HOLD, &[&user_id, &notification_id, &quiet, &zone, &later])
        .await
        .map(drop)
}

async fn judge(
    tx: &Transaction,
    user_id: Uuid,
    priority: Priority,
    preference: &Stored,
) -> Result<Verdict, Error> {
    const COUNT: &str = "INSERT INTO notification_mailbox AS m (user_id, hour_count) VALUES ($1, 1) ON CONFLICT (user_id) DO UPDATE SET \
        hour_began = CASE WHEN m.hour_began > now() - interval '1 hour' THEN m.hour_began ELSE now() END, \
        hour_count = CASE WHEN m.hour_began > now() - interval '1 hour' THEN m.hour_count + 1 ELSE 1 END \
        RETURNING hour_count, hour_began + interval '1 hour'";
    const NEXT: &str = "INSERT INTO notification_mailbox AS m (user_id, last_sequence) VALUES ($1, 1) \
        ON CONFLICT (user_id) DO UPDATE SET last_sequence = m.last_sequence + 1 RETURNING last_sequence";
    if priority.is_patient() {
        let quiet = preference
            .quiet
            .and_then(|(from, until)| quiet_end(preference.local_time, from, until));
        if let Some(end) = quiet {
            return Ok(Verdict::Quiet(end, preference.time_zone.clone()));
        }
        let row = tx.query_one(COUNT, &[&user_id]).await?;
        if row.get::<_, i32>(0) > preference.per_hour {
            return Ok(Verdict::AboveLimit(row.get(1)));
        }
    }
    let row = tx.query_one(NEXT, &[&user_id]).await?;
    Ok(Verdict::Next(row.get(0)))
}

/// Has the consumers of the priority bring it: to the sockets, and by each channel that the user wants.
async fn announce(
    app: &App,
    tx: &Transaction,
    (user_id, notification_id): (Uuid, Uuid),
    priority: Priority,
    category: &str,
    preference: &Stored,
) -> Result<(), Error> {
    let wanted = |channel: &Channel| {
        app.settings.providers.contains_key(channel) && preference.wants(*channel, priority, category)
    };
    let channels = Channel::ALL.into_iter().filter(wanted).map(Some);
    for channel in [None].into_iter().chain(channels) {
        let requested = NotificationEvent::Requested(NotificationRequested {
            notification_id,
            user_id,
            category: category.to_owned(),
            priority: priority.name().to_owned(),
            channel: channel.map(|channel| channel.name().to_owned()),
        });
        let event = NewEvent {
            topic: priority.topic(),
            aggregate: &requested.aggregate(),
            kind: requested.kind(),
            payload: &requested.payload(),
        };
        tx.publish(&app.store, &user_id.into(), event).await?;
    }
    Ok(())
}
