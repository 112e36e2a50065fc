//! What was scored, and what staff found.

use crate::{Fraud, Refusal};
use ringway_sdk::{Context, Level, Once, Reader, Transaction};
use serde::{Deserialize, Serialize};
use shop_contracts::events::{
    AuditEvent, AuditRecorded, FraudEvent, FraudReviewed, ScoreReason, Tell, Verdict,
};
use shop_contracts::{Currency, Money};
use time::OffsetDateTime;
use tokio_postgres::Row;
use utoipa::ToSchema;
use uuid::Uuid;

const OPEN: &str = "SELECT user_id, order_id, amount_cents, currency, score, verdict, reasons, at FROM fraud_case \
     WHERE is_open ORDER BY at LIMIT 50";
const LOCK: &str = "SELECT is_open, finding FROM fraud_case WHERE user_id = $1 AND order_id = $2 FOR UPDATE";
const CLOSE: &str = "UPDATE fraud_case SET is_open = false, finding = $3, reviewed_by = $4 WHERE user_id = $1 AND order_id = $2";

/// An order that staff is to look at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Case {
    /// Whose it is.
    pub user_id: Uuid,
    /// Which order.
    pub order_id: Uuid,
    /// What it comes to.
    pub amount: Money,
    /// 0 (harmless) to 100.
    pub score: u32,
    /// What followed from it.
    pub verdict: Verdict,
    /// Why.
    pub reasons: Vec<ScoreReason>,
    /// When it was scored.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

/// What staff has found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Review {
    /// Whether it was fraud.
    pub is_fraud: bool,
}

/// A verdict as it is stored.
pub(crate) fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Approve => "approve",
        Verdict::Review => "review",
        Verdict::Decline => "decline",
    }
}

fn verdict(word: &str) -> Verdict {
    match word {
        "approve" => Verdict::Approve,
        "decline" => Verdict::Decline,
        _ => Verdict::Review,
    }
}

fn read(row: &Row) -> Result<Case, Refusal> {
    let currency: Currency = row.get::<_, &str>(3).parse()?;
    let reasons = serde_json::from_value(row.get(6)).map_err(|error| Refusal::Invalid(error.to_string()))?;
    Ok(Case {
        user_id: row.get(0),
        order_id: row.get(1),
        amount: Money::new(row.get(2), currency),
        score: u32::try_from(row.get::<_, i32>(4)).unwrap_or_default(),
        verdict: verdict(row.get(5)),
        reasons,
        at: row.get(7),
    })
}

impl Fraud {
    /// What staff is to look at, the oldest first; at most 50.
    ///
    /// # Errors
    /// The SDK's.
    pub async fn open_cases(&self, context: &Context) -> Result<Vec<Case>, Refusal> {
        let query = async |reader: Reader| reader.query(OPEN, &[]).await;
        let rows = self
            .database
            .read::<_, ringway_sdk::Error, _, _>(context, Level::Ryw, query)
            .await?;
        rows.iter().map(read).collect()
    }

    /// Staff has looked at an order.
    ///
    /// # Errors
    /// It was never scored, or somebody has looked at it; the SDK's.
    pub async fn review(
        &self,
        context: &Context,
        (key, by): (&str, Uuid),
        (user_id, order_id): (Uuid, Uuid),
        review: Review,
    ) -> Result<(), Refusal> {
        let shard_key = user_id.into();
        let found = if review.is_fraud {
            Verdict::Decline
        } else {
            Verdict::Approve
        };
        let once = Once {
            store: &self.store,
            shard_key: &shard_key,
            key: &format!("review/{key}"),
            operation: &format!("{} {order_id}", word(found)),
        };
        let work = async |tx: Transaction| {
            let row = tx
                .query_opt(LOCK, &[&user_id, &order_id])
                .await?
                .ok_or(Refusal::UnknownCase)?;
            if !row.get::<_, bool>(0) {
                return Err(Refusal::Reviewed);
            }
            tx.execute(CLOSE, &[&user_id, &order_id, &word(found), &by])
                .await?;
            let reviewed = FraudReviewed {
                order_id,
                user_id,
                verdict: found,
                by,
            };
            tx.tell(&self.store, &shard_key, &FraudEvent::from(reviewed))
                .await?;
            let recorded = AuditRecorded {
                subject: order_id.to_string(),
                actor: by,
                action: "fraud-reviewed".to_owned(),
                detail: word(found).to_owned(),
            };
            tx.tell(&self.store, &shard_key, &AuditEvent::from(recorded))
                .await?;
            Ok(())
        };
        self.database
            .transaction_once(context, once, work)
            .await
            .map(ringway_sdk::Answer::into_inner)
    }
}
