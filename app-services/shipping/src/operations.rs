//! What is asked of a shipment, and what that means wherever it is.

use crate::Refusal;
use crate::deals::{CANCEL, HAND_OVER, Labels, SHIP, moved_to};
use crate::rates::rates;
use crate::shipment::{Locked, Parcel, Reply, SHOW, Shipment, State, read};
use ringway_sdk::partner::{Begun, Desk, NewErrand, Outcome, PartnerSettings, Secret, Webhook};
use ringway_sdk::{Context, Database, Level, Reader, Store, Transaction};
use serde_json::{Value, json};
use shop_contracts::events::ShipmentMoved;
use shop_contracts::{Address, Currency, Operation};
use std::fmt;
use std::sync::Arc;
use uuid::Uuid;

/// Shipments, and what is done with them. Clones share all.
#[derive(Clone)]
pub struct Shipments {
    database: Database,
    desk: Desk<Labels>,
    pub(crate) secret: Secret,
}

impl fmt::Debug for Shipments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shipments").finish_non_exhaustive()
    }
}

/// Begins an errand on a shipment.
async fn ask(
    tx: &Transaction,
    locked: &mut Locked,
    kind: &'static str,
    details: Value,
) -> Result<Begun<Reply>, Refusal> {
    let id = Uuid::now_v7();
    locked.open_errand = Some(id);
    locked.store(tx).await?;
    let subject = locked.shipment.shipment_id;
    Ok(Begun::Ask(NewErrand {
        id,
        kind,
        subject,
        details,
    }))
}

fn refused(reason: &str, detail: &str) -> Result<Begun<Reply>, Refusal> {
    Ok(Begun::Settled(Reply::refused(reason, detail)))
}

impl Shipments {
    /// Shipments by a carrier.
    pub fn new(database: &Database, store: &Store, carrier: &PartnerSettings) -> Self {
        let labels = Labels { store: store.clone() };
        let desk = Desk::new(
            database,
            store,
            Arc::new(carrier.partner()),
            labels,
            carrier.desk(),
        );
        Self {
            database: database.clone(),
            desk,
            secret: carrier.secret.clone(),
        }
    }

    /// Where its errands are.
    pub fn desk(&self) -> &Desk<Labels> {
        &self.desk
    }

    /// A user's shipment for an order.
    ///
    /// # Errors
    /// There is none; the SDK's.
    pub async fn show(&self, context: &Context, user_id: Uuid, order_id: Uuid) -> Result<Shipment, Refusal> {
        let query = async |reader: Reader| reader.query_opt(SHOW, &[&user_id, &order_id]).await;
        let row = self.database.read(context, Level::Ryw, query).await?;
        Ok(read(user_id, &row.ok_or(Refusal::UnknownShipment)?)?.shipment)
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
    ) -> Result<Outcome<Reply>, Refusal> {
        let (user_id, order_id) = (operation.user_id, operation.order_id);
        let text = format!("ship {weight_grams} by {service} for {order_id}");
        let rate = rates(&address.country, weight_grams, currency)
            .into_iter()
            .find(|rate| rate.service == service);
        let begin = async |tx: Transaction| {
            let Some(rate) = &rate else {
                return refused("no-such-service", "nothing goes there by this service");
            };
            let parcel = Parcel {
                service: service.to_owned(),
                address: Some(address.clone()),
                weight_grams,
                price: rate.price,
            };
            let mut locked = Locked::make(&tx, user_id, order_id, &parcel).await?;
            match (locked.shipment.state, locked.open_errand) {
                (_, Some(open)) => Ok(Begun::After(open)),
                (State::New, None) => {
                    let details = json!({ "service": service, "address": address, "weight_grams": locked.weight_grams });
                    ask(&tx, &mut locked, SHIP, details).await
                }
                (State::Refused, None) => refused(
                    "refused-by-carrier",
                    locked.shipment.reason.as_deref().unwrap_or_default(),
                ),
                (State::Cancelled, None) => refused("cancelled", "the order was given up"),
                (State::Labelled | State::InTransit | State::Delivered, None) => {
                    Ok(Begun::Settled(Reply::Shipment(locked.shipment)))
                }
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
    pub async fn cancel(&self, context: &Context, operation: &Operation) -> Result<Outcome<Reply>, Refusal> {
        let (user_id, order_id) = (operation.user_id, operation.order_id);
        let text = format!("cancel {order_id}");
        let begin = async |tx: Transaction| {
            let mut locked = Locked::make(&tx, user_id, order_id, &Parcel::none()).await?;
            match (locked.shipment.state, locked.open_errand) {
                (_, Some(open)) => return Ok(Begun::After(open)),
                (State::Labelled, None) => {
                    let details = json!({ "label": locked.shipment.label });
                    return ask(&tx, &mut locked, CANCEL, details).await;
                }
                (State::InTransit | State::Delivered, None) => {
                    return refused("under-way", "the carrier has it");
                }
                (State::New | State::Refused, None) => {
                    self.desk.deals().cancel(&tx, &mut locked).await?;
                    locked.store(&tx).await?;
                }
                (State::Cancelled, None) => {}
            }
            Ok(Begun::Settled(Reply::Shipment(locked.shipment)))
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
    ) -> Result<Outcome<Reply>, Refusal> {
        let (user_id, order_id) = (operation.user_id, operation.order_id);
        let text = format!("hand over {order_id}");
        let begin = async |tx: Transaction| {
            let mut locked = Locked::make(&tx, user_id, order_id, &Parcel::none()).await?;
            match (locked.shipment.state, locked.open_errand) {
                (_, Some(open)) => Ok(Begun::After(open)),
                (State::Labelled, None) => {
                    let details = json!({ "label": locked.shipment.label });
                    ask(&tx, &mut locked, HAND_OVER, details).await
                }
                (State::New | State::Refused, None) => refused("not-labelled", "it has no label"),
                (State::Cancelled, None) => refused("cancelled", "the order was given up"),
                (State::InTransit | State::Delivered, None) => {
                    Ok(Begun::Settled(Reply::Shipment(locked.shipment)))
                }
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
            let mut locked = Locked::by_id(&tx, webhook.reference, webhook.subject).await?;
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
            self.desk.deals().tell(&tx, &locked, moved.into()).await
        };
        self.database.transaction(context, work).await
    }
}
