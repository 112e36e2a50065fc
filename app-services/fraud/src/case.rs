//! What was scored, and what staff found.

use crate::{Fraud, Refusal};
use ringway_sdk::column::{Columns, Word};
use ringway_sdk::{Context, Level, Row, Transaction, from_row};
use serde::{Deserialize, Serialize};
use shop_contracts::Money;
use shop_contracts::events::{AuditRecorded, FraudReviewed, ScoreReason, Tell, Verdict};
use time::OffsetDateTime;
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

fn read(row: &Row) -> Result<Case, Refusal> {
    let amount = Money::new(row.get("amount_cents"), row.word("currency")?);
    let score: i32 = row.get("score");
    Ok(from_row!(row => Case {
        user_id, order_id, at;
        amount: amount, score: score.unsigned_abs(), verdict: row.word("verdict")?,
        reasons: row.json("reasons")?.unwrap_or_default()
    }))
}

impl Fraud {
    /// What staff is to look at, the oldest first; at most 50.
    ///
    /// # Errors
    /// The SDK's.
    pub async fn open_cases(&self, context: &Context) -> Result<Vec<Case>, Refusal> {
        let rows = self.database.rows(context, Level::Ryw, OPEN, &[]).await?;
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
        let found = if review.is_fraud {
            Verdict::Decline
        } else {
            Verdict::Approve
        };
        let word = Word(found).text()?;
        let once = self
            .store
            .once(user_id, format!("review/{key}"), format!("{word} {order_id}"));
        let work = async |tx: Transaction| {
            let row = tx
                .query_opt(LOCK, &[&user_id, &order_id])
                .await?
                .ok_or(Refusal::UnknownCase)?;
            if !row.get::<_, bool>(0) {
                return Err(Refusal::Reviewed);
            }
            tx.execute(CLOSE, &[&user_id, &order_id, &word, &by]).await?;
            let reviewed = FraudReviewed {
                order_id,
                user_id,
                verdict: found,
                by,
            };
            tx.tell(&self.store, user_id, reviewed).await?;
            let recorded = AuditRecorded {
                subject: order_id.to_string(),
                actor: by,
                action: "fraud-reviewed".to_owned(),
                detail: word.clone(),
            };
            tx.tell(&self.store, user_id, recorded).await?;
            Ok(())
        };
        self.database.transaction_once(context, once, work).await
    }
}
