//! What carriers tell of orders.

use crate::order::State;
use crate::{Orders, Refusal};
use ringway_sdk::Transaction;
use ringway_sdk::events::{Event, Failure};
use shop_contracts::events::{
    Message, OrderDelivered, OrderEvent, OrderShipped, ShipmentMoved, ShipmentState, ShippingEvent,
};
use std::sync::Arc;

impl Orders {
    /// Acts on an event of shipping's: a confirmed order is shipped, a shipped one delivered.
    pub(crate) async fn moved(self, tx: Transaction, event: Arc<Event>) -> Result<(), Failure> {
        let ShippingEvent::Moved(moved) = ShippingEvent::of(&event)? else {
            return Ok(());
        };
        match self.carry_on(&tx, &moved).await {
            Ok(()) => Ok(()),
            Err(Refusal::Sdk(error)) => Err(Failure::Sdk(error)),
            Err(Refusal::UnknownOrder) => Err(Failure::Never("there is no such order".to_owned())),
            Err(refusal) => Err(Failure::Later(
                ringway_sdk::web::Problem::from(refusal).to_string(),
            )),
        }
    }

    async fn carry_on(&self, tx: &Transaction, moved: &ShipmentMoved) -> Result<(), Refusal> {
        let (user_id, order_id) = (moved.user_id, moved.order_id);
        let locked = self.lock(tx, user_id, order_id).await?;
        let happened: OrderEvent = match (locked.state(), moved.state) {
            // The carrier is faster than the saga's last step.
            (State::Placed, ShipmentState::InTransit | ShipmentState::Delivered) => {
                return Err(Refusal::Busy);
            }
            (State::Confirmed, ShipmentState::InTransit) => OrderShipped {
                order_id,
                user_id,
                label: moved.label.clone(),
            }
            .into(),
            (State::Confirmed | State::Shipped, ShipmentState::Delivered) => {
                OrderDelivered { order_id, user_id }.into()
            }
            _ => return Ok(()),
        };
        self.happened(tx, (user_id, order_id), &locked.order, happened)
            .await
            .map(drop)
    }
}
