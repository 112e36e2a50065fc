//! What users are told.

use crate::events::topic;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

topic! {
    /// What users are told. The aggregate is the user. What is requested goes to a topic for each priority (`notification-low` and so on).
    NotificationEvent = "notification-events" {
        Requested(NotificationRequested) = "notification-requested", 1, user_id;
        Sent(NotificationSent) = "notification-sent", 1, user_id;
        Failed(NotificationFailed) = "notification-failed", 1, user_id;
        Read(NotificationRead) = "notification-read", 1, user_id;
    }
}

/// Somebody is to be told something.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct NotificationRequested {
    /// Which notification.
    pub notification_id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// What kind it is, in kebab case.
    pub category: String,
    /// `low`, `normal`, `high` or `critical`.
    pub priority: String,
    /// `email`, `push` or `sms`; none is in the app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
}

/// A channel has taken it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct NotificationSent {
    /// Which notification.
    pub notification_id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// `in-app`, `email`, `push` or `sms`.
    pub channel: String,
}

/// A channel has given it up.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct NotificationFailed {
    /// Which notification.
    pub notification_id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// `in-app`, `email`, `push` or `sms`.
    pub channel: String,
    /// Why.
    pub reason: String,
}

/// The user has read it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct NotificationRead {
    /// Which notification.
    pub notification_id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
}
