//! The other services.

use ringway_sdk::rpc::{Call, Peer};
use ringway_sdk::service::Environment;
use ringway_sdk::{Context, Result};
use shop_contracts::rpc::v1::fraud_client::FraudClient;
use shop_contracts::rpc::v1::inventory_client::InventoryClient;
use shop_contracts::rpc::v1::payment_client::PaymentClient;
use shop_contracts::rpc::v1::product_client::ProductClient;
use shop_contracts::rpc::v1::shipping_client::ShippingClient;
use shop_contracts::rpc::v1::user_client::UserClient;

#[derive(Debug)]
pub(crate) struct Calls {
    fraud: Peer,
    inventory: Peer,
    payment: Peer,
    product: Peer,
    shipping: Peer,
    user: Peer,
}

impl Calls {
    pub(crate) fn new(environment: &Environment) -> Result<Self> {
        Ok(Self {
            fraud: environment.peer("fraud")?,
            inventory: environment.peer("inventory")?,
            payment: environment.peer("payment")?,
            product: environment.peer("product")?,
            shipping: environment.peer("shipping")?,
            user: environment.peer("user")?,
        })
    }

    pub(crate) fn fraud(&self, context: &Context) -> FraudClient<Call> {
        FraudClient::new(self.fraud.call(context))
    }

    pub(crate) fn inventory(&self, context: &Context) -> InventoryClient<Call> {
        InventoryClient::new(self.inventory.call(context))
    }

    pub(crate) fn payment(&self, context: &Context) -> PaymentClient<Call> {
        PaymentClient::new(self.payment.call(context))
    }

    pub(crate) fn product(&self, context: &Context) -> ProductClient<Call> {
        ProductClient::new(self.product.call(context))
    }

    pub(crate) fn shipping(&self, context: &Context) -> ShippingClient<Call> {
        ShippingClient::new(self.shipping.call(context))
    }

    pub(crate) fn user(&self, context: &Context) -> UserClient<Call> {
        UserClient::new(self.user.call(context))
    }
}
