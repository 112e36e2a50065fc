//! A payment's row.

use crate::Refusal;
use ringway_sdk::{Parameter, Result, Transaction};
use serde::{Deserialize, Serialize};
use shop_contracts::{Currency, Money};
use tokio_postgres::Row;
use utoipa::ToSchema;
use uuid::Uuid;

macro_rules! columns {
    () => {
        "payment_id, order_id, state, amount_cents, currency, captured_cents, refunded_cents, open_errand, reason"
    };
}

/// Locks an order's payment, and makes it if there is none: whoever comes at the same time waits.
const MAKE: &str = concat!(
    "INSERT INTO payment_intent AS p (user_id, order_id, payment_id, state, amount_cents, currency) VALUES ($1, $2, $3, 'new', $4, $5) \
     ON CONFLICT (user_id, order_id) DO UPDATE SET state = p.state RETURNING ",
    columns!()
);
const LOCK: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM payment_intent WHERE user_id = $1 AND order_id = $2 FOR UPDATE"
);
const LOCK_BY_ID: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM payment_intent WHERE user_id = $1 AND payment_id = $2 FOR UPDATE"
);
pub(crate) const SHOW: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM payment_intent WHERE user_id = $1 AND order_id = $2"
);
const STORE: &str = "UPDATE payment_intent SET state = $3, captured_cents = $4, refunded_cents = $5, open_errand = $6, reason = $7 \
     WHERE user_id = $1 AND order_id = $2";

/// Where a payment stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The provider is to be asked, or hasn't answered.
    New,
    /// The amount is held on the card.
    Authorised,
    /// The provider has refused it.
    Declined,
    /// The amount is taken; some or all of it may have been given back.
    Captured,
    /// Nothing is held, and nothing will be.
    Voided,
}

impl State {
    fn read(word: &str) -> Result<Self, Refusal> {
        Ok(match word {
            "new" => Self::New,
            "authorised" => Self::Authorised,
            "declined" => Self::Declined,
            "captured" => Self::Captured,
            "voided" => Self::Voided,
            other => return Err(Refusal::Invalid(format!("the state {other}"))),
        })
    }

    fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Authorised => "authorised",
            Self::Declined => "declined",
            Self::Captured => "captured",
            Self::Voided => "voided",
        }
    }
}

/// A payment, as it is shown.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Payment {
    /// Which.
    pub payment_id: Uuid,
    /// For which order.
    pub order_id: Uuid,
    /// Where it stands.
    pub state: State,
    /// What was asked for.
    pub amount: Money,
    /// What was taken.
    pub captured: Money,
    /// What was given back of it.
    pub refunded: Money,
    /// Why the provider has refused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a caller is told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// Where it stands now.
    Payment(Payment),
    /// It was not done, and will not be.
    Refused {
        /// A word.
        reason: String,
        /// For people.
        detail: String,
    },
}

impl Reply {
    /// A refusal.
    pub(crate) fn refused(reason: &str, detail: &str) -> Self {
        Self::Refused {
            reason: reason.to_owned(),
            detail: detail.to_owned(),
        }
    }
}

/// A payment whose row is locked.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    pub(crate) user_id: Uuid,
    pub(crate) payment: Payment,
    pub(crate) open_errand: Option<Uuid>,
}

/// Reads a row.
pub(crate) fn read(row: &Row) -> Result<(Payment, Option<Uuid>), Refusal> {
    let currency: Currency = row.get::<_, &str>(4).parse()?;
    let money = |column: usize| Money::new(row.get(column), currency);
    let payment = Payment {
        payment_id: row.get(0),
        order_id: row.get(1),
        state: State::read(row.get(2))?,
        amount: money(3),
        captured: money(5),
        refunded: money(6),
        reason: row.get(8),
    };
    Ok((payment, row.get(7)))
}

impl Intent {
    fn of(user_id: Uuid, row: &Row) -> Result<Self, Refusal> {
        let (payment, open_errand) = read(row)?;
        Ok(Self {
            user_id,
            payment,
            open_errand,
        })
    }

    /// The order's, made if there is none.
    pub(crate) async fn make(
        tx: &Transaction,
        user_id: Uuid,
        order_id: Uuid,
        amount: Money,
    ) -> Result<Self, Refusal> {
        let (payment_id, currency) = (Uuid::now_v7(), amount.currency.as_str());
        let parameters: &[Parameter<'_>] =
            &[&user_id, &order_id, &payment_id, &amount.amount_cents, &currency];
        Self::of(user_id, &tx.query_one(MAKE, parameters).await?)
    }

    /// The order's, if there is one.
    pub(crate) async fn lock(
        tx: &Transaction,
        user_id: Uuid,
        order_id: Uuid,
    ) -> Result<Option<Self>, Refusal> {
        let row = tx.query_opt(LOCK, &[&user_id, &order_id]).await?;
        row.map(|row| Self::of(user_id, &row)).transpose()
    }

    /// The payment of this id.
    pub(crate) async fn lock_by_id(
        tx: &Transaction,
        user_id: Uuid,
        payment_id: Uuid,
    ) -> Result<Self, Refusal> {
        let row = tx.query_opt(LOCK_BY_ID, &[&user_id, &payment_id]).await?;
        Self::of(user_id, &row.ok_or(Refusal::UnknownPayment)?)
    }

    pub(crate) async fn store(&self, tx: &Transaction) -> Result<()> {
        let Payment {
            order_id,
            state,
            captured,
            refunded,
            reason,
            ..
        } = &self.payment;
        let (captured, refunded) = (captured.amount_cents, refunded.amount_cents);
        let word = state.word();
        tx.execute(
            STORE,
            &[
                &self.user_id,
                order_id,
                &word,
                &captured,
                &refunded,
                &self.open_errand,
                reason,
            ],
        )
        .await
        .map(drop)
    }
}
