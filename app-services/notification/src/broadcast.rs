//! What all users are told: written once, read by everybody.
//!
//! Broadcasts are a reference table. Each instance looks at it and tells all its sockets; who isn't connected finds them behind its cursor.
//!
//! The sequence is drawn from the mailbox of nobody (the nil UUID), under its lock, so broadcasts are committed one after the other. Another shard may still show the
//! later of two first, for a moment: readers go no further than there is no gap.

use crate::hub::Wake;
use crate::model::{Broadcast, check_text};
use crate::{App, Refusal};
use axum::Json;
use axum::extract::State;
use http::StatusCode;
use ringway_sdk::service::{Environment, Stop};
use ringway_sdk::web::{IdempotencyKey, Staff};
use ringway_sdk::{Context, Database, Error, KeyType, Level, Query, Reader, Store, Transaction};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// Between two looks for broadcasts.
const POLL: Duration = Duration::from_millis(250);

/// The most that are told of at a time.
const PAGE: i64 = 20;

/// The most data.
const MAX_DATA: usize = 16;
const MAX_DATA_BYTES: usize = 2_000;

/// What all users are to be told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Announcement {
    /// The title.
    #[schema(min_length = 1, max_length = 200)]
    pub title: String,
    /// The text.
    #[schema(max_length = 4000)]
    pub body: String,
    /// For programs.
    #[serde(default)]
    pub data: BTreeMap<String, String>,
}

/// Tells all users something.
#[utoipa::path(post, path = "/api/v1/broadcasts", params(IdempotencyKey), responses((status = 201, body = Broadcast)))]
pub(crate) async fn send(
    State(app): State<App>,
    context: Context,
    Staff(staff): Staff,
    key: IdempotencyKey,
    Json(announcement): Json<Announcement>,
) -> Result<(StatusCode, Json<Broadcast>), Refusal> {
    let sent = put(
        &app.database,
        &app.store,
        &context,
        (staff.user_id, &key.0),
        &announcement,
    )
    .await?;
    Ok((StatusCode::CREATED, Json(sent)))
}

/// Tells all users something in the name of the shop, once for a key.
///
/// # Errors
/// It is out of bounds; the database's.
pub async fn announce(
    environment: &Environment,
    context: &Context,
    key: &str,
    announcement: &Announcement,
) -> Result<Broadcast, Refusal> {
    let store = Store::new("notification", KeyType::Uuid)?;
    put(
        &environment.database,
        &store,
        context,
        (Uuid::nil(), key),
        announcement,
    )
    .await
}

async fn put(
    database: &Database,
    store: &Store,
    context: &Context,
    (by, key): (Uuid, &str),
    announcement: &Announcement,
) -> Result<Broadcast, Refusal> {
    const NEXT: &str = "INSERT INTO notification_mailbox AS m (user_id, last_sequence) VALUES ($1, 1) \
        ON CONFLICT (user_id) DO UPDATE SET last_sequence = m.last_sequence + 1 RETURNING last_sequence, now()";
    const SQL: &str = "INSERT INTO notification_broadcast (sequence, title, body, data, created_at) VALUES ($1, $2, $3, $4, $5)";
    let Announcement { title, body, data } = announcement;
    check_text(title, body).map_err(Refusal::Invalid)?;
    let bytes: usize = data.iter().map(|(key, value)| key.len() + value.len()).sum();
    let zero = data
        .iter()
        .any(|(key, value)| key.contains('\0') || value.contains('\0'));
    if data.len() > MAX_DATA || bytes > MAX_DATA_BYTES || zero {
        return Err(Refusal::Invalid(format!(
            "data has at most {MAX_DATA} entries of {MAX_DATA_BYTES} bytes together"
        )));
    }
    let once = store.once(by, key, "broadcast");
    let sent = database.transaction_once(context, once, async |tx: Transaction| {
        let row = tx.query_one(NEXT, &[&Uuid::nil()]).await?;
        let (sequence, created_at): (i64, OffsetDateTime) = (row.get(0), row.get(1));
        // The same on every shard.
        tx.execute(
            SQL,
            &[&sequence, title, body, &serde_json::json!(data), &created_at],
        )
        .await?;
        Ok::<_, Refusal>(Broadcast {
            sequence,
            title: title.clone(),
            body: body.clone(),
            data: data.clone(),
            created_at,
        })
    });
    sent.await
}

/// The broadcasts behind a sequence, as far as there is no gap.
pub(crate) async fn behind(reader: &Reader, after: i64, limit: i64) -> Result<Vec<Broadcast>, Error> {
    const SQL: &str = "SELECT sequence, title, body, data, created_at, created_at < now() - interval '1 minute' \
        FROM notification_broadcast WHERE sequence > $1 ORDER BY sequence LIMIT $2";
    let rows = reader.rows(SQL, &[&after, &limit]).await?;
    let mut last = after;
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        let (broadcast, settled) = (Broadcast::read(row), row.get::<_, bool>(5));
        // A gap before one that is old is one that was deleted.
        if broadcast.sequence != last + 1 && !settled {
            break;
        }
        last = broadcast.sequence;
        found.push(broadcast);
    }
    Ok(found)
}

/// Tells the instance's sockets of broadcasts, until `stop` ends.
pub(crate) async fn watch(app: App, stop: Stop) {
    let mut last = None;
    loop {
        let context = Context::background().with_timeout(Duration::from_secs(5));
        let read = async |reader: Reader| match last {
            Some(last) => behind(&reader, last, PAGE).await,
            None => newest(&reader).await,
        };
        match app
            .database
            .read::<_, Error, _, _>(&context, Level::Ryw, read)
            .await
        {
            Ok(broadcasts) => {
                for broadcast in &broadcasts {
                    let json = serde_json::to_string(broadcast).unwrap_or_default();
                    app.hub
                        .tell_all(&Wake::Broadcast(broadcast.sequence, json.into()));
                }
                last = Some(
                    broadcasts
                        .last()
                        .map_or(last.unwrap_or(0), |newest| newest.sequence),
                );
            }
            Err(error) => tracing::debug!(%error, "broadcasts can't be read"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

async fn newest(reader: &Reader) -> Result<Vec<Broadcast>, Error> {
    const SQL: &str = "SELECT sequence, title, body, data, created_at FROM notification_broadcast ORDER BY sequence DESC LIMIT 1";
    let rows = reader.rows(SQL, &[]).await?;
    Ok(rows.iter().map(Broadcast::read).collect())
}
