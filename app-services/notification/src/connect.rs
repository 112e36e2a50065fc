//! Connections that stay: WebSockets, and server-sent events where there are none.
#![allow(unused_qualifications, reason = "made by utoipa's macro")]

use crate::hub::Leave;
use crate::mailbox::{MODE_HEADER, Receipt, acknowledge_up_to, mark_read};
use crate::model::Cursor;
use crate::subscription::{Next, Subscription};
use crate::{App, Refusal};
use axum::Json;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{AppendHeaders, IntoResponse, Response};
use futures_util::stream::unfold;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use ringway_sdk::Context;
use ringway_sdk::web::{Caller, Problem};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// What tungstenite reads at a time and holds for each socket, in bytes; its default is 128 KiB.
const READ_BUFFER: usize = 512;

/// The most that waits to be written to a socket, in bytes.
const MAX_WRITE_BUFFER: usize = 64 * 1024;

/// The longest message of a client, in bytes.
const MAX_MESSAGE: usize = 8 * 1024;

/// Between two pings, and after how long a client that says nothing is gone.
const PING: Duration = Duration::from_secs(25);
const IDLE: Duration = Duration::from_secs(80);

/// How long writing a message may take: a slow client is closed, and catches up later.
const WRITE_BOUND: Duration = Duration::from_secs(10);

/// How long the other side's part of closing is waited for.
const CLOSE_BOUND: Duration = Duration::from_secs(2);

/// How long a connection may live; then whoever it is signs in again.
const LIFE: Duration = Duration::from_secs(3_600);

/// For what a client asks over its socket.
const ASK_BOUND: Duration = Duration::from_secs(10);

/// How soon a client of server-sent events connects again.
const RETRY: Duration = Duration::from_secs(1);

/// Close codes of RFC 6455 and IANA's list.
const SERVICE_RESTART: u16 = 1012;
const POLICY: u16 = 1008;

/// Who connects: by a token, or by a ticket where a browser can't send one.
pub(crate) struct Subscriber(Uuid);

/// Where to go on.
#[derive(Clone, Debug, Deserialize, IntoParams)]
pub(crate) struct Place {
    /// The cursor of the last message; without one, what is not acknowledged comes first.
    after: Option<String>,
    /// Instead of a bearer token.
    ticket: Option<String>,
}

impl FromRequestParts<App> for Subscriber {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let from: Result<Query<Place>, _> = Query::try_from_uri(&parts.uri);
        let Query(from) = from.map_err(|error| Problem::invalid(error.to_string()))?;
        let Some(ticket) = from.ticket else {
            return Ok(Self(Caller::from_request_parts(parts, app).await?.user_id));
        };
        match app.registry.redeem(&ticket).await {
            Some(Some(user_id)) => Ok(Self(user_id)),
            Some(None) => Err(Refusal::BadTicket.into()),
            None => Err(no_tickets().into()),
        }
    }
}

fn no_tickets() -> Refusal {
    Refusal::Peer(Problem::unavailable(
        "no-tickets",
        "there are no tickets at the moment",
    ))
}

/// A ticket for one connection.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Ticket {
    /// To be sent as `ticket` within 30 seconds, in the same region.
    ticket: String,
}

/// A ticket for one connection of the caller, for clients that can't send headers.
#[utoipa::path(post, path = "/api/v1/notifications/tickets", responses((status = 201, body = Ticket)))]
pub(crate) async fn ticket(
    State(app): State<App>,
    caller: Caller,
) -> Result<(StatusCode, Json<Ticket>), Refusal> {
    let ticket = app.registry.ticket(caller.user_id).await.ok_or_else(no_tickets)?;
    Ok((StatusCode::CREATED, Json(Ticket { ticket })))
}

fn cursor(text: Option<&str>) -> Result<Option<Cursor>, Refusal> {
    text.map(str::parse).transpose().map_err(Refusal::Invalid)
}

/// A WebSocket. The server sends `{"cursor", "notification"}` and `{"cursor", "broadcast"}`; the client may send `{"acknowledge": CURSOR}` and
/// `{"read": {"notification_ids": [..], "broadcast": ..}}`. Closed with 1012, it connects again, with its last cursor.
#[utoipa::path(get, path = "/api/v1/notifications/socket", params(Place), responses((status = 101, description = "A WebSocket")))]
pub(crate) async fn socket(
    State(app): State<App>,
    subscriber: Subscriber,
    Query(from): Query<Place>,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Refusal> {
    let after = cursor(from.after.as_deref())?;
    let subscription = Subscription::begin(&app, subscriber.0, after).await?;
    let upgraded = upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
        .on_upgrade(move |socket| serve(socket, subscription));
    Ok((
        AppendHeaders([(MODE_HEADER, app.registry.mode().name())]),
        upgraded,
    )
        .into_response())
}

/// What a client says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Said {
    /// Everything up to this cursor has arrived.
    Acknowledge(String),
    /// The user has read something.
    Read(Receipt),
}

async fn serve(mut socket: WebSocket, mut subscription: Subscription) {
    let leave = match attend(&mut socket, &mut subscription).await {
        Some(leave) => leave,
        None => return,
    };
    // The seat is free from here on.
    drop(subscription);
    let (code, reason) = match leave {
        Leave::Draining | Leave::Old => (SERVICE_RESTART, "connect again"),
        Leave::TooMany => (POLICY, "too many connections of this user"),
    };
    let reason = Utf8Bytes::from_static(reason);
    let closing = async {
        if socket
            .send(Message::Close(Some(CloseFrame { code, reason })))
            .await
            .is_ok()
        {
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    drop(timeout(CLOSE_BOUND, closing).await);
}

/// Serves a socket until it is gone, or is to go.
async fn attend(socket: &mut WebSocket, subscription: &mut Subscription) -> Option<Leave> {
    let hello = format!("{{\"cursor\":\"{}\",\"hello\":true}}", subscription.cursor());
    write(socket, Message::Text(hello.into())).await?;
    let began = Instant::now();
    // Spread, so that those that began together don't all end together.
    let life = LIFE.mul_f64(0.75 + 0.25 * rand::random::<f64>());
    let mut heard = began;
    let mut ping = interval_at(began + PING.mul_f64(rand::random::<f64>().max(0.1)), PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            next = subscription.next() => match next {
                Next::Frame(frame, _) => {
                    write(socket, Message::Text(frame.into())).await?;
                    subscription.app().counters.sent();
                }
                Next::Leave(leave) => return Some(leave),
            },
            message = socket.recv() => {
                heard = Instant::now();
                if let Message::Text(text) = message?.ok()? {
                    Box::pin(hear(socket, subscription, &text)).await?;
                }
            }
            _ = ping.tick() => {
                if heard.elapsed() > IDLE {
                    return None;
                }
                if began.elapsed() > life {
                    return Some(Leave::Old);
                }
                write(socket, Message::Ping(axum::body::Bytes::new())).await?;
            }
        }
    }
}

async fn write(socket: &mut WebSocket, message: Message) -> Option<()> {
    timeout(WRITE_BOUND, socket.send(message)).await.ok()?.ok()
}

/// Does what a client says; what is wrong with it, the client is told.
async fn hear(socket: &mut WebSocket, subscription: &Subscription, text: &str) -> Option<()> {
    let context = Context::background().with_timeout(ASK_BOUND);
    let (app, user_id) = (subscription.app(), subscription.user_id());
    let done = match serde_json::from_str(text) {
        Ok(Said::Acknowledge(text)) => match text.parse() {
            Ok(cursor) => acknowledge_up_to(app, &context, user_id, cursor).await,
            Err(why) => Err(Refusal::Invalid(why)),
        },
        Ok(Said::Read(receipt)) => mark_read(app, &context, user_id, &receipt).await,
        Err(error) => Err(Refusal::Invalid(error.to_string())),
    };
    let Err(refusal) = done else { return Some(()) };
    let problem = serde_json::json!({"problem": Problem::from(refusal)});
    write(socket, Message::Text(problem.to_string().into())).await
}

/// Server-sent events: `data` is what a WebSocket would send, `id` the cursor, so a client that connects again goes on by itself.
#[utoipa::path(get, path = "/api/v1/notifications/stream", params(Place), responses((status = 200, content_type = "text/event-stream", body = String)))]
pub(crate) async fn stream(
    State(app): State<App>,
    subscriber: Subscriber,
    Query(from): Query<Place>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Refusal> {
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let after = cursor(last.or(from.after.as_deref()))?;
    let subscription = Subscription::begin(&app, subscriber.0, after).await?;
    let until = Instant::now() + LIFE;
    let events = unfold(subscription, move |mut subscription| async move {
        match tokio::time::timeout_at(until, subscription.next()).await {
            Ok(Next::Frame(frame, cursor)) => {
                subscription.app().counters.sent();
                let event = Event::default().id(cursor.to_string()).retry(RETRY).data(frame);
                Some((Ok::<_, Infallible>(event), subscription))
            }
            Ok(Next::Leave(_)) | Err(_) => None,
        }
    });
    let mode = AppendHeaders([(MODE_HEADER, app.registry.mode().name())]);
    Ok((mode, Sse::new(events).keep_alive(KeepAlive::new().interval(PING))))
}
