//! What is asked of a payment, and what that means in each of its states.

use crate::Refusal;
use crate::deals::Bookings;
use crate::intent::{Intent, Payment, SHOW, State};
use ringway_sdk::partner::{Begun, Desk, Outcome, PartnerSettings, Subject as _};
use ringway_sdk::{Context, Database, Level, Parameter, Store, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::json;
use shop_contracts::events::{PaymentVoided, Tell};
use shop_contracts::{Currency, Money, Operation};
use uuid::Uuid;

/// The longest token of the provider's, in bytes.
const MAX_TOKEN: usize = 100;

/// The most that one payment may come to, in the smallest unit.
const MAX_CENTS: i64 = 100_000_000_000;

/// What the provider is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// To hold an amount.
    Authorise,
    /// To take what is held.
    Capture,
    /// To give up what is held.
    Void,
    /// To give back what was taken.
    Refund,
}

/// Payments, and what is done with them. Clones share all.
#[derive(Clone, Debug)]
pub struct Payments {
    database: Database,
    desk: Desk<Bookings>,
}

/// Whether a text can be a provider's token. What looks like a card's number is none: it isn't kept, and not said again.
fn check_token(token: &str) -> Result<(), Refusal> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let card = token.bytes().filter(u8::is_ascii_digit).count() >= 12
        && !token.bytes().any(|b| b.is_ascii_alphabetic());
    if token.is_empty() || token.len() > MAX_TOKEN || card || !token.bytes().all(plain) {
        return Err(Refusal::Invalid(
            "payment_token: the provider's token is needed".to_owned(),
        ));
    }
    Ok(())
}

impl Payments {
    /// Payments at a provider.
    pub fn new(database: &Database, store: &Store, provider: &PartnerSettings) -> Self {
        let bookings = Bookings { store: store.clone() };
        Self {
            database: database.clone(),
            desk: Desk::new(database, store, provider, bookings),
        }
    }

    /// Where its errands are.
    pub fn desk(&self) -> &Desk<Bookings> {
        &self.desk
    }

    /// A user's payment for an order.
    ///
    /// # Errors
    /// There is none; the SDK's.
    pub async fn show(&self, context: &Context, user_id: Uuid, order_id: Uuid) -> Result<Payment, Refusal> {
        let which: &[Parameter<'_>] = &[&user_id, &order_id];
        let row = self.database.row(context, Level::Ryw, SHOW, which).await?;
        Ok(Intent::read(user_id, &row.ok_or(Refusal::UnknownPayment)?)?.payment)
    }

    /// Holds an amount on a card.
    ///
    /// # Errors
    /// What can't be an amount or a token; the SDK's.
    pub async fn authorise(
        &self,
        context: &Context,
        operation: &Operation,
        amount: Money,
        token: &str,
    ) -> Result<Outcome<Payment>, Refusal> {
        check_token(token)?;
        if !(1..=MAX_CENTS).contains(&amount.amount_cents) {
            return Err(Refusal::Invalid("amount: at least 1".to_owned()));
        }
        let (user_id, order_id) = (operation.user_id, operation.order_id);
        let text = format!("authorise {amount} for {order_id}");
        let begin = async |tx: Transaction| {
            let intent = Intent::make(&tx, user_id, order_id, amount).await?;
            match (intent.payment.state, intent.open_errand) {
                (_, Some(open)) => Ok(Begun::After(open)),
                (State::New, None) => {
                    let details = json!({ "amount": amount, "source": token });
                    intent.ask(&tx, Kind::Authorise, details).await
                }
                (State::Declined, None) => {
                    Begun::refused("declined", intent.payment.reason.as_deref().unwrap_or_default())
                }
                (State::Voided, None) => Begun::refused("voided", "the order was given up"),
                (State::Authorised | State::Captured, None) if intent.payment.amount != amount => {
                    Begun::refused("other-amount", "the order has a payment of another amount")
                }
                (State::Authorised | State::Captured, None) => intent.settled(),
            }
        };
        self.desk
            .carry_out(context, user_id, (&operation.key, &text), begin)
            .await
    }

    /// Takes what is held.
    ///
    /// # Errors
    /// The SDK's.
    pub async fn capture(
        &self,
        context: &Context,
        operation: &Operation,
    ) -> Result<Outcome<Payment>, Refusal> {
        let (user_id, order_id) = (operation.user_id, operation.order_id);
        let text = format!("capture {order_id}");
        let begin = async |tx: Transaction| {
            let Some(intent) = Intent::of_order(&tx, user_id, order_id).await? else {
                return Begun::refused("unknown-payment", "the order has no payment");
            };
            let amount = intent.payment.amount;
            match (intent.payment.state, intent.open_errand) {
                (_, Some(open)) => Ok(Begun::After(open)),
                (State::Authorised, None) => {
                    intent.ask(&tx, Kind::Capture, json!({ "amount": amount })).await
                }
                (State::Captured, None) => intent.settled(),
                (State::Voided, None) => Begun::refused("voided", "the order was given up"),
                (State::New | State::Declined, None) => Begun::refused("not-authorised", "nothing is held"),
            }
        };
        self.desk
            .carry_out(context, user_id, (&operation.key, &text), begin)
            .await
    }

    /// Gives up what is held, or keeps it from being held later.
    ///
    /// # Errors
    /// The SDK's.
    pub async fn void(&self, context: &Context, operation: &Operation) -> Result<Outcome<Payment>, Refusal> {
        let (user_id, order_id) = (operation.user_id, operation.order_id);
        let text = format!("void {order_id}");
        let nothing = Money::new(0, Currency::EUR);
        let begin = async |tx: Transaction| {
            let intent = Intent::make(&tx, user_id, order_id, nothing).await?;
            let amount = intent.payment.amount;
            match (intent.payment.state, intent.open_errand) {
                (_, Some(open)) => Ok(Begun::After(open)),
                (State::Authorised, None) => intent.ask(&tx, Kind::Void, json!({ "amount": amount })).await,
                (State::New | State::Declined, None) => self.give_up(&tx, intent).await,
                (State::Voided, None) => intent.settled(),
                (State::Captured, None) => Begun::refused("captured", "it has to be given back"),
            }
        };
        self.desk
            .carry_out(context, user_id, (&operation.key, &text), begin)
            .await
    }

    /// Voids a payment of which nothing is held.
    async fn give_up(&self, tx: &Transaction, mut intent: Intent) -> Result<Begun<Payment>, Refusal> {
        intent.payment.state = State::Voided;
        intent.store(tx).await?;
        let voided = PaymentVoided {
            payment_id: intent.payment.payment_id,
            order_id: intent.payment.order_id,
            user_id: intent.user_id,
            amount: None,
        };
        let store = &self.desk.deals().store;
        tx.tell(store, intent.user_id, voided).await?;
        intent.settled()
    }

    /// Gives back what was taken: so much, or all that is left of it.
    ///
    /// # Errors
    /// An amount that can't be; the SDK's.
    pub async fn refund(
        &self,
        context: &Context,
        operation: &Operation,
        amount: Option<Money>,
    ) -> Result<Outcome<Payment>, Refusal> {
        if amount.is_some_and(|amount| !(1..=MAX_CENTS).contains(&amount.amount_cents)) {
            return Err(Refusal::Invalid("amount: at least 1".to_owned()));
        }
        let (user_id, order_id) = (operation.user_id, operation.order_id);
        let text = match amount {
            Some(amount) => format!("refund {amount} of {order_id}"),
            None => format!("refund {order_id}"),
        };
        let begin = async |tx: Transaction| {
            let Some(intent) = Intent::of_order(&tx, user_id, order_id).await? else {
                return Begun::refused("unknown-payment", "the order has no payment");
            };
            if let Some(open) = intent.open_errand {
                return Ok(Begun::After(open));
            }
            if intent.payment.state != State::Captured {
                return Begun::refused("not-captured", "nothing was taken");
            }
            let left = intent
                .payment
                .captured
                .checked_sub(intent.payment.refunded)
                .ok_or(Refusal::TooMuch)?;
            match amount {
                None if left.amount_cents == 0 => intent.settled(),
                Some(amount)
                    if amount.currency != left.currency || amount.amount_cents > left.amount_cents =>
                {
                    Begun::refused("too-much", "that is more than was taken")
                }
                wanted => {
                    let details = json!({ "amount": wanted.unwrap_or(left) });
                    intent.ask(&tx, Kind::Refund, details).await
                }
            }
        };
        self.desk
            .carry_out(context, user_id, (&operation.key, &text), begin)
            .await
    }
}
