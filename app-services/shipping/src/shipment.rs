//! A shipment's row.

use crate::Refusal;
use ringway_sdk::column::{Columns, Json, Word};
use ringway_sdk::partner::Subject;
use ringway_sdk::{Parameter, Result, Row, Transaction, from_row};
use serde::{Deserialize, Serialize};
use shop_contracts::events::ShipmentState;
use shop_contracts::{Address, Currency, Money};
use utoipa::ToSchema;
use uuid::Uuid;

macro_rules! columns {
    () => {
        "shipment_id, order_id, state, service, label, address, weight_grams, price_cents, currency, open_errand, reason"
    };
}

/// Locks an order's shipment, and makes it if there is none: whoever comes at the same time waits.
const MAKE: &str = concat!(
    "INSERT INTO shipping_shipment AS s (user_id, order_id, shipment_id, state, service, address, weight_grams, price_cents, currency) \
     VALUES ($1, $2, $3, 'new', $4, $5, $6, $7, $8) ON CONFLICT (user_id, order_id) DO UPDATE SET state = s.state RETURNING ",
    columns!()
);
const LOCK_BY_ID: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM shipping_shipment WHERE user_id = $1 AND shipment_id = $2 FOR UPDATE"
);
pub(crate) const SHOW: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM shipping_shipment WHERE user_id = $1 AND order_id = $2"
);
const STORE: &str = "UPDATE shipping_shipment SET state = $3, label = $4, open_errand = $5, reason = $6 \
     WHERE user_id = $1 AND order_id = $2";

/// Where a shipment is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The carrier is to be asked, or hasn't answered.
    New,
    /// The carrier has refused it.
    Refused,
    /// It has a label.
    Labelled,
    /// The carrier has it.
    InTransit,
    /// It has arrived.
    Delivered,
    /// It will not be sent.
    Cancelled,
}

impl State {
    /// As it stands in events.
    pub(crate) fn told(self) -> ShipmentState {
        match self {
            Self::New | Self::Labelled => ShipmentState::Labelled,
            Self::InTransit => ShipmentState::InTransit,
            Self::Delivered => ShipmentState::Delivered,
            Self::Refused | Self::Cancelled => ShipmentState::Cancelled,
        }
    }
}

/// A shipment, as it is shown.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Shipment {
    /// Which.
    pub shipment_id: Uuid,
    /// For which order.
    pub order_id: Uuid,
    /// Where it is.
    pub state: State,
    /// How it is sent.
    pub service: String,
    /// By which the carrier knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Where it goes to; none if it was cancelled before that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    /// What it costs.
    pub price: Money,
    /// Why the carrier has refused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What the carrier is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A label.
    Ship,
    /// To forget it, as long as it hasn't got it.
    Cancel,
    /// To pick it up.
    HandOver,
}

/// What is to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Parcel {
    pub(crate) service: String,
    pub(crate) address: Option<Address>,
    pub(crate) weight_grams: u32,
    pub(crate) price: Money,
}

impl Parcel {
    /// Of an order that was cancelled before anything was to be sent.
    pub(crate) fn none() -> Self {
        Self {
            service: String::new(),
            address: None,
            weight_grams: 0,
            price: Money::new(0, Currency::EUR),
        }
    }
}

/// A shipment whose row is locked.
#[derive(Clone, Debug)]
pub struct Locked {
    pub(crate) user_id: Uuid,
    pub(crate) shipment: Shipment,
    pub(crate) weight_grams: u32,
    pub(crate) open_errand: Option<Uuid>,
}

impl Locked {
    /// Reads a row.
    pub(crate) fn read(user_id: Uuid, row: &Row) -> Result<Self> {
        let price = Money::new(row.get("price_cents"), row.word("currency")?);
        let weight: i32 = row.get("weight_grams");
        let shipment = from_row!(row => Shipment {
            shipment_id, order_id, service, label, reason;
            state: row.word("state")?, address: row.json("address")?, price: price
        });
        Ok(from_row!(row => Self {
            open_errand;
            user_id: user_id, shipment: shipment, weight_grams: weight.unsigned_abs()
        }))
    }

    /// The order's, made if there is none.
    pub(crate) async fn make(
        tx: &Transaction,
        user_id: Uuid,
        order_id: Uuid,
        parcel: &Parcel,
    ) -> Result<Self> {
        let address = parcel.address.as_ref().map(Json);
        let weight = i32::try_from(parcel.weight_grams).unwrap_or(i32::MAX);
        let (shipment_id, currency) = (Uuid::now_v7(), Word(parcel.price.currency));
        let parameters: &[Parameter<'_>] = &[
            &user_id,
            &order_id,
            &shipment_id,
            &parcel.service,
            &address,
            &weight,
            &parcel.price.amount_cents,
            &currency,
        ];
        Self::read(user_id, &tx.query_one(MAKE, parameters).await?)
    }
}

impl Subject for Locked {
    type Kind = Kind;
    type Shown = Shipment;
    type Refusal = Refusal;

    async fn lock(tx: &Transaction, user_id: Uuid, shipment_id: Uuid) -> Result<Self, Refusal> {
        let row = tx.query_opt(LOCK_BY_ID, &[&user_id, &shipment_id]).await?;
        Ok(Self::read(user_id, &row.ok_or(Refusal::UnknownShipment)?)?)
    }

    async fn store(&self, tx: &Transaction) -> Result<()> {
        let shipment = &self.shipment;
        let parameters: &[Parameter<'_>] = &[
            &self.user_id,
            &shipment.order_id,
            &Word(shipment.state),
            &shipment.label,
            &self.open_errand,
            &shipment.reason,
        ];
        tx.execute(STORE, parameters).await.map(drop)
    }

    fn id(&self) -> Uuid {
        self.shipment.shipment_id
    }

    fn open_errand(&mut self) -> &mut Option<Uuid> {
        &mut self.open_errand
    }

    fn shown(self) -> Shipment {
        self.shipment
    }
}
