//! The task that keeps a stream going: it follows the primary, and starts anew after every error.

use crate::config::{PublisherConfig, RESTING_INTERVAL};
use crate::error::Error;
use crate::session::{Begun, Force, Session};
use crate::status::{PublisherState, PublisherStatus};
use coherence::StreamMessage;
use events::EventSink;
use pool::BackendTarget;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use topology::{Activity, Lsn};

/// Pauses between attempts, of connecting and of publishing: doubled from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(2);

/// Pauses between looks at what is visible, while the oldest commit isn't.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LAST_LOOK: Duration = Duration::from_millis(50);

/// Of how many pulses one makes a heartbeat although the log stands still: a reader that joins late waits for it.
const QUIET_PULSES: u32 = 5;

/// How many messages of the server are taken before the carrier's turn comes.
const MESSAGES_PER_TURN: usize = 512;

/// A publisher that runs until it is told to stop.
#[derive(Debug)]
pub struct PublisherHandle {
    status: watch::Receiver<PublisherStatus>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl PublisherHandle {
    /// How it stands.
    pub fn status(&self) -> PublisherStatus {
        self.status.borrow().clone()
    }

    /// The same, to be waited on.
    pub fn watch(&self) -> watch::Receiver<PublisherStatus> {
        self.status.clone()
    }

    /// Stops it and waits until its connections are closed, so that another may take over at once.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        if (&mut self.task).await.is_err() {
            tracing::error!("the publisher ended by itself");
        }
    }
}

impl Drop for PublisherHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts a publisher on the current tokio runtime. `primary` says where the primary is, as far as anyone knows; the target needs
/// a user with REPLICATION and the rights of `ringway_control`.
pub fn spawn(
    config: PublisherConfig,
    sink: EventSink,
    primary: watch::Receiver<Option<BackendTarget>>,
) -> PublisherHandle {
    let (show, status) = watch::channel(PublisherStatus::default());
    let (stop, stopped) = oneshot::channel();
    let task = Task {
        config,
        sink,
        primary,
        show: Arc::new(show),
        force: Force::No,
    };
    PublisherHandle {
        status,
        stop: Some(stop),
        task: tokio::spawn(task.run(stopped)),
    }
}

struct Task {
    config: PublisherConfig,
    sink: EventSink,
    primary: watch::Receiver<Option<BackendTarget>>,
    show: Arc<watch::Sender<PublisherStatus>>,
    force: Force,
}

impl Task {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        tokio::select! {
            // Sent or dropped: either means stop.
            _ = &mut stopped => {}
            () = self.keep_going() => {}
        }
        self.show
            .send_modify(|status| status.state = PublisherState::Stopped);
    }

    /// Ends when nobody can say any more where the primary is.
    async fn keep_going(&mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let Some(target) = self.primary.borrow_and_update().clone() else {
                self.set(PublisherState::NoPrimary);
                if self.primary.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let started = Instant::now();
            let ended = self.attempt(&target).await;
            if started.elapsed() > LAST_PAUSE {
                pause = FIRST_PAUSE;
            }
            match ended {
                Ended::Moved => continue,
                Ended::Nobody => return,
                Ended::Failed(error) => self.note(&target, &error),
            }
            tokio::select! {
                () = sleep(pause) => {}
                changed = self.primary.changed() => if changed.is_err() { return },
            }
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    async fn attempt(&mut self, target: &BackendTarget) -> Ended {
        let mut primary = self.primary.clone();
        // Boxed: the state of a session is large, and lives as long as the task.
        let publishing = Box::pin(self.publish_from(target));
        tokio::select! {
            Err(error) = publishing => Ended::Failed(error),
            changed = moved(&mut primary, target) => changed,
        }
    }

    async fn publish_from(&mut self, target: &BackendTarget) -> Result<(), Error> {
        let force = self.force;
        let (session, begun) = Session::open(target, &self.config, force).await?;
        self.force = Force::No;
        self.show.send_modify(|status| {
            status.state = PublisherState::Starting;
            status.epoch = Some(session.rules.epoch());
            status.epochs_raised += u64::from(begun == Begun::Raised);
        });
        let mut run = Run::new(
            session,
            self.config.clone(),
            self.sink.clone(),
            Arc::clone(&self.show),
        );
        let error = match run.turn_by_turn().await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        run.session.stream.close().await;
        match &error {
            Error::RetentionExceeded { .. } => {
                run.session.control.drop_slot_once_free(&self.config.slot).await?
            }
            Error::TooManyTables => self.force = Force::Raise,
            _ => {}
        }
        Err(error)
    }

    fn set(&self, state: PublisherState) {
        self.show.send_modify(|status| status.state = state);
    }

    /// An error is logged when it differs from the last, so that a long outage is one line.
    fn note(&self, target: &BackendTarget, error: &Error) {
        let text: Arc<str> = Arc::from(error.to_string());
        let is_news = self.show.borrow().last_error.as_ref() != Some(&text);
        let elsewhere = matches!(error, Error::SlotBusy);
        if is_news && !elsewhere {
            tracing::warn!(
                shard = %self.config.shard, database = self.config.database, server = %target.address, %error,
                "the publisher starts anew"
            );
        }
        self.show.send_modify(|status| {
            status.state = if elsewhere {
                PublisherState::Elsewhere
            } else {
                PublisherState::Connecting
            };
            status.retries += 1;
            if !elsewhere {
                status.last_error = Some(text);
            }
        });
    }
}

/// Why an attempt ended.
enum Ended {
    /// The primary is elsewhere.
    Moved,
    /// Nobody says any more where the primary is.
    Nobody,
    Failed(Error),
}

/// Waits until the primary is no longer at `target`.
async fn moved(primary: &mut watch::Receiver<Option<BackendTarget>>, target: &BackendTarget) -> Ended {
    loop {
        if primary.changed().await.is_err() {
            return Ended::Nobody;
        }
        if primary
            .borrow()
            .as_ref()
            .is_none_or(|other| other.address != target.address)
        {
            return Ended::Moved;
        }
    }
}

type Sending = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// A session with the message that is under way: one at a time, so that the order of acknowledgements is theirs.
struct Run {
    session: Session,
    config: PublisherConfig,
    sink: EventSink,
    show: Arc<watch::Sender<PublisherStatus>>,
    sending: Option<(Sent, Sending)>,
    next_look: Instant,
    look_pause: Duration,
    /// Pulses since the log stood still and all of it was told, counted round.
    quiet_pulses: u32,
    /// A heartbeat waited for the log to be decoded past it at the last pulse already.
    nudge_is_due: bool,
    next_pulse: Instant,
    pace: Pace,
}

/// How often the end of the log is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    Quick,
    /// Nobody reads the stream, and all of the log was told at the last pulse.
    Slow,
}

/// What is under way.
#[derive(Clone, Copy)]
struct Sent {
    to: Lsn,
    tags: usize,
}

/// What happened next.
enum Event {
    Sent(Result<(), Error>),
    Incoming(crate::replication::Incoming),
    Look,
    Pulse,
}

impl Run {
    fn new(
        session: Session,
        config: PublisherConfig,
        sink: EventSink,
        show: Arc<watch::Sender<PublisherStatus>>,
    ) -> Self {
        let (next_look, look_pause) = (Instant::now(), FIRST_LOOK);
        Self {
            session,
            config,
            sink,
            show,
            sending: None,
            next_look,
            look_pause,
            quiet_pulses: 0,
            nudge_is_due: false,
            next_pulse: Instant::now(),
            pace: Pace::Quick,
        }
    }

    async fn turn_by_turn(&mut self) -> Result<(), Error> {
        loop {
            let may_look = self.sending.is_none() && self.session.rules.wants_snapshot();
            let has_room = self.session.has_room();
            let event = tokio::select! {
                biased;
                sent = finished(&mut self.sending) => Event::Sent(sent),
                () = sleep_until(self.next_pulse) => Event::Pulse,
                () = busy(&mut self.config.activity), if self.pace == Pace::Slow => Event::Pulse,
                () = sleep_until(self.next_look), if may_look => Event::Look,
                incoming = self.session.stream.next(), if has_room => Event::Incoming(incoming?),
            };
            match event {
                Event::Sent(result) => self.sent(result).await?,
                Event::Pulse => self.pulse().await?,
                Event::Look => self.look().await?,
                Event::Incoming(incoming) => self.take_all(incoming).await?,
            }
        }
    }

    /// The log that nobody reads may rest once it stands still: its end matters to nobody, and what it holds back is nothing.
    fn set_next_pulse(&mut self, stands_still: bool) {
        let resting = *self.config.activity.borrow() == Activity::Resting;
        let quick = self.config.heartbeat_interval;
        (self.pace, self.next_pulse) = if stands_still && resting {
            (Pace::Slow, Instant::now() + quick.max(RESTING_INTERVAL))
        } else {
            (Pace::Quick, Instant::now() + quick)
        };
    }

    /// Takes what has arrived already, so that a batch holds all of it.
    async fn take_all(&mut self, first: crate::replication::Incoming) -> Result<(), Error> {
        let (mut incoming, mut completed) = (first, false);
        for _ in 0..MESSAGES_PER_TURN {
            let is_keepalive = matches!(incoming, crate::replication::Incoming::Keepalive { .. });
            let one = self.session.take(incoming).await?;
            completed |= one || is_keepalive;
            if one && self.pace == Pace::Slow {
                self.set_next_pulse(false);
            }
            self.show.send_if_modified(|status| {
                status.transactions += u64::from(one);
                false
            });
            if !self.session.has_room() {
                break;
            }
            incoming = tokio::select! {
                biased;
                incoming = self.session.stream.next() => incoming?,
                () = std::future::ready(()) => break,
            };
        }
        if completed {
            self.next_look = Instant::now();
        }
        Ok(())
    }

    async fn look(&mut self) -> Result<(), Error> {
        match self.session.next_message().await? {
            Some(message) => {
                self.look_pause = FIRST_LOOK;
                self.send(message);
            }
            None => {
                self.next_look = Instant::now() + self.look_pause;
                self.look_pause = (self.look_pause * 2).min(LAST_LOOK);
            }
        }
        Ok(())
    }

    fn send(&mut self, message: StreamMessage) {
        let sent = Sent {
            to: message.to(),
            tags: message.tags().len(),
        };
        let (sink, show, shard) = (self.sink.clone(), Arc::clone(&self.show), self.config.shard);
        let sending = async move {
            let mut pause = FIRST_PAUSE;
            while let Err(error) = sink.publish(shard, &message).await {
                if !error.is_retryable() {
                    return Err(error.into());
                }
                show.send_modify(|status| {
                    if status.state != PublisherState::SinkDown {
                        tracing::warn!(%shard, %error, "the invalidation stream can't be published");
                    }
                    status.state = PublisherState::SinkDown;
                    status.retries += 1;
                    status.last_error = Some(Arc::from(error.to_string()));
                });
                sleep(pause).await;
                pause = (pause * 2).min(LAST_PAUSE);
            }
            Ok(())
        };
        self.sending = Some((sent, Box::pin(sending)));
    }

    async fn sent(&mut self, result: Result<(), Error>) -> Result<(), Error> {
        let Some((sent, _)) = self.sending.take() else {
            return Ok(());
        };
        result?;
        self.session.acknowledged(sent.to).await?;
        self.next_look = Instant::now();
        self.show.send_modify(|status| {
            status.state = PublisherState::Publishing;
            status.published_to = sent.to;
            status.messages += 1;
            status.tags += u64::try_from(sent.tags).unwrap_or(0);
        });
        Ok(())
    }

    /// Asks where the log ends, confirms what was published, and keeps an idle stream moving.
    async fn pulse(&mut self) -> Result<(), Error> {
        let session = &mut self.session;
        let pulse = session
            .control
            .pulse(&self.config.slot, session.rules.epoch().timeline())
            .await?;
        let confirmed = session.rules.confirmable();
        self.show.send_modify(|status| {
            status.lag_bytes = pulse.insert.0.saturating_sub(confirmed.0);
            status.retained_bytes = pulse.retained;
        });
        if pulse.retained > self.config.max_retained_bytes {
            return Err(Error::RetentionExceeded {
                held: pulse.retained,
                bound: self.config.max_retained_bytes,
            });
        }
        // While a message is under way the next one waits for it anyway, and while the slot is not read nothing is decoded.
        let is_idle = self.sending.is_none() && session.has_room();
        self.quiet_pulses = if pulse.insert > confirmed {
            0
        } else {
            (self.quiet_pulses + 1) % QUIET_PULSES
        };
        // Where the log stands still there is nothing to tell but to those who join.
        if is_idle && self.quiet_pulses == 0 {
            session.rules.ask_heartbeat(pulse.insert);
        }
        let needs_nudge = is_idle && session.rules.needs_nudge();
        session.stream.confirm(confirmed, needs_nudge).await?;
        if needs_nudge && self.nudge_is_due {
            session.control.nudge().await?;
        }
        self.nudge_is_due = needs_nudge;
        self.set_next_pulse(pulse.insert <= confirmed);
        Ok(())
    }
}

/// Waits until somebody reads the stream.
async fn busy(activity: &mut watch::Receiver<Activity>) {
    if activity
        .wait_for(|activity| *activity == Activity::Busy)
        .await
        .is_err()
    {
        // Nobody says any more; the pulse comes anyway.
        std::future::pending().await
    }
}

/// Waits for the message under way; for ever if there is none.
async fn finished(sending: &mut Option<(Sent, Sending)>) -> Result<(), Error> {
    match sending {
        Some((_, sending)) => sending.await,
        None => std::future::pending().await,
    }
}
