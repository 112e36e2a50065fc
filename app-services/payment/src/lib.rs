//! Payments: one for each order.
//!
//! What the provider is asked for is an errand of the SDK's desk, and a payment has at most one that is open: whoever comes with something else
//! waits for its end. So a payment is captured once however many ask for it, and one whose answer was lost is settled by asking the
//! provider for it by its id, never by taking it again.
//!
//! The ledger is in double entry by construction: a row is a transfer from one account to another, so that no row can be half an entry. [`AUDIT`]
//! holds payments and ledger to each other.
//!
//! Card data never comes here: customers give it to the provider, whose token is all that is kept.
//!
//! **Invariant:** captured <= authorised and refunded <= captured: CHECKs of the table.
//! **Invariant:** a payment changes, is booked and told of in one transaction, once for each verdict of the provider.
//! **Invariant:** an order that was voided is never authorised later.
//! **Invariant:** a user sees that user's payments and no others: rows are chosen by the token's user.

mod deals;
mod grpc;
mod http;
mod intent;
mod ledger;
pub mod local;
mod operations;

pub use deals::Bookings;
pub use intent::{Intent, Payment, State};
pub use ledger::AUDIT;
pub use operations::{Kind, Payments};

use ringway_sdk::partner::PartnerSettings;
use ringway_sdk::service::{Environment, Service, Table};
use ringway_sdk::{KeyType, Result, Store};
use shop_contracts::events::{Message, PaymentEvent};
use shop_contracts::rpc::v1::payment_server::PaymentServer;

/// The tables beside the SDK's.
const SCHEMA: [&str; 4] = [
    "CREATE TABLE IF NOT EXISTS payment_intent (user_id uuid NOT NULL, order_id uuid NOT NULL, payment_id uuid NOT NULL, \
     state text NOT NULL, amount_cents bigint NOT NULL, currency text NOT NULL, captured_cents bigint NOT NULL DEFAULT 0, \
     refunded_cents bigint NOT NULL DEFAULT 0, open_errand uuid, reason text, at timestamptz NOT NULL DEFAULT now(), \
     PRIMARY KEY (user_id, order_id), CHECK (0 <= refunded_cents AND refunded_cents <= captured_cents AND captured_cents <= amount_cents))",
    "CREATE UNIQUE INDEX IF NOT EXISTS payment_intent_id ON payment_intent (user_id, payment_id)",
    "CREATE TABLE IF NOT EXISTS payment_transfer (user_id uuid NOT NULL, errand_id uuid NOT NULL, payment_id uuid NOT NULL, \
     kind text NOT NULL, from_account text NOT NULL, to_account text NOT NULL, amount_cents bigint NOT NULL, currency text NOT NULL, \
     at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (user_id, errand_id), CHECK (amount_cents > 0), CHECK (from_account <> to_account))",
    "CREATE INDEX IF NOT EXISTS payment_transfer_payment ON payment_transfer (user_id, payment_id)",
];

/// The service, with its provider.
///
/// # Errors
/// None that this service's own name could cause.
pub fn service(environment: &Environment, provider: &PartnerSettings) -> Result<Service> {
    let store = Store::new("payment", KeyType::Uuid)?;
    let payments = Payments::new(&environment.database, &store, provider);
    Ok(Service::new("payment", environment)
        .store(&store)
        .schema(&SCHEMA)
        .table(Table::sharded("payment_intent", "user_id").cached())
        .table(Table::sharded("payment_transfer", "user_id"))
        .topic(PaymentEvent::TOPIC)
        .desk(payments.desk())
        .http(http::routes(payments.clone()))
        .grpc(PaymentServer::new(payments)))
}

ringway_sdk::refusals! {
    /// What payment refuses.
    pub enum Refusal {
        /// The order has no payment.
        UnknownPayment = NOT_FOUND "unknown-payment" "there is no payment for this order",
        /// The provider has refused it.
        Declined = PAYMENT_REQUIRED "declined" "the provider has refused it",
        /// It isn't in a state in which that can be done.
        WrongState = CONFLICT "wrong-state" "the payment is in another state",
        /// More is to be given back than was taken.
        TooMuch = CONFLICT "too-much" "that is more than was taken",
    }
}
