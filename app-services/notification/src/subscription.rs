//! What one connected client is to be sent next: the same for WebSockets and server-sent events.
//!
//! What others tell of is sent on if it is the very next after what the client has; if it is further on, the shard is read. The
//! shard is read at level strong, after the client was written down: what is committed later is told of, and what was committed before is read.

use crate::hub::{Leave, Seat, Wake};
use crate::mailbox::{Behind, beginning, behind};
use crate::model::{Cursor, frame};
use crate::{App, Refusal};
use ringway_sdk::web::Problem;
use ringway_sdk::{Context, Error, Level, Reader};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio::sync::mpsc::error::TryRecvError;
use uuid::Uuid;

/// What is read from the shard at a time.
const PAGE: i64 = 50;

/// For one read.
const READ_BOUND: Duration = Duration::from_secs(10);

/// After a read that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// What the client is to see next.
#[derive(Debug)]
pub(crate) enum Next {
    /// A frame, and the cursor behind it.
    Frame(String, Cursor),
    /// The end.
    Leave(Leave),
}

/// A connected client.
#[derive(Debug)]
pub(crate) struct Subscription {
    app: App,
    seat: Arc<Seat>,
    wakes: Receiver<Wake>,
    cursor: Cursor,
    pending: VecDeque<(String, Cursor)>,
    /// There may be more on the shard.
    looking: bool,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.app.hub.leave(&self.seat);
        self.app.registry.note_later(self.seat.user_id());
    }
}

impl Subscription {
    /// A client that has everything up to a cursor; without one, everything that is acknowledged.
    ///
    /// # Errors
    /// The instance ends or is full; the database's.
    pub(crate) async fn begin(app: &App, user_id: Uuid, after: Option<Cursor>) -> Result<Self, Refusal> {
        let elsewhere = |kind, title| Refusal::Peer(Problem::unavailable(kind, title));
        if app.draining.is_cancelled() {
            return Err(elsewhere("draining", "connect to another instance"));
        }
        let seat = app.hub.take_seat(user_id);
        let (seat, wakes) =
            seat.ok_or_else(|| elsewhere("full", "the instance holds as many connections as it may"))?;
        let mut subscription = Self {
            app: app.clone(),
            seat,
            wakes,
            cursor: after.unwrap_or_default(),
            pending: VecDeque::new(),
            looking: true,
        };
        app.registry.note(user_id).await;
        if after.is_none() {
            let read = async |reader: Reader| beginning(&reader, user_id).await;
            subscription.cursor = subscription.strong(read).await?;
        }
        Ok(subscription)
    }

    /// What the client has.
    pub(crate) fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// The service.
    pub(crate) fn app(&self) -> &App {
        &self.app
    }

    /// Whose it is.
    pub(crate) fn user_id(&self) -> Uuid {
        self.seat.user_id()
    }

    /// What comes next. It may be dropped at any moment and asked again.
    pub(crate) async fn next(&mut self) -> Next {
        loop {
            if let Some((frame, cursor)) = self.pending.pop_front() {
                return Next::Frame(frame, cursor);
            }
            let wake = if self.looking {
                match Box::pin(self.look()).await {
                    Ok(()) => continue,
                    Err(error) => {
                        tracing::debug!(%error, "a mailbox can't be read");
                        // Whatever comes meanwhile wakes it as well.
                        match tokio::time::timeout(PAUSE, self.wakes.recv()).await {
                            Ok(wake) => wake,
                            Err(_) => continue,
                        }
                    }
                }
            } else {
                match self.wakes.try_recv() {
                    Ok(wake) => Some(wake),
                    Err(TryRecvError::Empty) if self.seat.has_missed() => Some(Wake::Look),
                    Err(_) => self.wakes.recv().await,
                }
            };
            // The hub ends only with the instance.
            if let Some(next) = wake.map_or(Some(Next::Leave(Leave::Draining)), |wake| self.take(wake)) {
                return next;
            }
        }
    }

    fn take(&mut self, wake: Wake) -> Option<Next> {
        match wake {
            Wake::Leave(leave) => return Some(Next::Leave(leave)),
            Wake::Look => self.looking = true,
            Wake::Item(sequence, json) if sequence == self.cursor.sequence + 1 && !self.looking => {
                self.cursor.sequence = sequence;
                self.seat.reached(sequence);
                return Some(Next::Frame(
                    frame(self.cursor, "notification", &json),
                    self.cursor,
                ));
            }
            Wake::Broadcast(sequence, json) if sequence == self.cursor.broadcast + 1 && !self.looking => {
                self.cursor.broadcast = sequence;
                return Some(Next::Frame(frame(self.cursor, "broadcast", &json), self.cursor));
            }
            Wake::Item(sequence, _) => self.looking |= sequence > self.cursor.sequence,
            Wake::Broadcast(sequence, _) => self.looking |= sequence > self.cursor.broadcast,
        }
        None
    }

    /// Reads what has come, and keeps it until it is sent.
    async fn look(&mut self) -> Result<(), Error> {
        let (user_id, cursor) = (self.seat.user_id(), self.cursor);
        let found = self
            .strong(async |reader: Reader| behind(&reader, user_id, cursor, PAGE).await)
            .await?;
        self.looking = found.more;
        self.keep(found);
        Ok(())
    }

    fn keep(&mut self, found: Behind) {
        // Serialising structs of strings, numbers and times can't fail.
        for notification in found.notifications {
            self.cursor.sequence = notification.sequence;
            let json = serde_json::to_string(&notification).unwrap_or_default();
            self.pending
                .push_back((frame(self.cursor, "notification", &json), self.cursor));
        }
        for broadcast in found.broadcasts {
            self.cursor.broadcast = broadcast.sequence;
            let json = serde_json::to_string(&broadcast).unwrap_or_default();
            self.pending
                .push_back((frame(self.cursor, "broadcast", &json), self.cursor));
        }
        self.seat.reached(self.cursor.sequence);
    }

    /// Reads from the primary, together with a few others at most.
    async fn strong<T, F, Fut>(&self, read: F) -> Result<T, Error>
    where
        F: Fn(Reader) -> Fut,
        Fut: Future<Output = Result<T, Error>>,
    {
        // It is never closed.
        let _place = self.app.looks.acquire().await.ok();
        let context = Context::background().with_timeout(READ_BOUND);
        self.app.database.read(&context, Level::Strong, read).await
    }
}
