//! The topics.

mod activity;
mod fraud;
mod inventory;
mod notification;
mod order;
mod payment;
mod records;
mod shipping;

pub use activity::{
    AnalyticsEvent, CartChanged, ProductSearched, ProductViewed, RecommendationEvent, RecommendationShown,
    RecommendationTaken,
};
pub use fraud::{FraudEvent, FraudReviewed, FraudScored, ScoreReason, SignInTried, Verdict};
pub use inventory::{
    InventoryEvent, ReleaseCause, ReservationCommitted, ReservationReleased, StockReserved, StockSet,
};
pub use notification::{
    NotificationEvent, NotificationFailed, NotificationRead, NotificationRequested, NotificationSent,
};
pub use order::{
    CancelledBy, OrderCancelled, OrderConfirmed, OrderDelivered, OrderEvent, OrderLine, OrderPlaced,
    OrderShipped,
};
pub use payment::{
    PaymentAuthorised, PaymentCaptured, PaymentDeclined, PaymentEvent, PaymentRefunded, PaymentVoided,
};
pub use records::{AuditEvent, AuditRecorded, ProductChanged, UserDeleted, UserRegistered};
pub use shipping::{ShipmentCancelled, ShipmentCreated, ShipmentMoved, ShipmentState, ShippingEvent};

use super::Message as _;

/// All topics, in the order of their names.
pub const TOPICS: [&str; 9] = [
    AnalyticsEvent::TOPIC,
    AuditEvent::TOPIC,
    FraudEvent::TOPIC,
    InventoryEvent::TOPIC,
    NotificationEvent::TOPIC,
    OrderEvent::TOPIC,
    PaymentEvent::TOPIC,
    RecommendationEvent::TOPIC,
    ShippingEvent::TOPIC,
];
