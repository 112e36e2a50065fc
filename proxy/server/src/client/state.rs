//! What a client's session leaves on its server connections: found out at rest, carried on, or held fast.

use super::single::Form;
use super::{Client, Failure};
use crate::data::hold::Hold;
use crate::data::reset::{self, Left};
use crate::data::thread::{Backend, Turn};
use planner::{Access, Effects};
use session::relay::{Answer, RelayEnd};
use session::state::{AtRest, CODE_QUESTION, Doubt, Found, Pins, Questions, Traces, at_rest};
use session::{Expected, Naming, quote_literal};
use std::task::Poll;
use std::time::Duration;
use wire::backend::ParameterStatus;
use wire::frontend::{Bind, Close, Execute, Parse, Target, encode_sync};
use wire::{FormatCodes, Oids, ProxyError, Severity, SqlState, sqlstate};

/// Most bytes of an answer to a question of ours.
const MAX_ANSWER: usize = 1 << 20;
/// 55000: `currval` before `nextval`.
const OBJECT_NOT_IN_PREREQUISITE_STATE: SqlState = SqlState::new(*b"55000");

/// What a text shows, and what it means for the connection.
const VISIBLE: [(Effects, Pins); 8] = [
    (Effects::LISTEN, Pins::LISTEN),
    (Effects::TEMPORARY, Pins::TEMPORARY),
    (Effects::HELD_CURSOR, Pins::HELD_CURSOR),
    (Effects::ADVISORY_LOCK, Pins::ADVISORY_LOCK),
    (Effects::SQL_PREPARED, Pins::SQL_PREPARED),
    (Effects::BACKEND, Pins::BACKEND),
    (Effects::RANDOM_SEED, Pins::RANDOM_SEED),
    (Effects::SEQUENCE_USE, Pins::SEQUENCE),
];

/// Where the client used a sequence last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SequencePlace {
    endpoint: topology::EndpointId,
    connection: u64,
}

impl SequencePlace {
    /// The connection's number in the pool of this server.
    pub(crate) fn at(self, endpoint: topology::EndpointId) -> Option<u64> {
        (self.endpoint == endpoint).then_some(self.connection)
    }
}

/// What ended a client's rest beside its servers.
enum Told {
    Turn(Turn),
    /// The server at this place said something.
    Server(usize),
    /// The server at this place closed the connection.
    ServerGone(usize),
}

fn visible(effects: Effects) -> Pins {
    let there = VISIBLE.iter().filter(|(effect, _)| effects.intersects(*effect));
    there.fold(Pins::NONE, |pins, (_, pin)| pins.union(*pin))
}

fn traces(effects: Effects) -> Traces {
    let doubt = if effects.intersects(Effects::SUSPECT) {
        Doubt::Everything
    } else if effects.intersects(Effects::SETTINGS) {
        Doubt::Settings
    } else {
        Doubt::None
    };
    let ended = if effects.intersects(Effects::SEQUENCE_END) {
        Pins::SEQUENCE
    } else {
        Pins::NONE
    };
    Traces {
        made: visible(effects),
        doubt,
        released: effects.intersects(Effects::RELEASES),
        ended,
    }
}

impl Client {
    /// Sees to what a statement with effects needs before it runs on a participant.
    ///
    /// # Errors
    /// 53300 where too many clients stay on connections already; 55000 for the value of a sequence that is lost; 0A000 for
    /// a setting in a transaction over several shards.
    pub(crate) async fn before_effects(&mut self, at: usize, effects: Effects) -> Result<(), Failure> {
        if effects.intersects(Effects::SETTINGS)
            && self.block.is_some()
            && self.database.direct.is_none()
            && self.database.snapshot().shards.len() > 1
        {
            return Err(ProxyError::unsupported(
                "set_config for the session is not supported in a transaction",
                "The setting would have to reach the other shards of the transaction.",
                "Use SET, or set_config(name, value, true).",
            )
            .into());
        }
        if effects.intersects(Effects::PINS) && !self.stays_connected() {
            self.admit_pin(at)?;
        }
        if effects.intersects(Effects::SEQUENCE_READ) {
            self.before_sequence_read(at).await?;
        }
        Ok(())
    }

    fn admit_pin(&self, at: usize) -> Result<(), ProxyError> {
        let Some(bound) = self.thread.max_pinned() else {
            return Ok(());
        };
        match self.participants.get(at) {
            Some(participant) if participant.hold.is_none() && participant.backend.notes().pinned() >= bound => {
                Err(ProxyError::error(
                    sqlstate::TOO_MANY_CONNECTIONS,
                    "too many clients hold on to server connections",
                )
                .with_detail(format!(
                    "The statement leaves something on its server connection that can't be carried to another one, and max_pinned_connections is {bound}."
                ))
                .with_hint("Release it elsewhere (UNLISTEN, unlock, DROP, CLOSE, DISCARD), or raise max_pinned_connections."))
            }
            _ => Ok(()),
        }
    }

    /// `currval` and `lastval` are answered where the client used a sequence, if nobody else did so there since.
    async fn before_sequence_read(&mut self, at: usize) -> Result<(), Failure> {
        let Some(participant) = self.participants.get(at) else {
            return Err(ProxyError::internal().into());
        };
        participant.backend.notes().note_sequence_read();
        match participant.backend.sequence_user() {
            // What the server says is what it would say to this session alone.
            None => Ok(()),
            Some(user) if user == self.info.id && self.sequences.is_some() => Ok(()),
            Some(_) if self.sequences.is_some() => Err(ProxyError::error(
                OBJECT_NOT_IN_PREREQUISITE_STATE,
                "currval and lastval are not known in this session any more",
            )
            .with_detail(
                "Another client has got the server connection on which this session used a sequence. From here on clients of this pool that use a sequence keep their connection.",
            )
            .with_hint("Use the sequence again, or RETURNING.")
            .into()),
            Some(_) => {
                self.command(at, "DISCARD SEQUENCES").await?;
                if let Some(participant) = self.participants.get_mut(at) {
                    participant.backend.set_sequence_user(None);
                }
                Ok(())
            }
        }
    }

    /// Takes the names of applications' own settings from a text that sets some, and from values that are bound to it: no
    /// server lists them.
    pub(crate) fn learn_names<'v>(&self, text: &[u8], values: impl Iterator<Item = &'v [u8]>) {
        let mut names = self.thread.custom_names.borrow_mut();
        names.learn_text(text);
        values.for_each(|value| names.learn(value));
    }

    /// As [`Client::learn_names`], of a statement of the routed way.
    pub(crate) fn learn_names_of(&self, form: &Form) {
        let text = form.text(&self.io.input);
        let Form::Extended(extended) = form else {
            return self.learn_names(text, std::iter::empty());
        };
        let body = self.io.input.get(extended.bind.clone()).unwrap_or_default();
        if let Ok(bind) = Bind::decode(body) {
            self.learn_names(text, bind.values.iter().flatten());
        }
    }

    /// Remembers that statements ran on a participant, and what they may have left there.
    pub(crate) fn note_effects(&mut self, at: usize, access: Access, effects: Effects) {
        let Some(participant) = self.participants.get_mut(at) else {
            return;
        };
        if access == Access::Write {
            // Any write may draw from a sequence, by a default or a trigger.
            participant.wrote = true;
            participant.backend.set_sequence_user(Some(self.info.id));
            self.sequences = Some(SequencePlace {
                endpoint: participant.backend.endpoint,
                connection: participant.backend.id(),
            });
        }
        if effects.is_empty() {
            return;
        }
        if effects.intersects(Effects::SEQUENCE_END) {
            participant.backend.set_sequence_user(None);
            self.sequences = None;
        }
        let mut kept = effects.without(Effects::SEQUENCE_READ.union(Effects::STATEMENTS_READ));
        if !participant.backend.notes().sequences_are_read() {
            kept = kept.without(Effects::SEQUENCE_USE);
        }
        participant.effects |= kept;
    }

    /// Outside a transaction, with effects on some participant: finds out what they left, takes over what can be carried,
    /// and stays where something can't.
    pub(crate) async fn rest(&mut self) {
        let mut at = 0;
        while let Some(participant) = self.participants.get_mut(at) {
            let effects = std::mem::take(&mut participant.effects);
            if effects.is_empty() {
                at += 1;
                continue;
            }
            let pinned = participant.pins();
            match at_rest(pinned, traces(effects)) {
                AtRest::Release => self.set_pins(at, Pins::NONE),
                AtRest::Stay(pins) => self.set_pins(at, pins),
                AtRest::Ask(questions) => {
                    let before = self.participants.len();
                    self.inspect(at, questions, (pinned, visible(effects))).await;
                    if self.participants.len() < before {
                        continue;
                    }
                }
            }
            at += 1;
        }
        self.show_pins();
    }

    /// What the admin database is told.
    pub(crate) fn show_pins(&self) {
        let pins = self.participants.iter().map(super::Participant::pins);
        self.info.pinned.set(pins.fold(Pins::NONE, Pins::union));
    }

    fn set_pins(&mut self, at: usize, pins: Pins) {
        let Some(participant) = self.participants.get_mut(at) else {
            return;
        };
        match &mut participant.hold {
            _ if pins.is_empty() => participant.hold = None,
            Some(hold) => hold.change(pins),
            None => {
                tracing::debug!(user = %self.info.user, %pins, "a client stays on its server connection");
                participant.hold = Some(Hold::new(participant.backend.notes(), pins));
            }
        }
    }

    /// Asks the server what is there. A connection that is lost meanwhile takes part no more.
    async fn inspect(&mut self, at: usize, asked: Questions, (pinned, made): (Pins, Pins)) {
        let before = self.participants.len();
        if asked == Questions::Both {
            self.read_code(at).await;
        }
        if self.participants.len() < before {
            return;
        }
        let rows = match self.ask(at, asked).await {
            Ok(rows) => rows,
            Err(_) if self.participants.len() < before => return,
            Err(failure) => {
                tracing::debug!(?failure, "a server did not tell what a session has left");
                self.set_pins(at, pinned.union(made).union(Pins::UNKNOWN));
                return;
            }
        };
        let rows = rows
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_slice()));
        let found = Found::read(asked, rows, &self.info.user, (pinned, made));
        self.set_pins(at, found.pins);
        if let (Some(count), Some(participant)) = (found.protocol_statements, self.participants.get_mut(at))
            && count < participant.backend.state().prepared_count()
        {
            // A function has deallocated statements. What is taught anew must not be there.
            if self.close_statements(at).await.is_err() {
                return;
            }
        }
        if found.pins.intersects(Pins::SQL_PREPARED)
            && let Some(participant) = self.participants.get_mut(at)
        {
            // The server has one register for those of SQL and those of the protocol.
            participant.backend.state_mut().go_by_clients_names();
        }
        if let Some(told) = found.settings {
            self.adopt(at, &told).await;
        }
        if asked == Questions::Both && found.pins.is_empty() {
            self.forget_unknown(at).await;
        }
    }

    /// Learns the names of settings that the code in the database sets, once in a while.
    async fn read_code(&mut self, at: usize) {
        let now = health::boot_time();
        let due = self
            .participants
            .get(at)
            .is_some_and(|p| p.backend.notes().code_is_old(now));
        if !due {
            return;
        }
        match self.rows(at, CODE_QUESTION).await {
            Ok(rows) => {
                let mut names = self.thread.custom_names.borrow_mut();
                rows.iter().for_each(|(name, _)| names.learn(name));
                let dynamic = rows.iter().any(|(name, _)| name == b" dynamic");
                if let Some(participant) = self.participants.get(at) {
                    participant.backend.notes().note_code(now, dynamic);
                }
            }
            Err(failure) => tracing::debug!(?failure, "the functions of a database could not be read"),
        }
    }

    /// Where code in the database makes up names of settings, nobody knows which ones are set: whoever gets the connection
    /// next must not see them.
    async fn forget_unknown(&mut self, at: usize) {
        let Some(participant) = self.participants.get_mut(at) else {
            return;
        };
        if !participant.backend.notes().code_is_dynamic() {
            return;
        }
        let state = participant.backend.state_mut();
        let identity = ["role", "session_authorization"];
        let kept = identity.iter().fold(session::Settings::default(), |kept, name| {
            match state.applied.get(name) {
                Some(value) => kept.with(name, value),
                None => kept,
            }
        });
        state.applied = kept;
        if self.command(at, "RESET ALL").await.is_err() {
            self.discard(at);
        }
    }

    /// Closes all that was prepared on a connection by protocol: what SQL has prepared there is the client's.
    async fn close_statements(&mut self, at: usize) -> Result<(), Failure> {
        let mut tracker = self.open(at);
        let Some(participant) = self.participants.get_mut(at) else {
            return Err(ProxyError::internal().into());
        };
        let (state, out) = participant.backend.state_and_unsent();
        let naming = state.naming();
        let mut names = state.take_our_names();
        names.extend(state.take_own_names());
        if naming == Naming::Clients {
            state.go_by_clients_names();
        }
        for name in names {
            Close {
                target: Target::Statement,
                name: &name,
            }
            .encode(out);
            tracker.expect(Expected::Close);
        }
        encode_sync(out);
        tracker.expect(Expected::Sync);
        let mut answer = Answer::silent();
        self.relay(at, &mut tracker, &mut answer).await.map(|_| ())
    }

    /// The rows that answer the questions. Each is prepared once on a connection.
    async fn ask(&mut self, at: usize, asked: Questions) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Failure> {
        let mut tracker = self.open(at);
        let Some(participant) = self.participants.get_mut(at) else {
            return Err(ProxyError::internal().into());
        };
        let names = {
            let known = self.thread.custom_names.borrow();
            known.array(self.settings.current().custom_names())
        };
        for (question, sql, name) in asked.each() {
            let values: &[Option<&[u8]>] = match question {
                Questions::Settings => &[Some(names.as_bytes())],
                _ => &[],
            };
            let (state, out) = participant.backend.state_and_unsent();
            if !state.knows_question(question) {
                Parse {
                    name: name.as_bytes(),
                    sql: sql.as_bytes(),
                    parameter_types: Oids::NONE,
                }
                .encode(out);
                tracker.expect(Expected::Parse(None));
                state.learn_question(question);
            }
            Bind::encode(
                out,
                b"",
                name.as_bytes(),
                FormatCodes::TEXT,
                values,
                FormatCodes::TEXT,
            );
            tracker.expect(Expected::Bind);
            Execute {
                portal: b"",
                max_rows: 0,
            }
            .encode(out);
            tracker.expect(Expected::Execute);
        }
        encode_sync(participant.backend.unsent());
        tracker.expect(Expected::Sync);
        let mut answer = Answer {
            silent: true,
            ..Answer::captured(MAX_ANSWER)
        };
        let end = self.relay(at, &mut tracker, &mut answer).await?;
        if answer.error.is_none() {
            return match (end, answer.capture) {
                (RelayEnd::Ready(_), Some(bytes)) => Ok(super::greeting::pairs(&bytes, MAX_ANSWER)),
                _ => Err(ProxyError::internal().into()),
            };
        }
        // Somebody deallocated it.
        self.close_statements(at).await?;
        let mut rows = Vec::new();
        for (_, sql, _) in asked.each() {
            let sql = sql.replace("$1", &quote_literal(&names));
            rows.extend(self.rows(at, &sql).await?);
        }
        Ok(rows)
    }

    /// Takes over the settings that the server has told. What the client began with stands where nothing else does: that is
    /// what RESET goes back to.
    async fn adopt(&mut self, at: usize, told: &session::Settings) {
        let told = self.thread.intern_settings(told);
        let wanted = self.thread.intern_settings(&told.over(&self.startup));
        if let Some(participant) = self.participants.get_mut(at) {
            participant.backend.state_mut().applied = told.clone();
        }
        if wanted != *self.settings.current() {
            self.settings.adopt(wanted.clone());
            let name = wanted.get("application_name").unwrap_or_default();
            *self.info.application_name.borrow_mut() = name.trim_matches('\'').into();
            self.context_changed();
        }
        let Some(sql) = told.statements_towards(&wanted) else {
            return;
        };
        match self.command_watched(at, &sql).await {
            Ok(answer) => {
                if self.database.direct.is_some() {
                    // Who knows what the client was told tells it.
                    self.changed_back.extend(answer.parameters);
                } else {
                    for (name, value) in &answer.parameters {
                        ParameterStatus { name, value }.encode(&mut self.io.out);
                    }
                }
                if let Some(participant) = self.participants.get_mut(at) {
                    participant.backend.state_mut().applied = wanted;
                }
            }
            // It is tried again, and told to the client, before its next statement.
            Err(failure) => tracing::debug!(?failure, "what a client began with could not be set again"),
        }
    }

    /// Waits for the client, which stays on server connections, and passes on what these say meanwhile: notifications,
    /// notices, settings. Gives `None` when one of them ends: so does the client's session, as with PostgreSQL.
    pub(crate) async fn turn_beside_servers(
        &mut self,
        bound: Option<Duration>,
        may_stop: bool,
    ) -> Option<Turn> {
        loop {
            let stays = self.stays_connected();
            let told = {
                let (info, io, participants) = (&self.info, &mut self.io, &mut self.participants);
                let scratch = io.scratch();
                let wait = std::future::poll_fn(|cx| {
                    for (at, participant) in participants.iter_mut().enumerate() {
                        if participant.hold.is_none() && !stays {
                            continue;
                        }
                        let backend = &mut participant.backend;
                        let mut scratch = scratch.borrow_mut();
                        match backend.poll_read(cx, &mut scratch) {
                            Poll::Pending => {}
                            Poll::Ready(Ok(n)) if n > 0 => {
                                backend.take_unasked(scratch.get(..n).unwrap_or_default());
                                return Poll::Ready(Told::Server(at));
                            }
                            Poll::Ready(_) => return Poll::Ready(Told::ServerGone(at)),
                        }
                    }
                    info.poll_turn(cx, io, may_stop).map(Told::Turn)
                });
                match bound {
                    None => wait.await,
                    Some(bound) => tokio::time::timeout(bound, wait)
                        .await
                        .unwrap_or(Told::Turn(Turn::TimedOut)),
                }
            };
            match told {
                Told::Turn(turn) => return Some(turn),
                Told::Server(at) => {
                    if !self.pass_unasked(at) {
                        return None;
                    }
                    if self.io.flush().await.is_err() {
                        return Some(Turn::Gone);
                    }
                    self.io.rest();
                }
                Told::ServerGone(at) => {
                    self.discard(at);
                    let error = ProxyError::backend_lost("at rest").with_severity(Severity::Fatal);
                    error.encode(&mut self.io.out);
                    return None;
                }
            }
        }
    }

    /// Passes on what a server has said unasked. `false`: it has ended the connection.
    fn pass_unasked(&mut self, at: usize) -> bool {
        while let Some(participant) = self.participants.get_mut(at) {
            let Some(message) = participant.backend.next_unasked() else {
                return true;
            };
            match message.first() {
                Some(b'A' | b'N' | b'S') => self.io.out.extend_from_slice(&message),
                Some(b'E') => {
                    self.io.out.extend_from_slice(&message);
                    self.discard(at);
                    return false;
                }
                _ => {
                    self.discard(at);
                    let error = ProxyError::backend_lost("at rest").with_severity(Severity::Fatal);
                    error.encode(&mut self.io.out);
                    return false;
                }
            }
        }
        false
    }

    /// Whether what it did on its connections is taken away whether or not it shows.
    fn leaves_session(&self) -> bool {
        let settings = self.thread.settings();
        let asked = self.stays_connected() || settings.pool.server_reset_query_always;
        asked && settings.pool.server_reset_query.is_some()
    }

    /// The client is gone: what it left on a connection is taken away, or the connection is.
    pub(crate) fn leave_behind(&self, backend: Backend, pins: Pins, effects: Effects, in_block: bool) {
        let made = pins.union(visible(effects));
        let session = !made.is_empty() || !effects.is_empty() || self.leaves_session();
        let left = match (in_block, session) {
            _ if !backend.is_at_rest() || !made.can_be_discarded() => return backend.close(),
            (false, false) => return backend.release(),
            (true, false) => Left::Transaction,
            (false, true) => Left::Session,
            (true, true) => Left::Both,
        };
        reset::reset(&self.thread, backend, left);
    }
}
