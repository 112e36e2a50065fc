//! Scoring an order.

use crate::rules::{Facts, score};
use crate::windows::{Ordered, Windows};
use crate::{Refusal, Settings};
use ringway_sdk::column::{Json, Word};
use ringway_sdk::{Context, Database, Parameter, Result, Store, Transaction};
use shop_contracts::events::{FraudScored, Tell, Verdict};
use shop_contracts::{Money, Operation};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const KEEP: &str = "INSERT INTO fraud_case (user_id, order_id, amount_cents, currency, score, verdict, reasons, is_open) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (user_id, order_id) DO NOTHING";

/// Scores orders.
#[derive(Clone, Debug)]
pub struct Fraud {
    pub(crate) database: Database,
    pub(crate) store: Store,
    windows: Windows,
    settings: Settings,
}

/// An order that is to be scored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Suspect {
    pub(crate) operation: Operation,
    pub(crate) total: Money,
    pub(crate) most_of_one: u32,
    pub(crate) address: String,
    /// In milliseconds since 1970.
    pub(crate) registered_at_ms: Option<i64>,
}

impl Fraud {
    /// Scores with the windows of a region.
    pub fn new(database: &Database, store: &Store, windows: Windows, settings: Settings) -> Self {
        Self {
            database: database.clone(),
            store: store.clone(),
            windows,
            settings,
        }
    }

    /// Scores an order, once for its operation.
    pub(crate) async fn score(&self, context: &Context, suspect: &Suspect) -> Result<FraudScored, Refusal> {
        let (user_id, order_id) = (suspect.operation.user_id, suspect.operation.order_id);
        let (amount, cents) = (suspect.total, suspect.total.amount_cents);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let ordered = Ordered {
            order_id,
            user_id,
            cents,
            address: &suspect.address,
            at_ms,
        };
        let age_ms = suspect
            .registered_at_ms
            .map(|registered| at_ms.saturating_sub(registered).max(0));
        let scored = score(
            &self.settings,
            &Facts {
                cents,
                most_of_one: suspect.most_of_one,
                user_age: age_ms.map(|age| Duration::from_millis(age.unsigned_abs())),
                recent: self.windows.count_order(&ordered).await,
            },
        );
        let told = FraudScored {
            order_id,
            user_id,
            amount,
            score: scored.points,
            verdict: scored.verdict,
            reasons: scored.reasons,
        };
        let operation = format!("score {order_id} {amount}");
        let once = self.store.once(user_id, &suspect.operation.key, operation);
        let work = async |tx: Transaction| {
            self.keep(&tx, &told).await?;
            tx.tell(&self.store, user_id, told.clone()).await?;
            Ok::<_, Refusal>(told.clone())
        };
        self.database.transaction_once(context, once, work).await
    }

    async fn keep(&self, tx: &Transaction, told: &FraudScored) -> Result<()> {
        let points = i32::try_from(told.score).unwrap_or(i32::MAX);
        let is_open = told.verdict == Verdict::Review;
        let parameters: &[Parameter<'_>] = &[
            &told.user_id,
            &told.order_id,
            &told.amount.amount_cents,
            &Word(told.amount.currency),
            &points,
            &Word(told.verdict),
            &Json(&told.reasons),
            &is_open,
        ];
        tx.execute(KEEP, parameters).await.map(drop)
    }
}
