//! What happens to orders.

use crate::Money;
use crate::events::topic;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

topic! {
    /// What happens to orders.
    OrderEvent = "order-events" {
        Placed(OrderPlaced) = "order-placed", 1, order_id;
        Confirmed(OrderConfirmed) = "order-confirmed", 1, order_id;
        Cancelled(OrderCancelled) = "order-cancelled", 1, order_id;
        Shipped(OrderShipped) = "order-shipped", 1, order_id;
        Delivered(OrderDelivered) = "order-delivered", 1, order_id;
    }
}

/// So many of a product, at the price of that moment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct OrderLine {
    /// Which product.
    pub product_id: Uuid,
    /// Its name at that moment.
    pub name: String,
    /// Its category at that moment.
    pub category: String,
    /// How many.
    pub quantity: u32,
    /// For one.
    pub unit_price: Money,
}

/// A customer has checked out; nothing is promised yet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct OrderPlaced {
    /// Which order.
    pub order_id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// The region where it was placed.
    pub region: String,
    /// What was ordered.
    pub lines: Vec<OrderLine>,
    /// What is to be paid, with shipping.
    pub total: Money,
    /// The part of it for shipping.
    pub shipping_price: Money,
    /// Where it goes to: two letters.
    pub shipping_country: String,
}

/// It is paid for and will be sent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct OrderConfirmed {
    /// Which order.
    pub order_id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// The region where it was placed.
    pub region: String,
    /// What was ordered.
    pub lines: Vec<OrderLine>,
    /// What was paid.
    pub total: Money,
    /// The shipment's label.
    pub label: String,
}

/// Who ended an order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CancelledBy {
    /// The customer.
    Customer,
    /// The shop: a step of placing it was refused or failed.
    Shop,
    /// Staff.
    Staff,
}

/// It will not be carried out; whatever was taken is given back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct OrderCancelled {
    /// Which order.
    pub order_id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// Who ended it.
    pub by: CancelledBy,
    /// Why: a word in kebab case, or the step's own words.
    pub reason: String,
    /// What would have been, or was, paid.
    pub total: Money,
}

/// The carrier has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct OrderShipped {
    /// Which order.
    pub order_id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// The shipment's label.
    pub label: String,
}

/// It has arrived.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct OrderDelivered {
    /// Which order.
    pub order_id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
}
