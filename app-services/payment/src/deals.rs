//! What the provider's verdicts mean.

use crate::Refusal;
use crate::intent::{Intent, State};
use crate::ledger::{Account, Transfer, book};
use crate::operations::Kind;
use ringway_sdk::partner::{Deals, Errand, Reply, Verdict};
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
    type Subject = Intent;

    async fn close(
        &self,
        tx: &Transaction,
        intent: &mut Intent,
        errand: &Errand,
        (kind, verdict): (Kind, &Verdict),
    ) -> Result<Reply<()>, Refusal> {
        match verdict {
            Verdict::Done(_) => self.book(tx, intent, errand, kind).await.map(Reply::Done),
            Verdict::Refused(reason) => self.refuse(tx, intent, kind, reason).await,
        }
    }
}

impl Bookings {
    async fn book(
        &self,
        tx: &Transaction,
        intent: &mut Intent,
        errand: &Errand,
        kind: Kind,
    ) -> Result<(), Refusal> {
        let amount: Money = errand.detail("amount")?;
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
            kind,
            from,
            to,
            amount,
        };
        book(tx, transfer).await?;
        tx.tell(&self.store, user_id, event).await?;
        Ok(())
    }

    async fn refuse(
        &self,
        tx: &Transaction,
        intent: &mut Intent,
        kind: Kind,
        reason: &str,
    ) -> Result<Reply<()>, Refusal> {
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
            tx.tell(&self.store, user_id, declined).await?;
        }
        Ok(Reply::refused("declined", reason))
    }
}
