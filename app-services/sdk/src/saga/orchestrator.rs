//! Moving sagas on.

use super::definition::{Definition, Outcome, State, next};
use crate::context::{Context, Session};
use crate::database::{Database, Isolation, Key, Transaction};
use crate::error::{Error, Result};
use crate::level::Level;
use crate::retry::{BudgetSettings, Policy};
use crate::store::{ShardKey, Store};
use crate::token::Causality;
use futures_util::future::join_all;
use serde_json::Value;
use std::time::Duration;

/// Pauses between tries of a step, and while the database doesn't work.
const PAUSES: Policy = Policy {
    attempts: u32::MAX,
    base: Duration::from_millis(100),
    cap: Duration::from_secs(10),
    budget: BudgetSettings { full: 0, earned: 0 },
};

/// A try of an action.
#[derive(Clone, Debug)]
pub struct Call {
    /// The saga's id.
    pub saga: String,
    /// The shard key of its row.
    pub shard_key: ShardKey,
    /// What is to be done: an `action` or an `undo` of the definition.
    pub action: &'static str,
    /// The idempotency key: the same for all tries of this action of this saga.
    pub key: String,
    /// What the saga was started with.
    pub data: Value,
    /// Sees what whoever started the saga had seen, and ends with the step's time.
    pub context: Context,
}

/// Moves the sagas of one definition on.
#[derive(Clone, Debug)]
pub struct Orchestrator {
    database: Database,
    store: Store,
    definition: Definition,
    poll: Duration,
}

/// A saga that this instance has taken a step of.
struct Taken {
    id: String,
    key: ShardKey,
    state: State,
    tries: u32,
    lease: i64,
    data: Value,
    causality: Causality,
}

impl Transaction {
    /// Starts a saga: it moves on once the transaction is committed. One of the same id is left as it is.
    ///
    /// # Errors
    /// As [`Transaction::query`].
    pub async fn start_saga(
        &self,
        store: &Store,
        shard_key: &ShardKey,
        id: &str,
        definition: &Definition,
        data: &Value,
    ) -> Result<()> {
        store.check(shard_key)?;
        let token = self.context().session().causality().to_string();
        let parameters: &[crate::Parameter<'_>] =
            &[shard_key.parameter(), &id, &definition.name, data, &token];
        self.execute(&store.sql.start_saga, parameters).await.map(drop)
    }

    /// Where a saga stands, if it is known.
    ///
    /// # Errors
    /// As [`Transaction::query`].
    pub async fn saga_state(&self, store: &Store, shard_key: &ShardKey, id: &str) -> Result<Option<State>> {
        store.check(shard_key)?;
        let row = self
            .query_opt(&store.sql.saga_state, &[shard_key.parameter(), &id])
            .await?;
        Ok(row.and_then(|row| State::read(row.get(0), row.get(1))))
    }
}

impl Orchestrator {
    /// An orchestrator that looks for sagas with something to do every `poll`.
    pub fn new(database: &Database, store: &Store, definition: Definition, poll: Duration) -> Self {
        Self {
            database: database.clone(),
            store: store.clone(),
            definition,
            poll,
        }
    }

    /// Moves sagas on for as long as it is polled. It may be dropped or killed at any moment.
    ///
    /// `act` carries out one try of an action. It must take effect once for its key, whatever number of tries is made, also of several instances
    /// at once; an undo may come for something that was never done, and then keeps it from being done later.
    pub async fn run<F, Fut>(&self, act: F)
    where
        F: Fn(Call) -> Fut,
        Fut: Future<Output = Outcome>,
    {
        let mut outages = 1;
        loop {
            match self.due().await {
                Ok(due) if due.is_empty() => tokio::time::sleep(self.poll).await,
                Ok(due) => {
                    let moved = due.into_iter().map(|(key, id)| self.step(key, id, &act));
                    let failed = join_all(moved).await.into_iter().find_map(Result::err);
                    outages = if failed.is_some() { outages + 1 } else { 1 };
                    self.report(failed, outages).await;
                }
                Err(error) => {
                    outages += 1;
                    self.report(Some(error), outages).await;
                }
            }
        }
    }

    async fn report(&self, error: Option<Error>, outages: u32) {
        if let Some(error) = error {
            tracing::warn!(%error, saga = self.definition.name, "sagas wait for the database");
            tokio::time::sleep(PAUSES.pause(outages, rand::random())).await;
        }
    }

    /// The sagas with something to do, on all shards.
    async fn due(&self) -> Result<Vec<(ShardKey, String)>> {
        let (sql, name) = (&self.store.sql.due_sagas, self.definition.name);
        let rows = self
            .database
            .read(&Context::background(), Level::Strong, async |reader| {
                reader.query(sql, &[&name]).await
            })
            .await?;
        let key_type = self.store.key_type();
        rows.iter()
            .map(|row| Ok((ShardKey::parse(key_type, row.get(0))?, row.get(1))))
            .collect()
    }

    /// Takes one step of a saga: takes it, tries it, records what came of it.
    async fn step<F, Fut>(&self, key: ShardKey, id: String, act: &F) -> Result<()>
    where
        F: Fn(Call) -> Fut,
        Fut: Future<Output = Outcome>,
    {
        let Some(taken) = self.take(key, id).await? else {
            return Ok(());
        };
        let (at, undoing) = match taken.state {
            State::Doing(at) => (at, false),
            State::Undoing(at) => (at, true),
            State::Done | State::Undone => return Ok(()),
        };
        let step = self.definition.steps.get(at);
        let action = step.and_then(|step| if undoing { step.undo } else { Some(step.action) });
        let (Some(step), Some(action)) = (step, action) else {
            return Err(Error::caller(format!("saga {} has no step {at}", taken.id)));
        };
        let call = Call {
            saga: taken.id.clone(),
            shard_key: taken.key.clone(),
            action,
            key: format!("{}/{action}", taken.id),
            data: taken.data.clone(),
            context: Context::background()
                .with_session(Session::after(taken.causality.clone()))
                .with_timeout(step.timeout),
        };
        let outcome = match tokio::time::timeout(step.timeout, act(call)).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::Again(format!("no answer within {:?}", step.timeout)),
        };
        self.record(&taken, &outcome).await
    }

    /// Makes this instance the one that may record the step's outcome, until the step's time is over.
    async fn take(&self, key: ShardKey, id: String) -> Result<Option<Taken>> {
        let longest = self.definition.steps.iter().map(|step| step.timeout).max();
        let until_ms = longest.unwrap_or_default().as_secs_f64() * 1_000.0;
        let work = async |tx: Transaction| {
            tx.query_opt(&self.store.sql.take_saga, &[key.parameter(), &id, &until_ms])
                .await
        };
        let row = self.kept(work).await?;
        let Some(row) = row else { return Ok(None) };
        let state = State::read(row.get(0), row.get(1));
        Ok(state.map(|state| Taken {
            state,
            tries: u32::try_from(row.get::<_, i32>(2)).unwrap_or(u32::MAX),
            lease: row.get(3),
            data: row.get(4),
            causality: Causality::parse(row.get(5)).unwrap_or_default(),
            id,
            key,
        }))
    }

    async fn record(&self, taken: &Taken, outcome: &Outcome) -> Result<()> {
        let to = next(&self.definition, taken.state, taken.tries, outcome);
        let stays = to == taken.state;
        let pause = if stays {
            PAUSES.pause(taken.tries.saturating_add(1), rand::random())
        } else {
            Duration::ZERO
        };
        let (word, step) = to.stored();
        let tries = if stays {
            i32::try_from(taken.tries).unwrap_or(i32::MAX)
        } else {
            0
        };
        let pause_ms = (!to.is_over()).then_some(pause.as_secs_f64() * 1_000.0);
        let reason = match outcome {
            Outcome::Done => None,
            Outcome::Refused(reason) | Outcome::Again(reason) => Some(reason),
        };
        let work = async |tx: Transaction| {
            let key = taken.key.parameter();
            let parameters: &[crate::Parameter<'_>] = &[
                key,
                &taken.id,
                &taken.lease,
                &word,
                &step,
                &tries,
                &pause_ms,
                &reason,
            ];
            tx.execute(&self.store.sql.move_saga, parameters).await
        };
        self.kept(work).await.map(drop)
    }

    /// A transaction that may be repeated: both are guarded by the lease.
    async fn kept<T, F, Fut>(&self, work: F) -> Result<T>
    where
        F: Fn(Transaction) -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        self.database
            .transaction_tried(&Context::background(), Isolation::default(), Key::Given, work)
            .await
    }
}
