//! A shipment's row.

use crate::Refusal;
use ringway_sdk::{Parameter, Result, Transaction};
use serde::{Deserialize, Serialize};
use shop_contracts::events::ShipmentState;
use shop_contracts::{Address, Currency, Money};
use tokio_postgres::Row;
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

const WORDS: [(State, &str); 6] = [
    (State::New, "new"),
    (State::Refused, "refused"),
    (State::Labelled, "labelled"),
    (State::InTransit, "in-transit"),
    (State::Delivered, "delivered"),
    (State::Cancelled, "cancelled"),
];

impl State {
    pub(crate) fn read(word: &str) -> Result<Self, Refusal> {
        let found = WORDS.iter().find(|(_, known)| *known == word);
        found
            .map(|(state, _)| *state)
            .ok_or_else(|| Refusal::Invalid(format!("the state {word}")))
    }

    fn word(self) -> &'static str {
        WORDS
            .iter()
            .find(|(state, _)| *state == self)
            .map_or("new", |(_, word)| word)
    }

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

/// What a caller is told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "refusals are few")]
pub enum Reply {
    /// Where it is.
    Shipment(Shipment),
    /// It was not done, and will not be.
    Refused {
        /// A word.
        reason: String,
        /// For people.
        detail: String,
    },
}

impl Reply {
    /// A refusal.
    pub(crate) fn refused(reason: &str, detail: &str) -> Self {
        Self::Refused {
            reason: reason.to_owned(),
            detail: detail.to_owned(),
        }
    }
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
pub(crate) struct Locked {
    pub(crate) user_id: Uuid,
    pub(crate) shipment: Shipment,
    pub(crate) weight_grams: u32,
    pub(crate) open_errand: Option<Uuid>,
}

/// Reads a row.
pub(crate) fn read(user_id: Uuid, row: &Row) -> Result<Locked, Refusal> {
    let currency: Currency = row.get::<_, &str>(8).parse()?;
    let address: Option<serde_json::Value> = row.get(5);
    let address = address.map(serde_json::from_value).transpose();
    let shipment = Shipment {
        shipment_id: row.get(0),
        order_id: row.get(1),
        state: State::read(row.get(2))?,
        service: row.get(3),
        label: row.get(4),
        address: address.map_err(|error| Refusal::Invalid(error.to_string()))?,
        price: Money::new(row.get(7), currency),
        reason: row.get(10),
    };
    Ok(Locked {
        user_id,
        shipment,
        weight_grams: u32::try_from(row.get::<_, i32>(6)).unwrap_or_default(),
        open_errand: row.get(9),
    })
}

impl Locked {
    /// The order's, made if there is none.
    pub(crate) async fn make(
        tx: &Transaction,
        user_id: Uuid,
        order_id: Uuid,
        parcel: &Parcel,
    ) -> Result<Self, Refusal> {
        let address = parcel.address.as_ref().map(serde_json::to_value).transpose();
        let address = address.map_err(|error| Refusal::Invalid(error.to_string()))?;
        let weight = i32::try_from(parcel.weight_grams).unwrap_or(i32::MAX);
        let (shipment_id, currency) = (Uuid::now_v7(), parcel.price.currency.as_str());
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
        read(user_id, &tx.query_one(MAKE, parameters).await?)
    }

    /// The shipment of this id.
    pub(crate) async fn by_id(tx: &Transaction, user_id: Uuid, shipment_id: Uuid) -> Result<Self, Refusal> {
        let row = tx.query_opt(LOCK_BY_ID, &[&user_id, &shipment_id]).await?;
        read(user_id, &row.ok_or(Refusal::UnknownShipment)?)
    }

    pub(crate) async fn store(&self, tx: &Transaction) -> Result<()> {
        let Shipment {
            order_id,
            state,
            label,
            reason,
            ..
        } = &self.shipment;
        let word = state.word();
        let parameters: &[Parameter<'_>] =
            &[&self.user_id, order_id, &word, label, &self.open_errand, reason];
        tx.execute(STORE, parameters).await.map(drop)
    }
}
