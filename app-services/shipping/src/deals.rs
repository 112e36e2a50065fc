//! What the carrier's verdicts mean.

use crate::Refusal;
use crate::shipment::{Kind, Locked, State};
use ringway_sdk::partner::{Deals, Errand, Reply, Verdict};
use ringway_sdk::{Store, Transaction};
use serde::Deserialize;
use serde_json::Value;
use shop_contracts::events::{ShipmentCancelled, ShipmentCreated, Tell};

/// Acts on verdicts.
#[derive(Clone, Debug)]
pub struct Labels {
    pub(crate) store: Store,
}

impl Deals for Labels {
    type Subject = Locked;

    async fn close(
        &self,
        tx: &Transaction,
        locked: &mut Locked,
        _: &Errand,
        verdict: (Kind, &Verdict),
    ) -> Result<Reply<()>, Refusal> {
        match verdict {
            (Kind::Ship, Verdict::Done(data)) => {
                let label = data["label"].as_str().unwrap_or_default();
                if label.is_empty() {
                    return Err(Refusal::Invalid("the carrier has given no label".to_owned()));
                }
                locked.shipment.state = State::Labelled;
                locked.shipment.label = Some(label.to_owned());
                tx.tell(&self.store, locked.user_id, created(locked, label))
                    .await?;
            }
            (Kind::Ship, Verdict::Refused(reason)) => {
                locked.shipment.state = State::Refused;
                locked.shipment.reason = Some(reason.clone());
                return Ok(Reply::refused("refused-by-carrier", reason));
            }
            (Kind::Cancel, Verdict::Done(_)) => self.cancel(tx, locked).await?,
            (Kind::Cancel, Verdict::Refused(reason)) => return Ok(Reply::refused("under-way", reason)),
            // It tells by itself when it has the parcel.
            (Kind::HandOver, Verdict::Done(_)) => {}
            (Kind::HandOver, Verdict::Refused(reason)) => {
                return Ok(Reply::refused("not-picked-up", reason));
            }
        }
        Ok(Reply::Done(()))
    }
}

fn created(locked: &Locked, label: &str) -> ShipmentCreated {
    let shipment = &locked.shipment;
    let country = shipment.address.as_ref().map(|to| to.country.clone());
    ShipmentCreated {
        shipment_id: shipment.shipment_id,
        order_id: shipment.order_id,
        user_id: locked.user_id,
        service: shipment.service.clone(),
        label: label.to_owned(),
        price: shipment.price,
        country: country.unwrap_or_default(),
    }
}

impl Labels {
    /// It will not be sent.
    pub(crate) async fn cancel(&self, tx: &Transaction, locked: &mut Locked) -> Result<(), Refusal> {
        locked.shipment.state = State::Cancelled;
        let cancelled = ShipmentCancelled {
            shipment_id: locked.shipment.shipment_id,
            order_id: locked.shipment.order_id,
            user_id: locked.user_id,
        };
        tx.tell(&self.store, locked.user_id, cancelled).await?;
        Ok(())
    }
}

/// What the carrier tells of a shipment by itself.
pub(crate) fn moved_to(data: &Value) -> Result<State, Refusal> {
    match State::deserialize(&data["state"]) {
        Ok(state @ (State::InTransit | State::Delivered)) => Ok(state),
        Ok(other) => Err(Refusal::Invalid(format!("a carrier doesn't tell of {other:?}"))),
        Err(error) => Err(Refusal::Invalid(error.to_string())),
    }
}
