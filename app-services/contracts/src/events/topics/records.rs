//! What staff and users did, as it is kept.

use crate::Money;
use crate::events::topic;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

topic! {
    /// What staff and users did, as it is kept. The aggregate is what it was done to.
    AuditEvent = "audit-events" {
        Recorded(AuditRecorded) = "audit-recorded", 1, subject;
        ProductChanged(ProductChanged) = "product-changed", 1, product_id;
        UserRegistered(UserRegistered) = "user-registered", 1, user_id;
        UserDeleted(UserDeleted) = "user-deleted", 1, user_id;
    }
}

/// Somebody did something that has to be accounted for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditRecorded {
    /// What it was done to.
    pub subject: String,
    /// Who did it.
    pub actor: Uuid,
    /// What was done, in kebab case.
    pub action: String,
    /// For people; no secrets.
    pub detail: String,
}

/// Staff has made or changed a product.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProductChanged {
    /// Which product.
    pub product_id: Uuid,
    /// Its name.
    pub name: String,
    /// Its category.
    pub category: String,
    /// Its price.
    pub price: Money,
    /// Whether it can be bought.
    pub on_sale: bool,
    /// Who did it.
    pub by: Uuid,
}

/// Somebody has become a user.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct UserRegistered {
    /// Whose it is.
    pub user_id: Uuid,
    /// Two letters.
    pub country: String,
    /// Where the user's data lives.
    pub home_region: String,
}

/// A user has left: whoever keeps what the law doesn't demand deletes it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct UserDeleted {
    /// Whose it is.
    pub user_id: Uuid,
}
