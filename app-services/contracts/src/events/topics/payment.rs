//! What happens to payments.

use crate::Money;
use crate::events::topic;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

topic! {
    /// What happens to payments.
    PaymentEvent = "payment-events" {
        Authorised(PaymentAuthorised) = "payment-authorised", 1, payment_id;
        Declined(PaymentDeclined) = "payment-declined", 1, payment_id;
        Captured(PaymentCaptured) = "payment-captured", 1, payment_id;
        Voided(PaymentVoided) = "payment-voided", 1, payment_id;
        Refunded(PaymentRefunded) = "payment-refunded", 1, payment_id;
    }
}

/// An amount is held on a card.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PaymentAuthorised {
    /// Which payment.
    pub payment_id: Uuid,
    /// Which order.
    pub order_id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// What is held.
    pub amount: Money,
}

/// The provider refused to hold it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PaymentDeclined {
    /// Which payment.
    pub payment_id: Uuid,
    /// Which order.
    pub order_id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// What was asked for.
    pub amount: Money,
    /// The provider's word in kebab case.
    pub reason: String,
}

/// What was held is taken.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PaymentCaptured {
    /// Which payment.
    pub payment_id: Uuid,
    /// Which order.
    pub order_id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// What was taken.
    pub amount: Money,
}

/// What was held is held no longer, or never will be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PaymentVoided {
    /// Which payment.
    pub payment_id: Uuid,
    /// Which order.
    pub order_id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// What was held; none if nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
}

/// A part or all of what was taken is given back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PaymentRefunded {
    /// Which payment.
    pub payment_id: Uuid,
    /// Which order.
    pub order_id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// What was given back.
    pub amount: Money,
    /// What has been given back altogether.
    pub refunded: Money,
}
