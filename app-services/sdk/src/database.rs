//! The endpoint as a service sees it: reads, and transactions that are tried again where that is right.

use crate::breaker::{Breaker, BreakerSettings, Outcome, Permit, State};
use crate::context::Context;
use crate::error::{Blame, Error, FromSdk, Phase, Result, Retry};
use crate::level::Level;
use crate::link::{Lent, Manager, Parameter, Started};
use crate::retry::{Budget, Policy};
use deadpool::Runtime;
use deadpool::managed::{Pool, PoolError, TimeoutType, Timeouts};
use deadpool_postgres::{Manager as Inner, ManagerConfig, RecyclingMethod};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::broadcast;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Config, NoTls, Row, Socket};
use uuid::Uuid;

/// How a service uses the endpoint.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Settings {
    /// The most connections.
    pub connections: usize,
    /// How long a call waits for one of them.
    pub wait: Duration,
    /// How long making one may take.
    pub connect: Duration,
    /// A call that has got no answer for so long counts against the endpoint when its deadline passes.
    pub slow: Duration,
    /// How failed transactions and reads are tried again.
    pub retry: Policy,
    /// When calls are refused without being tried.
    pub breaker: BreakerSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections: 16,
            wait: Duration::from_secs(2),
            connect: Duration::from_secs(5),
            slow: Duration::from_secs(1),
            retry: Policy::default(),
            breaker: BreakerSettings::default(),
        }
    }
}

/// A pool of connections to Ringway. Clones share it.
#[derive(Clone, Debug)]
pub struct Database(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    pool: Pool<Manager>,
    settings: Settings,
    breaker: Mutex<Breaker>,
    budget: Mutex<Budget>,
    began: Instant,
    started: broadcast::Sender<Started>,
}

/// Sagas that were started and that an orchestrator has not heard of yet; of those above it looks for what is due.
const UNHEARD_SAGAS: usize = 1_024;

/// How a transaction begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Isolation {
    /// PostgreSQL's default.
    #[default]
    ReadCommitted,
    /// One snapshot for the whole transaction; conflicts are 40001.
    RepeatableRead,
    /// As if transactions ran one after the other, on each shard by itself; conflicts are 40001.
    Serializable,
}

impl Isolation {
    fn begin(self) -> &'static str {
        match self {
            Self::ReadCommitted => "BEGIN",
            Self::RepeatableRead => "BEGIN ISOLATION LEVEL REPEATABLE READ",
            Self::Serializable => "BEGIN ISOLATION LEVEL SERIALIZABLE",
        }
    }
}

impl Database {
    /// A pool to the endpoint at a URL (`postgres://user:password@host:6432/database`), without TLS. Connects when it is first used.
    ///
    /// # Errors
    /// The URL is malformed.
    pub fn new(url: &str, settings: Settings) -> Result<Self> {
        Self::with_tls(url, settings, NoTls)
    }

    /// The same with TLS.
    ///
    /// # Errors
    /// The URL is malformed.
    pub fn with_tls<T>(url: &str, settings: Settings, tls: T) -> Result<Self>
    where
        T: MakeTlsConnect<Socket> + Clone + Sync + Send + 'static,
        T::Stream: Sync + Send,
        T::TlsConnect: Sync + Send,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        let config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
            Error::caller("the endpoint's URL is malformed").with_source(error)
        })?;
        let recycling_method = RecyclingMethod::Fast;
        let manager = Manager(Inner::from_config(
            config,
            tls,
            ManagerConfig { recycling_method },
        ));
        let pool = Pool::builder(manager)
            .max_size(settings.connections)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| Error::caller("the pool can't be made").with_source(error))?;
        Ok(Self(Arc::new(Shared {
            pool,
            settings,
            breaker: Mutex::new(Breaker::new(settings.breaker)),
            budget: Mutex::new(Budget::new(settings.retry.budget)),
            began: Instant::now(),
            started: broadcast::channel(UNHEARD_SAGAS).0,
        })))
    }

    /// The sagas that are started by transactions of this pool from now on.
    pub(crate) fn started_sagas(&self) -> broadcast::Receiver<Started> {
        self.0.started.subscribe()
    }

    /// Whether calls are let through.
    pub fn breaker_state(&self) -> State {
        self.breaker().state(self.0.began.elapsed())
    }

    /// Runs reads, each a transaction of its own, at `level`. They are tried again as a whole, so they must only read.
    ///
    /// # Errors
    /// The closure's, and those of getting a connection.
    pub async fn read<T, E, F, Fut>(&self, context: &Context, level: Level, work: F) -> Result<T, E>
    where
        E: FromSdk,
        F: Fn(Reader) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.tried(context, Key::None, async || {
            let lent = Arc::new(self.lend(context, level).await?);
            let result = work(Reader(Arc::clone(&lent))).await;
            lent.reads_ended();
            result
        })
        .await
    }

    /// One read: all its rows.
    ///
    /// # Errors
    /// As [`Database::read`] and [`Reader::query`].
    pub async fn rows(
        &self,
        context: &Context,
        level: Level,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>> {
        self.read(context, level, async |reader| reader.query(sql, parameters).await)
            .await
    }

    /// One read: its row, if there is one.
    ///
    /// # Errors
    /// As [`Database::rows`]; several rows.
    pub async fn row(
        &self,
        context: &Context,
        level: Level,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Option<Row>> {
        at_most_one(self.rows(context, level, sql, parameters).await?)
    }

    /// The region of the primary where rows of `table` with this key live, as `EXPLAIN (ROUTE)` tells it; `table` is sharded by `column`, both of them
    /// names in the service's own code. None if it isn't one shard.
    ///
    /// # Errors
    /// As [`Database::rows`].
    pub async fn home_of(
        &self,
        context: &Context,
        (table, column): (&'static str, &'static str),
        key: Uuid,
    ) -> Result<Option<String>> {
        // The plan is told of texts with their values in them only. An id has nothing in it to quote.
        let explain = format!("EXPLAIN (ROUTE) SELECT 1 FROM {table} WHERE {column} = '{key}'");
        let asked = async |reader: Reader| reader.0.explained(&explain, "region").await;
        self.read(context, Level::Strong, asked).await
    }

    /// Runs a transaction, again from the beginning where an error allows it, so `work` does nothing outside of it that may not be done
    /// twice. It is committed if `work` ends well, else rolled back.
    ///
    /// # Errors
    /// The closure's own, with the transaction rolled back; the SDK's, where [`Error::is_outcome_unknown`] says of a lost answer to COMMIT
    /// that the transaction may be committed. [`Database::transaction_once`] finds that out.
    pub async fn transaction<T, E, F, Fut>(&self, context: &Context, work: F) -> Result<T, E>
    where
        E: FromSdk,
        F: Fn(Transaction) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.transaction_with(context, Isolation::default(), work).await
    }

    /// The same at another isolation level.
    ///
    /// # Errors
    /// As [`Database::transaction`].
    pub async fn transaction_with<T, E, F, Fut>(
        &self,
        context: &Context,
        isolation: Isolation,
        work: F,
    ) -> Result<T, E>
    where
        E: FromSdk,
        F: Fn(Transaction) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.transaction_tried(context, isolation, Key::None, work).await
    }

    pub(crate) async fn transaction_tried<T, E, F, Fut>(
        &self,
        context: &Context,
        isolation: Isolation,
        key: Key,
        work: F,
    ) -> Result<T, E>
    where
        E: FromSdk,
        F: Fn(Transaction) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.tried(context, key, async || {
            let lent = Arc::new(self.lend(context, Level::default()).await?);
            lent.begin(isolation.begin()).await?;
            let result = match work(Transaction(Arc::clone(&lent))).await {
                Ok(_) if lent.has_failed() => Err(failed_before().into()),
                result => result,
            };
            match result {
                Ok(done) => {
                    context.session().add(&lent.commit().await?);
                    for started in lent.take_started() {
                        // Without an orchestrator here, one elsewhere finds it.
                        let _ = self.0.started.send(started);
                    }
                    Ok(done)
                }
                Err(error) => {
                    lent.rollback().await;
                    Err(error)
                }
            }
        })
        .await
    }

    /// Makes attempts until one succeeds or no other is sensible.
    async fn tried<T, E, F, Fut>(&self, context: &Context, key: Key, attempt: F) -> Result<T, E>
    where
        E: FromSdk,
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let policy = &self.0.settings.retry;
        let mut made = 0;
        loop {
            made += 1;
            let began = Instant::now();
            let permit = self.ask_breaker()?;
            let result = attempt().await;
            let error = result.as_ref().err().and_then(FromSdk::as_sdk);
            self.tell_breaker(permit, error, began.elapsed());
            let Some(error) = error else {
                lock(&self.0.budget).earn();
                return result;
            };
            let left = context.deadline().left();
            let pause = policy.next(error.retry(), key == Key::Given, made, left, rand::random());
            let Some(pause) = pause.filter(|_| lock(&self.0.budget).spend()) else {
                return result;
            };
            tracing::debug!(%error, made, ?pause, "trying again");
            tokio::time::sleep(pause).await;
        }
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        lock(&self.0.breaker)
    }

    fn ask_breaker(&self) -> Result<Permit> {
        let asked = self.breaker().ask(self.0.began.elapsed());
        asked.map_err(|refused| {
            let message = format!(
                "the endpoint has been failing; calls are refused for {} ms",
                refused.retry_after.as_millis()
            );
            Error::new(Blame::Overload, Retry::Never, message)
        })
    }

    fn tell_breaker(&self, permit: Permit, error: Option<&Error>, took: Duration) {
        let outcome = match error {
            None => Outcome::Success,
            // It answered.
            Some(error) if error.state().is_some() => Outcome::Success,
            Some(error) => match error.blame() {
                Blame::Network => Outcome::Failure,
                Blame::Deadline if took >= self.0.settings.slow => Outcome::Failure,
                _ => Outcome::Unknown,
            },
        };
        self.breaker().tell(permit, outcome, self.0.began.elapsed());
    }

    async fn lend(&self, context: &Context, level: Level) -> Result<Lent> {
        let settings = &self.0.settings;
        let left = context.deadline().left();
        if left == Some(Duration::ZERO) {
            return Err(Error::deadline(Phase::BeforeCommit));
        }
        let at_most = |bound: Duration| Some(left.map_or(bound, |left| bound.min(left)));
        let timeouts = Timeouts {
            wait: at_most(settings.wait),
            create: at_most(settings.connect),
            recycle: None,
        };
        match self.0.pool.timeout_get(&timeouts).await {
            Ok(link) => Ok(Lent::new(link, level, context)),
            Err(error) => Err(no_connection(error, context)),
        }
    }
}

/// Whether a call that may have been done can be made again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Key {
    /// No.
    None,
    /// Yes: it finds out itself.
    Given,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What they guard is changed in one step, so nobody leaves it half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed_before() -> Error {
    Error::caller("a statement of the transaction failed and its error was passed over; it is rolled back")
}

fn no_connection(error: PoolError<tokio_postgres::Error>, context: &Context) -> Error {
    if context.deadline().left() == Some(Duration::ZERO) {
        return Error::deadline(Phase::BeforeCommit);
    }
    match error {
        PoolError::Backend(error) => Error::from_driver(error, Phase::BeforeCommit),
        PoolError::Timeout(TimeoutType::Wait) => Error::new(
            Blame::Overload,
            Retry::Safe,
            "all connections to the endpoint are in use",
        ),
        PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle) => {
            Error::new(Blame::Network, Retry::Safe, "the endpoint does not answer")
        }
        error => Error::caller("the pool is closed").with_source(error),
    }
}

/// Reads of one call. Statements are prepared once on each connection, by their text.
#[derive(Clone, Debug)]
pub struct Reader(Arc<Lent>);

impl Reader {
    /// All rows.
    ///
    /// # Errors
    /// The server's, the connection's, the deadline's. A text that doesn't begin like a read is refused.
    pub async fn query(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>> {
        if !is_read(sql) {
            return Err(Error::caller("only reads are run outside a transaction"));
        }
        self.0.query(sql, parameters).await
    }

    /// The row, if there is one.
    ///
    /// # Errors
    /// As [`Reader::query`]; several rows.
    pub async fn query_opt(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Option<Row>> {
        at_most_one(self.query(sql, parameters).await?)
    }

    /// The row.
    ///
    /// # Errors
    /// As [`Reader::query_opt`]; no row.
    pub async fn query_one(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Row> {
        self.query_opt(sql, parameters).await?.ok_or_else(no_row)
    }
}

/// A transaction that is open.
#[derive(Clone, Debug)]
pub struct Transaction(pub(crate) Arc<Lent>);

impl Transaction {
    /// Runs a statement and gives its rows.
    ///
    /// # Errors
    /// The server's, the connection's, the deadline's. After any of them the transaction is rolled back, whatever the closure does.
    pub async fn query(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>> {
        self.0.query(sql, parameters).await
    }

    /// The row, if there is one.
    ///
    /// # Errors
    /// As [`Transaction::query`]; several rows.
    pub async fn query_opt(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Option<Row>> {
        at_most_one(self.query(sql, parameters).await?)
    }

    /// The row.
    ///
    /// # Errors
    /// As [`Transaction::query_opt`]; no row.
    pub async fn query_one(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Row> {
        self.query_opt(sql, parameters).await?.ok_or_else(no_row)
    }

    /// The call that the transaction is made for.
    pub(crate) fn context(&self) -> &Context {
        self.0.context()
    }

    /// Runs a statement that gives no rows, and says how many it touched.
    ///
    /// # Errors
    /// As [`Transaction::query`].
    pub async fn execute(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<u64> {
        self.0.execute(sql, parameters).await
    }
}

/// Whatever answers a read: a [`Reader`], or a [`Transaction`] that is open.
pub trait Query: sealed::Sealed + Sync {
    /// All rows.
    ///
    /// # Errors
    /// As [`Reader::query`].
    fn rows(&self, sql: &str, parameters: &[Parameter<'_>]) -> impl Future<Output = Result<Vec<Row>>> + Send;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Reader {}
    impl Sealed for super::Transaction {}
}

impl Query for Reader {
    async fn rows(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>> {
        self.query(sql, parameters).await
    }
}

impl Query for Transaction {
    async fn rows(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>> {
        self.query(sql, parameters).await
    }
}

fn at_most_one(mut rows: Vec<Row>) -> Result<Option<Row>> {
    match rows.len() {
        0 | 1 => Ok(rows.pop()),
        several => Err(Error::caller(format!(
            "{several} rows came where one was expected"
        ))),
    }
}

fn no_row() -> Error {
    Error::caller("no row came where one was expected")
}

/// Whether a text begins like a read. It catches slips: a function that writes passes.
fn is_read(sql: &str) -> bool {
    const READS: [&str; 5] = ["select", "with", "values", "table", "show"];
    let word = sql.trim_start().split(|c: char| !c.is_ascii_alphabetic()).next();
    word.is_some_and(|word| READS.iter().any(|read| read.eq_ignore_ascii_case(word)))
}
