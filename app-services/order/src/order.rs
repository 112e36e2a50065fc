//! What an order is, by what happened to it: pure.

use ringway_sdk::event_store::{Aggregate, Encoded, Unreadable};
use serde::{Deserialize, Serialize};
use shop_contracts::Money;
use shop_contracts::events::{CancelledBy, Message, OrderEvent, OrderLine, OrderPlaced};
use utoipa::ToSchema;
use uuid::Uuid;

/// Where an order stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nothing has happened to it: there is none.
    #[default]
    None,
    /// Checked out; nothing is promised yet.
    Placed,
    /// Paid for; it will be sent.
    Confirmed,
    /// It will not be carried out, and all that was taken is given back.
    Cancelled,
    /// The carrier has it.
    Shipped,
    /// It has arrived.
    Delivered,
}

/// An order.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Order {
    /// Where it stands.
    pub state: State,
    /// What was ordered.
    pub placed: Option<OrderPlaced>,
    /// The shipment's label.
    pub label: Option<String>,
    /// Why it was cancelled, and by whom.
    pub cancelled: Option<(CancelledBy, String)>,
}

impl Aggregate for Order {
    type Event = OrderEvent;
    const TOPIC: &'static str = OrderEvent::TOPIC;
    // An order has a handful of events.
    const SNAPSHOT_EVERY: u32 = 0;
    const FORM: i32 = 1;

    fn encode(event: &OrderEvent) -> Result<Encoded, Unreadable> {
        Ok(Encoded {
            kind: event.kind().into(),
            payload: event.payload(),
        })
    }

    fn decode(kind: &str, payload: &[u8]) -> Result<OrderEvent, Unreadable> {
        OrderEvent::read(kind, payload).map_err(|error| Unreadable(error.to_string()))
    }

    fn apply(&mut self, event: &OrderEvent) {
        match event {
            OrderEvent::Placed(placed) => {
                self.state = State::Placed;
                self.placed = Some(placed.clone());
            }
            OrderEvent::Confirmed(confirmed) => {
                self.state = State::Confirmed;
                self.label = Some(confirmed.label.clone());
            }
            OrderEvent::Cancelled(cancelled) => {
                self.state = State::Cancelled;
                self.cancelled = Some((cancelled.by, cancelled.reason.clone()));
            }
            OrderEvent::Shipped(shipped) => {
                self.state = State::Shipped;
                self.label = Some(shipped.label.clone());
            }
            OrderEvent::Delivered(_) => self.state = State::Delivered,
        }
    }
}

/// An order as its customer sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct OrderView {
    /// Which order.
    pub order_id: Uuid,
    /// Where it stands.
    pub state: State,
    /// What was ordered.
    pub lines: Vec<OrderLine>,
    /// What is to be paid, with shipping.
    pub total: Money,
    /// The part of it for shipping.
    pub shipping_price: Money,
    /// The shipment's label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Why it was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Order {
    /// What its customer sees; nothing if there is no order.
    pub fn view(&self) -> Option<OrderView> {
        let placed = self.placed.as_ref()?;
        Some(OrderView {
            order_id: placed.order_id,
            state: self.state,
            lines: placed.lines.clone(),
            total: placed.total,
            shipping_price: placed.shipping_price,
            label: self.label.clone(),
            reason: self.cancelled.as_ref().map(|(_, reason)| reason.clone()),
        })
    }
}
