//! What is watched for fraud.

use crate::Money;
use crate::events::topic;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

topic! {
    /// What is watched for fraud, and what was found. The aggregate is the user, so that all of one user is seen in order.
    FraudEvent = "fraud-detection-events" {
        SignInTried(SignInTried) = "sign-in-tried", 1, user_id;
        Scored(FraudScored) = "fraud-scored", 1, user_id;
        Reviewed(FraudReviewed) = "fraud-reviewed", 1, user_id;
    }
}

/// Somebody has tried to sign in as a user.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct SignInTried {
    /// Whose it is.
    pub user_id: Uuid,
    /// Whether the password was right.
    pub succeeded: bool,
    /// Where it came from.
    pub client_address: String,
}

/// What is to become of an order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It goes on.
    Approve,
    /// It goes on, and staff looks at it.
    Review,
    /// It is refused.
    Decline,
}

/// What a rule added to a score.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ScoreReason {
    /// The rule, in kebab case.
    pub rule: String,
    /// What it added.
    pub points: u32,
    /// For people.
    pub detail: String,
}

/// An order was scored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct FraudScored {
    /// Which order.
    pub order_id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// What the order comes to.
    pub amount: Money,
    /// 0 (harmless) to 100.
    pub score: u32,
    /// What follows from it.
    pub verdict: Verdict,
    /// Why.
    pub reasons: Vec<ScoreReason>,
}

/// Staff has looked at an order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct FraudReviewed {
    /// Which order.
    pub order_id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// What was found: never `review`.
    pub verdict: Verdict,
    /// Who looked.
    pub by: Uuid,
}
