//! What visitors do.

use crate::Money;
use crate::events::topic;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

topic! {
    /// What visitors do. The aggregate is the visitor.
    AnalyticsEvent = "analytics-events" {
        ProductViewed(ProductViewed) = "product-viewed", 1, visitor;
        ProductSearched(ProductSearched) = "product-searched", 1, visitor;
        CartChanged(CartChanged) = "cart-changed", 1, visitor;
    }
}

topic! {
    /// What was recommended to visitors, and what came of it. The aggregate is the visitor.
    RecommendationEvent = "recommendation-events" {
        Shown(RecommendationShown) = "recommendation-shown", 1, visitor;
        Taken(RecommendationTaken) = "recommendation-taken", 1, visitor;
    }
}

/// A visitor has looked at a product.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProductViewed {
    /// The user's id, or a random one of somebody who isn't signed in.
    pub visitor: String,
    /// The region where it happened.
    pub region: String,
    /// Which product.
    pub product_id: Uuid,
    /// Its category.
    pub category: String,
}

/// A visitor has searched.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProductSearched {
    /// The user's id, or a random one of somebody who isn't signed in.
    pub visitor: String,
    /// The region where it happened.
    pub region: String,
    /// For what; at most 200 bytes.
    pub query: String,
    /// How many products were found.
    pub found: u32,
}

/// A user has put something into the cart, or taken it out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CartChanged {
    /// The user's id, or a random one of somebody who isn't signed in.
    pub visitor: String,
    /// The region where it happened.
    pub region: String,
    /// Which product.
    pub product_id: Uuid,
    /// Its category.
    pub category: String,
    /// How many there are of it from now on; 0 if none.
    pub quantity: u32,
    /// For one.
    pub unit_price: Money,
}

/// Products were recommended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct RecommendationShown {
    /// The user's id, or a random one of somebody who isn't signed in.
    pub visitor: String,
    /// The region where it happened.
    pub region: String,
    /// Why: `bought-together`, `popular` or `new`.
    pub source: String,
    /// Which, in this order.
    pub products: Vec<Uuid>,
}

/// A visitor has followed a recommendation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct RecommendationTaken {
    /// The user's id, or a random one of somebody who isn't signed in.
    pub visitor: String,
    /// The region where it happened.
    pub region: String,
    /// Why it was shown.
    pub source: String,
    /// Which product.
    pub product_id: Uuid,
}
