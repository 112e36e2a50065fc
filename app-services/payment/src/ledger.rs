//! The books.

use crate::operations::Kind;
use ringway_sdk::column::Word;
use ringway_sdk::{Parameter, Result, Transaction};
use serde::Serialize;
use shop_contracts::Money;
use uuid::Uuid;

/// An account.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Account {
    /// What customers have paid, or have promised: negative.
    Customers,
    /// What is held on their cards.
    Held,
    /// What the shop has.
    Shop,
}

/// From one account to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Transfer {
    /// The errand that has moved it: each moves once.
    pub(crate) errand_id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) payment_id: Uuid,
    pub(crate) kind: Kind,
    pub(crate) from: Account,
    pub(crate) to: Account,
    pub(crate) amount: Money,
}

const BOOK: &str = "INSERT INTO payment_transfer (user_id, errand_id, payment_id, kind, from_account, to_account, amount_cents, currency) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

pub(crate) async fn book(tx: &Transaction, transfer: Transfer) -> Result<()> {
    let Money {
        amount_cents,
        currency,
    } = transfer.amount;
    let parameters: &[Parameter<'_>] = &[
        &transfer.user_id,
        &transfer.errand_id,
        &transfer.payment_id,
        &Word(transfer.kind),
        &Word(transfer.from),
        &Word(transfer.to),
        &amount_cents,
        &Word(currency),
    ];
    tx.execute(BOOK, parameters).await.map(drop)
}

/// What doesn't agree on a shard, as one number, to be asked of every shard: for each payment, what the books say is held, captured and refunded against
/// what its row says; transfers without a payment; and the sum of all accounts. 0 if all is well.
pub const AUDIT: &str = "WITH booked AS (SELECT user_id, payment_id, \
         sum(CASE WHEN kind = 'capture' THEN amount_cents ELSE 0 END) AS captured, \
         sum(CASE WHEN kind = 'refund' THEN amount_cents ELSE 0 END) AS refunded, \
         sum(CASE WHEN to_account = 'held' THEN amount_cents WHEN from_account = 'held' THEN -amount_cents ELSE 0 END) AS held \
         FROM payment_transfer GROUP BY user_id, payment_id), \
     entries AS (SELECT to_account AS account, amount_cents AS cents FROM payment_transfer \
         UNION ALL SELECT from_account, -amount_cents FROM payment_transfer) \
     SELECT ((SELECT count(*) FROM payment_intent i LEFT JOIN booked b USING (user_id, payment_id) \
         WHERE coalesce(b.captured, 0) <> i.captured_cents OR coalesce(b.refunded, 0) <> i.refunded_cents \
         OR coalesce(b.held, 0) <> CASE WHEN i.state = 'authorised' THEN i.amount_cents ELSE 0 END) \
     + (SELECT count(*) FROM booked b WHERE NOT EXISTS (SELECT FROM payment_intent i WHERE i.user_id = b.user_id AND i.payment_id = b.payment_id)) \
     + (SELECT abs(coalesce(sum(cents), 0)) FROM entries))::bigint";
