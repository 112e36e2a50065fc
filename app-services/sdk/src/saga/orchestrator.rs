//! Moving sagas on.

use super::definition::{Definition, Outcome, State, next};
use crate::context::{Context, Session};
use crate::database::{Database, Isolation, Key, Transaction};
use crate::error::{Error, Result};
use crate::level::Level;
use crate::link::Started;
use crate::retry::{BudgetSettings, Policy};
use crate::store::{ShardKey, Store};
use crate::token::Causality;
use futures_util::{Stream, StreamExt as _, stream};
use serde_json::Value;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep_until};

/// Pauses between tries of a step, and while the database doesn't work.
const PAUSES: Policy = Policy {
    attempts: u32::MAX,
    base: Duration::from_millis(100),
    cap: Duration::from_secs(10),
    budget: BudgetSettings { full: 0, earned: 0 },
};

/// Sagas that an orchestrator moves on at the same time.
const AT_A_TIME: usize = 128;

/// After a look that found something there may be more, and what was found is being taken.
const NEXT_LOOK: Duration = Duration::from_millis(10);

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

/// Looking for sagas with something to do.
struct Looking {
    started: Receiver<Started>,
    found: Vec<(ShardKey, String)>,
    next: Instant,
    outages: u32,
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
        self.execute(&store.sql.start_saga, parameters).await?;
        self.0.note_started(Started {
            store: store.name().to_owned(),
            definition: definition.name,
            key: shard_key.clone(),
            id: id.to_owned(),
        });
        Ok(())
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
    /// An orchestrator that hears of the sagas that `database` starts, and looks every `poll` for others with something to do: those of other processes,
    /// and those that wait for another try.
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
        let act = &act;
        let moving = |(key, id)| async move {
            if let Err(error) = self.move_on(key, id, act).await {
                tracing::warn!(%error, saga = self.definition.name, "a saga waits");
            }
        };
        self.sagas().for_each_concurrent(AT_A_TIME, moving).await;
    }

    /// The sagas with something to do, as they come.
    fn sagas(&self) -> impl Stream<Item = (ShardKey, String)> {
        let looking = Looking {
            started: self.database.started_sagas(),
            found: Vec::new(),
            next: Instant::now(),
            outages: 1,
        };
        stream::unfold(looking, async |mut looking| {
            loop {
                if let Some(found) = looking.found.pop() {
                    return Some((found, looking));
                }
                tokio::select! {
                    started = looking.started.recv() => match started {
                        Ok(started) if started.store == self.store.name() && started.definition == self.definition.name => {
                            looking.found.push((started.key, started.id));
                        }
                        // Another's; or too many: they are found by looking.
                        Ok(_) | Err(RecvError::Lagged(_)) => {}
                        // The pool's sender lives as long as the pool, which is held here.
                        Err(RecvError::Closed) => tokio::time::sleep(self.poll).await,
                    },
                    () = sleep_until(looking.next) => self.look(&mut looking).await,
                }
            }
        })
    }

    async fn look(&self, looking: &mut Looking) {
        let pause = match self.due().await {
            Ok(found) => {
                let pause = if found.is_empty() { self.poll } else { NEXT_LOOK };
                looking.found = found;
                looking.outages = 1;
                pause
            }
            Err(error) => {
                looking.outages += 1;
                tracing::warn!(%error, saga = self.definition.name, "sagas wait for the database");
                PAUSES.pause(looking.outages, rand::random())
            }
        };
        looking.next = Instant::now() + pause;
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

    /// Takes a saga, and moves it on for as long as its steps succeed.
    async fn move_on<F, Fut>(&self, key: ShardKey, id: String, act: &F) -> Result<()>
    where
        F: Fn(Call) -> Fut,
        Fut: Future<Output = Outcome>,
    {
        let mut taken = self.take(key, id).await?;
        while let Some(at) = taken {
            taken = self.step(at, act).await?;
        }
        Ok(())
    }

    /// Tries a step and records what came of it; gives the saga back if there is more to do at once.
    async fn step<F, Fut>(&self, taken: Taken, act: &F) -> Result<Option<Taken>>
    where
        F: Fn(Call) -> Fut,
        Fut: Future<Output = Outcome>,
    {
        let (at, undoing) = match taken.state {
            State::Doing(at) => (at, false),
            State::Undoing(at) => (at, true),
            State::Done | State::Undone => return Ok(None),
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
        self.record(taken, &outcome).await
    }

    /// For how long a step is this instance's alone, in milliseconds.
    fn lease_ms(&self) -> f64 {
        let longest = self.definition.steps.iter().map(|step| step.timeout).max();
        longest.unwrap_or_default().as_secs_f64() * 1_000.0
    }

    /// Makes this instance the one that may record the step's outcome, until the step's time is over.
    async fn take(&self, key: ShardKey, id: String) -> Result<Option<Taken>> {
        let until_ms = self.lease_ms();
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

    /// Records what came of a step. A saga that has moved on stays this instance's, with the first try of the next step.
    async fn record(&self, mut taken: Taken, outcome: &Outcome) -> Result<Option<Taken>> {
        let to = next(&self.definition, taken.state, taken.tries, outcome);
        let stays = to == taken.state;
        let tries = if stays { taken.tries } else { 1 };
        let due_ms = match (to.is_over(), stays) {
            (true, _) => None,
            (false, true) => Some(
                PAUSES
                    .pause(tries.saturating_add(1), rand::random())
                    .as_secs_f64()
                    * 1_000.0,
            ),
            (false, false) => Some(self.lease_ms()),
        };
        let (word, step) = to.stored();
        let stored_tries = i32::try_from(tries).unwrap_or(i32::MAX);
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
                &stored_tries,
                &due_ms,
                &reason,
            ];
            tx.execute(&self.store.sql.move_saga, parameters).await
        };
        // None: another instance has taken it, as this one was too slow.
        let moved = self.kept(work).await? > 0;
        (taken.state, taken.tries) = (to, tries);
        Ok((moved && !stays && !to.is_over()).then_some(taken))
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
