//! What is asked of a payment, and what that means in each of its states.

use crate::Refusal;
use crate::deals::Bookings;
use crate::intent::{Intent, Payment, Reply, SHOW, State, read};
use ringway_sdk::partner::{Begun, Desk, NewErrand, Outcome, PartnerSettings, Secret};
use ringway_sdk::{Context, Database, Level, Reader, Store, Transaction};
use serde_json::json;
use shop_contracts::events::{PaymentEvent, PaymentVoided, Tell};
use shop_contracts::{Currency, Money, Operation};
use std::fmt;
use std::sync::Arc;
use uuid::Uuid;

/// The longest token of the provider's, in bytes.
const MAX_TOKEN: usize = 100;

/// The most that one payment may come to, in the smallest unit.
const MAX_CENTS: i64 = 100_000_000_000;

/// What the provider is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Authorise,
    Capture,
    Void,
    Refund,
}

impl Kind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Authorise => "authorise",
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Refund => "refund",
        }
    }

    pub(crate) fn read(word: &str) -> Result<Self, Refusal> {
        let all = [Self::Authorise, Self::Capture, Self::Void, Self::Refund];
        let found = all.into_iter().find(|kind| kind.word() == word);
        found.ok_or_else(|| Refusal::Invalid(format!("the errand {word}")))
    }
}

/// Payments, and what is done with them. Clones share all.
#[derive(Clone)]
pub struct Payments {
    database: Database,
    desk: Desk<Bookings>,
    pub(crate) secret: Secret,
}

impl fmt::Debug for Payments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payments").finish_non_exhaustive()
    }
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

/// Begins an errand on a payment.
async fn ask(
    tx: &Transaction,
    intent: &mut Intent,
    kind: Kind,
    amount: Money,
    token: Option<&str>,
) -> Result<Begun<Reply>, Refusal> {
    let id = Uuid::now_v7();
    intent.open_errand = Some(id);
    intent.store(tx).await?;
    let mut details = json!({ "amount": amount });
    if let Some(token) = token {
        details["source"] = token.into();
    }
    let subject = intent.payment.payment_id;
    Ok(Begun::Ask(NewErrand {
        id,
        kind: kind.word(),
        subject,
        details,
    }))
}

fn refused(reason: &str, detail: &str) -> Result<Begun<Reply>, Refusal> {
    Ok(Begun::Settled(Reply::refused(reason, detail)))
}

fn settled(intent: &Intent) -> Result<Begun<Reply>, Refusal> {
    Ok(Begun::Settled(Reply::Payment(intent.payment.clone())))
}

impl Payments {
    /// Payments at a provider.
    pub fn new(database: &Database, store: &Store, provider: &PartnerSettings) -> Self {
        let bookings = Bookings { store: store.clone() };
        let desk = Desk::new(
            database,
            store,
            Arc::new(provider.partner()),
            bookings,
            provider.desk(),
        );
        Self {
            database: database.clone(),
            desk,
            secret: provider.secret.clone(),
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
        let query = async |reader: Reader| reader.query_opt(SHOW, &[&user_id, &order_id]).await;
        let row = self.database.read(context, Level::Ryw, query).await?;
        Ok(read(&row.ok_or(Refusal::UnknownPayment)?)?.0)
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
    ) -> Result<Outcome<Reply>, Refusal> {
        check_token(token)?;
        if !(1..=MAX_CENTS).contains(&amount.amount_cents) {
            return Err(Refusal::Invalid("amount: at least 1".to_owned()));
        }
        let (user_id, order_id) = (operation.user_id, operation.order_id);
        let text = format!("authorise {amount} for {order_id}");
        let begin = async |tx: Transaction| {
            let mut intent = Intent::make(&tx, user_id, order_id, amount).await?;
            match (intent.payment.state, intent.open_errand) {
                (_, Some(open)) => Ok(Begun::After(open)),
                (State::New, None) => ask(&tx, &mut intent, Kind::Authorise, amount, Some(token)).await,
                (State::Declined, None) => {
                    refused("declined", intent.payment.reason.as_deref().unwrap_or_default())
                }
                (State::Voided, None) => refused("voided", "the order was given up"),
                (State::Authorised | State::Captured, None) if intent.payment.amount != amount => {
                    refused("other-amount", "the order has a payment of another amount")
                }
                (State::Authorised | State::Captured, None) => settled(&intent),
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
    pub async fn capture(&self, context: &Context, operation: &Operation) -> Result<Outcome<Reply>, Refusal> {
        let (user_id, order_id) = (operation.user_id, operation.order_id);
        let text = format!("capture {order_id}");
        let begin = async |tx: Transaction| {
            let Some(mut intent) = Intent::lock(&tx, user_id, order_id).await? else {
                return refused("unknown-payment", "the order has no payment");
            };
            let amount = intent.payment.amount;
            match (intent.payment.state, intent.open_errand) {
                (_, Some(open)) => Ok(Begun::After(open)),
                (State::Authorised, None) => ask(&tx, &mut intent, Kind::Capture, amount, None).await,
                (State::Captured, None) => settled(&intent),
                (State::Voided, None) => refused("voided", "the order was given up"),
                (State::New | State::Declined, None) => refused("not-authorised", "nothing is held"),
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
    pub async fn void(&self, context: &Context, operation: &Operation) -> Result<Outcome<Reply>, Refusal> {
        let (user_id, order_id) = (operation.user_id, operation.order_id);
        let text = format!("void {order_id}");
        let nothing = Money::new(0, Currency::EUR);
        let begin = async |tx: Transaction| {
            let mut intent = Intent::make(&tx, user_id, order_id, nothing).await?;
            let amount = intent.payment.amount;
            match (intent.payment.state, intent.open_errand) {
                (_, Some(open)) => Ok(Begun::After(open)),
                (State::Authorised, None) => ask(&tx, &mut intent, Kind::Void, amount, None).await,
                (State::New | State::Declined, None) => self.give_up(&tx, intent).await,
                (State::Voided, None) => settled(&intent),
                (State::Captured, None) => refused("captured", "it has to be given back"),
            }
        };
        self.desk
            .carry_out(context, user_id, (&operation.key, &text), begin)
            .await
    }

    /// Voids a payment of which nothing is held.
    async fn give_up(&self, tx: &Transaction, mut intent: Intent) -> Result<Begun<Reply>, Refusal> {
        intent.payment.state = State::Voided;
        intent.store(tx).await?;
        let Payment {
            payment_id, order_id, ..
        } = intent.payment;
        let user_id = intent.user_id;
        let voided = PaymentVoided {
            payment_id,
            order_id,
            user_id,
            amount: None,
        };
        let store = &self.desk.deals().store;
        tx.tell(store, &user_id.into(), &PaymentEvent::from(voided))
            .await?;
        settled(&intent)
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
    ) -> Result<Outcome<Reply>, Refusal> {
        if amount.is_some_and(|amount| !(1..=MAX_CENTS).contains(&amount.amount_cents)) {
            return Err(Refusal::Invalid("amount: at least 1".to_owned()));
        }
        let (user_id, order_id) = (operation.user_id, operation.order_id);
        let text = match amount {
            Some(amount) => format!("refund {amount} of {order_id}"),
            None => format!("refund {order_id}"),
        };
        let begin = async |tx: Transaction| {
            let Some(mut intent) = Intent::lock(&tx, user_id, order_id).await? else {
                return refused("unknown-payment", "the order has no payment");
            };
            if let Some(open) = intent.open_errand {
                return Ok(Begun::After(open));
            }
            if intent.payment.state != State::Captured {
                return refused("not-captured", "nothing was taken");
            }
            let left = intent
                .payment
                .captured
                .checked_sub(intent.payment.refunded)
                .ok_or(Refusal::TooMuch)?;
            match amount {
                None if left.amount_cents == 0 => settled(&intent),
                Some(amount)
                    if amount.currency != left.currency || amount.amount_cents > left.amount_cents =>
                {
                    refused("too-much", "that is more than was taken")
                }
                wanted => ask(&tx, &mut intent, Kind::Refund, wanted.unwrap_or(left), None).await,
            }
        };
        self.desk
            .carry_out(context, user_id, (&operation.key, &text), begin)
            .await
    }
}
