//! What happens to stock.

use crate::events::topic;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

topic! {
    /// What happens to stock. The aggregate is the product.
    InventoryEvent = "inventory-events" {
        Set(StockSet) = "stock-set", 1, product_id;
        Reserved(StockReserved) = "stock-reserved", 1, product_id;
        Released(ReservationReleased) = "reservation-released", 1, product_id;
        Committed(ReservationCommitted) = "reservation-committed", 1, product_id;
    }
}

/// Staff has counted or filled a shelf.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct StockSet {
    /// Which product.
    pub product_id: Uuid,
    /// Where.
    pub warehouse: String,
    /// How many lie there, with those that are reserved.
    pub on_hand: u32,
    /// Who said so.
    pub by: Uuid,
}

/// Some are kept for an order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct StockReserved {
    /// Which product.
    pub product_id: Uuid,
    /// Which order.
    pub order_id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// Where.
    pub warehouse: String,
    /// How many.
    pub quantity: u32,
    /// Until when.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
}

/// Why a reservation has ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseCause {
    /// The order gave it back.
    Released,
    /// Its time was over.
    Expired,
}

/// What was kept for an order can be had by others.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReservationReleased {
    /// Which product.
    pub product_id: Uuid,
    /// Which order.
    pub order_id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// Where.
    pub warehouse: String,
    /// How many.
    pub quantity: u32,
    /// Why.
    pub cause: ReleaseCause,
}

/// What was kept for an order has left the warehouse.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReservationCommitted {
    /// Which product.
    pub product_id: Uuid,
    /// Which order.
    pub order_id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// Where.
    pub warehouse: String,
    /// How many.
    pub quantity: u32,
}
