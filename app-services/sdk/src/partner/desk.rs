//! Where errands are begun, sent and closed.

use super::deal::{Begun, Claimed, Deals, NewErrand, Outcome, RefusalOf, Reply, ShownOf, Subject as _};
use super::http::Secret;
use super::protocol::{Errand, NoAnswer, Partner, Verdict, Webhook};
use super::settings::PartnerSettings;
use super::signature::{SIGNATURE_HEADER, verify};
use crate::context::Context;
use crate::database::{Database, Isolation, Key, Transaction};
use crate::error::{Error, FromSdk, Result};
use crate::level::Level;
use crate::link::Parameter;
use crate::retry::{BudgetSettings, Policy};
use crate::service::Stop;
use crate::store::Store;
use crate::web::Problem;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio_postgres::Row;
use uuid::Uuid;

/// How often a call makes way for an errand that was begun before its own.
const MAX_BEFORE: u32 = 4;

/// The most errands that are looked for at once.
const BATCH: usize = 50;

/// What the look for open errands may take, and the closing of one of them.
const BOUND: Duration = Duration::from_secs(10);

/// How open errands are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeskSettings {
    /// An errand is left to the call that began it for so long; longer than the partner's answer is waited for.
    pub grace: Duration,
    /// Between two looks for open errands.
    pub poll: Duration,
    /// The longest pause between two questions for one of them; they begin with a tenth of it.
    pub longest: Duration,
}

impl Default for DeskSettings {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(5),
            poll: Duration::from_millis(500),
            longest: Duration::from_secs(30),
        }
    }
}

/// Begins errands, sends them, closes them. Clones share all.
#[derive(Clone)]
pub struct Desk<D> {
    database: Database,
    store: Store,
    partner: Arc<dyn Partner>,
    secret: Secret,
    deals: D,
    settings: DeskSettings,
    sql: Arc<Statements>,
}

impl<D> fmt::Debug for Desk<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk")
            .field("store", &self.store.name())
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

struct Statements {
    begin: String,
    read: String,
    lock: String,
    close: String,
    due: String,
    later: String,
}

/// What is kept under an operation's key.
#[derive(Serialize, Deserialize)]
enum Kept<T> {
    Settled(Reply<T>),
    Asked(Uuid),
}

/// Why a transaction has begun nothing.
enum Halt<E> {
    After(Uuid),
    Refused(E),
}

impl<E: FromSdk> From<Error> for Halt<E> {
    fn from(error: Error) -> Self {
        Self::Refused(error.into())
    }
}

impl<E: FromSdk> FromSdk for Halt<E> {
    fn as_sdk(&self) -> Option<&Error> {
        match self {
            Self::After(_) => None,
            Self::Refused(error) => error.as_sdk(),
        }
    }
}

/// An errand's row.
struct Known<T> {
    errand: Errand,
    reply: Option<Reply<T>>,
}

/// The DDL of a store's errands, one statement after the other; each may be run again.
fn schema(name: &str) -> Vec<String> {
    vec![
        format!(
            "CREATE TABLE IF NOT EXISTS {name}_errand (shard_key uuid NOT NULL, id uuid NOT NULL, kind text NOT NULL, subject uuid NOT NULL, \
             details jsonb NOT NULL, reply jsonb, tries int NOT NULL DEFAULT 0, due timestamptz, at timestamptz NOT NULL DEFAULT now(), \
             PRIMARY KEY (shard_key, id))"
        ),
        format!("CREATE INDEX IF NOT EXISTS {name}_errand_due ON {name}_errand (due) WHERE due IS NOT NULL"),
    ]
}

impl Statements {
    fn of(name: &str) -> Self {
        let columns = "id, kind, subject, details, reply";
        Self {
            begin: format!(
                "INSERT INTO {name}_errand (shard_key, id, kind, subject, details, due) VALUES ($1, $2, $3, $4, $5, now() + $6 * interval '1 ms')"
            ),
            read: format!("SELECT {columns} FROM {name}_errand WHERE shard_key = $1 AND id = $2"),
            lock: format!("SELECT {columns} FROM {name}_errand WHERE shard_key = $1 AND id = $2 FOR UPDATE"),
            close: format!(
                "UPDATE {name}_errand SET reply = $3, due = NULL WHERE shard_key = $1 AND id = $2"
            ),
            due: format!(
                "SELECT shard_key, id, tries FROM {name}_errand WHERE due <= now() ORDER BY due LIMIT {BATCH}"
            ),
            later: format!(
                "UPDATE {name}_errand SET tries = tries + 1, due = now() + $3 * interval '1 ms' \
                 WHERE shard_key = $1 AND id = $2 AND due IS NOT NULL"
            ),
        }
    }
}

fn read<T: DeserializeOwned>(reference: Uuid, row: &Row) -> Result<Known<T>> {
    let reply: Option<Value> = row.get(4);
    let reply = reply.map(serde_json::from_value).transpose();
    Ok(Known {
        errand: Errand {
            id: row.get(0),
            reference,
            kind: row.get(1),
            subject: row.get(2),
            details: row.get(3),
        },
        reply: reply.map_err(|error| Error::caller("the reply is of another type").with_source(error))?,
    })
}

fn unknown() -> Error {
    Error::caller("there is no such errand")
}

impl<D: Deals> Desk<D> {
    /// A desk whose rows are in `store`, which is sharded by a user's id.
    pub fn new(database: &Database, store: &Store, partner: &PartnerSettings, deals: D) -> Self {
        Self {
            database: database.clone(),
            store: store.clone(),
            partner: Arc::new(partner.partner()),
            secret: partner.secret.clone(),
            deals,
            settings: partner.desk(),
            sql: Arc::new(Statements::of(store.name())),
        }
    }

    /// What the service does with verdicts.
    pub fn deals(&self) -> &D {
        &self.deals
    }

    pub(crate) fn table_name(&self) -> String {
        format!("{}_errand", self.store.name())
    }

    pub(crate) fn schema(&self) -> Vec<String> {
        schema(self.store.name())
    }

    /// Carries something out for a user, once for the key: `begin` decides in a transaction what is to be done, the partner is asked, and its verdict acted on.
    ///
    /// # Errors
    /// The service's refusal, with nothing begun; the SDK's.
    pub async fn carry_out<F, Fut>(
        &self,
        context: &Context,
        user_id: Uuid,
        (key, operation): (&str, &str),
        begin: F,
    ) -> Result<Outcome<ShownOf<D>>, RefusalOf<D>>
    where
        F: Fn(Transaction) -> Fut,
        Fut: Future<Output = Result<Begun<ShownOf<D>>, RefusalOf<D>>>,
    {
        let once = self.store.once(user_id, key, operation);
        for _ in 0..MAX_BEFORE {
            let work = async |tx: Transaction| match begin(tx.clone()).await.map_err(Halt::Refused)? {
                Begun::Settled(reply) => Ok(Kept::Settled(reply)),
                Begun::After(id) => Err(Halt::After(id)),
                Begun::Ask(errand) => {
                    let id = errand.id;
                    self.begin(&tx, user_id, errand).await?;
                    Ok(Kept::Asked(id))
                }
            };
            let begun = self.database.transaction_once(context, once.clone(), work).await;
            match begun {
                Ok(Kept::Settled(reply)) => return Ok(Outcome::Settled(reply)),
                Ok(Kept::Asked(id)) => return self.drive(context, user_id, id).await,
                Err(Halt::Refused(refusal)) => return Err(refusal),
                Err(Halt::After(id)) => {
                    if let Outcome::Pending(why) = self.drive(context, user_id, id).await? {
                        return Ok(Outcome::Pending(why));
                    }
                }
            }
        }
        Ok(Outcome::Pending("others are at it".to_owned()))
    }

    async fn begin(&self, tx: &Transaction, user_id: Uuid, errand: NewErrand) -> Result<()> {
        let grace = self.settings.grace.as_secs_f64() * 1_000.0;
        let NewErrand {
            id,
            kind,
            subject,
            details,
        } = errand;
        let parameters: &[Parameter<'_>] = &[&user_id, &id, &kind, &subject, &details, &grace];
        tx.execute(&self.sql.begin, parameters).await.map(drop)
    }

    /// Asks for an errand, unless it is closed.
    async fn drive(
        &self,
        context: &Context,
        user_id: Uuid,
        id: Uuid,
    ) -> Result<Outcome<ShownOf<D>>, RefusalOf<D>> {
        let row = self.find(context, user_id, id).await?;
        if let Some(reply) = row.reply {
            return Ok(Outcome::Settled(reply));
        }
        let left = context.deadline().left().unwrap_or(self.settings.grace);
        let verdict = match tokio::time::timeout(left, self.partner.ask(&row.errand)).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(NoAnswer(why))) => return Ok(Outcome::Pending(why)),
            Err(_) => return Ok(Outcome::Pending("the time is over".to_owned())),
        };
        self.close(context, user_id, id, &verdict)
            .await
            .map(Outcome::Settled)
    }

    async fn find(&self, context: &Context, user_id: Uuid, id: Uuid) -> Result<Known<ShownOf<D>>> {
        let parameters: &[Parameter<'_>] = &[&user_id, &id];
        let row = self
            .database
            .row(context, Level::Strong, &self.sql.read, parameters);
        let row = row.await?;
        read(user_id, &row.ok_or_else(unknown)?)
    }

    /// Closes an errand, if it isn't; gives what its callers are told.
    async fn close(
        &self,
        context: &Context,
        user_id: Uuid,
        id: Uuid,
        verdict: &Verdict,
    ) -> Result<Reply<ShownOf<D>>, RefusalOf<D>> {
        let work = async |tx: Transaction| {
            let row = tx.query_opt(&self.sql.lock, &[&user_id, &id]).await?;
            let row: Known<ShownOf<D>> = read(user_id, &row.ok_or_else(unknown)?)?;
            if let Some(reply) = row.reply {
                return Ok(reply);
            }
            let mut subject = D::Subject::lock(&tx, user_id, row.errand.subject).await?;
            *subject.open_errand() = None;
            let deal = (row.errand.kind()?, verdict);
            let reply = self.deals.close(&tx, &mut subject, &row.errand, deal).await?;
            subject.store(&tx).await?;
            let reply = reply.map(|()| subject.shown());
            let kept = serde_json::to_value(&reply)
                .map_err(|error| Error::caller("the reply can't be kept").with_source(error))?;
            tx.execute(&self.sql.close, &[&user_id, &id, &kept]).await?;
            Ok::<_, RefusalOf<D>>(reply)
        };
        // Guarded by the row, so it may be repeated.
        self.database
            .transaction_tried(context, Isolation::default(), Key::Given, work)
            .await
    }

    /// Takes a webhook: gives it, if it is to be believed. One that has an errand's verdict closes it.
    ///
    /// # Errors
    /// The signature or the body is wrong; the SDK's.
    pub async fn webhook(&self, context: &Context, claimed: &Claimed) -> Result<Webhook, Problem>
    where
        Problem: From<RefusalOf<D>>,
    {
        let Claimed { headers, body } = claimed;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let signature = headers
            .get(SIGNATURE_HEADER)
            .and_then(|value| value.to_str().ok());
        let is_right = |signature| verify(self.secret.reveal(), now.as_secs(), signature, body);
        if !signature.is_some_and(is_right) {
            return Err(Problem::unauthenticated("the signature is wrong or too old"));
        }
        let webhook: Webhook =
            serde_json::from_slice(body).map_err(|error| Problem::invalid(error.to_string()))?;
        if let Some(verdict) = webhook.told.clone().verdict()
            && !webhook.operation.is_nil()
        {
            let closed = self
                .close(context, webhook.reference, webhook.operation, &verdict)
                .await;
            closed.map_err(Problem::from)?;
        }
        Ok(webhook)
    }

    /// Asks for open errands until it is to stop. Several may do so at once.
    pub async fn settle_until(self, stop: Stop) {
        loop {
            if let Err(refusal) = self.settle_due().await {
                tracing::warn!(?refusal, store = self.store.name(), "errands wait");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.settings.poll) => {}
            }
        }
    }

    async fn settle_due(&self) -> Result<(), RefusalOf<D>> {
        let context = Context::background().with_timeout(BOUND);
        let due = self.database.rows(&context, Level::Strong, &self.sql.due, &[]);
        let due = due.await?;
        let asked = due
            .iter()
            .map(|row| self.settle(row.get(0), row.get(1), row.get(2)));
        let failed = futures_util::future::join_all(asked)
            .await
            .into_iter()
            .find_map(Result::err);
        failed.map_or(Ok(()), Err)
    }

    async fn settle(&self, user_id: Uuid, id: Uuid, tries: i32) -> Result<(), RefusalOf<D>> {
        let context = Context::background().with_timeout(BOUND);
        let pauses = Policy {
            attempts: u32::MAX,
            base: self.settings.longest / 10,
            cap: self.settings.longest,
            budget: BudgetSettings { full: 0, earned: 0 },
        };
        let tries = u32::try_from(tries).unwrap_or(u32::MAX);
        let pause = pauses.pause(tries.saturating_add(2), rand::random()) + self.settings.poll;
        let pause_ms = pause.as_secs_f64() * 1_000.0;
        let work = async |tx: Transaction| tx.execute(&self.sql.later, &[&user_id, &id, &pause_ms]).await;
        self.database
            .transaction::<_, Error, _, _>(&context, work)
            .await?;
        let found = tokio::time::timeout(BOUND, self.partner.look_up(id)).await;
        match found.unwrap_or_else(|_| Err(NoAnswer("the time is over".to_owned()))) {
            Ok(Some(verdict)) => self.close(&context, user_id, id, &verdict).await.map(drop),
            // It never came to the partner; whatever is still on its way has the same key.
            Ok(None) => self.drive(&context, user_id, id).await.map(drop),
            Err(NoAnswer(why)) => {
                tracing::debug!(%id, why, "an errand is still open");
                Ok(())
            }
        }
    }
}
