//! A pooled connection to the endpoint, and what it was last told.
//!
//! deadpool-postgres keeps the connections: it hands out only those that aren't closed, without a test query, keeps prepared statements by
//! connection, and closes the socket at once when a connection is thrown away, upon which Ringway cancels what was under way on it. So a
//! deadline needs neither `statement_timeout`, which every server connection would have to be told anew, nor a cancel request that could
//! arrive too late and hit somebody else's statement.
//!
//! **Invariant:** a connection that isn't known to be at rest, outside a transaction and with no statement under way, never goes back.

use crate::context::Context;
use crate::error::{Error, Phase, Result};
use crate::level::Level;
use crate::source::SHOW_SOURCE;
use crate::store::ShardKey;
use crate::token::Causality;
use deadpool::managed::{self, Metrics, Object, RecycleError, RecycleResult};
use deadpool_postgres::{ClientWrapper, Manager as Inner};
use futures_util::future::{join, try_join_all};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, SimpleQueryMessage};

/// A saga that was started: the orchestrators of this process need not look for it.
#[derive(Clone, Debug)]
pub(crate) struct Started {
    pub(crate) store: String,
    pub(crate) definition: &'static str,
    pub(crate) key: ShardKey,
    pub(crate) id: String,
}

/// A parameter of a statement.
pub type Parameter<'a> = &'a (dyn ToSql + Sync);

/// A connection and what its session in Ringway was told.
#[derive(Debug)]
pub(crate) struct Link {
    client: ClientWrapper,
    told: Mutex<Told>,
    at_rest: AtomicBool,
}

/// What a connection's session in Ringway was told.
#[derive(Debug)]
struct Told {
    level: Level,
    /// The token that it brought or was given last; none if that isn't known.
    token: Option<Causality>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What they guard is changed in one step, so nobody leaves it half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes and checks connections.
#[derive(Debug)]
pub(crate) struct Manager(pub(crate) Inner);

impl managed::Manager for Manager {
    type Type = Link;
    type Error = tokio_postgres::Error;

    async fn create(&self) -> Result<Link, tokio_postgres::Error> {
        Ok(Link {
            client: self.0.create().await?,
            told: Mutex::new(Told {
                level: Level::default(),
                token: Some(Causality::Nothing),
            }),
            at_rest: AtomicBool::new(true),
        })
    }

    async fn recycle(&self, link: &mut Link, metrics: &Metrics) -> RecycleResult<Self::Error> {
        if !link.at_rest.load(Ordering::Acquire) {
            return Err(RecycleError::message("something was under way on it"));
        }
        self.0.recycle(&mut link.client, metrics).await
    }
}

/// A connection lent for one call. Dropped while anything is under way, it is closed, and Ringway cancels and rolls back.
#[derive(Debug)]
pub(crate) struct Lent {
    /// Taken out only when it is dropped.
    link: Option<Object<Manager>>,
    context: Context,
    /// What is still to be sent before the first statement.
    first: Mutex<Vec<String>>,
    failed: AtomicBool,
    ended: AtomicBool,
    started: Mutex<Vec<Started>>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(link) = self.link.take()
            && !link.at_rest.load(Ordering::Acquire)
        {
            drop(Object::take(link));
        }
    }
}

impl Lent {
    /// Takes over a connection for reads or a transaction at this level, after these writes.
    pub(crate) fn new(link: Object<Manager>, level: Level, context: &Context) -> Self {
        let after = context.session().causality();
        let level = match after {
            Causality::Strong => Level::Strong,
            Causality::Nothing | Causality::After(_) => level,
        };
        let mut first = Vec::new();
        let mut told = lock(&link.told);
        if told.level != level {
            first.push(format!("SET ringway.level = '{level}'"));
        }
        if told.token.as_ref() != Some(&after) {
            // What the connection's last user has seen is no business of this one: it would keep near copies from answering.
            if told.token != Some(Causality::Nothing) {
                first.push("RESET ringway.token".to_owned());
            }
            if let Causality::After(token) = &after {
                first.push(format!("SET ringway.token = '{token}'"));
            }
        }
        // If one of them isn't taken, the connection is closed.
        *told = Told {
            level,
            token: Some(after),
        };
        drop(told);
        link.at_rest.store(false, Ordering::Release);
        Self {
            link: Some(link),
            context: context.clone(),
            first: Mutex::new(first),
            failed: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            started: Mutex::default(),
        }
    }

    fn link(&self) -> Result<&Link> {
        match &self.link {
            Some(link) if !self.ended.load(Ordering::Acquire) => Ok(link),
            _ => Err(Error::caller("the transaction has ended")),
        }
    }

    fn client(&self) -> Result<&ClientWrapper> {
        self.link().map(|link| &link.client)
    }

    /// The call that it is lent for.
    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// Whether a statement has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Remembers a saga that begins when this is committed.
    pub(crate) fn note_started(&self, started: Started) {
        lock(&self.started).push(started);
    }

    pub(crate) fn take_started(&self) -> Vec<Started> {
        std::mem::take(&mut *lock(&self.started))
    }

    fn take_first(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.first))
    }

    /// Waits for something until the deadline; notes a failure.
    async fn within<T>(&self, doing: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T> {
        let result = match self.context.deadline().instant() {
            None => doing
                .await
                .map_err(|error| Error::from_driver(error, Phase::BeforeCommit)),
            Some(at) => match tokio::time::timeout_at(at.into(), doing).await {
                Ok(result) => result.map_err(|error| Error::from_driver(error, Phase::BeforeCommit)),
                Err(_) => Err(Error::deadline(Phase::BeforeCommit)),
            },
        };
        if result.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        result
    }

    /// Sends what is due together with BEGIN, and waits: a statement must not follow a BEGIN that failed.
    pub(crate) async fn begin(&self, begin: &str) -> Result<()> {
        let client = self.client()?;
        let mut first = self.take_first();
        first.push(begin.to_owned());
        let sent = try_join_all(first.iter().map(|sql| client.batch_execute(sql)));
        self.within(sent).await.map(drop)
    }

    /// Runs a statement, prepared once on the connection. What is due goes out with it, without waiting.
    pub(crate) async fn query(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>> {
        let client = self.client()?;
        let first = self.take_first();
        let due = try_join_all(first.iter().map(|sql| client.batch_execute(sql)));
        let asked = async {
            let statement = client.prepare_cached(sql).await?;
            let Some(sources) = self.context.sources() else {
                return client.query(&statement, parameters).await;
            };
            // Polled in this order, so sent in this order, in one go.
            let rows = client.query(&statement, parameters);
            let (rows, shown) = join(rows, client.simple_query(SHOW_SOURCE)).await;
            let rows = rows?;
            sources.add(first_value(&shown?).unwrap_or_default());
            Ok(rows)
        };
        let both = async {
            let (due, rows) = join(due, asked).await;
            due.and(rows)
        };
        let rows = self.within(both).await;
        self.forget_stale(sql, rows)
    }

    /// What the endpoint says of a statement without running it: the second column of the row whose first is `property`.
    pub(crate) async fn explained(&self, sql: &str, property: &str) -> Result<Option<String>> {
        let client = self.client()?;
        let first = self.take_first();
        let due = try_join_all(first.iter().map(|sql| client.batch_execute(sql)));
        let both = async {
            let (due, messages) = join(due, client.simple_query(sql)).await;
            due.and(messages)
        };
        let messages = self.within(both).await?;
        Ok(messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) if row.get(0) == Some(property) => row.get(1).map(str::to_owned),
            _ => None,
        }))
    }

    /// Runs a statement that gives no rows; says how many it touched.
    pub(crate) async fn execute(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<u64> {
        let client = self.client()?;
        let asked = async {
            let statement = client.prepare_cached(sql).await?;
            client.execute(&statement, parameters).await
        };
        let count = self.within(asked).await;
        self.forget_stale(sql, count)
    }

    /// A statement that was prepared before its table changed is prepared anew next time.
    fn forget_stale<T>(&self, sql: &str, result: Result<T>) -> Result<T> {
        result.map_err(|error| {
            let stale = error.is_stale_plan();
            if let (true, Ok(client)) = (stale, self.client()) {
                client.statement_cache.remove(sql, &[]);
                return error.with_retry(crate::Retry::Safe);
            }
            error
        })
    }

    /// Commits, and asks in the same go for the position of what was written.
    ///
    /// # Errors
    /// Those of COMMIT. That the position can't be learned is none: [`Causality::Strong`] stands for it.
    pub(crate) async fn commit(&self) -> Result<Causality> {
        let link = self.link()?;
        self.ended.store(true, Ordering::Release);
        let mut committed = None;
        let both = async {
            let commit = async {
                committed = Some(link.client.batch_execute("COMMIT").await);
            };
            // Polled in this order, so sent in this order.
            join(commit, link.client.simple_query("SHOW ringway.token"))
                .await
                .1
        };
        let shown = match self.context.deadline().instant() {
            None => Some(both.await),
            Some(at) => tokio::time::timeout_at(at.into(), both).await.ok(),
        };
        match committed {
            None => return Err(Error::deadline(Phase::Commit)),
            Some(Err(error)) => return Err(Error::from_driver(error, Phase::Commit)),
            Some(Ok(())) => {}
        }
        let token = shown
            .and_then(Result::ok)
            .and_then(|messages| token_in(&messages));
        // Without an answer to SHOW it is unknown what is still under way.
        link.at_rest.store(token.is_some(), Ordering::Release);
        lock(&link.told).token.clone_from(&token);
        Ok(token.unwrap_or(Causality::Strong))
    }

    /// Ends a transaction that is not to be. Where that fails, closing the connection does it.
    pub(crate) async fn rollback(&self) {
        let Ok(link) = self.link() else { return };
        self.ended.store(true, Ordering::Release);
        let rolled_back = self.within(link.client.batch_execute("ROLLBACK")).await;
        link.at_rest.store(rolled_back.is_ok(), Ordering::Release);
    }

    /// Reads have ended, each with its own answer.
    pub(crate) fn reads_ended(&self) {
        let Ok(link) = self.link() else { return };
        self.ended.store(true, Ordering::Release);
        let unsent = !self.take_first().is_empty();
        link.at_rest
            .store(!unsent && !self.has_failed(), Ordering::Release);
    }
}

/// The token in the answer to SHOW.
fn token_in(messages: &[SimpleQueryMessage]) -> Option<Causality> {
    first_value(messages).and_then(|text| Causality::parse(text).ok())
}

/// The value in the answer to SHOW.
fn first_value(messages: &[SimpleQueryMessage]) -> Option<&str> {
    messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    })
}
