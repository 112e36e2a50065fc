//! Clients of a database that is on one shard with all it has: the server is the authority.
//!
//! What the client sends is forwarded in whole pipelines, unchanged but for the names of prepared statements, and nothing
//! is refused because it can't be read: the server says what it thinks of it. Where the client stands (in a transaction,
//! in COPY, in a batch) is what the server's answers say.
//!
//! A text is looked at only to learn what it may leave in the session, whether it is the proxy's own, and whether it is a
//! read that the cache or a standby may answer: such a one goes the way of databases that are spread over shards.

mod commit;
mod followed;
mod gone;
mod messages;
mod names;
mod own;
mod query;
mod release;
mod routed;
mod server;
mod statements;
mod watch;

use super::{Client, Failure, Flow, take_back_ready};
use crate::admin::ClientState;
use crate::data::duplex::{Appetite, Rested, Sending, Woken};
use crate::data::relay::RelayError;
use crate::data::thread::{PlanRef, Turn};
use crate::metrics::ErrorSource;
use commit::Commit;
use names::Names;
use session::intake::Intake;
use session::relay::{self, RelayEnd};
use session::requests::Request;
use session::{Expected, Prepared, ReplyTracker, Settings};
use settings::PoolMode;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use topology::{Mono, ShardId};
use watch::{Restored, Seen, Watcher};
use wire::backend::ReadyForQuery;
use wire::frontend::Query;
use wire::{ProxyError, TransactionStatus};

/// How long a batch is held back for its end. Then the server gets what is there of it, as it would from the client: it
/// begins with it, and what it measures begins.
const BATCH_PAUSE: Duration = Duration::from_millis(10);

/// Whether the server would answer what it was sent so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Batch {
    /// It was told to, by Sync or with a query.
    Closed,
    /// Messages of the extended protocol that no Sync followed: the connection is the client's.
    Open,
}

/// Messages that nobody carries out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Skip {
    Nothing,
    /// An error of our own came while no server had a part in the batch.
    ToSync,
}

/// What a client of a direct database has under way.
#[derive(Debug)]
pub(crate) struct Direct {
    shard: ShardId,
    /// What the server said last of the client's transaction.
    status: TransactionStatus,
    batch: Batch,
    skip: Skip,
    tracker: ReplyTracker,
    intake: Intake,
    names: Names,
    seen: Seen,
    commit: Commit,
    /// What is to be done when the statement under way is over; nothing else is sent before.
    follow: Option<Follow>,
    /// A statement takes settings back to where the session began; the server reports them just before it is ready.
    restoring: bool,
    /// Portals whose statements are to be followed or the proxy's own.
    bound: Portals,
    /// When what is under way was begun; `None`: nothing is.
    begun: Option<Mono>,
    /// When the transaction under way was begun.
    transaction_at: Option<Mono>,
    /// `query_timeout` has struck.
    timed_out: bool,
    /// Settings under which the proxy can't read statements as the server does.
    unreadable: Unreadable,
}

/// Settings under which a text can't be read here: it may leave anything.
#[derive(Clone, Copy, Default, Debug)]
struct Unreadable {
    /// An encoding in which a byte of another character may look like a quote or a backslash.
    encoding: bool,
    /// `standard_conforming_strings` is off.
    strings: bool,
}

impl Unreadable {
    fn any(self) -> bool {
        self.encoding || self.strings
    }

    /// The server reported a setting.
    fn note(&mut self, name: &[u8], value: &[u8]) {
        /// Those that are for clients only: their second bytes may be ASCII.
        const TREACHEROUS: [&str; 7] = ["BIG5", "GB18030", "GBK", "JOHAB", "SHIFT_JIS_2004", "SJIS", "UHC"];
        match name {
            b"client_encoding" => {
                let value = String::from_utf8_lossy(value).to_ascii_uppercase();
                self.encoding = TREACHEROUS.contains(&value.as_str());
            }
            b"standard_conforming_strings" => self.strings = value != b"on",
            _ => {}
        }
    }
}

/// What is to be done when a statement is over.
#[derive(Debug)]
enum Follow {
    /// Nothing but to wait for it: what comes next depends on what it did.
    Wait,
    /// A setting, if it succeeded.
    Setting(PlanRef),
}

/// Portals whose Execute is not like others. They end with their transaction at the latest.
#[derive(Default, Debug)]
struct Portals(Vec<Bound>);

/// The most of them that are remembered.
const MAX_PORTALS: usize = 64;

impl Portals {
    fn find(&self, name: &[u8]) -> Option<&Bound> {
        self.0.iter().find(|bound| *bound.portal == *name)
    }

    /// Remembers one more. `false`: there are too many.
    fn insert(&mut self, bound: Bound) -> bool {
        let fits = self.0.len() < MAX_PORTALS;
        if fits {
            self.0.push(bound);
        }
        fits
    }

    fn remove(&mut self, name: &[u8]) {
        self.0.retain(|bound| *bound.portal != *name);
    }
}

/// A portal whose Execute is not like others.
#[derive(Debug)]
struct Bound {
    portal: Box<[u8]>,
    plan: PlanRef,
    /// Where it is the proxy's own.
    statement: Option<Rc<Prepared<PlanRef>>>,
}

/// Why messages are not taken any further.
#[derive(Debug)]
enum Stop {
    /// There are none.
    NeedMore,
    /// What the server has been sent has to be answered first.
    Wait,
    /// The server has to take some of what it is sent first.
    Full,
    /// A request that goes the routed way.
    Routed(Request),
    /// The client says goodbye.
    Terminate,
}

/// The connection is over, and the client has been told as far as it is still there.
#[derive(Debug)]
struct Ended;

impl Direct {
    /// For a client that began with the settings `startup`.
    pub(crate) fn new(shard: ShardId, startup: &Settings) -> Self {
        let mut unreadable = Unreadable::default();
        for name in ["client_encoding", "standard_conforming_strings"] {
            if let Some(value) = startup.get(name) {
                unreadable.note(name.as_bytes(), value.trim_matches('\'').as_bytes());
            }
        }
        Self {
            shard,
            status: TransactionStatus::Idle,
            batch: Batch::Closed,
            skip: Skip::Nothing,
            tracker: ReplyTracker::new(),
            intake: Intake::default(),
            names: Names::default(),
            seen: Seen::default(),
            commit: Commit::default(),
            follow: None,
            restoring: false,
            bound: Portals::default(),
            begun: None,
            transaction_at: None,
            timed_out: false,
            unreadable,
        }
    }

    /// Whether a server connection belongs to the client until more was said on either side.
    fn is_open(&self) -> bool {
        self.status != TransactionStatus::Idle
            || self.batch == Batch::Open
            || self.intake.is_streaming()
            || self.tracker.is_skipping()
    }
}

impl Client {
    /// Serves a client of a direct database until it leaves or has to be sent away.
    pub(super) async fn serve_direct(&mut self, direct: &mut Direct) {
        // Boxed: working takes much more room than resting, and most clients rest most of the time.
        while Box::pin(self.work(direct)).await.is_ok() {
            if self.at_rest(direct).await.is_err() {
                return;
            }
        }
    }

    /// Takes messages and answers them until there is nothing to do.
    async fn work(&mut self, direct: &mut Direct) -> Result<(), Ended> {
        loop {
            let stop = self.take_messages(direct).await?;
            direct.tracker.emit_local(&mut self.io.out);
            match stop {
                Stop::Terminate => return Err(Ended),
                Stop::Routed(request) => self.route(direct, request).await?,
                Stop::Full => self.exchange(direct, Appetite::Full).await?,
                _ if !direct.tracker.is_done() => self.exchange(direct, Appetite::More).await?,
                // A Flush after which the server has nothing to say: nobody waits for an answer.
                _ if self.owes(direct) => self.exchange(direct, Appetite::Nothing).await?,
                // What it was to wait for was answered here.
                Stop::Wait => self.note_seen(direct),
                Stop::NeedMore if direct.tracker.is_unsure() && !direct.tracker.is_skipping() => {
                    self.settle_copy(direct);
                }
                Stop::NeedMore => {
                    let seen = self.io.input.len();
                    self.come_to_rest(direct).await?;
                    // While the server was asked what is on the connection, the client may have sent its next message.
                    if self.io.input.len() == seen {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// An error ended COPY, and it isn't known how many of the client's Syncs the server will answer: a query of ours, of
    /// which the answer comes after theirs, tells.
    fn settle_copy(&mut self, direct: &mut Direct) {
        if let Some(participant) = self.participants.first_mut() {
            Query { sql: b"" }.encode(participant.backend.unsent());
            direct.tracker.expect(Expected::Settling);
            direct.names.unnamed.leave();
        } else {
            direct.tracker = ReplyTracker::new();
            direct.commit = Commit::default();
        }
    }

    /// Whether the server has something to take or to say.
    fn owes(&self, direct: &Direct) -> bool {
        !direct.tracker.is_done() || self.participants.iter().any(|p| p.backend.unsent_len() > 0)
    }

    /// Sends and receives until there is something to do.
    async fn exchange(&mut self, direct: &mut Direct, appetite: Appetite) -> Result<(), Ended> {
        let mut sending = Sending::Later;
        loop {
            let Some(participant) = self.participants.first_mut() else {
                // Without a connection nothing can be owed.
                return Err(self.end(direct, ProxyError::internal()));
            };
            let waiting = self.io.exchange(&mut participant.backend, appetite, sending);
            let woken = match deadline(&self.thread.settings().limits.query_timeout, direct) {
                None => waiting.await,
                Some(left) => match tokio::time::timeout(left, waiting).await {
                    Ok(woken) => woken,
                    Err(_) => {
                        direct.timed_out = true;
                        self.info.cancel();
                        continue;
                    }
                },
            };
            match woken {
                Woken::Client | Woken::Room => return Ok(()),
                Woken::ClientGone => return Err(Ended),
                Woken::Backend(Ok(n)) if n > 0 => {
                    self.take_answers(direct, n)?;
                    if direct.tracker.is_done() {
                        return Ok(());
                    }
                    sending = Sending::Now;
                }
                Woken::Backend(read) => {
                    let error = read.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
                    return Err(self.lost_server(direct, RelayError::BackendLost(error)));
                }
            }
        }
    }

    /// What the server said: `n` bytes in the scratch buffer.
    fn take_answers(&mut self, direct: &mut Direct, n: usize) -> Result<(), Ended> {
        let before = self.io.out.len();
        let between_messages;
        let taken = {
            let scratch = self.io.scratch();
            let scratch = scratch.borrow();
            let data = scratch.get(..n).unwrap_or_default();
            let Some(participant) = self.participants.first_mut() else {
                return Ok(());
            };
            let mut cursor = std::mem::take(participant.backend.cursor());
            between_messages = cursor.is_at_rest();
            let restoring = direct.restoring;
            let restored = self
                .greeting
                .as_deref()
                .filter(|_| restoring)
                .map(|greeted| Restored {
                    startup: &self.startup,
                    greeted,
                });
            let taken = relay::take(
                data,
                &mut cursor,
                &mut direct.tracker,
                &mut Watcher {
                    seen: &mut direct.seen,
                    statements: &self.statements,
                    greeted: self.greeting.as_deref(),
                    restored,
                },
                &mut self.io.out,
            );
            *participant.backend.cursor() = cursor;
            taken
        };
        let stats = self.thread.stats.database(self.database.index);
        stats.sent(self.io.out.len() - before);
        match taken {
            Ok(Some(RelayEnd::InjectedFailed)) => Err(self.settings_refused(direct)),
            Ok(_) => {
                self.note_seen(direct);
                if self.mode == PoolMode::Statement && direct.status != TransactionStatus::Idle {
                    if between_messages {
                        // It is not told that a transaction has begun.
                        self.io.out.truncate(before);
                    }
                    take_back_ready(&mut self.io.out);
                    return Err(self.end(direct, ProxyError::statement_mode()));
                }
                Ok(())
            }
            Err(fault) => Err(self.lost_server(direct, fault.into())),
        }
    }

    /// Nothing is under way: the connection goes back if the client left nothing on it, and the client gets what is there
    /// for it.
    async fn come_to_rest(&mut self, direct: &mut Direct) -> Result<(), Ended> {
        self.note_seen(direct);
        self.finish_request(direct);
        self.release_direct(direct).await;
        self.io.flush().await.map_err(|_| Ended)
    }

    /// Until the client says what comes next.
    async fn at_rest(&mut self, direct: &mut Direct) -> Result<(), Ended> {
        self.io.rest();
        let open = direct.is_open();
        let state = match (open, self.participants.is_empty()) {
            (true, _) => ClientState::IdleInTransaction,
            (false, _) => ClientState::Idle,
        };
        self.info.activity.set(state);
        let bound = if open {
            self.thread.settings().limits.idle_transaction_timeout
        } else {
            None
        };
        let holds_back = direct.intake.holds_back();
        let bound = if holds_back { Some(BATCH_PAUSE) } else { bound };
        let turn = match self.participants.first_mut() {
            None => self.info.turn(&mut self.io, bound, !open).await,
            Some(participant) => {
                let backend = &mut participant.backend;
                match self.info.turn_beside(&mut self.io, backend, bound, !open).await {
                    Rested::Turn(turn) => turn,
                    Rested::Backend(Ok(n)) if n > 0 => return self.take_answers(direct, n),
                    Rested::Backend(read) => {
                        let error = read.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
                        return Err(self.lost_server(direct, RelayError::BackendLost(error)));
                    }
                }
            }
        };
        match turn {
            Turn::Read => Ok(()),
            Turn::Gone => Err(Ended),
            Turn::TimedOut if holds_back => {
                direct.intake.wait_no_more();
                Ok(())
            }
            Turn::TimedOut => Err(self.end(direct, ProxyError::idle_in_transaction())),
            Turn::Stopped(reason) => Err(self.end(direct, reason.error())),
        }
    }

    /// Something of the client's is under way from here on.
    fn begin_request(&mut self, direct: &mut Direct) {
        if direct.begun.is_some() {
            return;
        }
        let now = health::boot_time();
        direct.begun = Some(now);
        direct.timed_out = false;
        direct.transaction_at.get_or_insert(now);
        self.info.transaction_at.set(direct.transaction_at);
        self.info.request_at.set(now);
        self.info.activity.set(ClientState::Active);
        self.thread.stats.add_request();
    }

    fn finish_request(&mut self, direct: &mut Direct) {
        let stats = Rc::clone(&self.thread);
        let stats = stats.stats.database(self.database.index);
        stats.received(direct.intake.take_count());
        let Some(begun) = direct.begun.take() else { return };
        let now = health::boot_time();
        stats.query(now.since(begun));
        if direct.status == TransactionStatus::Idle
            && let Some(at) = direct.transaction_at.take()
        {
            self.info.transaction_at.set(None);
            stats.transaction(now.since(at));
        }
        self.info.prepared_statements.set(self.statements.len());
    }

    /// ReadyForQuery where no server was asked.
    fn ready_direct(&mut self, direct: &Direct) {
        ReadyForQuery {
            status: direct.status,
        }
        .encode(&mut self.io.out);
    }

    /// Ends the client's connection with an error.
    fn end(&mut self, direct: &Direct, error: ProxyError) -> Ended {
        let _ = direct;
        let error = if error.is_fatal() {
            error
        } else {
            error.with_severity(wire::Severity::Fatal)
        };
        // The caller's flow is what it is: the connection ends.
        let _: Flow = self.report(Failure::Proxy(error));
        Ended
    }

    /// The server connection is lost, and with it what the client had there.
    fn lost_server(&mut self, direct: &mut Direct, error: RelayError) -> Ended {
        self.note_seen(direct);
        if let Some(participant) = self.participants.first() {
            self.thread.note_lost(&participant.backend, &error);
        }
        self.discard(0);
        let committing = direct.commit.is_unanswered(&direct.tracker);
        direct.tracker = ReplyTracker::new();
        match error {
            // PostgreSQL's own last words.
            RelayError::BackendEnded(_, said) => {
                self.thread.stats.add_error(ErrorSource::Server);
                self.io.out.extend_from_slice(&said.frame);
                Ended
            }
            RelayError::ClientLost => Ended,
            _ if committing => self.end(direct, ProxyError::commit_unknown()),
            RelayError::BackendLost(_) | RelayError::Unexpected(_) => {
                let doing = match direct.status {
                    TransactionStatus::Idle => "during the statement",
                    _ => "in a transaction",
                };
                self.end(direct, ProxyError::backend_lost(doing))
            }
        }
    }

    /// The server took the client's settings before, and doesn't any more; its error was forwarded.
    fn settings_refused(&mut self, direct: &mut Direct) -> Ended {
        self.discard(0);
        direct.tracker = ReplyTracker::new();
        let error = ProxyError::fatal(
            wire::sqlstate::CONNECTION_FAILURE,
            "the session's settings can't be set on another server connection",
        );
        self.end(direct, error)
    }
}

/// How long the statement under way may still take.
fn deadline(bound: &Option<Duration>, direct: &Direct) -> Option<Duration> {
    let (bound, begun) = ((*bound)?, direct.begun?);
    (!direct.timed_out).then(|| bound.saturating_sub(health::boot_time().since(begun)))
}
