//! Inside: what the order service asks for.

use crate::{Refusal, Shipment, Shipments, State, rates};
use ringway_sdk::partner::Outcome;
use ringway_sdk::rpc::{Request, Response, Status, open};
use shop_contracts::rpc::v1::{self, shipping_server};
use shop_contracts::{Address, Currency, Malformed, Operation};

type Answer = Result<Response<v1::ShipmentReply>, Status>;

fn info(shipment: Shipment) -> v1::ShipmentInfo {
    let state = match shipment.state {
        State::New | State::Refused => v1::ShipmentState::Unspecified,
        State::Labelled => v1::ShipmentState::Labelled,
        State::InTransit => v1::ShipmentState::InTransit,
        State::Delivered => v1::ShipmentState::Delivered,
        State::Cancelled => v1::ShipmentState::Cancelled,
    };
    v1::ShipmentInfo {
        shipment_id: shipment.shipment_id.to_string(),
        state: state.into(),
        label: shipment.label.unwrap_or_default(),
        service: shipment.service,
    }
}

fn reply(outcome: Result<Outcome<Shipment>, Refusal>) -> Answer {
    Ok(Response::new(outcome?.map(info).into()))
}

#[tonic::async_trait]
impl shipping_server::Shipping for Shipments {
    async fn quote(&self, request: Request<v1::QuoteRequest>) -> Result<Response<v1::QuoteReply>, Status> {
        let (_, asked) = open(request)?;
        let address = asked.address.ok_or(Malformed("address"))?;
        let currency: Currency = asked.currency.parse()?;
        let rates = rates(&address.country, asked.weight_grams, currency);
        let rates = rates.into_iter().map(|rate| v1::ShippingRate {
            service: rate.service,
            price: Some(rate.price.into()),
            days: rate.days,
        });
        Ok(Response::new(v1::QuoteReply {
            rates: rates.collect(),
        }))
    }

    async fn create(&self, request: Request<v1::CreateShipmentRequest>) -> Answer {
        let (context, asked) = open(request)?;
        let operation = Operation::try_from(asked.operation)?;
        let address = Address::try_from(asked.address.ok_or(Malformed("address"))?)?;
        let parcel = (
            asked.weight_grams,
            asked.service.as_str(),
            asked.currency.parse()?,
        );
        reply(Self::create(self, &context, &operation, &address, parcel).await)
    }

    async fn cancel(&self, request: Request<v1::CancelShipmentRequest>) -> Answer {
        let (context, asked) = open(request)?;
        let operation = Operation::try_from(asked.operation)?;
        reply(Self::cancel(self, &context, &operation).await)
    }

    async fn hand_over(&self, request: Request<v1::HandOverRequest>) -> Answer {
        let (context, asked) = open(request)?;
        let operation = Operation::try_from(asked.operation)?;
        reply(Self::hand_over(self, &context, &operation).await)
    }
}
