//! The server connections that a client holds: taken when a statement needs them, given back when the transaction is over.

use super::{Client, Failure};
use crate::admin::ClientState;
use crate::data::hold::Hold;
use crate::data::relay::{RelayError, relay, relay_after};
use crate::data::reset::{self, Left};
use crate::data::thread::{Backend, ThreadPool};
use crate::reading::Choice;
use planner::{Effects, Plan};
use pool::BackendTarget;
use session::relay::{Answer, RelayEnd};
use session::state::Pins;
use session::{Expected, ReplyTracker};
use settings::PoolMode;
use std::rc::Rc;
use topology::{EndpointId, Mono, Role, ShardId, Timeline};
use wire::frontend::Query;
use wire::{ProxyError, TransactionStatus, sqlstate};

/// The first eight digits of a log file's name are the timeline; a server in recovery has none to name.
const TIMELINE_QUERY: &str = "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN '' ELSE \
    pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8) END, ''";

/// A shard's connection while it takes part in a transaction or statement.
#[derive(Debug)]
pub(crate) struct Participant {
    /// The connection.
    pub(crate) backend: Backend,
    /// Whether a statement that may write ran on it in this transaction.
    pub(crate) wrote: bool,
    /// Whether it is in the client's transaction block.
    pub(crate) joined: bool,
    /// A plain BEGIN that goes out together with the first statement.
    pub(crate) begin_due: bool,
    /// The name under which its part is prepared, between the two phases of a commit.
    pub(crate) prepared: Option<String>,
    /// ReadyForQuery messages that it owes for what was sent to it as a part.
    pub(crate) readies_due: u8,
    /// Whether it waits for COPY data.
    pub(crate) copy: CopyFrom,
    /// What the client's statements may have left on it since it was last known to be clean.
    pub(crate) effects: Effects,
    /// The client stays on it.
    pub(crate) hold: Option<Hold>,
}

impl Participant {
    /// Why the client stays on it.
    pub(crate) fn pins(&self) -> Pins {
        self.hold.as_ref().map_or(Pins::NONE, Hold::pins)
    }
}

/// Whether a participant takes COPY data as its part of a statement. It has to be told the end of it before it says anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CopyFrom {
    /// It doesn't, or it has been told the end.
    No,
    /// It was sent the statement.
    Asked(Protocol),
    /// It said that it waits for data.
    Taking(Protocol),
}

/// By which protocol a participant was sent a statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    /// Query.
    Simple,
    /// Parse to Sync.
    Extended,
}

impl Client {
    /// The shard's connection, as its place in `participants`; in a transaction block the shard joins it.
    pub(crate) async fn acquire(&mut self, shard: ShardId, plan: &Plan) -> Result<usize, Failure> {
        if let Some(at) = self.participants.iter().position(|p| p.backend.shard == shard) {
            self.prepare(at).await?;
            return Ok(at);
        }
        self.database.wake().await;
        let choice = self.choose(shard, plan)?;
        self.acquire_for(&choice, plan).await
    }

    /// Any connection that will do for a statement that every shard can answer.
    pub(crate) async fn acquire_any(&mut self, plan: &Plan) -> Result<usize, Failure> {
        // In a transaction, one that takes part already: it sees the transaction's own writes.
        if !self.participants.is_empty() {
            self.prepare(0).await?;
            return Ok(0);
        }
        self.database.wake().await;
        let choice = self.choose_any(plan)?;
        self.acquire_for(&choice, plan).await
    }

    /// A connection to the chosen server; to the primary where a standby can't be reached, or where the connection that its
    /// pool lends proves too little.
    async fn acquire_for(&mut self, choice: &Choice, plan: &Plan) -> Result<usize, Failure> {
        if plan.effects.intersects(Effects::SEQUENCE_READ) {
            self.thread.note_sequence_read();
        }
        if choice.role == Role::Primary {
            return self.acquire_primary(choice, plan).await;
        }
        match self.lend(choice).await {
            Ok(lent) => {
                let at = self.take_in(lent).await?;
                if self
                    .connection_qualifies(at, &plan.into(), health::boot_time())
                    .is_ok()
                {
                    return Ok(at);
                }
                self.give_back(at);
            }
            // It is there, and busy: its readers are not let loose on the primary.
            Err(Failure::Proxy(error)) if error.sqlstate == sqlstate::TOO_MANY_CONNECTIONS => {
                return Err(error.into());
            }
            // Why is in the log already. Nothing was asked of it.
            Err(_) => {}
        }
        let primary = self.choose_primary(choice.shard)?;
        Box::pin(self.acquire_primary(&primary, plan)).await
    }

    async fn acquire_primary(&mut self, choice: &Choice, plan: &Plan) -> Result<usize, Failure> {
        let lent = self.lend(choice).await?;
        let at = self.take_in(lent).await?;
        if let Err(refusal) = self.connection_qualifies(at, &plan.into(), health::boot_time()) {
            self.discard(at);
            tracing::warn!(shard = %choice.shard, ?refusal, "a primary may not answer");
            return Err(ProxyError::no_primary(choice.shard).into());
        }
        Ok(at)
    }

    /// A connection from the chosen server's pool.
    pub(crate) async fn lend(&mut self, choice: &Choice) -> Result<(Backend, Rc<BackendTarget>), Failure> {
        // What a session knows of its sequences is on the connection where it used them.
        let preferred = if self.thread.sequences_are_read() {
            self.sequences.and_then(|place| place.at(choice.endpoint))
        } else {
            None
        };
        self.info.activity.set(ClientState::Waiting);
        let lent = self
            .thread
            .checkout(&self.info, &self.database, choice, preferred)
            .await;
        self.info.activity.set(ClientState::Active);
        lent
    }

    /// Makes a connection a participant, as its place in `participants`.
    async fn take_in(&mut self, lent: (Backend, Rc<BackendTarget>)) -> Result<usize, Failure> {
        self.hold(lent);
        let at = self.participants.len() - 1;
        let prepared = self.prepare(at).await;
        if prepared.is_err() {
            self.discard(at);
        }
        prepared.map(|()| at)
    }

    /// Makes a connection a participant, as it is.
    pub(crate) fn hold(&mut self, (backend, target): (Backend, Rc<BackendTarget>)) {
        self.thread.stats.add_statement(backend.endpoint);
        self.info.add_backend(&backend, &target);
        if self.participants.capacity() == 0 {
            // Most clients never hold more than one, and keep the room for as long as they live.
            self.participants.reserve_exact(1);
        }
        self.participants.push(Participant {
            backend,
            wrote: false,
            joined: false,
            begin_due: false,
            prepared: None,
            readies_due: 0,
            copy: CopyFrom::No,
            effects: Effects::NONE,
            hold: None,
        });
    }

    /// The pool of the client's connections to a server.
    pub(crate) fn pool(&mut self, endpoint: EndpointId) -> Result<Rc<ThreadPool>, ProxyError> {
        if let Some(known) = self.pools.iter().find(|pool| pool.endpoint == endpoint) {
            return Ok(Rc::clone(known));
        }
        let pool = self.thread.pool(&self.info.user, &self.database, endpoint)?;
        self.pools.push(Rc::clone(&pool));
        Ok(pool)
    }

    /// Whether the connection can run a statement of the client's at once, or with no more than a BEGIN before it.
    pub(crate) fn is_prepared(&mut self, at: usize) -> bool {
        let joined = self.participants.get(at).is_some_and(|p| p.joined);
        !self.needs_identity(at) && (joined || !self.needs_settings(at)) && self.join_lazily(at)
    }

    /// Brings the connection to the client's settings and into its transaction block.
    async fn prepare(&mut self, at: usize) -> Result<(), Failure> {
        if self.needs_identity(at) {
            Box::pin(self.identify(at)).await?;
        }
        // In the block, SET runs on every shard of it: its settings are the client's already.
        if self.needs_settings(at) && self.participants.get(at).is_some_and(|p| !p.joined) {
            Box::pin(self.apply_settings(at)).await?;
        }
        if self.join_lazily(at) {
            return Ok(());
        }
        Box::pin(self.join(at)).await
    }

    fn needs_identity(&self, at: usize) -> bool {
        let backend = self.participants.get(at).map(|p| &p.backend);
        // Nobody needs to know where in the log something was written if no other server and no cache may answer.
        let matters = self.database.needs.routing();
        matters && backend.is_some_and(|b| b.role == Role::Primary && b.timeline().is_none())
    }

    fn needs_settings(&self, at: usize) -> bool {
        let backend = self.participants.get(at).map(|p| &p.backend);
        backend.is_some_and(|b| b.state().applied != *self.settings.current())
    }

    /// Asks a primary for its timeline, once on each connection: what is written there is a position on it.
    async fn identify(&mut self, at: usize) -> Result<(), Failure> {
        let Some(participant) = self.participants.get(at) else {
            return Ok(());
        };
        let shard = participant.backend.shard;
        let rows = self.rows(at, TIMELINE_QUERY).await?;
        let timeline = rows.first().and_then(|(name, _)| {
            let digits = std::str::from_utf8(name).ok()?;
            u32::from_str_radix(digits, 16).ok()
        });
        match (timeline, self.participants.get_mut(at)) {
            (Some(timeline), Some(participant)) => {
                participant.backend.set_timeline(Timeline(timeline));
                Ok(())
            }
            // It says that it is in recovery: the snapshot is older than its demotion.
            _ => Err(ProxyError::no_primary(shard).into()),
        }
    }

    async fn apply_settings(&mut self, at: usize) -> Result<(), Failure> {
        let wanted = self.settings.current();
        let Some(participant) = self.participants.get(at) else {
            return Ok(());
        };
        let Some(sql) = participant.backend.state().applied.statements_towards(wanted) else {
            return Ok(());
        };
        let wanted = wanted.clone();
        self.command(at, &sql).await?;
        if let Some(participant) = self.participants.get_mut(at) {
            participant.backend.state_mut().applied = wanted;
        }
        Ok(())
    }

    /// Joins the client's transaction block, if there is one, without a word to the server: by a plain BEGIN that goes out
    /// with the first statement. `false`: there is more to be said.
    fn join_lazily(&mut self, at: usize) -> bool {
        let (Some(block), Some(participant)) = (&self.block, self.participants.get_mut(at)) else {
            return true;
        };
        if participant.joined {
            return true;
        }
        let plain = block.begin_is_plain()
            && block.characteristics.is_empty()
            && block.savepoints.is_empty()
            && self.settings.local_statements().is_none();
        participant.joined |= plain;
        participant.begin_due |= plain;
        plain
    }

    /// Starts the client's transaction block, with all that was said in it so far, on a connection that is not in it.
    async fn join(&mut self, at: usize) -> Result<(), Failure> {
        let (Some(block), Some(participant)) = (&self.block, self.participants.get_mut(at)) else {
            return Ok(());
        };
        participant.joined = true;
        let mut sql = vec![block.begin_sql.to_string()];
        sql.extend(block.characteristics.iter().map(ToString::to_string));
        sql.extend(self.settings.local_statements());
        sql.extend(
            block
                .savepoints
                .iter()
                .map(|name| format!("SAVEPOINT {}", quote(name))),
        );
        for statement in sql {
            self.command(at, &statement).await?;
        }
        Ok(())
    }

    /// Starts a tracker for messages to a participant, with the BEGIN that may still be due.
    pub(crate) fn open(&mut self, at: usize) -> ReplyTracker {
        let mut tracker = ReplyTracker::new();
        if let Some(participant) = self.participants.get_mut(at)
            && std::mem::take(&mut participant.begin_due)
        {
            Query { sql: b"BEGIN" }.encode(participant.backend.unsent());
            tracker.expect(Expected::InjectedQuery);
        }
        tracker
    }

    /// Runs a statement of our own on a participant; the client sees nothing of it. Gives the command tag.
    pub(crate) async fn command(&mut self, at: usize, sql: &str) -> Result<String, Failure> {
        let answer = self.command_watched(at, sql).await?;
        Ok(String::from_utf8_lossy(&answer.tag).into_owned())
    }

    /// As [`Client::command`], and gives back what was seen of the answer.
    pub(crate) async fn command_watched(&mut self, at: usize, sql: &str) -> Result<Answer, Failure> {
        let first = self.take_heard();
        let mut tracker = self.open(at);
        let Some(participant) = self.participants.get_mut(at) else {
            return Err(ProxyError::internal().into());
        };
        let backend = &mut participant.backend;
        if first.is_none() {
            Query { sql: sql.as_bytes() }.encode(backend.unsent());
        }
        tracker.expect(Expected::Query);
        let mut answer = Answer::silent();
        let end = relay_after(&mut self.io, backend, &mut tracker, &mut answer, first).await;
        self.io
            .out
            .extend_from_slice(&std::mem::take(&mut answer.notifications));
        if self.block.is_some() && ends_settings(sql) {
            self.changed_back.append(&mut answer.parameters);
        }
        match (end, answer.error.take()) {
            (Ok(RelayEnd::Ready(_)), None) => Ok(answer),
            (Ok(_), Some(error)) => Err(Failure::Server(error)),
            (Ok(_), None) => Err(ProxyError::internal().into()),
            (Err(error), _) => Err(self.lost(at, &error)),
        }
    }

    /// Passes on the answers of a participant.
    pub(crate) async fn relay(
        &mut self,
        at: usize,
        tracker: &mut ReplyTracker,
        answer: &mut Answer,
    ) -> Result<RelayEnd, Failure> {
        let Some(participant) = self.participants.get_mut(at) else {
            return Err(ProxyError::internal().into());
        };
        let end = relay(&mut self.io, &mut participant.backend, tracker, answer).await;
        self.io
            .out
            .extend_from_slice(&std::mem::take(&mut answer.notifications));
        match end {
            Ok(end) => Ok(end),
            Err(error) => Err(self.lost(at, &error)),
        }
    }

    /// A participant's connection broke: it is closed and takes no part any more.
    pub(crate) fn lost(&mut self, at: usize, error: &RelayError) -> Failure {
        if matches!(error, RelayError::ClientLost) {
            // Nobody waits for the answer any more: the server need not work on it.
            self.info.cancel();
        }
        if let Some(participant) = self.participants.get(at) {
            self.thread.note_lost(&participant.backend, error);
        }
        self.discard(at);
        let doing = if self.block.is_some() {
            "in a transaction"
        } else {
            "during the statement"
        };
        Failure::from_relay(error, doing)
    }

    /// Closes a participant's connection.
    pub(crate) fn discard(&mut self, at: usize) {
        if at < self.participants.len() {
            let participant = self.participants.remove(at);
            self.info.remove_backend(&participant.backend);
            if self.block.is_some() {
                self.info.lost_in_block.set(true);
            }
            participant.backend.close();
            self.show_pins();
        }
    }

    /// Gives a participant's connection back unused.
    pub(crate) fn give_back(&mut self, at: usize) {
        if at < self.participants.len() {
            let participant = self.participants.remove(at);
            self.info.remove_backend(&participant.backend);
            if participant.joined {
                participant.backend.close()
            } else {
                participant.backend.release()
            }
        }
    }

    /// After a statement: outside a transaction block everything that isn't pinned goes back to its pool.
    pub(crate) async fn settle(&mut self) {
        if self.block.is_none() {
            if self.participants.iter().any(|p| !p.effects.is_empty()) {
                Box::pin(self.rest()).await;
            }
            self.release_all();
        }
    }

    /// Gives back every connection that isn't pinned.
    pub(crate) fn release_all(&mut self) {
        self.release_all_at(health::boot_time());
    }

    /// The same for a caller who knows the time.
    pub(crate) fn release_all_at(&mut self, now: Mono) {
        let mut at = 0;
        while let Some(participant) = self.participants.get_mut(at) {
            participant.wrote = false;
            if participant.joined || participant.readies_due > 0 {
                // Whoever got it next would be in another's transaction, or be given another's answer: it is closed.
                tracing::error!(shard = %participant.backend.shard, "a server connection was not left at rest");
                self.discard(at);
                continue;
            }
            // What effects have left is found out at the end of the request.
            if participant.hold.is_some() || !participant.effects.is_empty() || self.mode == PoolMode::Session
            {
                at += 1;
                continue;
            }
            let participant = self.participants.swap_remove(at);
            self.info.remove_backend(&participant.backend);
            if self.thread.resets_always() {
                reset::reset(&self.thread, participant.backend, Left::Session);
            } else {
                participant.backend.release_at(now);
            }
        }
    }

    /// Takes in the status that a participant's ReadyForQuery gave. `false`: it isn't what the block says.
    pub(crate) fn note_status(&mut self, status: TransactionStatus) {
        if let Some(block) = &mut self.block
            && status == TransactionStatus::Failed
        {
            block.failed = true;
        }
    }

    /// Remembers that a statement ran on a participant, and what it may have done there.
    pub(crate) fn note_ran(&mut self, at: usize, plan: &Plan) {
        self.note_effects(at, plan.access, plan.effects);
    }

    /// The client leaves: connections in the middle of something are closed, which rolls back; the others go back.
    pub(crate) async fn abandon(&mut self) {
        let in_block = self.block.take().is_some();
        for participant in std::mem::take(&mut self.participants) {
            self.info.remove_backend(&participant.backend);
            if participant.readies_due > 0 {
                participant.backend.close();
                continue;
            }
            let in_block = in_block && participant.joined && !participant.begin_due;
            let pins = participant.pins();
            drop(participant.hold);
            self.leave_behind(participant.backend, pins, participant.effects, in_block);
        }
    }
}

/// Whether a statement of ours may change back what SET and SET LOCAL had set in the client's transaction.
fn ends_settings(sql: &str) -> bool {
    ["COMMIT", "ROLLBACK", "PREPARE TRANSACTION"]
        .iter()
        .any(|command| sql.starts_with(command))
}

/// A name as an SQL identifier.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
