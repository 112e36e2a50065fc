//! What the provider's verdicts mean.

use crate::Refusal;
use crate::intent::{Intent, Reply, State};
use crate::ledger::{Account, Transfer, book};
use crate::operations::Kind;
use ringway_sdk::partner::{Deals, Errand, Verdict};
use ringway_sdk::{Store, Transaction};
use shop_contracts::Money;
use shop_contracts::events::{
    PaymentAuthorised, PaymentCaptured, PaymentDeclined, PaymentEvent, PaymentRefunded, PaymentVoided, Tell,
};

/// Books verdicts.
#[derive(Clone, Debug)]
pub struct Bookings {
    pub(crate) store: Store,
}

impl Deals for Bookings {
    type Reply = Reply;
    type Refusal = Refusal;

    async fn close(&self, tx: &Transaction, errand: &Errand, verdict: &Verdict) -> Result<Reply, Refusal> {
        let mut intent = Intent::lock_by_id(tx, errand.reference, errand.subject).await?;
        intent.open_errand = None;
        let kind = Kind::read(&errand.kind)?;
        let amount: Money = serde_json::from_value(errand.details["amount"].clone())
            .map_err(|error| Refusal::Invalid(error.to_string()))?;
        let reply = match verdict {
            Verdict::Done(_) => {
                self.book(tx, &mut intent, errand, (kind, amount)).await?;
                Reply::Payment(intent.payment.clone())
            }
            Verdict::Refused(reason) => self.refuse(tx, &mut intent, kind, reason).await?,
        };
        intent.store(tx).await?;
        Ok(reply)
    }
}

impl Bookings {
    async fn tell(&self, tx: &Transaction, intent: &Intent, event: PaymentEvent) -> Result<(), Refusal> {
        tx.tell(&self.store, &intent.user_id.into(), &event).await?;
        Ok(())
    }

    async fn book(
        &self,
        tx: &Transaction,
        intent: &mut Intent,
        errand: &Errand,
        (kind, amount): (Kind, Money),
    ) -> Result<(), Refusal> {
        let (user_id, payment) = (intent.user_id, &mut intent.payment);
        let (payment_id, order_id) = (payment.payment_id, payment.order_id);
        let (from, to) = match kind {
            Kind::Authorise => (Account::Customers, Account::Held),
            Kind::Capture => (Account::Held, Account::Shop),
            Kind::Void => (Account::Held, Account::Customers),
            Kind::Refund => (Account::Shop, Account::Customers),
        };
        let event: PaymentEvent = match kind {
            Kind::Authorise => {
                payment.state = State::Authorised;
                PaymentAuthorised {
                    payment_id,
                    order_id,
                    user_id,
                    amount,
                }
                .into()
            }
            Kind::Capture => {
                payment.state = State::Captured;
                payment.captured = amount;
                PaymentCaptured {
                    payment_id,
                    order_id,
                    user_id,
                    amount,
                }
                .into()
            }
            Kind::Void => {
                payment.state = State::Voided;
                PaymentVoided {
                    payment_id,
                    order_id,
                    user_id,
                    amount: Some(amount),
                }
                .into()
            }
            Kind::Refund => {
                payment.refunded = payment.refunded.checked_add(amount).ok_or(Refusal::TooMuch)?;
                let refunded = payment.refunded;
                PaymentRefunded {
                    payment_id,
                    order_id,
                    user_id,
                    amount,
                    refunded,
                }
                .into()
            }
        };
        let errand_id = errand.id;
        let transfer = Transfer {
            errand_id,
            user_id,
            payment_id,
            kind: kind.word(),
            from,
            to,
            amount,
        };
        book(tx, transfer).await?;
        self.tell(tx, intent, event).await
    }

    async fn refuse(
        &self,
        tx: &Transaction,
        intent: &mut Intent,
        kind: Kind,
        reason: &str,
    ) -> Result<Reply, Refusal> {
        if kind == Kind::Authorise {
            let (user_id, payment) = (intent.user_id, &mut intent.payment);
            payment.state = State::Declined;
            payment.reason = Some(reason.to_owned());
            let declined = PaymentDeclined {
                payment_id: payment.payment_id,
                order_id: payment.order_id,
                user_id,
                amount: payment.amount,
                reason: reason.to_owned(),
            };
            self.tell(tx, intent, declined.into()).await?;
        }
        Ok(Reply::refused("declined", reason))
    }
}
