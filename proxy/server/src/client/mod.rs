//! One client from its login to its end: requests in, answers out.
//!
//! A client is one task. It holds no server connection between transactions; within one it holds one for each shard that
//! took part, and reads that connection's socket itself.

mod backends;
mod batch;
mod cached;
mod copy_in;
mod direct;
mod failure;
mod greeting;
mod local;
mod many;
mod parts;
mod scatter;
mod session_settings;
mod simple;
mod single;
mod state;
mod transaction;
mod two_phase;
mod usual;

pub(crate) use backends::Participant;
pub(crate) use failure::{Failure, Flow};
pub(crate) use greeting::Greeting;
pub(crate) use simple::refused;

use crate::admin::ClientState;
use crate::data::io::ClientIo;
use crate::data::thread::{
    ClientInfo, ContextPlans, DatabaseContext, PlanContext, PlanRef, Thread, ThreadPool, Turn,
};
use crate::metrics::{Case, ErrorSource, PlanKind, Source};
use crate::reading::ReadSettings;
use bytes::Buf;
use coherence::SessionPositions;
use planner::Access;
use session::relay::Reported;
use session::requests::{Assembled, Assembler, Request};
use session::{ClientStatements, Settings, SettingsScope, TransactionBlock};
use settings::PoolMode;
use smallvec::SmallVec;
use std::rc::Rc;
use std::sync::Arc;
use topology::Mono;
use usual::Departure;
use wire::backend::{ParameterStatus, ReadyForQuery};
use wire::{ProxyError, TransactionStatus, sqlstate};

/// A logged-in client.
pub(crate) struct Client {
    pub(crate) io: ClientIo,
    pub(crate) thread: Rc<Thread>,
    pub(crate) info: Rc<ClientInfo>,
    pub(crate) database: Arc<DatabaseContext>,
    pub(crate) settings: SettingsScope,
    /// What RESET goes back to.
    pub(crate) startup: Settings,
    pub(crate) statements: ClientStatements<PlanRef>,
    pub(crate) block: Option<Box<TransactionBlock>>,
    /// The pools that its connections have come from.
    pools: SmallVec<[Rc<ThreadPool>; 2]>,
    /// Connections held: one for each shard that takes part in the transaction or statement.
    pub(crate) participants: Vec<Participant>,
    pub(crate) positions: SessionPositions,
    /// Where its last statement was answered that this proxy didn't answer itself.
    source: Source,
    pub(crate) reading: ReadSettings,
    /// The plans for whom names mean what they mean to this client.
    plans: Rc<ContextPlans>,
    /// When its server connections go back.
    pub(crate) mode: PoolMode,
    /// Where it used a sequence last.
    sequences: Option<state::SequencePlace>,
    /// What the server told at the login.
    greeting: Option<Greeting>,
    /// What cache keys of this client begin with; made when it is first needed.
    key_prefix: Option<Rc<coherence::KeyPrefix>>,
    /// The catalog was changed in the open transaction.
    catalog_changed: bool,
    /// Reported settings that the end of a transaction changed back; the client hears of them with ReadyForQuery.
    changed_back: Vec<Reported>,
    portals: Vec<batch::Portal>,
    skip: batch::Skip,
    assembler: Assembler,
    stage: usual::Stage,
    /// When the transaction under way began.
    transaction_at: Option<Mono>,
    /// How much of the input the request under way takes.
    request_len: usize,
    /// Where the client of a direct database stands, by the server's word.
    server_status: Option<TransactionStatus>,
}

/// What a client starts with, after its login.
pub(crate) struct Login {
    pub(crate) io: ClientIo,
    pub(crate) thread: Rc<Thread>,
    pub(crate) info: Rc<ClientInfo>,
    pub(crate) database: Arc<DatabaseContext>,
    pub(crate) startup: Settings,
}

impl Client {
    /// A client whose login is done.
    pub(crate) fn new(login: Login) -> Self {
        let startup = login.thread.intern_settings(&login.startup);
        let mode = login
            .thread
            .settings()
            .pool_for(&login.database.config.name, &login.info.user)
            .mode;
        let settings = SettingsScope::new(startup.clone());
        let plans = login.thread.plans_for(plan_context(
            &login.database,
            &settings,
            DEFAULT_SEARCH_PATH,
            &login.info.user,
        ));
        Self {
            io: login.io,
            thread: login.thread,
            info: login.info,
            database: login.database,
            settings,
            startup,
            mode,
            statements: ClientStatements::default(),
            block: None,
            pools: SmallVec::new(),
            participants: Vec::new(),
            positions: SessionPositions::default(),
            source: Source::None,
            reading: ReadSettings::default(),
            plans,
            sequences: None,
            greeting: None,
            key_prefix: None,
            catalog_changed: false,
            changed_back: Vec::new(),
            portals: Vec::new(),
            skip: batch::Skip::default(),
            assembler: Assembler::default(),
            stage: usual::Stage::default(),
            transaction_at: None,
            request_len: 0,
            server_status: None,
        }
    }

    /// Serves the client until it leaves or has to be sent away.
    pub(crate) async fn serve(mut self: Box<Self>) {
        if let Some(shard) = self.database.direct {
            let mut direct = Box::new(direct::Direct::new(shard, &self.startup));
            self.serve_direct(&mut direct).await;
            return Box::pin(self.leave_direct(&mut direct)).await;
        }
        loop {
            let flow = match std::future::poll_fn(|cx| self.poll_usual(cx)).await {
                Departure::General => Box::pin(self.serve_one()).await,
                Departure::Answer(sent, from, wake) => Box::pin(self.resume_usual(sent, from, wake)).await,
                Departure::Refused(failure) => self.refuse_usual(failure),
                Departure::Gone => Flow::Close,
            };
            if self.io.flush().await.is_err() || flow == Flow::Close {
                break;
            }
        }
        // Boxed: it is large, and once only.
        Box::pin(self.leave()).await;
    }

    /// Serves the next request, or waits for more of it.
    async fn serve_one(&mut self) -> Flow {
        let limit = self.thread.rules().max_packet_size;
        match self.assembler.next(&self.io.input, limit) {
            Ok(Assembled::Request(request, used)) => {
                self.request_len = used;
                let flow = self.handle(request).await;
                self.consume_request();
                flow
            }
            Ok(Assembled::NeedMore) => {
                if self.wait_for_request().await {
                    Flow::Continue
                } else {
                    Flow::Close
                }
            }
            Err(error) => {
                error.encode(&mut self.io.out);
                Flow::Close
            }
        }
    }

    /// Waits for more from the client; `false` ends the connection.
    async fn wait_for_request(&mut self) -> bool {
        self.io.rest();
        let in_transaction = self.block.is_some();
        let bound = if in_transaction {
            self.thread.rules().idle_transaction_timeout
        } else {
            None
        };
        let turn = if self.participants.iter().any(|p| p.hold.is_some()) || self.stays_connected() {
            match self.turn_beside_servers(bound, !in_transaction).await {
                Some(turn) => turn,
                None => return false,
            }
        } else {
            self.info.turn(&mut self.io, bound, !in_transaction).await
        };
        match turn {
            Turn::Read => true,
            Turn::Gone => false,
            Turn::TimedOut => {
                ProxyError::idle_in_transaction().encode(&mut self.io.out);
                false
            }
            Turn::Stopped(reason) => {
                reason.error().encode(&mut self.io.out);
                false
            }
        }
    }

    /// Whether its server connections stay with it between transactions.
    pub(crate) fn stays_connected(&self) -> bool {
        self.mode == PoolMode::Session
    }

    /// A setting changed: what names mean and how values are printed may have changed with it.
    pub(crate) fn context_changed(&mut self) {
        self.key_prefix = None;
        let context = plan_context(
            &self.database,
            &self.settings,
            self.default_search_path(),
            &self.info.user,
        );
        self.plans = self.thread.plans_for(context);
    }

    /// Where names are looked up while the client has not set anything else.
    fn default_search_path(&self) -> &str {
        self.greeting
            .as_ref()
            .map_or(DEFAULT_SEARCH_PATH, |greeting| &greeting.search_path)
    }

    /// Takes note of a command tag: some commands change what names mean.
    pub(crate) fn note_command(&mut self, tag: &[u8]) {
        self.catalog_changed |= changes_catalog(tag);
    }

    /// The transaction is over: if it changed the catalog, the client's next statement is planned by the new one.
    pub(crate) async fn follow_catalog(&mut self) {
        if self.catalog_changed && self.block.is_none() {
            self.catalog_changed = false;
            let database = Arc::clone(&self.database);
            database.reload_catalog().await;
        }
    }

    /// The request's bytes are not needed any more.
    pub(crate) fn consume_request(&mut self) {
        self.io.input.advance(std::mem::take(&mut self.request_len));
    }

    /// Carries out a request and counts it.
    async fn handle(&mut self, request: Request) -> Flow {
        let begun = health::boot_time();
        self.database.wake().await;
        self.note_begun(self.request_len, begun);
        let flow = self.dispatch_in_time(request).await;
        let flow = self.allow_block(flow);
        self.count_answered(begun, health::boot_time(), self.io.out.len());
        flow
    }

    /// A request of so many bytes is begun.
    fn note_begun(&mut self, received: usize, begun: Mono) {
        self.info.request_at.set(begun);
        self.info.activity.set(ClientState::Active);
        self.transaction_at.get_or_insert(begun);
        self.info.transaction_at.set(self.transaction_at);
        let stats = &self.thread.stats;
        stats.add_request();
        stats.database(self.database.index).received(received);
    }

    /// A request whose statement goes to one shard is begun.
    fn count_begun(&mut self, received: usize, begun: Mono) {
        self.note_begun(received, begun);
        self.thread
            .stats
            .database(self.database.index)
            .plan(PlanKind::Single);
    }

    /// A statement is answered there.
    fn answered_by(&mut self, source: Source, access: Access) {
        self.source = source;
        if access == Access::Read {
            self.thread.stats.database(self.database.index).read(source);
        }
    }

    /// A statement is answered by a participant.
    fn answered_by_server(&mut self, at: usize, access: Access) {
        if let Some(participant) = self.participants.get(at) {
            self.answered_by(Source::server(participant.backend.role), access);
        }
    }

    /// A statement is answered by several participants: the farthest of them counts.
    fn answered_by_servers(&mut self, places: &[usize], access: Access) {
        let servers = places.iter().filter_map(|at| self.participants.get(*at));
        let sources = servers.map(|participant| Source::server(participant.backend.role));
        if let Some(farthest) = sources.max_by_key(|source| source.index()) {
            self.answered_by(farthest, access);
        }
    }

    /// A request begun then has been answered with so many bytes.
    fn count_answered(&mut self, begun: Mono, now: Mono, sent: usize) {
        let counted = self.thread.stats.database(self.database.index);
        let time = now.since(begun);
        counted.query(time);
        counted.sent(sent);
        let state = if self.block.is_some() {
            ClientState::IdleInTransaction
        } else {
            let first = self.transaction_at.take().unwrap_or(begun);
            counted.transaction(time + begun.since(first));
            ClientState::Idle
        };
        self.info.activity.set(state);
        self.info.prepared_statements.set(self.statements.len());
    }

    /// In statement mode a client that has begun a transaction block is sent away.
    fn allow_block(&mut self, flow: Flow) -> Flow {
        if self.mode == PoolMode::Statement && self.block.is_some() {
            take_back_ready(&mut self.io.out);
            ProxyError::statement_mode().encode(&mut self.io.out);
            return Flow::Close;
        }
        flow
    }

    /// A statement that runs longer than `query_timeout` is cancelled on its servers; their error is the answer.
    async fn dispatch_in_time(&mut self, request: Request) -> Flow {
        let Some(bound) = self.thread.rules().query_timeout else {
            return self.dispatch(request).await;
        };
        let info = Rc::clone(&self.info);
        let mut answered = std::pin::pin!(self.dispatch(request));
        match tokio::time::timeout(bound, &mut answered).await {
            Ok(flow) => flow,
            Err(_) => {
                info.cancel();
                answered.await
            }
        }
    }

    async fn dispatch(&mut self, request: Request) -> Flow {
        match request {
            Request::Query(message) => self.simple_query(message.body()).await,
            Request::Batch(messages, end) => self.batch(&messages, end).await,
            Request::FunctionCall => {
                let error = ProxyError::unsupported(
                    "the function call protocol is not supported",
                    "Ringway can't tell what the function reads or changes.",
                    "Call the function in a SELECT.",
                );
                let flow = self.report(Failure::Proxy(error));
                self.ready();
                flow
            }
            Request::StrayCopy => Flow::Continue,
            Request::Terminate => Flow::Close,
        }
    }

    /// Tells the client of a failure; inside a transaction block the block has failed with it.
    pub(crate) fn report(&mut self, failure: Failure) -> Flow {
        if let Some(block) = &mut self.block {
            block.failed = true;
        }
        // Counted by who is at fault.
        self.thread.stats.add_error(match &failure {
            Failure::Proxy(error) if error.sqlstate == sqlstate::CONNECTION_FAILURE => ErrorSource::Backend,
            Failure::Proxy(error) if error.sqlstate == sqlstate::INTERNAL_ERROR => ErrorSource::Proxy,
            Failure::Proxy(_) | Failure::ClientGone => ErrorSource::Client,
            Failure::Server(_) | Failure::Reported => ErrorSource::Server,
        });
        match failure {
            Failure::Proxy(error) => {
                error.encode(&mut self.io.out);
                if error.is_fatal() {
                    Flow::Close
                } else {
                    Flow::Continue
                }
            }
            Failure::Server(error) => {
                self.io.out.extend_from_slice(&error.frame);
                Flow::Continue
            }
            Failure::Reported => Flow::Continue,
            Failure::ClientGone => Flow::Close,
        }
    }

    /// The status that the client is told.
    pub(crate) fn status(&self) -> TransactionStatus {
        if let Some(status) = self.server_status {
            return status;
        }
        self.block
            .as_ref()
            .map_or(TransactionStatus::Idle, |block| block.status())
    }

    /// Whether the client is in a transaction block.
    pub(crate) fn in_block(&self) -> bool {
        self.block.is_some() || self.status() != TransactionStatus::Idle
    }

    /// ReadyForQuery.
    pub(crate) fn ready(&mut self) {
        let changed = std::mem::take(&mut self.changed_back);
        for (n, (name, value)) in changed.iter().enumerate() {
            // Every shard of the transaction reports the same.
            if changed.iter().take(n).all(|(earlier, _)| earlier != name) {
                ParameterStatus { name, value }.encode(&mut self.io.out);
            }
        }
        ReadyForQuery {
            status: self.status(),
        }
        .encode(&mut self.io.out);
    }

    /// The client's connection is over: what it left open on servers is rolled back or closed.
    async fn leave(&mut self) {
        // The client may be gone already; then there is nobody to send to.
        let _ = self.io.flush().await;
        self.abandon().await;
    }
}

/// Takes back a ReadyForQuery that stands last: the client is sent away instead, and must not take the end of its request for that.
fn take_back_ready(out: &mut bytes::BytesMut) {
    const HEAD: [u8; 5] = [b'Z', 0, 0, 0, 5];
    let Some(start) = out.len().checked_sub(HEAD.len() + 1) else {
        return;
    };
    if out.get(start..).is_some_and(|last| last.starts_with(&HEAD)) {
        out.truncate(start);
    }
}

/// Whether a command with this tag changes what names mean.
fn changes_catalog(tag: &[u8]) -> bool {
    const CATALOG_COMMANDS: [&[u8]; 7] = [
        b"CREATE",
        b"ALTER",
        b"DROP",
        b"GRANT",
        b"REVOKE",
        b"IMPORT",
        b"SELECT INTO",
    ];
    CATALOG_COMMANDS.iter().any(|command| tag.starts_with(command))
}

/// PostgreSQL's own default, until a server has told its.
const DEFAULT_SEARCH_PATH: &str = "\"$user\", public";

/// What decides what a name means to a session.
fn plan_context(
    database: &DatabaseContext,
    settings: &SettingsScope,
    default_path: &str,
    user: &str,
) -> PlanContext {
    let path = settings.effective("search_path").unwrap_or(default_path);
    let schema = |part: &str| {
        part.trim()
            .trim_matches(|c| c == '\'' || c == '"')
            .replace("''", "'")
    };
    let role = settings
        .effective("role")
        .map(|r| r.trim_matches('\'').to_owned());
    PlanContext {
        database: database.index,
        search_path: path.split(',').map(schema).filter(|s| !s.is_empty()).collect(),
        user: role.filter(|r| r != "none").unwrap_or_else(|| user.to_owned()),
    }
}
