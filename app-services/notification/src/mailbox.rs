//! What a user has been told: listing it, acknowledging it, reading it.
#![allow(unused_qualifications, reason = "made by utoipa's macro")]

use crate::model::{Broadcast, Cursor, Notification, columns};
use crate::{App, Refusal};
use axum::Json;
use axum::extract::{Query, State};
use axum::response::{AppendHeaders, IntoResponse};
use ringway_sdk::web::Caller;
use ringway_sdk::{Context, Error, Level, Reader};
use serde::{Deserialize, Serialize};
use shop_contracts::events::{NotificationEvent, NotificationRead, Tell as _};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// The most of a page.
pub(crate) const MAX_PAGE: u16 = 100;

/// The most that are read in one call.
const MAX_READ: usize = 100;

/// The header that says how fast messages come: `direct`, or `polling` while the registry is gone.
pub(crate) const MODE_HEADER: &str = "ringway-notification-mode";

/// A page of what a user has been told.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Page {
    /// The user's own, oldest first.
    pub notifications: Vec<Notification>,
    /// What all are told, oldest first.
    pub broadcasts: Vec<Broadcast>,
    /// `after` for what comes next.
    pub cursor: String,
    /// Whether there is more already.
    pub more: bool,
}

/// What has come behind a cursor, and the cursor behind that.
pub(crate) struct Behind {
    pub(crate) notifications: Vec<Notification>,
    pub(crate) broadcasts: Vec<Broadcast>,
    pub(crate) cursor: Cursor,
    pub(crate) more: bool,
}

/// Reads what has come behind a cursor, at most `limit` of either kind.
pub(crate) async fn behind(
    reader: &Reader,
    user_id: Uuid,
    after: Cursor,
    limit: i64,
) -> Result<Behind, Error> {
    const OWN: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM notification_item WHERE user_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3"
    );
    let rows = reader.query(OWN, &[&user_id, &after.sequence, &limit]).await?;
    let notifications: Vec<Notification> = rows.iter().map(Notification::read).collect();
    let broadcasts = crate::broadcast::behind(reader, after.broadcast, limit).await?;
    let full = |length: usize| i64::try_from(length).is_ok_and(|length| length >= limit);
    Ok(Behind {
        cursor: Cursor {
            sequence: notifications.last().map_or(after.sequence, |last| last.sequence),
            broadcast: broadcasts.last().map_or(after.broadcast, |last| last.sequence),
        },
        more: full(notifications.len()) || full(broadcasts.len()),
        notifications,
        broadcasts,
    })
}

/// Where somebody begins who has nothing: behind what is acknowledged, and behind the broadcasts that are read.
pub(crate) async fn beginning(reader: &Reader, user_id: Uuid) -> Result<Cursor, Error> {
    const MARKS: &str = "SELECT last_sequence, broadcast_read FROM notification_mailbox WHERE user_id = $1";
    const FIRST: &str =
        "SELECT min(sequence) FROM notification_item WHERE user_id = $1 AND acknowledged_at IS NULL";
    let Some(marks) = reader.query_opt(MARKS, &[&user_id]).await? else {
        return Ok(Cursor::default());
    };
    let first: Option<i64> = reader.query_one(FIRST, &[&user_id]).await?.get(0);
    Ok(Cursor {
        sequence: first.map_or_else(|| marks.get(0), |first| first - 1),
        broadcast: marks.get(1),
    })
}

/// Which part of it.
#[derive(Clone, Debug, Deserialize, IntoParams)]
pub(crate) struct Part {
    /// A cursor; from the oldest on without.
    after: Option<String>,
    /// The most of either kind.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u16>,
}

/// What the caller has been told.
#[utoipa::path(get, path = "/api/v1/notifications", params(Part), responses((status = 200, body = Page)))]
pub(crate) async fn list(
    State(app): State<App>,
    context: Context,
    caller: Caller,
    Query(part): Query<Part>,
) -> Result<impl IntoResponse, Refusal> {
    let after = part
        .after
        .as_deref()
        .map_or(Ok(Cursor::default()), str::parse)
        .map_err(Refusal::Invalid)?;
    let limit = part.limit.unwrap_or(MAX_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Refusal::Invalid(format!("limit is 1 to {MAX_PAGE}")));
    }
    let read = async |reader: Reader| behind(&reader, caller.user_id, after, limit.into()).await;
    let found = app
        .database
        .read::<_, Error, _, _>(&context, Level::Ryw, read)
        .await?;
    let page = Page {
        notifications: found.notifications,
        broadcasts: found.broadcasts,
        cursor: found.cursor.to_string(),
        more: found.more,
    };
    Ok((
        AppendHeaders([(MODE_HEADER, app.registry.mode().name())]),
        Json(page),
    ))
}

/// How far one of the user's programs has come.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Acknowledgement {
    /// Everything up to here has arrived.
    cursor: String,
}

/// How many were changed.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Changed {
    changed: u64,
}

/// Acknowledges that everything up to a cursor has arrived.
#[utoipa::path(post, path = "/api/v1/notifications/acknowledgements", responses((status = 200, body = Changed)))]
pub(crate) async fn acknowledge(
    State(app): State<App>,
    context: Context,
    caller: Caller,
    Json(acknowledgement): Json<Acknowledgement>,
) -> Result<Json<Changed>, Refusal> {
    let cursor = acknowledgement.cursor.parse().map_err(Refusal::Invalid)?;
    let changed = acknowledge_up_to(&app, &context, caller.user_id, cursor).await?;
    Ok(Json(Changed { changed }))
}

/// The same for whoever speaks for the user.
pub(crate) async fn acknowledge_up_to(
    app: &App,
    context: &Context,
    user_id: Uuid,
    cursor: Cursor,
) -> Result<u64, Refusal> {
    const SQL: &str = "UPDATE notification_item SET acknowledged_at = now() WHERE user_id = $1 AND sequence <= $2 AND acknowledged_at IS NULL";
    let work = async |tx: ringway_sdk::Transaction| tx.execute(SQL, &[&user_id, &cursor.sequence]).await;
    Ok(app.database.transaction::<_, Error, _, _>(context, work).await?)
}

/// What the user has read.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Receipt {
    /// The user's own.
    #[serde(default)]
    #[schema(max_items = 100)]
    notification_ids: Vec<Uuid>,
    /// All broadcasts up to this sequence.
    #[serde(default)]
    broadcast: Option<i64>,
}

/// Says that the user has read something; who sent it learns that.
#[utoipa::path(post, path = "/api/v1/notifications/receipts", responses((status = 200, body = Changed)))]
pub(crate) async fn read(
    State(app): State<App>,
    context: Context,
    caller: Caller,
    Json(receipt): Json<Receipt>,
) -> Result<Json<Changed>, Refusal> {
    let changed = mark_read(&app, &context, caller.user_id, &receipt).await?;
    Ok(Json(Changed { changed }))
}

/// The same for whoever speaks for the user.
pub(crate) async fn mark_read(
    app: &App,
    context: &Context,
    user_id: Uuid,
    receipt: &Receipt,
) -> Result<u64, Refusal> {
    const SQL: &str = "UPDATE notification_item SET read_at = now(), acknowledged_at = coalesce(acknowledged_at, now()) \
        WHERE user_id = $1 AND notification_id = ANY ($2) AND sequence IS NOT NULL AND read_at IS NULL RETURNING notification_id";
    const MARK: &str = "INSERT INTO notification_mailbox AS m (user_id, broadcast_read) VALUES ($1, $2) \
        ON CONFLICT (user_id) DO UPDATE SET broadcast_read = greatest(m.broadcast_read, excluded.broadcast_read)";
    if receipt.notification_ids.len() > MAX_READ {
        return Err(Refusal::Invalid(format!("at most {MAX_READ} at a time")));
    }
    if receipt.broadcast.is_some_and(|sequence| sequence < 0) {
        return Err(Refusal::Invalid("broadcast is not negative".to_owned()));
    }
    let work = async |tx: ringway_sdk::Transaction| {
        if let Some(sequence) = receipt.broadcast {
            tx.execute(MARK, &[&user_id, &sequence]).await?;
        }
        let rows = tx.query(SQL, &[&user_id, &receipt.notification_ids]).await?;
        for row in &rows {
            let read = NotificationEvent::Read(NotificationRead {
                notification_id: row.get(0),
                user_id,
            });
            tx.tell(&app.store, user_id, read).await?;
        }
        Ok::<_, Refusal>(u64::try_from(rows.len()).unwrap_or(u64::MAX))
    };
    app.database.transaction(context, work).await
}
