//! What is asked of a shipment, and what that means wherever it is.

use crate::Refusal;
use crate::deals::{Labels, moved_to};
use crate::rates::rates;
use crate::shipment::{Kind, Locked, Parcel, Shipment, State};
use ringway_sdk::partner::{Begun, Desk, Outcome, PartnerSettings, Subject as _, Webhook};
use ringway_sdk::{Context, Database, Store, Transaction};
use serde_json::json;
use shop_contracts::events::{ShipmentMoved, Tell};
use shop_contracts::{Address, Currency, Operation};

/// Shipments, and what is done with them. Clones share all.
#[derive(Clone, Debug)]
pub struct Shipments {
    database: Database,
    desk: Desk<Labels>,
}

impl AsRef<Database> for Shipments {
    fn as_ref(&self) -> &Database {
        &self.database
    }
}

impl Shipments {
    /// Shipments by a carrier.
    pub fn new(database: &Database, store: &Store, carrier: &PartnerSettings) -> Self {
        let labels = Labels { store: store.clone() };
        Self {
            database: database.clone(),
            desk: Desk::new(database, store, carrier, labels),
        }
    }

    /// Where its errands are.
    pub fn desk(&self) -> &Desk<Labels> {
        &self.desk
    }

    /// Orders a shipment from the carrier.
    ///
    /// # Errors
    /// The SDK's.
    pub async fn create(
        &self,
        context: &Context,
        operation: &Operation,
        address: &Address,
        (weight_grams, service, currency): (u32, &str, Currency),
    ) -> Result<Outcome<Shipment>, Refusal> {
        let (user_id, order_id) = (operation.user_id, operation.order_id);
        let text = format!("ship {weight_grams} by {service} for {order_id}");
        let rate = rates(&address.country, weight_grams, currency)
            .into_iter()
            .find(|rate| rate.service == service);
        let begin = async |tx: Transaction| {
            let Some(rate) = &rate else {
                return Begun::refused("no-such-service", "nothing goes there by this service");
            };
            let parcel = Parcel {
                service: service.to_owned(),
                address: Some(address.clone()),
                weight_grams,
                price: rate.price,
            };
            let locked = Locked::make(&tx, user_id, order_id, &parcel).await?;
            match (locked.shipment.state, locked.open_errand) {
                (_, Some(open)) => Ok(Begun::After(open)),
                (State::New, None) => {
                    let details = json!({ "service": service, "address": address, "weight_grams": locked.weight_grams });
                    locked.ask(&tx, Kind::Ship, details).await
                }
                (State::Refused, None) => Begun::refused(
                    "refused-by-carrier",
                    locked.shipment.reason.as_deref().unwrap_or_default(),
                ),
                (State::Cancelled, None) => Begun::refused("cancelled", "the order was given up"),
                (State::Labelled | State::InTransit | State::Delivered, None) => locked.settled(),
            }
        };
        self.desk
            .carry_out(context, user_id, (&operation.key, &text), begin)
            .await
    }

    /// Takes a shipment back, or keeps it from being ordered later.
    ///
    /// # Errors
    /// The SDK's.
    pub async fn cancel(
        &self,
        context: &Context,
        operation: &Operation,
    ) -> Result<Outcome<Shipment>, Refusal> {
        let (user_id, order_id) = (operation.user_id, operation.order_id);
        let text = format!("cancel {order_id}");
        let begin = async |tx: Transaction| {
            let mut locked = Locked::make(&tx, user_id, order_id, &Parcel::none()).await?;
            match (locked.shipment.state, locked.open_errand) {
                (_, Some(open)) => Ok(Begun::After(open)),
                (State::Labelled, None) => {
                    let details = json!({ "label": locked.shipment.label });
                    locked.ask(&tx, Kind::Cancel, details).await
                }
                (State::InTransit | State::Delivered, None) => {
                    Begun::refused("under-way", "the carrier has it")
                }
                (State::New | State::Refused, None) => {
                    self.desk.deals().cancel(&tx, &mut locked).await?;
                    locked.store(&tx).await?;
                    locked.settled()
                }
                (State::Cancelled, None) => locked.settled(),
            }
        };
        self.desk
            .carry_out(context, user_id, (&operation.key, &text), begin)
            .await
    }

    /// Has the carrier pick a shipment up: what it has can't be taken back, so this is for orders that will not be given up any more.
    ///
    /// # Errors
    /// The SDK's.
    pub async fn hand_over(
        &self,
        context: &Context,
        operation: &Operation,
    ) -> Result<Outcome<Shipment>, Refusal> {
        let (user_id, order_id) = (operation.user_id, operation.order_id);
        let text = format!("hand over {order_id}");
        let begin = async |tx: Transaction| {
            let locked = Locked::make(&tx, user_id, order_id, &Parcel::none()).await?;
            match (locked.shipment.state, locked.open_errand) {
                (_, Some(open)) => Ok(Begun::After(open)),
                (State::Labelled, None) => {
                    let details = json!({ "label": locked.shipment.label });
                    locked.ask(&tx, Kind::HandOver, details).await
                }
                (State::New | State::Refused, None) => Begun::refused("not-labelled", "it has no label"),
                (State::Cancelled, None) => Begun::refused("cancelled", "the order was given up"),
                (State::InTransit | State::Delivered, None) => locked.settled(),
            }
        };
        self.desk
            .carry_out(context, user_id, (&operation.key, &text), begin)
            .await
    }

    /// The carrier has moved a shipment. What is told late, or again, changes nothing.
    ///
    /// # Errors
    /// No such shipment; its label isn't known yet; the SDK's.
    pub(crate) async fn moved(&self, context: &Context, webhook: &Webhook) -> Result<(), Refusal> {
        let to = moved_to(&webhook.told.data)?;
        let work = async |tx: Transaction| {
            let mut locked = Locked::lock(&tx, webhook.reference, webhook.subject).await?;
            let label = match (locked.shipment.state, locked.shipment.label.clone()) {
                (State::New, _) => return Err(Refusal::TooEarly),
                (State::Labelled | State::InTransit, Some(label)) if locked.shipment.state < to => label,
                _ => return Ok(()),
            };
            locked.shipment.state = to;
            locked.store(&tx).await?;
            let moved = ShipmentMoved {
                shipment_id: locked.shipment.shipment_id,
                order_id: locked.shipment.order_id,
                user_id: locked.user_id,
                state: to.told(),
                label,
            };
            let store = &self.desk.deals().store;
            tx.tell(store, locked.user_id, moved).await?;
            Ok(())
        };
        self.database.transaction(context, work).await
    }
}
