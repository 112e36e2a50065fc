//! What the carrier's verdicts mean.

use crate::Refusal;
use crate::shipment::{Locked, Reply, State};
use ringway_sdk::partner::{Deals, Errand, Verdict};
use ringway_sdk::{Store, Transaction};
use serde_json::Value;
use shop_contracts::events::{ShipmentCancelled, ShipmentCreated, ShippingEvent, Tell};

/// What the carrier is asked for.
pub(crate) const SHIP: &str = "ship";
pub(crate) const CANCEL: &str = "cancel";
pub(crate) const HAND_OVER: &str = "hand-over";

/// Acts on verdicts.
#[derive(Clone, Debug)]
pub struct Labels {
    pub(crate) store: Store,
}

impl Deals for Labels {
    type Reply = Reply;
    type Refusal = Refusal;

    async fn close(&self, tx: &Transaction, errand: &Errand, verdict: &Verdict) -> Result<Reply, Refusal> {
        let mut locked = Locked::by_id(tx, errand.reference, errand.subject).await?;
        locked.open_errand = None;
        let refused = match (errand.kind.as_str(), verdict) {
            (SHIP, Verdict::Done(data)) => {
                let label = data["label"].as_str().unwrap_or_default();
                if label.is_empty() {
                    return Err(Refusal::Invalid("the carrier has given no label".to_owned()));
                }
                locked.shipment.state = State::Labelled;
                locked.shipment.label = Some(label.to_owned());
                self.tell(tx, &locked, created(&locked, label)).await?;
                None
            }
            (SHIP, Verdict::Refused(reason)) => {
                locked.shipment.state = State::Refused;
                locked.shipment.reason = Some(reason.clone());
                Some(Reply::refused("refused-by-carrier", reason))
            }
            (CANCEL, Verdict::Done(_)) => {
                self.cancel(tx, &mut locked).await?;
                None
            }
            (CANCEL, Verdict::Refused(reason)) => Some(Reply::refused("under-way", reason)),
            // It tells by itself when it has the parcel.
            (HAND_OVER, Verdict::Done(_)) => None,
            (HAND_OVER, Verdict::Refused(reason)) => Some(Reply::refused("not-picked-up", reason)),
            (other, _) => return Err(Refusal::Invalid(format!("the errand {other}"))),
        };
        locked.store(tx).await?;
        Ok(refused.unwrap_or(Reply::Shipment(locked.shipment)))
    }
}

fn created(locked: &Locked, label: &str) -> ShippingEvent {
    let (user_id, shipment) = (locked.user_id, &locked.shipment);
    ShipmentCreated {
        shipment_id: shipment.shipment_id,
        order_id: shipment.order_id,
        user_id,
        service: shipment.service.clone(),
        label: label.to_owned(),
        price: shipment.price,
        country: shipment
            .address
            .as_ref()
            .map(|address| address.country.clone())
            .unwrap_or_default(),
    }
    .into()
}

impl Labels {
    pub(crate) async fn tell(
        &self,
        tx: &Transaction,
        locked: &Locked,
        event: ShippingEvent,
    ) -> Result<(), Refusal> {
        tx.tell(&self.store, &locked.user_id.into(), &event).await?;
        Ok(())
    }

    /// It will not be sent.
    pub(crate) async fn cancel(&self, tx: &Transaction, locked: &mut Locked) -> Result<(), Refusal> {
        locked.shipment.state = State::Cancelled;
        let (shipment_id, order_id, user_id) = (
            locked.shipment.shipment_id,
            locked.shipment.order_id,
            locked.user_id,
        );
        let cancelled = ShipmentCancelled {
            shipment_id,
            order_id,
            user_id,
        };
        self.tell(tx, locked, cancelled.into()).await
    }
}

/// What the carrier tells of a shipment by itself.
pub(crate) fn moved_to(data: &Value) -> Result<State, Refusal> {
    match State::read(data["state"].as_str().unwrap_or_default())? {
        state @ (State::InTransit | State::Delivered) => Ok(state),
        other => Err(Refusal::Invalid(format!("a carrier doesn't tell of {other:?}"))),
    }
}
