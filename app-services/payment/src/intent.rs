//! A payment's row.

use crate::Refusal;
use crate::operations::Kind;
use ringway_sdk::column::{Columns, Word};
use ringway_sdk::partner::Subject;
use ringway_sdk::{Parameter, Result, Row, Transaction, from_row};
use serde::{Deserialize, Serialize};
use shop_contracts::{Currency, Money};
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

/// A payment whose row is locked.
#[derive(Clone, Debug)]
pub struct Intent {
    pub(crate) user_id: Uuid,
    pub(crate) payment: Payment,
    pub(crate) open_errand: Option<Uuid>,
}

impl Intent {
    /// Reads a row.
    pub(crate) fn read(user_id: Uuid, row: &Row) -> Result<Self> {
        let currency: Currency = row.word("currency")?;
        let money = |column| Money::new(row.get(column), currency);
        let payment = from_row!(row => Payment {
            payment_id, order_id, reason;
            state: row.word("state")?, amount: money("amount_cents"), captured: money("captured_cents"),
            refunded: money("refunded_cents")
        });
        Ok(from_row!(row => Self { open_errand; user_id: user_id, payment: payment }))
    }

    /// The order's, made if there is none.
    pub(crate) async fn make(tx: &Transaction, user_id: Uuid, order_id: Uuid, amount: Money) -> Result<Self> {
        let (payment_id, currency) = (Uuid::now_v7(), Word(amount.currency));
        let parameters: &[Parameter<'_>] =
            &[&user_id, &order_id, &payment_id, &amount.amount_cents, &currency];
        Self::read(user_id, &tx.query_one(MAKE, parameters).await?)
    }

    /// The order's, if there is one.
    pub(crate) async fn of_order(tx: &Transaction, user_id: Uuid, order_id: Uuid) -> Result<Option<Self>> {
        let row = tx.query_opt(LOCK, &[&user_id, &order_id]).await?;
        row.map(|row| Self::read(user_id, &row)).transpose()
    }
}

impl Subject for Intent {
    type Kind = Kind;
    type Shown = Payment;
    type Refusal = Refusal;

    async fn lock(tx: &Transaction, user_id: Uuid, payment_id: Uuid) -> Result<Self, Refusal> {
        let row = tx.query_opt(LOCK_BY_ID, &[&user_id, &payment_id]).await?;
        Ok(Self::read(user_id, &row.ok_or(Refusal::UnknownPayment)?)?)
    }

    async fn store(&self, tx: &Transaction) -> Result<()> {
        let payment = &self.payment;
        let parameters: &[Parameter<'_>] = &[
            &self.user_id,
            &payment.order_id,
            &Word(payment.state),
            &payment.captured.amount_cents,
            &payment.refunded.amount_cents,
            &self.open_errand,
            &payment.reason,
        ];
        tx.execute(STORE, parameters).await.map(drop)
    }

    fn id(&self) -> Uuid {
        self.payment.payment_id
    }

    fn open_errand(&mut self) -> &mut Option<Uuid> {
        &mut self.open_errand
    }

    fn shown(self) -> Payment {
        self.payment
    }
}
