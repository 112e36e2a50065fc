//! What happens to shipments.

use crate::Money;
use crate::events::topic;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

topic! {
    /// What happens to shipments.
    ShippingEvent = "shipping-events" {
        Created(ShipmentCreated) = "shipment-created", 1, shipment_id;
        Moved(ShipmentMoved) = "shipment-moved", 1, shipment_id;
        Cancelled(ShipmentCancelled) = "shipment-cancelled", 1, shipment_id;
    }
}

/// Where a shipment is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ShipmentState {
    /// It has a label.
    Labelled,
    /// The carrier has it.
    InTransit,
    /// It has arrived.
    Delivered,
    /// It will not be sent.
    Cancelled,
}

/// The carrier has given it a label.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ShipmentCreated {
    /// Which shipment.
    pub shipment_id: Uuid,
    /// Which order.
    pub order_id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// How it is sent.
    pub service: String,
    /// Its label.
    pub label: String,
    /// What the carrier takes for it.
    pub price: Money,
    /// Where it goes to: two letters.
    pub country: String,
}

/// The carrier has moved it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ShipmentMoved {
    /// Which shipment.
    pub shipment_id: Uuid,
    /// Which order.
    pub order_id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// Where it is.
    pub state: ShipmentState,
    /// Its label.
    pub label: String,
}

/// It will not be sent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ShipmentCancelled {
    /// Which shipment.
    pub shipment_id: Uuid,
    /// Which order.
    pub order_id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
}
