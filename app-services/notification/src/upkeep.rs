//! What the service does by itself.

use crate::registry::Mode;
use crate::schema::KEPT;
use crate::send::release;
use crate::{App, broadcast};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use ringway_sdk::service::{Service, Stop};
use ringway_sdk::{Context, Error, Level, Reader, Transaction};
use std::time::Duration;
use time::OffsetDateTime;
use uuid::Uuid;

/// Users whose mailboxes are looked at by one statement.
const SWEEP: usize = 500;

/// What is released at a time.
const RELEASES: i64 = 200;

/// Between two steps of sending sockets away.
const DRAIN_STEP: Duration = Duration::from_millis(50);

/// For one of these tasks' statements.
const BOUND: Duration = Duration::from_secs(30);

/// What is counted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    sent: Counter,
    sockets: Gauge,
    direct: Gauge,
}

impl Counters {
    /// A socket was sent something.
    pub(crate) fn sent(&self) {
        self.sent.inc();
    }

    /// Shows them among the metrics of the process.
    pub(crate) fn register(&self, app: &App) {
        app.environment.metrics.register(|registry| {
            let (sent, sockets, direct) = (self.sent.clone(), self.sockets.clone(), self.direct.clone());
            registry.register(
                "notification_sent",
                "Messages that were written to sockets and streams",
                sent,
            );
            registry.register(
                "notification_sockets",
                "Sockets and streams that are connected",
                sockets,
            );
            let help =
                "1 if messages come at once, 0 if the shards are looked at because the registry is gone";
            registry.register("notification_direct", help, direct);
        });
    }
}

/// Adds the tasks to the service.
pub(crate) fn tasks(service: Service, app: &App) -> Service {
    let with = |begin: fn(App, Stop) -> futures_util::future::BoxFuture<'static, ()>| {
        let app = app.clone();
        move |stop: Stop| begin(app.clone(), stop)
    };
    service
        .task(
            "broadcasts",
            with(|app, stop| Box::pin(broadcast::watch(app, stop))),
        )
        .task("registry", with(|app, stop| Box::pin(registry(app, stop))))
        .task("sweep", with(|app, stop| Box::pin(sweep(app, stop))))
        .task("release", with(|app, stop| Box::pin(releases(app, stop))))
        .task("expiry", with(|app, stop| Box::pin(expiry(app, stop))))
        .task("drain", with(|app, stop| Box::pin(drain(app, stop))))
}

fn context() -> Context {
    Context::background().with_timeout(BOUND)
}

async fn registry(app: App, stop: Stop) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = app.registry.write(&app.hub) => {}
        () = app.registry.live(&app.hub) => {}
    }
    app.registry.leave().await;
}

/// Looks for what no socket was told of: an instance was killed, Redis is gone, a call failed.
async fn sweep(app: App, stop: Stop) {
    let (often, without) = app.settings.sweep;
    loop {
        let pause = match app.registry.mode() {
            Mode::Direct => often,
            Mode::Polling => without,
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        app.counters
            .sockets
            .set(i64::try_from(app.hub.count()).unwrap_or(i64::MAX));
        app.counters
            .direct
            .set(i64::from(app.registry.mode() == Mode::Direct));
        for users in app.hub.users().chunks(SWEEP) {
            if let Err(error) = look(&app, users).await {
                tracing::debug!(%error, "mailboxes can't be looked at");
            }
        }
    }
}

async fn look(app: &App, users: &[Uuid]) -> Result<(), Error> {
    const SQL: &str = "SELECT user_id, last_sequence FROM notification_mailbox WHERE user_id = ANY ($1)";
    let read = async |reader: Reader| reader.query(SQL, &[&users]).await;
    for row in app
        .database
        .read::<_, Error, _, _>(&context(), Level::Ryw, read)
        .await?
    {
        app.hub.look_if_behind(row.get(0), row.get(1));
    }
    Ok(())
}

/// Sends on its way what is held back no longer.
async fn releases(app: App, stop: Stop) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(app.settings.release) => {}
        }
        if let Err(error) = release_all(&app).await {
            tracing::warn!(%error, "held notifications can't be released");
        }
    }
}

async fn release_all(app: &App) -> Result<(), Error> {
    const SQL: &str = "SELECT user_id, notification_id, not_before FROM notification_item WHERE sequence IS NULL AND not_before <= now() \
        ORDER BY not_before LIMIT $1";
    let read = async |reader: Reader| reader.query(SQL, &[&RELEASES]).await;
    for row in app
        .database
        .read::<_, Error, _, _>(&context(), Level::Strong, read)
        .await?
    {
        let (user_id, notification_id): (Uuid, Uuid) = (row.get(0), row.get(1));
        let work = async |tx: Transaction| release(app, &tx, user_id, notification_id).await;
        if let Err(error) = app.database.transaction::<_, Error, _, _>(&context(), work).await {
            tracing::warn!(%error, %notification_id, "a held notification can't be released");
        }
    }
    Ok(())
}

/// Deletes what is too old.
async fn expiry(app: App, stop: Stop) {
    // By one moment for all copies of a broadcast.
    const STATEMENTS: [&str; 2] = [
        "DELETE FROM notification_item WHERE created_at < $1",
        "DELETE FROM notification_broadcast WHERE created_at < $1",
    ];
    loop {
        let before = OffsetDateTime::now_utc() - KEPT;
        for sql in STATEMENTS {
            let work = async |tx: Transaction| tx.execute(sql, &[&before]).await;
            if let Err(error) = app.database.transaction::<_, Error, _, _>(&context(), work).await {
                tracing::warn!(%error, sql, "what is too old can't be deleted");
            }
        }
        // Not all instances at once.
        let pause = app.settings.expiry.mul_f64(0.5 + rand::random::<f64>());
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Sends all sockets elsewhere when the instance begins to end, spread over a time, and ends when they are gone.
async fn drain(app: App, stop: Stop) {
    tokio::select! {
        () = app.draining.cancelled() => {}
        () = stop.cancelled() => {}
    }
    let steps = (app.settings.drain.as_millis() / DRAIN_STEP.as_millis()).max(1);
    let step = app
        .hub
        .count()
        .div_ceil(usize::try_from(steps).unwrap_or(1))
        .max(1);
    while app.hub.count() > 0 {
        app.hub.send_away(step);
        tokio::time::sleep(DRAIN_STEP).await;
    }
    stop.cancelled().await;
}
