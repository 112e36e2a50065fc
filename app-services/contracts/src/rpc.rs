//! The gRPC services, and what their messages have in common.
//!
//! A decision of the business (out of stock, declined) is a part of the answer, never a status: it is kept with the operation's key, and who
//! asks again is told the same. A status says that the call failed.

use crate::{Address, Currency, Malformed, Money};
use ringway_sdk::partner::{Outcome, Reply};
use uuid::Uuid;

/// Messages, clients and servers of package `shop.v1`.
#[allow(
    missing_docs,
    unused_qualifications,
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    clippy::large_enum_variant,
    clippy::too_many_lines,
    reason = "generated"
)]
pub mod v1 {
    tonic::include_proto!("shop.v1");
}

/// The longest key of an operation, in bytes: room is left for a service's own prefix.
const MAX_KEY: usize = 128;

/// What makes a call that changes something the same call, and for whom it is made.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Operation {
    /// The idempotency key.
    pub key: String,
    /// The customer.
    pub user_id: Uuid,
    /// The order.
    pub order_id: Uuid,
}

impl TryFrom<Option<v1::Operation>> for Operation {
    type Error = Malformed;

    fn try_from(operation: Option<v1::Operation>) -> Result<Self, Malformed> {
        let operation = operation.ok_or(Malformed("operation"))?;
        if operation.key.is_empty() || operation.key.len() > MAX_KEY {
            return Err(Malformed("operation.key"));
        }
        Ok(Self {
            user_id: id(&operation.user_id, "operation.user_id")?,
            order_id: id(&operation.order_id, "operation.order_id")?,
            key: operation.key,
        })
    }
}

impl From<Operation> for v1::Operation {
    fn from(operation: Operation) -> Self {
        Self {
            key: operation.key,
            user_id: operation.user_id.to_string(),
            order_id: operation.order_id.to_string(),
        }
    }
}

/// Reads an id.
///
/// # Errors
/// Not a UUID; `name` says which field it is.
pub fn id(text: &str, name: &'static str) -> Result<Uuid, Malformed> {
    text.parse().map_err(|_| Malformed(name))
}

/// Reads several ids.
///
/// # Errors
/// As [`id`].
pub fn ids(texts: &[String], name: &'static str) -> Result<Vec<Uuid>, Malformed> {
    texts.iter().map(|text| id(text, name)).collect()
}

impl From<Money> for v1::Money {
    fn from(money: Money) -> Self {
        Self {
            amount_cents: money.amount_cents,
            currency: money.currency.into(),
        }
    }
}

impl TryFrom<v1::Money> for Money {
    type Error = Malformed;

    fn try_from(money: v1::Money) -> Result<Self, Malformed> {
        let currency: Currency = money.currency.parse()?;
        Ok(Self::new(money.amount_cents, currency))
    }
}

impl From<Address> for v1::Address {
    fn from(address: Address) -> Self {
        Self {
            name: address.name,
            line1: address.line1,
            line2: address.line2,
            postal_code: address.postal_code,
            city: address.city,
            region: address.region,
            country: address.country,
        }
    }
}

impl TryFrom<v1::Address> for Address {
    type Error = Malformed;

    fn try_from(address: v1::Address) -> Result<Self, Malformed> {
        let address = Self {
            name: address.name,
            line1: address.line1,
            line2: address.line2,
            postal_code: address.postal_code,
            city: address.city,
            region: address.region,
            country: address.country,
        };
        if address.is_complete() {
            Ok(address)
        } else {
            Err(Malformed("address"))
        }
    }
}

impl v1::Refusal {
    /// A refusal.
    pub fn new(reason: &str, detail: impl Into<String>) -> Self {
        Self {
            reason: reason.to_owned(),
            detail: detail.into(),
        }
    }
}

/// Answers about what a partner was asked for: each has the same three outcomes.
macro_rules! of_partner {
    ($($reply:ident = $module:ident :: $done:ident ($info:ident)),*) => {$(
        impl From<Outcome<v1::$info>> for v1::$reply {
            fn from(outcome: Outcome<v1::$info>) -> Self {
                use v1::$module::Outcome as Told;
                let told = match outcome {
                    Outcome::Settled(Reply::Done(done)) => Told::$done(done),
                    Outcome::Settled(Reply::Refused { reason, detail }) => {
                        Told::Refused(v1::Refusal { reason, detail })
                    }
                    Outcome::Pending(detail) => Told::Pending(v1::Pending { detail }),
                };
                Self { outcome: Some(told) }
            }
        }
    )*};
}

of_partner!(
    PaymentReply = payment_reply::Payment(PaymentInfo),
    ShipmentReply = shipment_reply::Shipment(ShipmentInfo)
);
